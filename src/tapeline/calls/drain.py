"""Tells what stands in the outbox: what has happened to recordings and runs, whichever process wrote it down, a crash or not.

An entry is taken out once every listener has done what it must. Where one could not, all are told again later: so each of them makes
the ids of what it writes from the happening's own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from tapeline.calls.equipment import Equipment
from tapeline.calls.rows import recording_view
from tapeline.calls.views import RecordingView
from tapeline.core.errors import TapelineError
from tapeline.core.happening import Happening
from tapeline.store import ActiveflowRow, Database, OutboxRow

__all__ = ["Drain"]

log = logging.getLogger(__name__)

LOOK_S = 5.0
PAGE = 100


class Drain:
    """`start` after all listeners are there, `close` before the database is. Of one event loop."""

    def __init__(self, database: Database, equipment: Equipment) -> None:
        self._database = database
        self._kit = equipment
        self._wake = asyncio.Event()
        self._stopping = False
        self._telling = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="calls.drain")

    @property
    def busy(self) -> bool:
        """Whether it tells something now, or is about to look."""
        return self._telling or self._wake.is_set()

    def wake(self) -> None:
        """There is something to tell."""
        self._wake.set()

    async def close(self) -> None:
        """Tell what there is, and end."""
        self._stopping = True
        self._wake.set()
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        while True:
            self._telling = True
            self._wake.clear()
            last = self._stopping
            try:
                await self.once()
            except TapelineError as error:
                log.warning("the outbox waits for the database: %s", error)
            finally:
                self._telling = False
            if last:
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._wake.wait()

    async def once(self) -> int:
        """Tell everything that waits, oldest first. How many entries were done with."""
        place, count = (0.0, ""), 0
        while page := await self._database.outbox.waiting(self._kit.node, place, PAGE):
            done = [row.id for row in page if await self._told(row)]
            if done:
                await self._database.outbox.done(done)
            count += len(done)
            place = page[-1].time, page[-1].id
        return count

    async def _told(self, row: OutboxRow) -> bool:
        happening = Happening(row.kind, row.account, row.subject, row.time, await self._data(row), row.id)
        results = await asyncio.gather(*self._kit.tell(happening), return_exceptions=True)
        for error in results:
            if isinstance(error, BaseException):
                log.error("%s is told again later: %s", row.kind, error, extra={"subject": row.subject}, exc_info=error)
        return not any(isinstance(error, BaseException) for error in results)

    async def _data(self, row: OutboxRow) -> RecordingView | ActiveflowRow | Mapping[str, Any]:
        """The recording's view, from its row, or the run's row; of anything else, what the entry says."""
        if row.kind == "activeflow_ended":
            return await self._database.activeflows.get(row.subject) or row.data
        found = None if row.data else await self._database.recordings.get(row.subject)
        return recording_view(found) if found is not None else row.data
