"""Vonage's words for what every platform has: names of conversations, times, numbers, and the signature of what is sent.

A call begins in a conversation of its own, which those who are connected with it join; a named conversation is a conference.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from tapeline.core.clock import utc

__all__ = [
    "addresses",
    "compact",
    "conversation_id",
    "conversation_uuid",
    "moment",
    "number_of",
    "second",
    "signature",
    "signed_part",
    "telling_too",
    "with_query",
    "without_query",
]

PREFIX = "CON-"
MOST_ADDRESSES = 20  # that are told of one recording
EARLIER_S = 5  # receivers refuse what was signed in the future, and clocks differ


class Signer(Protocol):
    """An application, as far as signing goes."""

    @property
    def id(self) -> str: ...

    @property
    def account(self) -> str: ...

    @property
    def signature_secret(self) -> str: ...


def conversation_uuid(own_id: str) -> str:
    """Of a call's or its recording's `activeflow_id`, or of a conference's id where that is what it is in."""
    return PREFIX + own_id


def conversation_id(text: str) -> str:
    """The id that a conversation's name stands for; `text` itself where it is one already."""
    return text.removeprefix(PREFIX)


def moment(wall: float) -> str:
    """ISO 8601 with milliseconds, as events are stamped."""
    return utc(wall).strftime("%Y-%m-%dT%H:%M:%S.") + f"{int(wall * 1000) % 1000:03d}Z"


def second(wall: float) -> str:
    """ISO 8601 without a fraction, as recordings' times are told."""
    return utc(wall).strftime("%Y-%m-%dT%H:%M:%SZ")


def number_of(kind: str, target: str) -> str:
    """A party as the platform writes it: a number is its digits alone, whoever else has a SIP address."""
    bare = target.removeprefix("sip:").removeprefix("sips:")
    user = bare.partition("@")[0].removeprefix("+")
    if user.isdigit() and user.isascii():
        return user
    return f"sip:{bare}" if kind == "sip" and bare else target


def compact(fields: Mapping[str, Any]) -> bytes:
    """JSON without blanks: what is signed must be what a receiver gets when it writes the same again."""
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()


def with_query(url: str, fields: Mapping[str, Any]) -> str:
    """`url` with `fields` in its query; what is no text there as JSON."""
    texts = {name: value if isinstance(value, str) else json.dumps(value, separators=(",", ":")) for name, value in fields.items()}
    return url + ("&" if urlsplit(url).query else "?") + urlencode(texts)


def signed_part(method: str, url: str, body: bytes) -> bytes:
    """What the signature of a request is over: its body, or for GET its query as an object."""
    return compact(dict(parse_qsl(urlsplit(url).query, keep_blank_values=True))) if method == "GET" else body


def signature(signer: Signer, payload: bytes, wall: float, jti: str) -> str:
    """The token (JWT, HS256) that goes with `payload`: its `payload_hash` is that of these very bytes."""
    claims = {
        "iat": int(wall) - EARLIER_S,
        "jti": jti,
        "iss": "Vonage",
        "payload_hash": hashlib.sha256(payload).hexdigest(),
        "api_key": signer.account,
        "application_id": signer.id,
    }
    signed = ".".join(_part(compact(each)) for each in ({"alg": "HS256", "typ": "JWT"}, claims))
    return f"{signed}.{_part(hmac.digest(signer.signature_secret.encode(), signed.encode(), 'sha256'))}"


def addresses(custom: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Who is told of a recording that carries `custom`: URL and method of each. The first may be "": where all events go."""
    first = str(custom.get("event_url", "")), str(custom.get("event_method", ""))
    return [first, *((str(url), str(method)) for url, method in json.loads(custom.get("told_too", "[]")))]


def telling_too(custom: Mapping[str, str], other: Mapping[str, str]) -> Mapping[str, str]:
    """What a recording carries once it is also told of where `other`, of another that wanted the same recorded, names an address. That
    is `custom` itself where nobody is to be told besides, or `MOST_ADDRESSES` are told already."""
    known, url = addresses(custom), other.get("event_url", "")
    named = url and other.get("event_named") != "no" and custom.get("dialect") == other.get("dialect")
    if not named or url in [each for each, _ in known] or len(known) >= MOST_ADDRESSES:
        return custom
    return {**custom, "told_too": json.dumps([*known[1:], (url, other.get("event_method", ""))])}


def _part(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def without_query(url: str) -> str:
    """The address as it may stand in a log or a row: credentials may be in its query or before its host."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
