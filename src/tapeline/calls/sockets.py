"""Calls that lead to a websocket: we connect to it, and its sound is that of a leg.

A `SocketLine` stands in the place of a SIP session: what the call tells it is done to the websocket, and what becomes of the websocket is
told to the call in the same events. First goes a text frame `websocket:connected` with the headers of its endpoint, then sound both ways
(`calls.socket_loop`); keys that the others press go as `websocket:dtmf`. A websocket that the peer closes ends its call.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any, cast

import structlog

from tapeline import sip
from tapeline.calls.dialer import DialResult, Wish
from tapeline.calls.equipment import Equipment
from tapeline.calls.media import Media
from tapeline.calls.ports import Socket
from tapeline.calls.session import Call, Facts
from tapeline.calls.socket_loop import SocketLoop
from tapeline.calls.views import Address
from tapeline.calls.vonage.webhooks import event_of
from tapeline.core.errors import Exhausted, InvalidState, TapelineError
from tapeline.core.ids import new_id
from tapeline.core.vonage import signature
from tapeline.sip import offer_answer

__all__ = ["SocketLine", "Sockets"]

log = structlog.get_logger(__name__)

HERE = "127.0.0.1"
WAITING = 100  # frames that a slow peer may lag behind
LONGEST_OPEN_S = 60.0


class SocketLine:
    """What a call asks of its session, for a websocket. `call` is set by who makes both."""

    incoming = False
    trace = None
    keep_trace = False

    def __init__(self, uri: str, options: Mapping[str, Any], loop_rate: int, equipment: Equipment) -> None:
        self.id = self.call_id = new_id()
        self.state = "calling"
        self.local_uri = self.remote_uri = self.request_uri = uri
        self.headers: Mapping[str, Any] = options["headers"]
        self.call: Call | None = None
        self.asks: Callable[[Call, Mapping[str, Any]], None] | None = None  # told, in place of all others, that the peer has gone
        self.port = 0  # of the loop, once that is open
        self.codecs = (f"L16/{loop_rate}",)
        self.loop = SocketLoop(options["rate"], loop_rate, self._frame, self._digit)
        self._kit = equipment
        self._content_type = options["content_type"]
        self._socket: Socket | None = None
        self._waiting: asyncio.Queue[str | bytes] = asyncio.Queue(WAITING)
        self._tasks: list[asyncio.Task[None]] = []
        self.skipped = 0  # frames that the peer was too slow for

    def opened(self, socket: Socket) -> None:
        self.state = "confirmed"
        self._socket = socket
        greeting = {"event": "websocket:connected", "content-type": self._content_type} | dict(self.headers)
        self._waiting.put_nowait(json.dumps(greeting))
        self._tasks = [self._kit.spawn(self._send(socket)), self._kit.spawn(self._receive(socket))]

    # -- what the call wants -------------------------------------------------------------------------------------------

    def hangup(self, now: float, reason: str = "", status: int = 0) -> None:
        self._end("local", 200, "normal", reason)

    def info(self, content_type: str, body: bytes, now: float) -> None:
        """A websocket knows no INFO: keys come as events."""

    def reoffer(self, body: bytes, now: float) -> None:
        raise InvalidState("a websocket cannot be put on hold")

    # -- what becomes of it --------------------------------------------------------------------------------------------

    def failed(self, status: int, text: str) -> None:
        """It could not be opened."""
        self._end("remote", status, "failed", text)

    def _end(self, by: Any, status: int, cause: Any, text: str) -> None:
        if self.state == "terminated":
            return
        self.state = "terminated"
        self.loop.close()
        if self.loop.dropped or self.skipped:
            log.warning("sound of a websocket was dropped", session=self.id, octets_in=self.loop.dropped, frames_out=self.skipped)
        for task in self._tasks:
            task.cancel()
        if self._socket is not None:
            self._kit.spawn(self._socket.close())
        if self.call is not None:
            ended = sip.Ended(cast(sip.Session, self), by, status, cause, text)
            asyncio.get_running_loop().call_soon(self.call.on_signal, ended)

    def _frame(self, frame: bytes) -> None:
        if self._waiting.full():
            self.skipped += 1
        else:
            self._waiting.put_nowait(frame)

    def _digit(self, digit: str, duration_ms: int) -> None:
        if not self._waiting.full():
            self._waiting.put_nowait(json.dumps({"event": "websocket:dtmf", "digit": digit, "duration": duration_ms}))

    async def _send(self, socket: Socket) -> None:
        try:
            while True:
                await socket.send(await self._waiting.get())
        except TapelineError as error:
            self._closed(str(error))

    async def _receive(self, socket: Socket) -> None:
        try:
            while (message := await socket.receive()) is not None:
                if isinstance(message, bytes):
                    self.loop.feed(message)
            self._closed("disconnected")
        except TapelineError as error:
            self._closed(str(error))

    def _closed(self, text: str) -> None:
        """The peer has gone: that is told as an event of its own, with the headers by which it is known."""
        if self.call is not None and self.state == "confirmed":
            told = {"status": "disconnected", "direction": "outbound", "headers": dict(self.headers)}
            event = event_of(self.call, self._kit.clock.wall()) | told
            if self.asks is not None:
                self.asks(self.call, event)
            else:
                self._kit.webhooks.tell(self.call, event)
        self._end("remote", 200, "normal", text)


class Sockets:
    """Places calls to websockets. `add` and `remove` are the switch's."""

    def __init__(self, equipment: Equipment, add: Callable[[Call], None], remove: Callable[[Call], None]) -> None:
        self._kit = equipment
        self._add = add
        self._remove = remove

    async def dial(
        self,
        caller: Call,
        uri: str,
        options: Mapping[str, Any],
        timeout_s: float,
        asks: Callable[[Call, Mapping[str, Any]], None] | None = None,
    ) -> DialResult:
        """Connect to `uri` for `caller`, with which the call ends. `options["websocket"]` holds rate, content_type, headers (JSON),
        authorization, and whether the application signs. That the peer has closed, is told to `asks` where there is one."""
        facts = caller.facts
        made = Facts(
            id=new_id(),
            account=facts.account,
            activeflow_id=facts.activeflow_id,
            source=caller.other_party,
            destination=Address("websocket", uri),
            created=round(self._kit.clock.wall(), 6),
            master_call_id=facts.id,
            application_id=facts.application_id,
            event_url=options.get("event_url") or facts.event_url,
            event_method=options.get("event_method") or facts.event_method,
            event_asked=bool(options.get("event_asked")),
        )
        try:
            call = await self._begin(made, options["websocket"], caller)
        except (OSError, Exhausted):
            return DialResult(None, ("UNREACHABLE", "sip:503"), "failed")
        cast(SocketLine, call.session).asks = asks
        return await self._opened(call, options["websocket"], timeout_s)

    async def place(self, wish: Wish, options: Mapping[str, Any], answered: Callable[[Call], None]) -> Call:
        """Connect to the only party of `wish`, as a call of its own, and hand it to `answered` when it is up. Returns at once. Raises
        Exhausted or OSError where there is no port."""
        made = Facts(
            id=new_id(),
            account=wish.account,
            activeflow_id=new_id(),
            source=wish.source or Address(),
            destination=Address("websocket", wish.parties[0].target),
            created=round(self._kit.clock.wall(), 6),
            application_id=wish.application_id,
            event_url=wish.event_url,
            event_method=wish.event_method,
        )
        call = await self._begin(made, options["websocket"])

        async def run() -> None:
            result = await self._opened(call, options["websocket"], wish.timeout_s)
            if result.call is not None and not call.over:
                answered(call)

        self._kit.spawn(run())
        return call

    async def _begin(self, facts: Facts, options: Mapping[str, Any], caller: Call | None = None) -> Call:
        """A call that the switch knows, with both ends of its loop. Raises Exhausted, OSError."""
        kit = self._kit
        rate = 8000 if options["rate"] == 8000 else 16000
        line = SocketLine(facts.destination.target, options, rate, kit)
        try:
            line.port = await line.loop.open()
            leg = kit.engine.open_leg(HERE, beside=caller.leg if caller is not None else None)
        except (OSError, Exhausted) as error:
            log.error("no websocket can be connected", error=str(error))
            line.loop.close()
            raise
        own = offer_answer.LocalMedia(address=HERE, port=leg.port, codecs=line.codecs, comfort_noise=False)
        call = Call(facts, cast(sip.Session, line), Media(leg, own, kit), kit, lambda: None, self._remove)
        line.call = call
        self._add(call)
        if caller is not None:
            caller.chain(call)
        log.info("call out to a websocket", call_id=facts.id, master_call_id=facts.master_call_id)
        call.follow(_Nobody())
        return call

    async def _opened(self, call: Call, options: Mapping[str, Any], timeout_s: float) -> DialResult:
        """Open its websocket, and let the call be up; else the call is over, or about to be."""
        line = cast(SocketLine, call.session)
        try:
            headers = self._authorization(call, options)
            socket = await self._kit.open_socket(line.request_uri, headers, min(timeout_s, LONGEST_OPEN_S))
        except BaseException as error:
            if isinstance(error, TapelineError) and error.reason == "NO_ANSWER":
                log.info("a websocket was not open in time", call_id=call.facts.id)
                call.hang_up("dialout", "no answer in time")
                return DialResult(None, ("NO_ANSWER",), "noanswer")
            line.failed(503, str(error))
            if not isinstance(error, TapelineError):
                raise
            log.warning("a websocket cannot be connected", call_id=call.facts.id, error=str(error))
            return DialResult(None, ("UNREACHABLE", "sip:503"), "failed")
        if call.over:
            await socket.close()
            return DialResult(None, ("CANCELLED",), "cancel")
        self._up(call, line, socket)
        return DialResult(call)

    def _authorization(self, call: Call, options: Mapping[str, Any]) -> list[tuple[str, str]]:
        """The header of the handshake: as given, or a token that the application's secret has signed."""
        application = self._kit.webhooks.application(call)
        if options["signed"] and application is not None and application.signature_secret:
            return [("Authorization", f"Bearer {signature(application, b'', self._kit.clock.wall(), new_id())}")]
        return [("Authorization", options["authorization"])] if options["authorization"] else []

    def _up(self, call: Call, line: SocketLine, socket: Socket) -> None:
        """Both ends of the loop agree as a caller and a callee do."""
        far = offer_answer.LocalMedia(address=HERE, port=line.port, codecs=line.codecs, comfort_noise=False)
        agreed = offer_answer.answer_offer(call.media.offer(), far)
        line.opened(socket)
        line.loop.start(call.leg.port, agreed.payload_type, agreed.dtmf_payload_type, agreed.dtmf_rate)
        call.on_signal(sip.Progress(cast(sip.Session, line), 180, "Ringing", None))  # events of every call that is answered have it
        call.on_signal(sip.Accepted(cast(sip.Session, line), agreed.sdp, cast(sip.Response, None)))


class _Nobody:
    """Follows a call that nobody leads."""

    @property
    def action(self) -> dict[str, Any]:
        return {}

    def progressed(self, status: int) -> None:
        """It never rings."""

    def established(self) -> None:
        """Who dialled it knows."""

    def digit(self, digit: str) -> None:
        """It has no keys."""

    def hung_up(self, cause: str, by: str) -> None:
        """Who is with it knows."""
