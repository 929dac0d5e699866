"""What is said of a recording that is over, by statements of their own: holds, how long it is kept, tags and a note.

An upsert of a live row never touches these columns (`statements.OTHERS`), and nothing here touches the recording itself. A tombstone is
not changed any more.

What is stored of each account is kept, not counted: triggers add a row to `storage_use` for each file that comes or goes, so that nobody
who writes waits for another, and the worker adds up what has gathered.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import case, delete, func, select, update

from tapeline.store import tables
from tapeline.store.rows import RecordingRow
from tapeline.store.statements import build

if TYPE_CHECKING:
    from tapeline.store.database import Database

__all__ = ["Keeping", "Usage"]

_TABLE = tables.recordings
_USE = tables.storage_use
GATHERED = 1000  # rows that a sum may be made of
AT_ONCE = 10_000  # rows that are added up in one transaction


class Usage(dict[str, tuple[int, int]]):
    """Files and bytes that are stored, by account."""


class Keeping:
    """What changes a recording gives its changed row, None where there is no such recording (any more)."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def hold(self, recording_id: str, at: float, reason: str, by: str) -> RecordingRow | None:
        """Let nothing delete it. One that is held already keeps its time and gets the new reason."""
        first = case((_TABLE.c.held.is_(None), at), else_=_TABLE.c.held)
        return await self._change(recording_id, held=first, hold_reason=reason, held_by=by)

    async def release(self, recording_id: str) -> RecordingRow | None:
        return await self._change(recording_id, held=None, hold_reason="", held_by="")

    async def amend(self, recording_id: str, *, tags: Sequence[str] | None = None, **changes: Any) -> RecordingRow | None:
        """Set `note`, `retention_days` and the tags; what is not given stays."""
        if tags is not None:
            changes["tags"] = list(tags)
        return await self._change(recording_id, **changes)

    async def _change(self, recording_id: str, **changes: Any) -> RecordingRow | None:
        here = (_TABLE.c.id == recording_id, _TABLE.c.deleted.is_(None))
        async with self._database.writing() as connection:
            if changes:
                await connection.execute(update(_TABLE).where(*here).values(**changes))
            found = (await connection.execute(select(_TABLE).where(*here))).mappings().first()
            if found is not None and "tags" in changes:
                index = tables.recording_tags
                await connection.execute(delete(index).where(index.c.recording == recording_id))
                rows = [
                    {"recording": recording_id, "tag": tag, "account": found["account"], "created": found["created"]}
                    for tag in dict.fromkeys(changes["tags"])
                ]
                if rows:
                    await connection.execute(index.insert(), rows)
        return build(RecordingRow, found) if found is not None else None

    async def usage(self, account: str | None = None) -> Usage:
        """What is stored of one account, or of each that stores anything."""
        query = select(_USE.c.account, func.sum(_USE.c.files), func.sum(_USE.c.size)).group_by(_USE.c.account)
        if account is not None:
            query = query.where(_USE.c.account == account)
        async with self._database.reading() as connection:
            found = (await connection.execute(query)).all()
        return Usage({row[0]: (int(row[1]), int(row[2])) for row in found if row[1]})

    async def add_up(self, most: int = GATHERED) -> None:
        """Make one row of each account's, where more than `most` have gathered; of the oldest `AT_ONCE` at a time."""
        async with self._database.reading() as connection:
            rows, accounts = (await connection.execute(select(func.count(), func.count(_USE.c.account.distinct())))).one()
        if rows - accounts <= most:
            return
        async with self._database.writing() as connection:
            oldest = select(_USE.c.id).order_by(_USE.c.id).limit(AT_ONCE).scalar_subquery()
            taken = delete(_USE).where(_USE.c.id.in_(oldest)).returning(_USE.c.account, _USE.c.files, _USE.c.size)
            sums: dict[str, tuple[int, int]] = {}
            for account, files, size in (await connection.execute(taken)).all():
                before = sums.get(account, (0, 0))
                sums[account] = (before[0] + files, before[1] + size)
            left = [{"account": account, "files": files, "size": size} for account, (files, size) in sums.items() if files or size]
            if left:
                await connection.execute(_USE.insert(), left)
