"""Whether an event loop is held up: each 10 ms something is due on it, and how late it comes is how long nothing else could run.

A machine that gave the processor to others is no fault of ours. On Linux each thread's file `schedstat` says how long it was ready to run
and did not; that of the loop's thread, and of the one among our other Python threads that waited longest (it may have held the
interpreter), is taken off. What is left is time in which we were busy, or waited for something that blocks: a stall.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress

__all__ = ["STALL_S", "Pulse"]

STALL_S = 0.05  # what a caller may hear
_STEP_S = 0.01
_WINDOW_S = 60.0
_LOOK_S = 1.0  # how often it is asked which threads there are


class Pulse:
    """Of one event loop, from `start` until `stop`. `on_stall` gets the seconds of each stall of `STALL_S` or more."""

    def __init__(self, on_stall: Callable[[float], None] = lambda seconds: None) -> None:
        self._on_stall = on_stall
        self._task: asyncio.Task[None] | None = None
        self._recent: deque[tuple[float, float]] = deque()  # when, how long; falling, so the first is the longest of the window
        self._stalls = 0
        self._starved_s = 0.0
        self._threads = _Threads()

    def start(self) -> None:
        self._task = asyncio.create_task(self._beat(), name="calls.pulse")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        self._threads.close()

    def stats(self) -> Mapping[str, float]:
        """For /metrics. The longest is that of the last minute."""
        self._forget(time.monotonic())
        return {
            "event_loop_longest_stall_seconds": self._recent[0][1] if self._recent else 0.0,
            "event_loop_stalls_total": float(self._stalls),
            "event_loop_starved_seconds_total": self._starved_s,
        }

    async def _beat(self) -> None:
        self._threads.look()
        before = looked = time.monotonic()
        while True:
            await asyncio.sleep(_STEP_S)
            now = time.monotonic()
            starved = self._threads.starved()
            self._note(now, now - before - _STEP_S, starved)
            if now - looked >= _LOOK_S:
                looked = now
                self._threads.look()
            before = time.monotonic()

    def _note(self, now: float, late: float, starved: float) -> None:
        self._starved_s += min(max(late, 0.0), starved)
        stall = late - starved
        self._forget(now)
        while self._recent and self._recent[-1][1] <= stall:
            self._recent.pop()
        if stall > 0:
            self._recent.append((now, stall))
        if stall >= STALL_S:
            self._stalls += 1
            self._on_stall(stall)

    def _forget(self, now: float) -> None:
        while self._recent and self._recent[0][0] < now - _WINDOW_S:
            self._recent.popleft()


class _Threads:
    """The Python threads of this process, and how long each has been ready to run without running. On other systems: nothing is known."""

    def __init__(self) -> None:
        self._own = threading.get_native_id()
        self._files: dict[int, int] = {}
        self._waited: dict[int, int] = {}  # nanoseconds, when last asked

    def look(self) -> None:
        """Find out which threads there are. To be called on the thread that is watched."""
        self._own = threading.get_native_id()
        alive = {thread.native_id for thread in threading.enumerate() if thread.native_id is not None} | {self._own}
        for gone in self._files.keys() - alive:
            os.close(self._files.pop(gone))
            self._waited.pop(gone, None)
        for new in alive - self._files.keys():
            with suppress(OSError):
                self._files[new] = os.open(f"/proc/self/task/{new}/schedstat", os.O_RDONLY | os.O_CLOEXEC)
        self.starved()

    def starved(self) -> float:
        """Seconds since the last time: those of the own thread, and the most of any other."""
        own, most = 0, 0
        for thread, file in self._files.items():
            try:
                waited = int(os.pread(file, 128, 0).split()[1])
            except (OSError, IndexError, ValueError):
                continue  # it has ended
            since = waited - self._waited.get(thread, waited)
            self._waited[thread] = waited
            if thread == self._own:
                own = since
            else:
                most = max(most, since)
        return (own + most) / 1e9

    def close(self) -> None:
        for file in self._files.values():
            os.close(file)
        self._files.clear()
        self._waited.clear()
