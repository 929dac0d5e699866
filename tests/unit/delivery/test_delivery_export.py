"""An export over real rows and a real folder: what is in the file, what is missing, who may stop it, and when it goes."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tapeline.core.ids import new_id
from tapeline.delivery import export as exporting
from tapeline.delivery.export import Exporter
from tapeline.store import Database, ExportRow, ObjectStore, RecordingRow, Search
from tapeline.store.exports import LEASE_S, export_key, signature

NOW = 1_800_000_000.0


class Bench:
    def __init__(self, folder: Path, database: Database, account: str) -> None:
        self.folder = folder
        self.database = database
        self.account = account
        self.objects = ObjectStore(str(folder / "objects"))
        self.now = NOW
        self.ended: list[str] = []
        self.stopping = False

    def exporter(self, node: str = "here") -> Exporter:
        return Exporter(
            self.database, self.objects, folder=self.folder, node=node, hours=2.0, base_url="http://x", closing=lambda: self.stopping,
            on_ended=self.ended.append, wall=lambda: self.now,
        )  # fmt: skip

    async def record(self, audio: bytes, **fields: Any) -> str:
        name = new_id()
        key = f"{self.account}/{name}.wav"
        path = self.folder / "audio.wav"
        path.write_bytes(audio)
        await self.objects.put_file(key, path, "audio/wav")
        path.unlink()
        facts: dict[str, Any] = {"size": len(audio), "sha256": hashlib.sha256(audio).hexdigest(), "object_key": key, "updated": 1.0}
        facts |= {"account": self.account, "state": "available", "created": NOW - 100.0, "source": "+4930123"}
        row = RecordingRow(name, **(facts | fields))
        await self.database.recordings.upsert(row)
        return name

    async def ask(self, ids: list[str] | None = None, **fields: Any) -> str:
        row = ExportRow(new_id(), self.account, "progressing", NOW, updated=NOW, secret="s" * 32, **fields)
        await self.database.exports.add(row, ids or [])
        return row.id

    async def row(self, export_id: str) -> ExportRow:
        found = await self.database.exports.get(export_id)
        assert found is not None
        return found

    def zip(self, export_id: str) -> zipfile.ZipFile:
        return zipfile.ZipFile(io.BytesIO((self.folder / "objects" / export_key(self.account, export_id)).read_bytes()))


@pytest.fixture
async def bench(tmp_path: Path, database: Database) -> AsyncIterator[Bench]:
    yield Bench(tmp_path, database, (await database.accounts.ensure("default")).id)


async def test_the_file_holds_what_was_asked_for(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "SMALL", 1000)
    audio = {await bench.record(bytes([n]) * size): bytes([n]) * size for n, size in enumerate((0, 44, 999, 1000, 1001, 5000))}
    await bench.record(b"not asked for")
    export_id = await bench.ask(list(audio))
    assert await bench.exporter().attempt(export_id) == "over"
    row = await bench.row(export_id)
    assert (row.status, row.done, row.missing, row.total, row.expires) == ("finished", 6, 0, 6, NOW + 7200)
    with bench.zip(export_id) as opened:
        assert opened.testzip() is None
        manifest = json.loads(opened.read("manifest.json"))
        assert [item["id"] for item in manifest["recordings"]] == list(audio) and manifest["missing"] == []
        for item in manifest["recordings"]:
            data = opened.read(item["name"])
            assert data == audio[item["id"]] and hashlib.sha256(data).hexdigest() == item["sha256"] and item["source"] == "+4930123"
        assert len(opened.namelist()) == 7
    assert bench.ended == [export_id]


async def test_a_filter_finds_the_account_s_own(bench: Bench) -> None:
    wanted = {await bench.record(b"a", direction="incoming"), await bench.record(b"b", direction="incoming")}
    await bench.record(b"c", direction="outgoing")
    await bench.record(b"d", direction="incoming", account=new_id())
    await bench.record(b"e", direction="incoming", created=NOW + 1)
    asked = Search(bench.account, until=NOW, equal={"direction": ("incoming",)}, number="4930")
    export_id = await bench.ask(wanted=asked.as_filter())
    await bench.exporter().attempt(export_id)
    with bench.zip(export_id) as opened:
        assert {item["id"] for item in json.loads(opened.read("manifest.json"))["recordings"]} == wanted


async def test_what_cannot_be_had_is_told(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "SMALL", 1000)
    good, gone, failed = await bench.record(b"good"), await bench.record(b"gone"), await bench.record(b"x", state="failed", object_key="")
    damaged, large = await bench.record(b"changed", sha256="0" * 64), await bench.record(b"l" * 2000, sha256="0" * 64)
    unknown = new_id()
    await bench.objects.delete(f"{bench.account}/{gone}.wav")
    export_id = await bench.ask([good, gone, failed, damaged, large, unknown])
    await bench.exporter().attempt(export_id)
    row = await bench.row(export_id)
    assert (row.status, row.done, row.missing) == ("finished", 6, 5)
    with bench.zip(export_id) as opened:
        assert opened.testzip() is None
        manifest = json.loads(opened.read("manifest.json"))
    assert {item["id"]: item["reason"] for item in manifest["missing"]} == {
        gone: "its audio is not there", failed: "the recording is failed", damaged: "its audio is not what was stored", unknown: "deleted",
    }  # fmt: skip
    assert [(item["id"], item.get("reason", "")) for item in manifest["recordings"]] == [(good, ""), (large, exporting.DAMAGED)]
    assert {item["id"] for item in row.missed} == {gone, failed, damaged, unknown, large}


async def test_it_is_told_of_once_with_a_link(bench: Bench) -> None:
    export_id = await bench.ask([await bench.record(b"x")])
    assert [await bench.exporter().attempt(export_id) for _ in range(2)] == ["over", "over"]
    told = await bench.database.outbox.waiting("here")
    assert [(entry.kind, entry.subject) for entry in told] == [("recording_export_finished", export_id)]
    row = await bench.row(export_id)
    assert row.expires is not None
    expected = f"http://x/exports/{export_id}/file?expires={int(row.expires)}&signature={signature(row, int(row.expires))}"
    assert told[0].data["download_uri"] == expected and told[0].data["status"] == "finished"


async def test_another_s_lease_is_left_alone_until_it_is_old(bench: Bench) -> None:
    export_id = await bench.ask([await bench.record(b"x")])
    assert await bench.database.exports.claim(export_id, "other", NOW) is not None
    assert await bench.exporter().attempt(export_id) == "again"
    assert await bench.database.exports.open("here", NOW) == []
    bench.now += LEASE_S + 1
    assert await bench.database.exports.open("here", bench.now) == [export_id]
    assert await bench.exporter().attempt(export_id) == "over"
    assert (await bench.row(export_id)).status == "finished"


async def test_one_that_is_deleted_on_the_way_leaves_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "TOUCH_S", 0.0)
    export_id = await bench.ask([await bench.record(b"x") for _ in range(5)])
    await bench.database.exports.remove(export_id, NOW)
    assert await bench.exporter().attempt(export_id) == "over"
    assert not list((bench.folder / "objects").rglob("*.zip*"))


async def test_a_worker_that_ends_leaves_it_to_the_next(bench: Bench) -> None:
    export_id = await bench.ask([await bench.record(b"x")])
    bench.stopping = True
    assert await bench.exporter().attempt(export_id) == "again"
    assert not list((bench.folder / "objects").rglob("*.zip")) and (await bench.row(export_id)).status == "progressing"
    bench.stopping = False
    assert await bench.exporter().attempt(export_id) == "over"


async def test_a_file_that_was_asked_for_too_long_ago_is_given_up(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise OSError("the disk is full")

    export_id = await bench.ask([await bench.record(b"x")])
    monkeypatch.setattr(exporting.ZipLayout, "begin", refuse)
    assert await bench.exporter().attempt(export_id) == "again"
    bench.now += exporting.GIVE_UP_S + 1
    assert await bench.exporter().attempt(export_id) == "over"
    row = await bench.row(export_id)
    assert (row.status, row.reason) == ("failed", "the object store failed to write: the disk is full")
    assert [entry.data["status"] for entry in await bench.database.outbox.waiting("here")] == ["failed"]


async def test_its_time_ends_and_the_file_goes(bench: Bench) -> None:
    export_id = await bench.ask([await bench.record(b"x")])
    await bench.exporter().attempt(export_id)
    assert await bench.database.exports.expire(NOW + 7199) == 0
    assert await bench.database.exports.expire(NOW + 7201) == 1
    assert (await bench.row(export_id)).status == "expired"
    assert [removal.key for removal in await bench.database.removals.due(NOW + 7201, 10)] == [export_key(bench.account, export_id)]
