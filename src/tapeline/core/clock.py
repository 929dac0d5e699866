"""Two clocks: one that only counts, one that people read.

State machines never ask for the time, they are given it. Whoever drives them owns a `Clock`. This module is the one place in
the core where the operating system is asked.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol

__all__ = ["Clock", "SystemClock", "utc"]


class Clock(Protocol):
    def now(self) -> float:
        """Seconds on CLOCK_MONOTONIC, the clock that the media engine and all deadlines use."""

    def wall(self) -> float:
        """Seconds since 1970 UTC, for people and rows; may jump."""


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> float:
        return time.monotonic()

    def wall(self) -> float:
        return time.time()


def utc(wall: float) -> datetime:
    """`wall` seconds since 1970 as an aware datetime in UTC, to the microsecond."""
    return datetime.fromtimestamp(wall, UTC)
