"""What the recordings of calls that are together are told of each other: who joined and left, who is heard, who speaks, who holds.

A recording of one party holds the others' sound too, so it is sound on its channels when they speak, and no silence while one of them
does. Where they are together (a bridge, a conference) and what they hear of each other is not decided here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from tapeline.calls.session import Call

__all__ = ["arrived", "came", "departed", "heard", "holding", "holds", "left", "met", "others", "present", "quiet", "spoke", "who"]


class Notes(Protocol):
    """A recording, or all of a call."""

    def note(self, event: str, **facts: Any) -> None: ...


def who(call: Call) -> dict[str, str]:
    """A call on another's timeline: its id, and who is at its end."""
    party = call.facts.source if call.incoming else call.facts.destination
    return {"call_id": call.facts.id, "party": party.target}


def holding(call: Call) -> bool:
    """Whether a hold keeps the party of `call` apart from the others: its own, or one that we have put it on."""
    return call.media.held or call.controls.on_hold


def others(call: Call) -> tuple[Call, ...]:
    """With whom `call` is."""
    return call.place.others(call) if call.place is not None else ()


def arrived(notes: Notes, call: Call) -> None:
    """`call` is there from now on, perhaps holding."""
    notes.note("joined", **who(call))
    if holding(call):
        notes.note("held", **who(call))


def departed(notes: Notes, call: Call) -> None:
    """`call` is there no longer; if it held, that is over too."""
    if holding(call):
        notes.note("unheld", **who(call))
    notes.note("left", **who(call))


def present(notes: Notes, call: Call) -> None:
    """A recording of `call` begins: who is there, and who holds."""
    for other in others(call):
        arrived(notes, other)
    if holding(call):
        notes.note("held", **who(call))


def came(call: Call) -> None:
    """`call` is with others from now on."""
    for other in others(call):
        arrived(other.recordings, call)
        arrived(call.recordings, other)
        other.recordings.meet(call.leg, call.heard)
        call.recordings.meet(other.leg, other.heard)
        if not other.speaks:
            call.recordings.seat(other.leg, False)
    quiet(call, not call.speaks)
    met(call)


def quiet(call: Call, on: bool) -> None:
    """The party of `call` is not to be heard by the others from now on, or is again."""
    for other in others(call):
        other.recordings.seat(call.leg, not on)


def left(call: Call, behind: tuple[Call, ...]) -> None:
    """`call` has left those `behind`."""
    for other in behind:
        departed(other.recordings, call)
        other.recordings.part(call.leg)
        call.recordings.part(other.leg)


def holds(call: Call, by: str = "") -> None:
    """A hold of `call` began, or the last of it is over; `by`: whose it is, "" its party's."""
    for each in (call, *others(call)):
        each.recordings.note("held" if holding(call) else "unheld", **who(call), **({"by": by} if by else {}))


def met(call: Call) -> None:
    """Tell recordings that wait for the bridge, where `call` and somebody it is with are both up."""
    for other in others(call):
        if call.status == other.status == "progressing":
            call.recordings.reached("bridge")
            other.recordings.reached("bridge")


def heard(call: Call, at: float) -> None:
    """The first sound of the party of `call` came."""
    call.recordings.sounded(at, "in")
    for other in others(call):
        other.recordings.sounded(at, "out")


def spoke(call: Call, voiced: bool, at: float) -> None:
    """The party of `call` began or ceased to speak."""
    for each in (call, *others(call)):
        each.recordings.voice(call.leg, voiced, at)
