"""Rows of exports: which recordings somebody wants in one file, and how far that file has come.

    progressing -> finished -> expired        progressing -> failed        any of them -> deleted

What is wanted is a list of ids, kept as rows of `export_items`, or a filter. Whoever writes the file holds a lease: the row names its
node and is touched every second or so; a row that was not touched for `LEASE_S` is anybody's. A finished file is told of in the
transaction that says so, once. Its link is signed with the row's own secret, so every node makes and checks the same.
"""

from __future__ import annotations

import builtins
import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, or_, select, update

from tapeline.core.ids import is_id
from tapeline.store import tables
from tapeline.store.outbox import entry
from tapeline.store.paging import Ledger
from tapeline.store.removals import Removal
from tapeline.store.rows import OutboxRow
from tapeline.store.statements import insert_for, values

if TYPE_CHECKING:
    from tapeline.store.database import Database

__all__ = ["MOST_ITEMS", "ExportRow", "Exports", "export_key", "new_secret", "signature"]

_TABLE = tables.exports
_ITEMS = tables.export_items
MOST_ITEMS = 100_000  # ids in one export; a filter may find more
CHUNK = 1000  # ids in one transaction
LEASE_S = 60.0


@dataclass(frozen=True, slots=True)
class ExportRow:
    id: str
    account: str
    status: str
    created: float
    updated: float = 0.0
    wanted: Mapping[str, Any] = field(default_factory=dict)  # the filter; empty where ids were given
    actor: str = ""
    node: str = ""  # who writes the file; "" nobody yet
    total: int = 0  # recordings asked for; 0 where that is not known yet
    done: int = 0
    missing: int = 0
    missed: tuple[Mapping[str, str], ...] = ()  # the first of them: id, reason
    size: int = 0  # bytes so far
    reason: str = ""
    secret: str = field(default="", repr=False)
    object_key: str = ""
    finished: float | None = None
    expires: float | None = None  # when the file goes
    deleted: float | None = None


def export_key(account: str, export_id: str) -> str:
    """Where an export's file is stored. Raises ValueError unless both ids are UUIDs."""
    if not is_id(account) or not is_id(export_id):
        raise ValueError("an object's key is made of ids only")
    return f"{account.lower()}/exports/{export_id.lower()}.zip"


def new_secret() -> str:
    return secrets.token_hex(16)


def signature(row: ExportRow, expires: int) -> str:
    """What makes a link to the file valid until `expires`, in seconds since 1970."""
    return hmac.new(row.secret.encode(), f"{row.id}.{expires}".encode(), hashlib.sha256).hexdigest()


