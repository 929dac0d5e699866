"""Recording: one operation with one specification, whoever's document asks.

A recording that runs on lets the flow continue as soon as its start is answered, so that its variables are there and its first
sample precedes what follows; a blocking one holds the flow until it ends. Where audio goes is not known here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from tapeline.core.recordspec import RecordSpec
from tapeline.flow import commands
from tapeline.flow.events import Elapsed, RecordingEnded, RecordingRefused, Unsupported
from tapeline.flow.ops.answering import be_answered
from tapeline.flow.ops.waiting import reply
from tapeline.flow.program import DEFAULT, Context, Op, Performance

__all__ = ["Record", "StopRecording", "filled"]

START_PATIENCE_S = 2.0  # a start that is not answered within this does not hold the flow


@dataclass(frozen=True, slots=True)
class Record(Op):
    """Start a recording. Results: `refused`; of a blocking one (`spec.blocking`) why it ended: `key`, `silence`, `max_seconds` ..."""

    kind: ClassVar[str] = "record"

    spec: RecordSpec
    answers: bool = False
    asks_first: bool = False  # answer only what will be recorded

    def perform(self, context: Context) -> Performance:
        waits = self.asks_first and context.status != "progressing"
        if self.answers and not waits:
            yield from be_answered(context)
        token = context.token()
        spec = filled(self.spec, context.text)
        context.issue(commands.StartRecording(token, replace(spec, begin="answer") if waits else spec, spec.blocking))
        if waits:
            event = yield from reply(token, context.now + START_PATIENCE_S)
            if isinstance(event, RecordingRefused):
                context.log("warning", "recording refused", reason=event.reason)
                return "refused"
            if isinstance(event, RecordingEnded):
                return event.reason
            yield from be_answered(context)
        deadline = None if self.spec.blocking else context.now + START_PATIENCE_S
        event = yield from reply(token, deadline)
        while self.spec.blocking and not isinstance(event, RecordingEnded | RecordingRefused | Unsupported):
            event = yield from reply(token)
        if isinstance(event, RecordingRefused):
            context.log("warning", "recording refused", reason=event.reason)
            return "refused"
        if isinstance(event, Elapsed):
            context.log("warning", "the start of a recording was not answered in time")
        return event.reason if isinstance(event, RecordingEnded) else DEFAULT


def filled(spec: RecordSpec, text: Callable[[str], str]) -> RecordSpec:
    """The specification with the templates in its texts filled in by `text`."""
    deliver = tuple(replace(target, url=text(target.url)) for target in spec.deliver)
    custom = {name: text(value) for name, value in spec.custom.items()}
    return replace(spec, deliver=deliver, label=text(spec.label), on_end_flow_id=text(spec.on_end_flow_id), custom=custom)


@dataclass(frozen=True, slots=True)
class StopRecording(Op):
    """Stop the one active recording, or the newest of several."""

    kind: ClassVar[str] = "stop_recording"

    which: Literal["active", "newest"] = "active"

    def perform(self, context: Context) -> Performance:
        context.issue(commands.StopRecording(self.which))
        yield from ()
        return DEFAULT
