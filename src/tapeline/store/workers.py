"""Which nodes have a worker at work, and whose deliveries are sent by another's.

    a worker's row of `workers`, written again and again -> the others see that it is there
    deliveries of a node without one -> `adopt`, in one UPDATE -> they are this node's from now on

A delivery belongs to one node at a time, and only that node's worker sends it. Times are those of the database's own clock, so that nodes
whose clocks differ agree on who is there.
"""

from __future__ import annotations

import builtins
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import ColumnElement, Double, delete, exists, literal_column, select, text, tuple_, update

from tapeline.store import tables
from tapeline.store.statements import insert_for

if TYPE_CHECKING:
    from tapeline.store.database import Database

__all__ = ["LOST_S", "Workers"]

LOST_S: Final = 60.0  # a worker that has not been seen for so long is not there
_TABLE = tables.workers
_SENT = tables.deliveries.c
_CLOCK: Final = {
    "sqlite": literal_column("(julianday('now') - 2440587.5) * 86400.0", Double),
    "postgresql": literal_column("CAST(extract(epoch FROM clock_timestamp()) AS double precision)", Double),
}
# From one node to the next along the index, however many deliveries each has.
_NODES: Final = text(
    "WITH RECURSIVE found(node) AS (SELECT min(node) FROM deliveries UNION ALL"
    " SELECT (SELECT min(node) FROM deliveries WHERE node > found.node) FROM found WHERE found.node IS NOT NULL)"
    " SELECT node FROM found WHERE node IS NOT NULL"
)


class Workers:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def beat(self, node: str) -> None:
        """`node`'s worker is at work now."""
        insert = insert_for(self._database.dialect, _TABLE).values(node=node, seen=self._clock)
        async with self._database.writing() as connection:
            await connection.execute(insert.on_conflict_do_update(index_elements=[_TABLE.c.node], set_={"seen": insert.excluded.seen}))

    async def leave(self, node: str) -> None:
        """`node`'s worker ends: who else is there may send what it leaves."""
        async with self._database.writing() as connection:
            await connection.execute(delete(_TABLE).where(_TABLE.c.node == node))

    async def deserted(self, node: str, *, missed: bool) -> builtins.list[str]:
        """Nodes other than `node` that have, or had, something to send, and no worker: those that never had one, or whose worker has
        ended; with `missed` also those whose worker has not been seen for long."""
        async with self._database.reading() as connection:
            nodes = [str(row[0]) for row in (await connection.execute(_NODES)).all() if row[0] != node]
            if not nodes:
                return []
            there = select(_TABLE.c.node)
            if missed:
                there = there.where(_TABLE.c.seen > self._clock - LOST_S)
            working = {str(row[0]) for row in (await connection.execute(there)).all()}
        return [each for each in nodes if each not in working]

    async def left_behind(
        self, node: str, *, files: bool, after: tuple[float, str] | None = None, limit: int = 100
    ) -> builtins.list[tuple[tuple[float, str], str]]:
        """A page of what waits at `node`, oldest first: the place of each, (created, id), and its object's key, '' for messages."""
        query = select(_SENT.created, _SENT.id, _SENT.object_key).where(
            _SENT.node == node, _SENT.state == "waiting", _SENT.object_key != "" if files else _SENT.object_key == ""
        )
        if after is not None:
            query = query.where(tuple_(_SENT.created, _SENT.id) > after)
        async with self._database.reading() as connection:
            found = (await connection.execute(query.order_by(_SENT.created, _SENT.id).limit(limit))).all()
        return [((float(row[0]), str(row[1])), str(row[2])) for row in found]

    async def adopt(self, ids: Collection[str], left_by: str, node: str) -> builtins.list[str]:
        """Make these deliveries `node`'s, where they still wait at `left_by` and that has no worker. Those that it got: of two that ask
        for the same one, one gets it."""
        there: ColumnElement[bool] = exists().where(_TABLE.c.node == left_by, _TABLE.c.seen > self._clock - LOST_S)
        change = update(tables.deliveries).where(_SENT.id.in_(list(ids)), _SENT.node == left_by, _SENT.state == "waiting", ~there)
        async with self._database.writing() as connection:
            return [str(row[0]) for row in (await connection.execute(change.values(node=node).returning(_SENT.id))).all()]

    @property
    def _clock(self) -> ColumnElement[Any]:
        return _CLOCK[self._database.dialect]
