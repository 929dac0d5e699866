"""The spool: what is in it after a crash at any step, and how it mends what a crash left."""

import dataclasses
import errno
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapeline.audio import wav
from tapeline.core.ids import ZERO_ID, new_id
from tapeline.core.recordspec import Delivery, RecordSpec, SilenceRule
from tapeline.recording.errors import UnknownRecording
from tapeline.recording.manifest import Manifest, spec_as_dict
from tapeline.recording.spool import AUDIO, MANIFEST, RESERVE, Spool

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
    assert [path.name for path in tmp_path.iterdir()] == [RESERVE]


def test_a_failure_before_the_first_byte_is_told_all_the_same(tmp_path: Path) -> None:
    spool, made = Spool(tmp_path), manifest(state="failed", reason="disk_full")
    spool.finish(made)
    assert spool.complete() == [made.id]
    assert spool.read(made.id).reason == "disk_full"


# -- what else may be found in a spool ---------------------------------------------------------------------------------


@given(st.binary(max_size=300))
def test_any_bytes_for_a_manifest_are_read_or_pieced_together(text: bytes) -> None:
    try:
        assert Manifest.from_json(text).rate > 0
    except UnknownRecording:
        pass
    made = Manifest.salvage(text, id="x", account="y")
    assert made.rate > 0 and Manifest.from_json(made.to_json()).to_json() == made.to_json()
    assert isinstance(made.record_spec, RecordSpec)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)
FIELDS = [field.name for field in dataclasses.fields(Manifest)]
SPEC_FIELDS = [field.name for field in dataclasses.fields(RecordSpec)]


@given(st.dictionaries(st.sampled_from(FIELDS), JSON), st.dictionaries(st.sampled_from(SPEC_FIELDS), JSON))
def test_fields_of_the_wrong_kind_never_break_anyone(wrong: dict[str, object], wrong_spec: dict[str, object]) -> None:
    right = manifest()
    document = json.loads(right.to_json()) | {"spec": wrong_spec} | wrong
    made = Manifest.salvage(json.dumps(document).encode(), id="x", account="y")
    assert Manifest.from_json(made.to_json()).to_json() == made.to_json()
    assert spec_as_dict(made.record_spec)
    assert all(getattr(made, name) == getattr(right, name) for name in FIELDS if name not in {*wrong, "spec"})


def test_every_field_is_checked() -> None:
    for name in FIELDS:
        document = json.loads(manifest().to_json()) | {name: {"nonsense": [1]} if name not in ("spec", "custom") else "nonsense"}
        with pytest.raises(UnknownRecording, match=name):
            Manifest.from_json(json.dumps(document).encode())
    spec = spec_as_dict(RecordSpec())
    for name in SPEC_FIELDS:
        broken = manifest(spec=spec | {name: {"nonsense": 1} if name not in ("custom", "silence") else 7})
        assert broken.record_spec == RecordSpec(), name


def test_what_is_legible_of_a_bad_manifest_is_used(tmp_path: Path) -> None:
    spool, made = Spool(tmp_path), manifest(timeline=({"at": 0.0, "event": "started"},))
    append(spool.create(made), 2)
    document = json.loads(made.to_json()) | {"recovered": "perhaps", "frames": -1, "state": "stopped"}
    (spool.path(made.id) / MANIFEST).write_text(json.dumps(document))
    (found,) = spool.recover(wall=5000.0)
    assert (found.account, found.call_id, found.frames, found.recovered) == (made.account, made.call_id, 16_000, True)
    assert [item["event"] for item in found.timeline] == ["started", "recovered"]
    assert (spool.path(made.id) / "manifest.unreadable").read_text() == json.dumps(document), "kept for whoever wants to know"


def test_a_folder_that_was_copied_is_recovered_under_its_own_name(tmp_path: Path) -> None:
    spool, made, copy = Spool(tmp_path), manifest(), new_id()
    append(spool.create(made), 2)
    shutil.copytree(spool.path(made.id), spool.path(copy))
    found = {item.id: item for item in spool.recover(wall=5000.0)}
    assert set(found) == {made.id, copy} == set(spool.complete())
    assert all(item.frames == 16_000 and item.account == made.account for item in found.values())


