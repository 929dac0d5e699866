"""Recordings that are over, found by more than their id. Who may see what is the principal's; see `services.service` for the rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog

from tapeline.calls.equipment import Equipment
from tapeline.calls.errors import file_not_found, recording_held, recording_not_found
from tapeline.calls.rows import recording_view
from tapeline.calls.services.sight import present, seen, within
from tapeline.calls.views import Page, RecordingView, StorageView
from tapeline.core.errors import InvalidState, NotFound, Unavailable
from tapeline.core.principal import Principal
from tapeline.store import AuditRow, Database, RecordingRow, Search
from tapeline.store.objects import ObjectStore

__all__ = ["Archive"]


log = structlog.get_logger(__name__)

DRAIN_S = 5.0
USAGE_S = 60.0


class Archive:
    def __init__(self, database: Database, objects: ObjectStore, equipment: Equipment) -> None:
        self._database = database
        self._objects = objects
        self._kit = equipment
        self._usage: Mapping[str, tuple[int, int]] = {}
        self._usage_due = 0.0

    async def search(self, wanted: Search, principal: Principal) -> list[RecordingView]:
        """Rows as `wanted` asks, of the principal's own account, or of any for an administrator."""
        principal.require("recordings:read")
        return [recording_view(row) for row in await self._database.recordings.search(within(wanted, principal))]

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
            seen(row, principal, "recording")
            account = None
        return await self._database.audit.list(
            account, before=before, limit=limit, subject=subject, action=action, actor=actor, since=since, until=until
        )

    async def remove(self, recording_id: str) -> float:
        """Delete a recording that is final, whose account was looked at: the row first, then the audio. When that was.

        Raises InvalidState where it is held or still being made, NotFound where it is gone. A store that does not answer holds nothing
        up: the worker removes the audio later.
        """
        at = self._kit.clock.wall()
        removed = await self._database.removals.remove([recording_id], at, node=self._kit.node)
        if not removed:
            row = await self._database.recordings.get(recording_id)
            if row is None or row.deleted is not None:
                raise NotFound("the recording has been deleted")
            raise recording_held(recording_id) if row.held is not None else InvalidState(f"the recording is {row.state}")
        self._kit.to_tell()
        for key in [row.key for row in removed if row.key]:
            try:
                await self._objects.delete(key)
                await self._database.removals.done([key])
            except Unavailable as error:
                log.warning("the audio of a deleted recording is removed later", recording_id=recording_id, error=str(error))
        return at

    async def _row(self, recording_id: str, principal: Principal) -> RecordingRow:
        """Of one that is not deleted. Raises NotFound, Forbidden."""
        row = await self._database.recordings.get(recording_id)
        if row is None:
            await self._kit.writer.drain(DRAIN_S)  # one that has just begun
            row = await self._database.recordings.get(recording_id)
        if row is None:
            raise recording_not_found(recording_id)
        return present(row, principal, "recording")

    async def hold(self, recording_id: str, reason: str, principal: Principal) -> RecordingView:
        """Let nobody and nothing delete it until `release`. Raises NotFound, Forbidden."""
        principal.require("recordings:hold")
        await self._row(recording_id, principal)
        held = await self._database.keeping.hold(recording_id, self._kit.clock.wall(), reason, principal.name)
        return _still_there(held)

    async def release(self, recording_id: str, principal: Principal) -> RecordingView:
        """Take the hold off; no error where there is none. Raises NotFound, Forbidden."""
        principal.require("recordings:hold")
        await self._row(recording_id, principal)
        return _still_there(await self._database.keeping.release(recording_id))

    async def amend(self, recording_id: str, principal: Principal, **changes: Any) -> RecordingView:
        """Set `tags`, `note` and `retention_days`; what is not named stays. Raises NotFound, Forbidden.

        How long it is kept decides when it is deleted, so that needs the right to delete.
        """
        principal.require("recordings:write")
        if "retention_days" in changes:
            principal.require("recordings:delete")
        await self._row(recording_id, principal)
        return _still_there(await self._database.keeping.amend(recording_id, **changes))

    async def retention(self, principal: Principal) -> float | None:
        """How many days the principal's account keeps its recordings; None: as the settings say."""
        account = await self._database.accounts.get(principal.account)
        return account.retention_days if account is not None else None

    async def set_retention(self, days: float | None, principal: Principal) -> None:
        """None: as the settings say; 0: for ever."""
        principal.require("account:write")
        await self._database.accounts.amend(principal.account, retention_days=days)

    async def storage(self, principal: Principal) -> StorageView:
        """What is stored of the principal's account."""
        principal.require("storage:read")
        usage = await self._database.keeping.usage(principal.account)
        files, size = usage.get(principal.account, (0, 0))
        account = await self._database.accounts.get(principal.account)
        return StorageView(principal.account, files, size, account.created if account is not None else 0.0)

    async def files(self, principal: Principal, before: float | None, limit: int) -> Page:
        """The recordings whose files are stored, newest first."""
        principal.require("storage:read")
        account = None if principal.admin else principal.account
        rows = await self._database.recordings.list(account, before=before, limit=limit, states=("available",))
        return Page(tuple(recording_view(row) for row in rows))

    async def file(self, file_id: str, principal: Principal, scope: str) -> RecordingView:
        """The recording whose file has this id, which is the recording's own, for what needs `scope`. Raises NotFound, Forbidden."""
        principal.require(scope)
        row = await self._database.recordings.get(file_id)
        if row is None or (row.state != "available" and principal.may_see(row.account)):
            raise file_not_found(file_id)
        return recording_view(present(row, principal, "file"))

    async def usage(self) -> Mapping[str, tuple[int, int]]:
        """Files and bytes of each account, asked for at most once a minute; as they were last where the database is away."""
        now = self._kit.clock.now()
        if now >= self._usage_due:
            self._usage_due = now + USAGE_S
            try:
                self._usage = await self._database.keeping.usage()
            except Unavailable as error:
                log.warning("what is stored is not known", error=str(error))
        return self._usage

    async def annotate(self, recording_id: str, notes: Mapping[str, Any], principal: Principal) -> RecordingView:
        """Merge `notes` into what is noted of a recording. Raises NotFound, Forbidden."""
        principal.require("recordings:write")
        row = await self._database.recordings.get(recording_id)
        if row is None or row.deleted is not None:
            raise recording_not_found(recording_id)
        seen(row, principal, "recording")
        view = _still_there(await self._database.recordings.annotate(recording_id, lambda custom: _noted(custom, notes)))
        self._kit.happened("recording_changed", view.account, view.id, view)
        return view


def _still_there(row: RecordingRow | None) -> RecordingView:
    """Raises NotFound where it was deleted just now."""
    if row is None:
        raise NotFound("the recording has been deleted")
    return recording_view(row)


def _noted(custom: Mapping[str, Any], notes: Mapping[str, Any]) -> dict[str, Any]:
    """With `notes` merged into those that there are; what is None is taken away."""
    merged = {**custom.get("notes", {}), **notes}
    return {**custom, "notes": {name: value for name, value in merged.items() if value is not None}}
