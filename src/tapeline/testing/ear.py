"""Ears without a mouth: UDP ports at which a test hears what is sent to a peer that does not listen itself (SIPp).

The kernel keeps what arrives until it is asked for, so nothing runs while the call does. Packets are placed by their timestamps, each new
source by the moment at which it began; G.711 only. Written apart from the program's own RTP code. Blocking for no time.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from tapeline.testing.listening import Heard
from tapeline.testing.waveforms import alaw_decode, ulaw_decode

__all__ = ["Ears", "Packet"]

_RATE = 8000
_BUFFER = 16 << 20  # more than ten minutes of packets of 20 ms
_SO_TIMESTAMPNS = 35
_SO_RCVBUFFORCE = 33
_DECODERS = {0: ulaw_decode, 8: alaw_decode}
_KEYS = "0123456789*#ABCD"


@dataclass(frozen=True, slots=True)
class Packet:
    """One RTP packet (RFC 3550 section 5.1) and the moment it came, in seconds of the wall clock."""

    at: float
    payload_type: int
    marker: bool
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes

    @classmethod
    def of(cls, data: bytes, at: float) -> Packet | None:
        """None for what is no RTP of the simple kind (no padding, extension or contributors) that tapeline sends."""
        if len(data) < 12 or data[0] != 0x80:
            return None
        _, kind, sequence, timestamp, ssrc = struct.unpack_from("!BBHII", data)
        return cls(at, kind & 0x7F, bool(kind & 0x80), sequence, timestamp, ssrc, data[12:])


@dataclass(slots=True)
class _Ear:
    port: socket.socket
    packets: list[Packet] = field(default_factory=list)


class Ears:
    """`count` ports, each `step` after the one before; ear n hears what comes to `first + n * step`."""

    def __init__(self, first: int, count: int, step: int = 4, host: str = "127.0.0.1") -> None:
        self._address = (host, first)
        self._count = count
        self._step = step
        self._ears: list[_Ear] = []

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def open(self) -> None:
        """Begin to hear. Raises OSError where a port is not free."""
        host, first = self._address
        for number in range(self._count):
            port = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._ears.append(_Ear(port))
            port.setblocking(False)
            port.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
            try:
                port.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
            except PermissionError:
                port.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
            port.bind((host, first + number * self._step))

    def close(self) -> None:
        """Stop hearing; what was heard stays."""
        for number, ear in enumerate(self._ears):
            if ear.port.fileno() >= 0:
                self.packets(number)
                ear.port.close()

    def packets(self, number: int = 0) -> list[Packet]:
        """All RTP packets that ear `number` got so far, in order of arrival."""
        ear = self._ears[number]
        if ear.port.fileno() >= 0:
            ear.packets += _waiting(ear.port)
        return ear.packets

    def heard(self, number: int = 0) -> Heard:
        """What ear `number` heard, from the first packet to the last. Raises AssertionError where that is nothing."""
        packets = [packet for packet in self.packets(number) if packet.payload_type in _DECODERS]
        assert packets, f"nobody spoke to port {self._address[1] + number * self._step}"
        pieces = list(_placed(packets))
        samples = np.zeros(max(at + len(piece) for at, piece in pieces), dtype=np.float64)
        for at, piece in pieces:
            samples[at : at + len(piece)] = piece
        return Heard(samples.reshape(-1, 1) / 32768.0, _RATE)

    def keys(self, number: int = 0) -> str:
        """The keys pressed towards ear `number`: RFC 4733 events, each timestamp once."""
        pressed: dict[tuple[int, int], str] = {}
        for packet in self.packets(number):
            if packet.payload_type not in _DECODERS and len(packet.payload) == 4 and packet.payload[0] < len(_KEYS):
                pressed.setdefault((packet.ssrc, packet.timestamp), _KEYS[packet.payload[0]])
        return "".join(pressed.values())


def _waiting(port: socket.socket) -> Iterator[Packet]:
    """What the kernel holds."""
    while True:
        try:
            data, extra, _, _ = port.recvmsg(2048, 64)
        except BlockingIOError:
            return
        seconds, nanoseconds = next((struct.unpack("@ll", value[:16]) for _, kind, value in extra if kind == _SO_TIMESTAMPNS), (0, 0))
        if (packet := Packet.of(data, seconds + nanoseconds / 1e9)) is not None:
            yield packet


def _placed(packets: list[Packet]) -> Iterator[tuple[int, NDArray[np.int16]]]:
    """(first sample, samples) of each packet. A source begins when its first packet came; from there its timestamps count."""
    begun: dict[int, tuple[int, int]] = {}
    for packet in packets:
        place, stamp = begun.setdefault(packet.ssrc, (round((packet.at - packets[0].at) * _RATE), packet.timestamp))
        since = ((packet.timestamp - stamp + 0x8000_0000) & 0xFFFF_FFFF) - 0x8000_0000
        if place + since >= 0:
            yield place + since, _DECODERS[packet.payload_type](packet.payload)
