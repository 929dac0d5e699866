"""The number of who calls: the way by what it is, and another one that the caller types in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tapeline.flow.ops.answering import be_answered
from tapeline.flow.ops.keys import Gather
from tapeline.flow.ops.sounding import ALL_KEYS, Play, Say, Tone
from tapeline.flow.patterns import compile_pattern
from tapeline.flow.program import DEFAULT, Context, Op, Performance
from tapeline.flow.variables import DIGITS

__all__ = ["Behind", "EnterNumber", "InList", "Match"]


@dataclass(frozen=True, slots=True)
class Match(Op):
    """`match` where `subject` fits the pattern, else `nomatch`; with `itself` the result of a match is the subject. What fits sets the
    variables of `assignments`."""

    kind: ClassVar[str] = "match"

    subject: str
    pattern: str
    itself: bool = False
    assignments: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        compile_pattern(self.pattern)

    def perform(self, context: Context) -> Performance:
        yield from ()
        subject = context.text(self.subject)
        if not compile_pattern(self.pattern).search(subject):
            return "nomatch"
        for name, value in self.assignments:
            context.variables.set(name, context.text(value))
        return subject if self.itself else "match"


@dataclass(frozen=True, slots=True)
class InList(Op):
    """`match` where `subject` is one of the numbers, begins with a prefix, or fits a pattern; else `nomatch`. A + in front does not
    matter."""

    kind: ClassVar[str] = "in_list"

    subject: str
    numbers: frozenset[str] = frozenset()
    prefixes: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()

    def perform(self, context: Context) -> Performance:
        yield from ()
        subject = context.text(self.subject)
        bare = subject.removeprefix("+")
        listed = bare in self.numbers or (bool(bare) and bare.startswith(self.prefixes))
        return "match" if listed or any(compile_pattern(pattern).search(subject) for pattern in self.patterns) else "nomatch"


@dataclass(frozen=True, slots=True)
class Behind(Op):
    """What was dialled is from now on what the number's pattern captured, where it captured something: the number behind a code."""

    kind: ClassVar[str] = "behind"

    def perform(self, context: Context) -> Performance:
        yield from ()
        if captured := context.variables.get("kazoo.capture_group"):
            context.variables.set("kazoo.dialled", captured)
        return DEFAULT


@dataclass(frozen=True, slots=True)
class EnterNumber(Op):
    """Ask the caller for a number, and set `assignments` where it has `low` digits at least and fits the pattern; `${entered}` stands for
    it in their values. Results: `entered`, else `refused`, which is said."""

    kind: ClassVar[str] = "enter_number"
    collects: ClassVar[bool] = True

    text: str
    media: str = ""
    language: str = "en-US"
    low: int = 10
    high: int = 10
    pattern: str = ""
    between_s: float = 2.0
    assignments: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        compile_pattern(self.pattern)

    def perform(self, context: Context) -> Performance:
        context.variables.unset(DIGITS)
        yield from be_answered(context)
        prompt = Play((self.media,), stop_keys=ALL_KEYS) if self.media else Say(self.text, self.language, stop_keys=ALL_KEYS)
        yield from prompt.perform(context)
        outcome = yield from Gather(self.high, "#", first_s=5.0, between_s=self.between_s, keep_end_key=False).perform(context)
        entered = outcome[0] if isinstance(outcome, tuple) else ""
        context.variables.unset(DIGITS)
        if len(entered) < self.low or not compile_pattern(self.pattern).search(entered):
            yield from Say("This number cannot be used.", self.language).perform(context)
            return ("refused", DEFAULT)
        context.variables.set("entered", entered)
        for name, value in self.assignments:
            context.variables.set(name, context.text(value))
        yield from Tone("beep").perform(context)
        return ("entered", DEFAULT)
