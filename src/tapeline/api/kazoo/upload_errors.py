"""KAZOO's list of what went wrong with files that were to be sent: `GET /accounts/A/att_handlers_errors[/ID]`.

An entry is an upload whose last try failed. It leaves the list once the file has arrived; `state` says whether it is still tried.
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from tapeline.api.auth import principal_of
from tapeline.api.kazoo.bodies import KazooRoute, page_key, page_place, page_size
from tapeline.api.kazoo.words import BadIdentifier, hex_id, success, uuid_of
from tapeline.api.ports import Service
from tapeline.api.voipbin.deliveries import attempt, shown_url
from tapeline.core.errors import NotFound
from tapeline.core.kazoo import gregorian
from tapeline.store import DeliveryRow

__all__ = ["KazooUploadErrors"]


class KazooUploadErrors:
    def __init__(self, service: Service) -> None:
        self._service = service

    def routes(self) -> tuple[KazooRoute, ...]:
        return (
            KazooRoute("GET", "/att_handlers_errors", "recordings:read", self.list_errors, "Uploads that went wrong"),
            KazooRoute("GET", "/att_handlers_errors/{id}", "recordings:read", self.get_error, "An upload that went wrong, with every try"),
        )

    async def list_errors(self, request: Request, account: str) -> Response:
        query = request.query_params
        size, place = page_size(query), page_place(query.get("start_key", ""))
        rows = await self._service.deliveries.troubled(uuid_of(account), principal_of(request), place[0] if place else None, size)
        more: dict[str, Any] = {"page_size": len(rows)}
        if query.get("start_key"):
            more["start_key"] = query["start_key"]
        if len(rows) >= size:
            more["next_start_key"] = page_key(rows[-1].created, rows[-1].id)
        return success(request, [_told(row) for row in rows], **more)

    async def get_error(self, request: Request, account: str, id: str) -> Response:
        try:
            row, attempts = await self._service.deliveries.get(uuid_of(id), principal_of(request))
        except NotFound as error:
            raise BadIdentifier(id) from error
        if row.account != uuid_of(account) or row.kind != "upload" or not row.reason or row.state == "delivered":
            raise BadIdentifier(id)
        return success(request, {**_told(row), "attempts": [attempt(one) for one in attempts]})


def _told(row: DeliveryRow) -> dict[str, Any]:
    url = shown_url(row.url)
    return {
        "id": hex_id(row.id),
        "created": gregorian(row.created),
        "document_type": "call_recording",
        "recording_id": hex_id(row.ref),
        "attachment_name": url.rpartition("?")[0].rpartition("/")[2] or url.rpartition("/")[2],
        "handler_type": url.partition(":")[0],
        "state": row.state,
        "tries": row.tries,
        "error": {"verb": row.method, "url": url, "status": row.status, "reason": row.reason},
    }
