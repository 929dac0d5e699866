"""What a test leaves behind: threads, descriptors, asyncio tasks.

Take a `Snapshot` before, ask `left_behind` after. Things that end by themselves within a moment (a thread on its way out) are given
that moment. Linux only, since it reads /proc/self/fd. Knows nothing of pytest.
"""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
from dataclasses import dataclass

__all__ = ["Snapshot"]

_GRACE_S = 2.0


def _descriptors() -> dict[int, str]:
    """What each open descriptor is, but for the directory that is being read."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue
    return found


def _tasks() -> set[asyncio.Task[object]]:
    """All tasks but the one that asks."""
    try:
        current = asyncio.current_task()
        return {task for task in asyncio.all_tasks() if task is not current}
    except RuntimeError:
        return set()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What there was at one moment."""

    threads: frozenset[threading.Thread]
    descriptors: frozenset[tuple[int, str]]
    tasks: frozenset[asyncio.Task[object]]

    @classmethod
    def take(cls) -> Snapshot:
        gc.collect()
        return cls(frozenset(threading.enumerate()), frozenset(_descriptors().items()), frozenset(_tasks()))

    def left_behind(self, grace_s: float = _GRACE_S) -> list[str]:
        """What there is now and was not then, in words; empty where nothing leaked. Waits up to `grace_s` for it to go."""
        deadline = time.monotonic() + grace_s
        while (found := self._new()) and time.monotonic() < deadline:
            time.sleep(0.02)
            gc.collect()
        return found

    def _new(self) -> list[str]:
        threads = [f"thread {thread.name}" for thread in threading.enumerate() if thread not in self.threads]
        opened = sorted(set(_descriptors().items()) - self.descriptors)
        descriptors = [f"descriptor {number}: {what}" for number, what in opened]
        tasks = [f"task {task.get_name()}: {task.get_coro()}" for task in _tasks() if task not in self.tasks and not task.done()]
        return threads + descriptors + tasks
