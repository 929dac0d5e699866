"""What an engine tells, as values: one kind for each thing that can happen to a leg, a player or a tap.

`at` is engine time: seconds of CLOCK_MONOTONIC. How events come out of the engine's threads is in `engine.shard`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tapeline.rtp.engine.parts import Leg, Player, Tap

__all__ = [
    "Digit",
    "Event",
    "MediaResumed",
    "MediaStarted",
    "MediaTimeout",
    "PlayerEnded",
    "SourceChanged",
    "TapEnded",
    "TapProgress",
    "Voice",
]


@dataclass(frozen=True)
class Digit:
    """A digit was heard; told at its end, so that its length is known."""

    leg: Leg
    digit: str
    duration_ms: int
    at: float


@dataclass(frozen=True)
class MediaStarted:
    """The leg's first packet came."""

    leg: Leg
    at: float


@dataclass(frozen=True)
class MediaTimeout:
    """Nothing came for `idle_s`; told once until MediaResumed."""

    leg: Leg
    idle_s: float
    at: float


@dataclass(frozen=True)
class MediaResumed:
    """Media came again after MediaTimeout."""

    leg: Leg
    at: float


@dataclass(frozen=True)
class SourceChanged:
    """Another stream took the place of the one heard so far."""

    leg: Leg
    ssrc: int
    at: float


@dataclass(frozen=True)
class PlayerEnded:
    """The player has played to its end, or was stopped; told exactly once."""

    player: Player
    stopped: bool
    at: float


@dataclass(frozen=True)
class Voice:
    """The leg began to speak, or fell silent (`at` is when it was last heard); only while it is watched."""

    leg: Leg
    voiced: bool
    at: float


@dataclass(frozen=True)
class TapProgress:
    """About once a second: frames written so far, and each channel's peak (0 to 1) since the last time."""

    tap: Tap
    frames: int
    peaks: tuple[float, ...]
    at: float


@dataclass(frozen=True)
class TapEnded:
    """The tap has written its last frame; told exactly once. `detail` is the system's word where the disk failed."""

    tap: Tap
    frames: int
    reason: Literal["stopped", "disk_full", "io_error"]
    detail: str
    started_at: float
    at: float


Event = Digit | MediaStarted | MediaTimeout | MediaResumed | SourceChanged | PlayerEnded | Voice | TapProgress | TapEnded
