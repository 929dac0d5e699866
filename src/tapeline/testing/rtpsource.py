"""A voice as RTP packets, made without the program's own RTP code: what a telephone would send, and at which moment.

It gives (time, packet) pairs to be sent through any network, or written to a pcap file for SIPp. Faults that lie with the sender are
made here: silence suppression, an SSRC that changes, a clock that drifts, a gap. Those of the network are in `network`.
RFC 3550 section 5.1.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tapeline.testing.waveforms import Samples, alaw_encode, ulaw_encode

__all__ = ["RtpVoice", "TimedPacket", "write_pcap"]

TimedPacket = tuple[float, bytes]

_ENCODERS: dict[int, Callable[[Samples], bytes]] = {0: ulaw_encode, 8: alaw_encode}


@dataclass(frozen=True, slots=True)
class RtpVoice:
    """How a party sends. PCMU (0) or PCMA (8) at 8000 Hz; times in seconds since its first packet."""

    payload_type: int = 0
    ptime_ms: int = 20
    ssrc: int = 0x1234ABCD
    first_sequence: int = 65_530  # wraps at once, so that every test crosses the wrap
    first_timestamp: int = 0xFFFF_F000
    drift_ppm: float = 0.0  # above 0: the sender's clock is fast
    silent: tuple[tuple[float, float], ...] = ()  # [from, to) where it sends nothing; timestamps go on (RFC 3551 section 4.1)
    new_ssrc_at: tuple[float, ...] = ()  # a new source with its own numbers takes over

    def packets(self, voice: Samples, start: float = 0.0) -> Iterator[TimedPacket]:
        """(time, RTP packet) for all of `voice`, the first at `start`."""
        step = 8000 * self.ptime_ms // 1000
        encoded = _ENCODERS[self.payload_type](voice)
        sequence, timestamp, ssrc = self.first_sequence, self.first_timestamp, self.ssrc
        changes = list(self.new_ssrc_at)
        marker = True
        for first in range(0, len(voice) - step + 1, step):
            at = first / 8000
            if changes and at >= changes[0]:
                changes.pop(0)
                ssrc, sequence, timestamp, marker = (ssrc * 69069 + 1) & 0xFFFFFFFF, (sequence + 30_000) & 0xFFFF, (timestamp * 3 + 7), True
            if any(begin <= at < end for begin, end in self.silent):
                marker = True
            else:
                kind = (0x80 if marker else 0) | self.payload_type
                head = struct.pack("!BBHII", 0x80, kind, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc)
                yield start + at / (1 + self.drift_ppm / 1e6), head + encoded[first : first + step]
                sequence += 1
                marker = False
            timestamp += step


def write_pcap(path: Path, packets: Sequence[TimedPacket], port: int = 6000) -> Path:
    """Write packets as a pcap file (Ethernet, IPv4, UDP), as SIPp's play_pcap_audio reads. Ports and addresses are replaced by SIPp."""
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for at, payload in packets:
            udp = struct.pack("!HHHH", port, port, 8 + len(payload), 0) + payload
            address = bytes((127, 0, 0, 1))
            ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0) + address + address
            frame = bytes(12) + b"\x08\x00" + ip + udp
            whole = int(at)
            file.write(struct.pack("<IIII", whole, round((at - whole) * 1e6), len(frame), len(frame)) + frame)
    return path
