"""Tells applications of their calls and recordings: what happens becomes messages in the platform's shapes, one row of `deliveries` each.

    happening -> event(s) -> address of the call or its application -> rows, in the lane of the call

Messages of one call are sent in order, signed as they are sent, and tried again by the policy `vonage`. An application that is gone, or
has no event URL, is told nothing.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final, Protocol

import structlog

from tapeline.api.vonage.words import file_id
from tapeline.calls.views import CallView, RecordingView
from tapeline.calls.vonage.applications import Applications
from tapeline.core.happening import Happening
from tapeline.core.vonage import addresses, compact, conversation_uuid, moment, number_of, second, with_query
from tapeline.store import DeliveryRow
from tapeline.store.statements import REJECTED
from tapeline.store.writer import WriteBehind

__all__ = ["VonageWebhooks", "record_event", "status_events", "status_of"]

log = structlog.get_logger(__name__)

KEPT_S = 3600.0  # how long a message waits for those before it; what comes later is of no use to anybody
RECORD_KEPT_S = 86400.0
_IDS: Final = uuid.UUID("b0a3c9d4-5e7f-4c02-9a41-66d1c7f5e8a1")
_STATUS = re.compile(r"([3-6][0-9]{2})\b")
REJECTIONS: Mapping[int, str] = {403: "restricted", 404: "invalid_number", 410: "invalid_number", 484: "invalid_number"}
FREE = "0.00"
RECORDED = frozenset({"recording_finished", "recording_failed"})
ERROR = ("conversation_uuid", "timestamp")
NO_TRANSCRIBER = "transcription is not available"


class Deliveries(Protocol):
    """`store.Database.deliveries`."""

    async def add(self, *rows: DeliveryRow) -> None: ...


def status_of(view: CallView) -> str:
    """The platform's word for how a call is, or how it ended."""
    if view.status != "hangup":
        return {"dialing": "started", "ringing": "ringing", "progressing": "answered"}.get(view.status, "completed")
    if view.progressing is not None:
        return "completed"
    return _failure(view)[0]


def _failure(view: CallView) -> tuple[str, dict[str, Any]]:
    """Why a call was never answered: the status, and what its event says besides."""
    found = _STATUS.match(view.hangup_cause)
    code = int(found[1]) if found and view.hangup_by == "remote" else 0
    told: dict[str, Any] = {"sip_code": code} if code else {}
    if view.hangup_reason == "busy":
        return "busy", {"sip_code": code or 486}
    if str(code) in REJECTED:
        return "rejected", told | {"detail": REJECTIONS.get(code, "declined")}
    if code == 480:
        return "unanswered", told | {"detail": "unavailable"}
    if view.hangup_reason in ("timeout", "dialout") or (view.hangup_reason == "noanswer" and not code):
        return "timeout", told
    if view.hangup_reason == "noanswer":
        return "unanswered", told | {"detail": "carrier_timeout"}
    if view.hangup_reason == "cancel" or (view.hangup_reason == "normal" and not code):
        return "cancelled", told
    return "failed", told | {"detail": "cannot_route" if code in (0, 408, 480, 502, 503) else "internal_error"}


def status_events(kind: str, view: CallView, wall: float) -> list[dict[str, Any]]:
    """The events of one happening of a call, oldest first."""
    common: dict[str, Any] = {
        "headers": {},
        "from": number_of(view.source.kind, view.source.target),
        "to": number_of(view.destination.kind, view.destination.target),
        "uuid": view.id,
        "conversation_uuid": conversation_uuid(view.activeflow_id),
        "direction": "inbound" if view.direction == "incoming" else "outbound",
        "timestamp": moment(wall),
    }
    if kind == "call_created":
        return [common | {"status": "started"}]
    if kind == "call_ringing":
        return [common | {"status": "ringing"}]
    if kind == "call_progressing":
        return [common | {"status": "answered", "start_time": None, "rate": None, "network": None}]
    if kind != "call_hangup":
        return []
    events = []
    if view.progressing is None:
        status, more = _failure(view)
        if not view.event_asked:
            events.append(common | {"status": status} | more)
        if status == "rejected":
            return events
    return [*events, common | {"status": "completed"} | completion(view)]


def completion(view: CallView) -> dict[str, Any]:
    """What is told of a call that is over. Nothing is charged here."""
    began, ended = view.progressing, view.hungup
    seconds = round(ended - began) if began is not None and ended is not None else 0
    found = _STATUS.match(view.hangup_cause)
    return {
        "start_time": _whole(began),
        "end_time": _whole(ended),
        "duration": str(seconds),
        "rate": FREE,
        "price": FREE,
        "network": None,
        "disconnected_by": "user" if view.hangup_by == "remote" else "platform",
        "sip_code": int(found[1]) if found and view.hangup_by == "remote" else 200,
    }


def _whole(wall: float | None) -> str | None:
    return second(wall).removesuffix("Z") + ".000Z" if wall is not None else None


