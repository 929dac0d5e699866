"""Multipart bodies (RFC 2046 section 5.1), byte for byte: what a part holds is never decoded.

`parse` takes a body apart, `build` puts one together. Lines may end in CRLF or in LF, as some recorders' clients send. This module knows
nothing of what the parts are for.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tapeline.sip.errors import MalformedMessage, MalformedMultipart
from tapeline.sip.headers import parse_parameters

__all__ = ["Part", "build", "parse", "part_of_type"]

_MOST_PARTS = 64
_BOUNDARY = re.compile(r"[A-Za-z0-9'()+_,\-./:=? ]{0,69}[A-Za-z0-9'()+_,\-./:=?]")
_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")


@dataclass(frozen=True, slots=True)
class Part:
    """One part. `headers` as written, in order; `body` without the line break that belongs to the boundary."""

    headers: tuple[tuple[str, str], ...]
    body: bytes

    def get(self, name: str) -> str:
        """The first header of that name in any case, or ""."""
        lowered = name.lower()
        return next((value for key, value in self.headers if key.lower() == lowered), "")

    @property
    def content_type(self) -> str:
        """Type and subtype in lower case; text/plain where the part says nothing (RFC 2046 section 5.2)."""
        return self.get("content-type").partition(";")[0].strip().lower() or "text/plain"

    @property
    def disposition(self) -> str:
        return self.get("content-disposition").partition(";")[0].strip().lower()


def boundary_of(content_type: str) -> str:
    """Raises MalformedMultipart where the content type names none, or not a multipart."""
    kind, semicolon, rest = content_type.partition(";")
    if not kind.strip().lower().startswith("multipart/"):
        raise MalformedMultipart("not a multipart content type")
    try:
        boundary = parse_parameters(semicolon + rest).get("boundary") or ""
    except MalformedMessage as error:
        raise MalformedMultipart(f"content type: {error.message}") from error
    if boundary[:1] == '"':
        boundary = re.sub(r"\\(.)", r"\1", boundary[1:-1])
    if not _BOUNDARY.fullmatch(boundary):
        raise MalformedMultipart("a multipart content type without a boundary, or with one that may not be")
    return boundary


def parse(content_type: str, body: bytes) -> list[Part]:
    """Take a body apart. A last boundary that is missing is forgiven; no boundary at all is not. Raises MalformedMultipart."""
    mark = re.escape(boundary_of(content_type).encode())
    line = re.compile(rb"(?:^|\r?\n)--" + mark + rb"(--)?[ \t]*(?=\r?\n|$)")
    parts: list[Part] = []
    start: int | None = None
    for found in line.finditer(body):
        if start is not None:
            parts.append(_part(body[start : found.start()]))
        if found.group(1):
            return parts
        start = found.end()
        if len(parts) >= _MOST_PARTS:
            raise MalformedMultipart(f"more than {_MOST_PARTS} parts", status=413)
    if start is None:
        raise MalformedMultipart("the boundary does not occur in the body")
    parts.append(_part(body[start:]))
    return parts


def _part(data: bytes) -> Part:
    """`data` begins with the line break that ends the boundary's line."""
    end = _END_OF_HEAD.search(data)
    if end is None:
        if data.strip():
            raise MalformedMultipart("a part without an empty line after its headers")
        return Part((), b"")
    head, body = data[: end.start()], data[end.end() :]
    headers: list[tuple[str, str]] = []
    for line in head.decode("utf-8", "surrogateescape").splitlines():
        if line[:1] in (" ", "\t") and headers:
            name, value = headers[-1]
            headers[-1] = name, f"{value} {line.strip()}"
        elif ":" in line:
            name, _, value = line.partition(":")
            headers.append((name.strip(), value.strip()))
        elif line.strip():
            raise MalformedMultipart("a part's header without a colon")
    return Part(tuple(headers), body)


def part_of_type(content_type: str, body: bytes, wanted: str) -> bytes | None:
    """The first part of that type, also within a multipart part; None where there is none. Raises MalformedMultipart."""
    for part in parse(content_type, body):
        if part.content_type == wanted:
            return part.body
        if part.content_type.startswith("multipart/") and part.content_type != "multipart/signed":
            inner = [nested.body for nested in parse(part.get("content-type"), part.body) if nested.content_type == wanted]
            if inner:
                return inner[0]
    return None


def build(parts: Sequence[Part], boundary: str, subtype: str = "mixed") -> tuple[str, bytes]:
    """The content type and the body. `boundary` must not occur in any part: InvalidInput is not raised, ValueError is."""
    if not _BOUNDARY.fullmatch(boundary):
        raise ValueError("a boundary is 1 to 70 characters of RFC 2046's set and does not end in a space")
    mark = b"--" + boundary.encode()
    chunks = []
    for part in parts:
        if mark in part.body:
            raise ValueError("the boundary occurs in a part")
        head = "".join(f"{name}: {value}\r\n" for name, value in part.headers).encode("utf-8", "surrogateescape")
        chunks.append(mark + b"\r\n" + head + b"\r\n" + part.body + b"\r\n")
    return f'multipart/{subtype};boundary="{boundary}"', b"".join(chunks) + mark + b"--\r\n"
