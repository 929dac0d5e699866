"""The sweep of a real worker that is killed in its midst: at no moment is there audio that no row tells of, nor a row whose audio went
without its event; the next worker goes on with it."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from worker_house import House, killed, until, working

from tapeline.store import Database

COUNT = 330


@pytest.fixture
async def database(house: House) -> AsyncIterator[Database]:
    opened = Database(house.config.database)
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
def house(tmp_path: Path) -> House:
    house = House(tmp_path)
    house.config = replace(house.config, sweep_share=1.0)
    return house


def whole(house: House) -> tuple[int, int]:
    """How many rows say that their recording is gone, and how many objects are still to be removed. Fails where rows, events, audit and
    files do not tell the same."""
    deleted = {row[0] for row in house.query(house.rows, "SELECT id FROM recordings WHERE deleted IS NOT NULL")}
    there = {row[0] for row in house.query(house.rows, "SELECT id FROM recordings WHERE deleted IS NULL")}
    told = house.query(house.rows, "SELECT subject FROM outbox WHERE kind = 'recording_deleted'")
    noted = house.query(house.rows, "SELECT subject FROM audit WHERE action = 'deleted' AND actor = 'retention'")
    left = {row[0] for row in house.query(house.rows, "SELECT recording FROM removals")}
    files = {path.stem for path in house.stored()}
    assert {row[0] for row in told} == {row[0] for row in noted} == deleted and len(told) == len(noted) == len(deleted)
    assert there <= files, "a row's audio is gone, and nobody was told"
    assert files - there <= left <= deleted, "audio is there of which no row tells"
    assert house.query(house.rows, "SELECT sum(files) FROM storage_use") == [(len(there),)]
    return len(deleted), len(left)


def put_off(house: House, due: float) -> None:
    """When the worker removes what a crash has left behind."""
    with closing(sqlite3.connect(house.rows, timeout=30)) as connection:
        connection.execute("UPDATE removals SET due = ?", (due,))
        connection.commit()


async def test_a_sweep_that_is_killed_leaves_nothing_untold(nursery: None, house: House, database: Database) -> None:
    made = list(await house.shelved(database, COUNT, ended=2000.0))
    held = made[150:160]
    for recording in held:
        await database.keeping.hold(recording, time.time(), "case", "clerk")
    await killed(house, "kill:swept")  # the rows say so, the audio is there
    assert whole(house) == (100, 100)
    put_off(house, time.time() + 3600)
    await killed(house, "kill:remove:30")  # among the audio of the next page
    gone, left = whole(house)
    assert gone == 200 and left > 100
    async with working(house) as worker:  # at no place of its own choosing
        await worker.hears(lambda line: "removed" in line)
        worker.process.kill()
        await worker.process.wait()
    assert whole(house)[0] >= 300
    put_off(house, 0.0)
    async with working(house):
        await until(lambda: house.query(house.rows, "SELECT count(*) FROM removals") == [(0,)] and len(house.stored()) == len(held))
    assert whole(house) == (COUNT - len(held), 0) and {path.stem for path in house.stored()} == set(held)
