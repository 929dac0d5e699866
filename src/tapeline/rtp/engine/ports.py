"""Pairs of UDP ports: RTP on an even one, RTCP on the next (RFC 3550 section 11), used again only after they have cooled down.

A call's late packets must not reach the next call, so a pair rests after its leg was closed. Sockets ask the kernel to note when each
datagram came: the engine may then read them later than that.
"""

from __future__ import annotations

import socket
from collections import deque

from tapeline.rtp.errors import NoPorts

__all__ = ["Ports"]

SO_TIMESTAMPNS = 35
_TRIES = 200


class Ports:
    """Hands out pairs in turn, so that the one used longest ago comes next."""

    def __init__(self, first: int, last: int, cooldown_s: float) -> None:
        self._free = deque(port for port in range(first + first % 2, last, 2))
        self._resting: deque[tuple[float, int]] = deque()
        self._cooldown_s = cooldown_s

    def take(self, host: str, now: float) -> tuple[socket.socket, socket.socket, int]:
        """Two bound sockets and the RTP port. Raises NoPorts."""
        while self._resting and self._resting[0][0] <= now:
            self._free.append(self._resting.popleft()[1])
        for _ in range(min(len(self._free), _TRIES)):
            port = self._free.popleft()
            rtp = _bind(host, port)
            rtcp = _bind(host, port + 1) if rtp else None
            if rtp and rtcp:
                return rtp, rtcp, port
            if rtp:
                rtp.close()
            self._resting.append((now + self._cooldown_s, port))  # somebody else has it now
        raise NoPorts("no pair of RTP ports is free", hint="widen server.rtp_ports")

    def give_back(self, port: int, now: float) -> None:
        self._resting.append((now + self._cooldown_s, port))


def _bind(host: str, port: int) -> socket.socket | None:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        sock.bind((host, port))
    except OSError:
        sock.close()
        return None
    return sock
