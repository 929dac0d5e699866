"""The engine as the rest of tapeline uses it: opens legs, buses and taps, and hands events to the asyncio loop.

It owns the threads (one `Shard` each), the ports, and the mapping from the engine's numbers to objects. It never waits for a thread,
but in `stop`. Knows nothing of signalling, recordings or flows.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import os
import secrets
import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tapeline.core.errors import InvalidInput, InvalidState
from tapeline.rtp import events
from tapeline.rtp.engine import constants as c
from tapeline.rtp.engine.build import native
from tapeline.rtp.engine.coder import Coders
from tapeline.rtp.engine.parts import EVENTS, Bus, Leg, Player, Source, Tap
from tapeline.rtp.engine.ports import Ports
from tapeline.rtp.engine.shard import EventRecord, Shard
from tapeline.rtp.engine.transit import home
from tapeline.rtp.errors import Closed, TooManyLegs
from tapeline.rtp.spec import EngineConfig

__all__ = ["Engine", "EngineCounters"]

Deliver = Callable[[events.Event], None]


TRAFFIC = (
    *("packets", "placed", "late", "duplicate", "foreign", "malformed", "early", "wrong_payload", "unwanted", "unsettled", "implausible"),
    *("empty", "comfort_noise", "dtmf", "overloaded", "reports", "jumps", "relayed", "sent", "unsent", "skipped"),
)


@dataclass(frozen=True)
class EngineCounters:
    """Sums over all threads: `busy_ns` was spent in ticks, `overruns` are ticks that were missed, `lost_events` found no room."""

    legs: int
    buses: int
    taps: int
    players: int
    ticks: int
    overruns: int
    busy_ns: int
    lost_events: int


class Engine:
    """All methods but `stop` return at once. `start` before anything else."""

    def __init__(self, config: EngineConfig | None = None) -> None:
        self.config = config or EngineConfig()
        self._ports = Ports(*self.config.ports, self.config.cooldown_s)
        self._numbers = itertools.count(1)
        self._parts: dict[int, Any] = {}
        self._shards: list[Shard] = []
        self._coders = Coders()
        self._traffic: Counter[str] = Counter()  # of legs that are gone
        self._deliver: Deliver = lambda event: None
        self._loop: asyncio.AbstractEventLoop | None = None

    # -- life

    def start(self, deliver: Deliver, loop: asyncio.AbstractEventLoop) -> None:
        """Start the threads; events are handed to `deliver` on `loop`."""
        if self._shards:
            raise InvalidState("the engine has been started already")
        self._open_shards(deliver)
        self._loop = loop
        for shard in self._shards:
            shard.start()
            loop.add_reader(shard.events_fd, self._read, shard)

    def _open_shards(self, deliver: Deliver) -> None:
        self._deliver = deliver
        self._shards = [Shard(self.config, f"rtp-{number}", self._coders, self._clock) for number in range(max(1, self.config.threads))]

    def stop(self) -> None:
        """Write out every tap, end everything and wait for the threads; the last events are handed over before this returns."""
        self._land()
        for shard in self._shards:
            shard.quit()
        for shard in self._shards:
            if self._loop is not None:
                self._loop.remove_reader(shard.events_fd)
            while not shard.join(0.005):
                shard.flush()
                self._read(shard)
            self._read(shard)
            shard.close()
        for part in list(self._parts.values()):
            part.closed = part.gone = True
        self._parts.clear()
        self._shards = []

    def _land(self) -> None:
        """Wait until nothing is on its way from one thread to another."""
        deadline = time.monotonic() + 2.0
        while any(shard.transits for shard in self._shards) and time.monotonic() < deadline:
            for shard in self._shards:
                shard.flush()
                self._read(shard)
            time.sleep(0.001)

    def now(self) -> float:
        """The engine's time: seconds of CLOCK_MONOTONIC."""
        return self._clock() / 1e9

    def _clock(self) -> int:
        return time.monotonic_ns()

    # -- what it is made of

    def open_leg(self, bind: str | None = None, *, beside: Leg | Bus | None = None) -> Leg:
        """A leg on a free pair of ports, on the thread of `beside` or the one with the fewest. Raises NoPorts, TooManyLegs."""
        shard = home(beside) if beside else self._least_busy()
        if shard.legs >= self.config.max_legs:
            raise TooManyLegs(f"{shard.legs} legs are open")
        host = bind or self.config.bind
        rtp, rtcp, family, port = self._sockets(host)
        leg = Leg(next(self._numbers), shard, self._clock, self._numbers.__next__, host, port, self._coders)
        ssrc, sequence, stamp, name = (
            secrets.randbits(32),
            secrets.randbits(15),  # RFC 3711 section 3.3.1: a first sequence number far from its wrap
            secrets.randbits(32),
            secrets.randbits(63),
        )
        leg.handle = shard.keep(native.new_leg(leg.id, rtp, rtcp, family, ssrc, sequence, stamp, name))
        shard.legs += 1
        self._parts[leg.id] = leg
        shard.command(c.ADD_LEG, leg.handle)
        return leg

    def _sockets(self, host: str) -> tuple[int, int, int, int]:
        rtp, rtcp, port = self._ports.take(host, self._clock() / 1e9)
        return rtp.detach(), rtcp.detach(), int(socket.AF_INET6 if ":" in host else socket.AF_INET), port

    def _least_busy(self) -> Shard:
        if not self._shards:
            raise InvalidState("the engine is not running")
        return min(self._shards, key=lambda shard: shard.legs)

    def open_bus(self, rate: int = 8000, *, beside: Leg | Bus | None = None, capacity: int = 256, digits: bool = True) -> Bus:
        """A bus for `capacity` legs, on the thread of `beside`. `rate` is that of its players; legs hear it at their own.

        `digits`: as long as there are two members, each gets the other's telephone events; not wanted in a conference.
        """
        if rate not in (8000, 16000, 48000) or not 1 <= capacity <= 4096:
            raise InvalidInput(f"a bus runs at 8000, 16000 or 48000 for 1 to 4096 legs, not at {rate} for {capacity}")
        shard = home(beside) if beside else self._least_busy()
        bus = Bus(next(self._numbers), shard, self._clock, self._numbers.__next__, rate, capacity, digits)
        self._parts[bus.id] = bus
        shard.command(c.ADD_BUS, bus.handle)
        return bus

    def open_tap(self, path: str | Path, channels: Sequence[Sequence[Source]], *, rate: int, beside: Leg | Bus | None = None) -> Tap:
        """Append to the file `path`, from now on, frames of one int16 per channel, each the sum of its sources.

        Without any source, which is silence until it is told to `hear`, the tap lives on the thread of `beside`. Raises InvalidInput,
        Closed, and OSError when the file cannot be opened.
        """
        heard = [source.of for channel in channels for source in channel]
        if not 1 <= len(channels) <= c.CHANNELS or len(heard) > c.SOURCES // 2:
            raise InvalidInput(f"a tap has 1 to {c.CHANNELS} channels and at most {c.SOURCES // 2} sources")
        where = next(iter(heard), beside)
        if where is None:
            raise InvalidInput("a tap without sources must be told beside whom it lives")
        if rate % 1000 or not 8000 <= rate <= 48000:
            raise InvalidInput(f"a tap cannot run at {rate}")
        if any(part.closed for part in heard):
            raise Closed("a source of the tap is closed")
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        tap = Tap(next(self._numbers), home(where), self._clock, fd, channels, rate)
        self._parts[tap.id] = tap
        return tap

    # -- what is told

    def _read(self, shard: Shard) -> None:
        if shard.stalled:
            shard.flush()
        for record in shard.events():
            event = self._event(shard, record)
            if event is not None:
                self._deliver(event)

    def _event(self, shard: Shard, record: EventRecord) -> events.Event | None:
        """The event that a record stands for; None for those that only concern memory."""
        kind, size, target, at_ns, a, b, extra = record[:7]
        at = at_ns / 1e9
        if kind == c.MOVED:
            while shard.arrived < a:
                shard.arrived += 1
                shard.transits.popleft().arrive()
            return None
        if kind == c.PLAYER_ENDED:
            return self._player_ended(target, b, bool(a), at)
        part = self._parts.get(target)
        if part is None:
            return None
        if kind == c.TAP_PROGRESS:
            return events.TapProgress(part, a, tuple(level / 32767 for level in record[7 : 7 + size]), at)
        if kind == c.TAP_ENDED:
            return self._tap_ended(part, a, b, extra / 1e9, at)
        if kind in (c.LEG_CLOSED, c.BUS_CLOSED):
            self._forget(part)
            return None
        return _leg_event(kind, part, a, b, at)

    def _player_ended(self, number: int, owner: int, stopped: bool, at: float) -> events.Event:
        player: Player = self._parts[owner].players.pop(number)
        player.closed = True
        player.shard.free(player.handle)
        return events.PlayerEnded(player, stopped, at)

    def _tap_ended(self, tap: Tap, frames: int, error: int, started_at: float, at: float) -> events.Event:
        tap.ended(frames)
        del self._parts[tap.id]
        tap.shard.free(tap.handle)
        if error == 0:
            return events.TapEnded(tap, frames, "stopped", "", started_at, at)
        reason: Any = "disk_full" if error in (errno.ENOSPC, errno.EDQUOT) else "io_error"
        return events.TapEnded(tap, frames, reason, os.strerror(error), started_at, at)

    def _forget(self, part: Leg | Bus) -> None:
        del self._parts[part.id]
        part.closed = True
        if isinstance(part, Leg):
            self._traffic += _traffic(part)
            part.forget_coder()
            home(part).legs -= 1
            self._release_port(part.port)
        part.gone = True
        part.shard.free(part.handle)

    def _release_port(self, port: int) -> None:
        self._ports.give_back(port, self._clock() / 1e9)

    # -- figures

    @property
    def leg_count(self) -> int:
        return sum(shard.legs for shard in self._shards)

    def counters(self) -> EngineCounters:
        """A snapshot over all threads."""
        each = [native.shard_numbers(shard.handle) for shard in self._shards]
        sums = {name: sum(numbers[name] for numbers in each) for name in ("ticks", "overruns", "busy_ns", "lost_events")}
        counts = {Leg: 0, Bus: 0, Tap: 0}
        for part in self._parts.values():
            counts[type(part)] += 1
        players = sum(len(part.players) for part in self._parts.values() if isinstance(part, Leg | Bus))
        return EngineCounters(legs=counts[Leg], buses=counts[Bus], taps=counts[Tap], players=players, **sums)

    def traffic(self) -> dict[str, int]:
        """Packets of all legs so far, by the names in `TRAFFIC`, which `LegCounters` explains."""
        total = self._traffic.copy()
        for part in self._parts.values():
            if isinstance(part, Leg):
                total += _traffic(part)
        return {name: total[name] for name in TRAFFIC}


def _traffic(leg: Leg) -> Counter[str]:
    counters = leg.counters()
    return Counter({name: getattr(counters, name) for name in TRAFFIC})


def _leg_event(kind: int, leg: Leg, a: int, b: int, at: float) -> events.Event | None:
    if kind == c.DIGIT:
        return events.Digit(leg, EVENTS[a], b, at)
    if kind == c.MEDIA_STARTED:
        return events.MediaStarted(leg, at)
    if kind == c.MEDIA_TIMEOUT:
        return events.MediaTimeout(leg, a / 1e9, at)
    if kind == c.MEDIA_RESUMED:
        return events.MediaResumed(leg, at)
    if kind == c.SOURCE_CHANGED:
        return events.SourceChanged(leg, a, at)
    if kind == c.VOICE:
        return events.Voice(leg, bool(a), at)
    return None
