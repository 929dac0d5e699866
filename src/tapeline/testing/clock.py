"""A clock that stands still until a test moves it.

It stands in wherever the program takes a `core.clock.Clock`. Both clocks move together unless a test sets the wall clock on its
own, as NTP or an operator does. It knows nothing of loops and timers: who owns deadlines calls `tick` after moving it.
"""

from __future__ import annotations

__all__ = ["FakeClock"]


class FakeClock:
    """`core.clock.Clock` in virtual time. Times in seconds."""

    def __init__(self, now: float = 1000.0, wall: float = 1_700_000_000.0) -> None:
        self._now = now
        self._wall = wall

    def now(self) -> float:
        return self._now

    def wall(self) -> float:
        return self._wall

    def advance(self, seconds: float) -> float:
        """Let `seconds` pass on both clocks; gives the new `now`. Raises ValueError where time would run backwards."""
        if seconds < 0:
            raise ValueError(f"time does not run backwards: {seconds}")
        self._now += seconds
        self._wall += seconds
        return self._now

    def advance_to(self, now: float) -> float:
        """Let time pass until `now`; a moment already past is no error and moves nothing, as with a late timer."""
        return self.advance(max(0.0, now - self._now))

    def set_wall(self, wall: float) -> None:
        """Step the wall clock alone, forwards or backwards."""
        self._wall = wall
