"""Transfers: one party of a bridge lets another take its place, by REFER, by an INVITE with Replaces, or over the API.

    blind       the target is dialled; once it answers it takes the transferor's place. Until then the two stay connected, and where the
                target does not answer nothing has changed. A transferor that hangs up at once leaves the other with a ringing tone.
                Where the target is a number of ours that a flow answers, the other party is in that flow at once.
    attended    the target is the far party of another call that the transferor has with us: the two remaining parties are joined.
                A call that is not with us is dialled with its Replaces, as RFC 3891 says.
    replaced    somebody calls us in place of a party that is connected (RFC 3891), and takes that place with its answer; or in place of
                one that still rings, and answers for it (pickup).

A member of a conference may do the same: its place there is what the other takes, by whichever of these ways. Where the member hangs up
at once, the conference does not end by that; where nobody comes in its place, it counts then.

What recorded the party that leaves follows to who takes its place, or ends, as its specification says; the recordings of those who stay
go on as they are. A transfer is one party's at a time and bounded in number, so that REFERs cannot make calls without end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog

from tapeline import rtp, sip
from tapeline.calls import company
from tapeline.calls.bridge import Bridge
from tapeline.calls.conference.conference import Conference
from tapeline.calls.conference.members import Member
from tapeline.calls.dialer import DialResult, Wish
from tapeline.calls.equipment import Equipment
from tapeline.calls.errors import already_transferring, not_bridged
from tapeline.calls.layout import OfAbsent
from tapeline.calls.recorder import Recorder
from tapeline.calls.session import Call
from tapeline.calls.succession import (
    Kind,
    ears_of,
    enter,
    followers,
    give_to_flow,
    hand_on,
    is_caller,
    leave_to_room,
    release,
    take_place,
)
from tapeline.core.errors import ProtocolError, TapelineError
from tapeline.flow import Party

__all__ = ["Transfers", "party_of"]

log = structlog.get_logger(__name__)

RING_S = 60.0  # how long the target of a blind transfer may ring
MOST = 32  # transfers that one call may ask for


class Transfers:
    """`find` gives the call of a session, `flow_of` what runs the flow of a number of an account on a call; None where there is none.

    `totals` counts what was asked for, and what came to nothing.
    """

    def __init__(
        self,
        equipment: Equipment,
        endpoint: sip.Endpoint,
        pump: Callable[[], None],
        find: Callable[[str], Call | None],
        flow_of: Callable[[str, str], Callable[[Call], None] | None],
    ) -> None:
        self._kit = equipment
        self._endpoint = endpoint
        self._pump = pump
        self._find = find
        self._flow_of = flow_of
        self.totals = {"transfers_total": 0, "transfers_failed_total": 0}

    # -- REFER ---------------------------------------------------------------------------------------------------------

    def referred(self, call: Call, refer: sip.Refer) -> None:
        """The party of `call` wants to be replaced. It is accepted or refused at once, and told what comes of it."""
        self.totals["transfers_total"] += 1
        refusal = self._refusal(call)
        replaced: sip.Session | None = None
        try:
            replaced = self._endpoint.replaced(refer.replaces) if refer.replaces else None
        except ProtocolError as error:
            refusal = refusal or error.status
        if refusal:
            log.info("transfer refused", call_id=call.facts.id, status=refusal)
            self.totals["transfers_failed_total"] += 1
            refer.reject(refusal, self._kit.clock.now())
            self._pump()
            return
        call.transfers += 1
        refer.accept(self._kit.clock.now())
        self._pump()
        if replaced is not None:
            self._attended(call, self._find(replaced.id), refer)
            return
        headers = (("Replaces", refer.replaces), ("Require", "replaces")) if refer.replaces else ()
        self._kit.spawn(self._refer(call, party_of(refer.target, call), headers, refer))

    def _refusal(self, call: Call) -> int:
        """The status that refuses a transfer by `call`; 0 where it may ask for one."""
        place = call.place
        other = place.other(call) if isinstance(place, Bridge) else None
        together = (other is not None and other.status == "progressing") or (isinstance(place, Conference) and place.talks(call))
        if not together or call.status != "progressing":
            return 603
        if not self._allowed(call.facts.user):
            return 403
        if not _settled(call):
            return 491
        return 603 if call.transfers >= MOST else 0

    def _allowed(self, user: str) -> bool:
        """Whether the setting lets somebody transfer who is `user`, or "", none of ours. A server without users asks nobody who he is."""
        settings = self._kit.settings
        allowed = settings.server.transfers
        return allowed == "anyone" or (allowed == "users" and (bool(user) or not settings.users))

    def _tell(self, refer: sip.Refer | None, status: int, reason: str = "") -> None:
        if refer is not None:
            refer.notify(status, reason, self._kit.clock.now())
            self._pump()

    # -- blind ---------------------------------------------------------------------------------------------------------

    async def _refer(self, leaving: Call, target: Party, headers: tuple[tuple[str, str], ...], refer: sip.Refer) -> None:
        status = await self.blind(leaving, target, headers, refer)
        self._tell(refer, status)
        if status < 300:
            leaving.hang_up("normal", "transferred")

    def start(self, staying: Call, target: Party) -> None:
        """Begin to connect `staying` with `target`, in place of whom it talks with. Raises InvalidState."""
        bridge = staying.place
        leaving = bridge.other(staying) if isinstance(bridge, Bridge) else None
        if leaving is None or staying.status != "progressing" or leaving.status != "progressing":
            raise not_bridged()
        if isinstance(bridge, Bridge) and bridge.changing is not None:
            raise already_transferring()
        self.totals["transfers_total"] += 1
        self._kit.spawn(self._move(leaving, target))

    async def _move(self, leaving: Call, target: Party) -> None:
        if await self.blind(leaving, target) < 300:
            leaving.hang_up("normal", "transferred")

    async def blind(
        self, leaving: Call, target: Party, headers: tuple[tuple[str, str], ...] = (), refer: sip.Refer | None = None
    ) -> int:
        """Dial `target` and let it take the place of `leaving`. The SIP status of how that came out."""
        bridge = leaving.place
        if isinstance(bridge, Conference):
            return await self._bring(bridge, leaving, target, headers, refer)
        staying = bridge.other(leaving) if isinstance(bridge, Bridge) else None
        if not isinstance(bridge, Bridge) or staying is None:
            return 481
        if bridge.changing is not None:
            return 491
        run = self._flow_of(target.target, leaving.facts.account) if target.kind == "" and not headers else None
        if run is not None:
            log.info("transfer", call_id=leaving.facts.id, kind="blind", staying=staying.facts.id, to="a flow")
            give_to_flow(bridge, leaving, staying, run)
            return 200
        attempt = _Blind(bridge, leaving, staying, self._kit)
        bridge.change(leaving, attempt.left_early)
        wish = Wish(
            parties=(target,),
            account=leaving.facts.account,
            caller=staying,
            timeout_s=RING_S,
            headers=headers,
            activeflow_id=leaving.facts.activeflow_id,
        )
        log.info("transfer", call_id=leaving.facts.id, kind="blind", staying=staying.facts.id)
        return await self._dial(leaving, wish, attempt, refer)

    async def _bring(
        self, room: Conference, leaving: Call, target: Party, headers: tuple[tuple[str, str], ...], refer: sip.Refer | None
    ) -> int:
        """Dial `target` and let it take the place of `leaving` in the conference. A number of ours that a flow answers cannot take it."""
        member = room.seat_of(leaving)
        if member is None:
            return 481
        if target.kind == "" and not headers and self._flow_of(target.target, leaving.facts.account) is not None:
            self.totals["transfers_failed_total"] += 1
            log.info("transfer failed: a flow takes no place in a conference", call_id=leaving.facts.id)
            return 603
        attempt = _Seat(room, member)
        wish = Wish(
            parties=(target,),
            account=leaving.facts.account,
            caller=leaving,
            chained=False,
            timeout_s=RING_S,
            headers=headers,
            activeflow_id=leaving.facts.activeflow_id,
        )
        log.info("transfer", call_id=leaving.facts.id, kind="blind", conference_id=room.id)
        return await self._dial(leaving, wish, attempt, refer)

    async def _dial(self, leaving: Call, wish: Wish, attempt: _Blind | _Seat, refer: sip.Refer | None) -> int:
        """Dial who shall take the place, and settle what comes of it. The SIP status of how that came out."""
        status = 500
        causes: tuple[str, ...] = ("FAILED",)
        try:
            result = await self._kit.dialer.dial(wish, lambda call, status: self._tell(refer, status))
            causes = result.causes
            status = attempt.settle(result.call, "attended" if wish.headers else "blind") if result.call is not None else _status(result)
        except Exception as error:
            log.exception("a transfer failed", call_id=leaving.facts.id, error=repr(error))
        if status >= 300:
            self.totals["transfers_failed_total"] += 1
            log.info("transfer failed", call_id=leaving.facts.id, status=status, causes=causes)
            attempt.give_up()
        return status

    # -- attended ------------------------------------------------------------------------------------------------------

    def _attended(self, leaving: Call, consulted: Call | None, refer: sip.Refer) -> None:
        """Join the two parties that `leaving` and `consulted`, both the transferor's, talk with."""
        bridge, other = leaving.place, consulted.place if consulted is not None else None
        if consulted is not None and isinstance(bridge, Conference) != isinstance(other, Conference):
            member, talking = (leaving, consulted) if isinstance(bridge, Conference) else (consulted, leaving)
            self._tell(refer, self._into_room(member, talking))
            return
        if (
            not isinstance(bridge, Bridge)
            or not isinstance(other, Bridge)
            or consulted is None
            or other is bridge
            or other.changing is not None
            or (staying := bridge.other(leaving)) is None
            or (coming := other.other(consulted)) is None
            or coming.status != "progressing"
        ):
            self.totals["transfers_failed_total"] += 1
            log.info("transfer failed", call_id=leaving.facts.id, status=481, kind="attended")
            self._tell(refer, 481)
            return
        log.info("transfer", call_id=leaving.facts.id, kind="attended", staying=staying.facts.id, coming=coming.facts.id)
        release(consulted, coming)
        other.note("transfer", kind="attended", **company.who(consulted))
        other.dissolve(consulted)
        take_place(bridge, leaving, coming, "attended")
        hand_on(consulted, staying)
        self._tell(refer, 200)
        for each in (leaving, consulted):
            each.hang_up("normal", "transferred")

    def _into_room(self, member: Call, talking: Call) -> int:
        """Bring whom `talking` talks with into the conference that `member` is in, both the transferor's. The SIP status of it."""
        room, bridge = member.place, talking.place
        seat = room.seat_of(member) if isinstance(room, Conference) else None
        moving = bridge.other(talking) if isinstance(bridge, Bridge) and bridge.changing is None else None
        if (
            not isinstance(room, Conference)
            or not isinstance(bridge, Bridge)
            or seat is None
            or moving is None
            or moving.status != "progressing"
            or moving.facts.account != room.charter.account
        ):
            self.totals["transfers_failed_total"] += 1
            log.info("transfer failed", call_id=talking.facts.id, status=481, kind="attended")
            return 481
        log.info("transfer", call_id=talking.facts.id, kind="attended", conference_id=room.id, coming=moving.facts.id)
        status = 200
        leave_to_room(bridge, talking, moving)
        try:
            enter(room, seat, moving, "attended")
        except TapelineError as error:
            log.error("a transfer failed", call_id=talking.facts.id, error=str(error))
            self.totals["transfers_failed_total"] += 1
            moving.hang_up("failed", "the conference could not be joined")
            status = 500
        for each in (member, talking):
            each.hang_up("normal", "transferred")
        return status

    # -- an INVITE with Replaces ---------------------------------------------------------------------------------------

    def may_replace(self, call: Call, user: str) -> bool:
        """Whether `user` may take the place of `call` now: it is connected and nobody else is about to, or we dial it and it rings."""
        together = isinstance(call.place, Bridge) or (isinstance(call.place, Conference) and call.place.talks(call))
        connected = together and _settled(call) and call.status == "progressing"
        return self._allowed(user) and (connected or rings(call))

    def replace(self, leaving: Call, coming: Call) -> None:
        """`coming`, which just calls us, is answered and takes the place of `leaving` once it is up."""
        self.totals["transfers_total"] += 1
        coming.follow(_Successor(lambda: self._replaced(leaving, coming)))

    def _replaced(self, leaving: Call, coming: Call) -> None:
        place = leaving.place
        if rings(leaving) and leaving.instead is not None:
            log.info("picked up", call_id=leaving.facts.id, coming=coming.facts.id)
            leaving.instead(coming)
            return
        if not self.may_replace(leaving, coming.facts.user):
            self.totals["transfers_failed_total"] += 1
            log.info("nobody is there to be replaced any more", call_id=coming.facts.id)
            coming.hang_up("failed", "the call to be replaced has ended")
            return
        log.info("transfer", call_id=leaving.facts.id, kind="replaced", coming=coming.facts.id)
        if isinstance(place, Bridge):
            take_place(place, leaving, coming, "replaced")
        elif isinstance(place, Conference) and (member := place.seat_of(leaving)) is not None:
            failed = _Seat(place, member).settle(coming, "replaced") >= 300
            self.totals["transfers_failed_total"] += failed
        leaving.hang_up("normal", "replaced")


