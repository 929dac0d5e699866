"""Recordings that are over, found by more than their id. Rules of who may see what are the principal's; see `service` for the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tapeline.calls.errors import not_yours, recording_not_found
from tapeline.calls.rows import recording_view
from tapeline.calls.views import RecordingView
from tapeline.core.principal import Principal
from tapeline.store import AuditRow, Database, Search

__all__ = ["Archive"]


class Archive:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def search(self, wanted: Search, principal: Principal) -> list[RecordingView]:
        """Rows as `wanted` asks, of the principal's own account, or of any for an administrator."""
        principal.require("recordings:read")
        if wanted.account is None and not principal.admin:
            wanted = replace(wanted, account=principal.account)
        if wanted.account is not None and not principal.may_see(wanted.account):
            raise not_yours("account")
        return [recording_view(row) for row in await self._database.recordings.search(wanted)]

    async def deeds(
        self,
        principal: Principal,
        *,
        before: int | None = None,
        limit: int = 100,
        subject: str = "",
        action: str = "",
        actor: str = "",
        since: float | None = None,
        until: float | None = None,
    ) -> list[AuditRow]:
        """A page of the audit, newest first: what was done from the principal's account, or, of one recording of that account (`subject`),
        by whomever. Raises NotFound, Forbidden."""
        principal.require("audit:read")
        account = None if principal.admin else principal.account
        if subject:
            row = await self._database.recordings.get(subject)
            if row is None:
                raise recording_not_found(subject)
            if not principal.may_see(row.account):
                raise not_yours("recording")
            account = None
        return await self._database.audit.list(
            account, before=before, limit=limit, subject=subject, action=action, actor=actor, since=since, until=until
        )

    async def annotate(self, recording_id: str, notes: Mapping[str, Any], principal: Principal) -> RecordingView:
        """Merge `notes` into what is noted of a recording. Raises NotFound, Forbidden."""
        principal.require("recordings:write")
        row = await self._database.recordings.get(recording_id)
        if row is None or row.deleted is not None:
            raise recording_not_found(recording_id)
        if not principal.may_see(row.account):
            raise not_yours("recording")
        custom = {**row.custom, "notes": {**row.custom.get("notes", {}), **notes}}
        await self._database.recordings.annotate(recording_id, custom)
        return recording_view(replace(row, custom=custom))
