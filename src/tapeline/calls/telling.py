"""What a flow tells the application of its call, and what that answers: input, notifications, connections that came to nothing, keys.

The event's own fields come from the flow; here those are added that every event has. An answer that is no JSON array of actions is no
document. Nothing here decides what becomes of the call.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import structlog

from tapeline import flow
from tapeline.calls.conference import Conference
from tapeline.calls.equipment import Equipment
from tapeline.calls.session import Call
from tapeline.core.errors import TapelineError
from tapeline.core.vonage import conversation_uuid, moment

__all__ = ["Teller", "common", "conversation_of"]

log = structlog.get_logger(__name__)

MAX_ANSWER = 100_000  # bytes: an answer is compiled on the event loop
TIMEOUT_S = 10.0
STATUSES = {"BUSY": "busy", "NO_ANSWER": "timeout", "REJECTED": "rejected", "NOT_REGISTERED": "unanswered", "CANCELLED": "cancelled"}
DETAILS = {"NOT_REGISTERED": "unavailable", "NOT_FOUND": "cannot_route", "UNREACHABLE": "cannot_route", "REJECTED": "declined"}


def common(call: Call, wall: float) -> dict[str, Any]:
    """What every event of a call says."""
    facts = call.facts
    return {
        "from": facts.source.target,
        "to": facts.destination.target,
        "uuid": facts.id,
        "conversation_uuid": conversation_of(call),
        "timestamp": moment(wall),
    }


def conversation_of(call: Call) -> str:
    """The name of the conversation that a call is in: that of a conference, or that which began with the first call."""
    return conversation_uuid(call.place.id if isinstance(call.place, Conference) else call.facts.activeflow_id)


class Teller:
    """Of one call's flow."""

    def __init__(self, call: Call, equipment: Equipment) -> None:
        self._call = call
        self._kit = equipment
        self._keys: flow.ReportDigits | None = None
        self._last: asyncio.Task[Any] | None = None  # keys are told one after the other

    async def ask(self, command: flow.Ask) -> Any:
        """The document that the application answers with, None where there is none."""
        return await self._request(command.url, command.method, self._event(command.kind, command.fields))

    async def fetch(self, url: str) -> Any:
        """The document at `url`, None where there is none."""
        return await self._request(url, "GET", common(self._call, self._kit.clock.wall()))

    def complain(self, reason: str, problems: Sequence[str]) -> None:
        log.error(reason, call_id=self._call.facts.id, problems=problems)

    def report_digits(self, command: flow.ReportDigits) -> None:
        self._keys = command

    def digit(self, digit: str) -> None:
        if self._keys is not None:
            event = common(self._call, self._kit.clock.wall()) | {"dtmf": {"digits": digit, "timed_out": False}}
            self._last = self._kit.spawn(self._told(self._keys, event, self._last))

    async def _told(self, keys: flow.ReportDigits, event: dict[str, Any], before: asyncio.Task[Any] | None) -> None:
        if before is not None:
            await asyncio.wait([before])
        await self._request(keys.url, keys.method, event)

    def _event(self, kind: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        event = common(self._call, self._kit.clock.wall())
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
            "to": fields["to"],
            "from": fields["from"] or event["from"],
        }
        return event | ({"detail": DETAILS[word]} if word in DETAILS else {}) | ({"sip_code": status} if status else {})

    async def _request(self, url: str, method: str, event: dict[str, Any]) -> Any:
        if not url:
            return None
        body, headers = b"", []
        if method == "GET":
            texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in event.items()}
            url += ("&" if "?" in url else "?") + urlencode(texts)
        else:
            body, headers = json.dumps(event).encode(), [("Content-Type", "application/json")]
        try:
            response = await self._kit.http.request(method, url, body=body, headers=headers, timeout_s=TIMEOUT_S, max_bytes=MAX_ANSWER)
        except TapelineError as error:
            log.warning("an application did not answer", call_id=self._call.facts.id, error=str(error))
            return None
        if not 200 <= response.status < 300:
            log.warning("an application refused an event", call_id=self._call.facts.id, status=response.status)
            return None
        return answered(response.body)


def answered(body: bytes) -> Sequence[Any] | bytes | None:
    """The document in an answer: an array of actions, or what pretends to be one; None where it is something else."""
    return body if body.lstrip()[:1] == b"[" and body.strip() != b"[]" else None
