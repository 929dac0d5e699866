"""Documents of an account that are asked for by kind and name: settings of the account, of its users and devices, storage plans.

A document's id is made of account, kind and name, so there is one of each at most, and writing it twice writes one row.
"""

from __future__ import annotations

import builtins
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, update

from tapeline.store import tables
from tapeline.store.paging import Ledger
from tapeline.store.rows import DocumentRow
from tapeline.store.statements import build, insert_for, values

if TYPE_CHECKING:
    from tapeline.store.database import Database

__all__ = ["Documents", "document_id"]

_SPACE = uuid.UUID("5f0b6c1e-6f0d-5d5e-9a53-2f1c6f6b7a10")
_TABLE = tables.documents
_TICK = 1e-5  # seconds; whoever looks for changes knows them by their time, so no two are of one moment


def document_id(account: str, kind: str, name: str) -> str:
    return str(uuid.uuid5(_SPACE, f"{account}\n{kind}\n{name}"))


class Documents(Ledger[DocumentRow]):
    """KAZOO's kinds are `account` (its name is the account's id), `user` and `device` (the name is the id in their paths)."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, _TABLE, DocumentRow)

    async def find(self, account: str, kind: str, name: str) -> DocumentRow | None:
        """None where there is none, or it was deleted."""
        row = await self.get(document_id(account, kind, name))
        return row if row is not None and row.deleted is None else None

    async def change(
        self, account: str, kind: str, name: str, how: Callable[[Mapping[str, Any]], Mapping[str, Any]], at: float | None = None
    ) -> DocumentRow:
        """Write what `how` makes of the body that is there ({} where there is none), in one transaction: no change of another is lost.
        What `how` raises comes out, and nothing is written."""
        at = time.time() if at is None else at
        row_id = document_id(account, kind, name)
        none = DocumentRow(row_id, account, kind, name, {}, at, at, deleted=at)
        async with self._database.writing() as connection:
            # First a row that can be locked, so that two who begin the same document wait for each other.
            insert = insert_for(self._database.dialect, _TABLE).values(values(none))
            await connection.execute(insert.on_conflict_do_nothing(index_elements=[_TABLE.c.id]))
            query = select(_TABLE).where(_TABLE.c.id == row_id).with_for_update()
            old = build(DocumentRow, (await connection.execute(query)).mappings().one())
            alive = old.deleted is None
            stamp = max(at, old.updated + _TICK) if alive else at
            row = replace(none, body=how(old.body if alive else {}), created=old.created if alive else at, updated=stamp, deleted=None)
            changes = {"body": dict(row.body), "created": row.created, "updated": row.updated, "deleted": None}
            await connection.execute(update(_TABLE).where(_TABLE.c.id == row_id).values(**changes))
        return row

    async def put(self, account: str, kind: str, name: str, body: Mapping[str, Any], at: float | None = None) -> DocumentRow:
        """Insert or replace."""
        return await self.change(account, kind, name, lambda old: body, at)

    async def list(self, account: str, kind: str, limit: int = 1000, before: float | None = None) -> builtins.list[DocumentRow]:
        """Those of one kind, newest first; a page goes on before the last one's `created`."""
        return await self._page(account=account, before=before, limit=limit, where={"kind": kind})

    async def changed(self, since: float) -> builtins.list[DocumentRow]:
        """All that changed at or after `since`, deleted ones too."""
        return await self._all(select(_TABLE).where(_TABLE.c.updated >= since))

    async def delete(self, account: str, kind: str, name: str, at: float | None = None) -> DocumentRow | None:
        """Mark as deleted. None where there is no such document."""
        return await self._tombstone(document_id(account, kind, name), time.time() if at is None else at)
