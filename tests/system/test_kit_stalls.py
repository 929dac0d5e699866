"""The watch over the machine sees a processor that runs nobody, and peers come before others where that is allowed."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from tapeline.testing.process import Child, until
from tapeline.testing.stalls import STALL_S, StallWatch, raised_priority

AWAY_S = 0.5


def take_a_processor_away(processor: int, seconds: float) -> None:
    """Keep everybody else off it, as far as the kernel lets us."""
    os.sched_setaffinity(0, {processor})
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


@pytest.mark.skipif(os.geteuid() != 0, reason="keeping others from a processor needs root")
def test_a_processor_that_runs_nobody_is_noticed(tmp_path: Path) -> None:
    processor = max(os.sched_getaffinity(0))
    with StallWatch(tmp_path) as watch:
        time.sleep(0.5)
        began = time.monotonic()
        thread = threading.Thread(target=take_a_processor_away, args=(processor, AWAY_S))
        thread.start()
        thread.join()
        stall = until(lambda: watch.worst_since(began), "the stall to be told")
        assert watch.worst_since(time.monotonic() + 1) is None
    assert stall.seconds >= STALL_S
    assert f"processor {stall.processor} stood still for" in str(stall)


def test_what_keeps_time_comes_before_others(tmp_path: Path) -> None:
    before = os.getpriority(os.PRIO_PROCESS, 0)
    with Child("urgent", ["sleep", "20"], tmp_path, urgent=True) as urgent, Child("other", ["sleep", "20"], tmp_path) as other:
        nice = [os.getpriority(os.PRIO_PROCESS, child.pid) for child in (urgent, other)]
    with raised_priority():
        allowed = os.getpriority(os.PRIO_PROCESS, 0)
    assert nice == [allowed, before]
    assert os.getpriority(os.PRIO_PROCESS, 0) == before
