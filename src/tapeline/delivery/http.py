"""The one guarded HTTP client. Everything tapeline sends or fetches on someone's word goes through it; only this module imports httpx2.

What callers, flows and API users name as a URL must not become a way into our own network. So for each request, and again for each
redirect: http and https only; the name is resolved here, every address that is not public is struck out (unless the settings
allow private ones), and the connection goes to the very address that was checked, under the name that was asked for (Host, SNI, and the
certificate is checked against the name). A name that resolves differently a moment later changes nothing. Proxies of the
environment are not used: they would connect on our behalf, unchecked.

`timeout_s` bounds a request as a whole, redirects and a dripping body included; `max_bytes` what is read, after decompression. Errors
say whose fault they are; an answer of any status is an answer, not an error.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
import ssl
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Final, Protocol

import httpx2

from tapeline.delivery.errors import DeliveryFailed, Fault, Refused

__all__ = ["GuardedClient", "Response", "Streamed", "public_address"]

MAX_REDIRECTS: Final = 5
_PIECE = 256 * 1024
_SECRETS = {"authorization", "cookie", "proxy-authorization"}
_NAT64 = ipaddress.ip_network("64:ff9b::/96")

Headers = Sequence[tuple[str, str]]


class Streamed(Protocol):
    """A body of known size that is read anew each time it is sent."""

    @property
    def size(self) -> int: ...

    def pieces(self) -> AsyncIterator[bytes]: ...


Body = bytes | Path | Streamed
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Response:
    """What came back. `url` is where it came from in the end; header names are as sent, compare them without case."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    url: str

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    def header(self, name: str) -> str:
        """The first header of that name, "" where there is none."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")


def public_address(text: str) -> bool:
    """Whether an IP address belongs to the public internet, also where it is an IPv4 one wrapped in IPv6."""
    address: Address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if address in _NAT64:
            inner = ipaddress.IPv4Address(address.packed[12:])
        if inner is not None:
            address = inner
    return address.is_global and not address.is_multicast and not address.is_reserved


async def _resolve(host: str, port: int) -> Sequence[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


@cache
def _believed() -> ssl.SSLContext:
    """The authorities that this machine believes: to read them takes as long as many requests do, so all clients share them."""
    return httpx2.create_ssl_context(trust_env=False)


class GuardedClient:
    """`async with GuardedClient() as client` or `close` it. Of one event loop; requests may overlap, `connections` of them."""

    def __init__(
        self,
        *,
        allow_private_addresses: bool = False,
        resolve: Resolve = _resolve,
        connections: int = 200,
    ) -> None:
        self._private = allow_private_addresses
        self._resolve = resolve
        # No connection is kept: one that was opened to an address under one name must not serve another name at that address.
        limits = httpx2.Limits(max_connections=connections, max_keepalive_connections=0)
        self._client = httpx2.AsyncClient(verify=_believed(), trust_env=False, follow_redirects=False, limits=limits, timeout=None)

    async def __aenter__(self) -> GuardedClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._client.aclose()

    async def request(
        self,
        method: str,
        url: str,
        *,
        body: Body = b"",
        headers: Headers = (),
        timeout_s: float = 10.0,
        idle_s: float | None = None,
        answer_s: float | None = None,
        max_bytes: int = 1_000_000,
        redirects: int = MAX_REDIRECTS,
    ) -> Response:
        """Send `body` (bytes, or a file or object that is streamed) and read the whole answer.

        301, 302, 307 and 308 are followed with the same method and body, 303 with GET; at most `redirects` in all, and none to an
        address that was asked before. Credentials in `headers` do not go along to another host. `idle_s` bounds the time in which
        nothing moves, `answer_s` that in which nothing of the answer comes. Raises Refused, or DeliveryFailed whose `fault` says who has
        to act.
        """
        stage: list[str] = ["resolving the name of"]
        asked = _Asked(headers, httpx2.Timeout(idle_s, read=answer_s if answer_s is not None else idle_s), max_bytes, stage)
        try:
            async with asyncio.timeout(timeout_s):
                return await self._follow(method.upper(), url, body, asked, redirects)
        except TimeoutError as error:
            # Who was connected to and is slow is at fault; who was never reached may be behind a broken network.
            fault: Fault = "destination" if stage[0] == "waiting for" else "network"
            raise DeliveryFailed(f"gave up after {timeout_s:g} s {stage[0]} the destination", fault=fault, reason="NO_ANSWER") from error

    async def _follow(self, method: str, url: str, body: Body, asked: _Asked, redirects: int) -> Response:
        target = _parsed(url)
        seen: set[tuple[str, str]] = set()
        for _ in range(redirects + 1):
            seen.add((method, str(target)))
            answer = await self._once(method, target, body, asked)
            location = answer.header("location")
            if answer.status not in {301, 302, 303, 307, 308} or not location:
                return answer
            following = _parsed(location, base=target)
            if answer.status == 303:
                method, body = "GET", b""
            if (following.scheme, following.host, following.port) != (target.scheme, target.host, target.port):
                asked = replace(asked, headers=[(name, value) for name, value in asked.headers if name.lower() not in _SECRETS])
            target = following
            if (method, str(target)) in seen:
                raise DeliveryFailed("the redirects lead in a circle", fault="destination")
        raise DeliveryFailed(f"more than {redirects} redirects", fault="destination")

    async def addresses(self, host: str, port: int) -> list[str]:
        """The addresses of `host` that may be talked to. Raises Refused, DeliveryFailed."""
        try:
            found = await self._resolve(host, port)
        except socket.gaierror as error:
            fault: Fault = "network" if error.errno == socket.EAI_AGAIN else "destination"
            raise DeliveryFailed(f"the name {host!r} cannot be resolved", fault=fault) from error
        except (OSError, UnicodeError) as error:
            raise DeliveryFailed(f"the name {host!r} cannot be resolved", fault="network") from error
        allowed = [address for address in found if self._private or public_address(address)]
        if not allowed:
            raise Refused(
                f"{host!r} is not a public address",
                hint="delivery.allow_private_addresses = true permits private networks",
            )
        return allowed

    async def _once(self, method: str, target: httpx2.URL, body: Body, asked: _Asked) -> Response:
        asked.stage[0] = "resolving the name of"
        addresses = await self.addresses(target.raw_host.decode("ascii").strip("[]"), target.port or _default_port(target))
        asked.stage[0] = "connecting to"
        for address in addresses[:-1]:
            with suppress(httpx2.ConnectError, httpx2.ConnectTimeout):
                return await self._exchange(method, target, address, body, asked)
        try:
            return await self._exchange(method, target, addresses[-1], body, asked)
        except httpx2.HTTPError as error:
            distrusted = _cause(error, ssl.SSLError) is not None
            raise DeliveryFailed(_words(error), fault=_whose(error), reason="" if distrusted else "NO_ANSWER") from error
        except httpx2.InvalidURL as error:
            raise Refused("this is not a URL that can be sent to") from error

    async def _exchange(self, method: str, target: httpx2.URL, address: str, body: Body, asked: _Asked) -> Response:
        headers = asked.headers
        size, content = await _content(body)
        progress = _Progress(asked.stage)
        sent = [("Host", target.netloc.decode("ascii")), ("Accept-Encoding", "gzip"), ("User-Agent", "tapeline")]
        if size or method in {"POST", "PUT", "PATCH"}:
            sent.append(("Content-Length", str(size)))
        given = {name.lower() for name, _ in headers}
        ours = {"host", "content-length", "transfer-encoding", "connection"}
        sent = [pair for pair in sent if pair[0].lower() in ours or pair[0].lower() not in given]
        sent += [pair for pair in headers if pair[0].lower() not in ours]
        try:
            request = self._client.build_request(
                method,
                target.copy_with(host=address),
                content=content,
                headers=sent,
                extensions={"sni_hostname": target.raw_host.decode("ascii"), "trace": progress.trace},
                timeout=asked.timeout,
            )
        except (TypeError, ValueError) as error:
            raise Refused(f"the request cannot be sent as given: {error}") from error
        try:
            answer = await self._client.send(request, stream=True)
            try:
                data = await _limited(answer, asked.max_bytes)
            finally:
                await answer.aclose()
        finally:
            await progress.close()
        return Response(answer.status_code, tuple(answer.headers.multi_items()), data, str(target))


@dataclass(frozen=True, slots=True)
class _Asked:
    """What of a request stays the same over its redirects. `stage` says how far it has come."""

    headers: Headers
    timeout: httpx2.Timeout
    max_bytes: int
    stage: list[str]


class _Progress:
    """Notes how far a request has come, for a timeout to say whose fault it is, and holds its connection.

    The client forgets a connection whose TLS handshake is cut short by our time limit; `close` sees to it that it is closed even so.
    """

    def __init__(self, stage: list[str]) -> None:
        self._stage = stage
        self._stream: Any = None

    async def trace(self, name: str, info: Mapping[str, Any]) -> None:
        if name == "connection.connect_tcp.complete":
            self._stage[0] = "waiting for"
            self._stream = info["return_value"]

    async def close(self) -> None:
        if self._stream is not None:
            with suppress(OSError, httpx2.HTTPError):
                await self._stream.aclose()


def _default_port(target: httpx2.URL) -> int:
    return 443 if target.scheme == "https" else 80


def _parsed(url: str, base: httpx2.URL | None = None) -> httpx2.URL:
    try:
        target = base.join(url) if base is not None else httpx2.URL(url)
        port = target.port
    except (httpx2.InvalidURL, ValueError, TypeError) as error:
        raise Refused("this is not a URL") from error
    if target.scheme not in {"http", "https"} or not target.host:
        raise Refused(f"only http and https URLs are sent to, not {target.scheme or 'relative'!r}")
    if port is not None and not 0 < port < 65536:
        raise Refused("the port in this URL does not exist")
    return target.copy_with(fragment=None)


async def _content(body: Body) -> tuple[int, bytes | AsyncIterator[bytes]]:
    if isinstance(body, bytes):
        return len(body), body
    if not isinstance(body, Path):
        return body.size, body.pieces()
    try:
        size = (await asyncio.to_thread(body.stat)).st_size
    except OSError as error:
        raise DeliveryFailed(f"cannot read the file to send: {error.strerror}", fault="us") from error
    return size, _pieces(body, size)


async def _pieces(path: Path, size: int) -> AsyncIterator[bytes]:
    """The first `size` bytes of a file, in pieces: what was announced is what is sent, even if the file grows."""
    try:
        file = await asyncio.to_thread(path.open, "rb")
        try:
            while size > 0 and (piece := await asyncio.to_thread(file.read, min(_PIECE, size))):
                size -= len(piece)
                yield piece
        finally:
            file.close()
    except OSError as error:
        raise DeliveryFailed(f"cannot read the file to send: {error.strerror}", fault="us") from error
    if size:
        raise DeliveryFailed("the file to send became shorter meanwhile", fault="us")


async def _limited(answer: httpx2.Response, max_bytes: int) -> bytes:
    """The body, decompressed. Raises DeliveryFailed where it is longer than `max_bytes`, having read little more than that."""
    coding = answer.headers.get("content-encoding", "identity").lower()
    if coding not in {"identity", "gzip", "x-gzip", "deflate", ""}:
        raise DeliveryFailed(f"the answer is in a coding we did not ask for: {coding[:40]}", fault="destination")
    inflate = zlib.decompressobj(wbits=47) if coding not in {"identity", ""} else None
    found = bytearray()
    async for raw in answer.aiter_raw():
        try:
            found += inflate.decompress(raw, max_bytes + 1 - len(found)) if inflate else raw
        except zlib.error as error:
            raise DeliveryFailed("the answer is not compressed as it says", fault="destination") from error
        if len(found) > max_bytes:
            raise DeliveryFailed(f"the answer is longer than {max_bytes} bytes", fault="destination")
    return bytes(found)


def _cause(error: BaseException, kind: type[BaseException]) -> BaseException | None:
    seen: BaseException | None = error
    while seen is not None and not isinstance(seen, kind):
        seen = seen.__cause__ or seen.__context__
    return seen


def _whose(error: httpx2.HTTPError) -> Fault:
    if isinstance(error, httpx2.LocalProtocolError):
        return "us"
    if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
        refused = _cause(error, ConnectionRefusedError) or _cause(error, ssl.SSLError)
        numbers = _cause(error, OSError)
        return "destination" if refused or (isinstance(numbers, OSError) and numbers.errno == errno.ECONNREFUSED) else "network"
    return "destination"


def _words(error: httpx2.HTTPError) -> str:
    words: dict[type[httpx2.HTTPError], str] = {
        httpx2.ConnectError: "no connection",
        httpx2.ReadTimeout: "nothing was answered for too long",
        httpx2.WriteTimeout: "nothing was taken for too long",
        httpx2.ReadError: "the connection broke while reading the answer",
        httpx2.WriteError: "the connection broke while sending",
        httpx2.RemoteProtocolError: "the answer is not HTTP",
        httpx2.LocalProtocolError: "the request is not HTTP",
    }
    detail = str(error).strip()
    return words.get(type(error), type(error).__name__) + (f": {detail[:200]}" if detail else "")
