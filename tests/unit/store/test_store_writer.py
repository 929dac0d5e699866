"""Write-behind: nothing put is lost while the database is away, and nobody who puts ever waits."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from tapeline.core.ids import new_id
from tapeline.store import CallRow, ConferenceCallRow, ConferenceRow, Database, RecordingRow, WriteBehind


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tapeline.store.database.BUSY_MS", 10)
    monkeypatch.setattr("tapeline.store.writer.GATHER_S", 0.001)
    monkeypatch.setattr("tapeline.store.writer.FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr("tapeline.store.writer.LONGEST_PAUSE_S", 0.02)


def call(status: str = "progressing", **fields: object) -> CallRow:
    return replace(CallRow(new_id(), new_id(), "incoming", status, 1.0, updated=1.0), **fields)  # type: ignore[arg-type]


async def test_rows_of_every_kind_arrive(database: Database) -> None:
    writer = WriteBehind(database)
    writer.start()
    calls = [call() for _ in range(450)]
    recording = RecordingRow(new_id(), new_id(), "recording", 1.0)
    conference = ConferenceRow(new_id(), new_id(), "progressing", 1.0, data={"a": [1]}, options={"music": "x"}, recording_ids=("r",))
    stay = ConferenceCallRow(new_id(), new_id(), "joined", 1.0, conference_id=conference.id, muted=True)
    for row in [*calls, recording, conference, stay]:
        writer.put(row)
    assert writer.pending == 453
    assert await writer.drain(10.0)
    assert writer.pending == 0 and writer.healthy
    assert await database.calls.count() == 450
    assert await database.recordings.get(recording.id) == recording
    assert await database.conferences.get(conference.id) == conference
    assert await database.conferencecalls.get(stay.id) == stay
    assert await writer.close()


async def test_only_the_newest_row_of_a_call_is_written(database: Database) -> None:
    writer = WriteBehind(database)
    row = call("ringing")
    for number in range(1000):
        writer.put(replace(row, updated=float(number), hangup_cause=str(number)))
    assert writer.pending == 1
    writer.start()
    assert await writer.close()
    found = await database.calls.get(row.id)
    assert found is not None and found.hangup_cause == "999"


async def test_a_locked_database_delays_rows_and_loses_none(database: Database, tmp_path: Path) -> None:
    blocker = sqlite3.connect(tmp_path / "rows.sqlite", isolation_level=None)
    blocker.execute("BEGIN EXCLUSIVE")
    writer = WriteBehind(database)
    writer.start()
    row, other = call("ringing"), call("ringing")
    writer.put(row)
    async with asyncio.timeout(5):
        while writer.healthy:
            assert not await writer.drain(0.005)
    assert "locked" in writer.error
    writer.put(replace(row, status="hangup", updated=2.0))
    writer.put(other)
    assert not await writer.drain(0.05)
    assert writer.pending >= 2
    blocker.execute("ROLLBACK")
    blocker.close()
    assert await writer.drain(5.0)
    assert writer.healthy and writer.error == ""
    found = await database.calls.get(row.id)
    assert found is not None and found.status == "hangup"
    assert await database.calls.get(other.id) == other
    await writer.close()


async def test_a_database_whose_folder_is_away_delays_rows_and_loses_none(tmp_path: Path) -> None:
    folder, away = tmp_path / "data", tmp_path / "away"
    database = Database(f"sqlite:///{folder / 'rows.sqlite'}")
    await database.open()
    await database.close()
    folder.rename(away)
    # As when a process starts while the disk is not mounted: every connection fails to open.
    database._writer = database._reader = None
    writer = WriteBehind(database)
    writer.start()
    row = call()
    writer.put(row)
    assert not await writer.drain(0.05)
    assert not writer.healthy and writer.pending == 1
    away.rename(folder)
    await database.open()
    assert await writer.drain(5.0)
    assert await database.calls.get(row.id) == row
    await writer.close()
    await database.close()


async def test_a_row_that_the_database_refuses_does_not_hold_up_the_others(database: Database) -> None:
    writer = WriteBehind(database)
    writer.start()
    bad = call(status=None)
    good = [call() for _ in range(5)]
    for row in [*good[:2], bad, *good[2:]]:
        writer.put(row)
    assert await writer.drain(5.0)
    assert writer.dropped == 1
    assert await database.calls.count() == 5
    await writer.close()


async def test_closing_says_whether_all_was_written(database: Database, tmp_path: Path) -> None:
    blocker = sqlite3.connect(tmp_path / "rows.sqlite", isolation_level=None)
    blocker.execute("BEGIN EXCLUSIVE")
    writer = WriteBehind(database)
    writer.start()
    writer.put(call())
    assert not await writer.close(0.05)
    blocker.close()
    assert await WriteBehind(database).close()
