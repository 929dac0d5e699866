"""What is to be told of a row is written in the transaction that changes it, once, and stays until it was told."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy.exc import IntegrityError

from tapeline.core.ids import new_id
from tapeline.store import ActiveflowRow, Database, DeliveryRow, OutboxRow, RecordingRow, WriteBehind
from tapeline.store.outbox import entry

ACCOUNT = new_id()


def final(state: str) -> RecordingRow:
    return RecordingRow(new_id(), ACCOUNT, state, 100.0, updated=200.0, node="here")


async def test_a_published_recording_is_told_of_once_however_often_it_is_published(database: Database) -> None:
    row = final("available")
    for _ in range(2):
        await database.recordings.publish(row, ())
    assert await database.outbox.waiting("here") == [entry("recording_finished", row.id, ACCOUNT, 200.0, "here")]
    assert await database.outbox.waiting("elsewhere") == []


async def test_a_failed_one_is_told_of_whoever_writes_its_row(database: Database) -> None:
    worker, caught = final("failed"), final("failed")
    await database.recordings.publish(worker, ())
    writer = WriteBehind(database)
    writer.start()
    writer.put(caught)
    writer.put(final("stopping"))
    assert await writer.close()
    assert {(row.kind, row.subject) for row in await database.outbox.waiting("here")} == {
        ("recording_failed", worker.id),
        ("recording_failed", caught.id),
    }


async def test_a_deleted_one_is_told_of_once_by_the_node_that_is_named(database: Database) -> None:
    row = final("available")
    await database.recordings.upsert(row)
    assert len(await database.removals.remove([row.id], 300.0)) == 1
    await database.removals.remove([row.id], 400.0, node="other")
    assert [(each.kind, each.time) for each in await database.outbox.waiting("here")] == [("recording_deleted", 300.0)]
    assert await database.outbox.waiting("other") == []
    assert await database.removals.remove([new_id()], 300.0) == []


async def test_neither_the_row_nor_its_entry_is_there_without_the_other(database: Database) -> None:
    row = final("available")
    broken = DeliveryRow(None, ACCOUNT, "upload", row.id, "http://a", 1.0, 2.0)  # type: ignore[arg-type]
    with pytest.raises(IntegrityError):
        await database.recordings.publish(row, [broken])
    assert await database.recordings.get(row.id) is None
    assert await database.outbox.count() == 0


async def test_pages_go_on_after_the_last_and_what_is_done_is_gone(database: Database) -> None:
    rows = [OutboxRow(new_id(), "recording_finished", ACCOUNT, new_id(), float(number // 2), "here", {"a": number}) for number in range(7)]
    async with database.writing() as connection:
        await database.outbox.write(connection, rows)
    seen: list[OutboxRow] = []
    place = (-1.0, "")
    while page := await database.outbox.waiting("here", place, 2):
        seen += page
        place = page[-1].time, page[-1].id
    assert sorted(row.id for row in seen) == sorted(row.id for row in rows)
    await database.outbox.done([row.id for row in rows[:6]])
    assert await database.outbox.waiting("here") == [rows[6]]


async def test_a_run_of_a_flow_begins_once_and_ends_once(database: Database) -> None:
    row = ActiveflowRow(new_id(), ACCOUNT, "running", 1.0, variables={"a": "b"}, executed_actions=({"id": "1"},), node="here")
    assert await database.activeflows.begin(row)
    assert not await database.activeflows.begin(row)
    assert await database.activeflows.unfinished("here") == [row]
    await database.activeflows.upsert(replace(row, status="ended", ended=2.0, updated=2.0))
    await database.activeflows.upsert(replace(row, updated=3.0))
    found = await database.activeflows.get(row.id)
    assert found is not None
    assert (found.status, found.ended) == ("ended", 2.0)
    assert [each.id for each in await database.activeflows.list(ACCOUNT)] == [row.id]
    await database.activeflows.delete(row.id)
    assert await database.activeflows.list(ACCOUNT) == []


async def test_messages_are_written_behind_once_each(database: Database) -> None:
    message = DeliveryRow(new_id(), ACCOUNT, "webhook", new_id(), "https://Hooks.example:8443/x", 1.0, 9.0, "POST", body="{}", lane="a")
    writer = WriteBehind(database)
    writer.start()
    for _ in range(2):
        writer.put(message)
        assert await writer.drain(5.0)
    await writer.close()
    assert await database.deliveries.list() == [replace(message, receiver="https://hooks.example:8443")]


async def test_a_database_that_stays_away_costs_bounded_memory(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tapeline.store.writer.MOST_MESSAGES", 3)
    writer = WriteBehind(database)
    for number in range(5):
        writer.put(DeliveryRow(new_id(), ACCOUNT, "webhook", str(number), "http://a", 1.0, 9.0))
    assert (writer.pending, writer.dropped) == (3, 2)


async def test_old_messages_are_forgotten_with_their_tries_and_files_stay(database: Database) -> None:
    rows = [DeliveryRow(new_id(), ACCOUNT, "webhook", "r", "http://a", float(number), 9e9) for number in range(5)]
    file = DeliveryRow(new_id(), ACCOUNT, "upload", "r", "http://a", 1.0, 9e9, object_key="k")
    await database.deliveries.add(*rows, file)
    for row in (*rows[:4], file):
        await database.deliveries.note(row, at=row.created, state="failed", status=500, reason="x", fault="us", due=None)
    assert await database.deliveries.forget(3.0, limit=2) == 2
    assert await database.deliveries.forget(3.0, limit=2) == 1
    assert {row.id for row in await database.deliveries.list()} == {rows[3].id, rows[4].id, file.id}
    assert await database.attempts.list(rows[0].id) == [] and len(await database.attempts.list(file.id)) == 1
