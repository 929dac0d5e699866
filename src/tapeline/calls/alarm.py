"""One timer that follows a moving deadline: the asyncio side of every state machine's `next_deadline()`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tapeline.core.clock import Clock

__all__ = ["Alarm"]


class Alarm:
    """Calls `ring` once the deadline last set has come. Belongs to one event loop; `set(None)` disarms it."""

    __slots__ = ("_clock", "_deadline", "_handle", "_ring")

    def __init__(self, clock: Clock, ring: Callable[[], None]) -> None:
        self._clock = clock
        self._ring = ring
        self._deadline: float | None = None
        self._handle: asyncio.TimerHandle | None = None

    def set(self, deadline: float | None) -> None:
        """Arm for `deadline` (seconds of the clock), in place of any deadline set before."""
        if deadline == self._deadline and (self._handle is not None or deadline is None):
            return
        self._deadline = deadline
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        if deadline is not None:
            delay = max(0.0, deadline - self._clock.now())
            self._handle = asyncio.get_running_loop().call_later(delay, self._fire)

    def _fire(self) -> None:
        self._handle = None
        self._deadline = None
        self._ring()
