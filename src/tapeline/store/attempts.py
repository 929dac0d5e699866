"""Rows of attempts: every try at something outside that failed (and, for deliveries, the one that did not)."""

from __future__ import annotations

import builtins
import time as clock
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from tapeline.core.ids import new_id
from tapeline.store import tables
from tapeline.store.rows import AttemptRow
from tapeline.store.statements import build, insert_for, values

if TYPE_CHECKING:
    from tapeline.store.database import Database

__all__ = ["Attempts"]


class Attempts:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(
        self,
        kind: str,
        ref: str,
        target: str,
        *,
        outcome: str,
        reason: str = "",
        fault: str = "",
        status: int = 0,
        time: float | None = None,
    ) -> AttemptRow:
        """Note one try. `outcome` is "ok" or "failed"; `fault` "destination", "network" or "us"; `status` an HTTP status or 0."""
        row = AttemptRow(new_id(), kind, ref, target, status, clock.time() if time is None else time, outcome, reason, fault)
        async with self._database.writing() as connection:
            await connection.execute(tables.attempts.insert().values(values(row)))
        return row

    async def write(self, connection: AsyncConnection, rows: Sequence[AttemptRow]) -> None:
        """Note several within a transaction that the caller holds; each once."""
        if rows:
            insert = insert_for(self._database.dialect, tables.attempts).on_conflict_do_nothing(index_elements=[tables.attempts.c.id])
            await connection.execute(insert, [values(row) for row in rows])

    async def list(self, ref: str, last: int | None = None) -> builtins.list[AttemptRow]:
        """The tries for `ref`, oldest first: all, or the `last` of them."""
        query = select(tables.attempts).where(tables.attempts.c.ref == ref).order_by(tables.attempts.c.time.desc()).limit(last)
        async with self._database.reading() as connection:
            return [build(AttemptRow, row) for row in (await connection.execute(query)).mappings()][::-1]
