"""How quick lists and searches of recordings and calls are over a million rows of each, on SQLite.

Pages are asked for as the service asks for them, one after the other, as a client would go on from page to page, and at random places; of
each kind the 95th percentile counts, of the best of several rounds: on a machine that others use, the rest says how busy they were. Beside
it stands the CPU time spent, which a busy machine does not lengthen as much.
Run: python bench/bench_archive.py [--rows N] [--rounds N] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import figures
from archive_pages import Ask, following, row, timed
from archive_rows import DAY_S, SPAN_S, Archive, archived
from tapeline.store import CallFilter, Database, Search

PAGE = 50  # what KAZOO's and Vonage's lists have on a page at most, or unless they are asked for more
AVAILABLE: Mapping[str, Sequence[str]] = {"state": ("available",)}

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
    asks = {name: following(database, archive, wanted) for name, wanted in searches(archive).items()} | lists(database, archive)
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in asks}
    for _ in range(rounds):
        for name, ask in asks.items():
            found[name].append(row(name, await timed(ask, count)))
    return [min(rows, key=lambda each: each["value"]) for rows in found.values()]


async def run(options: argparse.Namespace) -> list[dict[str, Any]]:
    async with archived(options.folder, options.rows, 0) as (database, archive, _):
        return await asking(database, archive, options.pages, options.rounds)


def main() -> None:
    parser = figures.parser(__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--pages", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", help="keep the database there, 6 kB a row, and use it again")
    options = parser.parse_args()
    figures.report(asyncio.run(run(options)), options.json)


if __name__ == "__main__":
    main()
