"""VoIPBIN's REST face of calls that are placed and of what is done to them, under /v1.0. `trace` is ours.

As in `voipbin`, each row of the table names its method, path, scope and endpoint; no rule lives here.
"""

from __future__ import annotations

from typing import Any

from fastapi import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from tapeline.api import shapes
from tapeline.api.auth import principal_of
from tapeline.api.bodies import read_json
from tapeline.api.call_bodies import call_order, mute_direction, talk_text
from tapeline.api.ports import CallService
from tapeline.api.routes import Route, path_id

__all__ = ["MUTE_BODY", "PLACE_BODY", "TALK_BODY", "CallFace"]


class CallFace:
    """The endpoints. Holds nothing but what it was given."""

    def __init__(self, service: CallService) -> None:
        self._service = service

    def routes(self) -> tuple[Route, ...]:
        return (
            Route("POST", "/calls", "calls:write", self.place, "Place calls", shapes.PlacedCallsShape, body=PLACE_BODY),
            Route("POST", "/calls/{id}/hold", "calls:write", self.hold, "Put on hold"),
            Route("DELETE", "/calls/{id}/hold", "calls:write", self.unhold, "Take back from hold"),
            Route("POST", "/calls/{id}/moh", "calls:write", self.music, "Play music"),
            Route("DELETE", "/calls/{id}/moh", "calls:write", self.unmusic, "Stop the music"),
            Route("POST", "/calls/{id}/silence", "calls:write", self.silence, "Send silence"),
            Route("DELETE", "/calls/{id}/silence", "calls:write", self.unsilence, "Stop the silence"),
            Route("POST", "/calls/{id}/mute", "calls:write", self.mute, "Mute", body=MUTE_BODY),
            Route("DELETE", "/calls/{id}/mute", "calls:write", self.unmute, "Unmute"),
            Route("POST", "/calls/{id}/talk", "calls:write", self.talk, "Speak to the party", body=TALK_BODY),
            Route("GET", "/calls/{id}/trace", "calls:read", self.trace, "The SIP messages, as text"),
            Route("POST", "/calls/{id}/trace", "calls:write", self.keep_trace, "Keep the SIP messages from now on"),
            Route("DELETE", "/calls/{id}/trace", "calls:write", self.forget_trace, "Forget the SIP messages"),
        )

    async def place(self, request: Request) -> Response:
        order = call_order(await read_json(request))
        return JSONResponse(shapes.placed_calls(await self._service.place(order, principal_of(request))))

    async def hold(self, request: Request, id: str) -> Response:
        await self._service.switch(path_id(id), "hold", True, principal_of(request))
        return Response()

    async def unhold(self, request: Request, id: str) -> Response:
        await self._service.switch(path_id(id), "hold", False, principal_of(request))
        return Response()

    async def music(self, request: Request, id: str) -> Response:
        await self._service.switch(path_id(id), "music", True, principal_of(request))
        return Response()

    async def unmusic(self, request: Request, id: str) -> Response:
        await self._service.switch(path_id(id), "music", False, principal_of(request))
        return Response()

    async def silence(self, request: Request, id: str) -> Response:
        await self._service.switch(path_id(id), "silence", True, principal_of(request))
        return Response()

    async def unsilence(self, request: Request, id: str) -> Response:
        await self._service.switch(path_id(id), "silence", False, principal_of(request))
        return Response()

    async def mute(self, request: Request, id: str) -> Response:
        call_id = path_id(id)
        await self._service.mute(call_id, mute_direction(await read_json(request)), principal_of(request))
        return Response()

    async def unmute(self, request: Request, id: str) -> Response:
        await self._service.mute(path_id(id), "", principal_of(request))
        return Response()

    async def talk(self, request: Request, id: str) -> Response:
        call_id = path_id(id)
        text, language = talk_text(await read_json(request))
        await self._service.talk(call_id, text, language, principal_of(request))
        return Response()

    async def trace(self, request: Request, id: str) -> Response:
        return PlainTextResponse(await self._service.trace(path_id(id), principal_of(request)))

    async def keep_trace(self, request: Request, id: str) -> Response:
        await self._service.keep_trace(path_id(id), True, principal_of(request))
        return Response()

    async def forget_trace(self, request: Request, id: str) -> Response:
        await self._service.keep_trace(path_id(id), False, principal_of(request))
        return Response()


_ADDRESS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "type": {"type": "string", "enum": ["tel", "sip", "extension", "agent", "user", "device"]},
        "target": {"type": "string", "description": "A number, a SIP address, or a user's name, extension or id."},
        "name": {"type": "string"},
    },
}
PLACE_BODY: dict[str, Any] = {
    "type": "object",
    "properties": {
        "source": _ADDRESS,
        "destinations": {"type": "array", "items": _ADDRESS},
        "flow_id": {"type": "string", "format": "uuid", "description": "A stored flow that who answers runs."},
        "actions": {"type": "array", "items": {"type": "object"}, "description": "The flow itself, where there is no flow_id."},
        "anonymous": {"type": "string", "enum": ["auto", "yes", "no"], "default": "auto"},
        "variables": {"type": "object", "additionalProperties": {"type": "string"}},
    },
}
MUTE_BODY: dict[str, Any] = {
    "type": "object",
    "properties": {"direction": {"type": "string", "enum": ["both", "in", "out"], "default": "both"}},
}
TALK_BODY: dict[str, Any] = {
    "type": "object",
    "properties": {"text": {"type": "string"}, "language": {"type": "string", "default": "en-US"}},
}