class Exports(Ledger[ExportRow]):
    def __init__(self, database: Database) -> None:
        super().__init__(database, _TABLE, ExportRow)

    async def add(self, row: ExportRow, recordings: Sequence[str] = ()) -> None:
        """The ids first, in chunks, so that nobody waits long; the row last: with it the export is there."""
        for start in range(0, len(recordings), CHUNK):
            chunk = recordings[start : start + CHUNK]
            items = [{"export": row.id, "place": start + n, "recording": recording} for n, recording in enumerate(chunk)]
            async with self._database.writing() as connection:
                await connection.execute(_ITEMS.insert(), items)
        insert = insert_for(self._database.dialect, _TABLE)
        async with self._database.writing() as connection:
            await connection.execute(insert.values(values(row)).on_conflict_do_nothing(index_elements=[_TABLE.c.id]))

    async def list(self, account: str | None = None, before: float | None = None, limit: int = 100) -> builtins.list[ExportRow]:
        return await self._page(account=account, before=before, limit=limit)

    async def items(self, export_id: str, after: int, limit: int) -> builtins.list[str]:
        """Ids of recordings from the place `after` on."""
        query = select(_ITEMS.c.recording).where(_ITEMS.c.export == export_id, _ITEMS.c.place >= after)
        async with self._database.reading() as connection:
            return [str(found) for found in (await connection.execute(query.order_by(_ITEMS.c.place).limit(limit))).scalars()]

    async def open(self, node: str, now: float) -> builtins.list[str]:
        """Exports whose file `node` may write, oldest first."""
        query = select(_TABLE.c.id).where(_TABLE.c.status == "progressing", _TABLE.c.deleted.is_(None), _free(node, now))
        async with self._database.reading() as connection:
            return [str(found) for found in (await connection.execute(query.order_by(_TABLE.c.created).limit(100))).scalars()]

    async def claim(self, export_id: str, node: str, now: float) -> ExportRow | None:
        """Take the lease. None where it is another's, or there is nothing left to do."""
        here = (_TABLE.c.id == export_id, _TABLE.c.status == "progressing", _TABLE.c.deleted.is_(None), _free(node, now))
        async with self._database.writing() as connection:
            anew = {"node": node, "updated": now, "done": 0, "missing": 0, "missed": [], "size": 0}
            done = await connection.execute(update(_TABLE).where(*here).values(**anew))
        return await self.get(export_id) if done.rowcount else None

    async def note(self, export_id: str, node: str, now: float, **facts: Any) -> bool:
        """Write down how far it has come, and keep the lease. False where it is to stop: deleted, or another's."""
        here = (_TABLE.c.id == export_id, _TABLE.c.status == "progressing", _TABLE.c.deleted.is_(None), _TABLE.c.node == node)
        async with self._database.writing() as connection:
            return bool((await connection.execute(update(_TABLE).where(*here).values(updated=now, **facts))).rowcount)

    async def end(self, row: ExportRow, told: Mapping[str, Any]) -> bool:
        """Make it `finished` or `failed`, as `row` says, and put that into the outbox. False where it was not this node's to end."""
        here = (_TABLE.c.id == row.id, _TABLE.c.status == "progressing", _TABLE.c.deleted.is_(None), _TABLE.c.node == row.node)
        changes = {name: value for name, value in values(row).items() if name not in ("id", "account", "created", "deleted", "secret")}
        news: OutboxRow = entry("recording_export_finished", row.id, row.account, row.updated, row.node, told)
        async with self._database.writing() as connection:
            done = await connection.execute(update(_TABLE).where(*here).values(**changes))
            if done.rowcount:
                await self._database.outbox.write(connection, [news])
                await connection.execute(delete(_ITEMS).where(_ITEMS.c.export == row.id))
        return bool(done.rowcount)

    async def remove(self, export_id: str, at: float) -> ExportRow | None:
        """Delete it: whoever writes the file stops; a finished file is to be removed."""
        return await self._leave(export_id, at, {"deleted": at})

    async def expire(self, now: float) -> int:
        """End what has had its time: the files are to be removed. How many those were."""
        query = select(_TABLE.c.id).where(_TABLE.c.status == "finished", _TABLE.c.expires <= now, _TABLE.c.deleted.is_(None)).limit(100)
        async with self._database.reading() as connection:
            found = list((await connection.execute(query)).scalars())
        for export_id in found:
            await self._leave(export_id, now, {"status": "expired"})
        return len(found)

    async def _leave(self, export_id: str, at: float, changes: Mapping[str, Any]) -> ExportRow | None:
        insert = insert_for(self._database.dialect, tables.removals)
        async with self._database.writing() as connection:
            here = (_TABLE.c.id == export_id, _TABLE.c.deleted.is_(None))
            change = update(_TABLE).where(*here).values(updated=at, object_key="", **changes)
            key = select(_TABLE.c.object_key, _TABLE.c.account).where(*here)
            found = (await connection.execute(key.with_for_update())).first()
            await connection.execute(change)
            await connection.execute(delete(_ITEMS).where(_ITEMS.c.export == export_id))
            if found is not None and found.object_key:
                removal = Removal(found.object_key, export_id, found.account, created=at, due=at, tries=0, reason="")
                await connection.execute(insert.values(values(removal)).on_conflict_do_nothing(index_elements=[tables.removals.c.key]))
        return await self.get(export_id)


def _free(node: str, now: float) -> Any:
    return or_(_TABLE.c.node.in_(("", node)), _TABLE.c.updated < now - LEASE_S)
