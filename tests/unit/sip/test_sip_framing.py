"""Messages out of a stream, however it is cut into reads."""

from __future__ import annotations

import pytest
from sip_rig import invite, request

from tapeline.sip.framing import StreamFraming

ONE, TWO = invite(), request("OPTIONS")


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1000, 100_000])
def test_messages_come_whole_whatever_the_reads(size: int) -> None:
    framing = StreamFraming()
    data = b"\r\n" + ONE + TWO + b"\r\n\r\n" + ONE
    found = [message for at in range(0, len(data), size) for message in framing.feed(data[at : at + size])]
    assert found == [ONE, TWO, ONE]
    assert framing.pings == 1 and not framing.broken


def test_keep_alive_is_counted_in_pieces_too() -> None:
    framing = StreamFraming()
    for piece in (b"\r", b"\n\r", b"\n", b"\r\n\r\n\r\n\r\n"):
        assert framing.feed(piece) == []
    assert framing.pings == 3


def test_a_message_without_length_has_no_body() -> None:
    bare = TWO.replace(b"Content-Length: 0\r\n", b"")
    assert StreamFraming().feed(bare + TWO) == [bare, TWO]


def test_the_compact_form_and_any_case_count() -> None:
    framing = StreamFraming()
    for name in (b"l", b"L", b"content-LENGTH  "):
        message = ONE.replace(b"Content-Length", name)
        assert framing.feed(message) == [message]


@pytest.mark.parametrize("length", [b"-1", b"abc", b"5\r\nContent-Length: 6", b"99999999999"])
def test_a_length_that_is_none_ends_the_stream_after_its_message(length: bytes) -> None:
    framing = StreamFraming()
    found = framing.feed(TWO.replace(b"Content-Length: 0", b"Content-Length: " + length) + TWO)
    assert len(found) == 1 and framing.broken
    assert framing.feed(TWO) == []


def test_limits() -> None:
    framing = StreamFraming()
    for _ in range(70):
        assert framing.feed(b"x" * 1000) == []
    assert "head" in framing.broken
    framing = StreamFraming()
    assert framing.feed(TWO.replace(b"Content-Length: 0", b"Content-Length: 2000000")) == []
    assert "body" in framing.broken
