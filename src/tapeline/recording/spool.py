"""The spool: a folder for each recording that is not finished, `<root>/<id>/` with `audio.wav` and `manifest.json`.

Order is everything here. A folder is made whole before its audio grows: audio file with its header, manifest, both synced, then the
folders that name them. Manifests are replaced, never rewritten: written beside, synced, renamed, folder synced. So at any moment
there is a manifest that can be read, or none yet and no audio worth having. Everything blocks; callers use threads.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from tapeline.audio import wav
from tapeline.audio.errors import DamagedWave
from tapeline.core.ids import ZERO_ID, is_id
from tapeline.recording.errors import UnknownRecording
from tapeline.recording.manifest import Manifest

__all__ = ["AUDIO", "MANIFEST", "Spool"]

AUDIO = "audio.wav"
MANIFEST = "manifest.json"
_NEW = "manifest.new"


class Spool:
    """Methods raise OSError where the disk refuses, UnknownRecording where there is nothing to read."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)

    def path(self, recording_id: str) -> Path:
        """The recording's folder. Raises UnknownRecording unless the id is one of ours: no id becomes any other path."""
        if not is_id(recording_id):
            raise UnknownRecording(f"{recording_id!r} is no recording's id")
        return self.root / recording_id

    def create(self, manifest: Manifest) -> Path:
        """Make the folder; the audio file that a tap may append to. Nothing is left behind where the disk refuses."""
        folder = self.path(manifest.id)
        folder.mkdir()
        try:
            audio = folder / AUDIO
            with audio.open("xb") as file:
                file.write(wav.header(manifest.rate, manifest.channels, None))
                file.flush()
                os.fsync(file.fileno())
            self.write(manifest)
            _sync(self.root)
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return audio

    def write(self, manifest: Manifest) -> None:
        """Replace the manifest, as one step that a crash cannot cut in two."""
        folder = self.path(manifest.id)
        new = folder / _NEW
        with new.open("wb") as file:
            file.write(manifest.to_json())
            file.flush()
            os.fsync(file.fileno())
        new.rename(folder / MANIFEST)
        _sync(folder)

    def read(self, recording_id: str) -> Manifest:
        try:
            return Manifest.from_json((self.path(recording_id) / MANIFEST).read_bytes())
        except FileNotFoundError as error:
            raise UnknownRecording(f"the spool holds no recording {recording_id}") from error

    def finish(self, manifest: Manifest) -> Manifest:
        """Complete the audio's header from its size and keep the final manifest. What was kept is what the file really holds.

        A recording that could not even make its folder gets one now, with its manifest alone, so that its failure is told.
        """
        folder = self.path(manifest.id)
        folder.mkdir(exist_ok=True)
        audio = folder / AUDIO
        frames = 0
        if audio.exists():
            frames = wav.complete(audio, rate=manifest.rate, channels=manifest.channels).frames
            with audio.open("rb") as file:
                os.fsync(file.fileno())
        final = replace(manifest, frames=frames, state="failed" if manifest.state == "failed" else "stopped")
        self.write(final)
        _sync(self.root)
        return final

    def complete(self) -> list[str]:
        """The ids of all recordings that wait to be finished by the worker, oldest first."""
        found = []
        for folder in self._folders():
            try:
                manifest = self.read(folder.name)
            except (UnknownRecording, OSError):
                continue
            if manifest.state != "recording":
                found.append((manifest.created, manifest.id))
        return [recording_id for _, recording_id in sorted(found)]

    def recover(self, wall: float, skip: Collection[str] = ()) -> list[Manifest]:
        """Complete every recording that a crash cut off: header mended, manifest marked `recovered`. `skip` names those that are alive.

        A folder whose manifest is missing or unreadable keeps its audio, under its own id and the zero account. One that holds neither
        manifest nor audio is the remains of a start that never came to be, and is removed.
        """
        recovered = []
        for folder in self._folders():
            if folder.name in skip:
                continue
            audio = folder / AUDIO
            try:
                manifest = self.read(folder.name)
            except UnknownRecording:
                if not audio.exists() or audio.stat().st_size <= wav.HEADER_SIZE:
                    shutil.rmtree(folder, ignore_errors=True)
                    continue
                rate, channels = _shape(audio)
                created = audio.stat().st_mtime
                manifest = Manifest(id=folder.name, account=ZERO_ID, rate=rate, channels=channels, created=created, started=created)
            if manifest.state == "recording":
                recovered.append(self._recovered(manifest, audio, wall))
        return recovered

    def _recovered(self, manifest: Manifest, audio: Path, wall: float) -> Manifest:
        frames = wav.complete(audio, rate=manifest.rate, channels=manifest.channels).frames if audio.exists() else 0
        began = manifest.started if manifest.started is not None else manifest.created
        ended = min(began + frames / manifest.rate, wall)
        event = {"at": round(frames / manifest.rate, 3), "event": "recovered"}
        whole = replace(
            manifest, recovered=True, reason="crash", frames=frames, started=began, ended=ended, timeline=(*manifest.timeline, event)
        )
        return self.finish(whole)

    def release(self, recording_id: str) -> None:
        """Remove the folder: the audio is safe elsewhere. The manifest goes last, so a crash on the way leaves nothing unexplained."""
        folder = self.path(recording_id)
        if not folder.exists():
            return
        for path in folder.iterdir():
            if path.name != MANIFEST:
                path.unlink(missing_ok=True)
        (folder / MANIFEST).unlink(missing_ok=True)
        folder.rmdir()

    def free_bytes(self) -> int:
        return shutil.disk_usage(self.root).free

    def _folders(self) -> list[Path]:
        return sorted(path for path in self.root.iterdir() if is_id(path.name) and path.is_dir())


def _shape(audio: Path) -> tuple[int, int]:
    """Rate and channels as the audio's own header says; telephone's where it says nothing."""
    try:
        found = wav.info(audio)
    except (DamagedWave, OSError):
        return 8000, 1
    return found.rate, found.channels


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
