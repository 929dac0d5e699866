"""Callers who each say their own plan to a flow that records them, and what their recordings must hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import median
from typing import Any

from tapeline.testing import LIVE, Plan, assert_heard, decode, spoken
from tapeline.testing.api import Json
from tapeline.testing.server import Server
from tapeline.testing.sipp import caller_number

BUSY = replace(LIVE, duration_s=0.25, start_s=0.9)


def voices(count: int, seconds: int) -> list[Plan]:
    """A plan for each caller, none like another."""
    return [Plan.of(spoken(number, seconds)) for number in range(count)]


def recording_flow(seconds: float, **option: Any) -> dict[str, Any]:
    """Answer, record for so long, hang up; `option` goes to the recording."""
    return {
        "actions": [
            {"type": "answer"},
            {"type": "recording_start", "option": option},
            {"type": "sleep", "option": {"duration": round(seconds * 1000)}},
            {"type": "hangup"},
        ]
    }


def judge_recordings(server: Server, plans: Sequence[Plan], seconds: float | None, *, timeout_s: float = 60.0) -> dict[int, Json]:
    """Wait for one recording of each caller and hold it against its plan; gives them by caller.

    Each is `seconds` long, or, where that is None, as long as it is. How promptly one call's recording begins and its timer fires on a busy
    machine is not the question, so half of them must be that long to 40 ms, and each to a quarter of a second.
    """
    recordings = server.api.wait_for_recordings(len(plans), "available", timeout_s=timeout_s)
    assert len(recordings) == len(plans)
    by_caller = {caller_number(source): recording for source, recording in server.api.recordings_by_source().items()}
    assert sorted(by_caller) == list(range(len(plans)))
    for number, recording in by_caller.items():
        file = decode(server.api.file(recording["id"]))
        assert_heard(file, plans[number], BUSY, seconds=seconds or file.seconds, name=f"the recording of caller {number}")
        assert abs(recording["tapeline"]["duration"] - file.seconds) < 0.001
    if seconds is not None:
        assert abs(median(recording["tapeline"]["duration"] for recording in by_caller.values()) - seconds) < LIVE.duration_s
    return by_caller
