"""URIs: `sip:`, `sips:` and `tel:` in parts, every other scheme as it came.

Parsing keeps escapes as they were written, so that `str(parse_uri(text)) == text`; `Uri.plain_user` is the user part as people read it.
Parameter names compare without regard to case (RFC 3261 section 19.1.4), and so do the values of those that SIP itself defines.
This module knows nothing of headers, messages or addresses that a name resolves to.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from tapeline.sip.errors import MalformedUri

__all__ = ["Uri", "host_port", "parse_uri", "split_host_port"]

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*")
_HOST = re.compile(r"\[[0-9A-Fa-f:.]+(?:%25[A-Za-z0-9_.~\-]+)?\]|[A-Za-z0-9_](?:[A-Za-z0-9._\-]*[A-Za-z0-9_])?\.?")
_USER = re.compile(r"(?:[A-Za-z0-9\-_.!~*'()&=+$,;?/#]|%[0-9A-Fa-f]{2}|[^\x00-\x7f])+")
_PASSWORD = re.compile(r"(?:[A-Za-z0-9\-_.!~*'()&=+$,]|%[0-9A-Fa-f]{2}|[^\x00-\x7f])*")
_PARAMETER = re.compile(r"(?:[A-Za-z0-9\-_.!~*'()\[\]/:&+$]|%[0-9A-Fa-f]{2}|[^\x00-\x7f])+")
_OPAQUE = re.compile(r"[!#$%&'()*+,\-./0-9:;=?@A-Z\[\]_a-z~\x80-\U0010ffff]+")
_LONGEST = 8192


@dataclass(frozen=True, slots=True)
class Uri:
    """A URI. For schemes other than sip and sips only `scheme` and `opaque` (all after the colon) are filled."""

    scheme: str
    user: str = ""  # as written, escapes and all; for tel: the number
    password: str | None = None
    host: str = ""  # without the brackets of IPv6, as written
    port: int | None = None
    parameters: Mapping[str, str | None] = field(default_factory=dict)  # names in lower case
    headers: str = ""  # what follows "?", as written
    opaque: str = ""
    text: str = field(default="", compare=False)

    @property
    def is_sip(self) -> bool:
        return self.scheme in ("sip", "sips")

    @property
    def plain_user(self) -> str:
        """The user part with its escapes resolved."""
        return unquote_to_bytes(self.user.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")

    @property
    def transport(self) -> str:
        """The `transport` parameter in lower case, or ""."""
        return (self.parameters.get("transport") or "").lower()

    @property
    def loose(self) -> bool:
        return "lr" in self.parameters

    def __str__(self) -> str:
        if self.text:
            return self.text
        if not self.is_sip:
            return f"{self.scheme}:{self.opaque or self.user}"
        password = f":{self.password}" if self.password is not None else ""
        user = f"{self.user}{password}@" if self.user else ""
        parameters = "".join(f";{name}" if value is None else f";{name}={value}" for name, value in self.parameters.items())
        return f"{self.scheme}:{user}{host_port(self.host, self.port)}{parameters}{'?' + self.headers if self.headers else ''}"


def host_port(host: str, port: int | None = None) -> str:
    """`host:port` as it stands in a URI or Via, with brackets around an IPv6 address."""
    shown = f"[{host}]" if ":" in host else host
    return shown if port is None else f"{shown}:{port}"


@functools.lru_cache(maxsize=4096)
def parse_uri(text: str) -> Uri:
    """Read a URI. Raises MalformedUri."""
    if len(text) > _LONGEST:
        raise MalformedUri(f"a URI of {len(text)} characters is too long", status=414)
    scheme, colon, rest = text.partition(":")
    if not colon or not _SCHEME.fullmatch(scheme):
        raise MalformedUri("a URI begins with a scheme and a colon")
    scheme = scheme.lower()
    if scheme == "tel":
        number, *parameters = rest.split(";")
        if not _OPAQUE.fullmatch(rest) or not number:
            raise MalformedUri("a tel URI without a number")
        return Uri(scheme, user=number, parameters=_parameters(parameters), text=text)
    if scheme not in ("sip", "sips"):
        if not _OPAQUE.fullmatch(rest):
            raise MalformedUri(f"a {scheme} URI with characters that no URI may have")
        return Uri(scheme, opaque=rest, text=text)
    return _parse_sip(scheme, rest, text)


def _parse_sip(scheme: str, rest: str, text: str) -> Uri:
    userinfo, at, after = rest.rpartition("@")
    user, colon, password = userinfo.partition(":")
    if at and not _USER.fullmatch(user):
        raise MalformedUri("a user part that is empty or has characters that must be escaped")
    if colon and not _PASSWORD.fullmatch(password):
        raise MalformedUri("a password with characters that must be escaped")
    address, _, headers = after.partition("?")
    if headers and not _OPAQUE.fullmatch(headers):
        raise MalformedUri("URI headers with characters that must be escaped")
    hostport, *parameters = address.split(";")
    host, port = split_host_port(hostport)
    return Uri(scheme, user, password if colon else None, host, port, _parameters(parameters), headers, text=text)


def split_host_port(text: str) -> tuple[str, int | None]:
    """Host (without brackets) and port, or None. Raises MalformedUri."""
    found = _HOST.match(text)
    if found is None:
        raise MalformedUri("no host")
    host = found.group()
    rest = text[found.end() :]
    port: int | None = None
    if rest:
        digits = rest[1:]
        if rest[0] != ":" or not (digits.isascii() and digits.isdigit()) or len(digits) > 5 or int(digits) > 65535:
            raise MalformedUri("a host is followed by something that is no port")
        port = int(digits)
    return (host[1:-1] if host[0] == "[" else host), port


def _parameters(items: list[str]) -> dict[str, str | None]:
    parameters: dict[str, str | None] = {}
    for item in items:
        name, equals, value = item.partition("=")
        if not _PARAMETER.fullmatch(name) or (equals and not _PARAMETER.fullmatch(value)):
            raise MalformedUri("a URI parameter that is empty or has characters that must be escaped")
        parameters.setdefault(name.lower(), value if equals else None)
    return parameters
