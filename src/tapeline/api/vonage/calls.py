"""Vonage's calls: `/v1/calls`, and what is done to one that is up. See docs/vonage.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from fastapi import Request
from starlette.responses import JSONResponse, Response

from tapeline.api.bodies import read_json
from tapeline.api.ports import VoiceService
from tapeline.api.vonage.auth import asking
from tapeline.api.vonage.bodies import LONGEST_TEXT, Reader, call_filter, order, program
from tapeline.api.vonage.webhooks import completion, status_of
from tapeline.api.vonage.words import BadParameters
from tapeline.calls.views import Address, CallView
from tapeline.core.errors import NotFound
from tapeline.core.ids import is_id
from tapeline.core.vonage import conversation_uuid, number_of

__all__ = ["ROUTES", "VonageCalls", "call_shape"]

ROUTES: tuple[tuple[str, str, str, str], ...] = (  # method, path, endpoint, summary
    ("POST", "/v1/calls", "create", "Place a call"),
    ("GET", "/v1/calls", "list", "The application's calls"),
    ("GET", "/v1/calls/{uuid}", "get", "One of them"),
    ("PUT", "/v1/calls/{uuid}", "modify", "Hang up, mute, unmute, earmuff, unearmuff, transfer"),
    ("PUT", "/v1/calls/{uuid}/stream", "stream", "Play a file into a call"),
    ("DELETE", "/v1/calls/{uuid}/stream", "stop_stream", "Stop that"),
    ("PUT", "/v1/calls/{uuid}/talk", "talk", "Speak into a call"),
    ("DELETE", "/v1/calls/{uuid}/talk", "stop_talk", "Stop that"),
    ("PUT", "/v1/calls/{uuid}/dtmf", "dtmf", "Press keys"),
    ("PUT", "/v1/calls/{uuid}/input/dtmf", "keys", "Be told of each key of the party"),
    ("DELETE", "/v1/calls/{uuid}/input/dtmf", "stop_keys", "Be told no more"),
)
ACTIONS: Mapping[str, Mapping[str, bool]] = {
    "mute": {"heard": False},
    "unmute": {"heard": True},
    "earmuff": {"hears": False},
    "unearmuff": {"hears": True},
}


def _party(address: Address) -> dict[str, Any]:
    """A party as the SDKs can read it: they know no type `app`."""
    said = number_of(address.kind, address.target)
    if address.kind == "websocket":
        return {"type": "websocket", "uri": address.target}
    if address.kind in ("user", "extension"):
        return {"type": "vbc", "extension": address.target}
    return {"type": "phone", "number": said} if said.isdigit() or not said else {"type": "sip", "uri": said}


def call_shape(view: CallView) -> dict[str, Any]:
    shape: dict[str, Any] = {
        "_links": {"self": {"href": f"/v1/calls/{view.id}"}},
        "uuid": view.id,
        "conversation_uuid": conversation_uuid(view.activeflow_id),
        "to": _party(view.destination),
        "from": _party(view.source),
        "status": status_of(view),
        "direction": "inbound" if view.direction == "incoming" else "outbound",
    }
    if view.status == "hangup":
        known = completion(view)
        shape |= {name: known[name] for name in ("rate", "price", "duration", "start_time", "end_time") if known[name] is not None}
        shape["network"] = ""
    return shape


class VonageCalls:
    def __init__(self, voice: VoiceService) -> None:
        self._voice = voice

    async def create(self, request: Request) -> Response:
        application = asking(request).application
        wanted = await order(await _body(request), application.event_url)
        shape = call_shape(await self._voice.place(wanted, application))
        shape["status"] = "started"
        return JSONResponse({name: shape[name] for name in ("uuid", "status", "direction", "conversation_uuid")}, 201)

    async def list(self, request: Request) -> Response:
        wanted = call_filter(request.query_params)
        total, views = await self._voice.list(wanted, asking(request).application)
        first, size = wanted.offset, wanted.limit
        places = {"self": first, "first": 0, "last": max(0, total - 1) // size * size}
        if first:
            places["prev"] = max(0, first - size)
        if first + size < total:
            places["next"] = first + size
        given = {name: value for name, value in request.query_params.items() if name not in ("record_index", "page_size")}
        return JSONResponse(
            {
                "count": total,
                "page_size": size,
                "record_index": first,
                "_embedded": {"calls": [call_shape(view) for view in views]},
                "_links": {name: {"href": _link(given, size, place)} for name, place in places.items()},
            }
        )

    async def get(self, uuid: str, request: Request) -> Response:
        return JSONResponse(call_shape(await self._voice.get(_id(uuid), asking(request).application)))

    async def modify(self, uuid: str, request: Request) -> Response:
        call_id, application = _id(uuid), asking(request).application
        body = await _body(request)
        read = Reader(body)
        action = read.word("action", ("hangup", *ACTIONS, "transfer"), "hangup") if read.has("action") else ""
        if not action:
            read.bad("action", "is needed")
        read.finish()
        if action == "hangup":
            await self._voice.hang_up(call_id, application)
        elif action == "transfer":
            made, url = await _destination(body.get("destination"))
            await self._voice.transfer(call_id, application, made, url)
        else:
            await self._voice.mute(call_id, application, **ACTIONS[action])
        return Response(status_code=204)

    async def stream(self, uuid: str, request: Request) -> Response:
        call_id, read = _id(uuid), Reader(await _body(request))
        url = read.address("stream_url")
        if not url:
            read.bad("stream_url", "is needed: an array of one URL")
        loops, level = _manner(read)
        await self._voice.stream(call_id, asking(request).application, url, loops=loops, level=level)
        return _done("Stream started", call_id)

    async def stop_stream(self, uuid: str, request: Request) -> Response:
        await self._voice.hush(_id(uuid), asking(request).application, "stream")
        return _done("Stream stopped", _id(uuid))

    async def talk(self, uuid: str, request: Request) -> Response:
        call_id, read = _id(uuid), Reader(await _body(request))
        text = read.text("text", LONGEST_TEXT)
        if not text.strip():
            read.bad("text", "is needed")
        language = read.text("language", 20) or "en-US"
        loops, level = _manner(read)
        await self._voice.talk(call_id, asking(request).application, text, language, loops=loops, level=level)
        return _done("Talk started", call_id)

    async def stop_talk(self, uuid: str, request: Request) -> Response:
        await self._voice.hush(_id(uuid), asking(request).application, "talk")
        return _done("Talk stopped", _id(uuid))

    async def dtmf(self, uuid: str, request: Request) -> Response:
        call_id, read = _id(uuid), Reader(await _body(request))
        keys = read.keys("digits")
        read.finish()
        await self._voice.press(call_id, asking(request).application, keys)
        return _done("DTMF sent", call_id)

    async def keys(self, uuid: str, request: Request) -> Response:
        call_id, read = _id(uuid), Reader(await _body(request))
        url = read.address("event_url")
        if not url:
            read.bad("event_url", "is needed: an array of one URL")
        method = read.word("event_method", ("POST", "GET"), "POST")
        read.finish()
        await self._voice.tell_keys(call_id, asking(request).application, (url, method))
        return _done("DTMF listener started", call_id)

    async def stop_keys(self, uuid: str, request: Request) -> Response:
        await self._voice.tell_keys(_id(uuid), asking(request).application, None)
        return _done("DTMF listener stopped", _id(uuid))


def _link(given: Mapping[str, str], size: int, place: int) -> str:
    return "/v1/calls?" + urlencode({**given, "page_size": size, "record_index": place})


async def _body(request: Request) -> Mapping[str, Any]:
    return await read_json(request)


def _id(text: str) -> str:
    """Whatever is no id is the id of nothing."""
    if not is_id(text):
        raise NotFound("no call of this application has this id")
    return text.lower()


def _done(message: str, call_id: str) -> Response:
    return JSONResponse({"message": message, "uuid": call_id})


def _manner(read: Reader) -> tuple[int, float]:
    """How often something is heard, and how loud. Ends the reading."""
    loops, level = read.whole("loop", 1, 0, 1_000_000), read.number("level", 0.0, -1.0, 1.0)
    read.finish()
    return loops, level


async def _destination(value: Any) -> tuple[Any, str]:
    """The document of a transfer, or where it is."""
    read = Reader(value if isinstance(value, dict) else {})
    if read.text("type") != "ncco":
        read.bad("destination", "must be an object of the type ncco")
    url = read.address("url")
    if read.has("ncco") == bool(url) and not read.wrong:
        read.bad("destination", "give either ncco or url")
    if read.wrong:
        raise BadParameters(read.wrong)
    return (await program(read.body["ncco"], "destination.ncco") if not url else None), url
