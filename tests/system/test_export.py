"""Ten thousand recordings in one file, by a real worker that is killed twice on the way: complete, once, in little memory."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
import zipfile
from pathlib import Path

from worker_house import ACCOUNT, House, killed, working

from tapeline.core.ids import new_id
from tapeline.store import Database, ExportRow
from tapeline.store.exports import export_key

COUNT = 10_000
GROWTH = 50_000_000


def resident(pid: int) -> int:
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    return int(fields["VmRSS"].split()[0]) * 1024


async def test_ten_thousand_recordings_killed_twice(nursery: None, tmp_path: Path) -> None:
    house = House(tmp_path)
    database = Database(house.config.database)
    await database.open()
    try:
        await exported(house, database)
    finally:
        await database.close()


async def exported(house: House, database: Database) -> None:
    expected = await house.shelved(database, COUNT, retention_days=0.0)
    export_id, now = new_id(), time.time()
    row = ExportRow(export_id, ACCOUNT, "progressing", now, updated=now, wanted={"account": ACCOUNT, "until": now}, secret="s" * 32)
    await database.exports.add(row)
    await killed(house, "kill:exported:1500")
    await killed(house, "kill:exported:4000")
    found = await database.exports.get(export_id)
    assert found is not None and found.status == "progressing"
    async with working(house) as worker:
        await worker.hears(lambda line: "ready" in line)
        before, most = resident(worker.process.pid), 0
        async with asyncio.timeout(120):
            while not any("export" in line for line in worker.said):
                most = max(most, resident(worker.process.pid))
                await asyncio.sleep(0.05)
    assert most - before < GROWTH, f"{(most - before) / 1e6:.1f} MB"
    found = await database.exports.get(export_id)
    assert found is not None and (found.status, found.done, found.missing) == ("finished", COUNT, 0)
    assert [entry.kind for entry in await database.outbox.waiting("test")] == ["recording_export_finished"]
    path = house.objects / export_key(ACCOUNT, export_id)
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    await asyncio.to_thread(check, path, expected)


def check(path: Path, expected: dict[str, str]) -> None:
    with zipfile.ZipFile(path) as opened:
        assert opened.testzip() is None
        manifest = json.loads(opened.read("manifest.json"))
        assert {item["id"]: item["sha256"] for item in manifest["recordings"]} == expected and manifest["missing"] == []
        for item in manifest["recordings"]:
            assert hashlib.sha256(opened.read(item["name"])).hexdigest() == item["sha256"]
        assert len(opened.namelist()) == COUNT + 1
