"""Deleting: what is over goes, what is held stays, whatever comes in which order; nothing is told or removed that the row does not say."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from tapeline.core.ids import new_id
from tapeline.store import Account, Database, RecordingRow
from tapeline.store.removals import DAY_S

NOW = 1_800_000_000.0


async def recorded(database: Database, account: str, days_ago: float, **fields: Any) -> str:
    ended = NOW - days_ago * DAY_S
    row = RecordingRow(
        id=new_id(), account=account, state="available", created=ended - 60.0, ended=ended, updated=ended, size=100, node="other",
        peaks=((0.5, 0.5),),
    )  # fmt: skip
    made = replace(row, **{"object_key": f"{account}/{row.id}.wav"} | fields)
    await database.recordings.upsert(made)
    return made.id


async def swept(database: Database, days: float = 30.0) -> set[str]:
    gone: set[str] = set()
    while removed := await database.removals.sweep(NOW, days, 3, "here"):
        gone |= {row.id for row in removed}
    return gone


@pytest.fixture
async def account(database: Database) -> Account:
    return await database.accounts.ensure("default")


async def test_what_is_over_goes_and_the_rest_stays(database: Database, account: Account) -> None:
    old = {await recorded(database, account.id, 30.5 + n) for n in range(7)}
    await recorded(database, account.id, 29.9)
    await recorded(database, account.id, 40.0, state="stopping")
    await recorded(database, account.id, 29.5, created=NOW - 31 * DAY_S)  # begun before, ended after
    assert await swept(database) == old
    row = await database.recordings.get(next(iter(old)))
    assert row is not None and row.deleted == NOW and row.peaks == () and row.state == "available"
    told = await database.outbox.waiting("here")
    assert {entry.subject for entry in told} == old and {entry.kind for entry in told} == {"recording_deleted"}
    assert {removal.recording for removal in await database.removals.due(NOW + 60, 100)} == old
    assert await database.removals.due(NOW, 100) == []  # whoever deleted the row comes first
    assert {(row.subject, row.actor, row.action) for row in await database.audit.after(0)} == {(id, "retention", "deleted") for id in old}
    assert await swept(database) == set()


async def test_accounts_and_recordings_have_their_own_days(database: Database, account: Account) -> None:
    other, keeper = await database.accounts.ensure("other"), await database.accounts.ensure("keeper")
    await database.accounts.amend(other.id, retention_days=5.0)
    await database.accounts.amend(keeper.id, retention_days=0.0)
    kept = [await recorded(database, keeper.id, 999.0), await recorded(database, account.id, 29.0), await recorded(database, other.id, 4.0)]
    kept.append(await recorded(database, account.id, 999.0, retention_days=0.0))
    kept.append(await recorded(database, account.id, 40.0, retention_days=50.0))
    gone = {await recorded(database, other.id, 6.0), await recorded(database, account.id, 2.0, retention_days=1.0)}
    gone.add(await recorded(database, keeper.id, 11.0, retention_days=10.0))
    gone.add(await recorded(database, account.id, 31.0))
    assert await swept(database) == gone
    assert await swept(database, days=0.0) == set()
    for recording in kept:
        row = await database.recordings.get(recording)
        assert row is not None and row.deleted is None


async def test_nothing_held_is_deleted_by_anybody(database: Database, account: Account) -> None:
    held, free = await recorded(database, account.id, 99.0), await recorded(database, account.id, 99.0)
    row = await database.keeping.hold(held, NOW - 5, "case 7", "clerk")
    assert row is not None and (row.held, row.hold_reason, row.held_by) == (NOW - 5, "case 7", "clerk")
    again = await database.keeping.hold(held, NOW, "case 8", "boss")
    assert again is not None and (again.held, again.hold_reason) == (NOW - 5, "case 8")
    assert await swept(database) == {free}
    assert await database.removals.remove([held, free], NOW) == []
    assert await database.keeping.hold(free, NOW, "late", "clerk") is None
    assert await database.keeping.release(held) is not None
    assert [row.id for row in await database.removals.remove([held], NOW)] == [held]


async def test_holds_placed_while_the_sweep_runs_are_kept(database: Database, account: Account) -> None:
    everything = [await recorded(database, account.id, 31.0 + n / 100) for n in range(60)]
    held: list[str] = []

    async def hold() -> None:
        for recording in reversed(everything):
            if await database.keeping.hold(recording, NOW, "", "clerk") is not None:
                held.append(recording)
            await asyncio.sleep(0)

    gone, _ = await asyncio.gather(swept(database), hold())
    assert gone.isdisjoint(held) and gone | set(held) == set(everything) and held and gone
    assert {removal.recording for removal in await database.removals.due(NOW + 60, 100)} == gone


async def test_what_is_not_final_is_not_deleted(database: Database, account: Account) -> None:
    live = await recorded(database, account.id, 0.0, state="recording")
    assert await database.removals.remove([live, new_id()], NOW) == []


async def test_a_late_write_of_a_live_row_touches_none_of_it(database: Database, account: Account) -> None:
    recording = await recorded(database, account.id, 1.0, state="recording", updated=1.0)
    await database.keeping.hold(recording, NOW, "case", "clerk")
    await database.keeping.amend(recording, tags=("a", "b"), note="said yes", retention_days=3.0)
    row = await database.recordings.get(recording)
    assert row is not None
    await database.recordings.upsert(RecordingRow(id=recording, account=account.id, state="available", created=row.created, updated=9e9))
    row = await database.recordings.get(recording)
    assert row is not None and row.state == "available"
    assert (row.held, row.tags, row.note, row.retention_days) == (NOW, ("a", "b"), "said yes", 3.0)


async def test_what_belongs_to_no_known_account_is_kept_as_long_as_the_settings_say(database: Database, account: Account) -> None:
    await database.accounts.amend(account.id, retention_days=90.0)
    strangers = [new_id(), new_id(), "gone"]
    old = {await recorded(database, stranger, 31.0 + n) for n in range(2) for stranger in strangers}
    for stranger in strangers:
        await recorded(database, stranger, 29.0)
    await recorded(database, account.id, 31.0)
    assert await swept(database) == old
    assert await swept(database, days=0.0) == set()


async def test_use_is_what_the_rows_say_whatever_happens_to_them(database: Database, account: Account) -> None:
    other = await database.accounts.ensure("other")
    made = [await recorded(database, each, 1.0, size=n) for n in range(1, 8) for each in (account.id, other.id)]
    live = await recorded(database, account.id, 0.0, state="recording", size=None, object_key="")

    async def counted() -> dict[str, tuple[int, int]]:
        query = "SELECT account, count(*), sum(size) FROM recordings WHERE deleted IS NULL AND size IS NOT NULL GROUP BY account"
        async with database.reading() as connection:
            return {row[0]: (row[1], row[2]) for row in (await connection.exec_driver_sql(query)).all()}

    async def done(statement: str) -> None:
        async with database.writing() as connection:
            await connection.exec_driver_sql(statement)

    await database.removals.remove(made[:5], NOW)
    assert await database.keeping.usage() == await counted() != {}
    await database.recordings.upsert(RecordingRow(id=live, account=account.id, state="available", created=1.0, size=1000, updated=9e9))
    await database.recordings.upsert(RecordingRow(id=live, account=account.id, state="available", created=1.0, size=500, updated=9e10))
    await database.recordings.upsert(RecordingRow(id=made[0], account=account.id, state="available", created=1.0, size=7, updated=9e10))
    await database.keeping.amend(made[6], note="x")
    assert await database.keeping.usage() == await counted()
    await database.keeping.add_up(0)
    assert await database.keeping.usage() == await counted()
    await done(f"UPDATE recordings SET size = NULL WHERE id = '{made[7]}'")
    await done(f"UPDATE recordings SET account = '{other.id}' WHERE id = '{made[8]}'")
    await done(f"DELETE FROM recordings WHERE id IN ('{made[9]}', '{made[0]}')")
    assert await database.keeping.usage() == await counted()
    await done("DELETE FROM recordings")
    assert await database.keeping.usage() == {}
    await database.keeping.add_up(0)
    async with database.reading() as connection:
        assert (await connection.exec_driver_sql("SELECT count(*) FROM storage_use")).scalar_one() == 0


async def test_use_counts_what_is_stored_now(database: Database, account: Account) -> None:
    other = await database.accounts.ensure("other")
    mine = [await recorded(database, account.id, 1.0, size=n) for n in (10, 20)]
    await recorded(database, other.id, 1.0, size=5)
    await recorded(database, account.id, 1.0, size=None, object_key="", state="failed")
    assert await database.keeping.usage() == {account.id: (2, 30), other.id: (1, 5)}
    await database.removals.remove(mine[:1], NOW)
    assert await database.keeping.usage(account.id) == {account.id: (1, 20)}
