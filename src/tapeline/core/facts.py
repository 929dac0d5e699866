"""What is known of calls, recordings, conferences and stays in these, whoever tells it: the facts that views and rows share.

`calls.views` adds what only the living knows, `store.rows` what only the store does. Times are seconds since 1970 UTC; None where it
has not happened.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["CallFacts", "CallStatus", "ConferenceFacts", "ConferenceStatus", "RecordingFacts", "StayFacts", "StayStatus"]

CallStatus = Literal["dialing", "ringing", "progressing", "terminating", "canceling", "hangup"]
ConferenceStatus = Literal["starting", "progressing", "terminating", "terminated"]
StayStatus = Literal["joining", "joined", "leaving", "leaved"]


@dataclass(frozen=True, slots=True)
class CallFacts:
    id: str
    account: str
    direction: Literal["incoming", "outgoing"]
    status: CallStatus
    created: float
    sip_call_id: str = ""
    flow_id: str = ""
    activeflow_id: str = ""
    master_call_id: str = ""
    chained_call_ids: tuple[str, ...] = ()
    recording_id: str = ""  # the one active now
    recording_ids: tuple[str, ...] = ()  # all, in order
    action: Mapping[str, Any] = field(default_factory=dict)  # the action now running: id, type, option
    hangup_by: str = ""
    hangup_reason: str = ""  # normal, failed, busy, cancel, timeout, noanswer ...
    hangup_cause: str = ""  # in words, for people
    ringing: float | None = None
    progressing: float | None = None
    hungup: float | None = None
    updated: float | None = None
    deleted: float | None = None
    application_id: str = ""  # the Vonage application that it belongs to
    event_url: str = ""  # where its events go, where that is not where the application's go
    event_method: str = ""


@dataclass(frozen=True, slots=True)
class RecordingFacts:
    id: str
    account: str
    state: Literal["starting", "recording", "stopping", "available", "failed"]
    created: float
    call_id: str = ""
    activeflow_id: str = ""
    reference: Literal["call", "confbridge"] = "call"
    sip_call_id: str = ""
    source: str = ""  # of the call: number or address
    destination: str = ""
    direction: str = ""
    reason: str = ""  # why it ended, or why it failed: stopped, hangup, max_seconds, silence, key, disk_full, absent ...
    recovered: bool = False
    paused: str = ""  # "" or the mask in force: silence, tone, cut
    format: str = "wav"
    channels: int = 1
    rate: int = 8000
    duration: float | None = None  # seconds of audio in the file
    size: int | None = None  # bytes of the stored file
    sha256: str = ""
    on_end_flow_id: str = ""
    label: str = ""
    origin: str = ""
    started: float | None = None
    ended: float | None = None
    updated: float | None = None
    deleted: float | None = None
    timeline: tuple[Mapping[str, Any], ...] = ()  # {"at": seconds since the start, "event": ..., ...}
    measures: Mapping[str, Any] = field(default_factory=dict)  # loudness, silence, loss, peak level
    peaks: tuple[tuple[float, ...], ...] = ()  # for each channel: 0..1, evenly spaced; only where a single one is asked for
    custom: Mapping[str, Any] = field(default_factory=dict)  # what its specification says besides; a dialect's own names
    flow_id: str = ""
    held: float | None = None  # since when nothing may delete it
    hold_reason: str = ""
    held_by: str = ""
    retention_days: float | None = None  # its own; None: its account's; 0: for ever
    tags: tuple[str, ...] = ()
    note: str = ""
    application_id: str = ""  # of the call or conference that it was made of


@dataclass(frozen=True, slots=True)
class ConferenceFacts:
    id: str
    account: str
    status: ConferenceStatus
    created: float
    kind: str = "conference"  # or connect, conversation
    room: str = ""  # the name under which it was opened; "" where it was made over the API
    name: str = ""
    detail: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)  # the client's own
    options: Mapping[str, Any] = field(default_factory=dict)  # the fields of core.roomspec.RoomSpec
    timeout: int = 0  # seconds after which it ends; 0: never
    pre_flow_id: str = ""
    post_flow_id: str = ""
    recording_id: str = ""
    recording_ids: tuple[str, ...] = ()
    reason: str = ""  # why it ended: deleted, timeout, moderator_left, empty ...
    expires: float | None = None
    ended: float | None = None
    updated: float | None = None
    deleted: float | None = None


@dataclass(frozen=True, slots=True)
class StayFacts:
    """One stay of one call in a conference."""

    id: str
    account: str
    status: StayStatus
    created: float
    conference_id: str = ""
    call_id: str = ""
    activeflow_id: str = ""
    reason: str = ""  # why it left: left, kicked, ended, moderator_left, timeout ...
    muted: bool = False
    deaf: bool = False
    joined: float | None = None
    left: float | None = None
    updated: float | None = None
    deleted: float | None = None
