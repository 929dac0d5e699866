"""Peers that speak codecs of frames, in virtual time, each with an encoder and a decoder of its own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from rtp_peer import World, decode, encode, rtp

from tapeline.rtp import Leg, StreamSpec, codecs
from tapeline.rtp.codecs import Coder
from tapeline.rtp.engine.virtual import PEER

Samples = NDArray[np.int16]
SPECS = {
    "PCMU": StreamSpec(remote=PEER, dtmf_payload_type=101),
    "G722": StreamSpec(codec="G722", payload_type=9, remote=PEER, dtmf_payload_type=101),
    "opus": StreamSpec(codec="opus", payload_type=111, rate=48000, channels=2, remote=PEER, dtmf_payload_type=101),
}


class CodedPeer:
    """What stands at the other end of `leg`."""

    def __init__(self, world: World, leg: Leg, ptime: int = 20) -> None:
        assert leg.spec
        self.world, self.leg, self.spec, self.ptime = world, leg, leg.spec, ptime
        codec = codecs.find(self.spec.codec, self.spec.rate)
        self.coder: Coder | None = codec.coder(ptime, "") if codec.coder else None
        self.sequence, self.stamp, self.taken = 100, 5000, 0

    def packets(self, pcm: Samples, start: float) -> list[tuple[float, Leg, bytes]]:
        """What it says, int16[n] at the leg's rate, from `start` on."""
        n = self.ptime * self.leg.rate // 1000
        said = []
        for k in range(len(pcm) // n):
            frame = pcm[k * n : k * n + n]
            payload = self.coder.encode(frame.astype(">i2").tobytes()) if self.coder else encode(frame)
            data = rtp(self.sequence, self.stamp, payload, payload_type=self.spec.payload_type, ssrc=self.leg.id)
            said.append((start + k * self.ptime / 1000, self.leg, data))
            self.sequence += 1
            self.stamp += self.ptime * self.spec.rate // 1000
        return said

    def heard(self) -> Samples:
        """What was sent to it since the last call."""
        packets = [packet for packet in self.world.sent(self.leg) if packet.payload_type == self.spec.payload_type]
        payloads = [packet.payload for packet in packets[self.taken :]]
        self.taken = len(packets)
        if self.coder is None:
            return np.concatenate([decode(payload) for payload in payloads])
        return np.concatenate([np.frombuffer(self.coder.decode(payload), ">i2").astype(np.int16) for payload in payloads])


def converse(world: World, *said: Sequence[tuple[float, Leg, bytes]]) -> None:
    """Let all of it arrive."""
    for at, leg, data in sorted((packet for each in said for packet in each), key=lambda packet: packet[0]):
        world.engine.inject(leg, data, at)


def murmur(seconds: float, rate: int) -> Samples:
    """Noise below 2 kHz, the same for every rate."""
    noise = np.convolve(np.random.default_rng(3).normal(size=round(seconds * 48000)), np.hanning(60), "same")
    return (noise / np.abs(noise).max() * 20000).astype(np.int16)[:: 48000 // rate].copy()


def level(pcm: Samples, hz: float, rate: int) -> float:
    """The amplitude of a tone."""
    wave = np.exp(-2j * np.pi * hz / rate * np.arange(len(pcm)))
    return float(2 * abs(np.dot(pcm, wave)) / len(pcm))
