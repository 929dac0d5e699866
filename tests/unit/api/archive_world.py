"""The archive of the world in memory: recordings that are over, found, held, exported, and the audit of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from tapeline.calls.errors import not_yours
from tapeline.calls.views import RecordingView
from tapeline.core.principal import Principal
from tapeline.store import AuditRow, Search

__all__ = ["MemoryArchive"]


class MemoryArchive:
    """Over the service's recordings; a search's columns are the view's fields."""

    def __init__(self, recordings: dict[str, RecordingView], maybe_broken: Callable[[], None]) -> None:
        self._recordings = recordings
        self._maybe_broken = maybe_broken

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

    async def annotate(self, recording_id: str, notes: Mapping[str, Any], principal: Principal) -> RecordingView:
        view = self._recordings[recording_id]
        custom = {**view.custom, "notes": {**view.custom.get("notes", {}), **notes}}
        self._recordings[recording_id] = replace(view, custom=custom)
        return self._recordings[recording_id]