class _Blind:
    """One blind transfer, while its target rings."""

    def __init__(self, bridge: Bridge, leaving: Call, staying: Call, kit: Equipment) -> None:
        self._bridge = bridge
        self._leaving = leaving
        self._staying = staying
        self._kit = kit
        self._orphans: list[Recorder] = []  # of a transferor that hung up at once; the staying call keeps them
        self._tone: rtp.Player | None = None

    def left_early(self) -> None:
        """The transferor did not wait: the other hears it ring, and recordings that follow go on with what there is."""
        release(self._leaving, self._staying)
        for recorder in followers(self._leaving):
            ears = OfAbsent(self._staying.leg, is_caller(recorder, self._leaving))
            self._leaving.recordings.hand_on(recorder, self._staying.recordings, ears, heard=self._staying.heard)
            company.departed(recorder, self._leaving)
            self._orphans.append(recorder)
        samples = self._kit.prompts.ringback(self._staying.leg.rate)
        self._tone = self._staying.play(samples, lambda stopped: None, loop=True)

    def settle(self, coming: Call, kind: Kind) -> int:
        """The target is up. 200 where it has taken the place, 487 where nobody is there to talk with it any more."""
        self._quiet()
        bridge, staying = self._bridge, self._staying
        if staying.place is not bridge or staying.over or coming.over:
            coming.hang_up("cancel", "nobody waits any more")
            return 487
        take_place(bridge, self._leaving, coming, kind)
        for recorder in self._orphans:
            if recorder.active:
                ears = ears_of(coming, recorder, self._leaving)
                staying.recordings.hand_on(recorder, coming.recordings, ears, heard=coming.heard)
        return 200

    def give_up(self) -> None:
        """Nobody comes. Where both are still there they go on as before; one that is alone leaves the bridge."""
        self._quiet()
        for recorder in self._orphans:
            recorder.stop("transfer")
        bridge = self._bridge
        if bridge.changing is not None and bridge.changing[0] is self._leaving:
            bridge.changing = None
        if self._staying.place is bridge and len(bridge.calls) == 1:
            bridge.leave(self._staying)
            if not self._staying.led:
                self._staying.hang_up("normal", "the transfer failed")

    def _quiet(self) -> None:
        tone, self._tone = self._tone, None
        if tone is not None:
            tone.stop()


