"""What `calls` needs from the world beyond its own packages, handed in by the composition root.

`calls` may not import `delivery`, yet a flow fetches documents and a finished recording must be handed on. These
protocols are the whole of that border.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

__all__ = ["HttpClient", "HttpResponse", "OpenSocket", "Socket"]


class HttpResponse(Protocol):
    @property
    def status(self) -> int: ...

    @property
    def body(self) -> bytes: ...


class HttpClient(Protocol):
    """The guarded client: refuses private addresses, follows and re-checks redirects, keeps to its limits."""

    async def request(
        self,
        method: str,
        url: str,
        *,
        body: bytes = b"",
        headers: Sequence[tuple[str, str]] = (),
        timeout_s: float = 10.0,
        max_bytes: int = 1_000_000,
    ) -> HttpResponse: ...


class Socket(Protocol):
    """A websocket that is open. Each method but `close` raises TapelineError where it broke."""

    async def send(self, message: str | bytes) -> None: ...

    async def receive(self) -> str | bytes | None:
        """The next message; None where the peer has closed."""

    async def close(self) -> None: ...


class OpenSocket(Protocol):
    """Opens one, as guarded as the client. Raises TapelineError."""

    async def __call__(self, uri: str, headers: Sequence[tuple[str, str]], timeout_s: float) -> Socket: ...
