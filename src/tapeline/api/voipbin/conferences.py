"""VoIPBIN's REST face of conferences and of the calls in them, under /v1.0.

`mute`, `deaf` and the options below the key `tapeline` are ours. As in `voipbin`, each row of the table names its method, path, scope and
endpoint; no rule lives here.
"""

from __future__ import annotations

from typing import Any

from fastapi import Request
from starlette.responses import JSONResponse, Response

from tapeline.api.auth import principal_of
from tapeline.api.bodies import read_json
from tapeline.api.ports import ConferenceService
from tapeline.api.routes import PAGING, Route, path_id, read_paging
from tapeline.api.voipbin import shapes
from tapeline.api.voipbin.conference_bodies import conference_draft, conference_spec
from tapeline.core.recordspec import RATES

__all__ = ["CREATE_BODY", "START_BODY", "ConferenceFace"]


class ConferenceFace:
    """The endpoints. Holds nothing but what it was given."""

    def __init__(self, service: ConferenceService) -> None:
        self._service = service

    def routes(self) -> tuple[Route, ...]:
        one, many = shapes.ConferenceShape, shapes.ConferencesShape
        stay, stays = shapes.ConferenceCallShape, shapes.ConferenceCallsShape
        return (
            Route("GET", "/conferences", "calls:read", self.list, "List conferences, newest first", many, PAGING),
            Route("POST", "/conferences", "calls:write", self.create, "Make a conference", one, body=CREATE_BODY),
            Route("GET", "/conferences/{id}", "calls:read", self.get, "One conference", one),
            Route("PUT", "/conferences/{id}", "calls:write", self.update, "Change a conference", one, body=UPDATE_BODY),
            Route("DELETE", "/conferences/{id}", "calls:write", self.delete, "End and delete a conference", one),
            Route(
                "POST", "/conferences/{id}/recording_start", "recordings:write", self.start_recording, "Start recording a conference", one,
                body=START_BODY, audit="started",
            ),
            Route(
                "POST", "/conferences/{id}/recording_stop", "recordings:write", self.stop_recording, "Stop recording a conference", one,
                audit="stopped",
            ),
            Route("GET", "/conferencecalls", "calls:read", self.list_stays, "List calls in conferences, newest first", stays, PAGING),
            Route("GET", "/conferencecalls/{id}", "calls:read", self.get_stay, "One call in a conference", stay),
            Route("DELETE", "/conferencecalls/{id}", "calls:write", self.kick, "Put a call out of its conference", stay),
            Route("POST", "/conferencecalls/{id}/mute", "calls:write", self.mute, "Let a call not be heard", stay),
            Route("DELETE", "/conferencecalls/{id}/mute", "calls:write", self.unmute, "Let a call be heard again", stay),
            Route("POST", "/conferencecalls/{id}/deaf", "calls:write", self.deafen, "Let a call not hear", stay),
            Route("DELETE", "/conferencecalls/{id}/deaf", "calls:write", self.undeafen, "Let a call hear again", stay),
        )  # fmt: skip

    async def list(self, request: Request) -> Response:
        before, limit = read_paging(request)
        return JSONResponse(shapes.listing(await self._service.list(principal_of(request), before, limit), shapes.conference))

    async def create(self, request: Request) -> Response:
        draft = conference_draft(await read_json(request))
        return JSONResponse(shapes.conference(await self._service.create(draft, principal_of(request))))

    async def get(self, request: Request, id: str) -> Response:
        return JSONResponse(shapes.conference(await self._service.get(path_id(id), principal_of(request))))

    async def update(self, request: Request, id: str) -> Response:
        conference_id = path_id(id)
        draft = conference_draft(await read_json(request))
        return JSONResponse(shapes.conference(await self._service.update(conference_id, draft, principal_of(request))))

    async def delete(self, request: Request, id: str) -> Response:
        return JSONResponse(shapes.conference(await self._service.delete(path_id(id), principal_of(request))))

    async def start_recording(self, request: Request, id: str) -> Response:
        conference_id = path_id(id)
        spec = conference_spec(await read_json(request))
        return JSONResponse(shapes.conference(await self._service.start_recording(conference_id, spec, principal_of(request))))

    async def stop_recording(self, request: Request, id: str) -> Response:
        return JSONResponse(shapes.conference(await self._service.stop_recording(path_id(id), principal_of(request))))

    async def list_stays(self, request: Request) -> Response:
        before, limit = read_paging(request)
        return JSONResponse(shapes.listing(await self._service.list_stays(principal_of(request), before, limit), shapes.conferencecall))

    async def get_stay(self, request: Request, id: str) -> Response:
        return JSONResponse(shapes.conferencecall(await self._service.get_stay(path_id(id), principal_of(request))))

    async def kick(self, request: Request, id: str) -> Response:
        return JSONResponse(shapes.conferencecall(await self._service.kick(path_id(id), principal_of(request))))

    async def mute(self, request: Request, id: str) -> Response:
        return await self._moderate(request, id, muted=True)

    async def unmute(self, request: Request, id: str) -> Response:
        return await self._moderate(request, id, muted=False)

    async def deafen(self, request: Request, id: str) -> Response:
        return await self._moderate(request, id, deaf=True)

    async def undeafen(self, request: Request, id: str) -> Response:
        return await self._moderate(request, id, deaf=False)

    async def _moderate(self, request: Request, id: str, *, muted: bool | None = None, deaf: bool | None = None) -> Response:
        view = await self._service.moderate(path_id(id), principal_of(request), muted=muted, deaf=deaf)
        return JSONResponse(shapes.conferencecall(view))