def test_one_folder_that_cannot_be_recovered_hinders_no_other(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spool, bad, good = Spool(tmp_path), manifest(id="00000000-0000-4000-8000-000000000000"), manifest()
    spool.create(bad).unlink()
    (spool.path(bad.id) / AUDIO).mkdir()
    append(spool.create(good), 1)
    assert [item.id for item in spool.recover(wall=5000.0)] == [good.id]
    assert "could not be recovered" in caplog.text and spool.path(bad.id).exists()


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    outside, spool, name = tmp_path / "outside", Spool(tmp_path / "spool"), new_id()
    outside.mkdir()
    (spool.root / name).symlink_to(outside)
    assert spool.recover(wall=1.0) == [] and spool.complete() == [] and outside.exists()


def test_a_timeline_that_is_ahead_of_the_file_stays_in_order(tmp_path: Path) -> None:
    """The recorder lags a second behind the call, and a pause may have cut much out."""
    spool, made = Spool(tmp_path), manifest(timeline=({"at": 0.0, "event": "started"}, {"at": 60.0, "event": "paused", "mode": "cut"}))
    append(spool.create(made), 5)
    (found,) = spool.recover(wall=5000.0)
    assert [item["at"] for item in found.timeline] == [0.0, 60.0, 60.0]


def test_a_clock_that_was_set_back_makes_no_negative_length(tmp_path: Path) -> None:
    spool, made = Spool(tmp_path), manifest()
    append(spool.create(made), 5)
    (found,) = spool.recover(wall=10.0)
    assert found.ended == found.started == 1000.5


def test_the_worker_sees_at_once_what_is_finished_although_it_does_not_read_what_grows(tmp_path: Path) -> None:
    spool, made = Spool(tmp_path), manifest()
    spool.create(made)
    file = spool.path(made.id) / MANIFEST
    os.utime(file, (1000.0, 1000.0))
    assert spool.complete() == []
    reads = []
    spool.read = lambda name, real=spool.read: reads.append(name) or real(name)  # type: ignore[method-assign]
    assert spool.complete() == [] and reads == []
    Spool(tmp_path).finish(dataclasses.replace(made, state="stopped"))  # another process
    assert spool.complete() == [made.id] and reads == [made.id]
    spool.release(made.id)
    assert spool.complete() == [] and not spool._growing


def test_a_folder_whose_manifest_is_being_made_is_passed_over(tmp_path: Path) -> None:
    spool, good, bad = Spool(tmp_path), manifest(), manifest()
    for made in (good, bad):
        spool.create(made)
        spool.finish(dataclasses.replace(made, state="stopped"))
    (spool.path(bad.id) / MANIFEST).write_bytes(b"{")
    spool.path(new_id()).mkdir()
    assert spool.complete() == [good.id]


def test_no_manifest_and_no_header_leaves_audio_as_a_telephone_has_it(tmp_path: Path) -> None:
    spool, name = Spool(tmp_path), new_id()
    spool.path(name).mkdir()
    (spool.path(name) / AUDIO).write_bytes(bytes(80) + TONE.tobytes())
    (found,) = spool.recover(wall=1e12)
    assert (found.rate, found.channels, found.frames, found.account) == (8000, 1, 8000, ZERO_ID)
    assert np.array_equal(wav.read(spool.path(name) / AUDIO)[0][:, 0], TONE)


def test_an_error_that_is_no_lack_of_room_costs_no_reserve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool, made = Spool(tmp_path), manifest()
    spool.create(made)

    def broken(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="Input/output"):
        spool.write(made)
    assert (tmp_path / RESERVE).exists() and spool.free_bytes() > 0


def test_where_there_is_no_room_for_the_reserve_nothing_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path)

    def full(descriptor: int, start: int, length: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space"):
        spool.create(manifest())
    assert list(tmp_path.iterdir()) == []


# -- release -----------------------------------------------------------------------------------------------------------


def test_a_release_cut_short_is_completed_at_the_next_start(tmp_path: Path) -> None:
    spool, made = Spool(tmp_path), manifest()
    append(spool.create(made), 1)
    spool.finish(dataclasses.replace(made, state="stopped"))
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(shutil, "rmtree", lambda *arguments, **options: (_ for _ in ()).throw(Killed()))
        spool.release(made.id)
    assert spool.complete() == [], "it is not offered to the worker again"
    assert Spool(tmp_path).recover(wall=1.0) == []
    assert [path.name for path in tmp_path.iterdir()] == [RESERVE]


def test_a_release_gets_over_what_an_earlier_one_left(tmp_path: Path) -> None:
    spool, made = Spool(tmp_path), manifest()
    left = tmp_path / f"{made.id}.released"
    left.mkdir()
    (left / AUDIO).write_bytes(b"x")
    spool.create(made)
    spool.release(made.id)
    assert [path.name for path in tmp_path.iterdir()] == [RESERVE]


# -- power cut, full disk ----------------------------------------------------------------------------------------------


def test_what_is_renamed_was_synced_and_so_is_the_folder_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a power cut only what was synced is there for certain: file before its name, name before we say that it is done."""
    done: list[tuple[str, str]] = []
    real_sync, real_rename = os.fsync, Path.rename

    def sync(descriptor: int) -> None:
        done.append(("sync", Path(os.readlink(f"/proc/self/fd/{descriptor}")).name))
        real_sync(descriptor)

    def rename(path: Path, target: Path) -> Path:
        done.append(("rename", path.name))
        return real_rename(path, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(Path, "rename", rename)
    spool, made = Spool(tmp_path / "spool"), manifest()
    spool.create(made)
    manifest_steps = [("sync", "manifest.new"), ("rename", "manifest.new"), ("sync", made.id)]
    assert done == [("sync", AUDIO), *manifest_steps, ("sync", "spool")]
    done.clear()
    spool.finish(dataclasses.replace(made, state="stopped"))
    assert done == [("sync", AUDIO), *manifest_steps, ("sync", "spool")]


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mount"), reason="only root may mount a small disk")
def test_on_a_full_disk_a_recording_still_ends_with_its_reason(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], check=False, capture_output=True).returncode:
        pytest.skip("no small disk can be mounted here")
    try:
        spool, made, other = Spool(disk / "spool"), manifest(), manifest()
        audio = spool.create(made)
        with pytest.raises(OSError, match="No space") as caught, audio.open("ab", buffering=0) as file:
            while True:
                file.write(bytes(1000))
        assert caught.value.errno == errno.ENOSPC
        kept = spool.finish(dataclasses.replace(made, state="stopped", reason="disk_full"))
        assert kept.frames > 300_000 and spool.read(made.id) == kept and spool.complete() == [made.id]
        while True:  # what the reserve gave back is filled too
            try:
                with audio.open("ab", buffering=0) as file:
                    file.write(bytes(1000))
            except OSError:
                break
        with pytest.raises(OSError, match="No space"):
            spool.create(other)
        assert not spool.path(other.id).exists()
        spool.release(made.id)
        append(spool.create(other), 1)
        assert (disk / "spool" / RESERVE).stat().st_blocks * 512 >= 1 << 18
    finally:
        subprocess.run(["umount", str(disk)], check=True)
