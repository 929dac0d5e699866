"""Replaces (RFC 3891): how an INVITE, or the target of a REFER, names the call that it takes the place of.

The header holds a Call-ID and both tags, told from the side of whoever gets the INVITE: `to-tag` is its own tag of that dialog. Text is
kept as it came, so that what we pass on is what we were given. This module knows the header's form and its escaped form within a URI;
which calls there are, and who may replace them, others know.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote as percent
from urllib.parse import unquote_to_bytes

from tapeline.sip.errors import MalformedMessage
from tapeline.sip.headers import parse_parameters

__all__ = ["Replaces", "escaped", "parse_replaces", "unescaped"]

_CALL_ID = re.compile(r"[^\s;,\x00-\x1f\x7f]+")
_UNESCAPED = "-_.!~*'()"  # what RFC 3261 section 25.1 lets stand in the headers of a URI as it is, and nothing that could mislead
_LONGEST = 1024


@dataclass(frozen=True, slots=True)
class Replaces:
    """`early_only`: only a call that is not answered yet may be replaced."""

    call_id: str
    to_tag: str
    from_tag: str
    early_only: bool
    text: str


def parse_replaces(text: str) -> Replaces:
    """Read a Replaces value. Raises MalformedMessage."""
    if len(text) > _LONGEST:
        raise MalformedMessage("a Replaces that is too long")
    call_id, semicolon, rest = text.partition(";")
    call_id = call_id.strip()
    if not _CALL_ID.fullmatch(call_id):
        raise MalformedMessage("a Replaces without a Call-ID")
    parameters = parse_parameters(semicolon + rest)
    to_tag, from_tag = parameters.get("to-tag"), parameters.get("from-tag")
    if not to_tag or not from_tag:
        raise MalformedMessage("a Replaces without both tags")
    return Replaces(call_id, to_tag, from_tag, "early-only" in parameters, text)


def escaped(text: str) -> str:
    """`text` as it may stand in the headers of a URI."""
    return percent(text.encode("utf-8", "surrogateescape"), safe=_UNESCAPED)


def unescaped(text: str) -> str:
    return unquote_to_bytes(text.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")
