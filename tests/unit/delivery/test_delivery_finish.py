"""The stages of finishing, one by one, over a real spool, database and folder: each can be run again, and what fails is visible."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tapeline.audio import wav
from tapeline.core.ids import ZERO_ID, new_id
from tapeline.delivery.finish import STAGES, Finisher
from tapeline.delivery.pauses import pause_after
from tapeline.recording.manifest import Manifest
from tapeline.recording.spool import Spool
from tapeline.store import Database, ObjectStore, RecordingRow, object_key

ACCOUNT = new_id()


@dataclass
class Bench:
    spool: Spool
    database: Database
    objects: ObjectStore
    folder: Path
    said: list[Mapping[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.finisher = Finisher(self.spool, self.database, self.objects, self.said.append, wall=lambda: 1000.0)

    def record(self, frames: int = 8000, *, channels: int = 1, **fields: Any) -> Manifest:
        spec = {"format": "wav", "channels": channels, "rate": 8000} | fields.pop("spec", {})
        known: dict[str, Any] = {"created": 10.0, "started": 11.0, "ended": 12.0, "reason": "hangup", "state": "stopped"}
        manifest = Manifest(id=new_id(), spec=spec, rate=8000, channels=channels, **({"account": ACCOUNT} | known | fields))
        path = self.spool.create(replace(manifest, state="recording"))
        with path.open("ab") as file:
            file.write(np.full((frames, channels), 1000, np.int16).tobytes())
        self.spool.finish(manifest)
        return self.spool.read(manifest.id)

    async def finish(self, recording_id: str) -> list[str]:
        return [await self.finisher.run(stage, recording_id) for stage in STAGES]

    async def row(self, recording_id: str) -> RecordingRow:
        found = await self.database.recordings.get(recording_id)
        assert found is not None
        return found


@pytest.fixture
async def bench(tmp_path: Path, database: Database) -> AsyncIterator[Bench]:
    yield Bench(Spool(tmp_path / "spool"), database, ObjectStore(str(tmp_path / "objects")), tmp_path)


async def test_from_the_spool_to_an_available_row(bench: Bench) -> None:
    manifest = bench.record(call_id="c", activeflow_id="a", node="n", custom={"k": "v"}, recovered=True, spec={"label": "l"})
    assert await bench.finish(manifest.id) == ["ok"] * 4
    row = await bench.row(manifest.id)
    assert (row.state, row.reason, row.duration, row.size) == ("available", "hangup", 1.0, wav.HEADER_SIZE + 16000)
    assert (row.call_id, row.activeflow_id, row.node, row.label, row.recovered, row.custom) == ("c", "a", "n", "l", True, {"k": "v"})
    assert (row.created, row.started, row.ended, row.updated) == (10.0, 11.0, 12.0, 1000.0)
    assert row.object_key == object_key(ACCOUNT, manifest.id, "wav") and row.content_type == "audio/wav"
    assert await bench.objects.sha256(row.object_key) == row.sha256
    assert row.measures["peak_db"] == pytest.approx(-30.3, abs=0.05) and row.measures["silent_ratio"] == 0.0
    assert len(row.peaks) == 1 and max(row.peaks[0]) == pytest.approx(1000 / 32768, abs=1e-3)
    assert not bench.spool.path(manifest.id).exists()
    assert bench.said == [{"recording": manifest.id, "state": "available", "reason": "hangup", "duration": 1.0, "size": row.size}]


async def test_a_master_that_already_is_what_is_wanted_is_not_copied(bench: Bench) -> None:
    manifest = bench.record()
    master = bench.spool.path(manifest.id) / "audio.wav"
    inode = master.stat().st_ino
    assert await bench.finish(manifest.id) == ["ok"] * 4
    row = await bench.row(manifest.id)
    assert (bench.folder / "objects" / row.object_key).stat().st_ino == inode


@pytest.mark.parametrize("stage", STAGES)
async def test_every_stage_may_be_run_again_and_again(bench: Bench, stage: str) -> None:
    manifest = bench.record(spec={"channels": 2})
    for each in STAGES:
        again = {await bench.finisher.run(each, manifest.id) for _ in range(3 if each == stage else 1)}
        assert again == {"ok"}
    row = await bench.row(manifest.id)
    assert (row.state, row.channels) == ("available", 2)
    assert await bench.objects.sha256(row.object_key) == row.sha256
    assert await bench.finisher.run(stage, manifest.id) == ("ok" if stage == "release" else "gone")


async def test_published_again_a_recording_keeps_what_was_noted_of_it_meanwhile(bench: Bench) -> None:
    manifest = bench.record(custom={"media_id": "mine", "a": 1})
    for stage in STAGES[:-1]:
        assert await bench.finisher.run(stage, manifest.id) == "ok"
    await bench.database.recordings.annotate(manifest.id, lambda custom: {**custom, "notes": {"b": 2}})
    assert await bench.finisher.run("publish", manifest.id) == "ok"  # as after a crash before the spool was released
    row = await bench.row(manifest.id)
    assert row.custom == {"media_id": "mine", "a": 1, "notes": {"b": 2}} and row.media_id == "mine"
    assert all(event["event"] != "renamed" for event in row.timeline)


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b'{"file": "x"}'])
async def test_what_a_power_cut_left_of_the_rendition_is_made_anew(bench: Bench, content: bytes | None) -> None:
    manifest = bench.record(spec={"channels": 2})
    await bench.finisher.run("render", manifest.id)
    kept = bench.spool.path(manifest.id) / "rendition.json"
    assert kept.exists()
    kept.unlink() if content is None else kept.write_bytes(content)
    assert [await bench.finisher.run(stage, manifest.id) for stage in STAGES[1:]] == ["ok"] * 3
    row = await bench.row(manifest.id)
    assert await bench.objects.sha256(row.object_key) == row.sha256


async def test_a_rendition_cut_short_is_made_anew(bench: Bench) -> None:
    manifest = bench.record(spec={"channels": 2})
    await bench.finisher.run("render", manifest.id)
    (bench.spool.path(manifest.id) / "rendition.wav").write_bytes(b"RIFF")
    assert [await bench.finisher.run(stage, manifest.id) for stage in STAGES[1:]] == ["ok"] * 3
    assert (await bench.row(manifest.id)).size == 44 + 8000 * 4


async def test_a_failed_recording_has_a_row_with_its_reason_and_no_object(bench: Bench) -> None:
    manifest = bench.record(10, state="failed", reason="too_short")
    assert await bench.finish(manifest.id) == ["ok"] * 4
    row = await bench.row(manifest.id)
    assert (row.state, row.reason, row.object_key, row.duration, row.sha256) == ("failed", "too_short", "", None, "")
    assert not (bench.folder / "objects").exists()
    assert not bench.spool.path(manifest.id).exists()


async def test_more_channels_than_mp3_can_carry_become_a_wav(bench: Bench) -> None:
    manifest = bench.record(channels=3, spec={"format": "mp3"})
    assert await bench.finish(manifest.id) == ["ok"] * 4
    row = await bench.row(manifest.id)
    assert (row.format, row.channels, row.content_type, row.object_key[-4:]) == ("wav", 3, "audio/wav", ".wav")


async def test_a_ruined_header_loses_no_audio(bench: Bench) -> None:
    manifest = bench.record()
    master = bench.spool.path(manifest.id) / "audio.wav"
    with master.open("r+b") as file:
        file.write(bytes(wav.HEADER_SIZE))
    assert await bench.finish(manifest.id) == ["ok"] * 4
    assert (await bench.row(manifest.id)).duration == 1.0


async def test_a_release_cut_short_is_completed_even_if_all_begins_anew(bench: Bench) -> None:
    manifest = bench.record()
    assert [await bench.finisher.run(stage, manifest.id) for stage in STAGES[:3]] == ["ok"] * 3
    row = await bench.row(manifest.id)
    for path in bench.spool.path(manifest.id).iterdir():
        if path.name != "manifest.json":
            path.unlink()
    assert await bench.finish(manifest.id) == ["ok"] * 4
    assert await bench.row(manifest.id) == row
    assert await bench.objects.sha256(row.object_key) == row.sha256
    assert not bench.spool.path(manifest.id).exists()


async def test_a_recording_that_never_had_a_file_is_an_empty_one(bench: Bench) -> None:
    manifest = bench.record(0)
    (bench.spool.path(manifest.id) / "audio.wav").unlink()
    assert await bench.finish(manifest.id) == ["ok"] * 4
    assert (await bench.row(manifest.id)).duration == 0.0


async def test_an_account_that_is_no_id_holds_nothing_up(bench: Bench) -> None:
    manifest = bench.record(account="../../default")
    assert await bench.finish(manifest.id) == ["ok"] * 4
    assert (await bench.row(manifest.id)).object_key == f"{ZERO_ID}/{manifest.id}.wav"


async def test_a_recording_that_is_gone_is_no_failure(bench: Bench) -> None:
    assert await bench.finish(new_id()) == ["gone", "gone", "gone", "ok"]
    assert bench.said == []


async def test_the_spool_is_kept_and_the_failure_visible_while_the_store_fails(bench: Bench) -> None:
    manifest = bench.record()
    (bench.folder / "objects").write_bytes(b"not a folder")
    assert await bench.finisher.run("render", manifest.id) == "ok"
    assert await bench.finisher.run("store", manifest.id) == "again"
    (attempt,) = await bench.database.attempts.list(manifest.id)
    assert (attempt.kind, attempt.target, attempt.outcome, attempt.fault, attempt.time) == ("finish", "store", "failed", "us", 1000.0)
    assert "object store" in attempt.reason
    assert bench.said[-1]["problem"] == attempt.reason and bench.said[-1]["state"] == "stopping"
    assert bench.spool.path(manifest.id).exists()
    (bench.folder / "objects").unlink()
    assert await bench.finish(manifest.id) == ["ok"] * 4


async def test_what_is_read_back_wrong_is_not_available(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = bench.record()

    async def other(key: str) -> str:
        return "0" * 64

    with monkeypatch.context() as patch:
        patch.setattr(bench.objects, "sha256", other)
        await bench.finisher.run("render", manifest.id)
        assert await bench.finisher.run("store", manifest.id) == "again"
    (attempt,) = await bench.database.attempts.list(manifest.id)
    assert "not what was put there" in attempt.reason
    assert await bench.finisher.run("store", manifest.id) == "ok"


async def test_a_defect_in_one_recording_is_noted_not_raised(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def defect(master: Path) -> None:
        raise ZeroDivisionError("a bug of ours")

    manifest = bench.record()
    with monkeypatch.context() as patch:
        patch.setattr("tapeline.delivery.finish.measure", defect)
        assert await bench.finisher.run("render", manifest.id) == "again"
    (attempt,) = await bench.database.attempts.list(manifest.id)
    assert (attempt.fault, attempt.reason) == ("us", "ZeroDivisionError: a bug of ours")
    assert await bench.finish(manifest.id) == ["ok"] * 4


async def test_a_master_that_cannot_be_read_now_is_tried_again(bench: Bench) -> None:
    manifest = bench.record()
    master = bench.spool.path(manifest.id) / "audio.wav"
    away = bench.folder / "away"
    master.rename(away)
    assert await bench.finisher.run("render", manifest.id) == "again"
    away.rename(master)
    assert await bench.finish(manifest.id) == ["ok"] * 4


async def test_attempts_that_could_not_be_written_are_written_once_the_database_is_back(bench: Bench) -> None:
    manifest = bench.record()
    await bench.finisher.run("render", manifest.id)
    await bench.finisher.run("store", manifest.id)
    await bench.database.close()
    assert await bench.finisher.run("publish", manifest.id) == "again"
    assert await bench.finisher.run("publish", manifest.id) == "again"
    await bench.database.open()
    assert await bench.database.attempts.list(manifest.id) == []
    await bench.finisher.write_attempts()
    tries = await bench.database.attempts.list(manifest.id)
    assert [(attempt.target, attempt.fault) for attempt in tries] == [("publish", "us")] * 2
    assert await bench.finisher.run("publish", manifest.id) == "ok"


async def test_what_was_deleted_meanwhile_keeps_no_object(bench: Bench) -> None:
    manifest = bench.record()
    await bench.database.recordings.upsert(RecordingRow(manifest.id, ACCOUNT, "stopping", 10.0, deleted=20.0))
    assert await bench.finish(manifest.id) == ["ok"] * 4
    row = await bench.row(manifest.id)
    assert (row.state, row.deleted) == ("available", 20.0)
    assert not (bench.folder / "objects" / row.object_key).exists()


def test_pauses_grow_to_a_quarter_of_an_hour_and_never_end() -> None:
    pauses = [pause_after(failures) for failures in range(1, 400)]
    assert pauses[:5] == [1.0, 2.0, 4.0, 8.0, 16.0]
    assert pauses == sorted(pauses) and pauses[-1] == 900.0
    assert sum(pauses) > 3 * 86400


async def test_the_row_tells_who_spoke_with_whom_from_the_manifest_alone(bench: Bench) -> None:
    manifest = bench.record(source="1001", destination="+15551234567", direction="incoming", sip_call_id="a@b", custom={"k": "v"})
    await bench.finish(manifest.id)
    row = await bench.row(manifest.id)
    assert (row.source, row.destination, row.direction, row.sip_call_id) == ("1001", "+15551234567", "incoming", "a@b")
    assert row.custom == {"k": "v"}
