"""Putting one file on an FTP server, plain or over TLS, streamed. The standard library's client does the talking, in a thread of its own:
a server that hangs holds up nobody who shares threads.

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
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
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


class _Secure(ftplib.FTP_TLS):
    """Data connections go on with the session of the control connection: servers ask for that, so that nobody else can take them."""

    def ntransfercmd(self, cmd: str, rest: int | str | None = None) -> tuple[socket.socket, int | None]:
        connection, size = ftplib.FTP.ntransfercmd(self, cmd, rest)
        session = self.sock.session if isinstance(self.sock, ssl.SSLSocket) else None
        return self.context.wrap_socket(connection, server_hostname=self.host, session=session), size


@dataclass(frozen=True, slots=True)
class _Place:
    host: str
    port: int
    login: tuple[str, str]
    folder: str
    name: str
    secure: bool

    @classmethod
    def of(cls, url: str) -> _Place:
        parts = urlsplit(url)
        folder, _, name = unquote(parts.path).rpartition("/")
        login = unquote(parts.username or "anonymous"), unquote(parts.password or "")
        if not name or not parts.hostname or any(character in folder + name + "".join(login) for character in "\r\n\0"):
            raise Refused("this is not an address of a file on an FTP server")
        return cls(parts.hostname, parts.port or 21, login, folder, name, parts.scheme.lower() == "ftps")


async def put_ftp(
    url: str, body: Body, addresses: Callable[[str, int], Awaitable[Sequence[str]]], *, idle_s: float, answer_s: float
) -> int:
    """Store `body` as the URL's path says. `addresses` resolves and checks. Raises Refused, DeliveryFailed. Gives FTP's 226."""
    place = _Place.of(url)
    allowed = await addresses(place.host, place.port)
    loop = asyncio.get_running_loop()
    thread = ThreadPoolExecutor(1, "ftp")
    try:
        return await loop.run_in_executor(thread, _put, place, allowed[0], _Reader(body, loop), idle_s, answer_s)
    finally:
        thread.shutdown(wait=False)


def _put(place: _Place, address: str, reader: _Reader, idle_s: float, answer_s: float) -> int:
    client = _Secure(context=ssl.create_default_context(), timeout=idle_s) if place.secure else ftplib.FTP(timeout=idle_s)
    try:
        with client:
            client.connect(address, place.port)
            client.host = place.host  # the name that the server's certificate must be for
            client.login(*place.login)
            if isinstance(client, _Secure):
                client.prot_p()
            for part in filter(None, place.folder.split("/")):
                client.cwd(part)
            if client.sock is not None:
                client.sock.settimeout(answer_s)
            client.storbinary(f"STOR {place.name}", reader, blocksize=_PIECE)
        return _DONE
    except ftplib.error_perm as error:
        raise DeliveryFailed(f"the FTP server refused: {str(error)[:200]}", fault="destination") from error
    except (ftplib.Error, EOFError, ssl.SSLError) as error:
        raise DeliveryFailed(f"the FTP server did not take the file: {str(error)[:200]}", fault="destination") from error
    except (TimeoutError, socket.gaierror, OSError, Cut) as error:
        raise DeliveryFailed(f"the FTP connection failed: {str(error)[:200]}", fault="network") from error
