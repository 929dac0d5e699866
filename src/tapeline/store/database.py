"""The database: opening it, bringing its schema up to date, and the two ways in: `reading` and `writing`.

SQLite and PostgreSQL look the same from outside. SQLite gets two sets of connections: readers, which never wait for the writer
(WAL), and one writer, whose transactions begin IMMEDIATE and are synced to disk before they return (synchronous=FULL): what is
committed here (an available recording, a deletion, a token) lets others throw something away. Writers batch; see `writer`.
Knows nothing of what the rows mean.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import URL, event, make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from tapeline.store.accounts import Accounts, Tokens
from tapeline.store.activeflows import Activeflows
from tapeline.store.agents import Agents
from tapeline.store.applications import Applications
from tapeline.store.attempts import Attempts
from tapeline.store.audit import Audit
from tapeline.store.calls import Calls
from tapeline.store.conferences import ConferenceCalls, Conferences
from tapeline.store.deliveries import Deliveries
from tapeline.store.documents import Documents
from tapeline.store.errors import DatabaseUnavailable
from tapeline.store.exports import Exports
from tapeline.store.flows import Flows
from tapeline.store.keeping import Keeping
from tapeline.store.migrate import migrate
from tapeline.store.outbox import Outbox
from tapeline.store.recordings import Recordings
from tapeline.store.removals import Removals
from tapeline.store.workers import Workers

__all__ = ["Database", "normal_url"]

BUSY_MS = 5000  # how long SQLite waits for another process's write before it says "database is locked"
READERS = 4


def normal_url(url: str) -> URL:
    """`sqlite:///path`, `postgresql://...` or `postgres://...` with its asynchronous driver named.

    Raises ValueError for other databases.
    """
    made = make_url(url)
    backend = {"postgres": "postgresql"}.get(made.get_backend_name(), made.get_backend_name())
    drivers = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+psycopg"}
    if backend not in drivers:
        raise ValueError(f"database {backend!r} is not supported: use sqlite:///FILE or postgresql://...")
    return made.set(drivername=drivers[backend])


def _tune_sqlite(engine: AsyncEngine, *, writer: bool) -> None:
    @event.listens_for(engine.sync_engine, "connect")
    def connected(connection: Any, record: Any) -> None:
        connection.isolation_level = None  # transactions are begun below, not by the driver
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout={BUSY_MS}")
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute(f"PRAGMA synchronous={'FULL' if writer else 'NORMAL'}")
        cursor.execute("PRAGMA foreign_keys=ON")
        if not writer:
            cursor.execute("PRAGMA query_only=ON")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def begun(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writer else "BEGIN")


class Database:
    """The tables as query objects, each under its table's name (`.calls`, `.recordings` ...).

    Every query may raise DatabaseUnavailable; nothing of it was done then.
    """

    def __init__(self, url: str) -> None:
        self.url = normal_url(url)
        self._writer: AsyncEngine | None = None
        self._reader: AsyncEngine | None = None
        self.accounts = Accounts(self)
        self.tokens = Tokens(self)
        self.applications = Applications(self)
        self.agents = Agents(self)
        self.calls = Calls(self)
        self.recordings = Recordings(self)
        self.keeping = Keeping(self)
        self.removals = Removals(self)
        self.exports = Exports(self)
        self.conferences = Conferences(self)
        self.conferencecalls = ConferenceCalls(self)
        self.attempts = Attempts(self)
        self.audit = Audit(self)
        self.flows = Flows(self)
        self.documents = Documents(self)
        self.deliveries = Deliveries(self)
        self.workers = Workers(self)
        self.outbox = Outbox(self)
        self.activeflows = Activeflows(self)

    @property
    def dialect(self) -> str:
        return self.url.get_backend_name()

    async def open(self) -> None:
        """Create the database where there is none, bring its schema up to date, and make sure of the `default` account."""
        await self.close()
        if self.dialect == "sqlite" and self.url.database:
            await asyncio.to_thread(Path(self.url.database).parent.mkdir, parents=True, exist_ok=True)
        try:
            await asyncio.to_thread(migrate, self.url)
        except (DBAPIError, sqlite3.Error, OSError) as error:
            raise DatabaseUnavailable(f"cannot open the database: {_words(error)}", hint="is it locked, full or unreachable?") from error
        if self.dialect == "sqlite":
            self._writer = create_async_engine(self.url, pool_size=1, max_overflow=0, pool_timeout=60)
            self._reader = create_async_engine(self.url, pool_size=READERS, max_overflow=0, pool_timeout=60)
            _tune_sqlite(self._writer, writer=True)
            _tune_sqlite(self._reader, writer=False)
        else:
            self._writer = self._reader = create_async_engine(self.url, pool_size=READERS + 1, pool_pre_ping=True)
        await self.accounts.ensure("default")

    async def close(self) -> None:
        engines = {id(engine): engine for engine in (self._writer, self._reader) if engine is not None}
        self._writer = self._reader = None
        for engine in engines.values():
            await engine.dispose()

    async def check(self) -> None:
        """Raises DatabaseUnavailable unless the database answers."""
        async with self.reading() as connection:
            await connection.exec_driver_sql("SELECT 1")

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection to read with. Raises DatabaseUnavailable."""
        async with self._transaction(self._reader) as connection:
            yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that is committed, and on disk, when the block ends well. Raises DatabaseUnavailable."""
        async with self._transaction(self._writer) as connection:
            yield connection

    @asynccontextmanager
    async def _transaction(self, engine: AsyncEngine | None) -> AsyncIterator[AsyncConnection]:
        if engine is None:
            raise DatabaseUnavailable("the database is not open")
        try:
            async with engine.begin() as connection:
                yield connection
        except (OperationalError, InterfaceError, InternalError, PoolTimeout, sqlite3.OperationalError, OSError) as error:
            if "locked" not in str(error):
                # The file may have been moved or replaced, or the server restarted: begin anew with fresh connections.
                with suppress(DBAPIError, sqlite3.Error, OSError):
                    await engine.dispose()
            raise DatabaseUnavailable(f"the database did not answer: {_words(error)}") from error


def _words(error: Exception) -> str:
    """The driver's own words, without the statement and its values (which may be personal data)."""
    return str(getattr(error, "orig", None) or error).splitlines()[0]
