"""Rows of deliveries: what is to be sent to somebody, and how far that has come.

A row is the fact; the workflow that sends it may be lost and is begun again from the row. Every try is noted together with the change
it makes, in one transaction.
"""

from __future__ import annotations

import builtins
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from sqlalchemy import and_, delete, exists, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from tapeline.core.ids import new_id
from tapeline.store import tables
from tapeline.store.rows import AttemptRow, DeliveryRow
from tapeline.store.statements import build, insert_for, values

if TYPE_CHECKING:
    from tapeline.store.database import Database

__all__ = ["Deliveries", "receiver_of"]

_TABLE = tables.deliveries


def receiver_of(url: str) -> str:
    """Scheme, host and port, as written: deliveries with the same one go to one receiver."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}".lower()


class Deliveries:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, *rows: DeliveryRow) -> None:
        """Insert those that are not there yet."""
        async with self._database.writing() as connection:
            await self.write(connection, rows)

    async def write(self, connection: AsyncConnection, rows: Sequence[DeliveryRow]) -> None:
        """`add` within a transaction that the caller holds."""
        if rows:
            insert = insert_for(self._database.dialect, _TABLE).on_conflict_do_nothing(index_elements=[_TABLE.c.id])
            await connection.execute(insert, [values(replace(row, receiver=receiver_of(row.url))) for row in rows])

    async def get(self, delivery_id: str) -> DeliveryRow | None:
        async with self._database.reading() as connection:
            found = (await connection.execute(select(_TABLE).where(_TABLE.c.id == delivery_id))).mappings().first()
            return build(DeliveryRow, found) if found else None

    async def list(
        self,
        account: str | None = None,
        before: float | None = None,
        limit: int = 100,
        *,
        ref: str = "",
        state: str = "",
        kind: str = "",
        troubled: bool = False,
    ) -> builtins.list[DeliveryRow]:
        """A page, newest first; go on with `before` = the last row's `created`. `account` None: all of them; `troubled`: those whose last
        try failed. A page has a few more where the last ones share one `created`, which must not be parted."""
        query = select(_TABLE)
        for column, wanted in ((_TABLE.c.account, account), (_TABLE.c.ref, ref or None), (_TABLE.c.state, state or None)):
            if wanted is not None:
                query = query.where(column == wanted)
        if kind:
            query = query.where(_TABLE.c.kind == kind)
        if troubled:
            query = query.where(_TABLE.c.reason != "", _TABLE.c.state != "delivered")
        query = query.order_by(_TABLE.c.created.desc(), _TABLE.c.id.desc())
        page = query.limit(limit) if before is None else query.where(_TABLE.c.created < before).limit(limit)
        async with self._database.reading() as connection:
            found = list((await connection.execute(page)).mappings())
            if found and len(found) == limit:
                last = found[-1]
                ties = query.where(_TABLE.c.created == last["created"], _TABLE.c.id < last["id"]).limit(1000)
                found += list((await connection.execute(ties)).mappings())
        return [build(DeliveryRow, row) for row in found]

    async def due(
        self,
        node: str,
        now: float,
        *,
        files: bool,
        limit: int = 100,
        after: DeliveryRow | None = None,
        without: Collection[str] = (),
        busy: Collection[str] = (),
    ) -> builtins.list[DeliveryRow]:
        """The next ones that `node` may try at `now`, oldest first: files, or messages. Of each lane only its oldest that still waits.

        `after` goes on behind the last one of a page. `without` names those that are being tried, `busy` receivers that have enough to do.
        """
        before = _TABLE.alias("before")
        behind = exists().where(
            before.c.lane == _TABLE.c.lane,
            before.c.state == "waiting",
            or_(before.c.created < _TABLE.c.created, and_(before.c.created == _TABLE.c.created, before.c.id < _TABLE.c.id)),
        )
        query = select(_TABLE).where(
            _TABLE.c.node == node,
            _TABLE.c.state == "waiting",
            or_(_TABLE.c.due.is_(None), _TABLE.c.due <= now),
            _TABLE.c.object_key != "" if files else _TABLE.c.object_key == "",
            or_(_TABLE.c.lane == "", ~behind),
        )
        if after is not None:
            query = query.where(tuple_(_TABLE.c.created, _TABLE.c.id) > (after.created, after.id))
        if without:
            query = query.where(_TABLE.c.id.not_in(list(without)))
        if busy:
            query = query.where(_TABLE.c.receiver.not_in(list(busy)))
        query = query.order_by(_TABLE.c.created, _TABLE.c.id).limit(limit)
        async with self._database.reading() as connection:
            return [build(DeliveryRow, found) for found in (await connection.execute(query)).mappings()]

    async def note(
        self, row: DeliveryRow, *, at: float, state: str, status: int, reason: str, fault: str, due: float | None, target: str = ""
    ) -> None:
        """Write down one try of `row`'s round and what it led to. Nothing changes where a replay has begun another round meanwhile."""
        outcome = "ok" if state == "delivered" else "failed"
        attempt = AttemptRow(new_id(), row.kind, row.id, target or row.url, status, at, outcome, reason, fault)
        changes = {"state": state, "tries": row.tries + 1, "status": status, "reason": reason, "due": due}
        if state != "waiting":
            changes["done"] = at
        here = (_TABLE.c.id == row.id, _TABLE.c.round == row.round, _TABLE.c.state == "waiting")
        async with self._database.writing() as connection:
            await connection.execute(tables.attempts.insert().values(values(attempt)))
            await connection.execute(update(_TABLE).where(*here).values(**changes))

    async def replay(self, delivery_id: str, at: float) -> DeliveryRow | None:
        """Send it again, whatever became of it: a new round, tried from `at` on as long as the first. None where there is no such
        delivery."""
        patience = _TABLE.c.until - _TABLE.c.created
        changes = {"state": "waiting", "round": _TABLE.c.round + 1, "tries": 0, "until": at + patience, "due": None, "done": None}
        async with self._database.writing() as connection:
            await connection.execute(update(_TABLE).where(_TABLE.c.id == delivery_id).values(**changes))
        return await self.get(delivery_id)

    async def forget(self, before: float, limit: int = 1000) -> int:
        """Delete messages that were over at `before`, with their tries. Files stay. How many went; as many as `limit`: there are more."""
        over = (_TABLE.c.object_key == "", _TABLE.c.state != "waiting", _TABLE.c.created < before, _TABLE.c.done < before)
        async with self._database.reading() as connection:
            ids = [found[0] for found in (await connection.execute(select(_TABLE.c.id).where(*over).limit(limit))).all()]
        if not ids:
            return 0
        async with self._database.writing() as connection:
            await connection.execute(delete(tables.attempts).where(tables.attempts.c.ref.in_(ids)))
            await connection.execute(delete(_TABLE).where(_TABLE.c.id.in_(ids), _TABLE.c.state != "waiting"))
        return len(ids)
