"""Rows of conferences and of stays in them: forward only, paged, and found again at a start."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tapeline.core.ids import new_id
from tapeline.store import ConferenceCallRow, ConferenceRow, Database
from tapeline.store.rows import CONFERENCE_RANKS

ACCOUNT = new_id()


def conference(status: str = "progressing", **fields: object) -> ConferenceRow:
    return replace(ConferenceRow(new_id(), ACCOUNT, status, 100.0, node="here", updated=100.0), **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("later", list(CONFERENCE_RANKS)[:3])
async def test_an_ended_conference_stays_ended(database: Database, later: str) -> None:
    row = conference("terminated", reason="timeout")
    await database.conferences.upsert(row)
    await database.conferences.upsert(replace(row, status=later, reason="", updated=200.0))
    assert await database.conferences.get(row.id) == row


async def test_what_is_unfinished_here_is_found(database: Database) -> None:
    here, elsewhere, over = conference(), conference(node="there"), conference("terminated")
    await database.conferences.upsert(here, elsewhere, over)
    assert await database.conferences.unfinished("here") == [here]
    stays = [ConferenceCallRow(new_id(), ACCOUNT, status, 1.0, node="here", conference_id=here.id) for status in ("joined", "leaved")]
    async with database.writing() as connection:
        await database.conferencecalls.write(connection, stays)
    assert await database.conferencecalls.unfinished("here") == stays[:1]


async def test_a_page_is_of_one_account_and_without_what_was_deleted(database: Database) -> None:
    rows = [conference(created=float(number)) for number in range(5)]
    await database.conferences.upsert(*rows, conference(account=new_id()))
    await database.conferences.delete(rows[3].id, 300.0)
    assert await database.conferences.list(ACCOUNT, limit=2) == [rows[4], rows[2]]
    assert await database.conferences.list(ACCOUNT, before=rows[2].created) == [rows[1], rows[0]]
    deleted = await database.conferences.get(rows[3].id)
    assert deleted is not None and deleted.deleted == 300.0
    assert await database.conferences.delete(new_id()) is None
    assert await database.conferencecalls.list(ACCOUNT) == []
