"""Rows of runs of flows. Upserts only ever move a run forward; a deleted one stays as a tombstone.

Rows of live runs are written behind by `calls.activeflows`, which also tells their events; pages of them are for whoever lists them.
"""

from __future__ import annotations

import builtins
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from tapeline.core.ids import ZERO_ID
from tapeline.store import tables
from tapeline.store.outbox import entry
from tapeline.store.paging import Ledger
from tapeline.store.rows import ActiveflowRow
from tapeline.store.statements import forward, insert_for, values

if TYPE_CHECKING:
    from tapeline.store.database import Database

__all__ = ["Activeflows"]


class Activeflows(Ledger[ActiveflowRow]):
    def __init__(self, database: Database) -> None:
        super().__init__(database, tables.activeflows, ActiveflowRow)

    async def begin(self, row: ActiveflowRow) -> bool:
        """Insert a run that is about to begin. False: there is one of this id already, which shall not begin twice."""
        insert = insert_for(self._database.dialect, tables.activeflows).values(values(row))
        async with self._database.writing() as connection:
            new = insert.on_conflict_do_nothing(index_elements=[tables.activeflows.c.id]).returning(tables.activeflows.c.id)
            return (await connection.execute(new)).first() is not None  # how many rows went in, PostgreSQL's driver does not say

    async def upsert(self, *rows: ActiveflowRow) -> None:
        """Insert or move forward. `rows` name different runs."""
        async with self._database.writing() as connection:
            await self.write(connection, rows)

    async def write(self, connection: AsyncConnection, rows: Sequence[ActiveflowRow]) -> None:
        """`upsert` within a transaction that the caller holds."""
        await connection.execute(forward(self._database.dialect, tables.activeflows, "status"), [values(row) for row in rows])

    async def tell(self, connection: AsyncConnection, rows: Sequence[ActiveflowRow]) -> int:
        """Put into the outbox, within the caller's transaction, which of `rows` have ended and are followed by another flow. How many."""
        ended = [row for row in rows if row.status == "ended" and row.on_complete_flow_id not in ("", ZERO_ID)]
        told = [entry("activeflow_ended", row.id, row.account, row.ended or row.created, row.node) for row in ended]
        await self._database.outbox.write(connection, told)
        return len(told)

    async def list(self, account: str | None = None, before: float | None = None, limit: int = 100) -> builtins.list[ActiveflowRow]:
        """A page, newest first; go on with `before` = the last row's `created`. `account` None: all of them."""
        return await self._page(account=account, before=before, limit=limit)

    async def delete(self, activeflow_id: str, at: float | None = None) -> ActiveflowRow | None:
        """Mark as deleted; the row stays readable by `get`. None where there is no such run."""
        return await self._tombstone(activeflow_id, time.time() if at is None else at)

    async def unfinished(self, node: str) -> builtins.list[ActiveflowRow]:
        """Runs of `node` that no row says are over: what a crash left behind, when asked at start-up."""
        query = select(tables.activeflows).where(tables.activeflows.c.node == node, tables.activeflows.c.status != "ended")
        return await self._all(query)
