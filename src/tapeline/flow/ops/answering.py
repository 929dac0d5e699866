"""Taking the call.

`be_answered` is for operations that answer an unanswered call by themselves, as speech does on all three platforms. What
answering means on the wire is not known here.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import ClassVar

from tapeline.flow import commands
from tapeline.flow.events import Event
from tapeline.flow.program import DEFAULT, Context, Op, Performance

__all__ = ["Answer", "Ring", "be_answered"]


def be_answered(context: Context) -> Generator[float | None, Event, None]:
    """Answer the call unless it is up, and wait until it is: what follows may record and speak at once."""
    if context.status == "progressing":
        return
    token = context.token()
    context.issue(commands.Answer(token))
    while context.status != "progressing":
        event = yield None
        if getattr(event, "token", None) == token:
            return


@dataclass(frozen=True, slots=True)
class Answer(Op):
    kind: ClassVar[str] = "answer"

    def perform(self, context: Context) -> Performance:
        yield from be_answered(context)
        return DEFAULT


@dataclass(frozen=True, slots=True)
class Ring(Op):
    kind: ClassVar[str] = "ring"

    def perform(self, context: Context) -> Performance:
        context.issue(commands.Ring())
        yield from ()
        return DEFAULT
