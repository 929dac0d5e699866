"""The spool: what is in it after a crash at any step, and how it mends what a crash left."""

import dataclasses
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tapeline.audio import wav
from tapeline.core.ids import ZERO_ID, new_id
from tapeline.core.recordspec import Delivery, RecordSpec, SilenceRule
from tapeline.recording.errors import UnknownRecording
from tapeline.recording.manifest import Manifest, spec_as_dict
from tapeline.recording.spool import AUDIO, MANIFEST, Spool

TONE = (8000 * np.sin(np.arange(8000) / 5)).astype(np.int16)


def manifest(**changes: object) -> Manifest:
    made = Manifest(id=new_id(), account=new_id(), call_id=new_id(), created=1000.0, started=1000.5, spec=spec_as_dict(RecordSpec()))
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]


def append(audio: Path, seconds: int, extra: bytes = b"") -> None:
    with audio.open("ab") as file:
        for _ in range(seconds):
            file.write(TONE.tobytes())
        file.write(extra)


def test_the_plain_course(tmp_path: Path) -> None:
    spool, made = Spool(tmp_path / "spool"), manifest()
    audio = spool.create(made)
    assert spool.complete() == []
    append(audio, 3)
    kept = spool.finish(dataclasses.replace(made, state="stopped", reason="hangup", frames=1))
    assert (kept.frames, kept.state) == (24_000, "stopped")  # what the file holds, not what was said of it
    assert spool.read(made.id) == kept
    samples, rate = wav.read(audio)
    assert rate == 8000 and np.array_equal(samples[:, 0], np.tile(TONE, 3))
    assert spool.complete() == [made.id]
    spool.release(made.id)
    assert not spool.path(made.id).exists() and spool.complete() == []
    spool.release(made.id)  # again: nothing


def test_the_oldest_is_finished_first(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    made = [manifest(created=float(when)) for when in (30, 10, 20)]
    for item in made:
        spool.create(item)
        spool.finish(dataclasses.replace(item, state="stopped"))
    assert spool.complete() == [made[1].id, made[2].id, made[0].id]


def test_a_manifest_survives_its_text() -> None:
    spec = RecordSpec(
        silence=SilenceRule(100, 1.0, 2.0), end_keys=frozenset("#*"), deliver=(Delivery("http://x/y", "POST", {"a": "b"}),), format="mp3"
    )
    made = manifest(spec=spec_as_dict(spec), timeline=({"at": 0.0, "event": "started"},), custom={"ü": "ß"})
    again = Manifest.from_json(made.to_json())
    assert again.record_spec == spec
    assert again.to_json() == made.to_json()


def test_a_manifest_of_another_version_can_be_read() -> None:
    document = json.loads(manifest().to_json()) | {"version": 99, "colour": "blue"}
    del document["destination"]
    assert Manifest.from_json(json.dumps(document).encode()).destination == ""


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"id": 3}', b'{"id": "x", "account": "y", "rate": 0}', b"\xff\xfe", b"null"])
def test_what_is_no_manifest_is_refused(text: bytes) -> None:
    with pytest.raises(UnknownRecording):
        Manifest.from_json(text)


@pytest.mark.parametrize("name", ["../../etc", "", ".", "x/y", "3f0e6c0a"])
def test_no_name_becomes_another_path(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnknownRecording):
        Spool(tmp_path).path(name)


def test_a_crash_while_recording_is_recovered(tmp_path: Path) -> None:
    spool, made = Spool(tmp_path), manifest()
    append(spool.create(made), 5, extra=b"\x01")  # cut within a sample
    (found,) = Spool(tmp_path).recover(wall=5000.0)
    assert (found.id, found.frames, found.recovered, found.state, found.reason) == (made.id, 40_000, True, "stopped", "crash")
    assert found.ended == 1005.5
    assert found.timeline[-1] == {"at": 5.0, "event": "recovered"}
    assert spool.complete() == [made.id]
    samples, _ = wav.read(spool.path(made.id) / AUDIO)
    assert np.array_equal(samples[:, 0], np.tile(TONE, 5))
    assert Spool(tmp_path).recover(wall=6000.0) == []  # once


def test_what_is_alive_is_left_alone(tmp_path: Path) -> None:
    spool, made = Spool(tmp_path), manifest()
    spool.create(made)
    assert spool.recover(wall=5000.0, skip={made.id}) == []
    assert spool.read(made.id).state == "recording"


