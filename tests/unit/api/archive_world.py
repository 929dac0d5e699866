"""The archive of the world in memory: recordings that are over, found, held, exported, and the audit of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tapeline.calls.errors import export_not_found, file_not_found, not_yours, recording_not_found
from tapeline.calls.views import ExportView, Page, RecordingFile, RecordingView, StorageView
from tapeline.core.clock import Clock
from tapeline.core.errors import Forbidden, NotFound
from tapeline.core.ids import new_id
from tapeline.core.principal import Principal
from tapeline.store import AuditRow, Search

__all__ = ["MemoryArchive", "MemoryExports"]


def _own(principal: Principal, scope: str, view: RecordingView) -> RecordingView:
    principal.require(scope)
    if not principal.may_see(view.account):
        raise not_yours("recording")
    return view


class MemoryArchive:
    """Over the service's recordings; a search's columns are the view's fields."""

    def __init__(self, recordings: dict[str, RecordingView], maybe_broken: Callable[[], None]) -> None:
        self._recordings = recordings
        self.maybe_broken = maybe_broken
        self.days: dict[str, float | None] = {}

    async def search(self, wanted: Search, principal: Principal) -> list[RecordingView]:
        account = wanted.account or (None if principal.admin else principal.account)
        if account is not None and not principal.may_see(account):
            raise not_yours("account")
        rows = [view for view in self._recordings.values() if view.deleted is None and account in (None, view.account)]
        rows = [view for view in rows if all(getattr(view, name) in values for name, values in wanted.equal.items())]
        rows = [view for view in rows if (wanted.since or 0.0) <= view.created <= (wanted.until or 9e99)]
        ended = [view.created if view.ended is None else view.ended for view in rows]
        rows = [view for view, end in zip(rows, ended, strict=True) if (wanted.ended_since or 0.0) <= end <= (wanted.ended_until or 9e99)]
        rows.sort(key=lambda view: (view.created, view.id), reverse=not wanted.ascending)
        if wanted.after is not None:
            before = [(row.created, row.id) == wanted.after for row in rows].index(True)
            rows = rows[before + 1 :]
        return rows[: wanted.limit]

    async def deeds(self, principal: Principal, **wanted: Any) -> list[AuditRow]:
        self.maybe_broken()
        if wanted["subject"] and not principal.may_see(self._recordings[wanted["subject"]].account):
            raise not_yours("recording")
        return []

    def find(self, recording_id: str, scope: str, principal: Principal) -> RecordingView:
        self.maybe_broken()
        if recording_id not in self._recordings:
            raise recording_not_found(recording_id)
        return _own(principal, scope, self._recordings[recording_id])

    async def hold(self, recording_id: str, reason: str, principal: Principal) -> RecordingView:
        view = self.find(recording_id, "recordings:hold", principal)
        self._recordings[recording_id] = replace(view, held=view.created, hold_reason=reason, held_by=principal.name)
        return self._recordings[recording_id]

    async def release(self, recording_id: str, principal: Principal) -> RecordingView:
        view = self.find(recording_id, "recordings:hold", principal)
        self._recordings[recording_id] = replace(view, held=None, hold_reason="", held_by="")
        return self._recordings[recording_id]

    async def amend(self, recording_id: str, principal: Principal, **changes: Any) -> RecordingView:
        view = self.find(recording_id, "recordings:write", principal)
        if "retention_days" in changes:
            principal.require("recordings:delete")
        self._recordings[recording_id] = replace(view, **changes)
        return self._recordings[recording_id]

    async def retention(self, principal: Principal) -> float | None:
        self.maybe_broken()
        return self.days.get(principal.account)

    async def set_retention(self, days: float | None, principal: Principal) -> None:
        self.maybe_broken()
        self.days[principal.account] = days

    async def storage(self, principal: Principal) -> StorageView:
        self.maybe_broken()
        stored = [view.size or 0 for view in self._recordings.values() if view.account == principal.account and view.deleted is None]
        return StorageView(principal.account, len(stored), sum(stored), 1000.0)

    async def files(self, principal: Principal, before: float | None, limit: int) -> Page:
        self.maybe_broken()
        found = await self.search(Search(equal={"state": ("available",)}, limit=9**9), principal)
        items = tuple(view for view in found if before is None or view.created < before)[:limit]
        return Page(items)

    async def file(self, file_id: str, principal: Principal, scope: str) -> RecordingView:
        self.maybe_broken()
        principal.require(scope)
        view = self._recordings.get(file_id)
        if view is None or (view.state != "available" and principal.may_see(view.account)):
            raise file_not_found(file_id)
        if not principal.may_see(view.account):
            raise not_yours("file")
        if view.deleted is not None:
            raise NotFound("the file has been deleted")
        return view

    async def usage(self) -> dict[str, tuple[int, int]]:
        return {view.account: (1, view.size or 0) for view in self._recordings.values()}

    async def annotate(self, recording_id: str, notes: Mapping[str, Any], principal: Principal) -> RecordingView:
        view = self._recordings[recording_id]
        custom = {**view.custom, "notes": {**view.custom.get("notes", {}), **notes}}
        self._recordings[recording_id] = replace(view, custom=custom)
        return self._recordings[recording_id]


class MemoryExports:
    """Finished at once; a link's signature is its export's id."""

    def __init__(self, archive: MemoryArchive, clock: Clock) -> None:
        self._archive = archive
        self._clock = clock
        self.views: dict[str, ExportView] = {}
        self.audio = b"PK" + bytes(1000)

    def make(self, account: str, **fields: Any) -> str:
        at = self._clock.wall()
        view = ExportView(new_id(), account, "progressing", at, at)
        self.views[view.id] = replace(view, **fields)
        return view.id

    async def create(self, principal: Principal, ids: Sequence[str] = (), wanted: Search | None = None) -> ExportView:
        self._archive.maybe_broken()
        principal.require("recordings:export")
        for one in ids:
            self._archive.find(one, "recordings:export", principal)
        if wanted is not None and wanted.account is not None and not principal.may_see(wanted.account):
            raise not_yours("account")
        return self.views[self.make(principal.account, total=len(ids), wanted=wanted.as_filter() if wanted else {})]

    def _find(self, export_id: str, principal: Principal) -> ExportView:
        self._archive.maybe_broken()
        if export_id not in self.views:
            raise export_not_found()
        if not principal.may_see(self.views[export_id].account):
            raise not_yours("export")
        return self.views[export_id]

    async def get(self, export_id: str, principal: Principal) -> ExportView:
        return self._find(export_id, principal)

    async def list(self, principal: Principal, before: float | None, limit: int) -> Page:
        self._archive.maybe_broken()
        found = [view for view in self.views.values() if principal.may_see(view.account) and view.created < (before or 9e99)]
        return Page(tuple(sorted(found, key=lambda view: -view.created)[:limit]))

    async def remove(self, export_id: str, principal: Principal) -> ExportView:
        self._find(export_id, principal)
        return replace(self.views.pop(export_id), deleted=self._clock.wall())

    async def file(self, export_id: str, expires: int, signed: str) -> tuple[str, RecordingFile]:
        if signed != export_id:
            raise Forbidden("this link is none of ours")
        if export_id not in self.views or expires <= self._clock.wall():
            raise export_not_found()

        async def read(start: int, end: int) -> AsyncIterator[bytes]:
            yield self.audio[start:end]

        return self.views[export_id].account, RecordingFile(len(self.audio), "application/zip", "e", "x.zip", 1.0, read)
