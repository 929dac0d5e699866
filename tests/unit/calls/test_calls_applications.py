"""The register of applications: the settings', the rows', what is not known, and a database that is away."""

from __future__ import annotations

from pathlib import Path

import pytest

from tapeline.calls.vonage.applications import Applications, declared
from tapeline.core.errors import InvalidInput, Unavailable
from tapeline.core.ids import new_id
from tapeline.core.settings import Application as Declared
from tapeline.core.settings import Settings
from tapeline.store import Application, Database

ID = "0a1b2c3d-0000-4000-8000-000000000001"


class Rows(dict[str, Application]):
    away = False

    async def all(self) -> list[Application]:
        if self.away:
            raise Unavailable("away")
        return list(self.values())

    async def get(self, row_id: str) -> Application | None:  # type: ignore[override]
        if self.away:
            raise Unavailable("away")
        return dict.get(self, row_id)


async def test_settings_win_rows_follow_and_a_database_that_is_away_takes_nothing() -> None:
    rows = Rows({ID: Application(ID, "row"), "b": Application("b", "row", created=2.0)})
    register = Applications([Application(ID, "settings")], rows)
    assert register.get("b") is None
    await register.refresh()
    assert [each.account for each in register.of_account(None)] == ["settings", "row"] and register.is_fixed(ID)
    late = Application(new_id(), "row")
    rows[late.id] = late
    assert await register.find(late.id) is late and await register.find(new_id()) is None
    rows.away = True
    assert await register.find(late.id) is late
    with pytest.raises(Unavailable):
        await register.refresh()
    assert register.get("b") is not None
    rows.away = False
    del rows["b"]
    await register.refresh()
    assert register.get("b") is None


def test_applications_of_the_settings(tmp_path: Path) -> None:
    settings = Settings(applications=[Declared(id=ID.upper(), public_key="missing.pem"), Declared(id=ID, public_key="-----BEGIN x")])
    with pytest.raises(InvalidInput) as caught:
        declared(settings, {"default": "1"}, tmp_path)
    assert len(caught.value.problems) == 2
    with pytest.raises(InvalidInput, match="same id"):
        declared(Settings(applications=[Declared(id=ID), Declared(id=ID)]), {"default": "1"}, tmp_path)
    (made,) = declared(Settings(applications=[Declared(id=ID.upper(), name="x")]), {"default": "1"}, tmp_path)
    assert (made.id, made.account, made.event_method) == (ID, "1", "POST")
    with pytest.raises(ValueError, match="UUID"):
        Declared(id="x")


async def test_rows_come_back_as_they_were_put(database: Database) -> None:
    first = Application(ID, "account", "n", 1.5, "pem", "https://a", "POST", "https://f", options={"region": "eu-west"})
    await database.applications.put(first)
    assert await database.applications.get(ID) == first
    changed = Application(ID, "another", "m", 9.0)
    await database.applications.put(changed)
    row = await database.applications.get(ID)
    assert row is not None and (row.account, row.created, row.name, row.options) == ("account", 1.5, "m", {})
    assert [each.id for each in await database.applications.all()] == [ID]
    assert await database.applications.delete(ID) is not None and await database.applications.all() == []
