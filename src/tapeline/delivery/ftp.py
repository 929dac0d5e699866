"""Putting one file on an FTP server, plain or over TLS, streamed. The standard library's client does the talking, in a thread.

The address is looked up and checked as for HTTP: a name that leads into a private network is refused. The folder of the URL must
exist. A file that arrives only in part keeps its name on the server until the next try replaces it; FTP has no better.
"""

from __future__ import annotations

import asyncio
import ftplib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import CancelledError as Cut
from typing import Protocol
from urllib.parse import unquote, urlsplit

from tapeline.delivery.errors import DeliveryFailed, Refused

__all__ = ["put_ftp"]

_PIECE = 65536
_DONE = 226


class Body(Protocol):
    def pieces(self) -> AsyncIterator[bytes]: ...


class _Reader:
    """A file for the thread, fed by the event loop."""

    def __init__(self, body: Body, loop: asyncio.AbstractEventLoop) -> None:
        self._pieces = body.pieces()
        self._loop = loop
        self._rest = b""

    async def _next(self) -> bytes:
        return await anext(self._pieces, b"")

    def read(self, size: int = _PIECE, /) -> bytes:
        if not self._rest:
            self._rest = asyncio.run_coroutine_threadsafe(self._next(), self._loop).result()
        part, self._rest = self._rest[:size], self._rest[size:]
        return part


async def put_ftp(url: str, body: Body, addresses: Callable[[str, int], Awaitable[Sequence[str]]], *, idle_s: float) -> int:
    """Store `body` as the URL's path says. `addresses` resolves and checks. Raises Refused, DeliveryFailed. Gives FTP's 226."""
    parts = urlsplit(url)
    folder, _, name = unquote(parts.path).rpartition("/")
    if not name or not parts.hostname or any(character in folder + name for character in "\r\n\0"):
        raise Refused("this is not an address of a file on an FTP server")
    allowed = await addresses(parts.hostname, parts.port or 21)
    login = unquote(parts.username or "anonymous"), unquote(parts.password or "")
    reader = _Reader(body, asyncio.get_running_loop())
    secure = parts.scheme.lower() == "ftps"
    return await asyncio.to_thread(_put, parts.hostname, allowed[0], parts.port or 21, login, folder, name, reader, secure, idle_s)


def _put(
    host: str, address: str, port: int, login: tuple[str, str], folder: str, name: str, reader: _Reader, secure: bool, idle_s: float
) -> int:
    client = ftplib.FTP_TLS(context=ssl.create_default_context(), timeout=idle_s) if secure else ftplib.FTP(timeout=idle_s)
    try:
        with client:
            client.connect(address, port)
            client.host = host  # the name that the server's certificate must be for
            client.login(*login)
            if isinstance(client, ftplib.FTP_TLS):
                client.prot_p()
            for part in filter(None, folder.split("/")):
                client.cwd(part)
            client.storbinary(f"STOR {name}", reader, blocksize=_PIECE)
        return _DONE
    except ftplib.error_perm as error:
        raise DeliveryFailed(f"the FTP server refused: {str(error)[:200]}", fault="destination") from error
    except (ftplib.Error, EOFError, ssl.SSLError) as error:
        raise DeliveryFailed(f"the FTP server did not take the file: {str(error)[:200]}", fault="destination") from error
    except (TimeoutError, socket.gaierror, OSError, Cut) as error:
        raise DeliveryFailed(f"the FTP connection failed: {str(error)[:200]}", fault="network") from error
