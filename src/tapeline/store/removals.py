"""Deleting recordings: by hand, and because their time is over. The row first, then the object.

    UPDATE recordings SET deleted WHERE not held ... RETURNING    one transaction: tombstones, removals to do, what is to be told, audit
    the object is deleted                                         by whoever deleted the row, or after a crash by any worker
    the removal is struck off

That nothing is deleted that is held stands in the statement that deletes, so a hold that came before it counts, however late it came;
and an object is touched only after its row says that it is gone. Which rows are over is computed from their times when it is asked: an
account whose days change needs no row changed.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from tapeline.core.ids import ZERO_ID
from tapeline.store import tables
from tapeline.store.audit import Deed
from tapeline.store.outbox import entry
from tapeline.store.statements import build, insert_for

if TYPE_CHECKING:
    from tapeline.store.database import Database

__all__ = ["Removal", "Removals", "Removed"]

_TABLE = tables.recordings
DAY_S = 86400.0
OTHERS_S = 15.0  # how long a removal is left to whoever deleted the row, before any worker does it
FINAL = ("available", "failed")


@dataclass(frozen=True, slots=True)
class Removed:
    """A row that is a tombstone now. `key` is the object still to be removed, "" where there is none."""

    id: str
    account: str
    key: str


@dataclass(frozen=True, slots=True)
class Removal:
    """An object whose row says that it is gone."""

    key: str
    recording: str
    account: str
    created: float
    due: float
    tries: int
    reason: str


def _over(days: ColumnElement[float] | float, now: float) -> ColumnElement[bool]:
    return func.coalesce(_TABLE.c.ended, _TABLE.c.created) < now - days * DAY_S


class Removals:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def remove(self, recording_ids: Collection[str], at: float, *, node: str = "") -> builtins.list[Removed]:
        """Make tombstones of those that are final, not held and not deleted yet; the others stay as they are. `node` is who tells of it
        (that of the recording, where none is named)."""
        return await self._remove(recording_ids, at, (), node, None)

    async def sweep(self, now: float, default_days: float, limit: int, node: str = "") -> builtins.list[Removed]:
        """One page of what is over, oldest first, made tombstones; empty where nothing is left. Each leaves a row in the audit."""

        def deed(found: Any) -> Deed:
            return Deed(now, found.account, "retention", "deleted", found.id)

        own = (_TABLE.c.retention_days > 0, _over(_TABLE.c.retention_days, now))
        if removed := await self._page(own, _TABLE.c.retention_days, now, limit, node, deed):
            return removed
        for account, days in (await self._days(default_days)).items():
            if days <= 0:
                continue
            over = (
                _TABLE.c.account == account,
                _TABLE.c.retention_days.is_(None),
                _TABLE.c.created < now - days * DAY_S,  # none ends before it was made: so the index gives them, oldest first
                _over(days, now),
            )
            if removed := await self._page(over, _TABLE.c.created, now, limit, node, deed):
                return removed
        return []

    async def _page(
        self, over: Sequence[ColumnElement[bool]], order: Any, now: float, limit: int, node: str, deed: Callable[[Any], Deed]
    ) -> builtins.list[Removed]:
        candidates = select(_TABLE.c.id).where(_TABLE.c.deleted.is_(None), _TABLE.c.held.is_(None), _TABLE.c.state.in_(FINAL), *over)
        async with self._database.reading() as connection:
            ids = list((await connection.execute(candidates.order_by(order).limit(limit))).scalars())
        return await self._remove(ids, now, over, node, deed) if ids else []

    async def _remove(
        self,
        ids: Collection[str],
        at: float,
        where: Sequence[ColumnElement[bool]],
        node: str,
        deed: Callable[[Any], Deed] | None,
    ) -> builtins.list[Removed]:
        allowed = (_TABLE.c.deleted.is_(None), _TABLE.c.held.is_(None), _TABLE.c.state.in_(FINAL))
        change = update(_TABLE).where(_TABLE.c.id.in_(list(ids)), *allowed, *where).values(deleted=at, updated=at, peaks=[])
        change = change.returning(_TABLE.c.id, _TABLE.c.account, _TABLE.c.node, _TABLE.c.object_key)
        async with self._database.writing() as connection:
            rows = (await connection.execute(change)).all()
            if rows:
                await self._follow(connection, rows, at, node, deed)
        return [Removed(row.id, row.account, row.object_key) for row in rows]

    async def _follow(
        self, connection: AsyncConnection, rows: Sequence[Any], at: float, node: str, deed: Callable[[Any], Deed] | None
    ) -> None:
        """What else the transaction does: objects to remove, what to tell, the audit, the index of tags."""
        keys = [
            asdict(Removal(row.object_key, row.id, row.account, created=at, due=at + OTHERS_S, tries=0, reason=""))
            for row in rows
            if row.object_key
        ]
        if keys:
            insert = insert_for(self._database.dialect, tables.removals)
            await connection.execute(insert.on_conflict_do_nothing(index_elements=[tables.removals.c.key]), keys)
        told = [entry("recording_deleted", row.id, row.account, at, node or row.node) for row in rows]
        await self._database.outbox.write(connection, told)
        if deed is not None:
            await self._database.audit.write(connection, [deed(row) for row in rows])
        tags = tables.recording_tags
        await connection.execute(delete(tags).where(tags.c.recording.in_([row.id for row in rows])))

    async def _days(self, default: float) -> dict[str, float]:
        """How many days each account keeps its recordings. What belongs to nobody known is kept as long as the settings say."""
        async with self._database.reading() as connection:
            found = await connection.execute(select(tables.accounts.c.id, tables.accounts.c.retention_days))
            return {ZERO_ID: default} | {row[0]: default if row[1] is None else row[1] for row in found.all()}

    async def due(self, now: float, limit: int) -> builtins.list[Removal]:
        """Objects that whoever deleted their rows has left behind."""
        table = tables.removals
        query = select(table).where(table.c.due <= now).order_by(table.c.due).limit(limit)
        async with self._database.reading() as connection:
            return [build(Removal, row) for row in (await connection.execute(query)).mappings()]

    async def done(self, keys: Collection[str]) -> None:
        """These objects are gone."""
        async with self._database.writing() as connection:
            await connection.execute(delete(tables.removals).where(tables.removals.c.key.in_(list(keys))))

    async def failed(self, removal: Removal, due: float, reason: str) -> None:
        """It is still there; try again at `due`."""
        table = tables.removals
        async with self._database.writing() as connection:
            change = update(table).where(table.c.key == removal.key)
            await connection.execute(change.values(due=due, tries=table.c.tries + 1, reason=reason))

    async def count(self) -> int:
        """How many objects are still to be removed."""
        async with self._database.reading() as connection:
            return int((await connection.execute(select(func.count()).select_from(tables.removals))).scalar_one())
