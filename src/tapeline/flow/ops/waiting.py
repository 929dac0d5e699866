"""Standing still: for an answer to a command, for a time, until something ends.

`reply` is how every operation waits for its own command; the others are operations of their own. Times are seconds on the
clock that the run is driven with. Nothing here reads a clock.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import ClassVar, Literal

from tapeline.flow import commands
from tapeline.flow.events import Elapsed, Event, Parted
from tapeline.flow.program import DEFAULT, Context, Op, Performance

__all__ = ["Block", "Hold", "Remain", "Sleep", "pause", "reply"]

MAX_SLEEP_S = 86_400.0


def reply(token: int, deadline: float | None = None) -> Generator[float | None, Event, Event]:
    """Wait for the event that answers `token`, or for `Elapsed` at the deadline; all else passes by."""
    while True:
        event = yield deadline
        if isinstance(event, Elapsed) or getattr(event, "token", None) == token:
            return event


def pause(context: Context, seconds: float) -> Generator[float | None, Event, None]:
    """Let time pass, whatever else happens on the call."""
    if seconds <= 0:
        return
    deadline = context.now + seconds
    while not isinstance((yield deadline), Elapsed):
        pass


@dataclass(frozen=True, slots=True)
class Sleep(Op):
    kind: ClassVar[str] = "sleep"

    seconds: float

    def __post_init__(self) -> None:
        if not 0 <= self.seconds <= MAX_SLEEP_S:
            raise ValueError("seconds must be within 0 and 86400")

    def perform(self, context: Context) -> Performance:
        yield from pause(context, self.seconds)
        return DEFAULT


@dataclass(frozen=True, slots=True)
class Block(Op):
    """In a run without a call: stand still until the run is stopped, a day at most. On a call: nothing."""

    kind: ClassVar[str] = "block"

    def perform(self, context: Context) -> Performance:
        of = "tapeline.activeflow.reference_type"
        if of not in context.variables or context.variables.get(of) == "call":
            context.log("info", "action skipped", what="block", why="it is for runs without a call")
        else:
            yield from pause(context, MAX_SLEEP_S)
        return DEFAULT


@dataclass(frozen=True, slots=True)
class Hold(Op):
    """Keep the call up with nothing to do: until it is hung up, or until every recording that the flow started has ended."""

    kind: ClassVar[str] = "hold"

    until: Literal["hangup", "recordings"] = "hangup"

    def perform(self, context: Context) -> Performance:
        while self.until == "hangup" or context.recordings:
            yield None
        return DEFAULT


@dataclass(frozen=True, slots=True)
class Remain(Op):
    """Stay for as long as there is somebody to talk with. With `recording` a call that is with nobody stays until the recordings that
    its flow started have ended: nothing but its own end ends most of them."""

    kind: ClassVar[str] = "remain"

    recording: bool = False

    def perform(self, context: Context) -> Performance:
        token = context.token()
        context.issue(commands.Linger(token))
        event = yield from reply(token)
        if self.recording and not (isinstance(event, Parted) and event.was_together):
            yield from Hold("recordings").perform(context)
        return DEFAULT
