"""Who a call of ours says it is from: the caller's own number, one that was set, a trunk's, or nobody (RFC 3323, RFC 3325)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

from tapeline import sip
from tapeline.calls.session import Call
from tapeline.calls.views import Address

__all__ = ["Anonymous", "Identity", "hops_left", "identify", "user_of", "wants_privacy"]

Anonymous = Literal["yes", "no", "auto"]
ANONYMOUS = "sip:anonymous@anonymous.invalid"
MOST_HOPS = 70
_SAFE = "-_.!~*'()&=+$,;?/"


@dataclass(frozen=True, slots=True)
class Identity:
    """`headers` go into the INVITE beside the From."""

    uri: str
    name: str = ""
    headers: tuple[tuple[str, str], ...] = ()


def identify(source: Address, host: str, *, anonymous: bool, trusted: bool) -> Identity:
    """`source` as From, at `host` (as it stands in a URI). Anonymous, only a `trusted` next hop (a trunk) learns who it is."""
    user = quote(user_of(source), safe=_SAFE)
    uri = f"sip:{user}@{host}" if user else f"sip:{host}"
    if not anonymous:
        return Identity(uri, source.name)
    headers = [("Privacy", "id")]
    if trusted and user:
        headers.append(("P-Asserted-Identity", f"<{uri}>"))
    return Identity(ANONYMOUS, "Anonymous", tuple(headers))


def user_of(address: Address) -> str:
    """The number or user name in an address."""
    target = address.target.removeprefix("sip:").removeprefix("sips:").removeprefix("tel:")
    return target.partition("@")[0].partition(";")[0]


def wants_privacy(call: Call) -> bool:
    """Whether the caller does not want to be shown (RFC 3323 section 4.2)."""
    if not call.incoming:
        return False
    wishes = {wish.strip().lower() for value in call.session.request.all("privacy") for wish in value.split(";")}
    try:
        anonymous = sip.parse_uri(call.session.remote_uri).host.lower() == "anonymous.invalid"
    except sip.MalformedUri:
        anonymous = False
    return anonymous or bool(wishes & {"id", "user", "header"})


def hops_left(call: Call | None) -> int:
    """The Max-Forwards of a call that is made for `call`: 0 where it has come too far (RFC 3261 section 16.3)."""
    if call is None or not call.incoming:
        return MOST_HOPS
    stated = (call.session.request.get("max-forwards") or "").strip()
    return min(MOST_HOPS, max(0, int(stated) - 1)) if stated.isascii() and stated.isdigit() else MOST_HOPS - 1
