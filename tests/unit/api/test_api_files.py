"""Ranges and preconditions (RFC 9110 sections 13 and 14), and the audio as it goes out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import pytest
from api_world import PIECE, World
from starlette.types import Message

from tapeline.api.errors import RangeNotSatisfiable
from tapeline.api.files import safe_name
from tapeline.api.ranges import http_date, not_modified, quoted, range_applies, select
from tapeline.core.errors import Unavailable

AUDIO = bytes(range(251)) * 20


@pytest.mark.parametrize(
    ("header", "chosen"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=0-", (0, 100)),
        ("bytes=99-", (99, 100)),
        ("bytes=10-19", (10, 20)),
        ("bytes=10-1000", (10, 100)),
        ("bytes=-1", (99, 100)),
        ("bytes=-100", (0, 100)),
        ("bytes=-1000", (0, 100)),
        ("BYTES = 5 - 9 ", (5, 10)),
        ("bytes=0-" + "9" * 5000, (0, 100)),
        ("bytes=-" + "9" * 5000, (0, 100)),
        ("bytes=000000000000000000000-1", None),  # more digits than any size has: taken as beyond, hence last before first
        (None, None),
        ("", None),
        ("bytes", None),
        ("bytes=", None),
        ("bytes=-", None),
        ("bytes=a-b", None),
        ("bytes=1.5-2", None),
        ("bytes=--5", None),
        ("bytes=٣-٤", None),
        ("bytes=20-10", None),
        ("items=0-5", None),
        ("bytes=0-1,5-6", None),
        ("bytes=0-1,500-", None),
    ],
)
def test_select(header: str | None, chosen: tuple[int, int] | None) -> None:
    assert select(header, 100) == chosen


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=100-200", "bytes=-0", "bytes=" + "9" * 5000 + "-"])
def test_select_refuses_what_lies_outside(header: str) -> None:
    with pytest.raises(RangeNotSatisfiable) as caught:
        select(header, 100)
    assert caught.value.size == 100


def test_select_in_an_empty_file() -> None:
    assert select("bytes=-5", 0) is None
    for header in ("bytes=0-", "bytes=-0"):
        with pytest.raises(RangeNotSatisfiable):
            select(header, 0)


@pytest.mark.parametrize(
    ("if_range", "etag", "applies"),
    [
        (None, '"a"', True),
        ("", '"a"', True),
        ('"a"', '"a"', True),
        (' "a" ', '"a"', True),
        ('"b"', '"a"', False),
        ('W/"a"', 'W/"a"', False),
        ('W/"a"', '"a"', False),
        ("Tue, 14 Nov 2023 22:13:20 GMT", '"a"', True),
        ("Tue, 14 Nov 2023 22:13:21 GMT", '"a"', False),
        ("garbage", '"a"', False),
    ],
)
def test_if_range(if_range: str | None, etag: str, applies: bool) -> None:
    assert range_applies(if_range, etag, 1_700_000_000.7) is applies


@pytest.mark.parametrize(
    ("none_match", "since", "known"),
    [
        (None, None, False),
        ('"a"', None, True),
        ('"b", W/"a"', None, True),
        ("*", None, True),
        ('"b"', "Tue, 14 Nov 2023 22:13:20 GMT", False),  # If-Modified-Since is ignored beside If-None-Match
        ("", None, False),
        (None, "Tue, 14 Nov 2023 22:13:20 GMT", True),
        (None, "Tue, 14 Nov 2023 22:13:19 GMT", False),
        (None, "yesterday", False),
        (None, "Tue, 99 Nov 99999 22:13:19 GMT", False),
    ],
)
def test_not_modified(none_match: str | None, since: str | None, known: bool) -> None:
    assert not_modified(none_match, since, '"a"', 1_700_000_000.7) is known


def test_entity_tags_are_quoted_once_and_clean() -> None:
    assert (quoted("abc"), quoted('"abc"'), quoted('W/"abc"'), quoted('a"b\r\nX: y')) == ('"abc"', '"abc"', 'W/"abc"', '"abX:y"')
    assert http_date(0) == "Thu, 01 Jan 1970 00:00:00 GMT"


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("call_1.wav", "call_1.wav"),
        ("../../etc/passwd", "passwd"),
        ("C:\\a\\b.mp3", "b.mp3"),
        ('a"; filename=evil.exe', "a_filename_evil.exe"),
        ("a\r\nSet-Cookie: x.wav", "a_Set-Cookie_x.wav"),
        ("...hidden", "hidden"),
        ("", "recording"),
        ("/", "recording"),
        ("Grüße ☎.wav", "Gr_e_.wav"),
        ("x" * 300 + ".wav", "x" * 116 + ".wav"),
    ],
)
def test_safe_name(name: str, safe: str) -> None:
    assert safe_name(name) == safe


def file_path(world: World, **fields: Any) -> str:
    return f"/v1.0/recordings/{world.service.recording(world.account, audio=AUDIO, **fields)}/file"


async def test_head_has_the_headers_of_the_whole_and_reads_nothing(world: World, client: httpx2.AsyncClient) -> None:
    path = file_path(world)
    world.service.store_away_after = 0
    head = await client.head(path, headers={"Range": "bytes=0-9"})
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(AUDIO))
    assert head.headers["content-type"] == "audio/wav"
    assert "content-range" not in head.headers


async def test_several_ranges_are_answered_whole(world: World, client: httpx2.AsyncClient) -> None:
    answer = await client.get(file_path(world), headers={"Range": "bytes=0-1,4-5"})
    assert (answer.status_code, answer.content) == (200, AUDIO)


async def test_a_file_put_together_from_ranges_is_the_file(world: World, client: httpx2.AsyncClient) -> None:
    path = file_path(world)
    parts = []
    for at in range(0, len(AUDIO), 777):
        parts.append((await client.get(path, headers={"Range": f"bytes={at}-{at + 776}"})).content)
    assert b"".join(parts) == AUDIO


async def test_preconditions(world: World, client: httpx2.AsyncClient) -> None:
    path = file_path(world)
    whole = await client.get(path)
    etag, modified = whole.headers["etag"], whole.headers["last-modified"]
    unchanged = await client.get(path, headers={"If-None-Match": etag})
    assert (unchanged.status_code, unchanged.content, unchanged.headers["etag"]) == (304, b"", etag)
    assert (await client.get(path, headers={"If-Modified-Since": modified})).status_code == 304
    for validator, code in ((etag, 206), (modified, 206), ('"other"', 200)):
        answer = await client.get(path, headers={"Range": "bytes=0-9", "If-Range": validator})
        assert answer.status_code == code


async def test_an_empty_file_is_an_empty_answer(world: World, client: httpx2.AsyncClient) -> None:
    recording_id = world.service.recording(world.account, audio=b"")
    answer = await client.get(f"/v1.0/recordings/{recording_id}/file", headers={"Range": "bytes=-5"})
    assert (answer.status_code, answer.content, answer.headers["content-length"]) == (200, b"", "0")


async def test_a_store_that_is_away_is_an_error_and_not_a_broken_file(world: World, client: httpx2.AsyncClient) -> None:
    path = file_path(world)
    world.service.store_away_after = 0
    answer = await client.get(path)
    assert (answer.status_code, answer.json()["error"]["reason"]) == (503, "UNAVAILABLE")
    assert world.service.open_reads == 0


async def exchange(world: World, path: str, send: Callable[[Message], Awaitable[None]], gone: bool = False) -> None:
    """One GET as a server gives it to the application."""
    events = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Message:
        if events:
            return events.pop()
        if gone:
            return {"type": "http.disconnect"}
        await asyncio.Event().wait()
        raise AssertionError

    headers = [(b"authorization", f"Bearer {world.secret}".encode())]
    scope = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "method": "GET", "scheme": "http",
        "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "", "headers": headers, "server": ("t", 80),
    }  # fmt: skip
    await world.app(scope, receive, send)


async def test_a_store_that_fails_half_way_breaks_the_connection(world: World) -> None:
    path = file_path(world)
    world.service.store_away_after = 2
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    with pytest.raises(RuntimeError) as caught:  # the server closes the connection on whatever comes through
        await exchange(world, path, send)
    assert isinstance(caught.value.__cause__, Unavailable)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body", "http.response.body"]
    assert sum(len(message.get("body", b"")) for message in sent) == 2 * PIECE  # less than Content-Length said
    assert world.service.open_reads == 0


async def test_a_client_that_leaves_closes_the_reading(world: World) -> None:
    path = file_path(world)
    stuck = asyncio.Event()

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            assert world.service.open_reads == 1
            await stuck.wait()

    await exchange(world, path, send, gone=True)
    assert world.service.open_reads == 0
