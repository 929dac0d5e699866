"""One recording's state, without I/O: told what happens and the time, it says what is to be done.

Inputs are methods; after each, `take_actions()` gives what the owner is to carry out, in order. Times are monotonic seconds, except
those named wall. The owner opens a tap when asked and tells `captured`; tells `tap_ended` once, whatever ended it; and hands the
manifest on when `Finished` comes, which it does exactly once. States and moves are those of `table`.

Ends: a stop from outside, the longest time, a key, silence (nobody spoke since the start, or nobody speaks any more), the tap's
own end (disk full). The first one wins. What is shorter than `min_s` has failed, `too_short`; what never heard anything at all has
failed, `absent`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tapeline.core.errors import InvalidState
from tapeline.core.recordspec import MaskMode, RecordSpec
from tapeline.recording.manifest import Manifest, spec_as_dict
from tapeline.recording.table import TRANSITIONS, Input, State
from tapeline.recording.timeline import Timeline

__all__ = ["Action", "Changed", "Finished", "MaskTap", "OpenTap", "PlayBeep", "Recording", "StopTap", "UnmaskTap"]


@dataclass(frozen=True, slots=True)
class OpenTap:
    """Make the file and open the tap; then tell `captured`, or `tap_ended` where that failed."""


@dataclass(frozen=True, slots=True)
class PlayBeep:
    """Let the parties hear that recording begins."""


@dataclass(frozen=True, slots=True)
class MaskTap:
    mode: MaskMode


@dataclass(frozen=True, slots=True)
class UnmaskTap:
    pass


@dataclass(frozen=True, slots=True)
class StopTap:
    """Let the tap write what it has; then tell `tap_ended`."""


@dataclass(frozen=True, slots=True)
class Changed:
    state: State


@dataclass(frozen=True, slots=True)
class Finished:
    """Nothing more will be captured; the manifest is complete."""


Action = OpenTap | PlayBeep | MaskTap | UnmaskTap | StopTap | Changed | Finished


class Recording:
    def __init__(self, recording_id: str, spec: RecordSpec, now: float, wall: float) -> None:
        self.id = recording_id
        self.spec = spec
        self.state: State = "starting"
        self.reason = ""
        self.masked: MaskMode | None = None
        self.frames: int | None = None
        self.timeline = Timeline()
        self.failed = False
        self.started_wall: float | None = None
        self.ended_wall: float | None = None
        self._created_wall = wall
        self._offset = wall - now  # from the monotonic clock to the wall, once: the two may drift apart later
        self._started: float | None = None
        self._voice_at: float | None = None  # when the voice was last heard; None: never
        self._voiced = False
        self._heard = False
        self._actions: list[Action] = [OpenTap(), Changed("starting")]

    # -- inputs --------------------------------------------------------------------------------------------------------

    def captured(self, now: float) -> None:
        """The tap is open: from now on the file grows."""
        self._started = now
        self.started_wall = now + self._offset
        self._move("captured", now)

    def media(self, at: float) -> None:
        """The peer's first packet was heard."""
        if not self._heard:
            self._heard = True
            self._note(at, "media")

    def voice(self, voiced: bool, at: float) -> None:
        """Somebody began (or ceased) to speak."""
        if voiced or self._voiced:
            self._voice_at = at
        self._voiced = voiced

    def digit(self, digit: str, at: float) -> None:
        """A key was pressed. Which one is not kept: it may be part of a card number."""
        if self.state == "recording" and digit in self.spec.end_keys:
            self.stop("key", at)

    def mask(self, mode: MaskMode, now: float) -> None:
        """Let silence, a tone or nothing at all stand for what is said from now on. Raises InvalidState unless recording."""
        self._must_record()
        if self.masked != mode:
            self.masked = mode
            self._note(now, "masked", mode=mode)
            self._actions.append(MaskTap(mode))

    def unmask(self, now: float) -> None:
        """Raises InvalidState unless recording."""
        self._must_record()
        if self.masked is not None:
            self.masked = None
            self._note(now, "unmasked")
            self._actions.append(UnmaskTap())

    def stop(self, reason: str, now: float) -> None:
        """End it. The first reason stays; a second stop changes nothing."""
        if self.state in ("starting", "recording"):
            self.reason = reason
            self._note(now, "stopped", reason=reason)
            self._move("stop", now)

    def tap_ended(self, frames: int, reason: str, now: float) -> None:
        """The tap is closed, for `reason`: `stopped`, or what went wrong. Told once."""
        if self.frames is not None:
            return
        self.frames = frames
        self.ended_wall = now + self._offset
        if reason != "stopped":
            self.reason = reason
            self._note(now, "cut_short", reason=reason)
        elif not self.reason:
            self.reason = reason
        self._move("tap_ended", now)

    def note(self, event: str, now: float, **fields: Any) -> None:
        """Keep an event of the call on the timeline: who joined, a transfer, a hold."""
        self._note(now, event, **fields)

    def tick(self, now: float) -> None:
        due = self._due()
        if due is not None and now >= due[0]:
            self.stop(due[1], now)

    # -- outputs -------------------------------------------------------------------------------------------------------

    def take_actions(self) -> list[Action]:
        taken, self._actions = self._actions, []
        return taken

    def next_deadline(self) -> float | None:
        due = self._due()
        return due[0] if due is not None else None

    def manifest(self, **facts: Any) -> Manifest:
        """All that is known now; `facts` are the fields that the owner knows: account, call_id, rate, channels ..."""
        if self.frames is None:
            state = "recording"
        else:
            state = "failed" if self._failure(facts.get("rate", self.spec.rate)) else "stopped"
        return Manifest(
            id=self.id,
            spec=spec_as_dict(self.spec),
            created=self._created_wall,
            started=self.started_wall,
            ended=self.ended_wall,
            state=state,  # type: ignore[arg-type]
            reason=(self._failure(facts.get("rate", self.spec.rate)) or self.reason) if self.frames is not None else self.reason,
            frames=self.frames or 0,
            timeline=self.timeline.as_dicts(),
            custom=dict(self.spec.custom),
            **facts,
        )

    # -- inside --------------------------------------------------------------------------------------------------------

    def _move(self, what: Input, now: float) -> None:
        cell = TRANSITIONS.get((self.state, what))
        if cell is None:
            return
        before, (self.state, deed) = self.state, cell
        if deed == "begin":
            self.timeline.add(0.0, "started")
            if self.spec.beep:
                self._note(now, "beep")
                self._actions.append(PlayBeep())
        elif deed == "stop_tap":
            self._actions.append(StopTap())
        if before != self.state:
            self._actions.append(Changed(self.state))
        if deed == "finish":
            self._actions.append(Finished())

    def _must_record(self) -> None:
        if self.state != "recording":
            raise InvalidState(f"the recording is {self.state}", reason="RECORDING_NOT_ACTIVE")

    def _note(self, now: float, event: str, **fields: Any) -> None:
        self.timeline.add(now - self._started if self._started is not None else 0.0, event, **fields)

    def _due(self) -> tuple[float, str] | None:
        """The next moment at which it ends by itself, and why."""
        if self.state != "recording" or self._started is None:
            return None
        ends = [(self._started + self.spec.max_s, "max_seconds")]
        rule = self.spec.silence
        if rule is not None and not self._voiced:
            if self._voice_at is None:
                if rule.initial_s > 0:
                    ends.append((self._started + rule.initial_s, "silence"))
            elif rule.final_s > 0:
                ends.append((max(self._voice_at, self._started) + rule.final_s, "silence"))
        return min(ends)

    def _failure(self, rate: int) -> str:
        frames = self.frames or 0
        if frames == 0 and self.reason in ("disk_full", "io_error"):
            return self.reason
        if self.spec.min_s > 0 and frames < self.spec.min_s * rate:
            return "too_short"
        return ""
