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

from sqlalchemy import ColumnElement, Select, delete, func, literal_column, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

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
_FREE = (_TABLE.c.deleted.is_(None), _TABLE.c.held.is_(None))


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


def _oldest(column: ColumnElement[Any], here: Sequence[ColumnElement[bool]]) -> Select[Any]:
    """Each value of `column` among the rows `here`, with when the oldest of them was made. It leaps along an index from value to value:
    what it costs grows with their number, not with that of the rows."""
    values = select(func.min(column).label("value")).where(*here).cte("found", recursive=True)
    following = select(func.min(column)).where(*here, column > values.c.value).scalar_subquery()
    values = values.union_all(select(following).where(values.c.value.is_not(None)))
    oldest = select(func.min(_TABLE.c.created)).where(*here, column == values.c.value).scalar_subquery()
    return select(values.c.value, oldest).where(values.c.value.is_not(None))


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

        for same, days in await self._kept(now, default_days):
            # None ends before it was made: so the index gives them, oldest first.
            over = (*same, _TABLE.c.created < now - days * DAY_S, func.coalesce(_TABLE.c.ended, _TABLE.c.created) < now - days * DAY_S)
            candidates = select(_TABLE.c.id).where(*_FREE, _TABLE.c.state.in_(FINAL), *over).order_by(_TABLE.c.created).limit(limit)
            async with self._database.reading() as connection:
                ids = list((await connection.execute(candidates)).scalars())
            if ids and (removed := await self._remove(ids, now, over, node, deed)):
                return removed
        return []

    async def _kept(self, now: float, default: float) -> builtins.list[tuple[tuple[ColumnElement[bool], ...], float]]:
        """The recordings that are kept equally long, by the conditions that make them so, and for how many days: those of which the
        oldest may be over."""
        days, owner = _TABLE.c.retention_days, _TABLE.c.account
        own, others = (*_FREE, days > literal_column("0")), (*_FREE, days.is_(None))  # the indexes' conditions, word for word
        known = select(tables.accounts.c.id, tables.accounts.c.retention_days)
        async with self._database.reading() as connection:
            of_days = (await connection.execute(_oldest(days, own))).all()
            of_accounts = (await connection.execute(_oldest(owner, others))).all()
            of_account = {row[0]: row[1] for row in (await connection.execute(known)).all()}
        found = [((*own, days == each), float(each), oldest) for each, oldest in of_days]
        for account, oldest in of_accounts:
            said = of_account.get(account)  # what belongs to nobody known is kept as long as the settings say
            found.append(((*others, owner == account), default if said is None else said, oldest))
        return [(same, kept) for same, kept, oldest in found if kept > 0 and oldest < now - kept * DAY_S]

    async def _remove(
        self,
        ids: Collection[str],
        at: float,
        where: Sequence[ColumnElement[bool]],
        node: str,
        deed: Callable[[Any], Deed] | None,
    ) -> builtins.list[Removed]:
        change = update(_TABLE).where(_TABLE.c.id.in_(list(ids)), *_FREE, _TABLE.c.state.in_(FINAL), *where)
        change = change.values(deleted=at, updated=at, peaks=[])
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
