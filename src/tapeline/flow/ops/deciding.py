"""Choosing the way on: branches, conditions, counted jumps, and the variables that they look at.

A condition that holds takes the default edge, one that does not takes `false`. A branch takes the edge named as its value. All of
them decide at once and none of them waits. The date and time are the run's wall clock, in UTC.
"""

from __future__ import annotations

import abc
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

from tapeline.core.clock import utc
from tapeline.flow.program import DEFAULT, Context, Op, Outcome, Performance
from tapeline.flow.variables import DIGITS

__all__ = ["Branch", "Compare", "CompareTime", "Comparison", "HasDigits", "HasStatus", "Jump", "SetVariable"]

Comparison = Literal["==", "!=", ">", ">=", "<", "<="]

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


@dataclass(frozen=True, slots=True)
class _Decision(Op):
    """An operation that is done at once."""

    def perform(self, context: Context) -> Performance:
        yield from ()
        return self.decide(context)

    @abc.abstractmethod
    def decide(self, context: Context) -> Outcome:
        """The way on."""


def _checked(comparison: str) -> None:
    if comparison not in get_args(Comparison):
        raise ValueError(f"no such comparison: {comparison!r}")


@dataclass(frozen=True, slots=True)
class Branch(_Decision):
    """Go the way that the value of `variable` (a bare name) names; `clear` forgets the value."""

    kind: ClassVar[str] = "branch"

    variable: str = DIGITS
    clear: bool = False

    def decide(self, context: Context) -> Outcome:
        name = context.text(self.variable)
        value = context.variables.get(name)
        if self.clear:
            context.variables.unset(name)
        return value


@dataclass(frozen=True, slots=True)
class Compare(_Decision):
    """Compare a text with `value`: as texts, as numbers, or its length with a number.

    `subject` is a template. Without `${` it may be the bare name of a variable that exists, whose value is then meant.
    """

    kind: ClassVar[str] = "compare"

    subject: str
    comparison: Comparison = "=="
    value: str | float = ""
    measure: Literal["text", "number", "length"] = "text"

    def __post_init__(self) -> None:
        _checked(self.comparison)
        if isinstance(self.value, str) != (self.measure == "text"):
            raise ValueError("a text is compared with a text, a number or a length with a number")

    def decide(self, context: Context) -> Outcome:
        bare = "${" not in self.subject and self.subject in context.variables
        subject = context.variables.get(self.subject) if bare else context.text(self.subject)
        compare = _COMPARE[self.comparison]
        if isinstance(self.value, str):
            return DEFAULT if compare(subject, context.text(self.value)) else "false"
        if self.measure == "length":
            return DEFAULT if compare(len(subject), self.value) else "false"
        try:
            number = float(subject)
        except ValueError:
            return "false"
        return DEFAULT if compare(number, self.value) else "false"


@dataclass(frozen=True, slots=True)
class CompareTime(_Decision):
    """Compare parts of the present time (UTC), each that is not None; all must fit. Weekdays count from Sunday, 0."""

    kind: ClassVar[str] = "compare_time"

    comparison: Comparison = "=="
    minute: int | None = None
    hour: int | None = None
    day: int | None = None
    month: int | None = None
    weekdays: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        _checked(self.comparison)
        for part, low, high in ((self.minute, 0, 59), (self.hour, 0, 23), (self.day, 1, 31), (self.month, 1, 12)):
            if part is not None and not low <= part <= high:
                raise ValueError(f"{part} is not within {low} and {high}")
        if not self.weekdays <= set(range(7)):
            raise ValueError("weekdays are 0 (Sunday) to 6")

    def decide(self, context: Context) -> Outcome:
        now = utc(context.wall())
        if self.weekdays and now.isoweekday() % 7 not in self.weekdays:
            return "false"
        compare = _COMPARE[self.comparison]
        pairs = ((now.minute, self.minute), (now.hour, self.hour), (now.day, self.day), (now.month, self.month))
        return DEFAULT if all(compare(is_now, wanted) for is_now, wanted in pairs if wanted is not None) else "false"


@dataclass(frozen=True, slots=True)
class HasDigits(_Decision):
    """Holds when `length` keys were pressed, or one of `keys`."""

    kind: ClassVar[str] = "has_digits"

    length: int = 0
    keys: str = ""

    def decide(self, context: Context) -> Outcome:
        digits = context.variables.get(DIGITS)
        enough = self.length > 0 and len(digits) >= self.length
        return DEFAULT if enough or any(key in digits for key in self.keys) else "false"


@dataclass(frozen=True, slots=True)
class HasStatus(_Decision):
    """Holds when the call has this status."""

    kind: ClassVar[str] = "has_status"

    status: str

    def decide(self, context: Context) -> Outcome:
        return DEFAULT if context.status == self.status else "false"


@dataclass(frozen=True, slots=True)
class Jump(_Decision):
    """Take the edge `again` the first `times` times, then the default."""

    kind: ClassVar[str] = "jump"

    times: int

    def decide(self, context: Context) -> Outcome:
        return "again" if context.visits() < self.times else DEFAULT


@dataclass(frozen=True, slots=True)
class SetVariable(_Decision):
    """Set variables, in order; names and values are templates."""

    kind: ClassVar[str] = "set_variable"

    assignments: tuple[tuple[str, str], ...]

    def decide(self, context: Context) -> Outcome:
        for name, value in self.assignments:
            if not context.variables.set(context.text(name), context.text(value)):
                context.log("warning", "no room for another variable")
        return DEFAULT
