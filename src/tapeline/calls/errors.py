"""What can go wrong in a call, as the service tells it.

    UsageError
    ├── NotFound       CALL_NOT_FOUND, RECORDING_NOT_FOUND, FLOW_NOT_FOUND, CONFERENCE_NOT_FOUND, CONFERENCECALL_NOT_FOUND, EXPORT_NOT_FOUND
    ├── Forbidden      PERMISSION_DENIED
    └── InvalidState   CALL_STATE_INVALID, CALL_ALREADY_HANGUP, RECORDING_ALREADY_ACTIVE, RECORDING_NOT_ACTIVE, RECORDING_HELD,
                       STATE_INVALID, CONFERENCE_ALREADY_EXISTS
    WorldError
    └── Exhausted      DISK_FULL (the watermark), NO_PORTS, CONFERENCE_FULL

The classes are those of `tapeline.core.errors`; what differs is the reason, so the reasons are made here, in one place.
"""

from __future__ import annotations

from tapeline.core.errors import Exhausted, Forbidden, InvalidState, NotFound

__all__ = [
    "already_recording",
    "already_transferring",
    "call_not_found",
    "conference_ended",
    "file_not_found",
    "conference_exists",
    "conference_full",
    "conference_not_found",
    "conferencecall_not_found",
    "disk_full",
    "flow_not_found",
    "export_not_found",
    "nobody_there",
    "no_trace",
    "not_bridged",
    "not_progressing",
    "not_recording",
    "not_yours",
    "recording_held",
    "recording_not_found",
]


def call_not_found(call_id: str) -> NotFound:
    return NotFound(f"no call has the id {call_id}", reason="CALL_NOT_FOUND")


def recording_not_found(recording_id: str) -> NotFound:
    return NotFound(f"no recording has the id {recording_id}", reason="RECORDING_NOT_FOUND")


def file_not_found(file_id: str) -> NotFound:
    return NotFound(f"no file has the id {file_id}", reason="FILE_NOT_FOUND")


def recording_held(recording_id: str) -> InvalidState:
    return InvalidState(
        f"recording {recording_id} is under a hold", reason="RECORDING_HELD", hint="it can be deleted once the hold is taken off"
    )


def export_not_found() -> NotFound:
    return NotFound("no export has this id, or its file is gone", reason="EXPORT_NOT_FOUND")


def conference_not_found(conference_id: str) -> NotFound:
    return NotFound(f"no conference has the id {conference_id}", reason="CONFERENCE_NOT_FOUND")


def conferencecall_not_found(stay_id: str) -> NotFound:
    return NotFound(f"no conferencecall has the id {stay_id}", reason="CONFERENCECALL_NOT_FOUND")


def flow_not_found(flow_id: str) -> NotFound:
    return NotFound(f"no flow has the id {flow_id}", reason="FLOW_NOT_FOUND")


def conference_exists(conference_id: str) -> InvalidState:
    return InvalidState(f"there is a conference with the id {conference_id}", reason="CONFERENCE_ALREADY_EXISTS", hint="leave the id out")


def conference_ended(conference_id: str) -> InvalidState:
    return InvalidState(f"the conference {conference_id} has ended")


def conference_full(limit: int) -> Exhausted:
    return Exhausted(f"the conference has {limit} members, and may have no more", reason="CONFERENCE_FULL")


def nobody_there() -> InvalidState:
    return InvalidState("nobody is in the conference", hint="start a recording once a call has joined it")


def no_trace() -> NotFound:
    return NotFound(
        "no messages of this call are kept", reason="TRACE_NOT_FOUND", hint="set server.sip_trace, or POST to this address while it is up"
    )


def not_yours(what: str) -> Forbidden:
    return Forbidden(f"this {what} belongs to another account")


def not_progressing(status: str) -> InvalidState:
    return InvalidState(
        f"the call is {status}, not progressing", reason="CALL_STATE_INVALID", hint="start a recording once the call has been answered"
    )


def not_bridged() -> InvalidState:
    return InvalidState("the call is not connected with another", reason="CALL_STATE_INVALID", hint="transfer a call while two talk")


def already_transferring() -> InvalidState:
    return InvalidState("a transfer of this call is under way", reason="CALL_STATE_INVALID", hint="wait until it has come out")


def already_recording(recording_id: str) -> InvalidState:
    return InvalidState(
        f"the recording {recording_id} is active here already", reason="RECORDING_ALREADY_ACTIVE", hint="stop it before starting another"
    )


def not_recording() -> InvalidState:
    return InvalidState("nothing is being recorded here", reason="RECORDING_NOT_ACTIVE")


def disk_full(free_mb: int, wanted_mb: int) -> Exhausted:
    return Exhausted(
        f"only {free_mb} MB are free where recordings are kept, {wanted_mb} MB must stay free",
        reason="DISK_FULL",
        hint="free space, or lower recording.min_free_mb",
    )
