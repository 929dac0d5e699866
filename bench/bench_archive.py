"""How quick lists and searches of recordings are over a million rows, and a retention sweep beside them, on SQLite.

Pages are asked for as the service asks for them, one after the other, as a client would go on from page to page, and at random places; of
each kind the 95th percentile counts, of the best of several rounds: on a machine that others use, the rest says how busy they were. Beside
it stands the CPU time spent, which a busy machine does not lengthen as much.

The sweep is that of a real worker, a process of its own as in the service. It removes a hundred thousand of the rows and their audio while
holds are placed on others of them, events are told, and pages are asked for all the time: none that is held may go, and the pages say how
responsive the rest stays.
Run: python bench/bench_archive.py [--rows N] [--swept N] [--rounds N] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import figures
from archive_rows import DAY_S, SPAN_S, Archive, fact
from archive_worker import watched
from tapeline.delivery.config import WorkerConfig
from tapeline.store import CallFilter, Database, Search

GOAL_MS = 50.0
PAGE = 50  # what KAZOO's and Vonage's lists have on a page at most, or unless they are asked for more
AVAILABLE: Mapping[str, Sequence[str]] = {"state": ("available",)}

Took = list[tuple[float, float]]  # milliseconds of each page, and those of CPU
Ask = Callable[[int], Awaitable[object]]  # the nth page


async def timed(ask: Ask, count: int) -> Took:
    took = []
    for n in range(count):
        began, spent = time.perf_counter(), time.process_time()
        await ask(n)
        took.append(((time.perf_counter() - began) * 1000, (time.process_time() - spent) * 1000))
    return took


def searches(archive: Archive) -> dict[str, Search]:
    mine = Search(archive.accounts[0])
    chance = archive.chance
    middle = archive.now - SPAN_S / 2
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


def searching(database: Database, archive: Archive, wanted: Search) -> Ask:
    """Every other page follows the one before, the others are at random places."""
    place: tuple[float, str] | None = None

    async def ask(n: int) -> None:
        nonlocal place
        if n % 2:
            at = archive.now - archive.chance.random() * SPAN_S
            await database.recordings.page(replace(wanted, after=(at, "") if wanted.until is None else None))
        else:
            place = (await database.recordings.page(replace(wanted, after=place))).after

    return ask


def lists(database: Database, archive: Archive) -> dict[str, Ask]:
    """What the faces list beside: calls, KAZOO's windows of a month, Vonage's pages."""
    chance, account = archive.chance, archive.accounts[0]

    def at() -> float:
        return archive.now - chance.random() * SPAN_S

    async def calls(n: int) -> None:
        await database.calls.list(account, before=at() if n % 2 else None)

    async def kazoo(n: int) -> None:
        since = at()
        await database.recordings.search(Search(account, since, since + 31 * DAY_S, None, bool(n % 2), PAGE + 1, AVAILABLE))

    async def voicemail(n: int) -> None:
        await database.recordings.search(Search(account, limit=200, equal={**AVAILABLE, "origin": ("voicemail",)}))

    async def vonage(n: int) -> None:
        await database.calls.of_application(archive.application, CallFilter(offset=PAGE * n, limit=PAGE))

    async def far(n: int) -> None:
        await database.calls.of_application(archive.application, CallFilter(offset=chance.randrange(archive.count // 2), limit=PAGE))

    async def busy(n: int) -> None:
        await database.calls.of_application(archive.application, CallFilter(outcome="busy", ascending=bool(n % 2), limit=PAGE))

    async def day(n: int) -> None:
        since = at()
        await database.calls.of_application(archive.application, CallFilter(since=since, until=since + DAY_S, limit=PAGE))

    async def use(n: int) -> None:
        await database.keeping.usage(account if n % 2 else None)

    return {
        "calls, newest first and deep in the past": calls, "KAZOO: a page of a month": kazoo, "KAZOO: voicemail (none)": voicemail,
        "Vonage: calls of an application": vonage, "Vonage: at any offset": far, "Vonage: one status": busy, "Vonage: a day": day,
        "what an account stores": use,
    }  # fmt: skip


async def asking(database: Database, archive: Archive, count: int, rounds: int) -> list[dict[str, Any]]:
    asks = {name: searching(database, archive, wanted) for name, wanted in searches(archive).items()} | lists(database, archive)
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in asks}
    for _ in range(rounds):
        for name, ask in asks.items():
            found[name].append(row(name, await timed(ask, count)))
    return [min(rows, key=lambda each: each["value"]) for rows in found.values()]


class Sweep:
    """The oldest `count` rows are over; some of them are held while they go."""

    def __init__(self, database: Database, archive: Archive, folder: Path, count: int) -> None:
        self._database = database
        self._archive = archive
        self._folder = folder
        self._count = count
        self._days = (archive.now - archive.created(count)) / DAY_S + 0.02  # above the longest recording
        self._held: set[str] = set()
        self._told: list[str] = []
        self._pages: Took = []
        self._holds: Took = []
        self._stall = 0.0
        self._over = False

    async def run(self) -> list[dict[str, Any]]:
        over = [row[0] for row in await self._all(f"SELECT id FROM recordings ORDER BY created LIMIT {self._count}")]
        random.Random(2).shuffle(over)
        config = WorkerConfig(
            str(self._folder), str(self._database.url.render_as_string(False)), str(self._folder / "objects"),
            f"sqlite:///{self._folder / 'dbos.sqlite'}", "bench", retention_days=self._days,
        )  # fmt: skip
        began = time.monotonic()
        async with watched(config) as worker:
            others = [asyncio.create_task(each) for each in (self._hold(over), self._ask(), self._tell(), self._beat())]
            quiet = began
            last = 0
            while time.monotonic() - quiet < 20 or not last:
                if worker.removed > last:
                    last, quiet = worker.removed, time.monotonic()
                await asyncio.sleep(0.2)
            self._over = True
            await asyncio.gather(*others)
        return [
            *await self._results(over),
            fact("a sweep of them all, resting nine tenths of it", round(quiet - began), "s"),
            fact("memory of the worker, growth", round(worker.growth / 1e6, 1), "MB", 50),
            fact("longest stall of the worker's loop", round(worker.stall * 1000), "ms"),
            fact("longest stall of the loop that asks for pages", round(self._stall * 1000), "ms"),
            row("a page while it runs", self._pages),
            row("a hold while it runs", self._holds),
        ]

    async def _results(self, over: Sequence[str]) -> list[dict[str, Any]]:
        gone = {row[0] for row in await self._all("SELECT id FROM recordings WHERE deleted IS NOT NULL")}
        files = await asyncio.to_thread(lambda: {path.stem for path in (self._folder / "objects").rglob("*.wav")})
        left = {
            "held recordings that were removed": len(gone & self._held),
            "recordings that were over and are there": len(set(over) - gone - self._held),
            "audio of removed ones that is there": len(files & gone),
            "audio of held ones that is not": len(self._held - files),
            "removed ones that were not told of once": len(gone ^ set(self._told)) + len(self._told) - len(set(self._told)),
            "removed ones without a row of the audit": len(gone ^ {row[0] for row in await self._all("SELECT subject FROM audit")}),
            "removed ones with peaks": (await self._all("SELECT count(*) FROM recordings WHERE deleted > 0 AND peaks != '[]'"))[0][0],
        }
        sums = "SELECT account, count(*), sum(size) FROM recordings WHERE deleted IS NULL GROUP BY account"
        counted = {row[0]: (row[1], row[2]) for row in await self._all(sums)}
        usage = await self._database.keeping.usage()
        left["accounts whose storage is told wrongly"] = sum(counted.get(name) != use for name, use in usage.items())
        return [
            fact(f"recordings removed of {self._count}, the rest held in time", len(gone), "rows"),
            fact("holds placed while it ran", len(self._held), "rows"),
            *(fact(case, value, "", 0) for case, value in left.items()),
        ]

    async def _all(self, query: str) -> Sequence[Any]:
        async with self._database.reading() as connection:
            return (await connection.exec_driver_sql(query)).all()

    async def _hold(self, over: Sequence[str]) -> None:
        for recording in over:
            if self._over:
                return

            async def hold(_: int, recording: str = recording) -> None:
                if await self._database.keeping.hold(recording, self._archive.now, "bench", "bench") is not None:
                    self._held.add(recording)

            self._holds += await timed(hold, 1)
            await asyncio.sleep(0.05)

    async def _ask(self) -> None:
        ask = searching(self._database, self._archive, Search(self._archive.accounts[0]))
        while not self._over:
            self._pages += await timed(ask, 2)
            await asyncio.sleep(0.05)

    async def _tell(self) -> None:
        """As the API's process tells of what was removed."""
        last = False
        while not last:
            last = self._over
            while waiting := await self._database.outbox.waiting("bench"):
                self._told += [entry.subject for entry in waiting]
                await self._database.outbox.done([entry.id for entry in waiting])
            await asyncio.sleep(1.0)

    async def _beat(self) -> None:
        while not self._over:
            began = time.monotonic()
            await asyncio.sleep(0.01)
            self._stall = max(self._stall, time.monotonic() - began - 0.01)


def row(case: str, took: Took) -> dict[str, Any]:
    waited, spent = (sorted(each[n] for each in took) for n in (0, 1))
    at = min(len(waited) - 1, int(len(waited) * 0.95))
    return {"case": case, "value": round(waited[at], 1), "unit": "ms", "beside": f"{spent[at]:.1f}", "goal": GOAL_MS}


async def run(options: argparse.Namespace) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        archive = Archive(folder / "rows.sqlite", options.rows, folder / "objects", options.swept)
        began = time.monotonic()
        database = await archive.filled()
        filled = fact("the database made, for all this", round(time.monotonic() - began), "s")
        try:
            found = await asking(database, archive, options.pages, options.rounds)
            swept = await Sweep(database, archive, folder, options.swept).run() if options.swept else []
            return [*found, *swept, filled]
        finally:
            await database.close()


def main() -> None:
    parser = figures.parser(__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--swept", type=int, default=100_000)
    parser.add_argument("--pages", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", help="where the database is made: it takes 6 kB a row while it grows")
    options = parser.parse_args()
    figures.report(asyncio.run(run(options)), options.json)


if __name__ == "__main__":
    main()
