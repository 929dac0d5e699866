
"""The guarded client against a real HTTP server on this machine: where it refuses to go, what it gives up on, whose fault it says it is."""

from __future__ import annotations

import asyncio
import gzip
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tapeline.delivery.errors import DeliveryFailed, Refused
from tapeline.delivery.http import GuardedClient, public_address

PUBLIC = "93.184.215.14"  # never connected to: a name that claims to be there
Answer = Callable[[str, asyncio.StreamWriter], Awaitable[None]]


def plain(status: int = 200, body: bytes = b"ok", *headers: str) -> Answer:
    async def answer(request: str, writer: asyncio.StreamWriter) -> None:
        lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *headers]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    return answer


@dataclass
class Server:
    """Answers each path in its own way, and remembers what it was asked: (head, body)."""

    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[tuple[str, bytes]] = field(default_factory=list)
    port: int = 0

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            sizes = [int(line.split(":")[1]) for line in head.split("\r\n") if line.lower().startswith("content-length:")]
            body = await reader.readexactly(sizes[0]) if sizes else b""
            self.asked.append((head, body))
            await self.answers.get(head.split(" ")[1], plain())(head, writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def serving(**answers: Answer) -> AsyncIterator[Server]:
    server = Server({f"/{name}": answer for name, answer in answers.items()})
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        await listener.wait_closed()


def names(**known: Sequence[str]) -> Callable[[str, int], Awaitable[Sequence[str]]]:
    """A name service that knows these names (dots written as underscores) and IP addresses."""

    async def resolve(host: str, port: int) -> Sequence[str]:
        found = known.get(host.replace(".", "_"))
        if found is not None:
            return found
        return [str(entry[4][0]) for entry in await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)]

    return resolve


async def test_an_answer_of_any_status_comes_back_whole() -> None:
    async with serving(made=plain(201, b'{"a":1}', "X-One: 1"), gone=plain(404, b"no")) as server, open_client() as client:
        answer = await client.request("post", server.url("/made"), body=b"hello", headers=[("Content-Type", "text/plain")])
        assert (answer.status, answer.body, answer.header("x-one"), answer.ok) == (201, b'{"a":1}', "1", True)
        head, body = server.asked[0]
        assert head.startswith("POST /made HTTP/1.1") and body == b"hello"
        assert f"Host: 127.0.0.1:{server.port}" in head and "Content-Type: text/plain" in head
        missing = await client.request("GET", server.url("/gone"))
        assert (missing.status, missing.ok) == (404, False)


def open_client(**known: Sequence[str]) -> GuardedClient:
    return GuardedClient(allow_private_addresses=True, resolve=names(**known))


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://localhost/",
        "http://127.1/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:10.0.0.1]/",
        "http://0.0.0.0/",
        "http://10.1.2.3/",
        "http://192.168.1.1:8080/x",
        "http://172.16.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://100.64.0.1/",
        "http://[fe80::1]/",
        "http://[fc00::1]/",
        "http://[64:ff9b::7f00:1]/",
        "http://224.0.0.1/",
        "http://user:secret@127.0.0.1/",
    ],
)
async def test_addresses_of_our_own_networks_are_refused_before_any_packet(url: str) -> None:
    async with GuardedClient() as client:
        with pytest.raises(Refused, match="not a public address"):
            await client.request("GET", url)


@pytest.mark.parametrize("url", ["ftp://example.net/", "file:///etc/passwd", "gopher://x/", "//x/y", "x", "", "http://", "http://a:99999/"])
async def test_what_is_not_an_http_url_is_refused(url: str) -> None:
    async with GuardedClient() as client:
        with pytest.raises(Refused):
            await client.request("GET", url)


async def test_a_public_name_that_resolves_to_loopback_is_refused() -> None:
    async with serving() as server, GuardedClient(resolve=names(evil_example=["127.0.0.1", "::1"])) as client:
        with pytest.raises(Refused):
            await client.request("GET", server.url(host="evil.example"))
        assert server.asked == []


