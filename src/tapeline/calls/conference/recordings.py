"""The recordings of one conference: which member is on which channel, and who came and left, on each one's own timeline.

A recording that gives each member a channel seats those who are there when it begins by their order of joining, and after them whoever
comes. A seat stays a call's own: silent while it is away, and its again when it comes back. Knows nothing of moderation or of buses.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import structlog

from tapeline.calls import company
from tapeline.calls.equipment import Equipment
from tapeline.calls.layout import OfConference
from tapeline.calls.recorder import Recorder, Subject
from tapeline.calls.recordings import Recordings
from tapeline.core.errors import TapelineError
from tapeline.core.recordspec import RecordSpec
from tapeline.rtp import Bus, Leg

if TYPE_CHECKING:
    from tapeline.calls.session import Call

__all__ = ["ConferenceRecordings"]

log = structlog.get_logger(__name__)


class ConferenceRecordings:
    """`history` are the ids of those that an earlier run of the server made. `on_change` is called after each change of one."""

    def __init__(
        self, equipment: Equipment, *, on_change: Callable[[], None], on_beep: Callable[[], None], history: tuple[str, ...] = ()
    ) -> None:
        self._kit = equipment
        self.ids = history  # of all that there ever were, in order
        self._on_change = on_change
        self._recordings = Recordings(equipment, on_change=on_change, on_beep=on_beep)
        self._seats: dict[str, list[str]] = {}  # of each recording that is being made: ids of calls
        self._forgetting: set[asyncio.Task[None]] = set()

    @property
    def active(self) -> Recorder | None:
        return self._recordings.active

    @property
    def busy(self) -> bool:
        """Whether one is being made, or still being written."""
        return bool(self._seats)

    def start(self, spec: RecordSpec, subject: Subject, bus: Bus, legs: Mapping[Call, Leg | None], rate: int) -> Recorder:
        """`legs` are those of the members on the bus, None for one that is not to be heard; `rate` is the highest of
        theirs. Raises InvalidState, Exhausted.
        """
        spec = replace(spec, rate=spec.rate or rate)
        recorder = self._recordings.start(spec, subject, OfConference(bus, list(legs.values())))
        self.ids += (recorder.id,)
        self._seats[recorder.id] = [call.facts.id for call in legs]
        task = self._kit.spawn(self._forget(recorder))
        self._forgetting.add(task)
        task.add_done_callback(self._forgetting.discard)
        recorder.media(self._kit.clock.now())
        for call in legs:
            self._arrived(recorder, call)
        return recorder

    def stop(self) -> Recorder:
        """Raises InvalidState where none is active."""
        return self._recordings.stop()

    def stop_all(self, reason: str) -> None:
        self._recordings.stop_all(reason)

    async def released(self) -> None:
        """Wait until each has all its audio."""
        if self._forgetting:
            await asyncio.wait(self._forgetting)

    async def _forget(self, recorder: Recorder) -> None:
        """A conference may live for weeks: what is complete is its row's to tell of."""
        await recorder.done.wait()
        self._recordings.forget(recorder)
        del self._seats[recorder.id]
        self._on_change()

    def joined(self, call: Call, bus: Bus, legs: Mapping[Call, Leg | None]) -> None:
        """A member is on the bus; `legs` as they are now."""
        for recorder in self._recordings:
            if recorder.active:
                seats = self._seats[recorder.id]
                if call.facts.id not in seats:
                    seats.append(call.facts.id)
                self._hear(recorder, bus, legs)
                self._arrived(recorder, call)

    def left(self, call: Call, bus: Bus, legs: Mapping[Call, Leg | None]) -> None:
        for recorder in self._recordings:
            if recorder.active:
                self._hear(recorder, bus, legs)
                if call.media.held:
                    recorder.note("unheld", **company.who(call))
                recorder.note("left", **company.who(call), channel=self._channel(recorder, call))

    def changed(self, bus: Bus, legs: Mapping[Call, Leg | None]) -> None:
        """Somebody was muted, or is heard again."""
        for recorder in self._recordings:
            if recorder.active:
                self._hear(recorder, bus, legs)

    def note(self, event: str, **facts: Any) -> None:
        self._recordings.note(event, **facts)

    def _hear(self, recorder: Recorder, bus: Bus, legs: Mapping[Call, Leg | None]) -> None:
        by_id = {call.facts.id: leg for call, leg in legs.items()}
        try:
            recorder.hear(OfConference(bus, [by_id.get(call_id) for call_id in self._seats[recorder.id]]))
        except TapelineError as error:
            log.error("a recording cannot hear a member of the conference", recording_id=recorder.id, error=str(error))

    def _arrived(self, recorder: Recorder, call: Call) -> None:
        recorder.note("joined", **company.who(call), channel=self._channel(recorder, call))
        if call.media.held:
            recorder.note("held", **company.who(call))

    def _channel(self, recorder: Recorder, call: Call) -> int:
        """Where the call is heard, counted from 0."""
        last = recorder.spec.channels - 1 if recorder.spec.heard == "participants" else 0
        return min(self._seats[recorder.id].index(call.facts.id), last)
