"""What the account's stored documents say: a menu, a group, the times at which a rule holds.

The documents are the caller's to look up; what one means is the dialect's, which gives a function from the document to an operation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from tapeline.flow import commands
from tapeline.flow.events import LookedUp, RuleFound
from tapeline.flow.ops.answering import be_answered
from tapeline.flow.ops.keys import Gather
from tapeline.flow.ops.sounding import Say
from tapeline.flow.ops.waiting import reply
from tapeline.flow.program import DEFAULT, Context, Finish, Op, Performance
from tapeline.flow.variables import DIGITS

__all__ = ["ByRule", "Described", "SwitchRules"]

PATIENCE_S = 30.0
_ROUNDS: Final = 3
_CHANGES: Final = {"1": "enable", "2": "disable", "3": "reset"}  # by key
_ASK: Final = (
    "To let the rules hold at any time, press 1. To let them not hold at all, press 2. To let them go by the time again, press 3."
)
_SAID: Final = {
    "enable": "The rules hold from now on, at any time.",
    "disable": "The rules do not hold from now on, at any time.",
    "reset": "The rules go by the time again.",
}


@dataclass(frozen=True, slots=True)
class Described(Op):
    """Do what the document `name` says: the operation that `make` makes of it, or of {} where there is none. The results are that one's."""

    kind: ClassVar[str] = "described"

    document: str
    name: str
    make: Callable[[Mapping[str, Any]], Op]
    needed: bool = True  # that there is none is worth a line in the log

    def perform(self, context: Context) -> Performance:
        token = context.token()
        name = context.text(self.name)
        context.issue(commands.LookUp(token, self.document, name))
        event = yield from reply(token, context.now + PATIENCE_S)
        found = event.document if isinstance(event, LookedUp) else None
        if found is None and self.needed:
            context.log("warning", "there is no such document", document=self.document, name=name[:64])
        return (yield from self.make(found or {}).perform(context))


@dataclass(frozen=True, slots=True)
class ByRule(Op):
    """Go the way of the first rule that holds now; `_` where none does. `rules` are ids; those of `rule_set` go the way `rule_set`."""

    kind: ClassVar[str] = "by_rule"

    rules: tuple[str, ...]
    rule_set: str = ""
    timezone: str = ""

    def perform(self, context: Context) -> Performance:
        token = context.token()
        context.issue(commands.FindRule(token, self.rules, context.text(self.rule_set), context.text(self.timezone)))
        event = yield from reply(token, context.now + PATIENCE_S)
        return event.rule if isinstance(event, RuleFound) and event.rule else DEFAULT


@dataclass(frozen=True, slots=True)
class SwitchRules(Op):
    """Make rules hold, or not, whatever the time, and say so to the caller; with `menu` it says by a key which. Then the flow is over."""

    kind: ClassVar[str] = "switch_rules"
    collects: ClassVar[bool] = True

    rules: tuple[str, ...]
    action: str
    language: str = "en-US"
    between_s: float = 2.0

    def perform(self, context: Context) -> Performance:
        yield from be_answered(context)
        change = self.action
        for _ in range(_ROUNDS if change == "menu" else 0):
            context.variables.unset(DIGITS)
            yield from Say(_ASK, self.language, stop_keys="".join(_CHANGES)).perform(context)
            pressed = yield from Gather(1, first_s=5.0, between_s=self.between_s).perform(context)
            change = _CHANGES.get(pressed[0], "menu") if isinstance(pressed, tuple) else "menu"
            if change != "menu":
                break
        if change in _SAID:
            token = context.token()
            context.issue(commands.FindRule(token, self.rules, change=change))
            event = yield from reply(token, context.now + PATIENCE_S)
            done = isinstance(event, RuleFound) and not event.error
            yield from Say(_SAID[change] if done else "That could not be done.", self.language).perform(context)
        return Finish()