async def test_the_connection_goes_to_the_checked_address_under_the_name_that_was_asked_for() -> None:
    asked: list[str] = []

    async def resolve(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.1"]

    async with serving() as server, GuardedClient(allow_private_addresses=True, resolve=resolve) as client:
        answer = await client.request("GET", server.url("/x?y=1", host="recordings.example"))
        assert answer.ok
        assert asked == ["recordings.example"]  # once: there is no second look-up that could give another address
        assert f"Host: recordings.example:{server.port}" in server.asked[0][0]


async def test_a_second_address_is_tried_where_the_first_does_not_answer() -> None:
    async with serving() as server, open_client(two_example=["127.0.0.9", "127.0.0.1"]) as client:
        assert (await client.request("GET", server.url(host="two.example"))).ok


async def test_a_redirect_to_a_private_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    # The first hop must look public to be taken at all; only its address is really this machine's.
    monkeypatch.setattr("tapeline.delivery.http.public_address", lambda text: text == "127.0.0.1")
    for location in ("http://127.0.0.2/secret", "http://[::1]/", "//127.0.0.3/", "http://169.254.169.254/", "file:///etc/passwd"):
        async with serving(start=plain(302, b"", f"Location: {location}")) as server, GuardedClient() as client:
            with pytest.raises(Refused):
                await client.request("GET", server.url("/start"))
            assert len(server.asked) == 1


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_redirects_keep_method_and_body_and_credentials_stay_home(status: int) -> None:
    async with serving() as server, open_client() as client:
        other = f"http://localhost:{server.port}/there"
        server.answers["/here"] = plain(status, b"", "Location: /near")
        server.answers["/near"] = plain(status, b"", f"Location: {other}")
        answer = await client.request("PUT", server.url("/here"), body=b"audio", headers=[("Authorization", "Bearer x"), ("X-Kept", "1")])
        assert answer.ok and answer.url == other
        assert [(head.split(" ")[0], body) for head, body in server.asked] == [("PUT", b"audio")] * 3
        assert ["Authorization" in head for head, _ in server.asked] == [True, True, False]
        assert all("X-Kept: 1" in head for head, _ in server.asked)


async def test_see_other_becomes_get_and_a_circle_ends() -> None:
    answers = {"made": plain(303, b"", "Location: /result"), "round": plain(302, b"", "Location: /round")}
    async with serving(**answers) as server, open_client() as client:
        assert (await client.request("POST", server.url("/made"), body=b"x")).ok
        assert server.asked[1][0].startswith("GET /result") and server.asked[1][1] == b""
        with pytest.raises(DeliveryFailed, match="redirects") as caught:
            await client.request("GET", server.url("/round"))
        assert caught.value.fault == "destination"


async def test_a_huge_body_is_given_up_on_early() -> None:
    sent = 0

    async def endless(request: str, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while sent < 1 << 30:
            writer.write(b"x" * 65536)
            sent += 65536
            await writer.drain()

    async with serving(big=endless, exact=plain(200, b"x" * 1000)) as server, open_client() as client:
        with pytest.raises(DeliveryFailed, match="longer than 100000") as caught:
            await client.request("GET", server.url("/big"), max_bytes=100_000)
        assert caught.value.fault == "destination"
        assert sent < 64 << 20
        assert len((await client.request("GET", server.url("/exact"), max_bytes=1000)).body) == 1000
        with pytest.raises(DeliveryFailed):
            await client.request("GET", server.url("/exact"), max_bytes=999)


async def test_compressed_answers_are_read_and_a_bomb_is_not() -> None:
    good, bomb = gzip.compress(b"hello" * 10), gzip.compress(bytes(50_000_000))
    answers = {
        "good": plain(200, good, "Content-Encoding: gzip"),
        "bomb": plain(200, bomb, "Content-Encoding: gzip"),
        "lie": plain(200, b"not gzip", "Content-Encoding: gzip"),
        "other": plain(200, b"?", "Content-Encoding: br"),
    }
    async with serving(**answers) as server, open_client() as client:
        assert (await client.request("GET", server.url("/good"))).body == b"hello" * 10
        for path in ("/bomb", "/lie", "/other"):
            with pytest.raises(DeliveryFailed) as caught:
                await client.request("GET", server.url(path))
            assert caught.value.fault == "destination"


async def test_a_dripping_answer_ends_with_the_time_limit() -> None:
    gone = asyncio.Event()

    async def drip(request: str, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            while True:
                writer.write(b".")
                await writer.drain()
                await asyncio.sleep(0.02)
        except ConnectionError:
            gone.set()

    async with serving(drip=drip) as server, open_client() as client:
        started = asyncio.get_running_loop().time()
        with pytest.raises(DeliveryFailed, match=r"0\.3 s waiting for") as caught:
            await client.request("GET", server.url("/drip"), timeout_s=0.3)
        assert caught.value.fault == "destination"
        assert asyncio.get_running_loop().time() - started < 2.0
        await asyncio.wait_for(gone.wait(), 5)  # the connection was closed, not left to drip


async def test_whose_fault_it_is() -> None:
    async def broken(request: str, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SIP/2.0 200 OK\r\n\r\n")

    async def cut(request: str, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")

    async def again(host: str, port: int) -> Sequence[str]:
        raise socket.gaierror(socket.EAI_AGAIN, "try again")

    async def nowhere(host: str, port: int) -> Sequence[str]:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    async with serving(broken=broken, cut=cut) as server, open_client() as client:
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]
        for url, fault in (
            (server.url("/broken"), "destination"),
            (server.url("/cut"), "destination"),
            (f"http://127.0.0.1:{port}/", "destination"),  # refused: a machine is there, nobody listens
            (server.url("/").replace("http:", "https:"), "destination"),  # never answers the handshake
        ):
            with pytest.raises(DeliveryFailed) as caught:
                await client.request("GET", url, timeout_s=0.5)
            assert caught.value.fault == fault, url
    for resolve, fault in ((again, "network"), (nowhere, "destination")):
        async with GuardedClient(resolve=resolve) as client:
            with pytest.raises(DeliveryFailed) as caught:
                await client.request("GET", "http://name.example/")
            assert caught.value.fault == fault


async def test_a_file_is_streamed_and_its_loss_is_our_fault(tmp_path: Path) -> None:
    path = tmp_path / "audio"
    path.write_bytes(bytes(range(256)) * 10_000)
    async with serving() as server, open_client() as client:
        assert (await client.request("PUT", server.url("/x"), body=path)).ok
        head, body = server.asked[0]
        assert body == path.read_bytes()
        assert f"Content-Length: {len(body)}" in head and "chunked" not in head.lower()
        with pytest.raises(DeliveryFailed) as caught:
            await client.request("PUT", server.url("/x"), body=tmp_path / "none")
        assert caught.value.fault == "us"


async def test_headers_cannot_be_smuggled_in() -> None:
    async with serving() as server, open_client() as client:
        with pytest.raises((Refused, DeliveryFailed)):
            await client.request("GET", server.url("/"), headers=[("X-A", "1\r\nX-Evil: 1")])
        await client.request("GET", server.url("/"), headers=[("Host", "evil.example"), ("Content-Length", "5"), ("User-Agent", "mine")])
        assert len(server.asked) == 1
        head = server.asked[0][0]
        assert "evil" not in head.lower() and "content-length" not in head.lower()
        assert "User-Agent: mine" in head and head.count("User-Agent") == 1


@pytest.mark.parametrize("text", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_public_addresses(text: str) -> None:
    assert public_address(text)
