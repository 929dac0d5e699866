"""The sweep: recordings whose time is over become tombstones, page by page, and then their audio goes.

The rows are the queue: a sweep that is cut off, however, is simply gone on with by the next. Pages are short and far between, so that
whoever else writes (calls, the API) waits for a few milliseconds at most: the sweep works a tenth of the time. Objects that a crash
left behind after their rows are found in the table `removals`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection

from tapeline.core.errors import TapelineError
from tapeline.delivery.pauses import pause_after
from tapeline.delivery.seam import fault
from tapeline.store import Database, ObjectStore
from tapeline.store.removals import Removal

__all__ = ["Sweeper"]

log = logging.getLogger(__name__)

PAGE = 100  # rows in one transaction
AT_ONCE = 8  # objects deleted side by side


class Sweeper:
    """`share` is the part of the time that a sweep may be at work.

    `on_removed` is told after each page, so that others can be told in turn. Coroutines of one event loop."""

    def __init__(
        self,
        database: Database,
        objects: ObjectStore,
        *,
        default_days: float,
        share: float = 0.1,
        node: str,
        stopping: Callable[[], bool] = lambda: False,
        on_removed: Callable[[int], None] = lambda count: None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._objects = objects
        self._days = default_days
        self._share = share
        self._node = node
        self._stopping = stopping
        self._on_removed = on_removed
        self._wall = wall

    async def sweep(self) -> int:
        """Everything that is over now. How many recordings that were. Raises DatabaseUnavailable; what was done until then is done."""
        count = 0
        while not self._stopping():
            await self._database.keeping.add_up()  # what is stored, as it came and went until now
            began = time.monotonic()
            removed = await self._database.removals.sweep(self._wall(), self._days, PAGE, self._node)
            if not removed:
                break
            took = time.monotonic() - began
            count += len(removed)
            fault("swept")
            self._on_removed(len(removed))
            await self._delete([row.key for row in removed if row.key])
            await asyncio.sleep(took * (1 / self._share - 1))
        if count:
            log.info("recordings removed, their time is over", extra={"count": count})
        return count

    async def left_behind(self) -> None:
        """Remove the objects of rows that say so already: after a crash, or where the store did not answer."""
        while not self._stopping():
            waiting = await self._database.removals.due(self._wall(), PAGE)
            if not waiting:
                return
            by_key = {removal.key: removal for removal in waiting}
            for key, reason in (await self._delete(list(by_key))).items():
                await self._again(by_key[key], reason)

    async def _again(self, removal: Removal, reason: str) -> None:
        await self._database.removals.failed(removal, self._wall() + pause_after(removal.tries + 1), reason)
        whose = "us" if self._objects.local else "destination"
        await self._database.attempts.add("remove", removal.recording, removal.key, outcome="failed", reason=reason, fault=whose)

    async def _delete(self, keys: Collection[str]) -> dict[str, str]:
        """Delete objects and strike them off. Gives those that are still there, with the reason."""
        waiting = list(keys)
        gone: list[str] = []
        failed: dict[str, str] = {}

        async def some() -> None:
            while waiting:
                key = waiting.pop()
                try:
                    fault("remove")
                    await self._objects.delete(key)
                    gone.append(key)
                except (TapelineError, OSError, ValueError) as error:
                    log.warning("an object is not removed: %s", error, extra={"key": key})
                    failed[key] = str(error)

        await asyncio.gather(*(some() for _ in range(AT_ONCE)))
        if gone:
            await self._database.removals.done(gone)
        return failed
