"""Exports: many recordings in one ZIP, asked for under /v1.0, and its link. The platform's path, our shapes; see docs/archive.md.

The link needs no token: it is signed, and ends by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from tapeline.api.auditing import about, called
from tapeline.api.auth import principal_of
from tapeline.api.bodies import read_json
from tapeline.api.files import file_response
from tapeline.api.ports import Service
from tapeline.api.routes import PAGING, Route, path_id, read_paging
from tapeline.api.voipbin.archive_shapes import ExportShape, ExportsShape, export
from tapeline.api.voipbin.searching import FILTERS, read_search
from tapeline.api.voipbin.shapes import listing
from tapeline.core.errors import Forbidden, InvalidInput
from tapeline.core.ids import is_id
from tapeline.core.principal import Principal

__all__ = ["ExportFace", "links"]


class ExportFace:
    def __init__(self, service: Service) -> None:
        self._service = service

    def routes(self) -> tuple[Route, ...]:
        one = ExportShape
        return (
            Route(
                "POST", "/recordings/export", "recordings:export", self.create, "Put many recordings into one file", one, body=BODY,
                audit="exported",
            ),
            Route("GET", "/recordings/exports", "recordings:export", self.list, "List exports, newest first", ExportsShape, PAGING),
            Route("GET", "/recordings/exports/{id}", "recordings:export", self.get, "How far an export has come", one),
            Route(
                "DELETE", "/recordings/exports/{id}", "recordings:export", self.remove, "Stop an export, remove its file", one,
                audit="export_deleted",
            ),
        )  # fmt: skip

    async def create(self, request: Request) -> Response:
        body = await read_json(request)
        principal = principal_of(request)
        chosen = body.get("filter")
        if isinstance(chosen, dict) and body.get("recording_ids") is None:
            made = await self._service.exports.create(principal, wanted=read_search({"status": "available", **chosen}))
        else:
            made = await self._service.exports.create(principal, ids=_ids(body))
        about(request, made.id)
        return JSONResponse(export(made))

    async def list(self, request: Request) -> Response:
        before, limit = read_paging(request)
        return JSONResponse(listing(await self._service.exports.list(principal_of(request), before, limit), export))

    async def get(self, request: Request, id: str) -> Response:
        return JSONResponse(export(await self._service.exports.get(path_id(id), principal_of(request))))

    async def remove(self, request: Request, id: str) -> Response:
        return JSONResponse(export(await self._service.exports.remove(path_id(id), principal_of(request))))


def _ids(body: Mapping[str, Any]) -> list[str]:
    given = body.get("recording_ids")
    if not isinstance(given, list) or not given:
        raise InvalidInput(
            "recording_ids must be a list of ids", hint="give recording_ids, or a filter, but not both", reason="INVALID_JSON_BODY"
        )
    if not all(isinstance(one, str) and is_id(one) for one in given):
        raise InvalidInput("recording_ids holds what is no UUID", reason="INVALID_ID")
    return [one.lower() for one in given]


def links(service: Service) -> APIRouter:
    """Where the links lead."""
    made = APIRouter(tags=["v1.0"])

    async def file(request: Request, id: str) -> Response:
        expires, signed = request.query_params.get("expires", ""), request.query_params.get("signature", "")
        if not (expires.isascii() and expires.isdigit() and len(expires) <= 12 and signed.isascii() and is_id(id)):
            raise Forbidden("this link is none of ours", hint="use download_uri as it was given")
        account, found = await service.exports.file(id.lower(), int(expires), signed)
        request.state.principal = Principal(account, name="link")
        answer = await file_response(found, request)
        called(request, "export_downloaded" if request.method == "GET" else "")
        return answer

    for method in ("GET", "HEAD"):
        made.add_api_route(
            "/exports/{id}/file",
            file,
            methods=[method],
            name="export_file",
            operation_id=f"{method.lower()}_export_file",
            summary="The file of an export",
            description="Needs no token, but a link's signature.",
            response_model=None,
            include_in_schema=method == "GET",
        )
    return made


BODY: dict[str, Any] = {
    "type": "object",
    "properties": {
        "recording_ids": {"type": "array", "items": {"type": "string", "format": "uuid"}, "description": "Which."},
        "filter": {
            "type": "object",
            "properties": {item["name"]: item["schema"] | {"description": item["description"]} for item in FILTERS},
            "description": "Or: those that a search finds now.",
        },
    },
}
