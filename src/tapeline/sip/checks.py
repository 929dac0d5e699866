"""What a UAS checks of a request before it acts on it (RFC 3261 section 8.2), in the order of that section.

Each refusal carries the status and the headers that tell the peer what would have been accepted. This module knows nothing of dialogs,
and not of what the methods do.
"""

from __future__ import annotations

from dataclasses import dataclass

from tapeline.sip.config import EndpointConfig
from tapeline.sip.message import Field, Request
from tapeline.sip.uri import parse_uri

__all__ = ["Refusal", "check_request"]

# Methods of RFCs that we know of: not allowed here (405) rather than unknown (501).
_KNOWN = frozenset(
    [
        "INVITE",
        "ACK",
        "CANCEL",
        "BYE",
        "OPTIONS",
        "INFO",
        "REGISTER",
        "PRACK",
        "UPDATE",
        "SUBSCRIBE",
        "NOTIFY",
        "REFER",
        "MESSAGE",
        "PUBLISH",
    ]
)
_SCHEMES = ("sip", "sips", "tel")
_WITH_OFFERS = ("INVITE", "UPDATE", "PRACK")


@dataclass(frozen=True, slots=True)
class Refusal:
    status: int
    fields: tuple[Field, ...] = ()


def check_request(request: Request, config: EndpointConfig) -> Refusal | None:
    """Why the request cannot be served; None where it can. Raises MalformedMessage where a header that matters cannot be read."""
    if request.method not in config.allow:
        allow = (("Allow", ", ".join(config.allow)),)
        return Refusal(405 if request.method in _KNOWN else 501, allow)
    if request.uri.scheme not in _SCHEMES:
        return Refusal(416)
    contact = request.contact if request.method == "INVITE" else None
    if contact is not None:
        parse_uri(contact.uri_text)  # one that cannot be read could not be called back
    if "require" in request._indexed():
        unknown = [tag for tag in request.items("require") if tag.lower() not in config.supported]
        if unknown:
            return Refusal(420, (("Unsupported", ", ".join(unknown)),))
    return _check_body(request, config)


def _check_body(request: Request, config: EndpointConfig) -> Refusal | None:
    """RFC 3261 section 8.2.3."""
    encoding = request.get("content-encoding")
    if encoding and encoding.strip().lower() != "identity" and request.body:
        return Refusal(415, (("Accept-Encoding", "identity"),))
    if request.method not in _WITH_OFFERS:
        return None
    kind = request.content_type
    if request.body and kind and kind not in config.accept and not kind.startswith("multipart/"):
        disposition = (request.get("content-disposition") or "").lower()
        if "handling=optional" not in disposition.replace(" ", ""):
            return Refusal(415, (("Accept", ", ".join(config.accept)),))
    accepted = request.all("accept")
    if accepted and not any(range_ in ("application/sdp", "application/*", "*/*") for range_ in request.tokens("accept")):
        return Refusal(406)  # RFC 4475 section 3.3.15: an answer would have to be SDP
    return None
