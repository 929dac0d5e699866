"""One recording of a call or a conference: drives the recording's state machine with a tap, a spool folder and a clock.

`tapeline.recording` decides, `calls.layout` says what each channel hears; this module carries out: it opens the folder and the tap,
plays the beep, keeps the manifest and the row up to date, and tells whoever waits. It never asks the database anything, and goes on
when the database is away.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import structlog

from tapeline.calls.alarm import Alarm
from tapeline.calls.equipment import Equipment
from tapeline.calls.layout import Ears
from tapeline.calls.rows import recording_row
from tapeline.calls.views import RecordingView
from tapeline.core.clock import utc
from tapeline.core.errors import TapelineError
from tapeline.core.recordspec import MaskMode, RecordSpec
from tapeline.recording.manifest import Manifest
from tapeline.recording.session import (
    Action,
    Changed,
    Finished,
    MaskTap,
    OpenTap,
    PlayBeep,
    Recording,
    StopTap,
    UnmaskTap,
)
from tapeline.rtp import Tap, TapEnded, TapProgress

__all__ = ["Moment", "Recorder", "Subject", "recording_name"]

log = structlog.get_logger(__name__)

Moment = Literal["media", "answer", "bridge"]  # that a recording may wait for

RETRY_S = 2.0  # between attempts to write a manifest on a disk that refuses


@dataclass(frozen=True, slots=True)
class Subject:
    """What is being recorded, as the manifest and the row name it. `call_id` is the conference's id where `reference` says so."""

    account: str
    call_id: str
    activeflow_id: str
    sip_call_id: str = ""
    source: str = ""
    destination: str = ""
    direction: str = ""  # of the call: incoming, outgoing
    reference: Literal["call", "confbridge"] = "call"
    application_id: str = ""
    flow_id: str = ""


