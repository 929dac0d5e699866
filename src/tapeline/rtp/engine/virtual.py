"""The engine without threads, sockets or a clock: the same functions in virtual time, for tests and simulations.

`inject` hands a datagram to a leg at a given time, `advance` makes the ticks up to a given time, `sent` is what legs sent. Commands
are obeyed, and events told, as at those moments. Everything else is the engine's own.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable
from dataclasses import dataclass

from tapeline.rtp.engine.build import native
from tapeline.rtp.engine.engine import Engine
from tapeline.rtp.engine.parts import Leg
from tapeline.rtp.engine.transit import home
from tapeline.rtp.events import Event
from tapeline.rtp.spec import Address, EngineConfig

__all__ = ["PEER", "Sent", "VirtualEngine"]

PEER: Address = ("192.0.2.1", 4000)
_CAPTURE = struct.Struct("<qqii")
_INET = 2


@dataclass(frozen=True)
class Sent:
    """A packet that a leg sent, at `at` s; `rtcp` when it was a report."""

    leg: int
    at: float
    data: bytes
    rtcp: bool


class VirtualEngine(Engine):
    """Begins at `start` s. `events` and `sent` grow until the test empties them."""

    def __init__(
        self, config: EngineConfig | None = None, *, start: float = 1000.0, deliver: Callable[[Event], None] | None = None
    ) -> None:
        super().__init__(config)
        self._ns = round(start * 1e9)
        self._tick_ns = self.config.tick_ms * 1000000
        self._next = self._ns + self._tick_ns
        self._ports_given = itertools.count(self.config.ports[0], 2)
        self.events: list[Event] = []
        self.sent: list[Sent] = []
        self._open_shards(deliver or self.events.append)
        self._shard = self._shards[0]

    def _clock(self) -> int:
        return self._ns

    def _sockets(self, host: str) -> tuple[int, int, int, int]:
        return -1, -1, _INET, next(self._ports_given)

    def _release_port(self, port: int) -> None:
        """Ports are only numbers here."""

    def inject(self, leg: Leg, data: bytes, at: float, *, source: Address = PEER, rtcp: bool = False) -> None:
        """A datagram comes to `leg` from `source` at `at`, after all ticks before that time."""
        self.advance(at)
        self._land()
        if not leg.gone:
            native.inject(home(leg).handle, leg.handle, data, *native.numbers(source[0]), source[1], self._ns, rtcp)
            home(leg).coder.work(home(leg).handle)
            self._collect()

    def _land(self) -> None:
        """Obey what was commanded, until nothing is on its way from one thread to another."""
        while any(shard.busy or shard.transits for shard in self._shards):
            for shard in self._shards:
                if shard.busy or shard.transits:
                    shard.busy = False
                    shard.coder.work(shard.handle)
                    native.obey(shard.handle, self._ns)
                    self._read(shard)

    def advance(self, to: float) -> None:
        """Make every tick up to `to` s; the time is `to` then."""
        goal = round(to * 1e9)
        while self._next <= goal:
            self._ns = self._next
            self._land()
            for shard in self._shards:
                native.tick(shard.handle, self._next)
                shard.coder.work(shard.handle)
            self._next += self._tick_ns
            for shard in self._shards:
                self._read(shard)
            self._collect()
        self._ns = max(self._ns, goal)

    def _collect(self) -> None:
        for shard in self._shards:
            self._take(native.take_captured(shard.handle))

    def _take(self, data: bytes) -> None:
        at = 0
        while at < len(data):
            leg, when, kind, size = _CAPTURE.unpack_from(data, at)
            at += _CAPTURE.size
            self.sent.append(Sent(leg, when / 1e9, data[at : at + size], kind == 1))
            at += size

    def stop(self) -> None:
        """End everything, in one last tick."""
        if not self._shards:
            return
        self._land()
        for shard in self._shards:
            shard.quit()
        self.advance((self._next + 1) / 1e9)
        super().stop()
