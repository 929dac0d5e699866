"""NCCOs on calls that talk in virtual time: real flows, calls, bridges, conferences, recordings and media engine.

Every timer of the event loop goes by the engine's clock, so that silence, waits and limits need no time. What an application is told is
kept in `told`, and answered from `answers` by the address; a dialled party answers when the test says so.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import numpy as np
from talking_calls import Exchange, Line, Prompts, sdp

from tapeline import flow, sip
from tapeline.calls.conference.register import Conferences
from tapeline.calls.recorder import Recorder
from tapeline.calls.script import Script
from tapeline.calls.session import Call
from tapeline.calls.variables import variables_of
from tapeline.calls.vonage.webhooks import Webhooks
from tapeline.core.errors import NotFound
from tapeline.testing.waveforms import sine

STEP_S = 0.1
SPOKEN_HZ = 2917.0  # what a prompt sounds like
SPOKEN_S = 1.0
BEEP_HZ = 1000.0
TUNE_HZ = 3217.0  # what every file sounds like


class AckingLine(Line):
    """Its other end acknowledges what it is answered."""

    def accept(self, body: bytes, now: float) -> None:
        super().accept(body, now)
        self._exchange.say(sip.Established(self, None))  # type: ignore[arg-type]

    def ring(self, now: float, status: int = 180, body: bytes | None = None) -> None:
        """Nobody looks."""


class StagePrompts(Prompts):
    def __init__(self) -> None:
        self.loaded: list[str] = []

    async def say(self, text: str, language: str, rate: int) -> Any:
        return sine(SPOKEN_HZ, SPOKEN_S, rate, level_db=-18.0)

    async def load(self, address: str, rate: int) -> Any:
        self.loaded.append(address)
        if "missing" in address:
            raise NotFound(f"there is no {address}")
        return sine(TUNE_HZ, SPOKEN_S, rate, level_db=-18.0)


class Talkers(StagePrompts):
    """They keep what was said."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    async def say(self, text: str, language: str, rate: int) -> Any:
        self.said.append(text)
        return await super().say(text, language, rate)


@dataclass
class Receiver:
    """Stands in for the guarded client, and for the application behind it."""

    answers: dict[str, Any] = field(default_factory=dict)  # by path: a document, or bytes
    told: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)  # method, path, what was said

    async def request(self, method: str, url: str, *, body: bytes = b"", **more: Any) -> Any:
        parts = urlsplit(url)
        said = json.loads(body) if body else dict(parse_qsl(parts.query))
        self.told.append((method, parts.path, said))
        answer = self.answers.get(parts.path, b"")
        return SimpleNamespace(status=200, body=answer if isinstance(answer, bytes) else json.dumps(answer).encode())


class Stage(Exchange):
    line = AckingLine
    event_url = ""  # of the calls that begin from now on

    def __init__(self, folder: Path, **settings: Any) -> None:
        super().__init__(folder, **settings)
        self.receiver = Receiver()
        self.kit.http = self.receiver  # type: ignore[assignment]
        self.kit.prompts = StagePrompts()  # type: ignore[assignment]
        self.kit.conferences = Conferences(self.kit)
        self.kit.webhooks = Webhooks(self.kit)
        self.kit.conversation = self._conversation
        self.kit.finished = lambda view: self._recorded(view.id)  # type: ignore[assignment]

    def _conversation(self, activeflow_id: str) -> Call | None:
        """As the switch finds it."""
        up = [call for call in self.calls if call.facts.activeflow_id == activeflow_id and call.status == "progressing"]
        return min(up, key=lambda call: bool(call.facts.master_call_id), default=None)

    def _recorded(self, recording_id: str) -> None:
        """The event of a recording is on its way a moment after its end, as a worker sends it."""
        self._loop.call_later(0.2, self.kit.webhooks.recorded, recording_id)

    async def __aenter__(self) -> Stage:
        self._loop = asyncio.get_running_loop()
        self._loop.time = self.engine.now  # type: ignore[method-assign]
        return self

    async def __aexit__(self, *error: object) -> None:
        self.recorders = [recorder for call in self.calls for recorder in call.recordings]
        for call in self.calls:
            call.hang_up()
        await self.wait(3.0)
        self.engine.stop()
        await self.settle()
        del self._loop.time  # type: ignore[method-assign]

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / STEP_S)):
            super().run(STEP_S)

    async def wait(self, seconds: float) -> None:
        """Let time pass, and whatever is due in it happen in its time."""
        for _ in range(round(seconds / STEP_S)):
            super().run(STEP_S)
            await self.settle()

    def placed(self, call: Call) -> None:
        call.facts = replace(call.facts, event_url=self.event_url)
        call.follow(SimpleNamespace(progressed=_nothing, established=_nothing, digit=_nothing, hung_up=_nothing, action={}))  # type: ignore[arg-type]

    async def dial_in(self, document: Any) -> Call:
        """Somebody calls a number that this NCCO answers."""
        found = flow.compile(document)
        assert found.program is not None, found.problems
        call = self.ringing()
        script = Script(found.program, variables_of(call, self.kit.settings), call, self.kit)
        call.follow(script)
        assert call.offered(sdp())
        script.start()
        await self.settle()
        return call

    def says(self, call: Call, on: bool) -> None:
        """Whether the party of `call` speaks; everybody does from the beginning."""
        own = 417.0 + 200.0 * (self.calls.index(call) % 10)
        self.hertz[call.facts.id] = own if on else 0.0

    def voice(self, call: Call) -> float:
        return 417.0 + 200.0 * (self.calls.index(call) % 10)

    async def press(self, call: Call, keys: str) -> None:
        for key in keys:
            call.on_digit(key, self.engine.now(), event=True)
            await self.settle()

    def recordings(self, call: Call) -> list[Recorder]:
        return list(call.recordings)

    def heard(self, call: Call, begin: float, end: float) -> np.ndarray:
        """What was sent to `call` in [begin, end) of the engine's time."""
        from tapeline.testing.waveforms import ulaw_decode

        mine = [packet for packet in self.engine.sent if packet.leg == call.leg.id and not packet.rtcp]
        return ulaw_decode(b"".join(packet.data[12:] for packet in mine if begin <= packet.at < end)).astype(float) / 32768


def _nothing(*said: Any) -> None:
    """Nobody follows."""


def level(samples: np.ndarray, rate: int, hertz: float, begin: float = 0.0, end: float | None = None) -> float:
    """The amplitude of a tone in [begin, end) of one channel, of 1."""
    part = samples[round(begin * rate) : None if end is None else round(end * rate)].astype(float)
    if np.issubdtype(samples.dtype, np.integer):
        part = part / 32768
    if not len(part):
        return 0.0
    wave = np.exp(-2j * np.pi * hertz * np.arange(len(part)) / rate)
    return float(2 * abs(np.mean(part * wave)))
