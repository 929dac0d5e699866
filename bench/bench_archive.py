"""How quick lists and searches of recordings are over a million rows, and a retention sweep beside them, on SQLite.

Pages are asked for as the service asks for them, one after the other, as a client would go on from page to page, and at random places; of
each kind the 95th percentile counts. Beside it stands the CPU time spent, which a busy machine does not lengthen as much. The sweep
removes a hundred thousand of the rows while holds are placed on others of them and pages are asked for all the time: none that is held
may go, and the pages say how responsive the rest stays.
Run: python bench/bench_archive.py [--rows N] [--swept N] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sqlite3
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from tapeline.delivery.retain import Sweeper
from tapeline.store import Database, ObjectStore, Search

GOAL_MS = 50.0
DAY_S = 86400.0
NOW = 1_800_000_000.0
SPAN_S = 400 * DAY_S
PEAKS = json.dumps([[round(n / 400, 3) for n in range(200)]])
TIMELINE = json.dumps([{"at": 0.0, "event": "started"}, {"at": 1.5, "event": "masked", "mode": "silence"}, {"at": 9.0, "event": "stopped"}])
# Indexes and triggers that wait until the rows are there, and what the triggers would have done.
LATER = "SELECT type, name, sql FROM sqlite_master WHERE tbl_name = 'recordings' AND type IN ('index', 'trigger') AND sql IS NOT NULL"
TEXTS = (
    "INSERT INTO recording_places (place, id) SELECT CAST(created * 1000 AS INTEGER) * 1048576 - 1"
    " + row_number() OVER (PARTITION BY CAST(created * 1000 AS INTEGER) ORDER BY created, id), id FROM recordings",
    "INSERT INTO recording_text (rowid, source, destination, note, id, account) SELECT p.place, r.source, r.destination, r.note, r.id,"
    " r.account FROM recording_places p JOIN recordings r ON r.id = p.id ORDER BY p.place",
)
MEASURES = json.dumps({"peak_db": -3.1, "loudness_lufs": -21.4, "silent_s": 3.2, "silent_ratio": 0.1})


def new_id(chance: random.Random) -> str:
    found = f"{chance.getrandbits(128):032x}"
    return f"{found[:8]}-{found[8:12]}-4{found[13:16]}-a{found[17:20]}-{found[20:]}"


class Archive:
    """A database of `count` recordings: three quarters of one account, the rest of twenty others."""

    def __init__(self, path: Path, count: int) -> None:
        self.path = path
        self.count = count
        self.chance = random.Random(1)
        self.accounts = [new_id(self.chance) for _ in range(21)]
        self.flows = [new_id(self.chance) for _ in range(50)]

    def rows(self) -> Iterator[dict[str, Any]]:
        chance = self.chance
        for n in range(self.count):
            created = NOW - SPAN_S + n * SPAN_S / self.count
            duration = min(chance.expovariate(1 / 180), 7200.0)
            key = new_id(chance)
            account = self.accounts[0] if chance.random() < 0.75 else chance.choice(self.accounts)
            yield {
                "id": key, "account": account, "state": "failed" if chance.random() < 0.002 else "available", "created": created,
                "call_id": new_id(chance), "activeflow_id": new_id(chance), "reference": "call", "node": "bench", "reason": "hangup",
                "recovered": 0, "paused": "", "format": "wav", "channels": 1, "rate": 8000, "duration": duration,
                "size": int(duration * 16000), "sha256": key * 2, "object_key": f"{account}/{key}.wav", "content_type": "audio/wav",
                "on_end_flow_id": "", "label": "", "origin": "flow", "started": created, "ended": created + duration,
                "updated": created, "timeline": TIMELINE, "measures": MEASURES, "peaks": PEAKS, "custom": "{}", "tags": "[]",
                "source": f"+49{chance.randrange(10**10):010d}", "destination": f"{chance.randrange(1000, 2000)}",
                "direction": chance.choice(("incoming", "outgoing")), "flow_id": chance.choice(self.flows),
                "note": f"complaint {n}" if n % 50 == 0 else "",
            }  # fmt: skip

    def fill(self) -> None:
        """Rows first, then the indexes over them, which is several times as quick as row by row; what comes of it is the same."""
        connection = sqlite3.connect(self.path, isolation_level=None)
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("PRAGMA journal_mode=MEMORY")
        connection.execute("PRAGMA cache_size=-2000000")  # kilobytes: else pages of the indexes go out and come back all the time
        rows = self.rows()
        names = list(next(self.rows()))
        statement = f"INSERT INTO recordings ({', '.join(names)}) VALUES ({', '.join(':' + name for name in names)})"
        connection.execute("BEGIN")
        known = [(account, f"bench {n}", 1.0) for n, account in enumerate(self.accounts)]
        connection.executemany("INSERT INTO accounts (id, name, created) VALUES (?, ?, ?)", known)
        later = list(connection.execute(LATER))
        for kind, name, _ in later:
            connection.execute(f"DROP {kind} {name}")
        connection.executemany(statement, rows)
        for _, _, made in later:
            connection.execute(made)
        for made in TEXTS:
            connection.execute(made)
        connection.execute(
            "INSERT INTO recording_tags (recording, tag, account, created)"
            " SELECT id, CASE abs(random()) % 10 WHEN 0 THEN 'claim' ELSE 'vip' END, account, created FROM recordings WHERE rowid % 20 = 0"
        )
        connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.close()


def searches(archive: Archive) -> dict[str, Search]:
    mine = Search(archive.accounts[0])
    chance = archive.chance
    middle = NOW - SPAN_S / 2
    return {
        "list, newest first": mine,
        "list, every account": Search(),
        "a small account": Search(archive.accounts[5]),
        "seven digits of a number": replace(mine, number=f"{chance.randrange(10**7):07d}"),
        "three digits of a number": replace(mine, number="123"),
        "two digits of a number": replace(mine, number="77"),
        "three digits, a small account": Search(archive.accounts[7], number="555"),
        "direction and a month": replace(mine, since=middle, until=middle + 30 * DAY_S, equal={"direction": ("incoming",)}),
        "longer than an hour (1 in 10^8)": replace(mine, shortest=3600.0),
        "longer than 20 minutes (1 in 800)": replace(mine, shortest=1200.0),
        "state failed (1 in 500)": replace(mine, equal={"state": ("failed",)}),
        "one flow of 50": replace(mine, equal={"flow_id": (archive.flows[3],)}),
        "one flow, one direction, 10 minutes": replace(
            mine, shortest=600.0, equal={"flow_id": (archive.flows[4],), "direction": ("outgoing",)}
        ),
        "a tag": replace(mine, tag="claim"),
        "a tag and a number": replace(mine, tag="vip", number="4912"),
        "a word of the note": replace(mine, note="complaint"),
        "a rare word of the note": replace(mine, note="complaint 77"),
    }


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


async def pages(database: Database, archive: Archive, wanted: Search, count: int) -> list[tuple[float, float]]:
    """Milliseconds of each page, and those of CPU: half of them one after the other, half from random places on."""
    took = []
    place = None
    for n in range(count):
        if n % 2:
            at = NOW - archive.chance.random() * SPAN_S
            asked = replace(wanted, after=(at, "") if wanted.until is None else None)
        else:
            asked = replace(wanted, after=place)
        began, spent = time.perf_counter(), time.process_time()
        found = await database.recordings.page(asked)
        took.append(((time.perf_counter() - began) * 1000, (time.process_time() - spent) * 1000))
        if not n % 2:
            place = found.after
    return took


async def searching(database: Database, archive: Archive, count: int) -> list[dict[str, Any]]:
    rows = []
    for name, wanted in searches(archive).items():
        took = await pages(database, archive, wanted, count)
        rows.append(row(name, took))
    return rows


async def sweeping(database: Database, archive: Archive, folder: Path, swept: int) -> list[dict[str, Any]]:
    """Days so that the oldest `swept` rows are over, holds placed while they go, and pages beside it."""
    days = SPAN_S / DAY_S * (1 - swept / archive.count)
    async with database.reading() as connection:
        query = f"SELECT id FROM recordings ORDER BY created LIMIT {swept}"
        over = [row[0] for row in (await connection.exec_driver_sql(query)).all()]
    archive.chance.shuffle(over)
    held: list[str] = []
    busy: list[tuple[float, float]] = []
    holds: list[tuple[float, float]] = []
    done = asyncio.Event()

    async def hold() -> None:
        for recording in over:
            if done.is_set():
                return
            began = time.perf_counter()
            if await database.keeping.hold(recording, NOW, "bench", "bench") is not None:
                held.append(recording)
            holds.append(((time.perf_counter() - began) * 1000, 0.0))
            await asyncio.sleep(0.02)

    async def ask() -> None:
        while not done.is_set():
            busy.extend(await pages(database, archive, Search(archive.accounts[0]), 2))
            await asyncio.sleep(0.02)

    sweeper = Sweeper(database, ObjectStore(str(folder / "objects")), default_days=days, node="bench", wall=lambda: NOW)
    others = [asyncio.create_task(hold()), asyncio.create_task(ask())]
    began = time.monotonic()
    gone = await sweeper.sweep()
    seconds = time.monotonic() - began
    done.set()
    await asyncio.gather(*others)
    async with database.reading() as connection:
        both = "SELECT count(*) FROM recordings WHERE held IS NOT NULL AND deleted IS NOT NULL"
        lost = (await connection.exec_driver_sql(both)).scalar_one()
    return [
        {"case": f"recordings removed of {swept}, the rest held in time", "value": gone, "unit": "rows", "beside": "", "goal": None},
        {"case": "holds placed while it ran", "value": len(held), "unit": "rows", "beside": "", "goal": None},
        {"case": "held recordings that were removed", "value": lost, "unit": "rows", "beside": "", "goal": 0},
        {"case": "a sweep of them all", "value": round(seconds), "unit": "s", "beside": "", "goal": None},
        row("a page while it runs", busy),
        row("a hold while it runs", holds),
    ]


def row(case: str, took: list[tuple[float, float]]) -> dict[str, Any]:
    waited, spent = ([each[n] for each in took] for n in (0, 1))
    cpu = f"{percentile(spent, 0.95):.1f}" if any(spent) else ""
    return {"case": case, "value": round(percentile(waited, 0.95), 1), "unit": "ms", "beside": cpu, "goal": GOAL_MS}


@asynccontextmanager
async def filled(folder: Path, count: int) -> AsyncIterator[tuple[Database, Archive]]:
    database = Database(f"sqlite:///{folder / 'rows.sqlite'}")
    await database.open()
    archive = Archive(folder / "rows.sqlite", count)
    await asyncio.to_thread(archive.fill)
    try:
        yield database, archive
    finally:
        await database.close()


async def run(options: argparse.Namespace) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        async with filled(Path(folder), options.rows) as (database, archive):
            found = await searching(database, archive, options.pages)
            return found + await sweeping(database, archive, Path(folder), options.swept)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--swept", type=int, default=100_000)
    parser.add_argument("--pages", type=int, default=60)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = asyncio.run(run(options))
    if options.json:
        print(json.dumps({"rows": rows}))
        return
    for found in rows:
        print(f"{found['case']:<52} {found['value']:>10} {found['unit']:<5} {found['beside']}")


if __name__ == "__main__":
    main()
