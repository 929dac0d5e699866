"""Bring a database's schema up to date with Alembic, from the migrations that ship inside the package.

Blocking; runs in a thread, on a connection of its own. Several processes may do this at once: SQLite's write lock, or an advisory
lock in PostgreSQL, lets one pass at a time, and the later ones find nothing to do.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, create_engine, event, text

__all__ = ["migrate", "revision"]

PATIENCE_S = 30.0
_LOCK = 0x7461_7065  # PostgreSQL advisory lock: "tape"


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", "tapeline.store:migrations")
    config.set_main_option("path_separator", "os")
    return config


def revision() -> str:
    """The newest schema revision that this version of the package knows."""
    return ScriptDirectory.from_config(_config()).get_current_head() or ""


def _upgrade(connection: Connection) -> None:
    if MigrationContext.configure(connection).get_current_revision() == revision():
        return
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _use_wal(connection: Any) -> None:
    """Turn on the write-ahead log. A file that is in another mode needs a moment without anybody else, which
    busy_timeout does not wait for."""
    ends = time.monotonic() + PATIENCE_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > ends:
                raise
            time.sleep(0.02)


def migrate(url: URL) -> None:
    """Upgrade the database at `url` to the newest revision; creates a SQLite file where there is none."""
    logging.getLogger("alembic").setLevel(logging.WARNING)
    sqlite = url.get_backend_name() == "sqlite"
    engine = create_engine(url.set(drivername="sqlite" if sqlite else "postgresql+psycopg"))
    if sqlite:

        @event.listens_for(engine, "connect")
        def connected(connection: Any, record: Any) -> None:
            connection.isolation_level = None
            connection.execute("PRAGMA busy_timeout=30000")
            _use_wal(connection)

        @event.listens_for(engine, "begin")
        def begun(connection: Connection) -> None:
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    try:
        with engine.begin() as connection:
            if not sqlite:
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            _upgrade(connection)
    finally:
        engine.dispose()
