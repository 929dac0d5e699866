"""DBOS: what makes finishing and delivering survive anything. One workflow for each recording, and one for each delivery.

DBOS writes down each step's result before the next begins; after a crash it runs the workflow again and skips what is done. A pause
between two tries is such a step too: its end is written down, so it goes on across restarts, for days where need be.

Why there is no DBOS queue. The spool is on this node's disk, and its complete folders are the queue already, more durable than a row
about them; a queue in a shared database would offer them to nodes that do not have the file. Deliveries have their own table, which
says what is still to be sent. And a workflow waiting for its next try would hold one of the queue's few places: two recordings that
cannot be delivered would stop all others. So the `worker` starts a workflow when there is room, and slots bound what is *worked on*,
while any number may sleep, each a small coroutine.

DBOS's SQLite file runs with synchronous=NORMAL: a power cut may take its last moments, after which some steps are done again, which each
of them allows. The fact itself, the row, is committed with FULL before the spool is released.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import sqlite3
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from typing import Any, Protocol

import sqlalchemy
from dbos import DBOS, DBOSConfig, SetWorkflowID
from sqlalchemy import event

from tapeline.core.clock import utc

__all__ = ["Jobs", "Kind", "Work"]

log = logging.getLogger(__name__)

# The order of the steps is part of what DBOS has written down. Change this with them: what an older version left unfinished is then
# begun anew from its spool folder, or its row (see `Kind.offer`), instead of being continued wrongly.
VERSION = "finish-1"
THREADS = 12
ORPHANED_S = 15.0  # a workflow that is said to run, but not by us, for so long after start-up, is nobody's
KEEP_S = 86400.0  # how long DBOS keeps what is done


class Work(Protocol):
    """What a kind of job does. `run` gets the thing's id and the kind, whose `step` and `pause` it uses, and returns what became of it."""

    async def run(self, key: str, kind: Kind) -> str: ...

    async def holds(self, key: str) -> bool:
        """Whether there is still something to do for `key`, whatever DBOS says."""
        ...


class Kind:
    """The workflows of one name. Made by `Jobs.kind` before `Jobs.open`; used on its event loop."""

    def __init__(self, jobs: Jobs, name: str, slots: int) -> None:
        self._jobs = jobs
        self._name = name
        self._slots = asyncio.Semaphore(slots)
        self._work: Work | None = None
        self._working: set[str] = set()  # whose workflow runs or sleeps in this process
        self._seen: dict[str, float] = {}  # since when DBOS says of one that it runs, though not here
        self._resting: dict[str, Callable[[], None]] = {}
        self._workflow = DBOS.workflow(name=name, max_recovery_attempts=None)(self._make_workflow())

    def does(self, work: Work) -> None:
        """Name what does the work. Before `Jobs.open`."""
        self._work = work

    @property
    def working(self) -> frozenset[str]:
        return frozenset(self._working)

    async def offer(self, key: str, on_rest: Callable[[], None]) -> None:
        """Start the workflow of `key`, unless it is under way. `on_rest` is called, once, when it is over or sleeps.

        Raises what DBOS raises where its database fails.
        """
        if key in self._working or self._jobs.closing:
            on_rest()
            return
        self._resting[key] = on_rest
        try:
            with SetWorkflowID(key):
                await DBOS.start_workflow_async(self._workflow, key)
            await asyncio.sleep(0)  # the new task's first lines put it into `working`
            if key not in self._working:
                await self._revive(key)
        finally:
            if key not in self._working:
                self._rest(key)

    async def step(
        self, key: str, name: str, act: Callable[[], Awaitable[Any]], turn: AbstractAsyncContextManager[None] | None = None
    ) -> Any:
        """Do `act` once, ever: its result is written down, and given back without doing it after a crash.

        `turn` is entered first: what waits there holds no slot.
        """

        async def run() -> Any:
            async with turn or nullcontext(), self._slots:
                return await self._jobs.busy(act)

        return await DBOS.run_step_async({"name": name}, run)

    async def pause(self, key: str, seconds: float) -> None:
        """Sleep, across restarts if need be, holding no slot."""
        self._rest(key)
        await DBOS.sleep_async(seconds)

    def _make_workflow(self) -> Any:
        async def workflow(key: str) -> str:
            self._working.add(key)
            try:
                assert self._work is not None
                return await self._work.run(key, self)
            finally:
                self._working.discard(key)
                self._seen.pop(key, None)
                self._rest(key)

        return workflow

    def _rest(self, key: str) -> None:
        on_rest = self._resting.pop(key, None)
        if on_rest is not None:
            on_rest()

    async def _revive(self, key: str) -> None:
        """DBOS knows this workflow and does not run it. Where there is still work, find out why."""
        assert self._work is not None
        if not await self._work.holds(key):
            return  # it was done between the look and now
        status = await DBOS.get_workflow_status_async(key)
        if status is not None and status.status in {"PENDING", "ENQUEUED", "DELAYED"}:
            # After a restart DBOS takes up what this process's forerunner left within a second or two. Another version of us, or a
            # node under another name, left what it does not take up.
            since = self._seen.setdefault(key, time.monotonic())
            if time.monotonic() - since < ORPHANED_S:
                return
        self._seen.pop(key, None)
        log.warning("%s begins anew", self._name, extra={"key": key, "was": status.status if status else ""})
        await DBOS.delete_workflow_async(key)


class Jobs:
    """All workflows of this process. Make the kinds, `open`, then offer; all on the event loop that `open` was called on."""

    def __init__(self, url: str, node: str) -> None:
        self._url = sqlalchemy.make_url(url)
        self._node = node
        self._kinds: list[str] = []
        self._busy = 0  # steps at work now
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._closing = asyncio.Event()
        self._engine: sqlalchemy.Engine | None = None

    def kind(self, name: str, slots: int) -> Kind:
        """A kind of job of which `slots` are worked on at once."""
        self._kinds.append(name)
        return Kind(self, name, slots)

    @property
    def closing(self) -> bool:
        return self._closing.is_set()

    async def open(self) -> None:
        """Open DBOS's database, make it where there is none, and go on with what a former process left. Waits for it for ever."""
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
        for name in self._kinds:
            while True:
                old = await DBOS.list_workflows_async(
                    status="SUCCESS", name=name, completed_before=before, limit=500, load_input=False, load_output=False
                )
                if not old:
                    break
                await DBOS.delete_workflows_async([found.workflow_id for found in old])

    async def busy(self, act: Callable[[], Awaitable[Any]]) -> Any:
        """Run a step's work, unless this process is ending: then never, and the next process does it."""
        if self._closing.is_set():
            await asyncio.Event().wait()
        self._busy += 1
        self._quiet.clear()
        try:
            return await act()
        finally:
            self._busy -= 1
            if not self._busy:
                self._quiet.set()

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
