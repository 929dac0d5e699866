"""How requests come in: what uvicorn leaves open is bounded here, so that nobody who has no token can fill the memory or the descriptors
that recordings need.

A request's head may have `MAX_HEAD` bytes, and the whole of a request must be there within `REQUEST_S` of its beginning (a connection
that says nothing included); between requests uvicorn's own limit holds. How long an answer takes is not looked at.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["MAX_HEAD", "REQUEST_S", "BoundedHttp"]

MAX_HEAD = 65536
REQUEST_S = 60.0

_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
_TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class BoundedHttp(HttpToolsProtocol):
    """One connection."""

    _head = 0  # bytes of it so far
    _complete = False  # the request's head, or no request has begun
    _alarm: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._begin()

    def connection_lost(self, exc: Exception | None) -> None:
        self._quiet()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._alarm is None:
            self._begin()
        self._head += len(data)
        super().data_received(data)
        if not self._complete and self._head > MAX_HEAD and not self.transport.is_closing():
            self._refuse(_TOO_LARGE)

    def on_headers_complete(self) -> None:
        self._complete = True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._quiet()
        super().on_message_complete()

    def on_message_begin(self) -> None:
        if self._complete:  # it came in one piece with the end of another
            self._begin()
        super().on_message_begin()

    def handle_websocket_upgrade(self) -> None:
        self._quiet()
        super().handle_websocket_upgrade()

    def _begin(self) -> None:
        self._quiet()
        self._head, self._complete = 0, False
        self._alarm = self.loop.call_later(REQUEST_S, self._late)

    def _quiet(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _late(self) -> None:
        answering = self.cycle is not None and not self.cycle.response_complete
        if answering and not self.cycle.more_body:
            self._alarm = self.loop.call_later(REQUEST_S, self._late)  # the one before is still being answered, which holds this one up
        elif not self.transport.is_closing():
            self._refuse(b"" if answering and self.cycle.response_started else _TOO_SLOW)

    def _refuse(self, answer: bytes) -> None:
        self._quiet()
        if answer:
            self.transport.write(answer)
        self.transport.close()
