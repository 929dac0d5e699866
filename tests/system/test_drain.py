"""SIGTERM: no new calls, those that are up end in their own time, every recording is finished, exit 0."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from spoken_calls import judge_recordings, recording_flow, voices

from tapeline.testing import Plan, spoken
from tapeline.testing.server import Server
from tapeline.testing.sipp import SippCallers, sipp_missing

pytestmark = [pytest.mark.peer, pytest.mark.skipif(bool(sipp_missing()), reason=sipp_missing())]

CALLS = 10


def judge(server: Server, plans: list[Plan], seconds: float | None) -> None:
    """Start again, and hold what is there against what was said."""
    server.start()
    for recording in judge_recordings(server, plans, seconds, timeout_s=20).values():
        assert recording["tapeline"]["recovered"] is False, "it was finished, not cut off"


def test_calls_that_are_up_end_in_their_own_time_and_new_ones_are_refused(tmp_path: Path) -> None:
    plans = voices(CALLS, 7)
    with Server(tmp_path / "server", {"1000": recording_flow(6)}, {"server": {"drain_seconds": 20}}) as server:
        callers = SippCallers(tmp_path / "sipp", server.sip, plans, rate=20, seconds=20, ends="callee")
        with callers.child:
            server.api.wait_for_recordings(CALLS, "recording", timeout_s=10)
            time.sleep(1.0)
            server.begin_stop()
            asked = time.monotonic()
            time.sleep(0.3)
            late = SippCallers(tmp_path / "late", server.sip, [Plan.of(spoken(900, 1))], seconds=1, ends="caller").run()
            assert (late.successful, late.failed) == (0, 1)
            assert "503" in late.errors
            assert server.child.wait(20) == 0
            assert time.monotonic() - asked < 15
            result = callers.finish()
        assert (result.successful, result.failed) == (CALLS, 0), result.errors
        judge(server, plans, 6.0)


def test_calls_that_outlast_the_wait_are_hung_up_and_their_recordings_kept(tmp_path: Path) -> None:
    plans = voices(CALLS, 20)
    with Server(tmp_path / "server", {"1000": recording_flow(60)}, {"server": {"drain_seconds": 2}}) as server:
        callers = SippCallers(tmp_path / "sipp", server.sip, plans, rate=20, seconds=30, ends="callee")
        with callers.child:
            server.api.wait_for_recordings(CALLS, "recording", timeout_s=10)
            time.sleep(1.0)
            asked = time.monotonic()
            assert server.stop(15) == 0
            assert 1.5 < time.monotonic() - asked < 12
            result = callers.finish()
        assert (result.successful, result.failed) == (CALLS, 0), result.errors
        judge(server, plans, None)
        for recording in server.api.recordings():
            assert recording["tapeline"]["duration"] > 3.0
