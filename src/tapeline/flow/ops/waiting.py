"""Standing still: for an answer to a command, for a time, until something ends.

`reply` is how every operation waits for its own command; the others are operations of their own. Times are seconds on the
clock that the run is driven with. Nothing here reads a clock.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import ClassVar, Literal

from tapeline.flow.events import Elapsed, Event
from tapeline.flow.program import DEFAULT, Context, Op, Performance

__all__ = ["Hold", "Sleep", "pause", "reply"]

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
class Hold(Op):
    """Keep the call up with nothing to do: until it is hung up, or until every recording that the flow started has ended."""

    kind: ClassVar[str] = "hold"

    until: Literal["hangup", "recordings"] = "hangup"

    def perform(self, context: Context) -> Performance:
        while self.until == "hangup" or context.recordings:
            yield None
        return DEFAULT
