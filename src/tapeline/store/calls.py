"""Rows of calls. `upsert` only ever moves a call forward; a deleted one stays as a tombstone."""

from __future__ import annotations

import builtins
import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from tapeline.store import tables
from tapeline.store.paging import Ledger
from tapeline.store.rows import CallFilter, CallRow
from tapeline.store.statements import build, forward, outcome, values

if TYPE_CHECKING:
    from tapeline.store.database import Database

__all__ = ["Calls"]

_TABLE = tables.calls
SETTLED_S = 86400.0
REMEMBERED, REMEMBERED_S = 200, 60.0  # totals


@dataclass(frozen=True, slots=True)
class _Total:
    """`number` calls from before `settled` fit; to be counted again at `until`, of the monotonic clock."""

    until: float
    settled: float
    number: int


def _conditions(application_id: str, wanted: CallFilter) -> builtins.list[ColumnElement[bool]]:
    found: builtins.list[ColumnElement[bool]] = [_TABLE.c.application_id == application_id, _TABLE.c.deleted.is_(None)]
    if wanted.outcome:
        found.append(outcome(_TABLE) == wanted.outcome)
    if wanted.since is not None:
        found.append(_TABLE.c.created >= wanted.since)
    if wanted.until is not None:
        found.append(_TABLE.c.created <= wanted.until)
    if wanted.activeflow_id:
        found.append(_TABLE.c.activeflow_id == wanted.activeflow_id)
    return found


class Calls(Ledger[CallRow]):
    def __init__(self, database: Database) -> None:
        super().__init__(database, tables.calls, CallRow)
        self._totals: dict[Hashable, _Total] = {}

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
        """How many calls of an application fit, and a page of them, which is sought from the nearer end."""
        fits = _conditions(application_id, wanted)
        async with self._database.reading() as connection:
            total = await self._total(connection, application_id, wanted)
            size = max(0, min(wanted.limit, total - wanted.offset))
            near = wanted.offset <= total // 2
            skipped = wanted.offset if near else total - wanted.offset - size
            place = (_TABLE.c.created, _TABLE.c.id)
            order = place if wanted.ascending == near else [column.desc() for column in place]
            page = select(_TABLE.c.id).where(*fits).order_by(*order).offset(max(0, skipped)).limit(size)
            ids = builtins.list((await connection.execute(page)).scalars()) if size else []
            whole = await connection.execute(select(_TABLE).where(_TABLE.c.id.in_(ids)))
            rows = {row["id"]: build(CallRow, row) for row in whole.mappings()}
        return total, [rows[each] for each in (ids if near else reversed(ids))]

    async def _total(self, connection: AsyncConnection, application_id: str, wanted: CallFilter) -> int:
        """How many fit. Of what is older than a day the number is remembered for a minute: calls of then are over, and do not change."""
        key = (application_id, wanted.outcome, wanted.activeflow_id, wanted.since, wanted.until)
        now = time.monotonic()
        known = self._totals.get(key)
        if known is None or known.until < now:
            settled = time.time() - SETTLED_S
            number = await self._count(connection, application_id, wanted, _TABLE.c.created <= settled)
            if len(self._totals) >= REMEMBERED:
                self._totals.clear()
            known = self._totals[key] = _Total(now + REMEMBERED_S, settled, number)
        if wanted.until is not None and wanted.until <= known.settled:
            return known.number
        return known.number + await self._count(connection, application_id, wanted, _TABLE.c.created > known.settled)

    async def _count(self, connection: AsyncConnection, application_id: str, wanted: CallFilter, when: ColumnElement[bool]) -> int:
        query = select(func.count()).select_from(_TABLE).where(*_conditions(application_id, wanted), when)
        return int((await connection.execute(query)).scalar_one())

    async def delete(self, call_id: str, at: float | None = None) -> CallRow | None:
        """Mark as deleted; the row stays readable by `get`. None where there is no such call."""
        self._totals.clear()
        return await self._tombstone(call_id, time.time() if at is None else at)

    async def unfinished(self, node: str) -> builtins.list[CallRow]:
        """Calls of `node` that no row says are over: what a crash left behind, when asked at start-up."""
        query = select(tables.calls).where(tables.calls.c.node == node, tables.calls.c.status != "hangup")
        return await self._all(query)
