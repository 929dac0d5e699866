"""Rows of recordings. `upsert` only ever moves a recording forward; `available` and `failed` are final; a deleted one stays as a
tombstone."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import exists, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from tapeline.store import tables
from tapeline.store.outbox import entry
from tapeline.store.paging import Ledger
from tapeline.store.rows import DeliveryRow, RecordingRow
from tapeline.store.search import LOOK_UP, Found, Search, conditions, find, pointed, pointer
from tapeline.store.statements import build, forward, values

if TYPE_CHECKING:
    from tapeline.store.database import Database

__all__ = ["Recordings", "Search"]


class Recordings(Ledger[RecordingRow]):
    def __init__(self, database: Database) -> None:
        super().__init__(database, tables.recordings, RecordingRow)

    async def upsert(self, *rows: RecordingRow) -> None:
        """Insert or move forward. `rows` name different recordings."""
        async with self._database.writing() as connection:
            await self.write(connection, rows)

    async def publish(self, row: RecordingRow, deliveries: Sequence[DeliveryRow]) -> None:
        """`upsert` one that is available or failed, and in the same transaction what is to be sent of it, and what is to be told: none is
        ever there without the others."""
        async with self._database.writing() as connection:
            await self.write(connection, [row])
            await self._database.deliveries.write(connection, deliveries)
            await self.tell(connection, [row])

    async def tell(self, connection: AsyncConnection, rows: Sequence[RecordingRow]) -> None:
        """Put into the outbox, within the caller's transaction, which of `rows` are final."""
        kinds = {"available": "recording_finished", "failed": "recording_failed"}
        told = [entry(kinds[row.state], row.id, row.account, row.updated or row.created, row.node) for row in rows if row.state in kinds]
        await self._database.outbox.write(connection, told)

    async def write(self, connection: AsyncConnection, rows: Sequence[RecordingRow]) -> None:
        """`upsert` within a transaction that the caller holds."""
        found = [values(row) | {"media_id": str(row.custom.get("media_id", ""))} for row in rows]
        await connection.execute(forward(self._database.dialect, tables.recordings, "state"), found)

    async def list(
        self,
        account: str | None = None,
        before: float | None = None,
        limit: int = 100,
        *,
        states: Collection[str] | None = None,
        call_id: str = "",
    ) -> builtins.list[RecordingRow]:
        """A page, newest first, without peaks; go on with `before` = the last row's `created`. `account` None: all of them."""
        where: dict[str, str | Collection[str]] = {}
        if states is not None:
            where["state"] = states
        if call_id:
            where["call_id"] = call_id
        return await self._page(account=account, before=before, limit=limit, where=where, without=("peaks",))

    async def search(self, wanted: Search) -> builtins.list[RecordingRow]:
        """A page of what `wanted` asks for, in its order, without peaks."""
        table = tables.recordings
        if name := pointer(wanted):
            near = pointed(wanted, name).limit(LOOK_UP).subquery()
            order = (near.c.created, near.c.id) if wanted.ascending else (near.c.created.desc(), near.c.id.desc())
            return await self._all(select(near).where(*conditions(wanted, near.c)).order_by(*order).limit(wanted.limit))
        query = select(*(column for column in table.c if column.name != "peaks")).where(table.c.deleted.is_(None), *conditions(wanted))
        place = tuple_(table.c.created, table.c.id)
        if wanted.after is not None:
            query = query.where(place > wanted.after if wanted.ascending else place < wanted.after)
        order = (table.c.created, table.c.id) if wanted.ascending else (table.c.created.desc(), table.c.id.desc())
        return await self._all(query.order_by(*order).limit(wanted.limit))

    async def page(self, wanted: Search) -> Found:
        """A page of what `wanted` asks for, newest first, within bounded time; see `search`."""
        async with self._database.reading() as connection:
            return await find(connection, wanted, self._database.dialect)

    async def find(self, **equal: str) -> RecordingRow | None:
        """The newest that is not deleted and whose columns have these values."""
        found = await self.search(Search(equal={name: (value,) for name, value in equal.items()}, limit=1))
        return found[0] if found else None

    async def named_before(self, row: RecordingRow, media_id: str) -> bool:
        """Whether an older recording of the same account, not deleted and not failed, has the id that `row`'s flow gave it."""
        column = tables.recordings.c
        older = tuple_(column.created + 0.0, column.id) < (row.created, row.id)  # a sum: SQLite shall not walk along the account
        there = exists().where(
            column.account == row.account, column.media_id == media_id, column.deleted.is_(None), column.state != "failed", older
        )
        async with self._database.reading() as connection:
            return bool((await connection.execute(select(there))).scalar_one())

    async def owners(self, ids: Collection[str]) -> dict[str, str]:
        """The account of each of these that is there and not deleted."""
        table = tables.recordings
        query = select(table.c.id, table.c.account).where(table.c.id.in_(list(ids)), table.c.deleted.is_(None))
        async with self._database.reading() as connection:
            return {found[0]: found[1] for found in (await connection.execute(query)).all()}

    async def annotate(self, recording_id: str, how: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> RecordingRow | None:
        """Replace what a recording's row says besides by what `how` makes of it, in one transaction. The recording itself does not
        change by it. None where there is no such recording."""
        table = tables.recordings
        async with self._database.writing() as connection:
            found = (await connection.execute(select(table).where(table.c.id == recording_id).with_for_update())).mappings().first()
            if found is None or found["deleted"] is not None:
                return None
            row = build(RecordingRow, found)
            row = replace(row, custom=how(row.custom))
            await connection.execute(update(table).where(table.c.id == recording_id).values(custom=dict(row.custom)))
        return row

    async def unfinished(self, node: str) -> builtins.list[RecordingRow]:
        """Recordings of `node` that are neither available nor failed."""
        query = select(tables.recordings).where(
            tables.recordings.c.node == node, tables.recordings.c.state.in_(["starting", "recording", "stopping"])
        )
        return await self._all(query)
