# ruff: noqa: ASYNC240 - a test may block its own event loop
"""The tables through their query objects, on a real SQLite file: states only move forward, pages lose nothing, secrets are not kept."""

from __future__ import annotations

import itertools
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tapeline.core.ids import new_id
from tapeline.store import CallRow, Database, DatabaseUnavailable, FlowRow, RecordingRow, Search
from tapeline.store.database import normal_url
from tapeline.store.rows import CALL_RANKS, RECORDING_RANKS

ACCOUNT = new_id()


def recording(state: str = "recording", **fields: object) -> RecordingRow:
    return replace(RecordingRow(new_id(), ACCOUNT, state, 100.0, updated=100.0), **fields)  # type: ignore[arg-type]


def call(status: str = "progressing", **fields: object) -> CallRow:
    return replace(CallRow(new_id(), ACCOUNT, "incoming", status, 100.0, updated=100.0), **fields)  # type: ignore[arg-type]


async def test_a_row_comes_back_as_it_was_written(database: Database) -> None:
    row = recording(
        "available",
        call_id=new_id(),
        duration=1.25,
        size=6_000_000_000,
        recovered=True,
        timeline=({"at": 0.0, "event": "started"}, {"at": 1.0, "event": "masked", "mode": "tone"}),
        measures={"loudness_lufs": -23.5, "peak_db": None},
        peaks=((0.0, 0.5), (1.0, 0.25)),
        custom={"ünïcode": "☎"},
        label="'; DROP TABLE recordings; --",
    )
    await database.recordings.upsert(row)
    assert await database.recordings.get(row.id) == row
    talk = call(source={"kind": "tel", "target": "+1"}, recording_ids=("a", "b"), action={"id": "1", "option": {"x": [1]}}, hungup=1.5)
    await database.calls.upsert(talk)
    assert await database.calls.get(talk.id) == talk
    assert await database.calls.get(new_id()) is None


@pytest.mark.parametrize(("old", "new"), list(itertools.product(RECORDING_RANKS, repeat=2)))
async def test_every_pair_of_recording_states_only_moves_forward(database: Database, old: str, new: str) -> None:
    first = recording(old, label="old")
    await database.recordings.upsert(first)
    await database.recordings.upsert(replace(first, state=new, label="new", updated=200.0))
    found = await database.recordings.get(first.id)
    assert found is not None
    moves = RECORDING_RANKS[new] > RECORDING_RANKS[old] or new == old
    assert (found.state, found.label) == ((new, "new") if moves else (old, "old"))


@pytest.mark.parametrize(("old", "new"), list(itertools.product(CALL_RANKS, repeat=2)))
async def test_every_pair_of_call_states_only_moves_forward(database: Database, old: str, new: str) -> None:
    first = call(old, hangup_cause="old")
    await database.calls.upsert(first)
    await database.calls.upsert(replace(first, status=new, hangup_cause="new", updated=200.0))
    found = await database.calls.get(first.id)
    assert found is not None
    moves = CALL_RANKS[new] > CALL_RANKS[old] or new == old
    assert (found.status, found.hangup_cause) == ((new, "new") if moves else (old, "old"))


async def test_of_two_writes_in_one_state_the_later_update_wins_whatever_comes_last(database: Database) -> None:
    row = recording("recording", paused="tone", updated=200.0)
    await database.recordings.upsert(row)
    await database.recordings.upsert(replace(row, paused="", updated=150.0))
    found = await database.recordings.get(row.id)
    assert found is not None and found.paused == "tone"


async def test_a_tombstone_stays_and_leaves_the_lists(database: Database) -> None:
    row = recording("stopping")
    await database.recordings.upsert(row)
    await database.recordings.upsert(replace(row, state="failed", updated=120.0))
    assert [removed.id for removed in await database.removals.remove([row.id], 150.0)] == [row.id]
    assert await database.removals.remove([row.id], 160.0) == []
    await database.recordings.upsert(replace(row, state="available", created=1.0, updated=200.0))
    found = await database.recordings.get(row.id)
    assert found is not None
    assert (found.state, found.deleted, found.created) == ("failed", 150.0, 100.0)
    assert await database.recordings.list() == []
    assert await database.recordings.count() == 0
    assert await database.removals.remove([new_id()], 160.0) == []


