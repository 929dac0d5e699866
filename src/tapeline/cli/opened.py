"""Rows and objects, opened for one command: no server is needed, and one that runs is not disturbed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tapeline.core.errors import NotFound
from tapeline.core.settings import Settings

if TYPE_CHECKING:
    from tapeline.store import Database

__all__ = ["database", "sqlite_file"]


def sqlite_file(settings: Settings) -> Path | None:
    """The file of an SQLite database; None where the database is a server."""
    scheme, _, rest = settings.server.database_url.partition(":///")
    return Path(rest) if scheme.startswith("sqlite") else None


@asynccontextmanager
async def database(settings: Settings, *, create: bool = False) -> AsyncIterator[Database]:
    """The open database. Raises NotFound where there is none yet, unless `create`."""
    from tapeline.store import Database  # here: SQLAlchemy takes a while to load, and most commands do without

    file = sqlite_file(settings)
    if file is not None:
        if not create and not file.is_file():
            raise NotFound(
                f"there is no tapeline database at {file}",
                hint="name the server's data folder with --data or the setting server.data, or its settings file with --config",
            )
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    opened = Database(settings.server.database_url)
    await opened.open()
    try:
        yield opened
    finally:
        await opened.close()
