"""TCP and TLS connections on the event loop, each with its framing.

A connection that we open takes messages at once and sends them when it is up. One whose peer does not read is cut off before it fills
memory. This module knows nothing of what the messages say.
"""

from __future__ import annotations

import asyncio
from typing import Literal, Protocol, cast

from tapeline.sip.config import Flow
from tapeline.sip.framing import StreamFraming

__all__ = ["Connection", "StreamOwner"]

_MOST_UNSENT = 1 << 20
_FIRST_MESSAGE_S = 32.0  # who connects and says nothing by then has no business here


class StreamOwner(Protocol):
    """Who gets the messages, and is told of the end."""

    def opened(self, connection: Connection, transport: asyncio.Transport) -> Flow | None: ...
    def received(self, data: bytes, flow: Flow) -> None: ...
    def closed(self, connection: Connection) -> None: ...


class Connection(asyncio.Protocol):
    """One connection. `flow` is None until an accepted connection got its own."""

    def __init__(self, owner: StreamOwner, flow: Flow | None = None, kind: Literal["tcp", "tls"] = "tcp") -> None:
        """`kind` is that of an accepted connection; one that we open has it in its flow."""
        self.flow = flow
        self.kind = kind
        self._owner = owner
        self._framing = StreamFraming()
        self._transport: asyncio.Transport | None = None
        self._waiting: list[bytes] = []
        self._silence: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        stream = cast(asyncio.Transport, transport)
        self._transport = stream
        if self.flow is None:
            self._silence = asyncio.get_running_loop().call_later(_FIRST_MESSAGE_S, stream.abort)
        self.flow = self._owner.opened(self, stream)
        if self.flow is None:
            stream.abort()
            return
        for data in self._waiting:
            stream.write(data)
        self._waiting.clear()

    def data_received(self, data: bytes) -> None:
        flow, framing = self.flow, self._framing
        if flow is None:
            return
        for message in framing.feed(data):
            self._speaks()
            self._owner.received(message, flow)
        if framing.pings:
            framing.pings = 0
            self.send(b"\r\n")
        if framing.broken:
            self.close()

    def _speaks(self) -> None:
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None

    def send(self, data: bytes) -> None:
        transport = self._transport
        if transport is None:
            self._waiting.append(data)
        elif transport.get_write_buffer_size() > _MOST_UNSENT:
            transport.abort()
        else:
            transport.write(data)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._speaks()
        self._owner.closed(self)
