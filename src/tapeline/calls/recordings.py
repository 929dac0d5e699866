"""The recordings of one thing that can be recorded: a call or a conference. Which are active, when a new one may start, what each is told.

It knows recorders and their rules, nothing of signalling. The newest active one is what the API names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, Literal

import structlog

from tapeline.calls.equipment import Equipment
from tapeline.calls.errors import already_recording, disk_full, not_recording
from tapeline.calls.layout import Ears, OfCall
from tapeline.calls.recorder import Moment, Recorder, Subject
from tapeline.core.ids import new_id
from tapeline.core.recordspec import RecordSpec
from tapeline.rtp import Leg

__all__ = ["Recordings"]

log = structlog.get_logger(__name__)


class Recordings:
    """`on_change` is called after each change of one of them, `on_beep` when a beep is due."""

    def __init__(self, equipment: Equipment, *, on_change: Callable[[], None], on_beep: Callable[[], None]) -> None:
        self._kit = equipment
        self._on_change = on_change
        self._on_beep = on_beep
        self._all: list[Recorder] = []
        self._ids: list[str] = []  # of those that were handed on too
        self._voices: set[int] = set()  # ids of the legs whose parties speak now

    def __iter__(self) -> Iterator[Recorder]:
        return iter(self._all)

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(self._ids)

    @property
    def active(self) -> Recorder | None:
        """The newest recording that is active now."""
        return next((recorder for recorder in reversed(self._all) if recorder.active), None)

    def start(self, spec: RecordSpec, subject: Subject, ears: Ears, reached: Iterable[Moment] = ()) -> Recorder:
        """`reached` names what has happened already and need not be waited for.

        Raises InvalidState (already recording) or Exhausted (the disk's watermark).
        """
        same = next((recorder for recorder in self._all if recorder.active and recorder.spec.exclusive), None)
        if spec.exclusive and same is not None:
            raise already_recording(same.id)
        wanted = self._kit.settings.recording.min_free_mb
        if self._kit.free_bytes < wanted * 1_000_000:
            raise disk_full(self._kit.free_bytes // 1_000_000, wanted)
        spec = self._named(spec, subject.account)
        recorder = Recorder(new_id(), spec, subject, ears, self._kit, on_change=lambda _: self._on_change(), on_beep=self._on_beep)
        self._take(recorder)
        self._kit.recorders[recorder.id] = recorder
        if spec.silence is not None:
            for leg in ears.voices:
                leg.watch_voice(spec.silence.threshold)
        recorder.start()
        for moment in reached:
            recorder.reached(moment)
        return recorder

    def _named(self, spec: RecordSpec, account: str) -> RecordSpec:
        """A flow's own id for a recording is for one only: another that would have it at the same time keeps that which it gets here."""
        own = spec.custom.get("media_id")
        if not own or not any(each.spec.custom.get("media_id") == own and each.account == account for each in self._kit.recorders.values()):
            return spec
        log.warning("the id of a recording is taken already; it has one of its own", media_id=own)
        return replace(spec, custom={name: value for name, value in spec.custom.items() if name != "media_id"})

    def _take(self, recorder: Recorder) -> None:
        self._all.append(recorder)
        if recorder.id not in self._ids:
            self._ids.append(recorder.id)

    def mute(self, leg: Leg, on: bool) -> None:
        """The party of `leg` is muted, or is no longer: so it is on the recordings of it."""
        for recorder in self._all:
            if recorder.active and isinstance(recorder.ears, OfCall) and recorder.ears.leg is leg:
                recorder.hear(replace(recorder.ears, muted=on))

    def hand_on(self, recorder: Recorder, to: Recordings, ears: Ears, *, heard: bool) -> None:
        """`recorder` goes on with another owner, and hears what `ears` hear; `heard`: somebody there has been heard already."""
        self._all.remove(recorder)
        to._take(recorder)
        recorder.belong(lambda _: to._on_change(), to._on_beep)
        recorder.hear(ears)
        if recorder.spec.silence is not None:
            for leg in ears.voices:
                leg.watch_voice(recorder.spec.silence.threshold)
        if heard:
            recorder.media(self._kit.clock.now())
        self._on_change()
        to._on_change()

    def reached(self, moment: Moment) -> None:
        """Begin those that waited for it."""
        for recorder in list(self._all):
            recorder.reached(moment)

    def stop(self) -> Recorder:
        """Stop the newest active one. Raises InvalidState where none is."""
        active = self.active
        if active is None:
            raise not_recording()
        active.stop("stopped")
        return active

    def stop_all(self, reason: str) -> None:
        for recorder in self._all:
            recorder.stop(reason)

    def forget(self, recorder: Recorder) -> None:
        """It has all its audio, and nothing more is asked of it."""
        self._all.remove(recorder)
        self._kit.recorders.pop(recorder.id)

    async def released(self) -> None:
        """Wait until each has all its audio."""
        for recorder in self._all:
            await recorder.done.wait()
            self._kit.recorders.pop(recorder.id)

    # -- what they are told --------------------------------------------------------------------------------------------

    def note(self, event: str, **facts: Any) -> None:
        for recorder in self._all:
            if recorder.active:
                recorder.note(event, **facts)

    def digit(self, digit: str, at: float) -> None:
        for recorder in list(self._all):
            if recorder.active:
                recorder.digit(digit, at)

    def meet(self, leg: Leg, heard: bool) -> None:
        """The party of `leg` is there from now on; `heard`: it has been heard before."""
        for recorder in self._all:
            if recorder.active and recorder.spec.silence is not None:
                leg.watch_voice(recorder.spec.silence.threshold)
        self.seat(leg, True)
        if heard:
            self.sounded(self._kit.clock.now(), "out")

    def part(self, leg: Leg) -> None:
        """The party of `leg` has gone."""
        self.seat(leg, False)
        if leg.id in self._voices:
            self.voice(leg, False, self._kit.clock.now())

    def seat(self, leg: Leg, heard: bool) -> None:
        """The party of `leg` is to be heard from now on, or no longer, where each has a channel of its own."""
        for recorder in self._all:
            if recorder.active and recorder.spec.heard == "participants" and isinstance(recorder.ears, OfCall):
                recorder.hear(recorder.ears.seated(leg, heard))

    def voice(self, leg: Leg, voiced: bool, at: float) -> None:
        """The party of `leg`, own or other, began or ceased to speak. It is silent where nobody speaks."""
        (self._voices.add if voiced else self._voices.discard)(leg.id)
        for recorder in self._all:
            if recorder.active:
                recorder.voice(bool(self._voices), at)

    def sounded(self, at: float, kind: Literal["in", "out", "mix"]) -> None:
        """A party is heard (`in`), or hears something (`out`), or a conference sounds (`mix`): tell those that listen there."""
        for recorder in self._all:
            if recorder.active and recorder.listens(kind):
                recorder.media(at)
