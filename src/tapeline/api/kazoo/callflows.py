"""KAZOO's callflows: documents that say which numbers they answer, and what happens then. They are in force once they are written.

    GET /accounts/A/callflows        PUT /accounts/A/callflows
    GET, POST, PATCH, DELETE /accounts/A/callflows/ID

A document that breaks KAZOO's schemas, or cannot run, is refused with each fault under its field. What is only odd is told in
`_read_only.warnings` of the answer.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from tapeline.api.auth import principal_of
from tapeline.api.kazoo.bodies import KazooRoute, bare, merged, page_marks, page_place, page_size, read_data
from tapeline.api.kazoo.collections import id_taken
from tapeline.api.kazoo.filters import filters, fits
from tapeline.api.kazoo.rules import Rules
from tapeline.api.kazoo.schema import Faults, kept
from tapeline.api.kazoo.words import BadIdentifier, FieldErrors, hex_id, success, uuid_of
from tapeline.api.ports import Service
from tapeline.calls.kazoo.stored import CallflowBroken
from tapeline.calls.services.callflows import IdTaken, NumberTaken, Written
from tapeline.core.errors import NotFound
from tapeline.store import FlowRow

__all__ = ["KazooCallflows"]

MOST = 100  # in one page: each is read whole, and may have a megabyte

Document = Mapping[str, Any]


class KazooCallflows:
    def __init__(self, service: Service, rules: Rules) -> None:
        self._service = service
        self._rules = rules

    def routes(self) -> tuple[KazooRoute, ...]:
        return (
            KazooRoute("GET", "/callflows", "flows:read", self.list_callflows, "List callflows"),
            KazooRoute("PUT", "/callflows", "flows:write", self.create_callflow, "Store a callflow"),
            KazooRoute("GET", "/callflows/{id}", "flows:read", self.get_callflow, "A callflow"),
            KazooRoute("POST", "/callflows/{id}", "flows:write", self.replace_callflow, "Replace a callflow"),
            KazooRoute("PATCH", "/callflows/{id}", "flows:write", self.patch_callflow, "Change some of a callflow"),
            KazooRoute("DELETE", "/callflows/{id}", "flows:write", self.delete_callflow, "Delete a callflow"),
        )

    async def list_callflows(self, request: Request, account: str) -> Response:
        query = request.query_params
        size, place = min(page_size(query), MOST), page_place(query.get("start_key", ""))
        rows = await self._service.callflows.list(uuid_of(account), principal_of(request), place[0] if place else None, size)
        keep = filters(query, {})
        told = await asyncio.to_thread(lambda: [said for row in rows if fits(said := _summary(row), keep)])
        return success(request, told, **page_marks(query, rows, size))

    async def create_callflow(self, request: Request, account: str) -> Response:
        document = await read_data(request)
        told = await self._saved(request, account, _wanted(document), lambda old: bare(document), new=True)
        return success(request, told, 201)

    async def get_callflow(self, request: Request, account: str, id: str) -> Response:
        try:
            row = await self._service.callflows.get(uuid_of(id), uuid_of(account), principal_of(request))
        except NotFound as error:
            raise BadIdentifier(id) from error
        return success(request, await asyncio.to_thread(_whole, row))

    async def replace_callflow(self, request: Request, account: str, id: str) -> Response:
        document = await read_data(request)
        return success(request, await self._saved(request, account, uuid_of(id), lambda old: bare(document)))

    async def patch_callflow(self, request: Request, account: str, id: str) -> Response:
        document = await read_data(request)
        return success(request, await self._saved(request, account, uuid_of(id), lambda old: merged(old, bare(document))))

    async def delete_callflow(self, request: Request, account: str, id: str) -> Response:
        try:
            row = await self._service.callflows.delete(uuid_of(id), uuid_of(account), principal_of(request))
        except NotFound as error:
            raise BadIdentifier(id) from error
        return success(request, _whole(row) | {"_read_only": {"deleted": True}})

    async def _saved(
        self, request: Request, account: str, flow_id: str, how: Callable[[Document], Document], *, new: bool = False
    ) -> dict[str, Any]:
        """`how` runs in a thread."""

        def checked(old: Document) -> Document:
            return kept(how(old), self._rules.callflow)

        owner, principal, callflows = uuid_of(account), principal_of(request), self._service.callflows
        try:
            change = callflows.create(owner, checked, principal, flow_id) if new else callflows.change(flow_id, owner, checked, principal)
            return await asyncio.to_thread(_told, await change)
        except NumberTaken as error:
            cause = hex_id(error.holder)
            said = f"Number {error.number} exists in callflow {cause}"
            raise FieldErrors({"numbers": {"unique": {"message": said, "cause": cause, "value": error.number}}}) from error
        except IdTaken as error:
            raise id_taken(hex_id(flow_id)) from error
        except CallflowBroken as error:
            raise FieldErrors(_broken(error)) from error
        except NotFound as error:
            raise BadIdentifier(hex_id(flow_id)) from error


def _wanted(document: Document) -> str:
    """The id that a new callflow is to keep; "" for none, and for one that is not of 32 hexadecimal digits."""
    wanted = document.get("id")
    try:
        return uuid_of(wanted) if isinstance(wanted, str) else ""
    except BadIdentifier:
        return ""


def _broken(error: CallflowBroken) -> Faults:
    faults: Faults = {}
    for path, message, hint in error.found:
        faults.setdefault(path or "flow", {}).setdefault("invalid", {"message": message, **({"cause": hint} if hint else {})})
    return faults


def _summary(row: FlowRow) -> dict[str, Any]:
    document = json.loads(row.document)
    shown = {name: document.get(name, []) for name in ("numbers", "patterns", "flags")}
    return {"id": hex_id(row.id), "name": row.name, **shown, "featurecode": document.get("featurecode", False)}


def _whole(row: FlowRow) -> dict[str, Any]:
    return {"id": hex_id(row.id), **json.loads(row.document)}


def _told(written: Written) -> dict[str, Any]:
    return _whole(written.row) | ({"_read_only": {"warnings": list(written.odd)}} if written.odd else {})
