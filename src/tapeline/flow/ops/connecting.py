"""Other parties: dialling them, joining a conference, placing a call of its own.

The words are complete; who carries out the command may answer `Unsupported`, upon which the flow goes on. How legs are bridged is
not known here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

from tapeline.core.roomspec import JoinSpec, RoomSpec
from tapeline.flow import commands
from tapeline.flow.commands import Party
from tapeline.flow.events import DialEnded, DialRoom, RoomLeft, RoomPrelude, Unparked
from tapeline.flow.ops.answering import be_answered
from tapeline.flow.ops.fetching import LoadProgram
from tapeline.flow.ops.waiting import reply
from tapeline.flow.program import DEFAULT, Context, Enter, Finish, Op, Performance, Program

__all__ = ["Dial", "JoinRoom", "Page", "Park", "PassOn", "PlaceCall"]

ALONE = (  # that a phone is to answer by itself; makers of phones know one or the other (RFC 5373, and what was there before)
    ("Answer-Mode", "Auto"),
    ("Call-Info", "<sip:page>;answer-after=0"),
    ("Alert-Info", "<sip:page>;info=alert-autoanswer;delay=0"),
)
NOT_JOINED = {  # why a conference did not answer: word, hangup_reason and status, as of a party
    "not_found": ("NOT_FOUND", "failed", 404),
    "full": ("BUSY", "busy", 486),
    "failed": ("FAILED", "failed", 0),
}


def _filled(context: Context, party: Party) -> Party:
    return replace(party, kind=context.text(party.kind), target=context.text(party.target), name=context.text(party.name))


@dataclass(frozen=True, slots=True)
class Dial(Op):
    """Call several, all at once or one after another, and connect the first to answer, until one of the two leaves.

    Options: `strategy` (`all`, `one_by_one`, `by_weight`), `each_s` (how long each may ring then), `relay_reason`: the caller is hung up
    afterwards with the reason of who was dialled, and the run is over; all others are the call's affair (`calls.connecting`). The variables
    `tapeline.connect.result`, `.causes`, `.reason` and `.status` say how it came out. Results: `answered`; else the causes as the call
    tells them, most telling first (`NO_ANSWER`, `sip:486`), else `failed`. A conference answers by being joined; what follows is `_`.
    """

    kind: ClassVar[str] = "dial"

    destinations: tuple[Party, ...]
    source: Party | None = None
    timeout_s: float = 60.0
    early_media: bool = False
    anonymous: Literal["yes", "no", "auto"] = "auto"
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.destinations:
            raise ValueError("there must be a destination")

    def perform(self, context: Context) -> Performance:
        token = context.token()
        destinations = tuple(_filled(context, party) for party in self.destinations)
        source = _filled(context, self.source) if self.source else None
        context.issue(commands.Dial(token, destinations, source, self.timeout_s, self.early_media, self.anonymous, self.options))
        event = yield from reply(token)
        if isinstance(event, DialRoom):
            rest = JoinRoom(event.room, dialled=True, relay_reason=bool(self.options.get("relay_reason")))
            return Enter(Program.chain(rest, substitutes=False))
        if not isinstance(event, DialEnded):
            return DEFAULT
        results = ("answered",) if event.answered else (*event.causes, "failed")
        _tell(context, results[0], event.causes, event.reason, event.status)
        if self.options.get("relay_reason"):
            context.issue(commands.Hangup(event.reason, status=event.status))
            return Finish(hung_up=True)
        return results


def _tell(context: Context, result: str, causes: tuple[str, ...], reason: str, status: int) -> None:
    """How a dialling came out, as variables."""
    for name, value in (("result", result), ("causes", ",".join(causes)), ("reason", reason), ("status", str(status))):
        context.variables.set(f"tapeline.connect.{name}", value)


@dataclass(frozen=True, slots=True)
class PassOn(Op):
    """End the call with the reason for which the last one that was dialled did not answer."""

    kind: ClassVar[str] = "pass_on"

    def perform(self, context: Context) -> Performance:
        status = context.variables.get("tapeline.connect.status")
        reason = context.variables.get("tapeline.connect.reason") or "failed"
        context.issue(commands.Hangup(reason, status=int(status) if status.isdigit() else 0))
        yield from ()
        return Finish(hung_up=True)


@dataclass(frozen=True, slots=True)
class JoinRoom(Op):
    """Be in a conference until one leaves it. Answers the call first. Result, and variable `tapeline.conference.result`: why it is over, as
    the call tells it.

    Where the conference has a flow that comes first (`prelude`), that one runs, and then the joining is asked for again; one that comes
    afterwards runs when it has been left, and what follows then is `_`. With `dialled` the conference is who answered a `Dial`, whose
    variables tell of it; with `relay_reason` the call is hung up then.
    """

    kind: ClassVar[str] = "join_room"

    room: str
    room_kind: Literal["conference", "confbridge", "conversation"] = "conference"
    spec: JoinSpec = JoinSpec()
    prelude: bool = True
    scoped: bool = False
    everyone: bool = False
    dialled: bool = False
    relay_reason: bool = False

    def perform(self, context: Context) -> Performance:
        room, spec = context.text(self.room), self.spec
        if spec.music:
            spec = replace(spec, music=context.text(spec.music))
        yield from be_answered(context)
        token = context.token()
        context.issue(commands.JoinRoom(token, room, self.room_kind, spec, self.prelude, self.scoped, self.everyone))
        event = yield from reply(token)
        if isinstance(event, RoomPrelude):
            rest = replace(self, room=room, spec=spec, prelude=False)
            return Enter(Program.chain(LoadProgram(event.flow_id), rest, substitutes=False))
        if not isinstance(event, RoomLeft):
            return DEFAULT
        context.variables.set("tapeline.conference.result", event.reason)
        if self.dialled:
            result, reason, status = NOT_JOINED.get(event.reason, ("answered", "normal", 0))
            _tell(context, result, () if result == "answered" else (result,), reason, status)
            if self.relay_reason:
                context.issue(commands.Hangup(reason, status=status))
                return Finish(hung_up=True)
        return Enter(Program.chain(LoadProgram(event.flow_id), substitutes=False)) if event.flow_id else event.reason


@dataclass(frozen=True, slots=True)
class Park(Op):
    """Wait in a slot until somebody takes the call from there, or take who waits there. Results: `answered`, `empty`, `full`."""

    kind: ClassVar[str] = "park"

    slot: str = ""
    action: Literal["park", "retrieve", "auto"] = "park"

    def perform(self, context: Context) -> Performance:
        yield from be_answered(context)
        token = context.token()
        context.issue(commands.Park(token, context.text(self.slot), self.action))
        event = yield from reply(token)
        return event.result if isinstance(event, Unparked) else DEFAULT


@dataclass(frozen=True, slots=True)
class Page(Op):
    """Speak to several at once: each is called by itself, with a wish that its phone answers alone, and hears the caller in a conference
    that ends when the caller leaves. With `one_way` nobody hears them."""

    kind: ClassVar[str] = "page"

    destinations: tuple[Party, ...]
    source: Party | None = None
    one_way: bool = True
    timeout_s: float = 5.0

    def perform(self, context: Context) -> Performance:
        yield from be_answered(context)
        room, silent = f"page {context.variables.get('tapeline.call.id')}", RoomSpec(join_tone="", leave_tone="", music_alone=False)
        member = JoinRoom(room, "conversation", JoinSpec(mute=self.one_way, create=silent))
        destinations = tuple(_filled(context, party) for party in self.destinations)
        context.issue(
            commands.PlaceCall(
                context.token(), destinations, _filled(context, self.source) if self.source else None, chained=True,
                program=Program.chain(member, substitutes=False), timeout_s=self.timeout_s, headers=ALONE, not_self=True,
            )
        )  # fmt: skip
        return (yield from JoinRoom(room, "conversation", JoinSpec(end_on_exit=True, create=silent)).perform(context))


@dataclass(frozen=True, slots=True)
class PlaceCall(Op):
    """Start an independent call; the flow does not wait for it."""

    kind: ClassVar[str] = "place_call"

    destinations: tuple[Party, ...]
    source: Party | None = None
    flow_id: str = ""
    flow: str = ""
    chained: bool = False
    anonymous: Literal["yes", "no", "auto"] = "auto"
    early: bool = False

    def perform(self, context: Context) -> Performance:
        destinations = tuple(_filled(context, party) for party in self.destinations)
        source = _filled(context, self.source) if self.source else None
        flow_id = context.text(self.flow_id)
        context.issue(
            commands.PlaceCall(context.token(), destinations, source, flow_id, self.flow, self.chained, self.anonymous, self.early)
        )
        yield from ()
        return DEFAULT
