"""Keys for SRTP within a session description (RFC 4568): reading `a=crypto`, writing it, and which line is used.

A line that we cannot serve is passed over, as if it were not there: another suite, several keys or a key identifier (MKI), or a session
parameter that would change how packets are made. A lifetime is taken as written: no call reaches it. This module knows nothing of offers
and answers beyond that, nor of packets.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from tapeline.sip.sdp import Line, Media

__all__ = ["KEYED_PROTOCOLS", "KEY_OCTETS", "SUITES", "Crypto", "SrtpAgreed", "answer_line", "offer_lines", "usable_lines"]

SUITES = ("AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32")  # best first
KEYED_PROTOCOLS = ("RTP/SAVP", "RTP/SAVPF")
KEY_OCTETS = 30  # 16 of the key, 14 of the salt

_LINE = re.compile(r"([0-9]{1,9})\s+([A-Za-z0-9_]+)\s+inline:([A-Za-z0-9+/=]+)(?:\|([^\s;]*))?((?:\s+\S+)*)\s*", re.IGNORECASE)
_LIFETIME = re.compile(r"(?:2\^)?[0-9]{1,20}")
_HARMLESS = re.compile(r"(?:-\S+|WSH=[0-9]+)", re.IGNORECASE)  # what may be passed over, and how large a window for replays we keep


@dataclass(frozen=True, slots=True)
class Crypto:
    """One line that could be used. `key` is master key and salt, 30 octets."""

    tag: int
    suite: str
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SrtpAgreed:
    """Both keys, each 30 octets: what we send is under `local`, what we get under `remote`."""

    suite: str
    local: bytes = field(repr=False)
    remote: bytes = field(repr=False)


def usable_lines(media: Media) -> list[Crypto]:
    """The `a=crypto` lines that we can serve, in their order."""
    return [found for value in media.attributes("crypto") if (found := _read(value)) is not None]


def _read(value: str) -> Crypto | None:
    found = _LINE.fullmatch(value) if len(value) <= 1000 else None
    if found is None:
        return None
    tag, name, inline, after, parameters = found.groups()
    suite = next((known for known in SUITES if known == name.upper()), None)
    if suite is None or (after is not None and not _LIFETIME.fullmatch(after)):
        return None
    if not all(_HARMLESS.fullmatch(item) for item in parameters.split()):
        return None
    try:
        key = base64.b64decode(inline, validate=True)
    except binascii.Error:
        return None
    return Crypto(int(tag), suite, key) if len(key) == KEY_OCTETS else None


def _line(tag: int, suite: str, key: bytes) -> Line:
    return "a", f"crypto:{tag} {suite} inline:{base64.b64encode(key).decode()}"


def offer_lines(key: bytes, suites: Sequence[str] = SUITES) -> list[Line]:
    """Our offer: one key, under whichever suite the peer takes."""
    return [_line(number, suite, key) for number, suite in enumerate(suites, 1)]


def answer_line(theirs: Crypto, key: bytes) -> Line:
    """Our answer to the line that we took (RFC 4568 section 5.1.2): its tag and suite, our key."""
    return _line(theirs.tag, theirs.suite, key)
