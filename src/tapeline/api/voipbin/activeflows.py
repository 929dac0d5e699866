"""VoIPBIN's REST face of runs of flows, under /v1.0. No rule lives here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import Request
from starlette.responses import JSONResponse, Response

from tapeline.api.auth import principal_of
from tapeline.api.bodies import Fields, flow_id, read_json
from tapeline.api.ports import ActiveflowService
from tapeline.api.routes import PAGING, Route, path_id, read_paging
from tapeline.api.voipbin import activeflow_shapes as shapes
from tapeline.api.voipbin.call_bodies import MOST_ACTIONS, flow_variables
from tapeline.api.voipbin.customer import webhook_target
from tapeline.api.voipbin.flows import ACTIONS
from tapeline.api.voipbin.shapes import listing
from tapeline.calls.views import ActiveflowDraft

__all__ = ["ActiveflowFace"]


class ActiveflowFace:
    """The endpoints. Holds nothing but what it was given."""

    def __init__(self, service: ActiveflowService) -> None:
        self._service = service

    def routes(self) -> tuple[Route, ...]:
        one = shapes.ActiveflowShape
        return (
            Route("GET", "/activeflows", "flows:read", self.list, "List runs of flows, newest first", shapes.ActiveflowsShape, PAGING),
            Route("POST", "/activeflows", "flows:write", self.create, "Run a flow without a call", one, body=RUN_BODY),
            Route("GET", "/activeflows/{id}", "flows:read", self.get, "One run of a flow", one),
            Route("POST", "/activeflows/{id}/stop", "flows:write", self.stop, "End a run", one),
            Route("DELETE", "/activeflows/{id}", "flows:write", self.delete, "End and delete a run", one),
        )

    async def list(self, request: Request) -> Response:
        before, limit = read_paging(request)
        return JSONResponse(listing(await self._service.list(principal_of(request), before, limit), shapes.activeflow))

    async def create(self, request: Request) -> Response:
        draft = run_draft(await read_json(request))
        return JSONResponse(shapes.activeflow(await self._service.create(draft, principal_of(request))))

    async def get(self, request: Request, id: str) -> Response:
        return JSONResponse(shapes.activeflow(await self._service.get(path_id(id), principal_of(request))))

    async def stop(self, request: Request, id: str) -> Response:
        return JSONResponse(shapes.activeflow(await self._service.stop(path_id(id), principal_of(request))))

    async def delete(self, request: Request, id: str) -> Response:
        return JSONResponse(shapes.activeflow(await self._service.delete(path_id(id), principal_of(request))))


def run_draft(body: Mapping[str, Any]) -> ActiveflowDraft:
    """What the body of `POST /activeflows` asks for. Raises InvalidInput."""
    fields = Fields(body)
    actions = fields.items("actions", MOST_ACTIONS)
    draft = ActiveflowDraft(
        id=flow_id(fields, "id"), flow_id=flow_id(fields, "flow_id"), actions=actions, variables=flow_variables(fields)
    )
    uri, method = fields.text("webhook_uri").strip(), fields.text("webhook_method").strip().upper()
    if not draft.flow_id and actions is None:
        fields.problem("flow_id or actions must say what is run")
    fields.finish()
    uri, method = webhook_target(uri, method or ("POST" if uri else ""))
    return ActiveflowDraft(draft.id, draft.flow_id, draft.actions, draft.variables, uri, method)


RUN_BODY: dict[str, Any] = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "format": "uuid", "description": "The id it shall have; a new one where it is left out."},
        "flow_id": {"type": "string", "format": "uuid", "description": "A stored flow."},
        "actions": ACTIONS,
        "variables": {"type": "object", "additionalProperties": {"type": "string"}},
        "webhook_uri": {"type": "string", "description": "Where events of this run are sent, too."},
        "webhook_method": {"type": "string", "enum": ["", "POST", "GET", "PUT", "DELETE"]},
    },
}
