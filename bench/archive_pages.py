"""Pages of lists and searches, asked for one after the other, and how long each took."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from archive_rows import SPAN_S, Archive
from tapeline.store import Database, Search

GOAL_MS = 50.0

Took = list[tuple[float, float]]  # milliseconds of each page, and those of CPU
Ask = Callable[[int], Awaitable[object]]  # the nth page


async def timed(ask: Ask, count: int) -> Took:
    took = []
    for n in range(count):
        began, spent = time.perf_counter(), time.process_time()
        await ask(n)
        took.append(((time.perf_counter() - began) * 1000, (time.process_time() - spent) * 1000))
    return took


def following(database: Database, archive: Archive, wanted: Search) -> Ask:
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


def row(case: str, took: Took) -> dict[str, Any]:
    waited, spent = (sorted(each[n] for each in took) for n in (0, 1))
    at = min(len(waited) - 1, int(len(waited) * 0.95))
    return {"case": case, "value": round(waited[at], 1), "unit": "ms", "beside": f"{spent[at]:.1f}", "goal": GOAL_MS}
