"""Rows of conferences and of the stays of calls in them. Upserts only ever move a row forward; a deleted one stays as a tombstone."""

from __future__ import annotations

import builtins
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from tapeline.store import tables
from tapeline.store.paging import Ledger
from tapeline.store.rows import ConferenceCallRow, ConferenceRow
from tapeline.store.statements import forward, values

if TYPE_CHECKING:
    from tapeline.store.database import Database

__all__ = ["ConferenceCalls", "Conferences"]


class Conferences(Ledger[ConferenceRow]):
    def __init__(self, database: Database) -> None:
        super().__init__(database, tables.conferences, ConferenceRow)

    async def upsert(self, *rows: ConferenceRow) -> None:
        """Insert or move forward. `rows` name different conferences."""
        async with self._database.writing() as connection:
            await self.write(connection, rows)

    async def write(self, connection: AsyncConnection, rows: Sequence[ConferenceRow]) -> None:
        """`upsert` within a transaction that the caller holds."""
        await connection.execute(forward(self._database.dialect, tables.conferences, "status"), [values(row) for row in rows])

    async def list(self, account: str | None = None, before: float | None = None, limit: int = 100) -> builtins.list[ConferenceRow]:
        """A page, newest first; go on with `before` = the last row's `created`. `account` None: all of them."""
        return await self._page(account=account, before=before, limit=limit)

    async def delete(self, conference_id: str, at: float | None = None) -> ConferenceRow | None:
        """Mark as deleted; the row stays readable by `get`. None where there is no such conference."""
        return await self._tombstone(conference_id, time.time() if at is None else at)

    async def unfinished(self, node: str) -> builtins.list[ConferenceRow]:
        """Conferences of `node` that have not ended: those to go on with at a start."""
        query = select(tables.conferences).where(tables.conferences.c.node == node, tables.conferences.c.status != "terminated")
        return await self._all(query)


class ConferenceCalls(Ledger[ConferenceCallRow]):
    def __init__(self, database: Database) -> None:
        super().__init__(database, tables.conferencecalls, ConferenceCallRow)

    async def write(self, connection: AsyncConnection, rows: Sequence[ConferenceCallRow]) -> None:
        """Insert or move forward, within a transaction that the caller holds. `rows` name different stays."""
        await connection.execute(forward(self._database.dialect, tables.conferencecalls, "status"), [values(row) for row in rows])

    async def list(self, account: str | None = None, before: float | None = None, limit: int = 100) -> builtins.list[ConferenceCallRow]:
        """A page, newest first; go on with `before` = the last row's `created`. `account` None: all of them."""
        return await self._page(account=account, before=before, limit=limit)

    async def unfinished(self, node: str) -> builtins.list[ConferenceCallRow]:
        """Stays at `node` that no row says are over: what a crash left behind, when asked at start-up."""
        query = select(tables.conferencecalls).where(tables.conferencecalls.c.node == node, tables.conferencecalls.c.status != "leaved")
        return await self._all(query)
