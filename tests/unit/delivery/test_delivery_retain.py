"""The sweep over real rows and a real folder: audio goes after its row, what fails is tried again, what a crash left is found."""

from __future__ import annotations

import time
from pathlib import Path

from tapeline.core.ids import new_id
from tapeline.delivery.retain import Sweeper
from tapeline.store import Database, ObjectStore, ObjectsUnavailable, RecordingRow
from tapeline.store.removals import OTHERS_S

DAY_S = 86400.0


async def stored(database: Database, objects: ObjectStore, folder: Path, count: int) -> list[RecordingRow]:
    account = (await database.accounts.ensure("default")).id
    audio = folder / "audio.wav"
    audio.write_bytes(b"RIFF" * 10)
    rows = []
    for n in range(count):
        ended = time.time() - 31 * DAY_S - n
        name = new_id()
        row = RecordingRow(name, account, "available", ended - 1.0, ended=ended, updated=ended, size=40, object_key=f"{account}/{name}.wav")
        await objects.put_file(row.object_key, audio, "audio/wav")
        rows.append(row)
    await database.recordings.upsert(*rows)
    return rows


def files(folder: Path) -> int:
    return sum(path.is_file() for path in folder.rglob("*"))


async def test_rows_and_audio_go(database: Database, tmp_path: Path) -> None:
    objects = ObjectStore(str(tmp_path / "objects"))
    rows = await stored(database, objects, tmp_path, 230)
    await database.keeping.hold(rows[7].id, 1.0, "case", "clerk")
    pages: list[int] = []
    sweeper = Sweeper(database, objects, default_days=30.0, node="here", on_removed=pages.append)
    assert await sweeper.sweep() == 229 and sum(pages) == 229 and max(pages) <= 100
    assert files(tmp_path / "objects") == 1 and (await objects.stat(rows[7].object_key)).size == 40
    assert await database.removals.count() == 0


class Refusing(ObjectStore):
    away = True

    async def delete(self, key: str) -> None:
        if self.away:
            raise ObjectsUnavailable("the object store failed to delete: away")
        await super().delete(key)


async def test_what_the_store_refuses_is_removed_later(database: Database, tmp_path: Path) -> None:
    objects = Refusing(str(tmp_path / "objects"))
    rows = await stored(database, objects, tmp_path, 3)
    now = time.time()
    sweeper = Sweeper(database, objects, default_days=30.0, node="here", wall=lambda: now)
    assert await sweeper.sweep() == 3
    assert files(tmp_path / "objects") == 3 and await database.removals.count() == 3
    now += OTHERS_S + 1
    await sweeper.left_behind()  # refused again: noted, and put off
    assert await database.removals.due(now, 10) == []
    attempts = await database.attempts.list(rows[0].id)
    assert [(attempt.kind, attempt.outcome, attempt.fault) for attempt in attempts] == [("remove", "failed", "us")]
    objects.away = False
    now += 60
    await sweeper.left_behind()
    assert files(tmp_path / "objects") == 0 and await database.removals.count() == 0


async def test_what_a_crash_left_between_row_and_object_is_finished(database: Database, tmp_path: Path) -> None:
    objects = ObjectStore(str(tmp_path / "objects"))
    rows = await stored(database, objects, tmp_path, 5)
    await database.removals.remove([row.id for row in rows], time.time() - OTHERS_S - 1)
    assert files(tmp_path / "objects") == 5
    await Sweeper(database, objects, default_days=30.0, node="here").left_behind()
    assert files(tmp_path / "objects") == 0 and await database.removals.count() == 0
