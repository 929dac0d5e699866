"""What a flow tells the application of its call, and what that answers: input, notifications, connections that came to nothing, keys.

The event's own fields come from the flow; here those are added that every event has. An answer that is no JSON array of actions is no
document. Nothing here decides what becomes of the call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tapeline import flow
from tapeline.calls.equipment import Equipment
from tapeline.calls.session import Call
from tapeline.calls.vonage.webhooks import ANSWER_S, Question, event_of
from tapeline.core.vonage import number_of

__all__ = ["Teller"]

STATUSES = {"BUSY": "busy", "NO_ANSWER": "timeout", "REJECTED": "rejected", "NOT_REGISTERED": "unanswered", "CANCELLED": "cancelled"}
DETAILS = {"NOT_REGISTERED": "unavailable", "NOT_FOUND": "cannot_route", "UNREACHABLE": "cannot_route", "REJECTED": "declined"}


class Teller:
    """Of one call's flow."""

    def __init__(self, call: Call, equipment: Equipment) -> None:
        self._call = call
        self._kit = equipment

    async def ask(self, command: flow.Ask) -> flow.Compilation | None:
        """What the document that the application answers with compiles to, None where there is none."""
        url, method = (command.url, command.method) if command.url else self._kit.webhooks.event_address(self._call)
        if not url:
            return None
        reply = await self._kit.webhooks.ask(self._call, Question("event", url, method, self._event(command.kind, command.fields)))
        return await self._compiled(reply.body)

    async def consult(self, event: Mapping[str, Any]) -> flow.Compilation | None:
        """Tell `event` where the call's events go; what the document that comes back compiles to, None where there is none."""
        url, method = self._kit.webhooks.event_address(self._call)
        if not url:
            return None
        return await self._compiled((await self._kit.webhooks.ask(self._call, Question("event", url, method, event))).body)

    async def fetch(self, url: str) -> flow.Compilation | None:
        """What the document at `url` compiles to, None where there is none."""
        event = event_of(self._call, self._kit.clock.wall())
        fields = {name: event[name] for name in ("to", "from", "uuid", "conversation_uuid")}
        reply = await self._kit.webhooks.ask(self._call, Question("answer", url, "GET", fields, ANSWER_S))
        return await self._compiled(reply.body)

    async def _compiled(self, body: bytes | None) -> flow.Compilation | None:
        """In a thread: a document as large as an answer may be takes longer than the event loop can wait."""
        document = answered(body) if body is not None else None
        return await self._kit.thread(flow.compile, document, dialect="vonage", nested=True) if document is not None else None

    def complain(self, reason: str, problems: Sequence[str]) -> None:
        """Tell the application that something of the flow cannot be done."""
        self._kit.webhooks.complain(self._call, ": ".join((reason, *problems)))

    def report_digits(self, command: flow.ReportDigits) -> None:
        self._call.keys_told = (command.url, command.method)

    def digit(self, digit: str) -> None:
        if self._call.keys_told is not None:
            event = event_of(self._call, self._kit.clock.wall()) | {"dtmf": {"digits": digit, "timed_out": False}}
            self._kit.webhooks.tell(self._call, event, *self._call.keys_told)

    def _event(self, kind: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        event = event_of(self._call, self._kit.clock.wall())
        if kind == "notify":
            return {name: event[name] for name in ("conversation_uuid", "timestamp")} | dict(fields)
        if kind != "connect":
            return event | dict(fields)
        causes = tuple(fields["causes"])
        word = next(iter(causes), "FAILED")
        status = next((int(cause[4:]) for cause in causes if cause.startswith("sip:") and cause[4:].isdigit()), 0)
        event |= {
            "status": STATUSES.get(word, "failed"),
            "direction": "outbound",
            "to": number_of("", fields["to"]),
            "from": number_of("", fields["from"]) or event["from"],
        }
        return event | ({"detail": DETAILS[word]} if word in DETAILS else {}) | ({"sip_code": status} if status else {})


def answered(body: bytes) -> bytes | None:
    """The document in an answer: an array of actions, or what pretends to be one; None where it is something else."""
    return body if body.lstrip()[:1] == b"[" and body.strip() != b"[]" else None