def record_event(view: RecordingView, base: str, wall: float) -> dict[str, Any]:
    """Exactly the seven fields; `base` is what the address of a file begins with."""
    began = view.started or view.created
    own = view.call_id if view.reference == "confbridge" else view.activeflow_id
    return {
        "start_time": second(began),
        "recording_url": f"{base}/v1/files/{file_id(view.id)}",
        "size": view.size or 0,
        "recording_uuid": view.id,
        "end_time": second(int(began) + round(view.duration or 0.0)),
        "conversation_uuid": conversation_uuid(own),
        "timestamp": moment(wall),
    }


class VonageWebhooks:
    """A listener. `base` is what the addresses of files begin with; `recorded` is told once a recording's event is surely on its way;
    `transcriber` is where recordings go of which a transcript is wanted, "" nowhere."""

    def __init__(
        self,
        applications: Applications,
        writer: WriteBehind,
        deliveries: Deliveries,
        recorded: Callable[[str], None],
        base: str,
        node: str,
        transcriber: str = "",
    ) -> None:
        self._applications = applications
        self._writer = writer
        self._deliveries = deliveries
        self._recorded = recorded
        self._base = base.rstrip("/")
        self._node = node
        self._transcriber = transcriber
        self._last = 0.0

    def __call__(self, happening: Happening) -> Coroutine[Any, Any, None] | None:
        data = happening.data
        if happening.kind == "call_event":
            view = data["call"]
            self._send(happening, view, [dict(data["event"])], data["url"], data["method"])
        elif isinstance(data, CallView):
            self._send(happening, data, status_events(happening.kind, data, happening.time))
        elif happening.kind in RECORDED and isinstance(data, RecordingView) and data.custom.get("dialect") == "vonage":
            return self._keep(data.id, *self._of_recording(happening, data))
        return None

    def _of_recording(self, happening: Happening, view: RecordingView) -> list[DeliveryRow | None]:
        """The event of a recording that is ready, or the error of one that failed, for each who is told; and who makes its transcript."""
        event = record_event(view, self._base, happening.time)
        told, kept_s = event, RECORD_KEPT_S
        if happening.kind == "recording_failed":
            told, kept_s = {"reason": f"the recording {view.id} failed: {view.reason}"} | {name: event[name] for name in ERROR}, KEPT_S
        rows = [
            self._row(happening, view.application_id, view.call_id, view.id, told, *address, kept_s=kept_s)
            for address in addresses(view.custom)
        ]
        return rows if told is not event else [*rows, self._transcription(happening, view, event)]

    def _transcription(self, happening: Happening, view: RecordingView, record: Mapping[str, Any]) -> DeliveryRow | None:
        """Where the document asked for a transcript: the recording for who makes one, or the event that says that nobody does."""
        if not view.custom.get("transcription"):
            return None
        wish = json.loads(view.custom["transcription"])
        named = {name: record[name] for name in ("conversation_uuid", "recording_uuid", "timestamp")}
        url, method = str(wish["event_url"]) or str(view.custom.get("event_url", "")), str(wish["event_method"])
        if self._transcriber:
            told = dict(record) | {"type": "transcribe", "event_url": url, "event_method": method}
            told |= {"language": wish["language"], "sentiment_analysis": wish["sentiment"]}
            return self._row(happening, view.application_id, view.call_id, view.id, told, self._transcriber, "POST", RECORD_KEPT_S)
        told = named | {"type": "record", "status": "failed", "reason": NO_TRANSCRIBER}
        return self._row(happening, view.application_id, view.call_id, view.id, told, url, method, RECORD_KEPT_S)

    async def _keep(self, recording_id: str, *rows: DeliveryRow | None) -> None:
        """What tells of a recording must not be lost: it is told again where this raises."""
        found = [row for row in rows if row is not None]
        if found:
            await self._deliveries.add(*found)
        self._recorded(recording_id)

    def _send(self, happening: Happening, view: CallView, events: list[dict[str, Any]], url: str = "", method: str = "") -> None:
        if not url:
            url, method = view.event_url, view.event_method
        for event in events:
            row = self._row(happening, view.application_id, view.id, view.id, event, url, method)
            if row is not None:
                self._writer.put(row)

    def _row(
        self,
        happening: Happening,
        application_id: str,
        lane: str,
        ref: str,
        event: dict[str, Any],
        url: str,
        method: str,
        kept_s: float = KEPT_S,
    ) -> DeliveryRow | None:
        """The message, or None where nobody wants it. Each is a little later than the one before: order is kept by that."""
        application = self._applications.get(application_id) if application_id else None
        if not url and application is not None:
            url, method = application.event_url, application.event_method
        if not url:
            return None
        self._last = max(happening.time, self._last + 0.000_01)
        method = method or "POST"
        body = "" if method == "GET" else compact(event).decode()
        name = f"{happening.id}/{url}/{event.get('status', '')}"
        return DeliveryRow(
            id=str(uuid.uuid5(_IDS, name)),
            account=happening.account,
            kind="webhook",
            ref=ref,
            url=with_query(url, event) if method == "GET" else url,
            created=self._last,
            until=happening.time + kept_s,
            method=method,
            body=body,
            content_type="application/json" if body else "",
            policy="vonage",
            lane=f"vonage/{lane}",
            signing=f"vonage:{application.id}" if application is not None and application.signature_secret else "",
            node=self._node,
        )
