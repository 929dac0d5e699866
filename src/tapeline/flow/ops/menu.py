"""A menu: a greeting, and what the caller presses decides the way on.

One performance is one round. Its result is what was pressed, else `timeout`; where neither has a way, `again` leads back here, until
all rounds are used up: then `max_retries`. Keys pressed during the greeting cut it short and count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tapeline.flow.ops.answering import be_answered
from tapeline.flow.ops.keys import Gather
from tapeline.flow.ops.sounding import ALL_KEYS, Play, Say
from tapeline.flow.patterns import compile_pattern
from tapeline.flow.program import Context, Op, Outcome, Performance
from tapeline.flow.variables import DIGITS

__all__ = ["Menu"]


@dataclass(frozen=True, slots=True)
class Menu(Op):
    """`menu` is the platform's id of it; `text` is spoken or `media` played. Times in seconds."""

    kind: ClassVar[str] = "menu"
    collects: ClassVar[bool] = True

    menu: str = ""
    text: str = ""
    media: str = ""
    language: str = "en-US"
    invalid: str = ""  # played where what was pressed leads nowhere
    exit: str = ""  # played when all rounds are used up
    hunts: bool = False  # what no child is for is looked up as a number: the result `hunt`
    hunt_allow: str = ""  # a pattern that such a number must match, and one that it must not
    hunt_deny: str = ""
    choices: frozenset[str] = frozenset()  # what is not pressed in vain
    retries: int = 3
    timeout_s: float = 10.0
    between_s: float = 2.0
    max_digits: int = 4

    def __post_init__(self) -> None:
        if self.retries < 1 or self.max_digits < 1 or self.timeout_s < 0 or self.between_s < 0:
            raise ValueError("a menu needs a round, a digit and no negative times")

    def perform(self, context: Context) -> Performance:
        if context.visits() < self.retries:
            context.variables.unset(DIGITS)  # what is pressed from the answer on counts
        yield from be_answered(context)
        if context.visits() >= self.retries:
            if self.exit:
                yield from Play((self.exit,), stop_keys=ALL_KEYS).perform(context)
            return "max_retries"
        if self.media:
            yield from Play((self.media,), stop_keys=ALL_KEYS).perform(context)
        elif self.text:
            yield from Say(self.text, self.language, stop_keys=ALL_KEYS).perform(context)
        gather = Gather(self.max_digits, first_s=self.timeout_s, between_s=self.between_s)
        outcome: Outcome = yield from gather.perform(context)
        pressed = outcome[0] if isinstance(outcome, tuple) else ""
        if not pressed:
            return ("timeout", "again")
        if self.hunts and pressed not in self.choices and self._may_hunt(pressed):
            return (pressed, "hunt")
        if self.invalid and pressed not in self.choices:
            yield from Play((self.invalid,), stop_keys=ALL_KEYS).perform(context)
        return (pressed, "again")

    def _may_hunt(self, number: str) -> bool:
        allowed = not self.hunt_allow or compile_pattern(self.hunt_allow).search(number)
        return bool(allowed) and not (self.hunt_deny and compile_pattern(self.hunt_deny).search(number))
