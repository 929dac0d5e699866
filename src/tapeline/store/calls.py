"""Rows of calls. `upsert` only ever moves a call forward; a deleted one stays as a tombstone."""

from __future__ import annotations

import builtins
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from tapeline.store import tables
from tapeline.store.paging import Ledger
from tapeline.store.rows import CallFilter, CallRow
from tapeline.store.statements import build, forward, outcome, values

if TYPE_CHECKING:
    from tapeline.store.database import Database

__all__ = ["Calls"]


class Calls(Ledger[CallRow]):
    def __init__(self, database: Database) -> None:
        super().__init__(database, tables.calls, CallRow)

    async def upsert(self, *rows: CallRow) -> None:
        """Insert or move forward. `rows` name different calls."""
        async with self._database.writing() as connection:
            await self.write(connection, rows)

    async def write(self, connection: AsyncConnection, rows: Sequence[CallRow]) -> None:
        """`upsert` within a transaction that the caller holds."""
        await connection.execute(forward(self._database.dialect, tables.calls, "status"), [values(row) for row in rows])

    async def list(self, account: str | None = None, before: float | None = None, limit: int = 100) -> builtins.list[CallRow]:
        """A page, newest first; go on with `before` = the last row's `created`. `account` None: all of them."""
        return await self._page(account=account, before=before, limit=limit)

    async def of_application(self, application_id: str, wanted: CallFilter) -> tuple[int, builtins.list[CallRow]]:
        """How many calls of an application fit, and a page of them."""
        table = tables.calls
        query = select(table).where(table.c.application_id == application_id, table.c.deleted.is_(None))
        if wanted.outcome:
            query = query.where(outcome(table) == wanted.outcome)
        if wanted.since is not None:
            query = query.where(table.c.created >= wanted.since)
        if wanted.until is not None:
            query = query.where(table.c.created <= wanted.until)
        if wanted.activeflow_id:
            query = query.where(table.c.activeflow_id == wanted.activeflow_id)
        order = (table.c.created, table.c.id) if wanted.ascending else (table.c.created.desc(), table.c.id.desc())
        async with self._database.reading() as connection:
            total = (await connection.execute(select(func.count()).select_from(query.subquery()))).scalar_one()
            found = await connection.execute(query.order_by(*order).offset(wanted.offset).limit(wanted.limit))
            return int(total), [build(CallRow, row) for row in found.mappings()]

    async def delete(self, call_id: str, at: float | None = None) -> CallRow | None:
        """Mark as deleted; the row stays readable by `get`. None where there is no such call."""
        return await self._tombstone(call_id, time.time() if at is None else at)

    async def unfinished(self, node: str) -> builtins.list[CallRow]:
        """Calls of `node` that no row says are over: what a crash left behind, when asked at start-up."""
        query = select(tables.calls).where(tables.calls.c.node == node, tables.calls.c.status != "hangup")
        return await self._all(query)
