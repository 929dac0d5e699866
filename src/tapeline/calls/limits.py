"""What the settings permit of a recording, whoever asks for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tapeline.core.errors import InvalidState
from tapeline.core.kazoo import storage_handler
from tapeline.core.recordspec import RecordSpec
from tapeline.core.settings import RecordingSettings

__all__ = ["permitted"]


def permitted(spec: RecordSpec, settings: RecordingSettings, storage: Mapping[str, Any]) -> RecordSpec:
    """The specification within the settings' limits, and in their format where it names none. `storage`: the account's document of
    storage plans, {} where it has none.

    Raises InvalidState where the recording would be kept nowhere.
    """
    longest = settings.max_seconds
    if spec.custom.get("dialect") == "kazoo":
        longest = min(longest, settings.kazoo_max_recording_time_limit)
        planned, _ = storage_handler(storage, spec.custom, spec.origin)
        if not (spec.deliver or planned or settings.store_recordings or spec.origin == "voicemail"):
            raise InvalidState("the recording has no url and recording.store_recordings is false", reason="NOT_STORED")
    form = spec.format if spec.format_named else settings.default_format
    return replace(spec, format=form, format_named=True, max_s=min(spec.max_s or longest, longest))