class _Seat:
    """One transfer of a member of a conference, while its target rings. A member that does not wait leaves; its place is kept."""

    def __init__(self, room: Conference, member: Member) -> None:
        self._room = room
        self._member = member
        member.replaced = True

    def settle(self, coming: Call, kind: Kind) -> int:
        """The target is up. 200 where it has taken the place, 487 where there is no such conference any more, 480 where it cannot."""
        if self._room.status != "progressing" or coming.over:
            coming.hang_up("cancel", "nobody waits any more")
            return 487
        try:
            enter(self._room, self._member, coming, kind)
        except TapelineError as error:
            log.error("a transfer failed", call_id=self._member.call.facts.id, error=str(error))
            coming.hang_up("failed", "the conference could not be joined")
            return 480
        return 200

    def give_up(self) -> None:
        """Nobody comes."""
        self._room.forsake(self._member)


class _Successor:
    """Follows a call that is to take another's place, until it is up."""

    def __init__(self, up: Callable[[], None]) -> None:
        self._up = up

    def progressed(self, status: int) -> None:
        """It calls us, so there is none."""

    def established(self) -> None:
        self._up()

    def digit(self, digit: str) -> None:
        """Keys are the bridge's."""

    def hung_up(self, cause: str, by: str) -> None:
        """Then the one to be replaced stays where it is."""

    @property
    def action(self) -> dict[str, Any]:
        return {}


