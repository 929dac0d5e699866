"""One conference: a bus, its members, who may speak and hear, tones and music, its recordings, its end.

A member is one stay of one call. It waits (`joining`) until the conference has been started by a moderator's coming, is then on
the bus (`joined`), and has left (`leaved`) when it, its call or the conference is over; whoever joined it is told why, once. A
conference that was made over the API lives until it is deleted or its time is over; a room that was opened by its name ends when
the last one leaves. What leads to what:

    progressing -> terminating -> terminated

Nothing here blocks, and nothing asks the database. `on_change` is the one place where a change is told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import structlog

from tapeline import rtp
from tapeline.calls import company
from tapeline.calls.alarm import Alarm
from tapeline.calls.conference.members import Charter, Member
from tapeline.calls.conference.recordings import ConferenceRecordings
from tapeline.calls.conference.sounds import BUS_RATE, Sounds
from tapeline.calls.equipment import Equipment
from tapeline.calls.errors import conference_ended, conference_full, nobody_there
from tapeline.calls.recorder import Recorder, Subject
from tapeline.calls.views import ConferenceCallView, ConferenceView
from tapeline.core.errors import InvalidState, TapelineError
from tapeline.core.facts import ConferenceStatus
from tapeline.core.ids import new_id
from tapeline.core.recordspec import RecordSpec
from tapeline.core.roomspec import JoinSpec
from tapeline.core.vonage import telling_too

if TYPE_CHECKING:
    from tapeline.calls.session import Call

__all__ = ["Conference"]

log = structlog.get_logger(__name__)

BEEP = "tone:1000/400"  # that a recording begins


class Conference:
    """A `Place`. `on_change(conference, member)`: something of the one or the other is different now."""

    def __init__(
        self, charter: Charter, equipment: Equipment, on_change: Callable[[Conference, Member | None], None], history: tuple[str, ...] = ()
    ) -> None:
        self.charter = charter
        self.status: ConferenceStatus = "progressing"
        self.reason = ""
        self.ended: float | None = None
        self.deleted: float | None = None
        self.updated = charter.created
        self.over = asyncio.Event()
        self._kit = equipment
        self._on_change = on_change
        self._bus: rtp.Bus | None = None
        self._members: list[Member] = []
        self._started = False  # a moderator has come
        self._crowded = False  # there were two at a time
        self._recordings = ConferenceRecordings(equipment, on_change=self._changed, on_beep=self._beep, history=history)
        self._sounds = Sounds(self, equipment)
        self._alarm = Alarm(equipment.clock, lambda: self.end("timeout"))
        self._empty_alarm = Alarm(equipment.clock, lambda: self._recordings.stop_all("empty"))
        self._watch_time()

    # -- what it is ----------------------------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        return self.charter.id

    @property
    def members(self) -> tuple[Member, ...]:
        return tuple(self._members)

    @property
    def limit(self) -> int:
        """How many may be in it."""
        limit = self._kit.settings.conference.max_members
        return min(limit, self.charter.spec.max_members or limit)

    @property
    def full(self) -> bool:
        return len(self._members) >= self.limit

    @property
    def talking(self) -> tuple[Member, ...]:
        """Those on the bus."""
        return tuple(member for member in self._members if member.status == "joined")

    @property
    def _legs(self) -> dict[Call, rtp.Leg | None]:
        """Of those on the bus, in the order of joining; None for one that is not to be heard."""
        return {member.call: member.call.leg if member.gains["speak"] else None for member in self.talking}

    def amend(self, charter: Charter) -> None:
        """Take on what the API changed."""
        self.charter = charter
        self._watch_time()
        self._changed()

    def _watch_time(self) -> None:
        expires = self.charter.expires
        clock = self._kit.clock
        self._alarm.set(None if expires is None or self.status != "progressing" else clock.now() + expires - clock.wall())

    # -- joining and leaving -------------------------------------------------------------------------------------------

    def join(self, call: Call, spec: JoinSpec, left: Callable[[str], None]) -> Member:
        """Let `call` take part; `left(reason)` follows once. A call that is in another place leaves that one.

        Raises InvalidState where it is in this one or the conference has ended, Exhausted where that is full.
        """
        if call.place is self:
            raise InvalidState("the call is in this conference already")
        if self.status != "progressing":
            raise conference_ended(self.id)
        if self.full:
            raise conference_full(self.limit)
        if call.place is not None:
            call.place.leave(call)
        now = round(self._kit.clock.wall(), 6)
        member = Member(new_id(), call, spec, now, left, spec.mute, spec.deaf)
        if self._bus is None:
            most = self._kit.settings.conference.max_members
            self._bus = self._kit.engine.open_bus(BUS_RATE, beside=call.leg, capacity=most, digits=False)
        call.place = self
        self._members.append(member)
        self._empty_alarm.set(None)
        log.info("joined a conference", conference_id=self.id, call_id=call.facts.id, members=len(self._members))
        moderator = spec.moderator if spec.moderator is not None else not self.charter.spec.moderated
        self._started = self._started or moderator
        self._changed(member)
        if self._started:
            for each in self.members:
                self._admit(each)
        self._sounds.tend()
        return member

    def _admit(self, member: Member) -> None:
        """Let a member hear and be heard."""
        if member.status != "joining":
            return
        self._sounds.hush(member)
        try:
            self._seat(member)
        except TapelineError as error:
            log.error("a call cannot be put on the bus", conference_id=self.id, call_id=member.call.facts.id, error=str(error))
            self._part(member, "failed")
            return
        member.status = "joined"
        member.joined = self._kit.clock.wall()
        self._recordings.joined(member.call, self.bus, self._legs)
        member.call.recordings.note("conference_joined", conference_id=self.id)
        company.came(member.call)
        self._crowded = self._crowded or len(self.talking) > 1
        self._changed(member)
        if member.spec.record is not None:
            self._record_as_asked(member.spec.record)
        self._sounds.sound(member.spec.join_tone if member.spec.join_tone is not None else self.charter.spec.join_tone)

    def _seat(self, member: Member) -> None:
        """Put a member on the bus. Who shall not hear it is told before it can be heard."""
        leg, others = member.call.leg, self.talking
        for other in others:
            if other.ignores(member):
                self.bus.ignore(other.call.leg, leg)
        self.bus.add(leg, **member.gains)
        for other in others:
            if member.ignores(other):
                self.bus.ignore(leg, other.call.leg)

    def kick(self, member: Member) -> None:
        self._depart(member, "kicked")

    def _depart(self, member: Member, reason: str) -> None:
        """One leaves; what follows from that for the others."""
        talked = member.status == "joined"
        self._part(member, reason)
        if not member.replaced:
            self._end_without(member)
        if self.status == "progressing":
            if not self._members:
                self._empty()
            if talked:
                self._sounds.sound(member.spec.leave_tone if member.spec.leave_tone is not None else self.charter.spec.leave_tone)
            self._sounds.tend()

    def _end_without(self, member: Member) -> None:
        """End where it cannot go on without a member that has left."""
        if member.spec.end_on_exit:
            self.end("moderator_left")
        elif self.charter.room and not self._members:
            self.end("empty")
        elif self.charter.kind == "connect" and self._crowded and len(self._members) == 1:
            self.end("party_left")

    # -- whose place another takes -------------------------------------------------------------------------------------

    def talks(self, call: Call) -> bool:
        """Whether `call` is on the bus."""
        member = self._of(call)
        return member is not None and member.status == "joined"

    def seat_of(self, call: Call) -> Member | None:
        """The member on the bus that `call` is, where nobody is about to take its place."""
        member = self._of(call)
        return member if member is not None and member.status == "joined" and not member.replaced else None

    def succeed(self, member: Member, call: Call, left: Callable[[str], None]) -> None:
        """`call` takes the place of `member`, which may have left already. Raises as `join` does; then it is as if that one had left."""
        member.replaced = True
        self._part(member, "transferred")
        try:
            self.join(call, member.spec, left)
        except TapelineError:
            self.forsake(member)
            raise

    def forsake(self, member: Member) -> None:
        """Nobody takes the place of `member`. Where it has left, that counts now."""
        member.replaced = False
        if member.status == "leaved" and self.status == "progressing":
            self._end_without(member)
            if not self._members and self.status == "progressing":
                self._empty()
            self._sounds.tend()

    async def until_left(self, call: Call) -> tuple[Call, ...]:
        """Wait until `call` is no longer in it. The others stay: nobody is left with it."""
        member = self._of(call)
        if member is not None:
            await member.gone.wait()
        return ()

    def _empty(self) -> None:
        """Nobody is left: the next to come finds it as the first did."""
        self._started = self._crowded = False
        if self._recordings.active is not None:
            self._empty_alarm.set(self._kit.clock.now() + self._kit.settings.conference.empty_seconds)
        self._close_bus()

    def _close_bus(self) -> None:
        """Close the bus unless somebody is on it, or a recording listens to it."""
        if self._bus is not None and not self._members and not self._recordings.busy:
            self._bus.close()
            self._bus = None

    def _part(self, member: Member, reason: str) -> None:
        """Take a member out, whatever it was doing, and tell who joined it."""
        if member not in self._members:
            return
        self._members.remove(member)
        self._sounds.hush(member)
        member.call.place = None
        talked, member.status = member.status == "joined", "leaved"
        if talked:
            company.left(member.call, tuple(each.call for each in self.talking))
            self.bus.remove(member.call.leg)
            self._recordings.left(member.call, self.bus, self._legs)
            member.call.recordings.note("conference_left", conference_id=self.id)
        member.gone.set()
        member.reason = reason
        member.ended = self._kit.clock.wall()
        log.info("left a conference", conference_id=self.id, call_id=member.call.facts.id, reason=reason, members=len(self._members))
        self._changed(member)
        asyncio.get_running_loop().call_soon(member.left, reason)  # what it does next must not begin in the middle of this

    # -- moderation ----------------------------------------------------------------------------------------------------

    def moderate(self, member: Member, *, muted: bool | None = None, deaf: bool | None = None) -> None:
        """Change whether a member is heard, and hears. None: as it is."""
        member.muted = member.muted if muted is None else muted
        member.deaf = member.deaf if deaf is None else deaf
        self._recordings.note("moderated", **company.who(member.call), mute=member.muted, deaf=member.deaf)
        self._regain(member)
        self._sounds.tend()
        self._changed(member)

    def _regain(self, member: Member) -> None:
        if member.status == "joined":
            self.bus.set_gain(member.call.leg, **member.gains)
            company.quiet(member.call, not member.gains["speak"])
            self._recordings.changed(self.bus, self._legs)

    # -- the end -------------------------------------------------------------------------------------------------------

    def end(self, reason: str) -> None:
        """All leave, recordings stop; `over` is set when those have all their audio. A second end changes nothing."""
        if self.status != "progressing":
            return
        self.status = "terminating"
        self.reason = reason
        self._alarm.set(None)
        log.info("a conference ends", conference_id=self.id, reason=reason, members=len(self._members))
        self._recordings.stop_all("conference_ended")
        self._changed()
        for member in self.members:
            self._part(member, reason if reason in ("timeout", "moderator_left") else "ended")
        self._kit.spawn(self._release())

    async def _release(self) -> None:
        await self._recordings.released()
        self._close_bus()
        self.ended = self._kit.clock.wall()
        self.status = "terminated"
        # One made over the API is deleted by its end, as on the platform; a room stays to be seen.
        if not self.charter.room:
            self.deleted = self.ended
        self._changed()
        self.over.set()

    async def rest(self) -> None:
        """The server stops: complete the recordings; the conference goes on at its next start."""
        self._recordings.stop_all("shutdown")
        await self._recordings.released()

    # -- recordings ----------------------------------------------------------------------------------------------------

    def start_recording(self, spec: RecordSpec) -> Recorder:
        """Raises InvalidState (not progressing, nobody there, already recording) or Exhausted (the disk's watermark)."""
        if self.status != "progressing":
            raise conference_ended(self.id)
        if not self.talking:
            raise nobody_there()
        subject = Subject(
            account=self.charter.account,
            call_id=self.id,
            activeflow_id="",
            reference="confbridge",
            application_id=self.charter.application_id,
        )
        rate = max(member.call.leg.rate for member in self.talking)
        recorder = self._recordings.start(spec, subject, self.bus, self._legs, rate)
        self._changed()
        return recorder

    def _record_as_asked(self, spec: RecordSpec) -> None:
        """A member's flow wants the conference to be recorded. Where it is, who else wants to be told of that, is told too."""
        active = self._recordings.active
        if active is not None:
            if (custom := telling_too(active.spec.custom, spec.custom)) is not active.spec.custom:
                active.carry(custom)
            return
        try:
            self.start_recording(spec)
        except TapelineError as error:
            log.warning("a conference's recording was refused", conference_id=self.id, error=str(error))

    def stop_recording(self) -> Recorder:
        """Stop the newest active one. Raises InvalidState where none is."""
        stopped = self._recordings.stop()
        self._changed()
        return stopped

    def _beep(self) -> None:
        self._sounds.sound(BEEP)

    # -- Place ---------------------------------------------------------------------------------------------------------

    @property
    def bus(self) -> rtp.Bus:
        assert self._bus is not None
        return self._bus

    @property
    def open_bus(self) -> rtp.Bus | None:
        """The bus; None where nobody is on it, and nothing listens to it."""
        return self._bus

    def note(self, event: str, **facts: Any) -> None:
        """Keep an event on the timeline of each recording of it, and of its members."""
        self._recordings.note(event, **facts)
        for member in self.talking:
            member.call.recordings.note(event, **facts)

    def others(self, call: Call) -> tuple[Call, ...]:
        return tuple(member.call for member in self.talking if member.call is not call)

    def leave(self, call: Call) -> None:
        member = self._of(call)
        if member is not None:
            self._depart(member, "left")

    def on_digit(self, call: Call, digit: str, *, event: bool) -> None:
        """Keys are for the member's own flow; the others do not hear them."""

    def held(self, call: Call, on: bool) -> None:
        """A party that holds does not hear, and its music is not heard by the others."""
        member = self._of(call)
        if member is not None and member.status == "joined":
            self._recordings.note("held" if on else "unheld", **company.who(call))
        self.changed(call)

    def changed(self, call: Call) -> None:
        member = self._of(call)
        if member is not None:
            self._regain(member)
            self._sounds.tend()

    def _of(self, call: Call) -> Member | None:
        return next((member for member in self._members if member.call is call), None)

    # -- what is told of it --------------------------------------------------------------------------------------------

    def _changed(self, member: Member | None = None) -> None:
        self._close_bus()
        self.updated = self._kit.clock.wall()
        if member is not None:
            member.updated = self.updated
        self._on_change(self, member)

    def view(self) -> ConferenceView:
        charter, active = self.charter, self._recordings.active
        return ConferenceView(
            id=charter.id,
            account=charter.account,
            kind=charter.kind,
            status=self.status,
            created=charter.created,
            room=charter.room,
            name=charter.name,
            detail=charter.detail,
            data=charter.data,
            options=asdict(charter.spec),
            timeout=charter.timeout,
            pre_flow_id=charter.pre_flow_id,
            post_flow_id=charter.post_flow_id,
            member_ids=tuple(member.id for member in self._members),
            recording_id=active.id if active is not None else "",
            recording_ids=self._recordings.ids,
            reason=self.reason,
            expires=charter.expires,
            ended=self.ended,
            updated=self.updated,
            deleted=self.deleted,
        )

    def stay(self, member: Member) -> ConferenceCallView:
        return ConferenceCallView(
            id=member.id,
            account=self.charter.account,
            status=member.status,
            created=member.created,
            conference_id=self.id,
            call_id=member.call.facts.id,
            activeflow_id=member.call.facts.activeflow_id,
            reason=member.reason,
            muted=member.muted,
            deaf=member.deaf,
            joined=member.joined,
            left=member.ended,
            updated=member.updated,
        )
