"""The archive of the world in memory: recordings that are over, found, held, exported, and the audit of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from tapeline.calls.errors import not_yours, recording_not_found
from tapeline.calls.views import RecordingView, StorageView
from tapeline.core.principal import Principal
from tapeline.store import AuditRow, Search

__all__ = ["MemoryArchive"]


def _own(principal: Principal, scope: str, view: RecordingView) -> RecordingView:
    principal.require(scope)
    if not principal.may_see(view.account):
        raise not_yours("recording")
    return view


class MemoryArchive:
    """Over the service's recordings; a search's columns are the view's fields."""

    def __init__(self, recordings: dict[str, RecordingView], maybe_broken: Callable[[], None]) -> None:
        self._recordings = recordings
        self._maybe_broken = maybe_broken
        self.days: dict[str, float | None] = {}

    async def search(self, wanted: Search, principal: Principal) -> list[RecordingView]:
        account = wanted.account or (None if principal.admin else principal.account)
        if account is not None and not principal.may_see(account):
            raise not_yours("account")
        rows = [view for view in self._recordings.values() if view.deleted is None and account in (None, view.account)]
        rows = [view for view in rows if all(getattr(view, name) in values for name, values in wanted.equal.items())]
        rows = [view for view in rows if (wanted.since or 0.0) <= view.created <= (wanted.until or 9e99)]
        rows.sort(key=lambda view: (view.created, view.id), reverse=not wanted.ascending)
        if wanted.after is not None:
            before = [(row.created, row.id) == wanted.after for row in rows].index(True)
            rows = rows[before + 1 :]
        return rows[: wanted.limit]

    async def deeds(self, principal: Principal, **wanted: Any) -> list[AuditRow]:
        self._maybe_broken()
        if wanted["subject"] and not principal.may_see(self._recordings[wanted["subject"]].account):
            raise not_yours("recording")
        return []

    def _find(self, recording_id: str, scope: str, principal: Principal) -> RecordingView:
        self._maybe_broken()
        if recording_id not in self._recordings:
            raise recording_not_found(recording_id)
        return _own(principal, scope, self._recordings[recording_id])

    async def hold(self, recording_id: str, reason: str, principal: Principal) -> RecordingView:
        view = self._find(recording_id, "recordings:hold", principal)
        self._recordings[recording_id] = replace(view, held=view.created, hold_reason=reason, held_by=principal.name)
        return self._recordings[recording_id]

    async def release(self, recording_id: str, principal: Principal) -> RecordingView:
        view = self._find(recording_id, "recordings:hold", principal)
        self._recordings[recording_id] = replace(view, held=None, hold_reason="", held_by="")
        return self._recordings[recording_id]

    async def amend(self, recording_id: str, principal: Principal, **changes: Any) -> RecordingView:
        view = self._find(recording_id, "recordings:write", principal)
        if "retention_days" in changes:
            principal.require("recordings:delete")
        self._recordings[recording_id] = replace(view, **changes)
        return self._recordings[recording_id]

    async def retention(self, principal: Principal) -> float | None:
        self._maybe_broken()
        return self.days.get(principal.account)

    async def set_retention(self, days: float | None, principal: Principal) -> None:
        self._maybe_broken()
        self.days[principal.account] = days

    async def storage(self, principal: Principal) -> StorageView:
        self._maybe_broken()
        stored = [view.size or 0 for view in self._recordings.values() if view.account == principal.account and view.deleted is None]
        return StorageView(principal.account, len(stored), sum(stored), 1000.0)

    async def annotate(self, recording_id: str, notes: Mapping[str, Any], principal: Principal) -> RecordingView:
        view = self._recordings[recording_id]
        custom = {**view.custom, "notes": {**view.custom.get("notes", {}), **notes}}
        self._recordings[recording_id] = replace(view, custom=custom)
        return self._recordings[recording_id]