def _settled(call: Call) -> bool:
    """Whether nobody is about to take a place where `call` is."""
    place = call.place
    return place.changing is None if isinstance(place, Bridge) else isinstance(place, Conference) and place.seat_of(call) is not None


def rings(call: Call) -> bool:
    """Whether it is dialled, and neither answered nor given up."""
    return call.instead is not None and call.progressing is None and not call.over


def party_of(target: str, call: Call) -> Party:
    """Whom a URI names that the party of `call` gave: one of our own users or a number where it is at our address, else a SIP address."""
    session = call.session
    try:
        uri = sip.parse_uri(target)
        own = [sip.parse_uri(each) for each in (session.local_uri, session.request_uri if session.incoming else "") if each]
    except sip.MalformedUri:
        return Party("sip", target)
    if uri.scheme == "tel":
        return Party("tel", uri.plain_user)
    flow = session.dialog.flow
    places = {(each.host.lower(), each.port or 5060) for each in own} | {flow.local}
    return Party("", uri.plain_user) if uri.user and (uri.host.lower(), uri.port or 5060) in places else Party("sip", target)


def _status(result: DialResult) -> int:
    """The SIP status of a dialling that came to nothing."""
    found = [int(cause[4:]) for cause in result.causes if cause.startswith("sip:") and cause[4:].isdigit()]
    return found[0] if found and 300 <= found[0] < 700 else 480
