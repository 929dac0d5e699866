"""A database with as many recordings and calls as an archive has after years, made in a few minutes, and objects for some of them."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import sqlite3
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from tapeline.store import Database

DAY_S = 86400.0
SPAN_S = 400 * DAY_S
PEAKS = json.dumps([[round(n / 400, 3) for n in range(200)]])
TIMELINE = json.dumps([{"at": 0.0, "event": "started"}, {"at": 1.5, "event": "masked", "mode": "silence"}, {"at": 9.0, "event": "stopped"}])
MEASURES = json.dumps({"peak_db": -3.1, "loudness_lufs": -21.4, "silent_s": 3.2, "silent_ratio": 0.1})
NAMES = json.dumps({"media_name": "call.wav", "owner_id": "0" * 32})
# Indexes and triggers that wait until the rows are there, and what the triggers would have done.
LATER = (
    "SELECT type, name, sql FROM sqlite_master"
    " WHERE tbl_name IN ('recordings', 'calls') AND type IN ('index', 'trigger') AND sql IS NOT NULL"
)
TRIGGERED = (
    "INSERT INTO recording_places (place, id) SELECT CAST(created * 1000 AS INTEGER) * 1048576 - 1"
    " + row_number() OVER (PARTITION BY CAST(created * 1000 AS INTEGER) ORDER BY created, id), id FROM recordings",
    "INSERT INTO recording_text (rowid, source, destination, note, id, account) SELECT p.place, r.source, r.destination, r.note, r.id,"
    " r.account FROM recording_places p JOIN recordings r ON r.id = p.id ORDER BY p.place",
    "INSERT INTO storage_use (account, files, size) SELECT account, count(*), sum(size) FROM recordings GROUP BY account",
    "INSERT INTO recording_tags (recording, tag, account, created)"
    " SELECT id, CASE abs(random()) % 10 WHEN 0 THEN 'claim' ELSE 'vip' END, account, created FROM recordings WHERE rowid % 20 = 0",
)


def new_id(chance: random.Random) -> str:
    found = f"{chance.getrandbits(128):032x}"
    return f"{found[:8]}-{found[8:12]}-4{found[13:16]}-a{found[17:20]}-{found[20:]}"


def audio(number: int) -> bytes:
    """A small recording: 4 kB, no two alike."""
    return b"RIFF" + number.to_bytes(4, "big") * 1024


def fact(case: str, value: float, unit: str, goal: float | None = None) -> dict[str, Any]:
    """A figure of a bench."""
    return {"case": case, "value": value, "unit": unit, "beside": "", "goal": goal}


class Archive:
    """`count` recordings of the last 400 days, and as many calls: three quarters of one account, the rest of twenty others. Of the oldest
    `stored` the objects are there, under `objects`."""

    def __init__(self, path: Path, count: int, objects: Path | None = None, stored: int = 0) -> None:
        self.path = path
        self.count = count
        self.now = float(int(time.time()))
        self.chance = random.Random(1)
        self.accounts = [new_id(self.chance) for _ in range(21)]
        self.flows = [new_id(self.chance) for _ in range(50)]
        self.application = new_id(self.chance)
        self._objects = objects
        self._stored = stored

    async def filled(self) -> Database:
        """The database, made now where it is not there."""
        made = self.path.exists()
        database = Database(f"sqlite:///{self.path}")
        await database.open()
        if not made:
            await database.close()
            await asyncio.to_thread(self._fill)
            await database.open()
        last = await rows_of(database, "SELECT max(created) FROM recordings")
        self.now = float(last[0][0])
        return database

    def created(self, number: int) -> float:
        return self.now - SPAN_S + number * SPAN_S / self.count

    def _recordings(self) -> Iterator[dict[str, Any]]:
        chance = self.chance
        for n in range(self.count):
            created = self.created(n)
            duration = min(chance.expovariate(1 / 180), 7200.0)
            key = new_id(chance)
            account = self.accounts[0] if chance.random() < 0.75 else chance.choice(self.accounts)
            row = {
                "id": key, "account": account, "state": "failed" if chance.random() < 0.002 else "available", "created": created,
                "call_id": new_id(chance), "activeflow_id": new_id(chance), "reference": "call", "node": "bench", "reason": "hangup",
                "recovered": 0, "paused": "", "format": "wav", "channels": 1, "rate": 8000, "duration": duration,
                "size": int(duration * 16000), "sha256": key * 2, "object_key": f"{account}/{key}.wav", "content_type": "audio/wav",
                "on_end_flow_id": "", "label": "", "origin": "flow", "started": created, "ended": created + duration,
                "updated": created, "timeline": TIMELINE, "measures": MEASURES, "peaks": PEAKS, "custom": NAMES, "tags": "[]",
                "source": f"+49{chance.randrange(10**10):010d}", "destination": f"{chance.randrange(1000, 2000)}",
                "direction": chance.choice(("incoming", "outgoing")), "flow_id": chance.choice(self.flows),
                "note": f"complaint {n}" if n % 50 == 0 else "", "media_id": "",
            }  # fmt: skip
            if n < self._stored and self._objects is not None:
                data = audio(n)
                path = self._objects / str(row["object_key"])
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
                row |= {"size": len(data), "sha256": hashlib.sha256(data).hexdigest(), "state": "available"}
            yield row

    def _calls(self) -> Iterator[dict[str, Any]]:
        chance = self.chance
        address = json.dumps({"type": "tel", "target": "+493012345", "name": ""})
        for n in range(self.count):
            created = self.created(n)
            busy = chance.random() < 0.05
            yield {
                "id": new_id(chance), "account": self.accounts[0] if chance.random() < 0.75 else chance.choice(self.accounts),
                "direction": "incoming", "status": "hangup", "created": created, "source": address, "destination": address, "node": "bench",
                "sip_call_id": new_id(chance), "flow_id": chance.choice(self.flows), "activeflow_id": new_id(chance), "master_call_id": "",
                "chained_call_ids": "[]", "recording_id": "", "recording_ids": "[]", "action": "{}", "hangup_by": "remote",
                "hangup_reason": "busy" if busy else "normal", "hangup_cause": "486 Busy" if busy else "",
                "ringing": created + 1.0, "progressing": None if busy else created + 5.0, "hungup": created + 60.0,
                "updated": created + 60.0, "application_id": self.application if chance.random() < 0.75 else "",
            }  # fmt: skip

    def _fill(self) -> None:
        """Rows first, then the indexes over them, which is several times as quick as row by row, and comes to the same."""
        connection = sqlite3.connect(self.path, isolation_level=None)
        for pragma in ("synchronous=OFF", "journal_mode=MEMORY", "cache_size=-2000000"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("BEGIN")
        known = [(account, f"bench {n}", 1.0) for n, account in enumerate(self.accounts)]
        connection.executemany("INSERT INTO accounts (id, name, created) VALUES (?, ?, ?)", known)
        later = list(connection.execute(LATER))
        for kind, name, _ in later:
            connection.execute(f"DROP {kind} {name}")
        _insert(connection, "recordings", self._recordings())
        _insert(connection, "calls", self._calls())
        for statement in (*(made for _, _, made in later), *TRIGGERED):
            connection.execute(statement)
        connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.close()


async def rows_of(database: Database, query: str) -> Sequence[Any]:
    async with database.reading() as connection:
        return (await connection.exec_driver_sql(query)).all()


@asynccontextmanager
async def archived(folder: str | None, count: int, stored: int) -> AsyncIterator[tuple[Database, Archive, Path]]:
    """An archive in `folder`, which stays, and is used as it is where there is one; else in a folder of its own, which goes."""
    with ExitStack() as stack:
        place = Path(folder) if folder else Path(stack.enter_context(tempfile.TemporaryDirectory()))
        place.mkdir(parents=True, exist_ok=True)
        archive = Archive(place / "rows.sqlite", count, place / "objects", stored)
        database = await archive.filled()
        try:
            yield database, archive, place
        finally:
            await database.close()


def _insert(connection: sqlite3.Connection, table: str, rows: Iterator[dict[str, Any]]) -> None:
    first = next(rows)
    statement = f"INSERT INTO {table} ({', '.join(first)}) VALUES ({', '.join(':' + name for name in first)})"
    connection.execute(statement, first)
    connection.executemany(statement, rows)
