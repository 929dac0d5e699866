"""Exports: many recordings in one file. Asked for and looked at here; the file is the worker's.

Whoever asks may have every recording that goes in: ids of others are refused at once, and a filter finds only the account's own.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from tapeline.calls.equipment import Equipment
from tapeline.calls.errors import export_not_found, not_yours, recording_not_found
from tapeline.calls.services.sight import account_seen, seen
from tapeline.calls.views import ExportView, Page, RecordingFile
from tapeline.core.errors import Forbidden
from tapeline.core.ids import new_id
from tapeline.core.principal import Principal
from tapeline.store import Database, ExportRow, Search
from tapeline.store.exports import MOST_ITEMS, new_secret, signature
from tapeline.store.objects import ObjectStore

__all__ = ["MOST_ITEMS", "Exports"]

CHUNK = 500


class Exports:
    def __init__(self, database: Database, objects: ObjectStore, equipment: Equipment) -> None:
        self._database = database
        self._objects = objects
        self._kit = equipment

    async def create(self, principal: Principal, ids: Sequence[str] = (), wanted: Search | None = None) -> ExportView:
        """Of these recordings, or of those that `wanted` finds now. Raises NotFound, Forbidden: nothing is begun then."""
        principal.require("recordings:export")
        now = self._kit.clock.wall()
        account = principal.account
        row = ExportRow(new_id(), account, "progressing", now, updated=now, actor=principal.name, secret=new_secret())
        if wanted is not None:
            account = wanted.account or account
            account_seen(account, principal)
            until = min(now, wanted.until) if wanted.until is not None else now
            row = replace(row, account=account, wanted=replace(wanted, account=account, until=until).as_filter())
        else:
            ids = list(dict.fromkeys(ids))
            row = replace(row, account=await self._owner(ids, principal), total=len(ids))
        await self._database.exports.add(row, ids)
        return self._view(row)

    async def _owner(self, ids: Sequence[str], principal: Principal) -> str:
        """The account of all these recordings. Raises NotFound, Forbidden."""
        owners: set[str] = set()
        for start in range(0, len(ids), CHUNK):
            chunk = ids[start : start + CHUNK]
            known = await self._database.recordings.owners(chunk)
            missing = next((one for one in chunk if one not in known), None)
            if missing is not None:
                raise recording_not_found(missing)
            owners |= set(known.values())
            if not all(principal.may_see(owner) for owner in owners):
                raise not_yours("recording")
            await asyncio.sleep(0)
        if len(owners) > 1:
            raise Forbidden("the recordings of one export belong to one account")
        return next(iter(owners), principal.account)

    async def get(self, export_id: str, principal: Principal) -> ExportView:
        principal.require("recordings:export")
        return self._view(await self._row(export_id, principal))

    async def list(self, principal: Principal, before: float | None, limit: int) -> Page:
        principal.require("recordings:export")
        rows = await self._database.exports.list(None if principal.admin else principal.account, before, limit)
        return Page(tuple(self._view(row) for row in rows), rows[-1].created if rows else None)

    async def remove(self, export_id: str, principal: Principal) -> ExportView:
        """Stop it where it is not finished; its file goes."""
        principal.require("recordings:export")
        row = await self._row(export_id, principal)
        gone = await self._database.exports.remove(export_id, self._kit.clock.wall())
        return self._view(gone or row)

    async def _row(self, export_id: str, principal: Principal) -> ExportRow:
        row = await self._database.exports.get(export_id)
        if row is None:
            raise export_not_found()
        if seen(row, principal, "export").deleted is not None:
            raise export_not_found()
        return row

    async def file(self, export_id: str, expires: int, signed: str) -> tuple[str, RecordingFile]:
        """The account, and its file, for whoever has a link that is still valid. Raises Forbidden, NotFound."""
        row = await self._database.exports.get(export_id)
        if row is None or not hmac.compare_digest(signed, signature(row, expires)):
            raise Forbidden("this link is none of ours", hint="use download_uri as it was given")
        if row.deleted is not None or row.status != "finished" or expires <= self._kit.clock.wall():
            raise export_not_found()
        key = row.object_key
        found = await self._objects.stat(key)

        def read(start: int, end: int) -> AsyncIterator[bytes]:
            return self._objects.read(key, start, end)

        etag = f"{row.id}-{row.size}"
        file = RecordingFile(found.size, "application/zip", etag, f"recordings_{row.id}.zip", row.finished or row.created, read)
        return row.account, file

    def _view(self, row: ExportRow) -> ExportView:
        uri = ""
        if row.status == "finished" and row.expires is not None and row.deleted is None:
            expires = int(row.expires)
            base = self._kit.settings.server.base_url
            uri = f"{base}/exports/{row.id}/file?expires={expires}&signature={signature(row, expires)}"
        return ExportView(
            id=row.id, account=row.account, status=row.status, created=row.created, updated=row.updated, wanted=row.wanted,
            total=row.total, done=row.done, missing=row.missing, missed=row.missed, size=row.size, reason=row.reason, uri=uri,
            finished=row.finished, expires=row.expires, deleted=row.deleted,
        )  # fmt: skip