async def test_pages_run_newest_first_and_lose_nothing_where_times_are_equal(database: Database) -> None:
    other = new_id()
    rows = [call(created=float(at)) for at in (1, 2, 3, 3, 3, 3, 4, 5)]
    await database.calls.upsert(*rows, replace(call(created=3.0), account=other))
    seen: list[CallRow] = []
    before = None
    while page := await database.calls.list(ACCOUNT, before, 3):
        seen += page
        before = page[-1].created
    assert [row.created for row in seen] == [5.0, 4.0, 3.0, 3.0, 3.0, 3.0, 2.0, 1.0]
    assert {row.id for row in seen} == {row.id for row in rows}
    assert len(await database.calls.list(None, None, 100)) == 9
    assert len(await database.calls.list(other)) == 1


async def test_a_list_of_recordings_can_be_narrowed_and_leaves_the_peaks_out(database: Database) -> None:
    talk = new_id()
    kept = recording("available", call_id=talk, peaks=((0.5,),))
    await database.recordings.upsert(kept, recording("failed", call_id=talk), recording("available"))
    assert [row.id for row in await database.recordings.list(states={"available"}, call_id=talk)] == [kept.id]
    assert (await database.recordings.list(states={"available"}, call_id=talk))[0].peaks == ()
    assert len(await database.recordings.list(states={"available", "failed"})) == 3
    assert await database.recordings.list(states=set()) == []


async def test_a_page_is_read_along_an_index(database: Database) -> None:
    async with database.reading() as connection:
        for where, index in (("", "calls_created"), ("AND account = 'x'", "calls_account_created")):
            page = f"SELECT * FROM calls WHERE deleted IS NULL {where} AND created < 5 ORDER BY created DESC, id DESC LIMIT 9"
            plan = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {page}")
            words = " ".join(str(step) for step in plan)
            assert index in words and "TEMP B-TREE" not in words


async def test_what_a_crash_left_unfinished_is_found_by_node(database: Database) -> None:
    mine, over, other = call(node="a"), call("hangup", node="a"), call(node="b")
    await database.calls.upsert(mine, over, other)
    assert [row.id for row in await database.calls.unfinished("a")] == [mine.id]
    live, done = recording(node="a"), recording("failed", node="a")
    await database.recordings.upsert(live, done)
    assert [row.id for row in await database.recordings.unfinished("a")] == [live.id]


async def test_there_is_a_default_account_and_an_account_is_made_once(database: Database) -> None:
    default = await database.accounts.by_name("default")
    assert default is not None
    assert await database.accounts.ensure("default") == default
    made = await database.accounts.ensure("acme")
    assert await database.accounts.get(made.id) == made
    assert [account.name for account in await database.accounts.list()] == ["default", "acme"]
    assert await database.accounts.add("acme") is None
    shop = await database.accounts.add("shop", profile={"detail": "open"}, webhook_uri="https://shop.example/")
    assert shop is not None and await database.accounts.get(shop.id) == shop and shop.webhook_secret
    assert await database.accounts.page(limit=2) == [shop, made]
    assert await database.accounts.page(before=made.created) == [default]


async def test_a_token_is_found_by_its_secret_until_revoked_and_the_secret_is_nowhere_on_disk(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'rows.sqlite'}")
    await database.open()
    token, secret = await database.tokens.add(ACCOUNT, "ci", {"calls:read", "recordings:read"})
    assert secret.startswith("vb_") and len(secret) == 35
    assert await database.tokens.find(secret) == token
    assert await database.tokens.find(secret + "x") is None
    assert await database.tokens.list() == [token]
    assert await database.tokens.revoke(token.id)
    assert not await database.tokens.revoke(token.id)
    assert await database.tokens.find(secret) is None
    known, given = await database.tokens.add(ACCOUNT, "admin", {"admin"}, secret="vb_known")
    assert given == "vb_known" and await database.tokens.find("vb_known") == known
    await database.close()
    on_disk = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"CREATE TABLE tokens" in on_disk
    assert secret.encode() not in on_disk


async def test_attempts_are_listed_oldest_first(database: Database) -> None:
    ref = new_id()
    late = await database.attempts.add("finish", ref, "store", outcome="failed", reason="disk full", fault="us", time=2.0)
    early = await database.attempts.add("upload", ref, "https://example.net/", outcome="ok", status=201, time=1.0)
    await database.attempts.add("finish", new_id(), "store", outcome="failed", time=1.5)
    assert await database.attempts.list(ref) == [early, late]


