"""Between views and rows: the same facts, as the service tells them and as the store keeps them."""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from typing import Any

from tapeline.calls.views import Address, CallView, ConferenceCallView, ConferenceView, RecordingView
from tapeline.core.facts import CallFacts, ConferenceFacts, RecordingFacts, StayFacts
from tapeline.recording.manifest import Manifest
from tapeline.store import CallRow, ConferenceCallRow, ConferenceRow, RecordingRow

__all__ = [
    "call_row",
    "call_view",
    "conference_row",
    "conference_view",
    "recording_row",
    "recording_view",
    "recovered_row",
    "stay_row",
    "stay_view",
    "with_notes",
]

_CALL = tuple(field.name for field in fields(CallFacts))
_RECORDING = tuple(field.name for field in fields(RecordingFacts))
_CONFERENCE = tuple(field.name for field in fields(ConferenceFacts))
_STAY = tuple(field.name for field in fields(StayFacts))
_NOTES = ("held", "hold_reason", "held_by", "retention_days", "tags", "note")


def _same(found: Any, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(found, name) for name in names}


def call_row(view: CallView, node: str) -> CallRow:
    return CallRow(**_same(view, _CALL), source=asdict(view.source), destination=asdict(view.destination), node=node)


def call_view(row: CallRow) -> CallView:
    return CallView(**_same(row, _CALL), source=Address(**row.source), destination=Address(**row.destination))


def recording_row(view: RecordingView, node: str) -> RecordingRow:
    return RecordingRow(**_same(view, _RECORDING), node=node)


def recording_view(row: RecordingRow) -> RecordingView:
    return RecordingView(**_same(row, _RECORDING))


def with_notes(live: RecordingView, stored: RecordingView) -> RecordingView:
    """`live`, with what only the row knows."""
    return replace(live, **_same(stored, _NOTES))


def conference_row(view: ConferenceView, node: str) -> ConferenceRow:
    return ConferenceRow(**_same(view, _CONFERENCE), node=node)


def conference_view(row: ConferenceRow) -> ConferenceView:
    return ConferenceView(**_same(row, _CONFERENCE))


def stay_row(view: ConferenceCallView, node: str) -> ConferenceCallRow:
    return ConferenceCallRow(**_same(view, _STAY), node=node)


def stay_view(row: ConferenceCallRow) -> ConferenceCallView:
    return ConferenceCallView(**_same(row, _STAY))


def recovered_row(manifest: Manifest) -> RecordingRow:
    """The row of a recording that a crash cut off, now complete in the spool."""
    return RecordingRow(**manifest.facts(), state="stopping", duration=manifest.frames / manifest.rate)
