"""One UDP socket on the event loop.

Reads what is there in one go, writes at once and never waits: a datagram that the kernel does not take is lost, as any may be. This
module knows nothing of what the datagrams hold.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable

__all__ = ["UdpSocket"]

_BATCH = 64  # datagrams for one wake-up, so that timers and streams get their turn
_RECEIVE_BUFFER = 8 << 20
_LONGEST = 65535


class UdpSocket:
    """`deliver(data, host, port)` is called for each datagram."""

    def __init__(self, family: socket.AddressFamily, host: str, port: int, deliver: Callable[[bytes, str, int], None]) -> None:
        """Raises OSError where the address cannot be bound."""
        self._deliver = deliver
        self._loop = asyncio.get_running_loop()
        self._socket = sock = socket.socket(family, socket.SOCK_DGRAM)
        self.lost = 0  # datagrams that the kernel did not take
        try:
            sock.setblocking(False)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
            sock.bind((host, port))
        except OSError:
            sock.close()
            raise
        self.address: tuple[str, int] = sock.getsockname()[:2]
        self._loop.add_reader(sock.fileno(), self._readable)

    def _readable(self) -> None:
        receive = self._socket.recvfrom
        for _ in range(_BATCH):
            try:
                data, source = receive(_LONGEST)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                continue  # an ICMP error of an earlier datagram
            self._deliver(data, source[0], source[1])

    def send(self, data: bytes, address: tuple[str, int]) -> None:
        try:
            self._socket.sendto(data, address)
        except OSError:
            self.lost += 1

    def close(self) -> None:
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
