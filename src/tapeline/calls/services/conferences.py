"""What every face uses of conferences: those that live are told from memory, past ones from the rows; who may do what is asked here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tapeline.calls.conference.conference import Conference
from tapeline.calls.conference.members import Charter, Member
from tapeline.calls.conference.register import Conferences, timeout_of
from tapeline.calls.equipment import Equipment
from tapeline.calls.errors import conference_exists, conference_not_found, conferencecall_not_found
from tapeline.calls.rows import conference_row, conference_view, stay_view
from tapeline.calls.services.sight import present, seen
from tapeline.calls.views import ConferenceCallView, ConferenceDraft, ConferenceView, Page
from tapeline.core.errors import InvalidState, Unavailable
from tapeline.core.ids import new_id
from tapeline.core.principal import Principal
from tapeline.core.recordspec import RecordSpec
from tapeline.store import Database

__all__ = ["ConferenceService"]


class ConferenceService:
    def __init__(self, conferences: Conferences, database: Database, equipment: Equipment) -> None:
        self._conferences = conferences
        self._database = database
        self._kit = equipment

    # -- conferences ---------------------------------------------------------------------------------------------------

    async def list(self, principal: Principal, before: float | None, limit: int) -> Page:
        principal.require("calls:read")
        rows = await self._database.conferences.list(None if principal.admin else principal.account, before=before, limit=limit)
        views = [live.view() if (live := self._conferences.get(row.id)) is not None else conference_view(row) for row in rows]
        return Page(tuple(views), views[-1].created if views else None)

    async def get(self, conference_id: str, principal: Principal) -> ConferenceView:
        principal.require("calls:read")
        return await self._view(conference_id, principal)

    async def create(self, draft: ConferenceDraft, principal: Principal) -> ConferenceView:
        """Its row is on disk when this returns. Raises InvalidState where the id is taken."""
        principal.require("calls:write")
        made = draft.id or new_id()
        if self._conferences.get(made) is not None or await self._database.conferences.get(made) is not None:
            raise conference_exists(made)
        charter = Charter(made, principal.account, round(self._kit.clock.wall(), 6), kind=draft.kind or "conference")
        conference = self._conferences.create(self._amended(charter, draft))
        await self._database.conferences.upsert(conference_row(conference.view(), self._kit.node))
        return conference.view()

    async def update(self, conference_id: str, draft: ConferenceDraft, principal: Principal) -> ConferenceView:
        """Change what the draft names; what it leaves out stays."""
        principal.require("calls:write")
        conference = await self._live(conference_id, principal)
        conference.amend(self._amended(conference.charter, draft))
        return conference.view()

    def _amended(self, charter: Charter, draft: ConferenceDraft) -> Charter:
        changes: dict[str, Any] = {
            name: value for name in ("name", "detail", "data", "pre_flow_id", "post_flow_id") if (value := getattr(draft, name)) is not None
        }
        if draft.timeout is not None:
            changes["timeout"] = timeout = timeout_of(draft.timeout)
            changes["expires"] = self._kit.clock.wall() + timeout if timeout else None
        return replace(charter, **changes, spec=replace(charter.spec, **draft.options))

    async def delete(self, conference_id: str, principal: Principal) -> ConferenceView:
        """End it if it lives, and mark its row deleted."""
        principal.require("calls:write")
        view = await self._view(conference_id, principal)
        conference = self._conferences.get(conference_id)
        if conference is not None:
            conference.end("deleted")
            await conference.over.wait()
            view = conference.view()
        deleted = view.deleted or self._kit.clock.wall()
        await self._kit.writer.drain(5.0)
        await self._database.conferences.delete(conference_id, deleted)
        return replace(view, deleted=deleted)

    async def start_recording(self, conference_id: str, spec: RecordSpec, principal: Principal) -> ConferenceView:
        principal.require("recordings:write")
        conference = await self._live(conference_id, principal)
        conference.start_recording(self._kit.permitted(spec, conference.charter.account))
        return conference.view()

    async def stop_recording(self, conference_id: str, principal: Principal) -> ConferenceView:
        principal.require("recordings:write")
        conference = await self._live(conference_id, principal, reason="RECORDING_NOT_ACTIVE")
        conference.stop_recording()
        return conference.view()

    async def _view(self, conference_id: str, principal: Principal) -> ConferenceView:
        live = self._conferences.get(conference_id)
        if live is not None:
            view = live.view()
        else:
            row = await self._database.conferences.get(conference_id)
            if row is None:
                raise conference_not_found(conference_id)
            view = conference_view(row)
        return present(view, principal, "conference")

    async def _live(self, conference_id: str, principal: Principal, reason: str = "") -> Conference:
        """Raises InvalidState where it has ended, Unavailable where another node mixes it."""
        view = await self._view(conference_id, principal)
        conference = self._conferences.get(conference_id)
        if conference is None and view.status == "progressing":
            raise Unavailable("the conference is on another node")
        if conference is None or view.status != "progressing":
            raise InvalidState(f"the conference is {view.status}, not progressing", reason=reason)
        return conference

    # -- who is in them ------------------------------------------------------------------------------------------------

    async def list_stays(self, principal: Principal, before: float | None, limit: int) -> Page:
        principal.require("calls:read")
        rows = await self._database.conferencecalls.list(None if principal.admin else principal.account, before=before, limit=limit)
        views = [self._live_stay(row.id) or stay_view(row) for row in rows]
        return Page(tuple(views), views[-1].created if views else None)

    async def get_stay(self, stay_id: str, principal: Principal) -> ConferenceCallView:
        principal.require("calls:read")
        return await self._stay(stay_id, principal)

    async def kick(self, stay_id: str, principal: Principal) -> ConferenceCallView:
        """Put the call out of the conference; its flow goes on. One that has left already is told as it is."""
        principal.require("calls:write")
        view = await self._stay(stay_id, principal)
        found = self._conferences.stay(stay_id)
        if found is None:
            return view
        conference, member = found
        conference.kick(member)
        return conference.stay(member)

    async def moderate(
        self, stay_id: str, principal: Principal, *, muted: bool | None = None, deaf: bool | None = None
    ) -> ConferenceCallView:
        """Change whether the call is heard, and hears; None: as it is. Raises InvalidState where it has left."""
        principal.require("calls:write")
        conference, member = await self._staying(stay_id, principal)
        conference.moderate(member, muted=muted, deaf=deaf)
        return conference.stay(member)

    async def _staying(self, stay_id: str, principal: Principal) -> tuple[Conference, Member]:
        view = await self._stay(stay_id, principal)
        found = self._conferences.stay(stay_id)
        if found is None:
            raise InvalidState(f"the call is {view.status}, not in the conference")
        return found

    async def _stay(self, stay_id: str, principal: Principal) -> ConferenceCallView:
        view = self._live_stay(stay_id)
        if view is None:
            row = await self._database.conferencecalls.get(stay_id)
            if row is None:
                raise conferencecall_not_found(stay_id)
            view = stay_view(row)
        return seen(view, principal, "conferencecall")

    def _live_stay(self, stay_id: str) -> ConferenceCallView | None:
        found = self._conferences.stay(stay_id)
        return found[0].stay(found[1]) if found is not None else None

    def stats(self) -> Mapping[str, float]:
        """Gauges and totals for /metrics."""
        conferences = self._conferences.all
        return {
            "conferences": len(conferences),
            "conference_members": sum(len(conference.members) for conference in conferences),
            **{key: float(value) for key, value in self._conferences.totals.items()},
        }
