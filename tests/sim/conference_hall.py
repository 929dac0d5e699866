"""A conference in virtual time: real engine, real conference, real recorder; callers who speak tones and keep what they hear.

A `Caller` stands in for a call: it has a leg of the virtual engine, sends its tone from the moment it begins, and decodes what the engine
sends to it. Time is the engine's; recordings lie in a real spool.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tapeline.audio import tones
from tapeline.calls.conference.conference import Conference
from tapeline.calls.conference.members import Charter
from tapeline.calls.conference.register import Conferences
from tapeline.calls.equipment import Equipment
from tapeline.calls.recorder import Recorder
from tapeline.core.errors import NotFound
from tapeline.core.ids import new_id
from tapeline.core.recordspec import RecordSpec
from tapeline.core.roomspec import JoinSpec, RoomSpec
from tapeline.core.settings import Settings
from tapeline.recording.spool import Spool
from tapeline.rtp import Event, Leg, PlayerEnded, StreamSpec, TapEnded, TapProgress
from tapeline.rtp.engine.virtual import VirtualEngine
from tapeline.testing.waveforms import alaw_encode, sine, ulaw_decode, ulaw_encode

START = 1000.0
ACCOUNT = new_id()
MUSIC_HZ = 2517.0  # what waiting members hear here
PACKET_S = 0.02


class EngineClock:
    def __init__(self, engine: VirtualEngine) -> None:
        self._engine = engine

    def now(self) -> float:
        return self._engine.now()

    def wall(self) -> float:
        return 1_700_000_000.0 + self._engine.now()


class HallPrompts:
    """`tone:HZ/MS`, and one kind of music."""

    async def load(self, address: str, rate: int) -> Any:
        if not address.startswith("tone:"):
            raise NotFound(f"there is no {address}")
        hertz, _, milliseconds = address.removeprefix("tone:").partition("/")
        return tones.tone(float(hertz), int(milliseconds) / 1000, rate)

    async def music(self, rate: int) -> Any:
        return sine(MUSIC_HZ, 1.0, rate, level_db=-12.0)


@dataclass
class Rows:
    """Stands in for the write-behind: the newest row of each thing, and how it came to be so."""

    newest: dict[str, Any] = field(default_factory=dict)
    states: dict[str, list[str]] = field(default_factory=dict)

    def put(self, row: Any) -> None:
        self.newest[row.id] = row
        seen = self.states.setdefault(row.id, [])
        state = getattr(row, "status", "") or row.state
        if not seen or seen[-1] != state:
            seen.append(state)


class Caller:
    """A call as far as a conference sees it. Speaks `hertz` in `codec`, and hears."""

    def __init__(self, hall: Hall, hertz: float, codec: str = "PCMU", rate: int = 8000) -> None:
        self.hall = hall
        self.hertz = hertz
        self.codec, self.rate = codec, rate
        self.leg: Leg = hall.engine.open_leg()
        self.leg.configure(StreamSpec(codec=codec, payload_type=0 if codec != "L16" else 97, rate=rate, remote=("192.0.2.1", 4000)))
        party = SimpleNamespace(target=f"+49{hertz:.0f}")
        self.facts = SimpleNamespace(id=new_id(), account=ACCOUNT, application_id="", source=party, destination=party)
        self.facts.activeflow_id = new_id()
        self.status, self.incoming = "progressing", True
        self.place: Any = None
        self.hears = self.speaks = True
        self.media = SimpleNamespace(held=False)
        self.controls = SimpleNamespace(on_hold=False)
        self.notes: list[tuple[str, dict[str, Any]]] = []
        self.recordings = SimpleNamespace(
            note=lambda event, **facts: self.notes.append((event, facts)),
            reached=lambda moment: None, meet=lambda leg, heard: None, part=lambda leg: None, seat=lambda leg, heard: None,
        )  # fmt: skip
        self.left: list[str] = []
        self._packets = 0
        self._begun = hall.engine.now()
        hall.callers.append(self)

    def play(self, samples: Any, then: Callable[[bool], None], *, loop: bool = False) -> Any:
        player = self.leg.play(samples, loop=loop)
        self.hall.kit.players[player.id] = then
        return player

    def join(self, conference: Conference, **spec: Any) -> Any:
        return conference.join(self, JoinSpec(**spec), self.left.append)  # type: ignore[arg-type]

    def hold(self, on: bool) -> None:
        self.hears = self.speaks = not on
        self.media.held = on
        if self.place is not None:
            self.place.held(self, on)

    def packet(self) -> bytes:
        """The next 20 ms of its tone."""
        n = round(self.rate * PACKET_S)
        samples = sine(self.hertz, PACKET_S, self.rate, level_db=-24.0, start=self._packets * n)
        encode = {"PCMU": ulaw_encode, "PCMA": alaw_encode, "L16": lambda x: x.astype(">i2").tobytes()}[self.codec]
        header = bytes([128, 0 if self.codec != "L16" else 97]) + (self._packets & 0xFFFF).to_bytes(2, "big")
        stamp = (self._packets * n & 0xFFFFFFFF).to_bytes(4, "big")
        self._packets += 1
        return header + stamp + self.leg.id.to_bytes(4, "big") + encode(samples)

    def heard(self, begin: float, end: float) -> NDArray[np.float64]:
        """What was sent to it in [begin, end) of the engine's time, -1..1."""
        mine = [packet for packet in self.hall.engine.sent if packet.leg == self.leg.id and not packet.rtcp]
        parts = [packet.data[12:] for packet in mine if begin <= packet.at < end]
        data = b"".join(parts)
        samples = np.frombuffer(data, ">i2") if self.codec == "L16" else ulaw_decode(data)
        return samples.astype(np.float64) / 32768


