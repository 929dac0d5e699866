"""KAZOO's words that more than one package says: its times, its ids, the types of its files, and a recording's document.

Its times are whole seconds since the year 0. Its envelope is the API's affair, the addresses of its uploads the delivery's; neither is
known here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

from tapeline.core.clock import utc

__all__ = ["CONTENT_TYPES", "Recorded", "gregorian", "hex_id", "month_id", "recording_document", "storage_handler", "unix"]

CONTENT_TYPES: Final[Mapping[str, str]] = {"mp3": "audio/mpeg", "wav": "audio/x-wav", "ogg": "audio/ogg"}
_EPOCH: Final = 62_167_219_200  # seconds from the year 0 to 1970


def gregorian(wall: float) -> int:
    """Whole seconds since the year 0 of seconds since 1970."""
    return int(wall) + _EPOCH


def unix(gregorian_seconds: float) -> float:
    """Seconds since 1970 of seconds since the year 0."""
    return gregorian_seconds - _EPOCH


def hex_id(uuid: str) -> str:
    """The 32 hex digits of a UUID."""
    return uuid.replace("-", "").lower()


def month_id(uuid: str, created: float) -> str:
    """`202611-` and the 32 digits: the id of what is kept by months."""
    return f"{utc(created):%Y%m}-{hex_id(uuid)}"


class Recorded(Protocol):
    """What a recording's document tells of: its row, or the view of one."""

    @property
    def id(self) -> str: ...
    @property
    def created(self) -> float: ...
    @property
    def started(self) -> float | None: ...
    @property
    def duration(self) -> float | None: ...
    @property
    def call_id(self) -> str: ...
    @property
    def sip_call_id(self) -> str: ...
    @property
    def activeflow_id(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def destination(self) -> str: ...
    @property
    def direction(self) -> str: ...
    @property
    def format(self) -> str: ...
    @property
    def label(self) -> str: ...
    @property
    def origin(self) -> str: ...
    @property
    def custom(self) -> Mapping[str, Any]: ...


def recording_document(recording: Recorded) -> dict[str, Any]:
    """A recording's metadata as KAZOO has it."""
    custom = recording.custom
    call_id = recording.sip_call_id or recording.call_id
    own_id = month_id(recording.id, recording.created)
    name = str(custom.get("media_name") or f"{hex_id(recording.id)}.{recording.format}")
    duration = recording.duration or 0.0
    return {
        "id": own_id,
        "name": name,
        "description": f"recording {name}",
        "content_type": CONTENT_TYPES.get(recording.format, "application/octet-stream"),
        "media_type": recording.format,
        "media_source": "recorded",
        "source_type": "kzc_recording",
        "call_id": call_id,
        "cdr_id": f"{own_id[:6]}-{call_id}",
        "interaction_id": str(
            custom.get("interaction_id") or f"{gregorian(recording.created)}-{hex_id(recording.activeflow_id)[:8]}"
        ),
        "from": str(custom.get("from") or recording.source),
        "to": str(custom.get("to") or recording.destination),
        "request": str(custom.get("to") or recording.destination),
        "direction": "outbound" if recording.direction == "outgoing" else "inbound",
        "caller_id_name": str(custom.get("caller_id_name", "")),
        "caller_id_number": str(custom.get("caller_id_number") or recording.source),
        "owner_id": str(custom.get("owner_id", "")),
        "origin": f"callflow : {recording.label}" if recording.origin == "flow" else recording.origin,
        "start": gregorian(recording.started or recording.created),
        "duration": int(duration),
        "duration_ms": round(duration * 1000),
        "custom_channel_vars": {},
        **({"media_id": custom["media_id"]} if custom.get("media_id") else {}),
        **({"user_metadata": custom["notes"]} if custom.get("notes") else {}),
    }


def storage_handler(storage: Mapping[str, Any], custom: Mapping[str, Any], origin: str) -> tuple[str, Mapping[str, Any]]:
    """Which handler of an account's storage document a recording goes to, and the plan's parameters for it; "" where none is named.

    `custom` and `origin` are of the recording: only those of callflows follow plans, a voicemail message as `mailbox_message`.
    """
    if custom.get("dialect") != "kazoo":
        return "", {}
    kind = "mailbox_message" if origin == "voicemail" else "call_recording"
    months = _at(storage, "plan", "modb")
    for chosen in (_at(months, "types", kind, "attachments"), _at(months, "attachments")):
        wanted = chosen.get("handler")
        if isinstance(wanted, str) and wanted:
            return wanted, _at(chosen, "params")
    return "", {}


def _at(document: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    for name in path:
        found = document.get(name)
        document = found if isinstance(found, Mapping) else {}
    return document
