"""KAZOO's webhooks of an account: which addresses are told of what (`kazoo.webhooks` tells them). The hook `object` is the one there is.

    GET, PUT /accounts/A/webhooks        GET, POST, PATCH, DELETE /accounts/A/webhooks/ID
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from tapeline.api.auth import principal_of
from tapeline.api.kazoo.bodies import KazooRoute, bare, merged, read_data
from tapeline.api.kazoo.rules import Rules
from tapeline.api.kazoo.schema import kept
from tapeline.api.kazoo.webhooks import KIND
from tapeline.api.kazoo.words import BadIdentifier, FieldErrors, hex_id, success, uuid_of
from tapeline.api.ports import Service
from tapeline.core.ids import new_id
from tapeline.store import DocumentRow

__all__ = ["KazooHooks"]

READ, WRITE = "calls:read", "account:write"
MOST = 100  # of one account

Body = Mapping[str, Any]


class KazooHooks:
    def __init__(self, service: Service, rules: Rules) -> None:
        self._service = service
        self._rules = rules

    def routes(self) -> tuple[KazooRoute, ...]:
        return (
            KazooRoute("GET", "/webhooks", READ, self.list_webhooks, "List webhooks"),
            KazooRoute("PUT", "/webhooks", WRITE, self.create_webhook, "Make a webhook"),
            KazooRoute("GET", "/webhooks/{id}", READ, self.get_webhook, "A webhook"),
            KazooRoute("POST", "/webhooks/{id}", WRITE, self.replace_webhook, "Replace a webhook"),
            KazooRoute("PATCH", "/webhooks/{id}", WRITE, self.patch_webhook, "Change some of a webhook"),
            KazooRoute("DELETE", "/webhooks/{id}", WRITE, self.delete_webhook, "Delete a webhook"),
        )

    async def list_webhooks(self, request: Request, account: str) -> Response:
        rows = await self._service.documents.list(uuid_of(account), KIND, principal_of(request))
        return success(request, [_told(row) for row in rows], page_size=len(rows))

    async def create_webhook(self, request: Request, account: str) -> Response:
        owner, principal, document = uuid_of(account), principal_of(request), bare(await read_data(request))
        if len(await self._service.documents.list(owner, KIND, principal)) >= MOST:
            raise FieldErrors({"webhooks": {"maxItems": {"message": f"An account has at most {MOST} webhooks", "target": MOST}}})
        row = await self._service.documents.change(owner, KIND, hex_id(new_id()), self._checked(lambda old: document), principal)
        return success(request, _told(row), 201)

    async def get_webhook(self, request: Request, account: str, id: str) -> Response:
        return success(request, _told(await self._row(request, account, id)))

    async def replace_webhook(self, request: Request, account: str, id: str) -> Response:
        document = bare(await read_data(request))
        return await self._changed(request, account, id, lambda old: document)

    async def patch_webhook(self, request: Request, account: str, id: str) -> Response:
        document = bare(await read_data(request))
        return await self._changed(request, account, id, lambda old: merged(old, document))

    async def _changed(self, request: Request, account: str, id: str, how: Callable[[Body], Body]) -> Response:
        row = await self._row(request, account, id)
        changed = await self._service.documents.change(row.account, KIND, row.name, self._checked(how), principal_of(request))
        return success(request, _told(changed))

    async def delete_webhook(self, request: Request, account: str, id: str) -> Response:
        row = await self._row(request, account, id)
        await self._service.documents.delete(row.account, KIND, row.name, principal_of(request))
        return success(request, _told(row) | {"_read_only": {"deleted": True}})

    async def _row(self, request: Request, account: str, id: str) -> DocumentRow:
        row = await self._service.documents.get(uuid_of(account), KIND, hex_id(uuid_of(id)), principal_of(request))
        if row is None:
            raise BadIdentifier(id)
        return row

    def _checked(self, how: Callable[[Body], Body]) -> Callable[[Body], Body]:
        def checked(old: Body) -> Body:
            return kept(how(old), self._rules.webhook)

        return checked


def _told(row: DocumentRow) -> dict[str, Any]:
    return {**row.body, "id": row.name}
