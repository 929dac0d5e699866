# ruff: noqa: ASYNC220 - a test may block its own event loop
"""The watch over the event loop tells a stall of ours from a machine that runs others."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time

import pytest

from tapeline.calls.pulse import STALL_S, Pulse


async def beating(hold_up: float, told: list[float]) -> Pulse:
    """A loop that something blocked for so long."""
    pulse = Pulse(told.append)
    pulse.start()
    await asyncio.sleep(0.1)
    time.sleep(hold_up)  # noqa: ASYNC251 - this is what it is there to find
    await asyncio.sleep(0.1)
    return pulse


async def test_what_blocks_the_loop_is_a_stall_of_its_length() -> None:
    told: list[float] = []
    pulse = await beating(0.3, told)
    stats = pulse.stats()
    assert 0.25 < stats["event_loop_longest_stall_seconds"] < 0.32
    assert stats["event_loop_stalls_total"] >= 1 and max(told) == stats["event_loop_longest_stall_seconds"]
    await pulse.stop()


def test_a_processor_that_was_given_to_others_is_none() -> None:
    told: list[float] = []
    pulse = Pulse(told.append)
    long_ago = time.monotonic() - 100
    pulse._note(long_ago, 0.4, 0.39)
    pulse._note(long_ago + 1, 0.2, 0.9)
    assert pulse.stats() == {
        "event_loop_longest_stall_seconds": pytest.approx(0.0),  # of the last minute
        "event_loop_stalls_total": 0,
        "event_loop_starved_seconds_total": pytest.approx(0.59),
    }
    now = time.monotonic()
    for late in (0.2, 0.3, 0.1):
        pulse._note(now, late, 0.0)
    assert pulse.stats()["event_loop_longest_stall_seconds"] == 0.3 and told == [0.2, 0.3, 0.1]
    assert all(seconds >= STALL_S for seconds in told)


@pytest.mark.skipif(not os.path.exists("/proc/self/schedstat"), reason="this system does not tell how long threads wait")
async def test_others_on_the_same_processor_are_told_apart() -> None:
    told: list[float] = []
    before = os.sched_getaffinity(0)
    burn = "import time; end = time.monotonic() + 1.5\nwhile time.monotonic() < end: pass"
    os.sched_setaffinity(0, {min(before)})  # and of those who are started from here
    crowd = [subprocess.Popen([sys.executable, "-E", "-S", "-c", burn]) for _ in range(4)]
    try:
        pulse = Pulse(told.append)
        pulse.start()
        end = time.monotonic() + 0.8
        while time.monotonic() < end:
            await asyncio.sleep(0.001)
            sum(range(2000))
    finally:
        os.sched_setaffinity(0, before)
        for child in crowd:
            child.kill()
            child.wait()
    stats = pulse.stats()
    await pulse.stop()
    assert stats["event_loop_starved_seconds_total"] > 0.0
    assert stats["event_loop_longest_stall_seconds"] < STALL_S, stats
