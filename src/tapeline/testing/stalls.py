"""Moments at which this machine stood still: a busy or a virtual machine takes a processor away, for more than a second at times.

What a peer could not say in time cannot be recorded in time, so whoever judges a recording wants to know whether the peers could run at
all. `StallWatch` runs this file as a process of its own (nothing but the standard library, at the peers' priority): on each processor a
thread that sleeps 20 ms at a time and tells whenever it slept much longer. Times are of CLOCK_MONOTONIC.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["STALL_S", "Stall", "StallWatch", "raised_priority"]

STALL_S = 0.2  # what is shorter, a recorder makes up for
_NICE = -10
_STEP_S = 0.02


@contextlib.contextmanager
def raised_priority() -> Iterator[None]:
    """Within this block the calling thread, and what it starts, comes before others, where that is allowed (root); else nothing changes."""
    before = os.getpriority(os.PRIO_PROCESS, 0)
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, _NICE)
    try:
        yield
    finally:
        with contextlib.suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, 0, before)


@dataclass(frozen=True, slots=True)
class Stall:
    """A processor that ran nobody in [began, began + seconds), or at least nobody of the peers' priority."""

    began: float
    seconds: float
    processor: int

    def __str__(self) -> str:
        return f"processor {self.processor} stood still for {self.seconds:.2f} s"


class StallWatch:
    """Watches all processors that this process may use, from entering to leaving."""

    def __init__(self, folder: Path) -> None:
        self._log = folder / "stalls.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with self._log.open("wb") as log, raised_priority():
            self._process = subprocess.Popen([sys.executable, "-E", "-S", __file__], stdout=log, stdin=subprocess.PIPE)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def worst_since(self, moment: float) -> Stall | None:
        """The longest stall of at least `STALL_S` that ended after `moment`, or None."""
        rows = [line.split() for line in self._log.read_text().splitlines(keepends=True) if line.endswith("\n")]
        stalls = [Stall(float(began), float(seconds), int(processor)) for began, seconds, processor in rows]
        return max((stall for stall in stalls if stall.began + stall.seconds >= moment), key=lambda stall: stall.seconds, default=None)


def _watch(processor: int) -> None:
    """Sleep on one processor, and tell of each sleep that was far too long."""
    os.sched_setaffinity(0, {processor})
    before = time.monotonic()
    while True:
        time.sleep(_STEP_S)
        now = time.monotonic()
        if now - before >= STALL_S:
            sys.stdout.write(f"{before:.6f} {now - before:.6f} {processor}\n")
            sys.stdout.flush()
        before = now


def _main() -> None:
    """Watch until standard input ends, as it does when the one who started this is gone."""
    for processor in os.sched_getaffinity(0):
        threading.Thread(target=_watch, args=(processor,), daemon=True).start()
    sys.stdin.buffer.read()


if __name__ == "__main__":
    _main()
