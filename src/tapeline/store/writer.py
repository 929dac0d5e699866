"""Write-behind: rows of live calls, recordings, conferences, runs of flows, and messages about them, written when the database has time.

`put` never waits and never fails. Of each thing only the newest row is kept, so that what waits is bounded by the number of things
that changed, however long the database is away; messages, each of which is a thing by itself, are dropped aloud above `MOST_MESSAGES`.
Rows go out in batches, one transaction for all of them: a burst of 200 calls costs a few syncs of the disk, not 200. While the database
is locked or gone the same batch is tried again for ever, with growing pauses. A row the database refuses for good (it should not happen)
is dropped aloud, alone, and does not hold up the rest.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from sqlalchemy.exc import SQLAlchemyError

from tapeline.store.database import Database
from tapeline.store.errors import DatabaseUnavailable
from tapeline.store.rows import ActiveflowRow, AttemptRow, CallRow, ConferenceCallRow, ConferenceRow, DeliveryRow, RecordingRow

__all__ = ["WriteBehind"]

log = logging.getLogger(__name__)

GATHER_S = 0.05  # rows that come within this time of each other share a transaction
BATCH = 200  # rows in one transaction: a few milliseconds in which no other process can write
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0

MOST_MESSAGES = 20_000  # that wait for the database; each is as big as a view of what it tells
Row = CallRow | RecordingRow | ConferenceRow | ConferenceCallRow | ActiveflowRow | DeliveryRow | AttemptRow
Key = tuple[type, str]


class WriteBehind:
    """Give it rows with `put`; `start` before, `close` after. Belongs to one event loop."""

    def __init__(
        self, database: Database, on_messages: Callable[[], None] = lambda: None, on_entries: Callable[[], None] = lambda: None
    ) -> None:
        """`on_messages` is called whenever there are new deliveries in the database, `on_entries` when something is in the outbox."""
        self._database = database
        self._on_messages = on_messages
        self._on_entries = on_entries
        self._rows: dict[Key, Row] = {}
        self._in_flight = 0
        self._messages = 0  # among `_rows`
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._task: asyncio.Task[None] | None = None
        self.healthy = True
        self.error = ""  # why the last batch did not go out; "" when it did
        self.dropped = 0

    @property
    def pending(self) -> int:
        """How many rows are not in the database yet."""
        return len(self._rows) + self._in_flight

    def start(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="store.writer")

    def put(self, row: Row) -> None:
        """Write `row` soon, instead of an older one of the same thing that still waits."""
        if isinstance(row, DeliveryRow | AttemptRow):
            if self._messages >= MOST_MESSAGES:
                self.dropped += 1
                log.error("a message is lost: too many wait for the database", extra={"ref": row.ref})
                return
            self._messages += (type(row), row.id) not in self._rows
        self._rows[type(row), row.id] = row
        self._idle.clear()
        self._wake.set()

    async def drain(self, timeout: float) -> bool:
        """Wait until all is written, at most `timeout` seconds. Whether it is."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._idle.wait()
        return self._idle.is_set()

    async def close(self, timeout: float = 5.0) -> bool:
        """Drain, then stop. Whether all was written."""
        done = await self.drain(timeout) if self._task else not self._rows
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        return done

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            await asyncio.sleep(GATHER_S)
            self._wake.clear()
            batch, self._rows, self._messages = self._rows, {}, 0
            self._in_flight = len(batch)
            await self._write(list(batch.values()))
            self._in_flight = 0
            if not self._rows:
                self._idle.set()

    async def _write(self, rows: list[Row]) -> None:
        pause = FIRST_PAUSE_S
        for start in range(0, len(rows), BATCH):
            chunk = rows[start : start + BATCH]
            while True:
                try:
                    await self._write_chunk(chunk)
                except DatabaseUnavailable as error:
                    if self.healthy:
                        log.warning("rows wait for the database: %s", error, extra={"pending": self.pending})
                    self.healthy, self.error = False, str(error)
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, LONGEST_PAUSE_S)
                    # What came meanwhile replaces what waited: no use in writing a state that is over.
                    chunk = [self._rows.pop((type(row), row.id), row) for row in chunk]
                    continue
                if not self.healthy:
                    log.warning("the database answers again", extra={"pending": self.pending})
                self.healthy, self.error, pause = True, "", FIRST_PAUSE_S
                self._in_flight -= len(chunk)
                break

    async def _write_chunk(self, chunk: list[Row]) -> None:
        try:
            await self._send(chunk)
        except SQLAlchemyError as error:
            if len(chunk) == 1:
                self.dropped += 1
                log.error("the database refuses a row: %s", type(error).__name__, extra={"row": chunk[0].id}, exc_info=error)
                return
            for row in chunk:  # find the one it refuses
                await self._write_chunk([row])

    async def _send(self, chunk: list[Row]) -> None:
        database = self._database
        entries = 0
        async with database.writing() as connection:
            if calls := [row for row in chunk if isinstance(row, CallRow)]:
                await database.calls.write(connection, calls)
            if recordings := [row for row in chunk if isinstance(row, RecordingRow)]:
                await database.recordings.write(connection, recordings)
                failed = [row for row in recordings if row.state == "failed"]
                await database.recordings.tell(connection, failed)
                entries += len(failed)
            if conferences := [row for row in chunk if isinstance(row, ConferenceRow)]:
                await database.conferences.write(connection, conferences)
            if stays := [row for row in chunk if isinstance(row, ConferenceCallRow)]:
                await database.conferencecalls.write(connection, stays)
            if runs := [row for row in chunk if isinstance(row, ActiveflowRow)]:
                await database.activeflows.write(connection, runs)
                entries += await database.activeflows.tell(connection, runs)
            messages = [row for row in chunk if isinstance(row, DeliveryRow)]
            await database.deliveries.write(connection, messages)
            await database.attempts.write(connection, [row for row in chunk if isinstance(row, AttemptRow)])
        if messages:
            self._on_messages()
        if entries:
            self._on_entries()