class Recorder:
    """Owned by a call or a conference. `on_change` is called after each change of state, `on_beep` when the beep is due."""

    def __init__(
        self,
        recording_id: str,
        spec: RecordSpec,
        subject: Subject,
        ears: Ears,
        equipment: Equipment,
        *,
        on_change: Callable[[Recorder], None],
        on_beep: Callable[[], None],
    ) -> None:
        self.id = recording_id
        self.spec = spec
        self.ears = ears
        self._subject = subject
        self._channels = ears.channels(spec)
        self._kit = equipment
        self._on_change = on_change
        self._on_beep = on_beep
        self._tap: Tap | None = None
        self._rate = spec.rate or ears.rate
        self._created = round(equipment.clock.wall(), 6)
        self._machine = Recording(recording_id, spec, equipment.clock.now(), self._created)
        self._alarm = Alarm(equipment.clock, self._tick)
        self._saving: asyncio.Task[None] | None = None
        self._dirty = False
        self._updated = self._created
        self.peaks: tuple[float, ...] = ()
        self.begun = asyncio.Event()  # it records, or never will
        self.done = asyncio.Event()  # the file is complete and handed on

    # -- what others tell it -------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin, or wait for what the specification says: `reached` tells that it has come."""
        self._act()

    def reached(self, moment: Moment) -> None:
        """The call has been answered, or is with somebody. Nothing where this is not waited for."""
        if self.spec.begin == moment:
            self._machine.begin(self._kit.clock.now())
            self._act()

    def listens(self, kind: Literal["in", "out", "mix"]) -> bool:
        """Whether any channel holds what a leg says (`in`), what it hears (`out`), or a whole conference (`mix`)."""
        return any(source.kind == kind for channel in self._channels for source in channel)

    def hear(self, ears: Ears) -> None:
        """From now on each channel hears what `ears` say of it; the file goes on, on the same timeline.

        Raises InvalidInput where that is too many sources.
        """
        self.ears, self._channels = ears, ears.channels(self.spec)
        if self._tap is not None:
            for number, sources in enumerate(self._channels):
                if sources != self._tap.heard[number]:
                    self._tap.hear(number, sources)

    def carry(self, custom: Mapping[str, str]) -> None:
        """What its specification says besides is this from now on."""
        self.spec = self._machine.spec = replace(self.spec, custom=custom)
        self._dirty = True
        self._put_row()
        self._act()

    def belong(self, on_change: Callable[[Recorder], None], on_beep: Callable[[], None]) -> None:
        """It has another owner from now on."""
        self._on_change = on_change
        self._on_beep = on_beep

    @property
    def account(self) -> str:
        return self._subject.account

    @property
    def state(self) -> str:
        return self._machine.state

    @property
    def waits(self) -> bool:
        """Whether it waits for the answer or the bridge."""
        return self._machine.waits

    @property
    def active(self) -> bool:
        return self._machine.state in ("starting", "recording")

    @property
    def reason(self) -> str:
        return self._machine.reason

    def stop(self, reason: str) -> None:
        """End it as far as it got; a second stop changes nothing."""
        if self.active:
            self._machine.stop(reason, self._kit.clock.now())
            self._act()

    def mask(self, mode: MaskMode) -> None:
        """Raises InvalidState where nothing is being recorded."""
        self._machine.mask(mode, self._kit.clock.now())
        self._dirty = True
        self._act()
        self._kit.happened("recording_paused", self._subject.account, self.id, self.view())

    def unmask(self) -> None:
        self._machine.unmask(self._kit.clock.now())
        self._dirty = True
        self._act()
        self._kit.happened("recording_resumed", self._subject.account, self.id, self.view())

    def digit(self, digit: str, at: float) -> None:
        self._machine.digit(digit, at)
        self._act()

    def voice(self, voiced: bool, at: float) -> None:
        self._machine.voice(voiced, at)
        self._act()

    def media(self, at: float) -> None:
        self._machine.media(at)
        self._act()

    def note(self, event: str, **fields: Any) -> None:
        self._machine.note(event, self._kit.clock.now(), **fields)
        self._dirty = True
        self._act()

    def on_progress(self, event: TapProgress) -> None:
        self.peaks = event.peaks

    def on_tap_ended(self, event: TapEnded) -> None:
        if event.reason != "stopped":
            log.error("recording cut short", recording_id=self.id, reason=event.reason, detail=event.detail)
        self._tap_ended(event.frames, event.reason)

    def _tap_ended(self, frames: int, reason: str) -> None:
        if reason == "disk_full":
            self._kit.free_bytes = 0  # the disk has told it itself; no other recording shall begin on the strength of an older look
        self._machine.tap_ended(frames, reason, self._kit.clock.now())
        self._act()

    # -- what the machine asks for -------------------------------------------------------------------------------------

    def _tick(self) -> None:
        self._machine.tick(self._kit.clock.now())
        self._act()

    def _act(self) -> None:
        for action in self._machine.take_actions():
            self._do(action)
        self._alarm.set(self._machine.next_deadline())
        if self._dirty:
            self._dirty = False
            self._save_soon()

    def _do(self, action: Action) -> None:
        match action:
            case OpenTap():
                self._kit.spawn(self._open())
            case PlayBeep():
                self._on_beep()
            case MaskTap(mode=mode):
                if self._tap is not None:
                    self._tap.mask(mode)
            case UnmaskTap():
                if self._tap is not None:
                    self._tap.unmask()
            case StopTap():
                if self._tap is not None:
                    self._tap.stop()
            case Changed():
                self._updated = self._kit.clock.wall()
                self._dirty = True
                if self._machine.state != "starting":
                    self.begun.set()
                self._put_row()
                if self._machine.state == "recording":
                    self._kit.happened("recording_started", self._subject.account, self.id, self.view())
                self._on_change(self)
            case Finished():
                self._alarm.set(None)
                self._kit.spawn(self._finish())

    async def _open(self) -> None:
        """Make the folder and open the tap. What the disk refuses ends this recording with its reason, and nothing else."""
        try:
            path = await self._kit.thread(self._kit.spool.create, self.manifest())
            tap = self._kit.engine.open_tap(path, self._channels, rate=self._rate, beside=self.ears.beside)
        except (OSError, TapelineError) as error:
            log.error("recording could not begin", recording_id=self.id, error=str(error))
            full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
            self._tap_ended(0, "disk_full" if full else "io_error")
            return
        self._tap = tap
        self._kit.taps[tap.id] = self
        self._machine.captured(self._kit.clock.now())
        self._act()

    # -- what is kept of it --------------------------------------------------------------------------------------------

    def manifest(self) -> Manifest:
        subject = self._subject
        return self._machine.manifest(
            account=subject.account,
            call_id=subject.call_id,
            activeflow_id=subject.activeflow_id,
            reference=subject.reference,
            sip_call_id=subject.sip_call_id,
            source=subject.source,
            destination=subject.destination,
            direction=subject.direction,
            node=self._kit.node,
            rate=self._rate,
            channels=len(self._channels),
            application_id=subject.application_id,
            flow_id=subject.flow_id,
        )

    def _save_soon(self) -> None:
        """Write the manifest in a thread; changes that come meanwhile are written together, once."""
        if self._saving is None and self._tap is not None and self.active:
            self._saving = self._kit.spawn(self._save())

    async def _save(self) -> None:
        try:
            await self._kit.thread(self._kit.spool.write, self.manifest())
        except OSError as error:
            log.warning("manifest not written; the audio goes on", recording_id=self.id, error=str(error))
        finally:
            self._saving = None

    async def _finish(self) -> None:
        """Complete the file and hand it on. A disk that refuses is asked again until it gives way."""
        if self._tap is not None:
            self._kit.taps.pop(self._tap.id, None)
        if self._saving is not None:
            await asyncio.wait([self._saving])
        while True:
            try:
                await self._kit.thread(self._kit.spool.finish, self.manifest())
                break
            except OSError as error:
                log.warning("recording waits for the disk", recording_id=self.id, error=str(error))
                await asyncio.sleep(RETRY_S)
            except TapelineError as error:
                log.error("recording left in the spool for the next start", recording_id=self.id, error=str(error))
                break
        self._kit.finished(self.view())
        self.done.set()

    def _put_row(self) -> None:
        self._kit.writer.put(recording_row(self.view(), self._kit.node))

    def variables(self) -> dict[str, str]:
        """What a flow is told of it, as `tapeline.recording.<name>`."""
        reference = self._subject.reference
        return {
            "id": self.id,
            "reference_type": reference,
            "reference_id": self._subject.call_id,
            "format": self.spec.format,
            "recording_name": recording_name(reference, self._subject.call_id, self._created),
            "filenames": f"{self.id}.{self.spec.format}",
        }

    def view(self) -> RecordingView:
        machine = self._machine
        frames = machine.frames
        return RecordingView(
            id=self.id,
            account=self._subject.account,
            state=machine.state,
            created=self._created,
            call_id=self._subject.call_id,
            activeflow_id=self._subject.activeflow_id,
            reference=self._subject.reference,
            sip_call_id=self._subject.sip_call_id,
            source=self._subject.source,
            destination=self._subject.destination,
            direction=self._subject.direction,
            reason=machine.reason,
            paused=machine.masked or "",
            format=self.spec.format,
            channels=len(self._channels),
            rate=self._rate,
            duration=frames / self._rate if frames is not None else None,
            on_end_flow_id=self.spec.on_end_flow_id,
            label=self.spec.label,
            origin=self.spec.origin,
            started=machine.started_wall,
            ended=machine.ended_wall,
            updated=self._updated,
            timeline=tuple(machine.timeline.as_dicts()),
            custom=dict(self.spec.custom),
            application_id=self._subject.application_id,
            flow_id=self._subject.flow_id,
        )


def recording_name(reference: str, subject: str, created: float) -> str:
    """What the platform calls a recording of a call (or conference) to its flows."""
    return f"{reference}_{subject}_{utc(created):%Y-%m-%dT%H:%M:%SZ}"
