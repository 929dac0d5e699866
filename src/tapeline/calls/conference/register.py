"""The register of all conferences of this node: made over the API and found by their ids, or opened by their names by who comes first.

A change of any of them arrives in one place, `_changed`, which writes the rows. Knows nothing of who may do what.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import fields, replace

import structlog

from tapeline.calls.changes import tell
from tapeline.calls.conference.conference import Conference
from tapeline.calls.conference.members import Charter, Member
from tapeline.calls.equipment import Equipment
from tapeline.calls.rows import conference_row, conference_view, stay_row
from tapeline.calls.session import Call
from tapeline.calls.views import ConferenceView
from tapeline.core.errors import TapelineError
from tapeline.core.ids import new_id
from tapeline.core.roomspec import JoinSpec, RoomSpec
from tapeline.core.vonage import conversation_uuid
from tapeline.store import ConferenceCallRow, ConferenceRow

__all__ = ["Conferences", "timeout_of"]

log = structlog.get_logger(__name__)

RELEASE_S = 10.0  # how long recordings may take to reach the disk when the server stops
SHORTEST_TIMEOUT_S, LONG_TIMEOUT_S = 60, 86400  # the platform takes anything shorter for a day


class Conferences:
    def __init__(self, equipment: Equipment) -> None:
        self._kit = equipment
        self._all: dict[str, Conference] = {}
        self._rooms: dict[tuple[str, str], Conference] = {}  # by account and name
        self._stays: dict[str, tuple[Conference, Member]] = {}
        self._told: dict[str, ConferenceView] = {}  # what listeners know of each
        self.totals = {"conferences_total": 0, "conference_members_total": 0}

    # -- which there are -----------------------------------------------------------------------------------------------

    @property
    def all(self) -> tuple[Conference, ...]:
        return tuple(self._all.values())

    def get(self, conference_id: str) -> Conference | None:
        return self._all.get(conference_id)

    def stay(self, stay_id: str) -> tuple[Conference, Member] | None:
        """The conference and the member of a stay that lasts."""
        return self._stays.get(stay_id)

    def create(self, charter: Charter) -> Conference:
        """A new conference. The caller has made sure that its id, or its name, is free."""
        own, spec = self._kit.settings.conference, charter.spec
        sounds = ("join_tone", "leave_tone", "music")
        usual = {name: getattr(own, name) for name in sounds if getattr(spec, name) is None}
        return self._open(replace(charter, spec=replace(spec, **usual)))

    def _open(self, charter: Charter, history: tuple[str, ...] = (), *, known: bool = False) -> Conference:
        conference = Conference(charter, self._kit, self._changed, history)
        self._all[charter.id] = conference
        if known:
            self._told[charter.id] = conference.view()
        if charter.room:
            self._rooms[charter.account, charter.room] = conference
        self.totals["conferences_total"] += 1
        self._changed(conference, None)
        return conference

    # -- joining -------------------------------------------------------------------------------------------------------

    def find(self, account: str, room: str, *, named: bool) -> Conference | None:
        """The conference of `account` with this name, or with this id. One that is ending is not there any more."""
        found = self._rooms.get((account, room)) if named else self._all.get(room.lower())
        if found is None or found.charter.account != account or found.status != "progressing":
            return None
        return found

    def join(self, call: Call, room: str, spec: JoinSpec, left: Callable[[str], None], *, named: bool, application_id: str = "") -> str:
        """Put `call` into a conference; `left(reason)` follows once. Where it could not be joined: the reason. With `application_id` the
        name is one of that application's."""
        room = f"{application_id}/{room}" if application_id else room
        found = self.find(call.facts.account, room, named=named)
        if found is None and named and spec.create is not None:
            now = round(self._kit.clock.wall(), 6)
            charter = Charter(new_id(), call.facts.account, now, kind="conversation", room=room, spec=spec.create)
            found = self.create(replace(charter, application_id=application_id))
        if found is None:
            return "not_found"
        before = conversation_uuid(call.facts.activeflow_id)
        try:
            found.join(call, spec, left)
        except TapelineError as error:
            log.warning("a conference cannot be joined", conference_id=found.id, call_id=call.facts.id, error=str(error))
            return "full" if error.reason == "CONFERENCE_FULL" else "failed"
        self.totals["conference_members_total"] += 1
        if call.facts.application_id:
            self._kit.webhooks.moved(call, before)
        return ""

    # -- what changes --------------------------------------------------------------------------------------------------

    def _changed(self, conference: Conference, member: Member | None) -> None:
        """Every change of a conference or of a member comes by here."""
        put = self._kit.writer.put
        view = conference.view()
        put(conference_row(view, self._kit.node))
        self._told[conference.id] = tell(self._kit, "conference", view, self._told.get(conference.id))
        if member is not None:
            put(stay_row(conference.stay(member), self._kit.node))
            if member.status == "leaved":
                self._stays.pop(member.id, None)
            else:
                self._stays[member.id] = conference, member
        if conference.status != "progressing" and self._rooms.get((conference.charter.account, conference.charter.room)) is conference:
            del self._rooms[conference.charter.account, conference.charter.room]
        if conference.status == "terminated":
            self._all.pop(conference.id, None)
            self._told.pop(conference.id, None)

    # -- start and stop of the server ----------------------------------------------------------------------------------

    def restore(self, rows: Sequence[ConferenceRow], stays: Sequence[ConferenceCallRow]) -> None:
        """Take up what an earlier run left: conferences go on, without their members; what was about to end has ended."""
        now = self._kit.clock.wall()
        put = self._kit.writer.put
        for stay in stays:
            put(replace(stay, status="leaved", reason="restart", left=now, updated=now))
        for row in rows:
            view = replace(conference_view(row), recording_id="")
            if view.room or view.status == "terminating":
                ended = replace(view, status="terminated", reason=view.reason or "restart", ended=now, updated=now)
                ended = replace(ended, deleted=None if view.room else now)
                put(conference_row(ended, self._kit.node))
                tell(self._kit, "conference", ended, view)
            else:
                self._open(_charter(view), view.recording_ids, known=True)

    async def stop(self) -> None:
        """The server stops: recordings are completed, as far as a disk that works lets them; conferences go on at the next start."""
        with suppress(TimeoutError):
            async with asyncio.timeout(RELEASE_S):
                await asyncio.gather(*(conference.rest() for conference in self.all))


def timeout_of(seconds: int) -> int:
    """The platform's rule: what is positive and shorter than a minute stands for a day; 0 is never."""
    return LONG_TIMEOUT_S if 0 < seconds < SHORTEST_TIMEOUT_S else seconds


def _charter(view: ConferenceView) -> Charter:
    known = {each.name for each in fields(RoomSpec)}
    same = {each.name: getattr(view, each.name) for each in fields(Charter) if each.name not in ("spec", "application_id")}
    return Charter(**same, spec=RoomSpec(**{name: value for name, value in view.options.items() if name in known}))
