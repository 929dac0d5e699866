"""Searching rows: every filter, every order of paging, and the same answers whichever index is run along."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from tapeline.core.ids import new_id
from tapeline.store import Database, RecordingRow, Search
from tapeline.store import search as searching
from tapeline.store.search import LIVE

MINE, THEIRS = new_id(), new_id()
FLOWS = [new_id() for _ in range(3)]
TAGS = ["vip", "claim", "café"]


async def fill(database: Database, count: int = 150) -> list[RecordingRow]:
    chance = random.Random(7)
    rows = []
    for n in range(count):
        state = chance.choice(["available"] * 8 + ["failed", "recording"])
        row = RecordingRow(
            new_id(), chance.choice([MINE] * 3 + [THEIRS]), state, 1000.0 + n // 3,  # three at a time share their moment
            source=f"+4930{chance.randrange(1000):04d}", destination=chance.choice(["1000", "sip:Ann@example.org", "100%_\"x"]),
            direction=chance.choice(["incoming", "outgoing"]), duration=float(chance.randrange(100)), flow_id=chance.choice(FLOWS),
            ended=None if n % 4 else 1010.0 + n // 3, call_id=f"call{n % 40}", updated=1.0, origin="voicemail" if n % 9 == 0 else "flow",
        )  # fmt: skip
        rows.append(row)
    chance.shuffle(rows)  # they do not come in order
    await database.recordings.upsert(*rows)
    for row in chance.sample(rows, count // 3):
        tags, note = tuple(chance.sample(TAGS, 2)), chance.choice(["said yes", "SAID no", "ärger"])
        await database.keeping.amend(row.id, tags=tags, note=note)
        rows[rows.index(row)] = replace(row, tags=tags, note=note)
    gone = [row.id for row in chance.sample(rows, 20) if row.state not in LIVE]
    await database.removals.remove(gone, 5000.0)
    return [row for row in rows if row.id not in gone]


def fits(row: RecordingRow, wanted: Search) -> bool:
    """The same rules, said again over a row in memory."""
    part = wanted.number.lower()
    return all((
        wanted.account in (None, row.account),
        wanted.since is None or row.created >= wanted.since,
        wanted.until is None or row.created <= wanted.until,
        wanted.ended_since is None or (row.ended or row.created) >= wanted.ended_since,
        wanted.ended_until is None or (row.ended or row.created) <= wanted.ended_until,
        all(getattr(row, name) in values for name, values in wanted.equal.items()),
        wanted.shortest is None or (row.duration or 0.0) >= wanted.shortest,
        wanted.longest is None or (row.duration or 0.0) <= wanted.longest,
        part in row.source.lower() or part in row.destination.lower(),
        wanted.note.lower() in row.note.lower(),
        not wanted.tag or wanted.tag in row.tags,
    ))  # fmt: skip


SEARCHES: list[dict[str, Any]] = [
    {}, {"number": "4930"}, {"number": "301"}, {"number": "7"}, {"number": "ANN@ex"}, {"number": '%_"x'}, {"number": "nowhere"},
    {"note": "said"}, {"note": "ÄRGER"[1:]}, {"tag": "vip"}, {"tag": "café", "number": "4930"},
    {"tag": "vip", "equal": {"state": ("failed",)}},
    {"equal": {"direction": ("incoming",)}}, {"equal": {"state": ("failed",)}}, {"equal": {"state": ("failed", "available")}},
    {"equal": {"state": ("recording",), "direction": ("outgoing",)}}, {"equal": {"flow_id": (FLOWS[0],)}, "number": "9"},
    {"equal": {"flow_id": (FLOWS[1],)}, "shortest": 90.0}, {"equal": {"call_id": ("call7",)}}, {"shortest": 95.0}, {"longest": 2.0},
    {"equal": {"state": ("recording", "starting")}}, {"equal": {"flow_id": FLOWS[:2], "state": ("failed",)}},
    {"equal": {"call_id": ("call7", "call8"), "state": ("available",)}, "number": "4930", "since": 1003.0},
    {"equal": {"origin": ("voicemail",), "state": ("available",)}}, {"equal": {"origin": ("flow", "voicemail")}},
    {"since": 1020.0, "until": 1060.0}, {"since": 1020.0, "until": 1060.0, "number": "4930"}, {"since": 1050.0, "tag": "vip"},
    {"ended_since": 1020.0, "ended_until": 1040.0}, {"ended_since": 1050.0, "since": 1045.0, "tag": "vip"},
    {"ended_until": 1015.0, "note": "said"},
    {"number": "4930", "note": "yes", "tag": "vip", "equal": {"direction": ("incoming",)}},
]  # fmt: skip


@pytest.fixture
async def rows(database: Database) -> list[RecordingRow]:
    return await fill(database)


async def every(database: Database, wanted: Search) -> tuple[list[str], int]:
    """All ids, page by page, and how many pages that took."""
    found: list[str] = []
    pages = 0
    while True:
        page = await database.recordings.page(wanted)
        found += [row.id for row in page.rows]
        pages += 1
        if page.after is None:
            return found, pages
        wanted = replace(wanted, after=page.after)


@pytest.mark.parametrize(("look", "limit"), [(7, 100), (4000, 4)])
async def test_pages_together_are_what_fits(
    database: Database, rows: list[RecordingRow], look: int, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "LOOK_UP", look)
    monkeypatch.setattr(searching, "LOOK_FIRST", look // 3)
    monkeypatch.setattr(searching, "LOOK_ALONG", look * 3)
    for account in (MINE, None):
        for asked in SEARCHES:
            wanted = Search(account, limit=limit, **asked)
            expected = sorted((row for row in rows if fits(row, wanted)), key=lambda row: row.created, reverse=True)
            found, _ = await every(database, wanted)
            assert len(found) == len(set(found)) and set(found) == {row.id for row in expected}, asked
            times = {row.id: row.created for row in rows}
            assert [times[id] for id in found] == [row.created for row in expected], asked


async def test_a_list_by_the_end_is_in_either_order(database: Database, rows: list[RecordingRow]) -> None:
    wanted = Search(MINE, ended_since=1020.0, ended_until=1040.0)
    expected = {row.id for row in rows if fits(row, wanted)}
    for ascending in (False, True):
        found = await database.recordings.search(replace(wanted, ascending=ascending))
        assert {row.id for row in found} == expected and expected
        assert [row.created for row in found] == sorted((row.created for row in found), reverse=not ascending)


async def test_a_page_looks_at_a_bounded_number_of_rows(
    database: Database, rows: list[RecordingRow], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "LOOK_ALONG", 50)
    _, pages = await every(database, Search(MINE, shortest=1e6))
    assert pages >= len([row for row in rows if row.account == MINE]) // 50


async def plan_of(database: Database, wanted: Search) -> str:
    way = searching._way(wanted, "sqlite", 9)
    async with database.reading() as connection:
        text = str(way.rows.compile(connection.sync_connection, compile_kwargs={"literal_binds": True}))  # type: ignore[arg-type]
        return " ".join(row[3] for row in (await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}")).all())


@pytest.mark.parametrize(
    ("account", "equal", "index"),
    [
        (MINE, {"direction": ("incoming",)}, "recordings_account_created (account=?)"),
        (None, {"direction": ("incoming",)}, "recordings_created"),
        (MINE, {"flow_id": (FLOWS[0],), "direction": ("incoming",)}, "recordings_account_flow (account=? AND flow_id=?)"),
        (None, {"flow_id": (FLOWS[0],)}, "recordings_created"),
        (MINE, {"flow_id": FLOWS}, "recordings_account_created (account=?)"),
        (MINE, {"state": ("failed",), "flow_id": (FLOWS[0],)}, "recordings_account_state (account=? AND state=?"),
    ],
)
async def test_lists_run_along_their_index_and_read_nothing_else(
    database: Database, account: str | None, equal: dict[str, Any], index: str
) -> None:
    """What makes a page quick: no scan, no sorting, and the filters compared within the index."""
    plan = await plan_of(database, Search(account, shortest=5.0, number="7", equal=equal))
    assert f"USING COVERING INDEX {index}" in plan and "TEMP B-TREE" not in plan, plan


@pytest.mark.parametrize(
    ("equal", "index"),
    [
        ({"call_id": ("x",), "state": ("available",)}, "recordings_call (call_id=?)"),
        ({"activeflow_id": ("x", "y")}, "recordings_activeflow (activeflow_id=?)"),
        ({"sip_call_id": ("x",), "direction": ("incoming",)}, "recordings_sip_call (sip_call_id=?)"),
        ({"media_id": ("x",), "state": ("available",)}, "recordings_account_media (account=? AND media_id=?)"),
        ({"origin": ("voicemail",), "state": ("available",)}, "recordings_voicemail (account=?"),
        ({"id": ("x", "y"), "call_id": ("z",)}, "sqlite_autoindex_recordings_1 (id=?)"),
        ({"state": ("starting", "recording")}, "recordings_account_state (account=? AND state=?"),
    ],
)
async def test_what_leads_to_a_few_rows_is_followed_whatever_else_is_asked(database: Database, equal: dict[str, Any], index: str) -> None:
    """And never a whole account walked along, for the sake of the order or of a filter."""
    assert index in await plan_of(database, Search(MINE, since=1.0, after=(5.0, "x"), equal=equal))


async def test_what_has_a_pointer_is_found_in_either_order(database: Database, rows: list[RecordingRow]) -> None:
    ids = [row.id for row in rows if row.account == MINE][:20]
    for equal in ({"id": ids}, {"call_id": ("call7", "call8", "call9")}):
        fit = [row for row in rows if row.account == MINE and all(getattr(row, name) in values for name, values in equal.items())]
        expected = [row.id for row in sorted(fit, key=lambda row: (row.created, row.id))]
        found, place = [], None
        while page := await database.recordings.search(Search(MINE, ascending=True, after=place, limit=2, equal=equal)):
            found += [row.id for row in page]
            place = page[-1].created, page[-1].id
        assert found == expected
        assert [row.id for row in await database.recordings.search(Search(MINE, equal=equal))] == expected[::-1]
    assert await database.recordings.search(Search(THEIRS, equal={"id": ids})) == []
    row = next(row for row in rows if row.id == ids[0])
    assert await database.recordings.search(Search(equal={"id": ids[:1]})) == [row]


async def test_texts_follow_what_becomes_of_a_row(database: Database, rows: list[RecordingRow]) -> None:
    row = next(row for row in rows if row.state == "available")
    await database.keeping.amend(row.id, note="something unheard of")
    assert [found.id for found in (await database.recordings.page(Search(note="unheard"))).rows] == [row.id]
    await database.keeping.amend(row.id, note="")
    assert (await database.recordings.page(Search(note="unheard"))).rows == []
    await database.removals.remove([row.id], 6000.0)
    async with database.reading() as connection:
        for table in ("recording_text", "recording_places"):
            count = (await connection.exec_driver_sql(f"SELECT count(*) FROM {table} WHERE id = '{row.id}'")).scalar_one()
            assert count == 0
