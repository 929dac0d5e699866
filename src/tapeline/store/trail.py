"""The audit's write-behind: deeds of the API, written a moment later, so that no request waits for the disk.

At most `MOST` deeds wait. Beyond that, while the database is away, a deed is not refused and not lost in silence: it goes to the log
whole, is counted, and the chain gets a row `lost` that says how many it does not have. The same happens to what still waits when the
process ends with the database away.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from contextlib import suppress
from dataclasses import asdict

from tapeline.store.audit import Deed
from tapeline.store.database import Database
from tapeline.store.errors import DatabaseUnavailable

__all__ = ["Trail"]

log = logging.getLogger(__name__)

MOST = 20_000
BATCH = 500
GATHER_S = 0.05
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0


class Trail:
    """Give it deeds with `note`; `start` before, `close` after. Belongs to one event loop."""

    def __init__(self, database: Database, most: int = MOST) -> None:
        self._database = database
        self._most = most
        self._deeds: deque[Deed] = deque()
        self._missing = 0  # not in the chain, and the chain does not say so yet
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._task: asyncio.Task[None] | None = None
        self.lost = 0  # since the start

    @property
    def pending(self) -> int:
        """How many deeds are not in the database yet."""
        return len(self._deeds)

    def note(self, deed: Deed) -> None:
        """Write it soon. Never waits and never fails."""
        if len(self._deeds) >= self._most:
            self._lose(deed)
        else:
            self._deeds.append(deed)
        self._idle.clear()
        self._wake.set()

    def start(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="store.trail")

    async def close(self, timeout: float = 5.0) -> bool:
        """Write what waits, then stop. Whether all was written; what was not is in the log."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._idle.wait()
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        done = not self._deeds
        while self._deeds:
            self._lose(self._deeds.popleft())
        return done

    def _lose(self, deed: Deed) -> None:
        self.lost += 1
        self._missing += 1
        log.error("a deed is missing in the audit", extra={"deed": asdict(deed)})

    async def _run(self) -> None:
        pause = FIRST_PAUSE_S
        while True:
            await self._wake.wait()
            await asyncio.sleep(GATHER_S)
            self._wake.clear()
            while self._deeds or self._missing:
                try:
                    await self._write()
                    pause = FIRST_PAUSE_S
                except DatabaseUnavailable as error:
                    log.warning("the audit waits for the database: %s", error, extra={"pending": self.pending})
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, LONGEST_PAUSE_S)
                except Exception as error:  # the database refuses it for good (it should not happen): the log has it then
                    log.error("the database refuses rows of the audit: %s", type(error).__name__, exc_info=error)
                    for _ in range(min(BATCH, len(self._deeds))):
                        self._lose(self._deeds.popleft())
                    await asyncio.sleep(pause)
            self._idle.set()

    async def _write(self) -> None:
        batch = [self._deeds[n] for n in range(min(BATCH, len(self._deeds)))]
        missing = self._missing
        notes = [Deed(time.time(), "", "tapeline", "lost", detail={"count": missing})] if missing else []
        await self._database.audit.add(*batch, *notes)
        self._missing -= missing
        for _ in batch:
            self._deeds.popleft()
