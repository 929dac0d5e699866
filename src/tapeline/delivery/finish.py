"""Finishing a recording: from a complete folder in the spool to a file that people can have. What is done, not how it is retried.

    render   the rendition (none where the master already is it), its checksum, the master's measures   -> spool folder
    store    put to the object store, read back, compare                                                -> object
    publish  the row becomes `available` (or `failed`, with the reason), the parent is told              -> row, stdout
    release  the spool folder is removed                                                                -> nothing left

Each stage may be run again at any time, after any crash: it finds what it needs in the spool folder and writes the same again.
Only `release` throws something away, and only after the row is committed to disk and the object's checksum agreed. Knows nothing
of DBOS; see `durable`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from tapeline.audio import wav
from tapeline.audio.errors import DamagedWave, UnsuitableFormat
from tapeline.audio.measure import measure, sha256_file
from tapeline.audio.render import CONTENT_TYPES, render
from tapeline.core.errors import TapelineError
from tapeline.core.ids import ZERO_ID, is_id
from tapeline.core.recordspec import Format
from tapeline.delivery.errors import Fault, NotVerified
from tapeline.delivery.seam import fault
from tapeline.delivery.uploads import Manner, deliveries_of, storage_of
from tapeline.recording.errors import UnknownRecording
from tapeline.recording.manifest import Manifest
from tapeline.recording.spool import AUDIO, Spool
from tapeline.store import Database, DatabaseUnavailable, DeliveryRow, ObjectStore, RecordingRow, object_key

__all__ = ["STAGES", "Finisher", "Outcome"]

log = logging.getLogger(__name__)

VONAGE_KBPS = 32  # of each channel of an MP3, as the platform makes them
STAGES = ("render", "store", "publish", "release")
Outcome = Literal["ok", "again", "gone"]


@dataclass(frozen=True, slots=True)
class Rendered:
    """What `render` found out, kept as `rendition.json` in the spool folder. `file` is a name in that folder."""

    file: str
    format: Format
    content_type: str
    size: int
    sha256: str
    duration_s: float
    rate: int
    channels: int
    measures: Mapping[str, Any]
    peaks: tuple[tuple[float, ...], ...]


class Finisher:
    """The stages, over one spool, one database and one object store. Coroutines of one event loop; audio is worked on in threads."""

    def __init__(
        self,
        spool: Spool,
        database: Database,
        objects: ObjectStore,
        announce: Callable[[Mapping[str, Any]], None],
        *,
        manner: Manner | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._manner = manner or Manner()
        self._spool = spool
        self._database = database
        self._objects = objects
        self._announce = announce
        self._wall = wall
        self._unwritten: deque[dict[str, Any]] = deque(maxlen=1000)  # attempts that could not be noted while the database was away
        self._stages: Mapping[str, Callable[[str], Awaitable[Outcome]]] = {
            "render": self.render,
            "store": self.store,
            "publish": self.publish,
            "release": self.release,
        }

    async def run(self, stage: str, recording_id: str) -> Outcome:
        """Run one stage. Never raises: what goes wrong becomes a row of `attempts`, a line in the log, and "again"."""
        try:
            return await self._stages[stage](recording_id)
        except TapelineError as error:
            await self._note(stage, recording_id, str(error), self._whose(error))
        except OSError as error:
            await self._note(stage, recording_id, error.strerror or type(error).__name__, "us")
        except Exception as error:  # a defect in one recording must neither lose it nor stop the others
            log.exception("a stage of finishing broke", extra={"recording": recording_id, "stage": stage})
            await self._note(stage, recording_id, f"{type(error).__name__}: {error}", "us")
        return "again"

    async def holds(self, recording_id: str) -> bool:
        """Whether the spool has this recording."""
        return await self._manifest(recording_id) is not None

    async def render(self, recording_id: str) -> Outcome:
        manifest = await self._manifest(recording_id)
        if manifest is None:
            return "gone"
        if manifest.state != "failed" and not await self._delivered(manifest):
            fault("render")
            await asyncio.to_thread(self._make, manifest)
            fault("render.done")
        return "ok"

    async def store(self, recording_id: str) -> Outcome:
        manifest = await self._manifest(recording_id)
        if manifest is None:
            return "gone"
        if manifest.state == "failed" or await self._delivered(manifest):
            return "ok"
        rendered = await asyncio.to_thread(self._rendered, manifest)
        key = _key(manifest, rendered)
        fault("put")
        await self._objects.put_file(key, self._folder(recording_id) / rendered.file, rendered.content_type)
        fault("verify")
        if await self._objects.sha256(key) != rendered.sha256:
            raise NotVerified("what the object store gives back is not what was put there")
        fault("verify.done")
        return "ok"

    async def publish(self, recording_id: str) -> Outcome:
        manifest = await self._manifest(recording_id)
        if manifest is None:
            return "gone"
        if await self._delivered(manifest):
            return "ok"
        rendered = None if manifest.state == "failed" else await asyncio.to_thread(self._rendered, manifest)
        fault("available")
        now = self._wall()
        final = await self._named(row_of(manifest, rendered, now))
        wanted: list[DeliveryRow] = []
        if rendered is not None:
            storage = await storage_of(self._database, final.account)
            wanted = deliveries_of(manifest, final, now, self._manner, storage)
        await self._database.recordings.publish(final, wanted)
        row = await self._database.recordings.get(recording_id)
        if row is None:
            raise DatabaseUnavailable("the row just written is not there")
        if rendered is not None and row.deleted is not None:
            await self._objects.delete(_key(manifest, rendered))  # deleted by someone while it was being finished
        fault("available.done")
        self._announce({"recording": recording_id, "state": row.state, "reason": row.reason, "duration": row.duration, "size": row.size})
        return "ok"

    async def _named(self, row: RecordingRow) -> RecordingRow:
        """The final row with what is said of it besides: as it was decided when it was written before; else without a `media_id` that an
        older recording has. A recording is worth more than its name: it keeps the id that it has here."""
        known = await self._database.recordings.get(row.id)
        if known is not None and known.state in {"available", "failed"}:
            return replace(row, custom=known.custom, timeline=known.timeline)
        media_id = str(row.custom.get("media_id", ""))
        if not media_id or not await self._database.recordings.named_before(row, media_id):
            return row
        log.warning("the id %r of a recording is taken already; it has one of its own", media_id, extra={"recording": row.id})
        renamed = {"at": row.timeline[-1]["at"] if row.timeline else 0.0, "event": "renamed", "refused": media_id}
        custom = {name: value for name, value in row.custom.items() if name != "media_id"}
        return replace(row, custom=custom, timeline=(*row.timeline, renamed))

    async def release(self, recording_id: str) -> Outcome:
        fault("release")
        await asyncio.to_thread(self._spool.release, recording_id)
        fault("release.done")
        return "ok"

    async def _manifest(self, recording_id: str) -> Manifest | None:
        """None where the spool does not hold the recording (any more)."""
        try:
            return await asyncio.to_thread(self._spool.read, recording_id)
        except UnknownRecording:
            return None

    async def _delivered(self, manifest: Manifest) -> bool:
        """Whether `release` was under way when a power cut took what DBOS knew of it: the spool's audio is gone, the row is final."""
        if manifest.frames == 0 or await asyncio.to_thread((self._folder(manifest.id) / AUDIO).exists):
            return False
        row = await self._database.recordings.get(manifest.id)
        return row is not None and row.state in {"available", "failed"}

    def _folder(self, recording_id: str) -> Path:
        return self._spool.path(recording_id)

    def _make(self, manifest: Manifest) -> Rendered:
        """Make the rendition and measure. Runs in a thread."""
        folder = self._folder(manifest.id)
        master = folder / AUDIO
        if manifest.frames == 0 and not master.exists():
            master.write_bytes(wav.header(manifest.rate, manifest.channels, 0))
        try:
            found = wav.info(master)
        except DamagedWave:
            found = wav.complete(master, rate=manifest.rate, channels=manifest.channels)
        spec = manifest.record_spec
        rate, channels = spec.rate or found.rate, spec.channels or found.channels
        form: Format = spec.format
        kbps = VONAGE_KBPS * channels if manifest.custom.get("dialect") == "vonage" else 0
        if form == "wav" and (rate, channels) == (found.rate, found.channels):
            file, size, content_type = master, master.stat().st_size, CONTENT_TYPES["wav"]
        else:
            file = folder / f"rendition.{form}"
            try:
                made = render(master, file, format=form, rate=rate, channels=channels, kbps=kbps)
            except UnsuitableFormat:
                file, form = folder / "rendition.wav", "wav"
                made = render(master, file, format=form, rate=rate, channels=channels)
            size, content_type, rate, channels = made.size, made.content_type, made.rate, made.channels
        fault("measure")
        measures = measure(master)
        rendered = Rendered(
            file=file.name,
            format=form,
            content_type=content_type,
            size=size,
            sha256=sha256_file(file),
            duration_s=measures.duration_s,
            rate=rate,
            channels=channels,
            measures={
                "peak_db": measures.peak_db,
                "loudness_lufs": measures.loudness_lufs,
                "silent_s": round(measures.silent_s, 3),
                "silent_ratio": round(measures.silent_ratio, 4),
            },
            peaks=measures.peaks,
        )
        _write_json(folder / "rendition.json", asdict(rendered))
        return rendered

    def _rendered(self, manifest: Manifest) -> Rendered:
        """What `render` found, or found anew where a power cut took it. Runs in a thread."""
        folder = self._folder(manifest.id)
        try:
            kept = Rendered(**json.loads((folder / "rendition.json").read_bytes()))
            if (folder / kept.file).stat().st_size == kept.size:
                return kept
        except (FileNotFoundError, ValueError, TypeError):
            pass
        return self._make(manifest)

    def _whose(self, error: TapelineError) -> Fault:
        if isinstance(error, DatabaseUnavailable) or self._objects.local:
            return "us"
        return "destination"

    async def _note(self, stage: str, recording_id: str, reason: str, whose: Fault) -> None:
        """Make a failed try visible. The database may be what failed: then the rows are written once it is back."""
        log.warning("finishing will be tried again: %s", reason, extra={"recording": recording_id, "stage": stage})
        self._unwritten.append({"ref": recording_id, "target": stage, "reason": reason, "fault": whose, "time": self._wall()})
        await self.write_attempts()
        self._announce({"recording": recording_id, "state": "stopping", "stage": stage, "problem": reason, "fault": whose})

    async def write_attempts(self) -> None:
        """Write the rows of `attempts` that wait for the database."""
        while self._unwritten:
            row = self._unwritten.popleft()
            try:
                await self._database.attempts.add("finish", outcome="failed", **row)
            except DatabaseUnavailable:
                self._unwritten.appendleft(row)
                return


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Not synced: lost to a power cut, it is simply made again."""
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(content))
    fresh.replace(path)


def _key(manifest: Manifest, rendered: Rendered) -> str:
    # A recording whose account is not known for sure is kept all the same.
    account = manifest.account if is_id(manifest.account) else ZERO_ID
    return object_key(account, manifest.id, rendered.format)


def row_of(manifest: Manifest, rendered: Rendered | None, now: float) -> RecordingRow:
    """The final row, from the manifest alone: whoever captured may never have written one. `rendered` None: it failed."""
    failed = RecordingRow(**manifest.facts(), state="failed", updated=now)
    if rendered is None:
        return failed
    return replace(
        failed,
        state="available",
        format=rendered.format,
        channels=rendered.channels,
        rate=rendered.rate,
        duration=rendered.duration_s,
        size=rendered.size,
        sha256=rendered.sha256,
        object_key=_key(manifest, rendered),
        content_type=rendered.content_type,
        measures=dict(rendered.measures),
        peaks=rendered.peaks,
    )
