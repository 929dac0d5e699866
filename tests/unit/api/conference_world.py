"""Conferences in memory, with the rules that the service promises, for the faces' tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tapeline.calls.errors import (
    already_recording,
    conference_exists,
    conference_not_found,
    conferencecall_not_found,
    not_recording,
    not_yours,
)
from tapeline.calls.views import ConferenceCallView, ConferenceDraft, ConferenceView, Page
from tapeline.core.errors import InvalidState, NotFound
from tapeline.core.ids import new_id
from tapeline.core.principal import Principal
from tapeline.core.recordspec import RecordSpec
from tapeline.testing import FakeClock


class MemoryConferences:
    def __init__(self, clock: FakeClock, check: Callable[[], None]) -> None:
        self.clock = clock
        self.check = check  # raises what the test wants to be raised
        self.conferences: dict[str, ConferenceView] = {}
        self.stays: dict[str, ConferenceCallView] = {}
        self.specs: list[RecordSpec] = []

    # -- moving the world ----------------------------------------------------------------------------------------------

    def conference(self, account: str, *, members: int = 1, **fields: Any) -> str:
        wall = self.clock.wall()
        self.clock.advance(0.001)
        made = ConferenceView(id=new_id(), account=account, kind="conference", status="progressing", created=wall, updated=wall)
        stays = tuple(self.stay(made.id, account) for _ in range(members))
        self.conferences[made.id] = replace(made, member_ids=stays, **fields)
        return made.id

    def stay(self, conference_id: str, account: str, **fields: Any) -> str:
        wall = self.clock.wall()
        self.clock.advance(0.001)
        made = ConferenceCallView(
            id=new_id(), account=account, status="joined", created=wall, conference_id=conference_id, call_id=new_id(), joined=wall
        )
        self.stays[made.id] = replace(made, **fields)
        return made.id

    def record(self, conference_id: str) -> str:
        view = self.conferences[conference_id]
        recording_id = new_id()
        self.conferences[conference_id] = replace(view, recording_id=recording_id, recording_ids=(*view.recording_ids, recording_id))
        return recording_id

    # -- api.ports.ConferenceService -----------------------------------------------------------------------------------

    def _page(self, views: Any, principal: Principal, before: float | None, limit: int) -> Page:
        self.check()
        mine = [view for view in views if principal.may_see(view.account) and view.deleted is None]
        mine = [view for view in mine if before is None or view.created < before]
        items = tuple(sorted(mine, key=lambda view: -view.created)[:limit])
        return Page(items, items[-1].created if items else None)

    def _conference(self, conference_id: str, principal: Principal) -> ConferenceView:
        self.check()
        if conference_id not in self.conferences:
            raise conference_not_found(conference_id)
        view = self.conferences[conference_id]
        if not principal.may_see(view.account):
            raise not_yours("conference")
        if view.deleted is not None:
            raise NotFound("the conference has been deleted")
        return view

    def _stay(self, stay_id: str, principal: Principal) -> ConferenceCallView:
        self.check()
        if stay_id not in self.stays:
            raise conferencecall_not_found(stay_id)
        if not principal.may_see(self.stays[stay_id].account):
            raise not_yours("conferencecall")
        return self.stays[stay_id]

    async def list(self, principal: Principal, before: float | None, limit: int) -> Page:
        return self._page(self.conferences.values(), principal, before, limit)

    async def get(self, conference_id: str, principal: Principal) -> ConferenceView:
        return self._conference(conference_id, principal)

    async def create(self, draft: ConferenceDraft, principal: Principal) -> ConferenceView:
        self.check()
        if draft.id in self.conferences:
            raise conference_exists(draft.id)
        made = self.conference(principal.account, members=0, kind=draft.kind or "conference")
        view = replace(self.conferences.pop(made), id=draft.id or made)
        self.conferences[view.id] = view
        return await self.update(view.id, draft, principal)

    async def update(self, conference_id: str, draft: ConferenceDraft, principal: Principal) -> ConferenceView:
        view = self._conference(conference_id, principal)
        names = ("name", "detail", "data", "timeout", "pre_flow_id", "post_flow_id")
        changes = {name: value for name in names if (value := getattr(draft, name)) is not None}
        self.conferences[conference_id] = replace(view, **changes, options={**view.options, **draft.options})
        return self.conferences[conference_id]

    async def delete(self, conference_id: str, principal: Principal) -> ConferenceView:
        view = self._conference(conference_id, principal)
        wall = self.clock.wall()
        self.conferences[conference_id] = replace(
            view, status="terminated", ended=wall, deleted=wall, member_ids=(), recording_id="", reason="deleted"
        )
        return self.conferences[conference_id]

    async def start_recording(self, conference_id: str, spec: RecordSpec, principal: Principal) -> ConferenceView:
        view = self._conference(conference_id, principal)
        if view.status != "progressing" or not view.member_ids:
            raise InvalidState("nobody is in the conference")
        if view.recording_id:
            raise already_recording(view.recording_id)
        self.specs.append(spec)
        self.record(conference_id)
        return self.conferences[conference_id]

    async def stop_recording(self, conference_id: str, principal: Principal) -> ConferenceView:
        view = self._conference(conference_id, principal)
        if not view.recording_id:
            raise not_recording()
        self.conferences[conference_id] = replace(view, recording_id="")
        return self.conferences[conference_id]

    async def list_stays(self, principal: Principal, before: float | None, limit: int) -> Page:
        return self._page(self.stays.values(), principal, before, limit)

    async def get_stay(self, stay_id: str, principal: Principal) -> ConferenceCallView:
        return self._stay(stay_id, principal)

    async def kick(self, stay_id: str, principal: Principal) -> ConferenceCallView:
        self.stays[stay_id] = replace(self._stay(stay_id, principal), status="leaved", reason="kicked", left=self.clock.wall())
        return self.stays[stay_id]

    async def moderate(
        self, stay_id: str, principal: Principal, *, muted: bool | None = None, deaf: bool | None = None
    ) -> ConferenceCallView:
        view = self._stay(stay_id, principal)
        if view.status == "leaved":
            raise InvalidState("the call has left")
        view = replace(view, muted=view.muted if muted is None else muted, deaf=view.deaf if deaf is None else deaf)
        self.stays[stay_id] = view
        return view
