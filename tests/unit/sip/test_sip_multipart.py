"""Multipart bodies: byte for byte there and back, vendors' SIPREC bodies, and what cannot be told apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from beside import VECTORS
from tapeline.sip import MalformedMultipart
from tapeline.sip.multipart import Part, build, parse, part_of_type
from tapeline.sip.sdp import parse as parse_sdp

SIPREC = VECTORS / "siprec"
BODIES = sorted(SIPREC.glob("*.txt"))


def test_there_and_back() -> None:
    parts = [
        Part((("Content-Type", "application/sdp"),), b"v=0\r\ns=-\r\n"),
        Part((("Content-Type", "application/octet-stream"), ("X-Odd", "caf\udce9")), bytes(range(256)) + b"\r\n\r\n--other\r\n"),
        Part((), b""),
    ]
    content_type, body = build(parts, "a b'c")
    assert parse(content_type, body) == parts


def test_what_is_around_the_parts_is_left_out() -> None:
    body = b"preamble\r\n--x\r\nContent-Type: a/b;\r\n q=1\r\n\r\none\r\n--x  \r\n\r\ntwo\r\n\r\n--x--\r\nepilogue\r\n--x\r\n"
    first, second = parse('multipart/mixed; boundary="x"', body)
    assert (first.get("CONTENT-TYPE"), first.content_type, first.body) == ("a/b; q=1", "a/b", b"one")
    assert (second.headers, second.content_type, second.body) == ((), "text/plain", b"two\r\n")


def test_a_last_boundary_that_is_missing_is_forgiven() -> None:
    (part,) = parse("Multipart/Mixed;boundary=x", b"--x\n\nbody")
    assert part.body == b"body"


def test_a_boundary_within_a_line_is_none() -> None:
    (part,) = parse("multipart/mixed;boundary=x", b"--x\r\n\r\na --x\r\n--xy\r\n\r\n--x--")
    assert part.body == b"a --x\r\n--xy\r\n"


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "multipart/mixed", "multipart/mixed;boundary=", 'multipart/mixed;boundary="x', "multipart/mixed;boundary=a{b"],
)
def test_what_names_no_boundary(content_type: str) -> None:
    with pytest.raises(MalformedMultipart):
        parse(content_type, b"--x\r\n\r\n--x--")


@pytest.mark.parametrize(
    "body", [b"", b"no boundary", b"--x\r\nno colon\r\n\r\nbody\r\n--x--", b"--x\r\nContent-Type: a/b\r\n--x--", b"--x\r\n\r\n\r\n" * 65]
)
def test_what_cannot_be_told_apart(body: bytes) -> None:
    with pytest.raises(MalformedMultipart):
        parse("multipart/mixed;boundary=x", body)


def test_a_part_within_a_part() -> None:
    inner_type, inner = build([Part((("Content-Type", "application/sdp"),), b"v=0\r\n")], "in", "alternative")
    outer_type, outer = build([Part((("Content-Type", "text/plain"),), b"x"), Part((("Content-Type", inner_type),), inner)], "out")
    assert part_of_type(outer_type, outer, "application/sdp") == b"v=0\r\n"
    assert part_of_type(outer_type, outer, "image/png") is None


def test_what_cannot_be_built() -> None:
    for boundary, body in (("", b""), ("x ", b""), ("x", b"--x")):
        with pytest.raises(ValueError, match="boundary"):
            build([Part((), body)], boundary)


@pytest.mark.skipif(not BODIES, reason=f"the vendors' SIPREC bodies are missing: no files in {SIPREC}")
@pytest.mark.parametrize("path", BODIES, ids=lambda path: path.stem)
def test_vendors_siprec_bodies(path: Path) -> None:
    body = path.read_bytes()
    boundary = next(line for line in body.decode().splitlines() if line.startswith("--"))[2:]
    parts = parse(f"multipart/mixed;boundary={boundary}", body)
    assert len(parts) == {"cisco-siprec-offer": 3}.get(path.stem, 2)
    sdp = part_of_type(f'multipart/mixed;boundary="{boundary}"', body, "application/sdp")
    assert sdp is not None
    description = parse_sdp(sdp)
    streams = {"acme-siprec-offer": 2, "broadworks-offer": 1, "cisco-siprec-offer": 2}[path.stem]
    assert len(description.media) == streams
    assert all(media.kind == "audio" and media.direction == "sendonly" and media.attribute("label") for media in description.media)
    (metadata,) = [part for part in parts if part.disposition == "recording-session"]
    assert metadata.body.lstrip().startswith((b"<?xml", b"<recording"))
