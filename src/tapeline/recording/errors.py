"""What can go wrong while recording.

    TapelineError
    ├── UsageError
    │   └── (InvalidState)     a command that does not fit the recording's state: RECORDING_NOT_ACTIVE
    └── WorldError
        └── UnknownRecording   the spool has no such recording, or its manifest cannot be read

Errors in parentheses are those of `tapeline.core.errors`. What the disk refuses stays an OSError: the caller decides what it means.
"""

from __future__ import annotations

from tapeline.core.errors import WorldError

__all__ = ["UnknownRecording"]


class UnknownRecording(WorldError):
    """The spool has no such recording, or what it has of it cannot be read."""

    reason = "RECORDING_NOT_FOUND"
