"""The server is killed in the middle of its work; nothing that was said before is lost."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path

import pytest
from spoken_calls import judge_recordings, recording_flow, voices

from tapeline.testing.process import until
from tapeline.testing.server import Server
from tapeline.testing.sipp import SippCallers, sipp_missing

pytestmark = [pytest.mark.peer, pytest.mark.crowd, pytest.mark.skipif(bool(sipp_missing()), reason=sipp_missing())]

CALLS = 20
LOST_AT_MOST_S = 1.5


def test_twenty_recordings_survive_kill_9(tmp_path: Path) -> None:
    plans = voices(CALLS, 12)
    with Server(tmp_path / "server", {"1000": recording_flow(60)}) as server:
        callers = SippCallers(tmp_path / "sipp", server.sip, plans, rate=20, seconds=20, ends="caller")
        with callers.child:
            server.api.wait_for_recordings(CALLS, "recording", timeout_s=10)
            time.sleep(4.0)  # let them speak
            before = {recording["id"]: recording for recording in server.api.recordings()}
            processes = server.child.family()
            assert len(processes) > 1, "the server and its worker"
            server.kill()
            killed = time.time()
            server.start()
            after = judge_recordings(server, plans, None, timeout_s=40)
            until(lambda: not any(process.running for process in processes), "the old worker to notice that it is alone", timeout_s=15)
        assert {recording["id"] for recording in after.values()} == set(before)
        for number, recording in after.items():
            assert recording["tapeline"]["recovered"] is True
            started = datetime.fromisoformat(before[recording["id"]]["tm_start"]).timestamp()
            lost = killed - started - recording["tapeline"]["duration"]
            assert -0.2 < lost <= LOST_AT_MOST_S, f"caller {number}: {lost:.2f} s are missing"
        spool = server.data / "spool"
        until(lambda: not [path for path in spool.iterdir() if path.is_dir()], "what is stored and verified to leave the spool")
        # A second start finds nothing more to recover, and changes nothing.
        finished = {recording["id"]: recording["tm_update"] for recording in server.api.recordings()}
        assert server.stop() == 0
        server.start()
        assert {recording["id"]: recording["tm_update"] for recording in server.api.recordings()} == finished
