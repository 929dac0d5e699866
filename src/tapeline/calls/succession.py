"""Who stands in another's place after a transfer: in a bridge, in a conference, in a flow; and in what recorded that one.

When this happens, and who asks for it, is decided elsewhere (`calls.transfer`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from tapeline.calls import company
from tapeline.calls.bridge import Bridge
from tapeline.calls.conference.conference import Conference
from tapeline.calls.conference.members import Member
from tapeline.calls.layout import OfAbsent, OfCall, OfFlow
from tapeline.calls.recorder import Recorder
from tapeline.calls.session import Call

__all__ = ["Kind", "enter", "followers", "give_to_flow", "hand_on", "is_caller", "leave_to_room", "release", "take_place"]

Kind = Literal["blind", "attended", "replaced"]


def take_place(bridge: Bridge, leaving: Call, coming: Call, kind: Kind) -> None:
    """`coming` stands where `leaving` stood: in the bridge, and in what recorded it. The transferor is hung up by who asks for this."""
    bridge.note("transfer", kind=kind, **company.who(leaving))
    if leaving not in bridge.calls:
        coming.recordings.note("transfer", kind=kind, **company.who(leaving))
    for staying in bridge.others(leaving):
        release(leaving, staying)
    bridge.swap(leaving, coming)
    hand_on(leaving, coming)


def enter(room: Conference, member: Member, coming: Call, kind: Kind) -> None:
    """`coming` stands where `member` stood in a conference, and in what recorded that one's call; if it leaves, and no flow leads it, it is
    hung up. The transferor is hung up by who asks for this. Raises as `Conference.join` does."""
    leaving = member.call
    room.note("transfer", kind=kind, **company.who(leaving))
    for staying in room.others(leaving):
        release(leaving, staying)
    room.succeed(member, coming, lambda reason: None if coming.led else coming.hang_up("normal"))
    hand_on(leaving, coming)


def leave_to_room(bridge: Bridge, leaving: Call, moving: Call) -> None:
    """`moving` is about to go from its bridge to a conference, and `leaving`, which it talked with, away. What recorded that one hears what
    the conference lets `moving` hear in its place."""
    bridge.note("transfer", kind="attended", **company.who(leaving))
    release(leaving, moving)
    bridge.dissolve(leaving)
    stand_in(leaving, moving)


def give_to_flow(bridge: Bridge, leaving: Call, staying: Call, run: Callable[[Call], None]) -> None:
    """A flow stands where `leaving` stood. What recorded that party hears what the flow says in its place."""
    bridge.note("transfer", kind="blind", **company.who(leaving))
    release(leaving, staying)
    bridge.dissolve(leaving)
    stand_in(leaving, staying)
    run(staying)


def stand_in(leaving: Call, staying: Call) -> None:
    """What recorded `leaving` goes on with `staying`: what that one hears from now on is in the place of what `leaving` said."""
    for recorder in followers(leaving):
        ears = OfFlow(staying.leg, is_caller(recorder, leaving))
        leaving.recordings.hand_on(recorder, staying.recordings, ears, heard=True)
        company.departed(recorder, leaving)


def hand_on(leaving: Call, coming: Call) -> None:
    """What recorded `leaving` records `coming` from now on, or ends. Both legs are on the engine thread of their place then."""
    heard = any(each.heard for each in (coming, *company.others(coming)))
    for recorder in followers(leaving):
        ears = ears_of(coming, recorder, leaving)
        leaving.recordings.hand_on(recorder, coming.recordings, ears, heard=heard)
        company.departed(recorder, leaving)
        company.arrived(recorder, coming)


def followers(leaving: Call) -> list[Recorder]:
    """The recordings of `leaving` that follow a transfer; those that do not are stopped."""
    active = [recorder for recorder in leaving.recordings if recorder.active]
    for recorder in active:
        if not recorder.spec.follow_transfer:
            recorder.stop("transfer")
    return [recorder for recorder in active if recorder.active]


def release(leaving: Call, staying: Call) -> None:
    """`staying` no longer ends with `leaving`."""
    if staying in leaving.chained:
        leaving.unchain(staying)


def ears_of(coming: Call, recorder: Recorder, leaving: Call) -> OfCall:
    """What a recording hears that follows to who comes."""
    seats = tuple((other.leg, other.speaks) for other in company.others(coming))
    return OfCall(coming.leg, is_caller(recorder, leaving), muted=coming.controls.muted in ("in", "both"), seats=seats)


def is_caller(recorder: Recorder, leaving: Call) -> bool:
    ears = recorder.ears
    return ears.caller if isinstance(ears, OfCall | OfAbsent | OfFlow) else leaving.incoming