class Hall:
    """`async with`: the engine, and one register of conferences."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.engine = VirtualEngine(start=START, deliver=self._deliver)
        self.rows = Rows()
        self.callers: list[Caller] = []
        self.pool = ThreadPoolExecutor(1)
        chosen = Settings(conference={"empty_seconds": 0, **settings})
        self.kit = Equipment(
            settings=chosen, clock=EngineClock(self.engine), engine=self.engine, spool=Spool(folder / "spool"), prompts=HallPrompts(),
            writer=self.rows, http=None, pool=self.pool, node="here", finished=lambda view: None, load_flow=None,
        )  # type: ignore[arg-type]  # fmt: skip
        self.conferences = Conferences(self.kit)
        self.spool = self.kit.spool

    async def __aenter__(self) -> Hall:
        return self

    async def __aexit__(self, *error: object) -> None:
        self.engine.stop()
        while self.kit.tasks:
            await asyncio.wait(set(self.kit.tasks))
        self.pool.shutdown()

    def conference(self, *, room: str = "", kind: str = "conference", timeout_s: float | None = None, **spec: Any) -> Conference:
        expires = None if timeout_s is None else self.kit.clock.wall() + timeout_s
        return self.conferences.create(Charter(new_id(), ACCOUNT, self.kit.clock.wall(), kind, room, RoomSpec(**spec), expires=expires))

    def _deliver(self, event: Event) -> None:
        match event:
            case PlayerEnded(player=player, stopped=stopped):
                self.kit.on_player_ended(player, stopped)
            case TapProgress(tap=tap) if tap.id in self.kit.taps:
                self.kit.taps[tap.id].on_progress(event)
            case TapEnded(tap=tap) if tap.id in self.kit.taps:
                self.kit.taps[tap.id].on_tap_ended(event)
            case _:
                pass

    async def settle(self, *, until: Coroutine[Any, Any, Any] | None = None) -> None:
        """Let what is due on the loop happen; threads and tasks that need no time to pass come to their end."""
        if until is not None:
            await until
        for _ in range(5):
            await asyncio.get_running_loop().run_in_executor(self.pool, lambda: None)

    def run(self, seconds: float) -> float:
        """Everybody speaks for so long; where the time is then."""
        end = round((self.engine.now() - START + seconds) / PACKET_S) * PACKET_S + START
        while self.engine.now() < end - 1e-6:
            at = self.engine.now()
            for caller in self.callers:
                if not caller.leg.closed:
                    self.engine.inject(caller.leg, caller.packet(), at)
            self.engine.advance(at + PACKET_S)
        return self.engine.now()

    async def record(self, conference: Conference, **spec: Any) -> Recorder:
        recorder = conference.start_recording(RecordSpec(**{"heard": "mix", "min_s": 0.0, **spec}))
        await recorder.begun.wait()
        return recorder

    async def recorded(self, recorder: Recorder) -> tuple[NDArray[np.float64], int]:
        """What is in the file of one that has stopped: float64[frames, channels], and its rate."""
        self.run(2.0)
        await recorder.done.wait()
        view = recorder.view()
        raw = (self.spool.path(recorder.id) / "audio.wav").read_bytes()
        at = raw.index(b"data") + 8
        samples = np.frombuffer(raw[at:], "<i2").reshape(-1, view.channels).astype(np.float64) / 32768
        return samples, view.rate


def level(samples: NDArray[np.float64], rate: int, hertz: float) -> float:
    """dB of full scale of the tone of `hertz` over all of `samples`."""
    window = np.hanning(len(samples))
    wave = np.exp(-2j * np.pi * hertz * np.arange(len(samples)) / rate)
    return float(20 * np.log10(max(2 * abs(np.sum(samples * window * wave)) / window.sum(), 1e-9)))