async def test_flows_are_kept_as_given(database: Database) -> None:
    row = FlowRow(new_id(), ACCOUNT, "greeting", '{"a": 1}', "voipbin", 1.0)
    await database.flows.put(row)
    await database.flows.put(replace(row, document='{"a": 2}', created=9.0, updated=2.0))
    assert await database.flows.get(row.id) == replace(row, document='{"a": 2}', updated=2.0)
    assert len(await database.flows.list(ACCOUNT)) == 1
    await database.flows.delete(row.id)
    assert await database.flows.list(ACCOUNT) == []


async def test_a_database_that_is_locked_or_not_open_is_unavailable_and_works_again_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tapeline.store.database.BUSY_MS", 10)
    path = tmp_path / "rows.sqlite"
    database = Database(f"sqlite:///{path}")
    with pytest.raises(DatabaseUnavailable, match="not open"):
        await database.check()
    await database.open()
    row = call()
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN EXCLUSIVE")
    with pytest.raises(DatabaseUnavailable, match="locked"):
        await database.calls.upsert(row)
    blocker.execute("ROLLBACK")
    blocker.close()
    await database.calls.upsert(row)
    await database.check()
    assert await database.calls.get(row.id) == row
    await database.close()


async def test_a_file_that_is_no_database_is_unavailable_not_a_crash(tmp_path: Path) -> None:
    path = tmp_path / "rows.sqlite"
    path.write_bytes(b"this is not a database" * 100)
    with pytest.raises(DatabaseUnavailable):
        await Database(f"sqlite:///{path}").open()


def test_urls_get_their_drivers_and_other_databases_are_refused() -> None:
    assert normal_url("sqlite:////x/y").drivername == "sqlite+aiosqlite"
    assert normal_url("postgres://u:p@h/d").drivername == "postgresql+psycopg"
    assert normal_url("postgresql://u:p@h/d").drivername == "postgresql+psycopg"
    with pytest.raises(ValueError, match="not supported"):
        normal_url("mysql://h/d")


async def test_a_search_keeps_its_order_its_window_and_its_place(database: Database) -> None:
    account, other = new_id(), new_id()
    rows = [RecordingRow(new_id(), account, "available", created=100.0 + n // 2, call_id=f"c{n % 3}") for n in range(8)]
    await database.recordings.upsert(*rows, RecordingRow(new_id(), other, "available", created=101.0))
    in_order = sorted(rows, key=lambda row: (row.created, row.id))

    async def ids(**wanted: Any) -> list[str]:
        return [row.id for row in await database.recordings.search(Search(account, **wanted))]

    assert await ids() == [row.id for row in reversed(in_order)]
    assert await ids(ascending=True) == [row.id for row in in_order]
    assert await ids(since=101.0, until=102.0, ascending=True) == [row.id for row in in_order if 101.0 <= row.created <= 102.0]
    place = (in_order[3].created, in_order[3].id)
    assert await ids(after=place, ascending=True, limit=2) == [row.id for row in in_order[4:6]]
    assert await ids(after=place, limit=2) == [row.id for row in in_order[2:0:-1]]
    assert sorted(await ids(equal={"call_id": ("c0", "c1")})) == sorted(row.id for row in rows if row.call_id != "c2")
    assert len(await database.recordings.search(Search())) == 9


async def test_what_is_noted_of_a_recording_is_kept_beside_it(database: Database) -> None:
    row = RecordingRow(new_id(), new_id(), "available", created=1.0, custom={"a": 1})
    await database.recordings.upsert(row)
    await database.recordings.annotate(row.id, lambda custom: {**custom, "notes": {"b": 2}})
    assert await database.recordings.annotate(new_id(), lambda custom: {}) is None
    found = await database.recordings.get(row.id)
    assert found is not None and found.custom == {"a": 1, "notes": {"b": 2}} and found.state == "available"


async def test_a_recording_is_found_by_the_id_that_its_flow_gave_it(database: Database) -> None:
    account = new_id()
    row = RecordingRow(new_id(), account, "recording", created=1.0, custom={"media_id": "mine"})
    await database.recordings.upsert(row)
    await database.recordings.upsert(replace(row, state="available", updated=2.0))
    assert [found.id for found in await database.recordings.search(Search(account, equal={"media_id": ("mine",)}))] == [row.id]
    assert await database.recordings.search(Search(new_id(), equal={"media_id": ("mine",)})) == []
