"""Session descriptions (RFC 8866): bytes to `Description` and back, line for line.

Every line is kept in its order, known or not, so that what is built from what was parsed is what came, but for line endings. Reading is
lenient where phones are careless (LF alone, blank lines, lines without "="), strict where a wrong guess would send media astray: ports,
addresses, payload types. This module knows nothing of offers, answers or codecs.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field

from tapeline.sip.errors import MalformedSdp

__all__ = ["Description", "Line", "Media", "RtpMap", "build", "parse"]

Line = tuple[str, str]  # its letter, and what follows "="
_DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")
_MOST_LINES = 2000
_MOST_MEDIA = 64


@dataclass(frozen=True, slots=True)
class RtpMap:
    """`a=rtpmap`: name as written, clock rate in hertz."""

    payload_type: int
    name: str
    rate: int
    channels: int = 1


class _Section:
    """What the session part and each media part share."""

    lines: list[Line]

    def first(self, letter: str) -> str | None:
        return next((value for key, value in self.lines if key == letter), None)

    def attribute(self, name: str) -> str | None:
        """The value of the first `a=name:value`, "" for a flag, None where there is none."""
        return next(iter(self.attributes(name)), None)

    def attributes(self, name: str) -> list[str]:
        found = []
        for key, value in self.lines:
            if key == "a":
                label, _, rest = value.partition(":")
                if label.strip().lower() == name:
                    found.append(rest.strip())
        return found

    @property
    def direction(self) -> str | None:
        return next((name for name in _DIRECTIONS if self.attribute(name) is not None), None)

    @property
    def connection(self) -> str | None:
        """The address of `c=`, None where there is no such line. Raises MalformedSdp."""
        line = self.first("c")
        return None if line is None else _address(line)


@dataclass(slots=True)
class Media(_Section):
    """One `m=` line and what belongs to it. `formats` as written: payload types for RTP."""

    kind: str
    port: int
    protocol: str
    formats: list[str]
    count: int = 1  # of ports
    lines: list[Line] = field(default_factory=list)

    @property
    def payload_types(self) -> list[int]:
        return [int(item) for item in self.formats if item.isascii() and item.isdigit() and len(item) < 4 and int(item) < 128]

    def rtpmaps(self) -> dict[int, RtpMap]:
        """By payload type. Raises MalformedSdp."""
        return {found.payload_type: found for found in map(_rtpmap, self.attributes("rtpmap"))}


@dataclass(slots=True)
class Description(_Section):
    lines: list[Line] = field(default_factory=list)
    media: list[Media] = field(default_factory=list)

    def address_of(self, media: Media) -> str | None:
        """Where media go: the media's own connection line, else the session's. Raises MalformedSdp."""
        own = media.connection
        return own if own is not None else self.connection

    def direction_of(self, media: Media) -> str:
        """RFC 3264 section 5.1: sendrecv unless said otherwise."""
        return media.direction or self.direction or "sendrecv"


def parse(data: bytes) -> Description:
    """Read a description. Raises MalformedSdp."""
    text = data.decode("utf-8", "surrogateescape")
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if len(lines) > _MOST_LINES:
        raise MalformedSdp(f"more than {_MOST_LINES} lines")
    description = Description()
    section: _Section = description
    seen_version = False
    for line in lines:
        letter, equals, value = line.partition("=")
        letter = letter.strip()
        if not equals or len(letter) != 1:
            continue
        if not seen_version:
            if letter != "v" or value.strip() != "0":
                raise MalformedSdp("a description begins with v=0")
            seen_version = True
        if letter == "m":
            if len(description.media) >= _MOST_MEDIA:
                raise MalformedSdp(f"more than {_MOST_MEDIA} media")
            media = _media(value)
            description.media.append(media)
            section = media
        else:
            section.lines.append((letter, value))
    if not seen_version:
        raise MalformedSdp("not a session description")
    return description


def build(description: Description) -> bytes:
    """The description as octets, with CRLF at the end of each line."""
    lines = [f"{letter}={value}" for letter, value in description.lines]
    for media in description.media:
        count = f"/{media.count}" if media.count != 1 else ""
        lines.append(f"m={media.kind} {media.port}{count} {media.protocol} {' '.join(media.formats)}")
        lines += [f"{letter}={value}" for letter, value in media.lines]
    lines.append("")
    return "\r\n".join(lines).encode("utf-8", "surrogateescape")


def _number(text: str, highest: int, what: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 10 or int(text) > highest:
        raise MalformedSdp(f"{what} is no number up to {highest}: {text[:20]!r}")
    return int(text)


def _media(value: str) -> Media:
    parts = value.split()
    if len(parts) < 4:
        raise MalformedSdp("a media line is kind, port, protocol and formats")
    port, slash, count = parts[1].partition("/")
    return Media(
        parts[0].lower(),
        _number(port, 65535, "a media port"),
        parts[2],
        parts[3:],
        _number(count, 65535, "a count of ports") if slash else 1,
    )


def _address(value: str) -> str:
    parts = value.split()
    if len(parts) != 3 or parts[0].upper() != "IN" or parts[1].upper() not in ("IP4", "IP6"):
        raise MalformedSdp("a connection line is IN, IP4 or IP6, and an address")
    host = parts[2].partition("/")[0]
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        # A name: RFC 8866 section 5.7 allows it. Whether it can be used is not for us to say.
        if not host or len(host) > 255 or not all(char.isalnum() or char in "-._" for char in host):
            raise MalformedSdp(f"an address that is none: {host[:40]!r}") from None
        return host


def _rtpmap(value: str) -> RtpMap:
    number, _, rest = value.partition(" ")
    name, slash, after = rest.strip().partition("/")
    rate, more, channels = after.partition("/")
    if not name or not slash:
        raise MalformedSdp(f"an rtpmap that is none: {value[:40]!r}")
    return RtpMap(
        _number(number, 127, "a payload type"),
        name,
        _number(rate.strip(), 1_000_000, "a clock rate"),
        _number(channels.strip(), 255, "a count of channels") if more and channels.strip() else 1,
    )
