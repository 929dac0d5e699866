"""Documents of accounts: one of each account, kind and name; changes are not lost; what changed is found."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from tapeline.core.ids import new_id
from tapeline.store import Database

ACCOUNT = new_id()


async def test_a_document_is_found_by_account_kind_and_name(database: Database) -> None:
    written = await database.documents.put(ACCOUNT, "user", "anna", {"call_recording": {"any": {"any": {"enabled": True}}}}, 10.0)
    assert await database.documents.find(ACCOUNT, "user", "anna") == written
    assert await database.documents.find(ACCOUNT, "device", "anna") is None
    assert await database.documents.find(new_id(), "user", "anna") is None
    again = await database.documents.put(ACCOUNT, "user", "anna", {}, 20.0)
    assert (again.id, again.created, again.updated, again.body) == (written.id, 10.0, 20.0, {})
    assert await database.documents.list(ACCOUNT, "user") == [again]


async def test_changes_at_one_time_are_all_kept(database: Database) -> None:
    def adding(name: str) -> Any:
        return lambda old: {**old, name: True}

    await asyncio.gather(*(database.documents.change(ACCOUNT, "account", ACCOUNT, adding(f"k{n}")) for n in range(20)))
    found = await database.documents.find(ACCOUNT, "account", ACCOUNT)
    assert found is not None and set(found.body) == {f"k{n}" for n in range(20)}


async def test_a_change_that_fails_writes_nothing(database: Database) -> None:
    def broken(old: Mapping[str, Any]) -> Mapping[str, Any]:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await database.documents.change(ACCOUNT, "user", "anna", broken)
    assert await database.documents.find(ACCOUNT, "user", "anna") is None


async def test_a_deleted_document_is_told_as_changed_and_begins_anew(database: Database) -> None:
    await database.documents.put(ACCOUNT, "user", "anna", {"a": 1}, 10.0)
    await database.documents.delete(ACCOUNT, "user", "anna", 20.0)
    assert await database.documents.find(ACCOUNT, "user", "anna") is None
    assert [row.deleted for row in await database.documents.changed(15.0)] == [20.0]
    assert await database.documents.changed(21.0) == []
    fresh = await database.documents.change(ACCOUNT, "user", "anna", lambda old: {**old, "b": 2}, 30.0)
    assert (fresh.body, fresh.created, fresh.deleted) == ({"b": 2}, 30.0, None)
