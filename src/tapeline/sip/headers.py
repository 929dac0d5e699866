"""Typed headers: what SIP itself must read of Via, From, To, Contact, Route and CSeq, each read from its text on demand.

Fast paths take the plain forms that nearly all messages use; odd spacing, quotes and comments go the general way. Parameter names
compare without regard to case. Text is kept as it came, so a header that is copied is copied byte for byte. This module knows
nothing of messages or of what a header means to a transaction or dialog.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

from tapeline.sip.errors import MalformedMessage, MalformedUri
from tapeline.sip.uri import Uri, parse_uri, split_host_port

__all__ = [
    "NameAddr", "Parameters", "Via", "parse_cseq", "parse_name_addr", "parse_parameters", "parse_via", "quality", "quote",
    "split_list",
]  # fmt: skip

Parameters = dict[str, "str | None"]

TOKEN = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]+")
_VALUE = re.compile(r"[A-Za-z0-9\-.!%*_+`'~\[\]:/@=?&$,#\x80-\U0010ffff]+")  # more than a token: what peers send unquoted
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_PLAIN_VIA = re.compile(r"SIP/2\.0/([A-Za-z0-9\-.!%*_+`'~]+) ([A-Za-z0-9.\-]+)(?::([0-9]{1,5}))?((?:;[^\",;\s=]+(?:=[^\",;\s=]+)?)*)")
_ODD_VIA = re.compile(r"SIP\s*/\s*2\.0\s*/\s*([A-Za-z0-9\-.!%*_+`'~]+)\s+([^\s;,]+(?:\s*:\s*[0-9]+)?)\s*(;.*)?", re.DOTALL | re.IGNORECASE)
_QUALITY = re.compile(r"[01](?:\.[0-9]{0,9})?")
_HIGHEST_CSEQ = 2**31  # RFC 3261 section 8.1.1.5: less than 2**31


@dataclass(frozen=True, slots=True)
class Via:
    """One hop of a Via header. `transport` in upper case, `host` without brackets."""

    transport: str
    host: str
    port: int | None
    parameters: Parameters
    text: str

    @property
    def branch(self) -> str:
        return self.parameters.get("branch") or ""

    @property
    def sent_by(self) -> tuple[str, int | None]:
        return self.host.lower(), self.port


@dataclass(frozen=True, slots=True)
class NameAddr:
    """The value of From, To, Contact, Route or Record-Route: an optional name, a URI, and parameters of the header."""

    name: str
    uri_text: str
    parameters: Parameters
    text: str

    @property
    def uri(self) -> Uri:
        """Raises MalformedUri."""
        return parse_uri(self.uri_text)

    @property
    def tag(self) -> str:
        return self.parameters.get("tag") or ""


def quote(text: str) -> str:
    """`text` as a quoted string (RFC 3261 section 25.1); line breaks, which no header may hold, become spaces."""
    clean = text.replace("\r", " ").replace("\n", " ").replace("\\", "\\\\").replace('"', '\\"')
    return f'"{clean}"'


def split_list(text: str) -> list[str]:
    """Split at the commas that stand outside quotes and angle brackets."""
    if "," not in text:
        return [text]
    if '"' not in text and "<" not in text:
        return [part.strip() for part in text.split(",")]
    parts, start, at, depth = [], 0, 0, 0
    while at < len(text):
        char = text[at]
        if char == '"' and depth == 0:
            found = _QUOTED.match(text, at)
            if found is None:
                raise MalformedMessage("a quote that is not closed")
            at = found.end()
            continue
        if char == "<":
            depth = 1
        elif char == ">":
            depth = 0
        elif char == "," and depth == 0:
            parts.append(text[start:at].strip())
            start = at + 1
        at += 1
    parts.append(text[start:].strip())
    return parts


def parse_parameters(text: str) -> Parameters:
    """Read `;name=value;flag`. The leading semicolon is needed where there is anything at all. Raises MalformedMessage."""
    parameters: Parameters = {}
    if not text:
        return parameters
    if '"' not in text:
        items = text.split(";")
        if items[0].strip():
            raise MalformedMessage("parameters begin with a semicolon")
        del items[0]
    else:
        items = _split_quoted(text)
    for item in items:
        name, equals, value = item.partition("=")
        name = name.strip()
        value = value.strip()
        if not TOKEN.fullmatch(name) or (equals and not (_VALUE.fullmatch(value) or _QUOTED.fullmatch(value))):
            raise MalformedMessage(f"a parameter that is none: {item.strip()[:40]!r}")
        parameters.setdefault(name.lower(), value if equals else None)
    return parameters


def _split_quoted(text: str) -> list[str]:
    items, at = [], 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        if text[at] != ";":
            raise MalformedMessage("parameters are parted by semicolons")
        start = at = at + 1
        while at < len(text) and text[at] != ";":
            found = _QUOTED.match(text, at) if text[at] == '"' else None
            if text[at] == '"' and found is None:
                raise MalformedMessage("a quote that is not closed")
            at = found.end() if found else at + 1
        items.append(text[start:at])
    return items


def quality(value: str | None) -> float:
    """The q parameter of a Contact, from 0 to 1; 1 where there is none or it is none (RFC 3261 section 20.10)."""
    if value is None or not _QUALITY.fullmatch(value):
        return 1.0
    return min(float(value), 1.0)


def parse_via(text: str) -> Via:
    """Read one Via value (no commas). Raises MalformedMessage."""
    plain = _PLAIN_VIA.fullmatch(text)
    if plain is not None:
        transport, host, port, rest = plain.groups()
        parameters: Parameters = {}
        if port and int(port) > 65535:
            raise MalformedMessage(f"a Via with a port that is none: {port}")
        if rest:
            for item in rest[1:].split(";"):
                name, equals, value = item.partition("=")
                parameters[name.lower()] = value if equals else None
        return Via(transport.upper(), host, int(port) if port else None, parameters, text)
    odd = _ODD_VIA.fullmatch(text)
    if odd is None:
        raise MalformedMessage(f"a Via that is none: {text[:60]!r}")
    transport, where, rest = odd.groups()
    try:
        host, number = split_host_port("".join(where.split()))
    except MalformedUri as error:
        raise MalformedMessage(f"a Via without a host: {text[:60]!r}") from error
    return Via(transport.upper(), host, number, parse_parameters(rest or ""), text)


def parse_name_addr(text: str) -> NameAddr:
    """Read a name-addr or addr-spec with its parameters. Raises MalformedMessage."""
    name = ""
    rest = text
    if text[:1] == '"':
        found = _QUOTED.match(text)
        if found is None:
            raise MalformedMessage("a quote that is not closed")
        name = re.sub(r"\\(.)", r"\1", found.group()[1:-1], flags=re.DOTALL)
        rest = text[found.end() :].lstrip()
        if rest[:1] != "<":
            raise MalformedMessage("a quoted name is followed by an address in angle brackets")
    before, opened, after = rest.partition("<")
    if not opened:
        address, semicolon, parameters = rest.partition(";")
        address = address.rstrip()
        if not address or " " in address or "?" in address or "," in address:
            # RFC 3261 section 20: a URI with a comma, question mark or semicolon stands in angle brackets.
            raise MalformedMessage(f"an address that is none: {text[:60]!r}")
        return NameAddr("", address, parse_parameters(semicolon + parameters), text)
    uri, closed, tail = after.partition(">")
    if not closed:
        raise MalformedMessage("an angle bracket that is not closed")
    if not uri or uri != uri.strip() or " " in uri:
        raise MalformedMessage("an address with spaces within its angle brackets")
    if '"' in before:
        raise MalformedMessage("a quote amid a name")
    return NameAddr(name or before.strip(), uri, parse_parameters(tail.strip()), text)


@functools.lru_cache(maxsize=1024)
def parse_cseq(text: str) -> tuple[int, str]:
    """Number and method. Raises MalformedMessage."""
    parts = text.split()
    if len(parts) != 2 or not (parts[0].isascii() and parts[0].isdigit()) or not TOKEN.fullmatch(parts[1]):
        raise MalformedMessage(f"a CSeq that is none: {text[:60]!r}")
    if len(parts[0]) > 12 or int(parts[0]) >= _HIGHEST_CSEQ:
        raise MalformedMessage("a CSeq of 2**31 or more")
    return int(parts[0]), parts[1]
