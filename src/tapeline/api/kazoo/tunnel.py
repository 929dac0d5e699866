"""Requests whose method stands in them: KAZOO takes a POST with `verb` (in the query, or beside the body's `data`) for a PUT, a PATCH or a
DELETE.

Plain ASGI, before the routes, so that what holds for the method that is meant holds for such a request, its scope above all.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qs

from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["VerbTunnel"]

VERBS: Final = ("PUT", "PATCH", "DELETE")
MOST_READ: Final = 65_536  # bytes of a body that are looked into


class VerbTunnel:
    """Of paths that begin with `prefix`."""

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self.app = app
        self.prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or not scope["path"].startswith(self.prefix):
            await self.app(scope, receive, send)
            return
        verb = parse_qs(scope["query_string"].decode("latin-1")).get("verb", [""])[0]
        if not verb:
            read, whole = await _beginning(receive)
            verb = _named(b"".join(message.get("body", b"") for message in read)) if whole else ""
            receive = _again(read, receive)
        if verb.upper() in VERBS:
            scope["method"] = verb.upper()
        await self.app(scope, receive, send)


async def _beginning(receive: Receive) -> tuple[list[Message], bool]:
    """The first messages of a body, and whether they are all of it."""
    read: list[Message] = []
    size = 0
    while size <= MOST_READ:
        message = await receive()
        read.append(message)
        size += len(message.get("body", b""))
        if message["type"] != "http.request" or not message.get("more_body", False):
            return read, message["type"] == "http.request" and size <= MOST_READ
    return read, False


def _named(body: bytes) -> str:
    """The `verb` of a body, "" where it has none."""
    if b'"verb"' not in body:
        return ""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return ""  # it is refused later
    verb = found.get("verb") if isinstance(found, Mapping) else None
    return verb if isinstance(verb, str) else ""


def _again(read: list[Message], receive: Receive) -> Receive:
    """What gives the messages that were read, and then those that come."""

    async def replayed() -> Message:
        return read.pop(0) if read else await receive()

    return replayed
