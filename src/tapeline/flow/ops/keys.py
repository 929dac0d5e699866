"""Telephone keys: collecting what the caller presses, and sending some.

The run itself keeps the digits, in the variable `tapeline.call.digits`: while `Gather` waits each key is appended, at other
times the program's `typed_ahead` decides. `Gather` therefore only judges whether what is there is complete.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tapeline.flow import commands
from tapeline.flow.events import Digit, Elapsed
from tapeline.flow.ops.answering import be_answered
from tapeline.flow.ops.sounding import ALL_KEYS
from tapeline.flow.ops.waiting import reply
from tapeline.flow.program import DEFAULT, Context, Op, Outcome, Performance
from tapeline.flow.variables import DIGITS

__all__ = ["Gather", "SendDigits"]


@dataclass(frozen=True, slots=True)
class Gather(Op):
    """Wait for `max_digits` keys (0: any number), for one of `end_keys`, or until a time has passed.

    `first_s` runs until the first key, `between_s` from each key on, `total_s` from the start; None: no such limit. Keys that were
    there before count, unless `fresh`. Results: the digits themselves, else `digits`; `timeout` where there are none.
    """

    kind: ClassVar[str] = "gather"
    collects: ClassVar[bool] = True

    max_digits: int = 0
    end_keys: str = ""
    first_s: float | None = None
    between_s: float | None = None
    total_s: float | None = None
    keep_end_key: bool = True
    fresh: bool = False
    into: str = ""  # move the digits to this variable
    answers: bool = False

    def __post_init__(self) -> None:
        if self.max_digits < 0 or any(limit is not None and limit < 0 for limit in (self.first_s, self.between_s, self.total_s)):
            raise ValueError("limits must not be negative")

    def perform(self, context: Context) -> Performance:
        if self.answers:
            yield from be_answered(context)
        if self.fresh:
            context.variables.unset(DIGITS)
        end = None if self.total_s is None else context.now + self.total_s
        silence = self.first_s if not context.variables.get(DIGITS) else self.between_s
        due = None if silence is None else context.now + silence
        while not self._complete(context.variables.get(DIGITS)):
            deadline = min((limit for limit in (end, due) if limit is not None), default=None)
            if deadline is not None and deadline <= context.now:
                break
            event = yield deadline
            if isinstance(event, Elapsed):
                break
            if isinstance(event, Digit):
                due = None if self.between_s is None else context.now + self.between_s
        return self._result(context)

    def _complete(self, digits: str) -> bool:
        return bool(self.max_digits and len(digits) >= self.max_digits) or any(key in digits for key in self.end_keys)

    def _result(self, context: Context) -> Outcome:
        digits = context.variables.get(DIGITS)
        if not digits:
            return "timeout"
        if not self.keep_end_key:
            for place, key in enumerate(digits):
                if key in self.end_keys:
                    digits = digits[:place]
                    break
        context.variables.unset(DIGITS)
        context.variables.set(self.into or DIGITS, digits)
        return (digits, "digits")


@dataclass(frozen=True, slots=True)
class SendDigits(Op):
    kind: ClassVar[str] = "send_digits"

    digits: str
    duration_ms: int = 100
    gap_ms: int = 100

    def __post_init__(self) -> None:
        if not 1 <= self.duration_ms <= 60_000 or not 0 <= self.gap_ms <= 60_000:
            raise ValueError("times must be within 60000 ms")

    def perform(self, context: Context) -> Performance:
        digits = "".join(key for key in context.text(self.digits).upper() if key in ALL_KEYS)[:100]
        if not digits:
            context.log("warning", "no digits to send")
            return DEFAULT
        token = context.token()
        context.issue(commands.SendDigits(token, digits, self.duration_ms, self.gap_ms))
        yield from reply(token)
        return DEFAULT
