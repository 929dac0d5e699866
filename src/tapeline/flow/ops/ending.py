"""The end of a flow, and what is passed over.

`Hangup` ends the call and with it the run; `Stop` ends the run, and the program's `at_end` says what becomes of the call. `Skip`
stands for an action that is known but belongs to another product.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tapeline.flow import commands
from tapeline.flow.program import DEFAULT, Context, Finish, Op, Performance

__all__ = ["Hangup", "Skip", "Stop"]


@dataclass(frozen=True, slots=True)
class Hangup(Op):
    kind: ClassVar[str] = "hangup"

    cause: str = "normal"
    like_call_id: str = ""
    status: int = 0
    text: str = ""

    def perform(self, context: Context) -> Performance:
        cause, like = context.text(self.cause), context.text(self.like_call_id)
        context.issue(commands.Hangup(cause or "normal", like, self.status, context.text(self.text)))
        yield from ()
        return Finish(hung_up=True)


@dataclass(frozen=True, slots=True)
class Stop(Op):
    kind: ClassVar[str] = "stop"

    def perform(self, context: Context) -> Performance:
        yield from ()
        return Finish()


@dataclass(frozen=True, slots=True)
class Skip(Op):
    """Do nothing but say so. `why` is for people; `told`, a variable and its value, for the flow."""

    kind: ClassVar[str] = "skip"

    what: str
    why: str = "it is not part of this system"
    told: tuple[str, str] | None = None

    def perform(self, context: Context) -> Performance:
        context.log("info", "action skipped", what=self.what, why=self.why)
        if self.told is not None:
            context.variables.set(*self.told)
        yield from ()
        return DEFAULT
