"""A retention sweep over a hundred thousand of a million recordings on SQLite, by a real worker, a process of its own as in the service.

It removes rows and audio while holds are placed on others of them, events are told, and pages are asked for all the time: none that is
held may go, nothing may be left, and the pages say how responsive the rest stays. In the service a sweep works a tenth of the time; here
it may be given more (`--share`), which is harder on everybody beside it.
Run: python bench/bench_sweep.py [--rows N] [--swept N] [--share S] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import figures
from archive_pages import Took, following, row, timed
from archive_rows import DAY_S, Archive, archived, fact, rows_of
from archive_worker import watched
from tapeline.delivery.config import WorkerConfig
from tapeline.store import Database, Search

GONE = "SELECT id FROM recordings WHERE deleted IS NOT NULL"
QUIET_S = 20.0  # without a removal: it is over


class Sweep:
    """The oldest `count` rows are over; some of them are held while they go."""

    def __init__(self, database: Database, archive: Archive, folder: Path, count: int, share: float) -> None:
        self._database = database
        self._archive = archive
        self._folder = folder
        self._count = count
        self._share = share
        self._held: set[str] = set()
        self._told: list[str] = []
        self._pages: Took = []
        self._holds: Took = []
        self._stall = 0.0
        self._over = False
        self._before: set[str] = set()
        self._files: set[str] = set()

    async def run(self) -> list[dict[str, Any]]:
        oldest = f"SELECT id, ended FROM recordings WHERE deleted IS NULL AND held IS NULL ORDER BY created LIMIT {self._count}"
        found = await rows_of(self._database, oldest)
        over = [row[0] for row in found]
        last = max(row[1] for row in found)
        self._before = {row[0] for row in await rows_of(self._database, GONE)}
        self._files = await asyncio.to_thread(self._audio)
        random.Random(2).shuffle(over)
        config = WorkerConfig(
            str(self._folder), str(self._database.url.render_as_string(False)), str(self._folder / "objects"),
            f"sqlite:///{self._folder / 'dbos.sqlite'}", "bench", retention_days=(time.time() - last) / DAY_S,
            sweep_share=self._share,
        )  # fmt: skip
        began = time.monotonic()
        async with watched(config) as worker:
            others = [asyncio.create_task(each) for each in (self._hold(over), self._ask(), self._tell(), self._beat())]
            quiet = began
            last = 0
            while time.monotonic() - quiet < QUIET_S or not last:
                if worker.removed > last:
                    last, quiet = worker.removed, time.monotonic()
                await asyncio.sleep(0.2)
            self._over = True
            await asyncio.gather(*others)
        return [
            *await self._results(over),
            fact(f"a sweep of them all, at work {self._share:.0%} of the time", round(quiet - began), "s"),
            fact("memory of the worker, growth", round(worker.growth / 1e6, 1), "MB", 50),
            fact("of it in the second half of the time", round(worker.late / 1e6, 1), "MB"),
            fact("longest stall of the worker's loop", round(worker.stall * 1000), "ms"),
            fact("longest stall of the loop that asks for pages", round(self._stall * 1000), "ms"),
            row("a page while it runs", self._pages),
            row("a hold while it runs", self._holds),
        ]

    async def _results(self, over: Sequence[str]) -> list[dict[str, Any]]:
        gone = {row[0] for row in await rows_of(self._database, GONE)} - self._before
        files = await asyncio.to_thread(self._audio)
        told = [recording for recording in self._told if recording not in self._before]
        noted = {row[0] for row in await rows_of(self._database, "SELECT subject FROM audit")} - self._before
        left = {
            "held recordings that were removed": len(gone & self._held),
            "recordings that were over and are there": len(set(over) - gone - self._held),
            "audio of removed ones that is there": len(files & gone),
            "audio of held ones that is not": len((self._held & self._files) - files),
            "removed ones that were not told of once": len(gone ^ set(told)) + len(told) - len(set(told)),
            "removed ones without a row of the audit": len(gone ^ noted),
            "removed ones with peaks": len(await rows_of(self._database, f"{GONE} AND peaks != '[]'")),
        }
        sums = "SELECT account, count(*), sum(size) FROM recordings WHERE deleted IS NULL GROUP BY account"
        counted = {row[0]: (row[1], row[2]) for row in await rows_of(self._database, sums)}
        usage = await self._database.keeping.usage()
        left["accounts whose storage is told wrongly"] = sum(counted.get(name) != use for name, use in usage.items())
        return [
            fact(f"recordings removed of {self._count}, the rest held in time", len(gone), "rows"),
            fact("holds placed while it ran", len(self._held), "rows"),
            *(fact(case, value, "", 0) for case, value in left.items()),
        ]

    def _audio(self) -> set[str]:
        return {path.stem for path in (self._folder / "objects").rglob("*.wav")}

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
        ask = following(self._database, self._archive, Search(self._archive.accounts[0]))
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


async def run(options: argparse.Namespace) -> list[dict[str, Any]]:
    async with archived(options.folder, options.rows, options.swept) as (database, archive, folder):
        return await Sweep(database, archive, folder, options.swept, options.share).run()


def main() -> None:
    parser = figures.parser(__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--swept", type=int, default=100_000)
    parser.add_argument("--share", type=float, default=0.9, help="of the time that the sweep may be at work; 0.1 in the service")
    parser.add_argument("--folder", help="keep the database and the audio there, and use them again: each time the oldest that are left go")
    options = parser.parse_args()
    figures.report(asyncio.run(run(options)), options.json)


if __name__ == "__main__":
    main()
