"""The disk fills up, the database is locked or gone: recording goes on as far as it can, and completes once the world is back."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from spoken_calls import judge_recordings, recording_flow, voices

from tapeline.testing import Plan, spoken
from tapeline.testing.process import until
from tapeline.testing.server import Server
from tapeline.testing.sipp import SippCallers, sipp_missing

pytestmark = [pytest.mark.peer, pytest.mark.skipif(bool(sipp_missing()), reason=sipp_missing())]

CALLS = 6
RECORDED_S = 4.0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 40 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(folder)], capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"a full disk needs a small file system, and mounting one needs root: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path, leave: int) -> Path:
    """Use up the file system but for `leave` bytes; gives the file that does."""
    ballast = folder / "ballast"
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(folder).free - leave)
    return ballast


def test_a_full_disk_ends_recordings_with_its_reason_and_stops_nothing_else(tmp_path: Path, small_disk: Path) -> None:
    plans = voices(CALLS, 20)
    settings = {"recording": {"min_free_mb": 4}}
    with Server(tmp_path / "server", {"1000": recording_flow(12)}, settings, data=small_disk / "data") as server:
        callers = SippCallers(tmp_path / "sipp", server.sip, plans, rate=20, seconds=30, ends="callee")
        with callers.child:
            server.api.wait_for_recordings(CALLS, "recording", timeout_s=10)
            time.sleep(2.0)
            ballast = fill(small_disk, leave=64 * 1024)
            calls = [call for call in server.api.calls() if call["status"] == "progressing"]
            assert len(calls) == CALLS
            # No recording is under way any more: each has ended, though nothing can be written.
            until(
                lambda: all(recording["status"] != "recording" for recording in server.api.recordings()),
                "the recordings to end",
                timeout_s=8,
            )
            until(lambda: _refused(server, calls[0]["id"]), "a new recording to be refused", timeout_s=5)
            assert sum(call["status"] == "progressing" for call in server.api.calls()) == CALLS, "the calls go on"
            ballast.unlink()
            result = callers.finish()
        assert (result.successful, result.failed) == (CALLS, 0), result.errors
        for recording in judge_recordings(server, plans, None).values():
            assert recording["tapeline"]["reason"] == "disk_full"
            assert 0.5 < recording["tapeline"]["duration"] < 9
        # With room again, calls are recorded again.
        again = [Plan.of(spoken(800, 3))]
        assert SippCallers(tmp_path / "again", server.sip, again, seconds=3, ends="caller").run().successful == 1
        assert server.api.wait_for_recordings(CALLS + 1, "available", timeout_s=20)[0]["tapeline"]["reason"] == "hangup"


def _refused(server: Server, call_id: str) -> bool:
    answer = server.api.post(f"/v1.0/calls/{call_id}/recording_start", {"format": "wav"})
    assert answer.status in (409, 429, 503), answer.body
    return answer.status in (429, 503)


def test_recordings_complete_although_the_databases_were_locked(tmp_path: Path) -> None:
    plans = voices(CALLS, 5)
    with Server(tmp_path / "server", {"1000": recording_flow(RECORDED_S)}) as server:
        files = [server.data / "tapeline.sqlite", server.data / "dbos.sqlite"]
        until(lambda: all(path.exists() for path in files), "the databases")
        with closing(sqlite3.connect(files[0])) as rows, closing(sqlite3.connect(files[1])) as jobs:
            rows.execute("BEGIN EXCLUSIVE")
            jobs.execute("BEGIN EXCLUSIVE")
            result = SippCallers(tmp_path / "sipp", server.sip, plans, rate=20, seconds=RECORDED_S + 10, ends="callee").run()
            assert (result.successful, result.failed) == (CALLS, 0), result.errors
            time.sleep(1.0)
            rows.rollback()
            jobs.rollback()
        judge_recordings(server, plans, RECORDED_S)


def test_recordings_complete_although_the_database_was_gone(tmp_path: Path) -> None:
    plans = voices(CALLS, 5)
    with Server(tmp_path / "server", {"1000": recording_flow(RECORDED_S)}) as server:
        names = [path.name for path in server.data.glob("tapeline.sqlite*")]
        away = tmp_path / "away"
        away.mkdir()
        for name in names:
            (server.data / name).rename(away / name)
        (server.data / "tapeline.sqlite").mkdir()  # nobody shall make a new one in its place
        result = SippCallers(tmp_path / "sipp", server.sip, plans, rate=20, seconds=RECORDED_S + 10, ends="callee").run()
        assert (result.successful, result.failed) == (CALLS, 0), result.errors
        (server.data / "tapeline.sqlite").rmdir()
        for name in names:
            (away / name).rename(server.data / name)
        judge_recordings(server, plans, RECORDED_S)
