"""One recording's state, without I/O: told what happens and the time, it says what is to be done.

Inputs are methods; after each, `take_actions()` gives what the owner is to carry out, in order. Times are monotonic seconds, except
those named wall. The owner opens a tap when asked and tells `captured`; tells `tap_ended` once, whatever ended it; and hands the
manifest on when `Finished` comes, which it does exactly once. Phases, states and moves are those of `table`.

Ends: a stop from outside, the longest time, a key, silence (nobody spoke since the start, or nobody speaks any more), the tap's
own end (disk full). The first one wins. Time that a pause cuts out counts for nothing: neither for the longest nor for the
shortest. While a recording is masked, neither keys nor silence end it: what is pressed then is a card number.

What is kept is kept whole, with two exceptions: shorter than `min_s` has failed, `too_short`; and what went on for some time in
which no channel ever had media has failed, `absent`. Whoever stops at once gets what there is, if need be an empty file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tapeline.core.errors import InvalidState
from tapeline.core.recordspec import MaskMode, RecordSpec
from tapeline.recording.manifest import Manifest, ManifestState, spec_as_dict
from tapeline.recording.table import COMMANDS, PHASES, TRANSITIONS, Deed, Input, Phase, State
from tapeline.recording.timeline import Timeline

__all__ = ["ABSENT_AFTER_S", "Action", "Changed", "Finished", "MaskTap", "OpenTap", "PlayBeep", "Recording", "StopTap", "UnmaskTap"]

ABSENT_AFTER_S = 2.0  # a peer that is there has sent its first packet by then


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
    """`masked`: the mask in force or None. `frames`: None until the file is complete. `reason`: why it ended, "" until then."""

    def __init__(self, recording_id: str, spec: RecordSpec, now: float, wall: float) -> None:
        self.id = recording_id
        self.spec = spec
        self.reason = ""
        self.masked: MaskMode | None = None
        self.frames: int | None = None
        self.timeline = Timeline()
        self.started_wall: float | None = None
        self.ended_wall: float | None = None
        self._phase: Phase = "waiting"
        self._created_wall = wall
        self._offset = wall - now  # from the monotonic clock to the wall, once: the two may drift apart later
        self._started: float | None = None
        self._ended: float | None = None
        self._unmasked = now  # silence is counted anew from the end of a mask
        self._cut_since: float | None = None
        self._cut_s = 0.0
        self._voice_at: float | None = None  # when the voice was last heard; None: never
        self._voiced = False
        self._heard = False
        self._broken = ""  # what went wrong with the tap
        self._actions: list[Action] = []
        if spec.begin == "now":
            self.begin(now)
        self._actions.append(Changed("starting"))

    @property
    def waits(self) -> bool:
        """Whether what `spec.begin` names has not come yet."""
        return self._phase == "waiting"

    @property
    def state(self) -> State:
        return PHASES[self._phase]

    # -- inputs --------------------------------------------------------------------------------------------------------

    def begin(self, now: float) -> None:
        """What `spec.begin` waits for has come: the answer, the bridge. Nothing where it has begun."""
        self._move("begin", now)

    def captured(self, now: float) -> None:
        """The tap is open: from now on the file grows."""
        self._move("opened", now)

    def media(self, at: float) -> None:
        """One of its channels carries sound: the peer's first packet came, a prompt was played."""
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
        if self._phase == "capturing" and self.masked is None and digit in self.spec.end_keys:
            self.stop("key", at)

    def mask(self, mode: MaskMode, now: float) -> None:
        """Let silence, a tone or nothing at all stand for what is said from now on; again with another mode: change it.

        Raises InvalidState where nothing is being recorded.
        """
        self._masked_as(mode, "mask", now)

    def unmask(self, now: float) -> None:
        """Record what is said again; nothing where that is so. Raises InvalidState where nothing is being recorded."""
        self._masked_as(None, "unmask", now)

    def stop(self, reason: str, now: float) -> None:
        """End it. The first reason stays; a second stop changes nothing."""
        if (self._phase, "stop") in TRANSITIONS:
            self.reason = reason
            self._ended = now
            self._note(now, "stopped", reason=reason)
            self._move("stop", now)

    def tap_ended(self, frames: int, reason: str, now: float) -> None:
        """The tap is closed, for `reason`: `stopped`, or what went wrong. Told once; also where it could not be opened."""
        if (self._phase, "tap_ended") not in TRANSITIONS:
            return
        self.frames = frames
        if self._ended is None:
            self._ended = now
        if reason != "stopped":
            self.reason = self._broken = reason
            self._note(now, "cut_short", reason=reason)
        elif not self.reason:
            self.reason = reason
        self._move("tap_ended", now)

    def note(self, event: str, now: float, **fields: Any) -> None:
        """Keep an event of the call on the timeline: who joined, a transfer, a hold. Late news are left out."""
        if self._phase != "captured":
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

    def position(self, now: float) -> float:
        """Where in the file `now` lies, in seconds: the time since the start without what pauses cut out."""
        if self._started is None:
            return 0.0
        cut = self._cut_s + (now - self._cut_since if self._cut_since is not None else 0.0)
        return max(0.0, now - self._started - cut)

    def manifest(self, **facts: Any) -> Manifest:
        """All that is known now; `facts` are the fields that the owner knows: account, call_id, rate, channels ..."""
        state: ManifestState = "recording"
        reason = self.reason
        if self.frames is not None:
            failure = self._failure(facts.get("rate") or self.spec.rate or 8000)
            state, reason = ("failed", failure) if failure else ("stopped", reason)
        return Manifest(
            id=self.id,
            spec=spec_as_dict(self.spec),
            created=self._created_wall,
            started=self.started_wall,
            ended=self.ended_wall,
            state=state,
            reason=reason,
            frames=self.frames or 0,
            timeline=self.timeline.as_dicts(),
            custom=dict(self.spec.custom),
            **facts,
        )

    # -- inside --------------------------------------------------------------------------------------------------------

    def _move(self, what: Input, now: float) -> None:
        cell = TRANSITIONS.get((self._phase, what))
        if cell is None:
            if what in COMMANDS:
                raise InvalidState(f"the recording is {self.state}", reason="RECORDING_NOT_ACTIVE")
            return
        before = self.state
        self._phase, deed = cell
        self._do(deed, now)
        if self.state not in ("starting", "recording"):
            self.masked = None
        if self.state != before:
            self._actions.append(Changed(self.state))
        if deed in ("finish", "cancel"):
            self._actions.append(Finished())

    def _do(self, deed: Deed, now: float) -> None:
        match deed:
            case "open_tap":
                self._actions.append(OpenTap())
            case "start":
                self._start(now)
            case "stop_tap":
                if self._started is None:  # aborted: it was stopped before it was open
                    self._started = now
                    self.started_wall = now + self._offset
                self._actions.append(StopTap())
            case "mask":
                self._actions.append(MaskTap(self.masked) if self.masked is not None else UnmaskTap())
            case "cancel":
                self.frames = 0
                self.ended_wall = now + self._offset
            case "finish":
                self.ended_wall = now + self._offset
            case "wait" | "keep_mask":
                pass

    def _start(self, now: float) -> None:
        self._started = self._unmasked = now
        self.started_wall = now + self._offset
        self._note(now, "started")
        if self.spec.beep:
            self._note(now, "beep")
            self._actions.append(PlayBeep())
        if self.masked is not None:
            self._mark_mask(now)
            self._actions.append(MaskTap(self.masked))

    def _masked_as(self, mode: MaskMode | None, what: Input, now: float) -> None:
        before, same = self.masked, mode == self.masked
        if same and (self._phase, what) in TRANSITIONS:
            return
        self.masked = mode
        try:
            self._move(what, now)
        except InvalidState:
            self.masked = before
            raise
        if self._started is not None:
            self._mark_mask(now, before)

    def _mark_mask(self, now: float, before: MaskMode | None = None) -> None:
        """Keep the change of mask on the timeline and in what is counted."""
        if self._cut_since is not None:
            self._cut_s += now - self._cut_since
            self._cut_since = None
        if self.masked is None:
            self._unmasked = now
            self._note(now, "resumed" if before == "cut" else "unmasked")
            return
        self._note(now, "paused" if self.masked == "cut" else "masked", mode=self.masked)
        if self.masked == "cut":
            self._cut_since = now

    def _note(self, now: float, event: str, **fields: Any) -> None:
        if self._started is None:
            self.timeline.add(0.0, event, **fields)
            return
        position = self.position(now) if self._cut_s or self._cut_since is not None else None
        self.timeline.add(now - self._started, event, position=position, **fields)

    def _due(self) -> tuple[float, str] | None:
        """The next moment at which it ends by itself, and why."""
        if self._phase != "capturing" or self._started is None:
            return None
        ends = []
        if self._cut_since is None:
            ends.append((self._started + self._cut_s + self.spec.max_s, "max_seconds"))
        rule = self.spec.silence
        if rule is not None and not self._voiced and self.masked is None:
            wait = rule.initial_s if self._voice_at is None else rule.final_s
            if wait > 0:
                ends.append((max(self._voice_at or self._started, self._unmasked) + wait, "silence"))
        return min(ends, default=None)

    def _failure(self, rate: int) -> str:
        """Why there is nothing to keep; "" where there is."""
        frames = self.frames or 0
        if frames == 0 and self._broken:
            return self._broken
        if self._started is None:
            return "cancelled"
        if self.spec.min_s > 0 and frames < self.spec.min_s * rate:
            return "too_short"
        lasted = self._ended - self._started if self._ended is not None and self._started is not None else 0.0
        return "absent" if not self._heard and not self._broken and lasted >= ABSENT_AFTER_S else ""
