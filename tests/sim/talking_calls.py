"""Calls that talk in virtual time: real calls, bridges, transfers, recordings and media engine over signalling that a test plays.

A `Line` stands in for a SIP session: what the call tells it to do happens at once, and the other end's word is given by the `Exchange`,
which also answers (or not) what a transfer dials. Every party says its own tone as long as its port is open. Time is the engine's;
recordings lie in a real spool.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tapeline import flow, sip
from tapeline.audio import wav
from tapeline.calls.bridge import Bridge
from tapeline.calls.dialer import DialResult, Wish
from tapeline.calls.equipment import Equipment
from tapeline.calls.kazoo.metaflows import Actions, Metaflows
from tapeline.calls.media import Media
from tapeline.calls.recorder import Recorder
from tapeline.calls.script import Script
from tapeline.calls.session import Call, Facts
from tapeline.calls.transfer import Transfers
from tapeline.calls.variables import variables_of
from tapeline.calls.views import Address
from tapeline.core.ids import new_id
from tapeline.core.settings import Settings
from tapeline.recording.spool import AUDIO, Spool
from tapeline.rtp import Event, PlayerEnded, TapEnded, TapProgress
from tapeline.rtp.engine.virtual import VirtualEngine
from tapeline.sip import offer_answer
from tapeline.testing.waveforms import sine, ulaw_encode

START = 1000.0
PACKET_S = 0.02
MUSIC_HZ = 2517.0
SPEECH_HZ = 1517.0
ACCOUNT = new_id()


def sdp(direction: str = "sendrecv") -> bytes:
    head = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
    return head + f"m=audio 4000 RTP/AVP 0\r\na={direction}\r\n".encode()


class Inline(Executor):
    """Does at once what is given to a thread."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        made: Future[Any] = Future()
        made.set_result(fn(*args, **kwargs))
        return made


class Line:
    """A SIP session whose other end agrees to everything."""

    numbers = itertools.count(1)

    def __init__(self, exchange: Exchange, incoming: bool) -> None:
        self.id = f"line-{next(self.numbers)}"
        self.call_id = self.id
        self.incoming = incoming
        self.state = "proceeding"
        self.local_uri = self.request_uri = "sip:here@192.0.2.9"
        self.remote_uri = "sip:there@192.0.2.1"
        self.dialog = SimpleNamespace(flow=SimpleNamespace(local=("192.0.2.9", 5060)))
        self.call: Call = None  # type: ignore[assignment]  # at once
        self._exchange = exchange

    def ring(self, now: float, status: int = 180, body: bytes | None = None) -> None:
        self.state = "early"

    def accept(self, body: bytes, now: float) -> None:
        self.state = "confirmed"

    def reoffer(self, body: bytes, now: float) -> None:
        pass

    def answer_reoffer(self, body: bytes, now: float) -> None:
        pass

    def hangup(self, now: float, reason: str = "", status: int = 0) -> None:
        self.state = "terminated"
        self._exchange.say(sip.Ended(self, "local", 200, "normal", reason))  # type: ignore[arg-type]

    def reject(self, status: int, now: float, reason: str = "") -> None:
        self.hangup(now)


@dataclass
class Refer:
    """What a party asks for, and what it was told."""

    target: str
    replaces: str | None = None
    told: list[int] = field(default_factory=list)

    def accept(self, now: float) -> None:
        self.told.append(202)

    def reject(self, status: int, now: float) -> None:
        self.told.append(status)

    def notify(self, status: int, reason: str, now: float) -> None:
        self.told.append(status)


class Prompts:
    def ringback(self, rate: int) -> Any:
        return sine(425.0, 1.0, rate, level_db=-20.0)

    def beep(self, rate: int) -> Any:
        return sine(1000.0, 0.1, rate)

    def silence(self, rate: int) -> Any:
        return np.zeros(rate, np.int16)

    async def music(self, rate: int) -> Any:
        return sine(MUSIC_HZ, 1.0, rate, level_db=-24.0)

    async def say(self, text: str, language: str, rate: int) -> Any:
        return sine(SPEECH_HZ, 1.0, rate, level_db=-18.0)

    async def load(self, address: str, rate: int) -> Any:
        return sine(SPEECH_HZ, 1.0, rate, level_db=-18.0)


