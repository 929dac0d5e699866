"""A heap of deadlines. Nobody sleeps here: whoever drives the endpoint asks for the next deadline and comes back then.

A timer is a list `[deadline, order, owner, name]`; cancelling sets its owner to None and leaves it in the heap until its time or until
cancelled ones are the greater part. This module knows nothing of what a timer is for.
"""

from __future__ import annotations

import heapq
from typing import Any, Protocol

__all__ = ["Timer", "TimerOwner", "Timers"]


class TimerOwner(Protocol):
    def on_timer(self, name: str, now: float) -> None: ...


Timer = list[Any]  # [deadline: float, order: int, owner: TimerOwner | None, name: str]


class Timers:
    __slots__ = ("_cancelled", "_heap", "_order")

    def __init__(self) -> None:
        self._heap: list[Timer] = []
        self._order = 0
        self._cancelled = 0

    def __len__(self) -> int:
        """Timers that will fire."""
        return len(self._heap) - self._cancelled

    def start(self, deadline: float, owner: TimerOwner, name: str) -> Timer:
        self._order += 1
        timer = [deadline, self._order, owner, name]
        heapq.heappush(self._heap, timer)
        return timer

    def cancel(self, timer: Timer | None) -> None:
        """Cancel once; a timer that fired or was cancelled, and None, are passed over."""
        if timer is None or timer[2] is None:
            return
        timer[2] = None
        self._cancelled += 1
        if self._cancelled > 1000 and self._cancelled * 2 > len(self._heap):
            self._heap = [kept for kept in self._heap if kept[2] is not None]
            heapq.heapify(self._heap)
            self._cancelled = 0

    def next_deadline(self) -> float | None:
        heap = self._heap
        while heap:
            first = heap[0]
            if first[2] is not None:
                deadline: float = first[0]
                return deadline
            heapq.heappop(heap)
            self._cancelled -= 1
        return None

    def fire(self, now: float) -> None:
        """Tell the owner of each timer that is due, in the order of their deadlines."""
        while (deadline := self.next_deadline()) is not None and deadline <= now:
            timer = heapq.heappop(self._heap)
            owner, timer[2] = timer[2], None
            owner.on_timer(timer[3], now)
