"""What can go wrong with sound and its files.

    TapelineError (core)
    ├── UsageError
    │   └── InvalidInput
    │       ├── UnreadableAudio     bytes that were given as audio are not audio that we can read
    │       └── UnsuitableFormat    this format cannot hold that many channels or that rate
    └── WorldError
        └── DamagedWave             a file that should be one of our WAV masters has no usable header
"""

from __future__ import annotations

from tapeline.core.errors import InvalidInput, WorldError

__all__ = ["DamagedWave", "UnreadableAudio", "UnsuitableFormat"]


class UnreadableAudio(InvalidInput):
    """The given bytes or file are not audio in a format that we read. Whoever named them is at fault."""

    reason = "AUDIO_UNREADABLE"


class UnsuitableFormat(InvalidInput):
    """The format asked for cannot carry what is to be put into it."""

    reason = "FORMAT_UNSUITABLE"


class DamagedWave(WorldError):
    """A WAV file's header is missing or not of the kind that we write. `wav.complete` can mend ours."""

    reason = "AUDIO_DAMAGED"
