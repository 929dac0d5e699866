"""Messages out of a stream: cut by Content-Length (RFC 3261 section 18.3), with limits, blank lines between them passed over.

A double CRLF between messages is a keep-alive that wants a single one back (RFC 5626 section 3.5.1): `pings` counts them. A stream whose
messages can no longer be told apart is `broken`: what was cut so far is still good, and the connection is to be closed. This module
knows nothing of what a message says but its length.
"""

from __future__ import annotations

import re

from tapeline.sip.errors import MalformedMessage
from tapeline.sip.message import content_length

__all__ = ["StreamFraming"]

_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")
_LENGTH = re.compile(rb"^(?:content-length|l)[ \t]*:[ \t]*([^\r\n]*?)[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_BREAKS = (bytearray(b"\r"), bytearray(b"\n"))
_PERHAPS_PING = (b"\r", b"\r\n", b"\r\n\r")
_LONGEST_HEAD = 65536
_LONGEST_BODY = 1 << 20


class StreamFraming:
    """Feed it what a connection reads; it gives whole messages."""

    __slots__ = ("_buffer", "_scanned", "broken", "pings")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._scanned = 0  # up to here there is no end of a head
        self.broken = ""
        self.pings = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that are whole now. After `broken` is set nothing more comes."""
        messages: list[bytes] = []
        if self.broken:
            return messages
        self._buffer += data
        while not self.broken and (message := self._cut()) is not None:
            messages.append(message)
        return messages

    def _cut(self) -> bytes | None:
        buffer = self._buffer
        self._skip_blank_lines()
        found = _END_OF_HEAD.search(buffer, max(0, self._scanned - 3))
        if found is None:
            self._scanned = len(buffer)
            if len(buffer) > _LONGEST_HEAD:
                self.broken = f"a head of more than {_LONGEST_HEAD} octets"
            return None
        return self._take(found.start(), found.end())

    def _skip_blank_lines(self) -> None:
        buffer = self._buffer
        while buffer[:1] in _BREAKS and bytes(buffer) not in _PERHAPS_PING:
            if buffer.startswith(b"\r\n\r\n"):
                self.pings += 1
                del buffer[:4]
            else:
                del buffer[: 2 if buffer.startswith(b"\r\n") else 1]

    def _take(self, head: int, start: int) -> bytes | None:
        buffer = self._buffer
        values = [value.decode("latin-1") for value in _LENGTH.findall(bytes(buffer[: head + 2]))]
        try:
            length = content_length(values) or 0
        except MalformedMessage as error:
            self.broken = error.message
            return bytes(buffer[:start])  # enough to be refused with 400
        if length > _LONGEST_BODY:
            self.broken = f"a body of more than {_LONGEST_BODY} octets"
            return None
        if len(buffer) < start + length:
            self._scanned = head
            return None
        message = bytes(buffer[: start + length])
        del buffer[: start + length]
        self._scanned = 0
        return message