_OPTIONS: dict[str, Any] = {
    "type": "object",
    "description": "What the platform does not have.",
    "properties": {
        "moderated": {"type": "boolean", "description": "Nobody hears anybody until a member who is a moderator has come."},
        "max_members": {"type": "integer", "description": "0: as many as the server allows."},
        "join_tone": {"type": "string", "description": "An address as flows play them; what all hear when somebody has come."},
        "leave_tone": {"type": "string", "description": "The same for somebody who has left."},
        "music": {"type": "string", "description": "What a member hears who waits or is alone; default: music on hold."},
    },
}
UPDATE_BODY: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "detail": {"type": "string"},
        "timeout": {"type": "integer", "description": "Seconds until it is deleted; 0: never, 1 to 59: a day."},
        "data": {"type": "object", "additionalProperties": True, "description": "Your own; kept and given back."},
        "pre_flow_id": {"type": "string", "format": "uuid", "description": "A flow that each caller runs before joining."},
        "post_flow_id": {"type": "string", "format": "uuid", "description": "A flow that each caller runs after leaving."},
        "tapeline": _OPTIONS,
    },
}
CREATE_BODY: dict[str, Any] = {
    "type": "object",
    "properties": {
        "type": {"type": "string", "enum": ["", "conference", "connect", "queue"], "default": "conference"},
        "id": {"type": "string", "format": "uuid", "description": "The id it shall have; a new one where absent."},
        **UPDATE_BODY["properties"],
    },
}
START_BODY: dict[str, Any] = {
    "type": "object",
    "properties": {
        "format": {"type": "string", "enum": ["wav", "mp3", "ogg"], "default": "wav"},
        "duration": {"type": "number", "description": "Longest, in seconds; 0: as long as the server allows."},
        "on_end_flow_id": {"type": "string", "format": "uuid", "description": "A flow to run once the recording is available."},
        "split": {"type": "boolean", "description": "A channel for each member, by order of joining."},
        "channels": {"type": "integer", "minimum": 1, "maximum": 32, "default": 8, "description": "With split; the last has the surplus."},
        "rate": {"enum": [*RATES, "own"], "default": RATES[0], "description": "Samples a second; own: the conference's."},
        "beep_start": {"type": "boolean", "description": "A beep when it begins."},
        "min_seconds": {"type": "number", "description": "What is shorter fails with too_short and is not kept."},
    },
}
