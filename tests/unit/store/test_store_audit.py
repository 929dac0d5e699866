"""The audit's chain: what is written follows what was there, nobody may change it, and who does is found."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy.exc import DBAPIError

from tapeline.store import Database, DatabaseUnavailable, Deed, Trail


def deeds(count: int, account: str = "a") -> list[Deed]:
    return [Deed(1000.0 + n, account, "clerk", "listened", f"r{n}", 200, f"req_{n}", "192.0.2.1", {"n": n}) for n in range(count)]


def tamper(database: Database, *statements: str) -> None:
    """As one who has the file and takes the triggers away."""
    connection = sqlite3.connect(str(database.url.database))
    for name in ("audit_no_update", "audit_no_delete"):
        connection.execute(f"DROP TRIGGER {name}")
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


async def test_rows_follow_each_other_without_gaps(database: Database) -> None:
    await database.audit.add(*deeds(3))
    await database.audit.add(*deeds(2, "b"))
    rows = await database.audit.after(0)
    assert [row.seq for row in rows] == [1, 2, 3, 4, 5]
    assert [row.previous for row in rows[1:]] == [row.hash for row in rows[:-1]]
    verdict = await database.audit.verify()
    assert (verdict.rows, verdict.head, verdict.problem) == (5, rows[-1].hash, "")
    assert [row.seq for row in await database.audit.list("a", before=3)] == [2, 1]
    assert [row.subject for row in await database.audit.list(subject="r1")] == ["r1", "r1"]
    assert [row.seq for row in await database.audit.list(since=1001.5)] == [3]


@pytest.mark.parametrize("statement", ["UPDATE audit SET actor = 'nobody' WHERE seq = 2", "DELETE FROM audit WHERE seq = 2"])
async def test_the_database_refuses_to_change_rows(database: Database, statement: str) -> None:
    await database.audit.add(*deeds(3))
    with pytest.raises((DBAPIError, DatabaseUnavailable), match="only ever added"):
        async with database.writing() as connection:
            await connection.exec_driver_sql(statement)
    assert (await database.audit.verify()).problem == ""


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("UPDATE audit SET actor = 'nobody' WHERE seq = 3", "row 3 was changed"),
        ("UPDATE audit SET time = time + 1 WHERE seq = 5", "row 5 was changed"),
        ("DELETE FROM audit WHERE seq = 3", "row 3 is missing"),
        ("UPDATE audit SET hash = '0', actor = 'x' WHERE seq = 2", "row 2 was changed"),
        ("DELETE FROM audit WHERE seq = 1", "row 1 is missing"),
    ],
)
async def test_who_gets_around_that_is_found(database: Database, statement: str, told: str) -> None:
    await database.audit.add(*deeds(5))
    tamper(database, statement)
    assert (await database.audit.verify()).problem == told


async def test_rows_cut_off_at_the_end_are_missed_by_who_noted_the_head(database: Database) -> None:
    await database.audit.add(*deeds(5))
    head = (await database.audit.verify()).head
    await database.audit.add(*deeds(1))
    assert (await database.audit.verify(head)).problem == ""
    tamper(database, "DELETE FROM audit WHERE seq >= 5")
    assert (await database.audit.verify()).problem == ""
    assert "noted hash" in (await database.audit.verify(head)).problem


async def test_the_trail_writes_behind(database: Database) -> None:
    trail = Trail(database)
    trail.start()
    for deed in deeds(1200):
        trail.note(deed)
    assert trail.pending == 1200
    assert await trail.close()
    assert (await database.audit.verify()).rows == 1200 and trail.lost == 0


async def test_what_does_not_fit_is_in_the_log_and_the_chain_says_so(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    trail = Trail(database, most=10)
    for deed in deeds(13):
        trail.note(deed)
    trail.start()
    assert await trail.close()
    rows = await database.audit.after(0)
    assert [row.action for row in rows] == ["listened"] * 10 + ["lost"]
    assert rows[-1].detail == '{"count": 3}' and trail.lost == 3
    assert sum("missing in the audit" in record.message for record in caplog.records) == 3


async def test_a_database_that_is_away_is_waited_for(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'rows.sqlite'}")
    trail = Trail(database)
    trail.start()
    trail.note(deeds(1)[0])
    await database.open()
    assert await trail.close(30.0)
    assert (await database.audit.verify()).rows == 1
    await database.close()
