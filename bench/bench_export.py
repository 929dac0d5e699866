"""One export of a hundred thousand small recordings by a real worker: how long it takes, how much memory it takes beyond what the worker
had, and whether each recording is in the ZIP as it was stored, read by Python's zipfile and, where it is there, by unzip.

Run: python bench/bench_export.py [--recordings N] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import shutil
import subprocess
import time
import zipfile
from pathlib import Path
from typing import Any

import figures
from archive_rows import Archive, archived, fact, rows_of
from archive_worker import watched
from tapeline.delivery.config import WorkerConfig
from tapeline.store import Database, ExportRow
from tapeline.store.exports import export_key, new_secret

GROWTH_MB = 50


async def run(options: argparse.Namespace) -> list[dict[str, Any]]:
    async with archived(None, options.recordings, options.recordings) as (database, archive, folder):
        return await exported(database, archive, folder)


async def exported(database: Database, archive: Archive, folder: Path) -> list[dict[str, Any]]:
    """All that the largest account has."""
    query = f"SELECT id, sha256 FROM recordings WHERE account = '{archive.accounts[0]}'"
    wanted = {row[0]: row[1] for row in await rows_of(database, query)}
    config = WorkerConfig(
        str(folder), database.url.render_as_string(False), str(folder / "objects"), f"sqlite:///{folder / 'dbos.sqlite'}", "bench",
        retention_days=0.0,
    )  # fmt: skip
    async with watched(config) as worker:
        await worker.ready.wait()
        began = time.monotonic()
        row = ExportRow(
            "00000000-0000-4000-8000-000000000001", archive.accounts[0], "progressing", time.time(), updated=time.time(),
            wanted={"account": archive.accounts[0], "until": time.time()}, secret=new_secret(),
        )  # fmt: skip
        await database.exports.add(row)
        while (found := await database.exports.get(row.id)) is not None and found.status == "progressing":
            await asyncio.sleep(0.5)
        seconds = time.monotonic() - began
    assert found is not None and found.status == "finished", found
    path = folder / "objects" / export_key(row.account, row.id)
    return [
        fact("recordings in one file", found.done - found.missing, "files", len(wanted)),
        fact("its size", round(found.size / 1e6), "MB"),
        fact("time", round(seconds), "s"),
        fact("recordings a second", round(found.done / seconds), "1/s"),
        fact("memory of the worker, growth", round(worker.growth / 1e6, 1), "MB", GROWTH_MB),
        fact("of it in the second half of the time", round(worker.late / 1e6, 1), "MB"),
        fact("longest stall of the worker's loop", round(worker.stall * 1000), "ms"),
        *await asyncio.to_thread(checked, path, wanted),
    ]


def checked(path: Path, wanted: dict[str, str]) -> list[dict[str, Any]]:
    with zipfile.ZipFile(path) as opened:
        listed = json.loads(opened.read("manifest.json"))["recordings"]
        wrong = len({item["id"] for item in listed} ^ set(wanted))
        wrong += sum(not hashlib.sha256(opened.read(item["name"])).hexdigest() == item["sha256"] == wanted[item["id"]] for item in listed)
    rows = [fact("recordings whose checksum does not agree", wrong, "", 0)]
    if shutil.which("unzip"):
        tested = subprocess.run(["unzip", "-tqq", str(path)], stdout=subprocess.DEVNULL, check=False)
        rows.append(fact("errors that unzip -t finds", tested.returncode, "", 0))
    return rows


def main() -> None:
    parser = figures.parser(__doc__)
    parser.add_argument("--recordings", type=int, default=134_000, help="three quarters of them are of the account that exports")
    options = parser.parse_args()
    figures.report(asyncio.run(run(options)), options.json)


if __name__ == "__main__":
    main()
