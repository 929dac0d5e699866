"""Telling an application what happens on a call, and going on in what it answers.

An answer that is a document replaces all that was still to be done; without one the flow goes on. What cannot run is told, and the flow
goes on too: only the first document of a call must run. Where the request goes, who signs it and how often it is tried is not known here.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from tapeline.flow import commands
from tapeline.flow.commands import Party
from tapeline.flow.events import Asked, DialEnded, Event
from tapeline.flow.ops.answering import be_answered
from tapeline.flow.ops.keys import Gather
from tapeline.flow.ops.waiting import reply
from tapeline.flow.program import DEFAULT, Compilation, Context, Enter, Op, Outcome, Performance
from tapeline.flow.variables import DIGITS

__all__ = ["Connect", "Input", "Notify", "ReportDigits"]

PATIENCE_S = 120.0  # for an answer, all tries and the fallback together: the caller's guard failed to give up
HASH = "#"
NO_SPEECH = "Speech recognition is not available"
NOT_ASKED = "Speech was not enabled"


def _ask(context: Context, kind: str, url: str, method: str, fields: Mapping[str, Any]) -> Generator[float | None, Event, Outcome]:
    token = context.token()
    context.issue(commands.Ask(token, kind, url, method, fields))
    event = yield from reply(token, context.now + PATIENCE_S)
    found = event.found if isinstance(event, Asked) else None
    if not isinstance(found, Compilation):
        return DEFAULT
    if found.program is not None:
        return Enter(found.program, "replace")
    context.issue(commands.Complain("the document that came cannot run", tuple(str(problem) for problem in found.errors[:5])))
    return DEFAULT


@dataclass(frozen=True, slots=True)
class Input(Op):
    """Collect up to `max_digits` keys, or until `#` where `on_hash`, or until none comes for `between_s` (`first_s` for the first).

    The application is told of them. With `speech` the event says that there is no recognition here. `fresh`: what was pressed before
    does not count.
    """

    kind: ClassVar[str] = "input"
    collects: ClassVar[bool] = True

    dtmf: bool = True
    speech: bool = False
    max_digits: int = 4
    first_s: float = 3.0
    between_s: float = 3.0
    on_hash: bool = False
    fresh: bool = True
    url: str = ""
    method: str = "POST"

    def perform(self, context: Context) -> Performance:
        yield from be_answered(context)
        if self.fresh or not self.dtmf:
            context.variables.unset(DIGITS)
        most = self.max_digits if self.dtmf else 0
        gather = Gather(most, HASH if self.on_hash else "", self.first_s, self.between_s if self.dtmf else self.first_s)
        yield from gather.perform(context)
        pressed = context.variables.get(DIGITS)
        context.variables.unset(DIGITS)
        digits = pressed.partition(HASH)[0] if self.on_hash else pressed
        complete = len(digits) >= self.max_digits or (self.on_hash and HASH in pressed)
        told: dict[str, Any] = {"speech": {"error": NO_SPEECH if self.speech else NOT_ASKED}}
        if self.dtmf:
            told = {"dtmf": {"digits": digits[: self.max_digits], "timed_out": not complete}} | told
        return (yield from _ask(context, "input", self.url, self.method, told))


@dataclass(frozen=True, slots=True)
class ReportDigits(Op):
    """From now on each key is told, one by one, while the flow goes on."""

    kind: ClassVar[str] = "report_digits"

    url: str = ""
    method: str = "POST"

    def perform(self, context: Context) -> Performance:
        yield from be_answered(context)
        context.issue(commands.ReportDigits(self.url, self.method))
        return DEFAULT


@dataclass(frozen=True, slots=True)
class Notify(Op):
    """Tell `fields`, and wait for what comes back."""

    kind: ClassVar[str] = "notify_and_wait"

    fields: Mapping[str, Any]
    url: str
    method: str = "POST"

    def perform(self, context: Context) -> Performance:
        return (yield from _ask(context, "notify", self.url, self.method, self.fields))


@dataclass(frozen=True, slots=True)
class Connect(Op):
    """Call somebody and let it talk with the caller and whom it is connected with; the flow goes on once it has answered.

    Where it does not answer the flow goes on too; with `synchronous` the application is asked first. The variables
    `tapeline.connect.result` and `.causes` say how it came out.
    """

    kind: ClassVar[str] = "connect"

    destination: Party
    source: Party | None = None
    timeout_s: float = 60.0
    synchronous: bool = False
    url: str = ""
    method: str = "POST"
    options: Mapping[str, Any] = field(default_factory=dict)

    def perform(self, context: Context) -> Performance:
        token = context.token()
        context.issue(commands.Dial(token, (self.destination,), self.source, self.timeout_s, options=self.options))
        event = yield from reply(token)
        if not isinstance(event, DialEnded):
            return DEFAULT
        context.variables.set("tapeline.connect.result", "answered" if event.answered else (*event.causes, "failed")[0])
        context.variables.set("tapeline.connect.causes", ",".join(event.causes))
        if event.answered or not self.synchronous:
            return DEFAULT
        told = {"causes": event.causes, "to": self.destination.target, "from": self.source.target if self.source is not None else ""}
        return (yield from _ask(context, "connect", self.url, self.method, told))
