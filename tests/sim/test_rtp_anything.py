"""Anything in any order on three engine threads: legs, buses, taps, prompts and codecs come, change, move and go while packets arrive.

Whatever happens, every packet is in one counter, every tap ends once with a file as long as its time, and nothing is left.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from tapeline.rtp import COMPILED, Bus, BusFull, Closed, EngineConfig, Leg, Source, StreamSpec, Tap, TapEnded, TooManyPlayers
from tapeline.rtp.engine.parts import DROPS
from tapeline.rtp.engine.virtual import PEER, VirtualEngine

SPECS: tuple[dict[str, object], ...] = (
    {"codec": "PCMU", "dtmf_payload_type": 101},
    {"codec": "PCMA", "payload_type": 8, "ptime": 30},
    {"codec": "L16", "rate": 16000, "payload_type": 97},
    {"codec": "G722", "payload_type": 9},
)
DIRECTIONS = ("sendrecv", "sendrecv", "recvonly", "inactive", "sendonly")


class Mess:
    """An engine, what is open in it, and dice."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.dice = random.Random(seed)
        self.engine = VirtualEngine(EngineConfig(threads=3), start=1000.0)
        self.folder = folder
        self.legs: list[Leg] = []
        self.buses: list[Bus] = []
        self.taps: list[Tap] = []
        self.opened = 0
        self.paths: dict[Tap, Path] = {}
        self.streams: dict[int, tuple[int, int]] = {}
        self.deeds: tuple[Callable[[], object], ...] = (
            self.open_leg,
            self.open_bus,
            *(self.join,) * 3,
            self.leave,
            self.open_tap,
            self.hear_other,
            self.stop_tap,
            self.close,
            lambda: self.a_leg().play(np.zeros(self.dice.randrange(4000), np.int16), loop=self.dice.random() < 0.2),
            lambda: self.a_bus().play(np.zeros(self.dice.randrange(1, 4000), np.int16)),
            lambda: self.a_leg().configure(self.spec(self.dice.choice(DIRECTIONS))),
            lambda: self.a_leg().send_digits("12#"[: self.dice.randrange(3)]),
            lambda: self.a_leg().echo(self.dice.random() < 0.5),
        )

    def spec(self, direction: str = "sendrecv") -> StreamSpec:
        return StreamSpec(remote=PEER, direction=direction, **self.dice.choice(SPECS))  # type: ignore[arg-type]

    def a_leg(self) -> Leg:
        return self.dice.choice(self.legs)

    def a_bus(self) -> Bus:
        return self.dice.choice(self.buses)

    def open_leg(self) -> None:
        if len(self.legs) < 12:
            leg = self.engine.open_leg()
            leg.configure(self.spec())
            self.legs.append(leg)

    def open_bus(self) -> None:
        if len(self.buses) < 4:
            self.buses.append(self.engine.open_bus(self.dice.choice((8000, 16000, 48000)), capacity=self.dice.choice((2, 3, 50))))

    def join(self) -> None:
        gains = [self.dice.choice((1, 1, 1, 0.5, 0)) for _ in range(2)]
        self.a_bus().add(self.a_leg(), hear=gains[0], speak=gains[1])

    def leave(self) -> None:
        self.a_bus().remove(self.a_leg())

    def some_sources(self, most: int) -> list[Source]:
        legs = self.dice.sample(self.legs, min(len(self.legs), self.dice.randrange(most + 1)))
        return [Source(self.dice.choice(("in", "out")), leg) for leg in legs]  # type: ignore[arg-type]

    def open_tap(self) -> None:
        if len(self.taps) < 6:
            channels = [[Source("in", self.a_leg())], self.some_sources(2)]
            if self.buses:
                channels.append([Source("mix", self.a_bus())])
            self.opened += 1
            path = self.folder / str(self.opened)
            path.touch()
            tap = self.engine.open_tap(path, channels, rate=self.dice.choice((8000, 16000)))
            self.taps.append(tap)
            self.paths[tap] = path

    def hear_other(self) -> None:
        tap = self.dice.choice(self.taps)
        tap.hear(self.dice.randrange(tap.channels), self.some_sources(3))

    def stop_tap(self) -> None:
        self.taps.pop(self.dice.randrange(len(self.taps))).stop()

    def close(self) -> None:
        things: list[Leg] | list[Bus] = self.dice.choice((self.legs, self.buses))
        if self.dice.random() < 0.3:
            things.pop(self.dice.randrange(len(things))).close()

    def talk(self) -> None:
        """All legs' peers say something for up to 0.2 s."""
        start = self.engine.now()
        for k in range(self.dice.randrange(1, 12)):
            for leg in self.legs:
                assert leg.spec
                sequence, stamp = self.streams.get(leg.id, (self.dice.randrange(65536), self.dice.randrange(2**32)))
                wide = leg.spec.codec == "L16"
                head = struct.pack("!BBHII", 128, leg.spec.payload_type, sequence & 0xFFFF, stamp & 0xFFFFFFFF, leg.id)
                data = head + bytes((self.dice.randrange(256),)) * (640 if wide else 160)
                self.engine.inject(leg, data, max(self.engine.now(), start + k * 0.02))
                self.streams[leg.id] = sequence + 1, stamp + (320 if wide else 160)
        self.engine.sent.clear()


@pytest.mark.parametrize("seed", range(8 if COMPILED else 2))
def test_anything_in_any_order(tmp_path: Path, seed: int) -> None:
    mess = Mess(seed, tmp_path)
    for _ in range(300):
        with suppress(TooManyPlayers, Closed, BusFull, IndexError, ValueError):  # IndexError, ValueError: there is none to choose from
            mess.dice.choice(mess.deeds)()
        if mess.dice.random() < 0.6:
            mess.talk()
    engine = mess.engine
    for tap in mess.taps:
        tap.stop()
    engine.advance(engine.now() + 1.5)
    for leg in mess.legs:
        counters = leg.counters()
        assert counters.packets == sum(getattr(counters, name) for name in DROPS)
    for part in (*mess.legs, *mess.buses):
        part.close()
    engine.advance(engine.now() + 3.0)
    ended = [event for event in engine.events if isinstance(event, TapEnded)]
    assert len(ended) == mess.opened > 3
    for event in ended:
        assert event.reason == "stopped" and event.frames == round((event.at - event.started_at) * event.tap.rate)
        assert mess.paths[event.tap].stat().st_size == event.frames * 2 * event.tap.channels
    assert engine.leg_count == 0 and engine.counters().buses == 0 and engine.counters().players == 0
    assert sum(len(shard.kept) for shard in engine._shards) == 0
    engine.stop()
