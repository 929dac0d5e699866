"""Vonage applications that were added by a command or over the API; those of the settings have no row."""

from __future__ import annotations

import builtins
import time
from typing import TYPE_CHECKING

from sqlalchemy import select

from tapeline.store import tables
from tapeline.store.paging import Ledger
from tapeline.store.rows import Application
from tapeline.store.statements import insert_for, values

if TYPE_CHECKING:
    from tapeline.store.database import Database

__all__ = ["Applications"]


class Applications(Ledger[Application]):
    def __init__(self, database: Database) -> None:
        super().__init__(database, tables.applications, Application)

    async def put(self, row: Application) -> None:
        """Insert or replace. The time of creation and the account stay."""
        insert = insert_for(self._database.dialect, tables.applications).values(values(row))
        changes = {name: insert.excluded[name] for name in values(row) if name not in ("id", "account", "created")}
        async with self._database.writing() as connection:
            await connection.execute(insert.on_conflict_do_update(index_elements=[tables.applications.c.id], set_=changes))

    async def all(self) -> builtins.list[Application]:
        """Those in force, of every account, oldest first."""
        table = tables.applications
        return await self._all(select(table).where(table.c.deleted.is_(None)).order_by(table.c.created, table.c.id))

    async def delete(self, application_id: str, at: float | None = None) -> Application | None:
        """Mark as deleted. None where there is no such application."""
        return await self._tombstone(application_id, time.time() if at is None else at)
