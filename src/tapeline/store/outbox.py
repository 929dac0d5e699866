"""The outbox: what is still to be told of rows that have changed, each written in the transaction of that change.

    row and entry, together -> `waiting` -> whoever listens, until all have done what they must -> `done`

An entry's id is made of its kind and its subject: what is written twice is one entry. Told twice it may be all the same, since a crash may
come between the telling and `done`.
"""

from __future__ import annotations

import builtins
import uuid
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import delete, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from tapeline.store import tables
from tapeline.store.rows import OutboxRow
from tapeline.store.statements import build, insert_for, values

if TYPE_CHECKING:
    from tapeline.store.database import Database

__all__ = ["Outbox", "entry"]

_TABLE = tables.outbox
_IDS: Final = uuid.UUID("5f0e4cf0-2f9a-4a6f-8d0c-6a7f3f6f1f52")


def entry(kind: str, subject: str, account: str, time: float, node: str = "", data: Mapping[str, Any] | None = None) -> OutboxRow:
    """What tells that `kind` happened to `subject`, once. `node` is who tells it; `data` what no row says."""
    return OutboxRow(str(uuid.uuid5(_IDS, f"{kind}/{subject}")), kind, account, subject, time, node, data or {})


class Outbox:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def write(self, connection: AsyncConnection, rows: Sequence[OutboxRow]) -> None:
        """Add entries within the transaction in which what they tell of is written."""
        if rows:
            insert = insert_for(self._database.dialect, _TABLE).on_conflict_do_nothing(index_elements=[_TABLE.c.id])
            await connection.execute(insert, [values(row) for row in rows])

    async def waiting(self, node: str, after: tuple[float, str] = (0.0, ""), limit: int = 100) -> builtins.list[OutboxRow]:
        """A page of what `node` has to tell, oldest first; go on with `after` = the last one's (time, id)."""
        place = tuple_(_TABLE.c.time, _TABLE.c.id)
        query = select(_TABLE).where(_TABLE.c.node == node, place > after).order_by(_TABLE.c.time, _TABLE.c.id).limit(limit)
        async with self._database.reading() as connection:
            return [build(OutboxRow, row) for row in (await connection.execute(query)).mappings()]

    async def done(self, ids: Collection[str]) -> None:
        """All have been told of these."""
        async with self._database.writing() as connection:
            await connection.execute(delete(_TABLE).where(_TABLE.c.id.in_(list(ids))))

    async def count(self) -> int:
        async with self._database.reading() as connection:
            return int((await connection.execute(select(func.count()).select_from(_TABLE))).scalar_one())
