"""Between views and rows: the same facts, as the service tells them and as the store keeps them."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

from tapeline.calls.views import Address, CallView, RecordingView
from tapeline.recording.manifest import Manifest
from tapeline.store import CallRow, RecordingRow

__all__ = ["call_row", "call_view", "recording_row", "recording_view", "recovered_row"]

_CALL_FIELDS = {field.name for field in fields(CallView)} - {"source", "destination", "mute_direction"}
_RECORDING_FIELDS = {field.name for field in fields(RecordingView)}


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


def recovered_row(manifest: Manifest) -> RecordingRow:
    """The row of a recording that a crash cut off, now complete in the spool."""
    return RecordingRow(**manifest.facts(), state="stopping", duration=manifest.frames / manifest.rate)
