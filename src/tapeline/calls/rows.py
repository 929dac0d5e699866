"""Between views and rows: the same facts, as the service tells them and as the store keeps them."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

from tapeline.calls.views import Address, CallView, ConferenceCallView, ConferenceView, RecordingView
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
]

_CALL_FIELDS = {field.name for field in fields(CallView)} - {"source", "destination", "mute_direction"}
_RECORDING_FIELDS = {field.name for field in fields(RecordingView)}
_CONFERENCE_FIELDS = {field.name for field in fields(ConferenceView)} - {"member_ids"}
_STAY_FIELDS = {field.name for field in fields(ConferenceCallView)}


def call_row(view: CallView, node: str) -> CallRow:
    same: dict[str, Any] = {name: getattr(view, name) for name in _CALL_FIELDS}
    return CallRow(**same, source=asdict(view.source), destination=asdict(view.destination), node=node)


def call_view(row: CallRow) -> CallView:
    same: dict[str, Any] = {name: getattr(row, name) for name in _CALL_FIELDS}
    return CallView(**same, source=Address(**row.source), destination=Address(**row.destination))


def recording_row(view: RecordingView, node: str) -> RecordingRow:
    same: dict[str, Any] = {name: getattr(view, name) for name in _RECORDING_FIELDS}
    return RecordingRow(**same, node=node)


def recording_view(row: RecordingRow) -> RecordingView:
    same: dict[str, Any] = {name: getattr(row, name) for name in _RECORDING_FIELDS}
    return RecordingView(**same)


def conference_row(view: ConferenceView, node: str) -> ConferenceRow:
    same: dict[str, Any] = {name: getattr(view, name) for name in _CONFERENCE_FIELDS}
    return ConferenceRow(**same, node=node)


def conference_view(row: ConferenceRow) -> ConferenceView:
    same: dict[str, Any] = {name: getattr(row, name) for name in _CONFERENCE_FIELDS}
    return ConferenceView(**same)


def stay_row(view: ConferenceCallView, node: str) -> ConferenceCallRow:
    same: dict[str, Any] = {name: getattr(view, name) for name in _STAY_FIELDS}
    return ConferenceCallRow(**same, node=node)


def stay_view(row: ConferenceCallRow) -> ConferenceCallView:
    same: dict[str, Any] = {name: getattr(row, name) for name in _STAY_FIELDS}
    return ConferenceCallView(**same)


def recovered_row(manifest: Manifest) -> RecordingRow:
    """The row of a recording that a crash cut off, now complete in the spool."""
    return RecordingRow(**manifest.facts(), state="stopping", duration=manifest.frames / manifest.rate)
