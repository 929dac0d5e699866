"""A peer in virtual time: makes packets, and reads those that a leg sent."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from tapeline.rtp import Event, Leg, Source, StreamSpec, Tap, codecs
from tapeline.rtp.engine.parts import DROPS
from tapeline.rtp.engine.virtual import PEER, Sent, VirtualEngine

T = TypeVar("T")


def rtp(sequence: int, stamp: int, payload: bytes, *, payload_type: int = 0, ssrc: int = 7, marker: bool = False) -> bytes:
    return struct.pack("!BBHII", 128, marker << 7 | payload_type, sequence & 0xFFFF, stamp & 0xFFFFFFFF, ssrc) + payload


def encode(pcm: NDArray[np.int16], codec: str = "PCMU", rate: int = 8000) -> bytes:
    table = codecs.find(codec, rate).compress
    return pcm.astype(">i2").tobytes() if table is None else table[(pcm >> 2) & 0x3FFF].tobytes()


def decode(payload: bytes, codec: str = "PCMU", rate: int = 8000) -> NDArray[np.int16]:
    table = codecs.find(codec, rate).expand
    return np.frombuffer(payload, ">i2").astype(np.int16) if table is None else table[np.frombuffer(payload, np.uint8)]


def tone(seconds: float, hz: float = 440, level: int = 8000, rate: int = 8000) -> NDArray[np.int16]:
    return (np.sin(np.arange(round(seconds * rate)) * (2 * np.pi * hz / rate)) * level).astype(np.int16)


@dataclass(frozen=True)
class Packet:
    at: float
    marker: int
    payload_type: int
    sequence: int
    stamp: int
    ssrc: int
    payload: bytes


def read(sent: Sent) -> Packet:
    first, second, sequence, stamp, ssrc = struct.unpack_from("!BBHII", sent.data)
    assert first == 128
    return Packet(sent.at, second >> 7, second & 127, sequence, stamp, ssrc, sent.data[12:])


class World:
    """An engine in virtual time with a folder for its recordings."""

    def __init__(self, folder: Path) -> None:
        self.engine = VirtualEngine(start=1000.0)
        self.folder = folder
        self.streams: dict[int, tuple[int, int]] = {}

    def leg(self, **spec: object) -> Leg:
        leg = self.engine.open_leg()
        leg.configure(StreamSpec(**({"remote": PEER} | spec)))  # type: ignore[arg-type]
        return leg

    def tap(self, *channels: Sequence[Source], rate: int = 8000, name: str = "audio") -> Tap:
        (self.folder / name).touch()
        return self.engine.open_tap(self.folder / name, channels, rate=rate)

    def recording(self, channels: int = 1, name: str = "audio") -> NDArray[np.int16]:
        return np.fromfile(self.folder / name, np.int16).reshape(-1, channels)

    def speak(self, *voices: tuple[Leg, NDArray[np.int16]], ptime: int = 20) -> None:
        """Each peer says its samples at once, from now on, in packets of `ptime`; the stream of a leg goes on where it was."""
        queue = [(at, leg, data) for leg, pcm in voices for at, data in self.spoken(leg, pcm, ptime)]
        for at, leg, data in sorted(queue, key=lambda item: item[0]):
            self.engine.inject(leg, data, at)

    def spoken(self, leg: Leg, pcm: NDArray[np.int16], ptime: int = 20) -> list[tuple[float, bytes]]:
        """The next packets of the leg's peer, from now on, each with the time of its arrival."""
        spec = leg.spec
        assert spec
        start = self.engine.now()
        n = ptime * spec.rate // 1000
        sequence, stamp = self.streams.get(leg.id, (100, 5000))
        self.streams[leg.id] = (sequence + len(pcm) // n, stamp + len(pcm))
        packets = []
        for k in range(len(pcm) // n):
            payload = encode(pcm[k * n : k * n + n], spec.codec, spec.rate)
            data = rtp(sequence + k, stamp + k * n, payload, payload_type=spec.payload_type, ssrc=leg.id)
            packets.append((start + k * ptime / 1000, data))
        return packets

    def wait(self, seconds: float) -> None:
        self.engine.advance(self.engine.now() + seconds)

    def sent(self, leg: Leg) -> list[Packet]:
        return [read(sent) for sent in self.engine.sent if sent.leg == leg.id and not sent.rtcp]

    def events(self, kind: type[T]) -> list[T]:
        return [event for event in self.engine.events if isinstance(event, kind)]

    def told(self) -> list[Event]:
        return self.engine.events

    def check_counters(self, leg: Leg) -> None:
        counters = leg.counters()
        assert counters.packets == sum(getattr(counters, name) for name in DROPS)
