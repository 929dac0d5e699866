"""What comes in over HTTP is bounded: heads in size, requests in time."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvicorn

from tapeline.api import protocol
from tapeline.api.protocol import MAX_HEAD, BoundedHttp

PATIENCE_S = 20.0

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def answering(scope: Any, receive: Any, send: Any) -> None:
    """Reads the whole body and says how long it was; a path of `/slow` takes its time."""
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size, more = size + len(message.get("body", b"")), message.get("more_body", False)
    if scope["path"] == "/slow":
        await asyncio.sleep(1.0)
    body = str(size).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(len(body)).encode())]})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
async def port() -> AsyncIterator[int]:
    config = uvicorn.Config(answering, port=0, http=BoundedHttp, log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    yield server.servers[0].sockets[0].getsockname()[1]
    await server.shutdown()


async def opened(port: int) -> Streams:
    return await asyncio.open_connection("127.0.0.1", port)


async def answer(streams: Streams, sent: bytes = b"") -> str:
    """All that comes back until the connection is closed."""
    reader, writer = streams
    try:
        writer.write(sent)
        async with asyncio.timeout(PATIENCE_S):
            return (await reader.read()).decode()
    except ConnectionError:
        return ""
    finally:
        writer.close()


async def test_requests_one_after_the_other_and_in_one_piece(port: int) -> None:
    reader, writer = await opened(port)
    big = b"x" * 300_000
    one = b"POST / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 30_000 + b"\r\nContent-Length: 300000\r\n\r\n" + big
    last = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    for _ in range(4):  # heads are counted each by itself
        writer.write(one)
        async with asyncio.timeout(PATIENCE_S):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
            assert await reader.readexactly(6) == b"300000"
    told = await answer((reader, writer), one + one + last)
    assert told.count("HTTP/1.1 200") == 3


async def test_a_head_that_does_not_end(port: int) -> None:
    reader, writer = await opened(port)
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nX: ")
    async with asyncio.timeout(PATIENCE_S):
        try:
            for _ in range(1000):
                writer.write(b"a" * MAX_HEAD)
                await writer.drain()
                if reader.at_eof():
                    break
            told = await reader.read()
        except ConnectionError:
            told = b"HTTP/1.1 431"
    assert told.startswith(b"HTTP/1.1 431")
    writer.close()


async def test_many_fields(port: int) -> None:
    fields = b"".join(b"X-%d: 1\r\n" % number for number in range(20_000))
    told = await answer(await opened(port), b"GET / HTTP/1.1\r\n" + fields + b"\r\n")
    assert told in ("", protocol._TOO_LARGE.decode())  # nothing, where we still write when it closes


@pytest.mark.parametrize(
    "begun", [b"", b"GET / HTTP/1.1\r\nHost:", b"\r\n\r\n", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc"], ids=repr
)
async def test_a_request_that_does_not_come(port: int, begun: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "REQUEST_S", 0.3)
    assert (await answer(await opened(port), begun)).startswith("HTTP/1.1 408")


async def test_an_answer_may_take_its_time(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "REQUEST_S", 0.3)
    slow = b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n"
    told = await answer(await opened(port), slow + b"GET / HTTP/1.1\r\nHost")
    assert told.startswith("HTTP/1.1 200")
    assert told.count("HTTP/1.1 408") == 1
