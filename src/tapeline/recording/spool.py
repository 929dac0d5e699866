"""The spool: a folder for each recording that is not finished, `<root>/<id>/` with `audio.wav` and `manifest.json`.

Order is everything here. A folder is made whole before its audio grows: audio file with its header, manifest, both synced, then the
folders that name them. Manifests are replaced, never rewritten: written beside, synced, renamed, folder synced. So at any moment
there is a manifest that can be read, or none yet and no audio worth having. A folder is released by renaming it first, so it is
never half there. Everything blocks; callers use threads.

A full disk must not keep a recording from ending, and ending needs a new manifest. So the root holds a small reserve file, which is
given up for a manifest that finds no room, and put back when a recording begins.

What is found in the spool is not trusted: whatever a crash, a power cut or a broken disk left, recovery keeps all audio, and one bad
folder hinders no other.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

from tapeline.audio import wav
from tapeline.audio.errors import DamagedWave
from tapeline.core.ids import ZERO_ID, is_id
from tapeline.recording.errors import UnknownRecording
from tapeline.recording.manifest import Manifest, ManifestState
from tapeline.recording.timeline import Timeline

__all__ = ["AUDIO", "MANIFEST", "RESERVE", "Spool"]

log = logging.getLogger(__name__)

AUDIO = "audio.wav"
MANIFEST = "manifest.json"
RESERVE = "reserve"
RESERVE_BYTES = 1 << 18
_NEW = "manifest.new"
_UNREADABLE = "manifest.unreadable"
_RELEASED = ".released"
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_SETTLED_S = 2.0  # a file system's clock may be coarse: what changed within it may change again unseen


class Spool:
    """Methods raise OSError where the disk refuses, UnknownRecording where there is nothing to read. Safe from several threads, as
    long as each recording is worked on by one at a time."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._growing: dict[str, tuple[int, int, int]] = {}  # manifests known to say "recording": inode, time, size
        root.mkdir(parents=True, exist_ok=True)

    def path(self, recording_id: str) -> Path:
        """The recording's folder. Raises UnknownRecording unless the id is one of ours: no id becomes any other path."""
        if not is_id(recording_id):
            raise UnknownRecording(f"{recording_id!r} is no recording's id")
        return self.root / recording_id

    def create(self, manifest: Manifest) -> Path:
        """Make the folder; the audio file that a tap may append to. Nothing is left behind where the disk refuses."""
        folder = self.path(manifest.id)
        self._put_reserve()
        folder.mkdir()
        try:
            audio = folder / AUDIO
            with audio.open("xb") as file:
                file.write(wav.header(manifest.rate, manifest.channels, None))
                file.flush()
                os.fsync(file.fileno())
            self._replace(manifest)
            _sync(self.root)
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return audio

    def write(self, manifest: Manifest) -> None:
        """Replace the manifest, as one step that a crash cannot cut in two."""
        self._with_reserve(lambda: self._replace(manifest))

    def read(self, recording_id: str) -> Manifest:
        try:
            manifest = Manifest.from_json((self.path(recording_id) / MANIFEST).read_bytes())
        except (FileNotFoundError, NotADirectoryError) as error:
            raise UnknownRecording(f"the spool holds no recording {recording_id}") from error
        if manifest.id != recording_id:
            raise UnknownRecording(f"the manifest of {recording_id} is that of another recording")
        return manifest

    def finish(self, manifest: Manifest) -> Manifest:
        """Complete the audio's header from its size and keep the final manifest. What was kept is what the file really holds.

        A recording that could not even make its folder gets one now, with its manifest alone, so that its failure is told.
        """
        folder = self.path(manifest.id)
        audio = folder / AUDIO
        self._with_reserve(lambda: folder.mkdir(exist_ok=True))
        found = _completed(audio, manifest)
        state: ManifestState = "failed" if manifest.state == "failed" else "stopped"
        final = replace(manifest, rate=found.rate, channels=found.channels, frames=found.frames, state=state)
        self.write(final)
        _sync(self.root)
        return final

    def complete(self) -> list[str]:
        """The ids of all recordings that wait to be finished by the worker, oldest first. Cheap where most are still growing."""
        found = []
        folders = self._folders()
        for folder in folders:
            try:
                stamp = self._stamp(folder)
                if self._growing.get(folder.name) == stamp:
                    continue
                manifest = self.read(folder.name)
            except (UnknownRecording, OSError):
                continue
            if manifest.state != "recording":
                found.append((manifest.created, manifest.id))
                self._growing.pop(folder.name, None)
            elif time.time() - stamp[1] / 1e9 > _SETTLED_S:
                self._growing[folder.name] = stamp
        for gone in self._growing.keys() - {folder.name for folder in folders}:
            del self._growing[gone]
        return [recording_id for _, recording_id in sorted(found)]

    def recover(self, wall: float, skip: Collection[str] = ()) -> list[Manifest]:
        """Complete every recording that a crash cut off: header mended, manifest marked `recovered`. `skip` names those that are alive.

        A folder whose manifest is missing or unreadable keeps its audio, under its own id and, unless the manifest still tells, the
        zero account. One that holds neither manifest nor audio is the remains of a start that never came to be, and is removed; so
        is what a release left half done. A folder that cannot be recovered now is left as it is, and told in the log.
        """
        recovered = []
        for leftover in [path for path in self.root.iterdir() if path.name.endswith(_RELEASED)]:
            shutil.rmtree(leftover, ignore_errors=True)
        for folder in self._folders():
            if folder.name in skip:
                continue
            try:
                manifest = self._interrupted(folder)
                if manifest is not None:
                    recovered.append(self._recovered(manifest, folder / AUDIO, wall))
            except OSError as error:
                log.error("a recording in the spool could not be recovered: %s", error, extra={"recording": folder.name})
        return recovered

    def _interrupted(self, folder: Path) -> Manifest | None:
        """The manifest of a recording that was cut off, as far as there is one; None where the folder holds none."""
        try:
            manifest = self.read(folder.name)
        except UnknownRecording:
            audio = folder / AUDIO
            if not audio.exists() or audio.stat().st_size <= wav.HEADER_SIZE:
                shutil.rmtree(folder, ignore_errors=True)
                return None
            return _pieced_together(folder)
        return manifest if manifest.state == "recording" else None

    def _recovered(self, manifest: Manifest, audio: Path, wall: float) -> Manifest:
        found = _completed(audio, manifest)
        began = manifest.started if manifest.started is not None else manifest.created
        timeline = Timeline(manifest.timeline)
        timeline.add(found.duration_s, "recovered")
        whole = replace(
            manifest,
            recovered=True,
            reason="crash",
            started=began,
            ended=max(began, min(began + found.duration_s, wall)),
            state="recording",
            timeline=timeline.as_dicts(),
        )
        return self.finish(whole)

    def release(self, recording_id: str) -> None:
        """Remove the folder: the audio is safe elsewhere. Nothing where there is none."""
        folder = self.path(recording_id)
        going = folder.with_name(folder.name + _RELEASED)
        try:
            folder.rename(going)
        except FileNotFoundError:
            pass  # released before; perhaps not to the end
        except OSError:
            shutil.rmtree(going, ignore_errors=True)  # in the way: what an earlier release left
            folder.rename(going)
        shutil.rmtree(going, ignore_errors=True)

    def free_bytes(self) -> int:
        return shutil.disk_usage(self.root).free

    def _folders(self) -> list[Path]:
        with os.scandir(self.root) as entries:
            return sorted(Path(entry.path) for entry in entries if is_id(entry.name) and entry.is_dir(follow_symlinks=False))

    def _stamp(self, folder: Path) -> tuple[int, int, int]:
        found = (folder / MANIFEST).stat()
        return found.st_ino, found.st_mtime_ns, found.st_size

    def _replace(self, manifest: Manifest) -> None:
        folder = self.path(manifest.id)
        new = folder / _NEW
        with new.open("wb") as file:
            file.write(manifest.to_json())
            file.flush()
            os.fsync(file.fileno())
        new.rename(folder / MANIFEST)
        _sync(folder)

    def _with_reserve(self, work: Callable[[], None]) -> None:
        """Do `work`; where the disk has no room, once more with the reserve given up."""
        try:
            work()
        except OSError as error:
            if error.errno not in _NO_ROOM or not (self.root / RESERVE).exists():
                raise
            (self.root / RESERVE).unlink(missing_ok=True)
            work()

    def _put_reserve(self) -> None:
        """Raises OSError where there is no room for it: then there is none for a recording either."""
        path = self.root / RESERVE
        if path.exists():
            return
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, RESERVE_BYTES)
        except OSError:
            path.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)


def _completed(audio: Path, manifest: Manifest) -> wav.WavInfo:
    """Mend the audio's header; what the file holds. No file holds nothing."""
    if not audio.exists():
        return wav.WavInfo(manifest.rate, manifest.channels, 0, wav.HEADER_SIZE)
    return wav.complete(audio, rate=manifest.rate, channels=manifest.channels)


def _pieced_together(folder: Path) -> Manifest:
    """A manifest for audio whose own cannot be read: what is legible of it, the audio's header, the folder's name."""
    audio = folder / AUDIO
    created = audio.stat().st_mtime
    known = {"account": ZERO_ID, "created": created, "started": created}
    try:
        found = wav.info(audio)
        known |= {"rate": found.rate, "channels": found.channels}
    except DamagedWave:
        pass  # then the manifest's, or a telephone's
    text = b""
    path = folder / MANIFEST
    if path.exists():
        text = path.read_bytes()
        (folder / _UNREADABLE).write_bytes(text)
    # Whatever state it told, its audio is to be finished, and under the name it lies under.
    return replace(Manifest.salvage(text, id=folder.name, **known), id=folder.name, state="recording")


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
