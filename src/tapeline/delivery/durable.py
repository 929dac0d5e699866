"""DBOS: what makes finishing survive anything. One workflow for each recording, whose id is the recording's.

DBOS writes down each step's result before the next begins; after a crash it runs the workflow again and skips what is done. A pause
between two tries is such a step too: its end is written down, so it goes on across restarts, for days where need be.

Why there is no DBOS queue. The spool is on this node's disk, and its complete folders are the queue already, more durable than a row
about them; a queue in a shared database would offer them to nodes that do not have the file. And a workflow waiting for its next try
would hold one of the queue's few places: two recordings that cannot be delivered would stop all others. So the `worker` starts a
workflow when there is room, and `slots` bounds what is *worked on*, while any number may sleep, each a small coroutine.

DBOS's SQLite file runs with synchronous=NORMAL: a power cut may take its last moments, after which some steps are done again, which each
of them allows. The fact itself, the row, is committed with FULL before the spool is released.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import sqlalchemy
from dbos import DBOS, DBOSConfig, SetWorkflowID
from sqlalchemy import event

from tapeline.core.clock import utc
from tapeline.delivery.finish import STAGES, Finisher, pause_after

__all__ = ["Jobs"]

log = logging.getLogger(__name__)

# The order of the steps is part of what DBOS has written down. Change this with STAGES: what an older version left unfinished is then
# begun anew from its spool folder (see `Jobs.offer`) instead of being continued wrongly.
VERSION = "finish-1"
THREADS = 12
ORPHANED_S = 15.0  # a workflow that is said to run, but not by us, for so long after start-up, is nobody's
KEEP_S = 86400.0  # how long DBOS keeps what is done


class Jobs:
    """The workflows of this process. `open`, then `offer` recordings; all on the event loop that `open` was called on."""

    def __init__(self, url: str, node: str, slots: int) -> None:
        self._url = sqlalchemy.make_url(url)
        self._node = node
        self._slots = asyncio.Semaphore(slots)
        self._finisher: Finisher | None = None
        self._working: set[str] = set()  # recordings whose workflow runs or sleeps in this process
        self._busy = 0  # steps at work now
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._closing = asyncio.Event()
        self._seen: dict[str, float] = {}  # since when DBOS says of a recording that it runs, though not here
        self._resting: dict[str, Callable[[], None]] = {}
        self._engine: sqlalchemy.Engine | None = None
        self._workflow = DBOS.workflow(name="finish", max_recovery_attempts=None)(self._make_workflow())

    @property
    def working(self) -> frozenset[str]:
        return frozenset(self._working)

    async def open(self, finisher: Finisher) -> None:
        """Open DBOS's database, make it where there is none, and go on with what a former process left. Waits for it for ever."""
        self._finisher = finisher
        pause = 0.5
        while True:
            try:
                await asyncio.to_thread(self._probe)
                self._launch()
                return
            except Exception as error:  # noqa: BLE001 - whatever keeps DBOS from starting: keep trying, the spool is safe
                log.warning("the jobs' database does not open, trying again: %s", error)
                await asyncio.to_thread(self._destroy)
                await asyncio.sleep(pause)
                pause = min(pause * 2, 10.0)

    async def offer(self, recording_id: str, on_rest: Callable[[], None]) -> None:
        """Start the workflow of a complete recording, unless it is under way. `on_rest` is called, once, when it is over or sleeps.

        Raises what DBOS raises where its database fails.
        """
        if recording_id in self._working or self._closing.is_set():
            on_rest()
            return
        self._resting[recording_id] = on_rest
        try:
            with SetWorkflowID(recording_id):
                await DBOS.start_workflow_async(self._workflow, recording_id)
            await asyncio.sleep(0)  # the new task's first lines put it into `working`
            if recording_id not in self._working:
                await self._revive(recording_id)
        finally:
            if recording_id not in self._working:
                self._rest(recording_id)

    async def close(self, timeout: float) -> bool:
        """Let the steps at work end, at most `timeout` seconds, begin no others. Whether all did."""
        self._closing.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._quiet.wait()
        return self._quiet.is_set()

    async def forget_old(self) -> None:
        """Delete what DBOS keeps of workflows done long ago. Attempts and results are in our own tables."""
        before = utc(time.time() - KEEP_S).isoformat()
        while True:
            old = await DBOS.list_workflows_async(
                status="SUCCESS", name="finish", completed_before=before, limit=500, load_input=False, load_output=False
            )
            if not old:
                return
            await DBOS.delete_workflows_async([found.workflow_id for found in old])

    def _make_workflow(self) -> Any:
        async def finish(recording_id: str) -> str:
            self._working.add(recording_id)
            try:
                return await self._finish(recording_id)
            finally:
                self._working.discard(recording_id)
                self._seen.pop(recording_id, None)
                self._rest(recording_id)

        return finish

    async def _finish(self, recording_id: str) -> str:
        for stage in STAGES:
            failures = 0
            while (outcome := await self._step(stage, recording_id)) == "again":
                failures += 1
                self._rest(recording_id)
                await DBOS.sleep_async(pause_after(failures))
            if outcome == "gone":
                return "gone"
        return "finished"

    async def _step(self, stage: str, recording_id: str) -> str:
        async def run() -> str:
            async with self._slots:
                await self._unless_closing()
                self._busy += 1
                self._quiet.clear()
                try:
                    assert self._finisher is not None
                    return await self._finisher.run(stage, recording_id)
                finally:
                    self._busy -= 1
                    if not self._busy:
                        self._quiet.set()

        return await DBOS.run_step_async({"name": stage}, run)

    async def _unless_closing(self) -> None:
        if self._closing.is_set():
            await asyncio.Event().wait()  # begin nothing more; the process ends and the step begins in the next one

    def _rest(self, recording_id: str) -> None:
        on_rest = self._resting.pop(recording_id, None)
        if on_rest is not None:
            on_rest()

    async def _revive(self, recording_id: str) -> None:
        """DBOS knows this recording's workflow and does not run it. Where its folder is still in the spool, find out why."""
        assert self._finisher is not None
        if not await self._finisher.holds(recording_id):
            return  # it was finished between the look into the spool and now
        status = await DBOS.get_workflow_status_async(recording_id)
        if status is not None and status.status in {"PENDING", "ENQUEUED", "DELAYED"}:
            # After a restart DBOS takes up what this process's forerunner left within a second or two. Another version of us, or a
            # node under another name, left what it does not take up.
            since = self._seen.setdefault(recording_id, time.monotonic())
            if time.monotonic() - since < ORPHANED_S:
                return
        self._seen.pop(recording_id, None)
        log.warning("finishing begins anew", extra={"recording": recording_id, "was": status.status if status else ""})
        await DBOS.delete_workflow_async(recording_id)

    def _probe(self) -> None:
        """Raises where the database cannot be written now: DBOS itself would wait inside `launch` and hold up the event loop."""
        if self._url.get_backend_name() == "sqlite" and self._url.database:
            connection = sqlite3.connect(self._url.database, timeout=5.0, isolation_level=None)
            try:
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("ROLLBACK")
            finally:
                connection.close()

    def _launch(self) -> None:
        sqlite = self._url.get_backend_name() == "sqlite"
        # A name for each node where the database is shared: recovery must not hand one node's recordings to another.
        name = "tapeline" if sqlite else f"tapeline-{hashlib.sha256(self._node.encode()).hexdigest()[:16]}"
        config: DBOSConfig = {
            "name": name,
            "system_database_url": self._url.render_as_string(hide_password=False),
            "application_version": f"{name}-{VERSION}",  # must be the application's own in a shared database
            "executor_id": "local" if sqlite else name,
            "log_level": "ERROR",
            "enable_otlp": False,
            "max_executor_threads": THREADS,
            "scheduler_polling_interval_sec": 86400.0,  # no schedules here
        }
        if sqlite:
            self._engine = config["system_database_engine"] = _sqlite_engine(self._url)
        DBOS(config=config)
        DBOS.launch()

    def _destroy(self) -> None:
        DBOS.destroy()
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None


def _sqlite_engine(url: sqlalchemy.URL) -> sqlalchemy.Engine:
    """As DBOS makes it itself, with a write-ahead log besides: one sync for many commits instead of two for each."""
    engine = sqlalchemy.create_engine(url, pool_size=THREADS, max_overflow=4, pool_timeout=60)

    @event.listens_for(engine, "connect")
    def connected(connection: Any, record: Any) -> None:
        connection.isolation_level = "IMMEDIATE"
        for pragma in ("busy_timeout=5000", "journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    return engine
