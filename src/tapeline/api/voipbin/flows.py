"""VoIPBIN's REST face of stored flows, under /v1.0. No rule lives here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import Request
from starlette.responses import JSONResponse, Response

from tapeline.api.auth import principal_of
from tapeline.api.bodies import Fields, flow_id, read_json
from tapeline.api.ports import FlowService
from tapeline.api.routes import PAGING, Route, path_id, read_paging
from tapeline.api.voipbin import flow_shapes as shapes
from tapeline.api.voipbin.call_bodies import MOST_ACTIONS
from tapeline.api.voipbin.shapes import listing
from tapeline.calls.views import FlowDraft

__all__ = ["ACTIONS", "FLOW_BODY", "FlowFace"]

LONGEST = 1000


class FlowFace:
    """The endpoints. Holds nothing but what it was given."""

    def __init__(self, service: FlowService) -> None:
        self._service = service

    def routes(self) -> tuple[Route, ...]:
        return (
            Route("GET", "/flows", "flows:read", self.list, "List stored flows, newest first", shapes.FlowsShape, PAGING),
            Route("POST", "/flows", "flows:write", self.create, "Store a flow", shapes.FlowShape, body=FLOW_BODY),
            Route("GET", "/flows/{id}", "flows:read", self.get, "One flow", shapes.FlowShape),
            Route("PUT", "/flows/{id}", "flows:write", self.update, "Change a flow", shapes.FlowShape, body=FLOW_BODY),
            Route("DELETE", "/flows/{id}", "flows:write", self.delete, "Delete a flow", shapes.FlowShape),
        )

    async def list(self, request: Request) -> Response:
        before, limit = read_paging(request)
        return JSONResponse(listing(await self._service.list(principal_of(request), before, limit), shapes.flow))

    async def create(self, request: Request) -> Response:
        draft = flow_draft(await read_json(request))
        return JSONResponse(shapes.flow(await self._service.create(draft, principal_of(request))))

    async def get(self, request: Request, id: str) -> Response:
        return JSONResponse(shapes.flow(await self._service.get(path_id(id), principal_of(request))))

    async def update(self, request: Request, id: str) -> Response:
        stored = path_id(id)
        draft = flow_draft(await read_json(request))
        return JSONResponse(shapes.flow(await self._service.update(stored, draft, principal_of(request))))

    async def delete(self, request: Request, id: str) -> Response:
        return JSONResponse(shapes.flow(await self._service.delete(path_id(id), principal_of(request))))


def flow_draft(body: Mapping[str, Any]) -> FlowDraft:
    """What the body asks for; what it leaves out is None. Raises InvalidInput with all its problems."""
    fields = Fields(body)
    texts = {name: fields.text(name) if name in fields else None for name in ("name", "detail")}
    if max(len(text or "") for text in texts.values()) > LONGEST:
        fields.problem(f"name and detail must have at most {LONGEST} characters")
    actions = fields.items("actions", MOST_ACTIONS)
    on_complete = flow_id(fields, "on_complete_flow_id") if "on_complete_flow_id" in fields else None
    fields.finish()
    return FlowDraft(texts["name"], texts["detail"], actions, on_complete)


ACTIONS: dict[str, Any] = {
    "type": "array",
    "maxItems": MOST_ACTIONS,
    "items": {
        "type": "object",
        "required": ["type"],
        "properties": {
            "id": {"type": "string"},
            "next_id": {"type": "string"},
            "type": {"type": "string"},
            "option": {"type": "object"},
        },
    },
    "description": "docs/flows.md tells of all types.",
}
FLOW_BODY: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "detail": {"type": "string"},
        "actions": ACTIONS,
        "on_complete_flow_id": {"type": "string", "format": "uuid", "description": "A flow that begins when a run of this one has ended."},
    },
}
