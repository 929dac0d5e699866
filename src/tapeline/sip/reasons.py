"""Why a call ended, as the Reason header tells it (RFC 3326): a SIP status, or a cause of the telephone network (Q.850).

Read from BYE, CANCEL and refusals, and from more than one header; written where whoever hangs up has something to say. A header that
cannot be read is passed over: a reason never makes a request fail. This module knows nothing of sessions or of what a cause leads to.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tapeline.sip.errors import MalformedMessage
from tapeline.sip.events import Cause
from tapeline.sip.headers import parse_parameters, quote
from tapeline.sip.message import Field, Message

__all__ = ["CAUSES", "Reason", "reason_fields", "reasons_of", "told"]

# What a refusal means for a call; any other status: failed.
CAUSES: dict[int, Cause] = {
    401: "rejected", 403: "rejected", 407: "rejected", 408: "noanswer", 433: "rejected", 480: "noanswer", 486: "busy", 487: "cancel",
    600: "busy", 603: "rejected", 607: "rejected", 608: "rejected",
}  # fmt: skip

_MOST = 8  # values that are read
_HIGHEST = {"sip": 699, "q.850": 127}


@dataclass(frozen=True, slots=True)
class Reason:
    """`protocol` in lower case, "sip" or "q.850" as a rule; `cause` 0 where none is told."""

    protocol: str
    cause: int
    text: str


def reasons_of(message: Message) -> list[Reason]:
    """Every reason that can be read, in order."""
    try:
        values = message.items("reason")
    except MalformedMessage:
        return []
    return [reason for reason in map(_read, values[:_MOST]) if reason is not None]


def _read(value: str) -> Reason | None:
    protocol, semicolon, rest = value.partition(";")
    try:
        parameters = parse_parameters(semicolon + rest)
    except MalformedMessage:
        return None
    protocol = protocol.strip().lower()
    cause = parameters.get("cause") or ""
    number = int(cause) if cause.isascii() and cause.isdigit() and len(cause) < 4 else 0
    if number > _HIGHEST.get(protocol, 999):
        number = 0
    text = parameters.get("text") or ""
    if text[:1] == '"':
        text = text[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    return Reason(protocol, number, text) if protocol else None


def reason_fields(reasons: Iterable[Reason]) -> list[Field]:
    """The headers that tell `reasons`; what says nothing is left out."""
    fields = []
    for reason in reasons:
        if reason.cause:
            text = f";text={quote(reason.text)}" if reason.text else ""
            fields.append(("Reason", f"{reason.protocol.upper()};cause={reason.cause}{text}"))
    return fields


def told(message: Message) -> tuple[str, int]:
    """What the peer says of why: the text of Reason, and its Q.850 cause."""
    if message.get("reason") is None:
        return "", 0
    reasons = reasons_of(message)
    text = next((reason.text for reason in reasons if reason.text), "")
    return text, next((reason.cause for reason in reasons if reason.protocol == "q.850"), 0)
