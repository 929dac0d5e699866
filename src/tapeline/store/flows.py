"""Flow documents that were given through an API, as they were given."""

from __future__ import annotations

import builtins
import time
from collections.abc import Collection
from typing import TYPE_CHECKING

from sqlalchemy import select

from tapeline.store import tables
from tapeline.store.paging import Ledger
from tapeline.store.rows import FlowRow
from tapeline.store.statements import insert_for, values

if TYPE_CHECKING:
    from tapeline.store.database import Database

__all__ = ["Flows"]


class Flows(Ledger[FlowRow]):
    def __init__(self, database: Database) -> None:
        super().__init__(database, tables.flows, FlowRow)

    async def put(self, row: FlowRow) -> None:
        """Insert or replace. The time of creation stays."""
        insert = insert_for(self._database.dialect, tables.flows).values(values(row))
        changes = {name: insert.excluded[name] for name in ("name", "document", "dialect", "updated", "deleted")}
        async with self._database.writing() as connection:
            await connection.execute(insert.on_conflict_do_update(index_elements=[tables.flows.c.id], set_=changes))

    async def list(
        self, account: str | None = None, before: float | None = None, limit: int = 100, *, dialect: str = ""
    ) -> builtins.list[FlowRow]:
        """A page, newest first. `account` None: all of them; `dialect` "": of all platforms."""
        return await self._page(account=account, before=before, limit=limit, where={"dialect": dialect} if dialect else {})

    async def changed(self, dialect: str, since: float) -> builtins.list[tuple[str, float, float | None]]:
        """Id, time of change and of deletion of all of a dialect that changed at or after `since`. Rows that never say when they
        changed are not among them."""
        table = tables.flows
        query = select(table.c.id, table.c.updated, table.c.deleted).where(table.c.dialect == dialect, table.c.updated >= since)
        async with self._database.reading() as connection:
            return [(found[0], found[1], found[2]) for found in (await connection.execute(query)).all()]

    async def several(self, ids: Collection[str]) -> builtins.list[FlowRow]:
        """Those of these ids."""
        return await self._all(select(tables.flows).where(tables.flows.c.id.in_(list(ids)))) if ids else []

    async def delete(self, flow_id: str, at: float | None = None) -> FlowRow | None:
        """Mark as deleted. None where there is no such flow."""
        return await self._tombstone(flow_id, time.time() if at is None else at)
