"""What the tables of calls and recordings do alike: one row, a page newest first, a tombstone."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from sqlalchemy import Select, Table, func, select, update

from tapeline.store.statements import build, newest

if TYPE_CHECKING:
    from tapeline.store.database import Database

__all__ = ["Ledger"]

R = TypeVar("R")


class Ledger(Generic[R]):
    """A table whose rows have `id`, `account`, `created`, `updated` and `deleted`, and come back as the dataclass `kind`."""

    def __init__(self, database: Database, table: Table, kind: type[R]) -> None:
        self._database = database
        self._table = table
        self._kind = kind

    async def get(self, row_id: str) -> R | None:
        """The row of that id, tombstones included (`deleted` is set)."""
        found = await self._all(select(self._table).where(self._table.c.id == row_id))
        return found[0] if found else None

    async def count(self) -> int:
        """How many rows are not deleted."""
        async with self._database.reading() as connection:
            query = select(func.count()).select_from(self._table).where(self._table.c.deleted.is_(None))
            return int((await connection.execute(query)).scalar_one())

    async def _all(self, query: Select[Any]) -> list[R]:
        async with self._database.reading() as connection:
            return [build(self._kind, row) for row in (await connection.execute(query)).mappings()]

    async def _page(
        self,
        *,
        account: str | None,
        before: float | None,
        limit: int,
        where: Mapping[str, str | Collection[str]] | None = None,
        without: Collection[str] = (),
    ) -> list[R]:
        """At most `limit` rows, and a few more where the last ones share one `created`: the next page begins before that time, so
        rows of one moment must not be parted."""
        query = newest(self._table, account=account, before=before, limit=limit, where=where, without=without)
        async with self._database.reading() as connection:
            found = list((await connection.execute(query)).mappings())
            if found and len(found) == limit:
                last = found[-1]
                ties = newest(self._table, account=account, before=None, limit=1000, where=where, without=without).where(
                    self._table.c.created == last["created"], self._table.c.id < last["id"]
                )
                found += list((await connection.execute(ties)).mappings())
        return [build(self._kind, row) for row in found]

    async def _tombstone(self, row_id: str, at: float) -> R | None:
        table = self._table
        async with self._database.writing() as connection:
            await connection.execute(update(table).where(table.c.id == row_id, table.c.deleted.is_(None)).values(deleted=at, updated=at))
            found = (await connection.execute(select(table).where(table.c.id == row_id))).mappings().first()
            return build(self._kind, found) if found else None
