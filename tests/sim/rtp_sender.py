"""A sender on an unkind network, in virtual time: what it says is planned, what the network does is seeded.

The sender's audio is silence with a click at the beginning of each of its seconds, and its clock may run wrong. The network delays,
loses, reorders and doubles. `deliver` gives (arrival, datagram) in order of arrival.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

CLICK = 40  # samples of a click
LOUD, SILENT = 0x80, 0xFF  # mu-law
A_LOUD, A_SILENT = 0xAA, 0xD5


def clicks(length: int, rate: int = 8000, every_s: float = 1.0, a_law: bool = False) -> NDArray[np.uint8]:
    """mu-law (or A-law) of `length` samples with a click at each `every_s` of the sender's time."""
    audio = np.full(length, A_SILENT if a_law else SILENT, np.uint8)
    for at in range(0, length, round(rate * every_s)):
        audio[at : at + CLICK] = A_LOUD if a_law else LOUD
    return audio


@dataclass
class Network:
    """Delays in seconds; probabilities of 0 to 1."""

    seed: int = 1
    delay: float = 0.02
    jitter: float = 0.005
    loss: float = 0.0
    late: float = 0.0  # how many packets take `late_by` longer
    late_by: float = 0.4
    double: float = 0.0


@dataclass
class Sender:
    """Sends `audio` (mu-law) from `start` on, its clock `ppm` too slow."""

    audio: NDArray[np.uint8]
    start: float
    ppm: float = 0.0
    ptime: int = 20
    ssrc: int = 0x1234
    sequence: int = 65000
    stamp: int = 0xFFFFF000
    payload_type: int = 0
    sent: int = 0
    times: list[float] = field(default_factory=list)

    def real(self, sample: int) -> float:
        """When the sender's sample is sent."""
        return self.start + sample / 8000 * (1 + self.ppm * 1e-6)

    def packets(self) -> Iterator[tuple[float, bytes]]:
        n = self.ptime * 8
        for k in range(len(self.audio) // n):
            at = k * n
            header = struct.pack("!BBHII", 128, self.payload_type, (self.sequence + k) & 0xFFFF, (self.stamp + at) & 0xFFFFFFFF, self.ssrc)
            yield self.real(at), header + self.audio[at : at + n].tobytes()


def deliver(
    packets: Iterator[tuple[float, bytes]], network: Network, keep: Callable[[float], bool] = lambda at: True
) -> list[tuple[float, bytes]]:
    """What arrives, in order; `keep` tells at which times the line is up."""
    chance = random.Random(network.seed)
    out: list[tuple[float, int, bytes]] = []
    for number, (at, data) in enumerate(packets):
        if not keep(at) or chance.random() < network.loss:
            continue
        delay = network.delay + chance.random() * network.jitter
        if chance.random() < network.late:
            delay += chance.random() * network.late_by
        out.append((at + delay, number, data))
        if chance.random() < network.double:
            out.append((at + delay + chance.random() * 0.05, number, data))
    out.sort(key=lambda item: item[0])
    return [(at, data) for at, _, data in out]


def onsets(samples: NDArray[np.int16]) -> NDArray[np.int64]:
    """Where sound begins after at least 50 ms of silence."""
    loud = np.flatnonzero(np.abs(samples.astype(np.int32)) > 8000)
    if not len(loud):
        return loud
    first = np.concatenate(([True], np.diff(loud) > 400))
    return loud[first]