def test_what_was_complete_is_not_recovered(tmp_path: Path) -> None:
    spool, made = Spool(tmp_path), manifest()
    spool.create(made)
    spool.finish(dataclasses.replace(made, state="stopped"))
    assert spool.recover(wall=5000.0) == []
    assert spool.complete() == [made.id]


def spoil(path: Path, content: bytes | None) -> None:
    path.unlink() if content is None else path.write_bytes(content)


@pytest.mark.parametrize("content", [None, b"", b"{", b'{"id": 7}', b"\x00" * 300])
def test_audio_without_a_manifest_is_kept(tmp_path: Path, content: bytes | None) -> None:
    spool, made = Spool(tmp_path), manifest(channels=2)
    append(spool.create(made), 2)
    spoil(spool.path(made.id) / MANIFEST, content)
    (found,) = spool.recover(wall=5000.0)
    assert (found.id, found.account, found.channels, found.frames) == (made.id, ZERO_ID, 2, 8000)
    assert wav.info(spool.path(made.id) / AUDIO).frames == 8000


@pytest.mark.parametrize("content", [None, b"", b"RIFF", b"\x00" * 80])
def test_a_manifest_without_usable_audio_is_an_empty_recording(tmp_path: Path, content: bytes | None) -> None:
    spool, made = Spool(tmp_path), manifest()
    spoil(spool.create(made), content)
    (found,) = spool.recover(wall=5000.0)
    assert (found.id, found.frames, found.account) == (made.id, 0, made.account)


def test_a_spoilt_header_costs_no_audio(tmp_path: Path) -> None:
    spool, made = Spool(tmp_path), manifest()
    audio = spool.create(made)
    append(audio, 4)
    with audio.open("r+b") as file:
        file.write(b"\x00" * 80)
    (found,) = spool.recover(wall=5000.0)
    assert found.frames == 32_000
    assert np.array_equal(wav.read(audio)[0][:, 0], np.tile(TONE, 4))


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    (tmp_path / "note.txt").write_text("hello")
    spool = Spool(tmp_path)
    assert spool.recover(wall=1.0) == [] and spool.complete() == []
    assert (tmp_path / "lost+found").exists() and (tmp_path / "note.txt").exists()


class Killed(BaseException):
    """The process ends here."""


STEPS = ("open", "fsync", "rename", "unlink", "truncate", "mkdir", "rmdir")


def kill_at(monkeypatch: pytest.MonkeyPatch, step: int) -> Callable[[], int]:
    """Let the `step`th call to the system be the last one. Gives how many there were."""
    count = 0

    def watch(real: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **options: object) -> object:
            nonlocal count
            count += 1
            if count == step:
                raise Killed
            return real(*arguments, **options)

        return call

    for name in ("fsync", "truncate"):
        monkeypatch.setattr(os, name, watch(getattr(os, name)))
    for name in ("open", "rename", "mkdir", "unlink", "rmdir"):
        monkeypatch.setattr(Path, name, watch(getattr(Path, name)))
    return lambda: count


def whole_life(root: Path, made: Manifest) -> None:
    spool = Spool(root)
    append(spool.create(made), 2)
    spool.write(dataclasses.replace(made, timeline=({"at": 1.0, "event": "masked"},)))
    spool.finish(dataclasses.replace(made, state="stopped"))


def test_killed_at_any_step_nothing_that_was_written_is_lost(tmp_path: Path) -> None:
    made = manifest()
    with pytest.MonkeyPatch.context() as patch:
        total = kill_at(patch, 0)
        whole_life(tmp_path / "count", made)
        steps = total()
    assert steps > 15
    for step in range(1, steps + 1):
        root = tmp_path / str(step)
        with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
            kill_at(patch, step)
            whole_life(root, made)
        if not root.exists():
            continue
        audio = root / made.id / AUDIO
        written = max(0, audio.stat().st_size - wav.HEADER_SIZE) // 2 if audio.exists() else 0
        spool = Spool(root)
        spool.recover(wall=5000.0)
        if written:
            assert spool.complete() == [made.id], f"killed at step {step}"
            assert spool.read(made.id).frames == written
            assert wav.info(audio).frames == written
        else:
            assert all(spool.read(found).frames == 0 for found in spool.complete())
        shutil.rmtree(root)


def test_a_full_disk_leaves_no_half_made_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool, made = Spool(tmp_path), manifest()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        spool.create(made)
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []


def test_a_failure_before_the_first_byte_is_told_all_the_same(tmp_path: Path) -> None:
    spool, made = Spool(tmp_path), manifest(state="failed", reason="disk_full")
    spool.finish(made)
    assert spool.complete() == [made.id]
    assert spool.read(made.id).reason == "disk_full"
