"""VoIPBIN's REST face of calls: those there are, placing them, what is done to them. `trace` and `transfer` are ours.

Each row of the table names its method, path, scope and endpoint; no rule lives here.
"""

from __future__ import annotations

from typing import Any

from fastapi import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from tapeline.api.auth import principal_of
from tapeline.api.bodies import destination, read_json, record_spec
from tapeline.api.ports import Service
from tapeline.api.routes import PAGING, Route, path_id, read_paging
from tapeline.api.voipbin import shapes
from tapeline.api.voipbin.call_bodies import call_order, mute_direction, talk_text
from tapeline.core.recordspec import RATES

__all__ = ["START_BODY", "CallFace"]


class CallFace:
    """The endpoints. Holds nothing but what it was given."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._telephony = service.telephony

    def routes(self) -> tuple[Route, ...]:
        return (
            Route("GET", "/calls", "calls:read", self.list_calls, "List calls, newest first", shapes.CallsShape, PAGING),
            Route("GET", "/calls/{id}", "calls:read", self.get_call, "One call", shapes.CallShape),
            Route("DELETE", "/calls/{id}", "calls:write", self.delete_call, "Delete a call; one that lives is hung up", shapes.CallShape),
            Route("POST", "/calls/{id}/hangup", "calls:write", self.hangup, "Hang up", shapes.CallShape),
            Route(
                "POST", "/calls/{id}/transfer", "calls:write", self.transfer, "Connect with somebody else", shapes.CallShape,
                body=TRANSFER_BODY,
            ),
            Route(
                "POST", "/calls/{id}/recording_start", "recordings:write", self.start_recording, "Start recording", shapes.CallShape,
                body=START_BODY, audit="started",
            ),
            Route(
                "POST", "/calls/{id}/recording_stop", "recordings:write", self.stop_recording, "Stop recording", shapes.CallShape,
                audit="stopped",
            ),
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
        )  # fmt: skip

    async def list_calls(self, request: Request) -> Response:
        before, limit = read_paging(request)
        return JSONResponse(shapes.listing(await self._service.list_calls(principal_of(request), before, limit), shapes.call))

    async def get_call(self, request: Request, id: str) -> Response:
        return JSONResponse(shapes.call(await self._service.get_call(path_id(id), principal_of(request))))

    async def delete_call(self, request: Request, id: str) -> Response:
        return JSONResponse(shapes.call(await self._service.delete_call(path_id(id), principal_of(request))))

    async def hangup(self, request: Request, id: str) -> Response:
        return JSONResponse(shapes.call(await self._service.hangup(path_id(id), principal_of(request))))

    async def transfer(self, request: Request, id: str) -> Response:
        call_id = path_id(id)
        to = destination(await read_json(request))
        return JSONResponse(shapes.call(await self._service.transfer(call_id, to, principal_of(request))))

    async def start_recording(self, request: Request, id: str) -> Response:
        call_id = path_id(id)
        spec = record_spec(await read_json(request))
        return JSONResponse(shapes.call(await self._service.start_recording(call_id, spec, principal_of(request))))

    async def stop_recording(self, request: Request, id: str) -> Response:
        return JSONResponse(shapes.call(await self._service.stop_recording(path_id(id), principal_of(request))))

    async def place(self, request: Request) -> Response:
        order = call_order(await read_json(request))
        return JSONResponse(shapes.placed_calls(await self._telephony.place(order, principal_of(request))))

    async def hold(self, request: Request, id: str) -> Response:
        await self._telephony.switch(path_id(id), "hold", True, principal_of(request))
        return Response()

    async def unhold(self, request: Request, id: str) -> Response:
        await self._telephony.switch(path_id(id), "hold", False, principal_of(request))
        return Response()

    async def music(self, request: Request, id: str) -> Response:
        await self._telephony.switch(path_id(id), "music", True, principal_of(request))
        return Response()

    async def unmusic(self, request: Request, id: str) -> Response:
        await self._telephony.switch(path_id(id), "music", False, principal_of(request))
        return Response()

    async def silence(self, request: Request, id: str) -> Response:
        await self._telephony.switch(path_id(id), "silence", True, principal_of(request))
        return Response()

    async def unsilence(self, request: Request, id: str) -> Response:
        await self._telephony.switch(path_id(id), "silence", False, principal_of(request))
        return Response()

    async def mute(self, request: Request, id: str) -> Response:
        call_id = path_id(id)
        await self._telephony.mute(call_id, mute_direction(await read_json(request)), principal_of(request))
        return Response()

    async def unmute(self, request: Request, id: str) -> Response:
        await self._telephony.mute(path_id(id), "", principal_of(request))
        return Response()

    async def talk(self, request: Request, id: str) -> Response:
        call_id = path_id(id)
        text, language = talk_text(await read_json(request))
        await self._telephony.talk(call_id, text, language, principal_of(request))
        return Response()

    async def trace(self, request: Request, id: str) -> Response:
        return PlainTextResponse(await self._telephony.trace(path_id(id), principal_of(request)))

    async def keep_trace(self, request: Request, id: str) -> Response:
        await self._telephony.keep_trace(path_id(id), True, principal_of(request))
        return Response()

    async def forget_trace(self, request: Request, id: str) -> Response:
        await self._telephony.keep_trace(path_id(id), False, principal_of(request))
        return Response()


START_BODY: dict[str, Any] = {
    "type": "object",
    "properties": {
        "format": {"type": "string", "enum": ["wav", "mp3", "ogg"], "default": "wav"},
        "duration": {"type": "number", "description": "Longest, in seconds; 0: as long as the server allows."},
        "end_of_silence": {"type": "number", "description": "Seconds of silence that end it; 0: off."},
        "end_of_key": {"type": "string", "description": "none, any, or the keys that end it, such as #."},
        "on_end_flow_id": {"type": "string", "format": "uuid", "description": "A flow to run once the recording is available."},
        "split": {"type": "boolean", "description": "Two channels: left the recorded party, right what it hears."},
        "heard": {"type": "string", "enum": ["both", "caller", "callee"], "default": "both", "description": "Whose voice is recorded."},
        "rate": {"enum": [*RATES, "own"], "default": RATES[0], "description": "Samples a second; own: the call's."},
        "begin": {"type": "string", "enum": ["now", "media", "answer", "bridge"], "default": "now", "description": "What it waits for."},
        "should_follow_transfer": {"type": "boolean", "default": True, "description": "Go on when the recorded party transfers away."},
        "beep_start": {"type": "boolean", "description": "A beep when it begins."},
        "min_seconds": {"type": "number", "description": "What is shorter fails with too_short and is not kept."},
    },
}
TRANSFER_BODY: dict[str, Any] = {
    "type": "object",
    "required": ["destination"],
    "properties": {
        "destination": {
            "type": "object",
            "required": ["target"],
            "properties": {"type": {"type": "string"}, "target": {"type": "string"}, "target_name": {"type": "string"}},
            "description": "Who takes the place of the other party.",
        }
    },
}
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