class Exchange:
    """`async with`: the engine, and whoever talks over it."""

    line = Line
    application = ""  # that calls belong to

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.engine = VirtualEngine(start=START, deliver=self._deliver)
        self.calls: list[Call] = []
        self.recorders: list[Recorder] = []
        self.scripts: list[Script] = []
        self.dialled: list[tuple[Wish, asyncio.Future[DialResult]]] = []
        self.hertz: dict[str, float] = {}  # what each party says, by the call's id
        self._packets: dict[str, int] = {}
        self._due: list[sip.Event] = []
        self._saying = False
        clock = SimpleNamespace(now=self.engine.now, wall=lambda: 1_700_000_000.0 + self.engine.now())
        self.kit = Equipment(
            settings=Settings(**settings), clock=clock, engine=self.engine, spool=Spool(folder), prompts=Prompts(),
            writer=SimpleNamespace(put=lambda row: None), http=None, pool=Inline(), node="here", finished=lambda view: None, load_flow=None,
        )  # type: ignore[arg-type]  # fmt: skip
        self.kit.dialer = SimpleNamespace(dial=self._dial)  # type: ignore[assignment]
        endpoint = SimpleNamespace(replaced=lambda text: next((call.session for call in self.calls if call.session.id == text), None))
        self.led: list[Call] = []  # that a transfer has given to the flow of the number `flow`
        flow_of = lambda number, account: self.led.append if number == "flow" else None  # noqa: E731
        self.kit.pressed = lambda call, digit: self.kit.metaflows.pressed(call, digit)
        self.transfers = Transfers(self.kit, endpoint, self._pump, self._by_session, flow_of)  # type: ignore[arg-type]
        self.kit.metaflows = Metaflows(self.kit, Actions(self.kit, self.transfers))

    async def __aenter__(self) -> Exchange:
        return self

    async def __aexit__(self, *error: object) -> None:
        for call in self.calls:
            call.hang_up()
        self.run(2.0)
        await self.settle()
        for recorder in self.recorders:
            await recorder.done.wait()
        self.engine.stop()
        await self.settle()

    # -- signalling ----------------------------------------------------------------------------------------------------

    def say(self, event: sip.Event) -> None:
        self._due.append(event)

    def _pump(self) -> None:
        """Tell the calls what has happened, in order."""
        if self._saying:
            return
        self._saying = True
        while self._due:
            event = self._due.pop(0)
            event.session.call.on_signal(event)  # type: ignore[union-attr]
        self._saying = False

    def tell(self, event: sip.Event) -> None:
        self.say(event)
        self._pump()

    def _by_session(self, session_id: str) -> Call | None:
        return next((call for call in self.calls if call.session.id == session_id and call.status != "hangup"), None)

    def _call(self, incoming: bool, master: Call | None = None, user: str = "") -> Call:
        line = self.line(self, incoming)
        leg = self.engine.open_leg(beside=master.leg if master is not None else None)
        name = f"party{len(self.calls)}"
        here, there = Address("sip", "here"), Address("sip", name)
        facts = Facts(
            id=new_id(), account=ACCOUNT, activeflow_id=new_id(), source=there if incoming else here,
            destination=here if incoming else there, created=self.engine.now(), application_id=self.application, user=user,
        )  # fmt: skip
        media = Media(leg, offer_answer.LocalMedia(address="192.0.2.9", port=leg.port, codecs=("PCMU",)), self.kit)
        call = Call(facts, line, media, self.kit, self._pump, lambda call: None)  # type: ignore[arg-type]
        line.call = call
        self.hertz[call.facts.id] = 417.0 + 200.0 * (len(self.calls) % 10)
        self._packets[call.facts.id] = 0
        self.calls.append(call)
        if master is not None:
            master.chain(call)
        self.placed(call)
        return call

    def placed(self, call: Call) -> None:
        """A call is there."""

    def caller(self) -> Call:
        """Somebody calls, and is answered."""
        call = self.ringing()
        self.arrive(call)
        return call

    def ringing(self, user: str = "") -> Call:
        """Somebody calls, who is `user` or nobody of ours."""
        return self._call(True, user=user)

    def early(self, call: Call) -> None:
        """It hears something before it is answered."""
        assert call.offered(sdp()) and call.early_media()

    async def follow(self, call: Call, document: Any, **variables: str) -> Script:
        """Let a flow's document begin on a call, as far as it gets without time."""
        program = flow.compile(document).program
        assert program is not None
        script = Script(program, variables_of(call, self.kit.settings, variables), call, self.kit)
        self.scripts.append(script)
        call.follow(script)
        script.start()
        await self.settle()
        return script

    def incoming(self) -> Call:
        """Somebody calls with an offer, and rings."""
        call = self.ringing()
        assert call.offered(sdp())
        return call

    def tell_up(self, call: Call) -> None:
        """A call whose media are agreed on is answered, and that has been acknowledged."""
        call.answer()
        self.tell(sip.Established(call.session, None))

    def arrive(self, call: Call) -> None:
        assert call.offered(sdp())
        call.answer()
        self.tell(sip.Established(call.session, None))

    def callee(self, master: Call | None) -> Call:
        """Somebody is called, and answers."""
        call = self._call(False, master)
        call.media.offer()
        call.session.state = "confirmed"
        self.tell(sip.Accepted(call.session, sdp(), None))  # type: ignore[arg-type]
        return call

    def talk(self) -> Bridge:
        """Two more parties, connected as a flow connects them."""
        caller = self.caller()
        caller.led = True
        return Bridge(caller, self.callee(caller), self.kit)

    async def hold(self, call: Call, on: bool) -> None:
        self.tell(sip.Reoffered(call.session, sdp("sendonly" if on else "sendrecv")))
        await self.settle()

    def bye(self, call: Call) -> None:
        """The party hangs up."""
        call.session.state = "terminated"
        self.tell(sip.Ended(call.session, "remote", 200, "normal", ""))

    async def _dial(self, wish: Wish, on_progress: Callable[[Call, int], None]) -> DialResult:
        waiting: asyncio.Future[DialResult] = asyncio.get_running_loop().create_future()
        self.dialled.append((wish, waiting))
        return await waiting

    async def outcome(self, answered: bool) -> None:
        """Whom the oldest transfer dials answers, or is busy."""
        wish, waiting = self.dialled.pop(0)
        gone = wish.chained and (wish.caller is None or wish.caller.over)
        found = None if gone or not answered else self.callee(wish.caller if wish.chained else None)
        waiting.set_result(DialResult(found) if found is not None else DialResult(None, ("BUSY", "sip:486"), "busy"))
        await self.settle()

    # -- media and time ------------------------------------------------------------------------------------------------

    def _deliver(self, event: Event) -> None:
        match event:
            case PlayerEnded(player=player, stopped=stopped):
                self.kit.on_player_ended(player, stopped)
            case TapProgress(tap=tap) | TapEnded(tap=tap):
                recorder = self.kit.taps.get(tap.id)
                if recorder is not None and isinstance(event, TapEnded):
                    recorder.on_tap_ended(event)
            case _:
                call = next((call for call in self.calls if call.leg is event.leg), None)
                if call is not None:
                    call.on_media(event)

    async def settle(self) -> None:
        """Let what is due on the loop happen, for as long as no time has to pass for it."""
        for _ in range(12):
            await asyncio.get_running_loop().run_in_executor(self.kit.pool, lambda: None)

    def _packet(self, call: Call) -> bytes:
        number = self._packets[call.facts.id]
        self._packets[call.facts.id] = number + 1
        samples = sine(self.hertz[call.facts.id], PACKET_S, 8000, level_db=-18.0, start=number * 160)
        head = bytes([128, 0]) + (number & 0xFFFF).to_bytes(2, "big") + (number * 160 & 0xFFFFFFFF).to_bytes(4, "big")
        return head + call.leg.id.to_bytes(4, "big") + ulaw_encode(samples)

    def run(self, seconds: float) -> None:
        """Everybody who does not hold speaks for so long."""
        for _ in range(round(seconds / PACKET_S)):
            at = self.engine.now()
            for call in self.calls:
                if not call.leg.closed and call.media.agreed is not None and not call.media.held:
                    self.engine.inject(call.leg, self._packet(call), at)
                else:
                    self._packets[call.facts.id] += 1
            self.engine.advance(at + PACKET_S)
            for ringing in [*self.kit.recorders.values(), *self.scripts]:
                ringing._tick()

    async def wait(self, seconds: float) -> None:
        self.run(seconds)
        await self.settle()

    async def record(self, call: Call, spec: Any) -> Recorder:
        recorder = call.start_recording(spec)
        self.recorders.append(recorder)
        await self.settle()
        return recorder

    def file(self, recorder: Recorder) -> tuple[NDArray[np.int16], int]:
        """The samples of a recording that is done: int16[frames, channels], and their rate."""
        return wav.read(self.kit.spool.path(recorder.id) / AUDIO)
