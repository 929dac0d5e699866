# ruff: noqa: ASYNC221, ASYNC240 - a test may block its own event loop, and looks from outside
"""The worker as a real process: killed at each step, cut off from its databases and its store, flooded. Each recording is finished
exactly once, and no audio is lost."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tapeline.audio import wav
from tapeline.core.ids import new_id
from tapeline.core.recordspec import RecordSpec
from tapeline.delivery.config import VARIABLE, WorkerConfig
from tapeline.delivery.process import WorkerProcess
from tapeline.recording.manifest import Manifest
from tapeline.recording.spool import Spool

ACCOUNT = new_id()
RATE = 8000
WAIT_S = 30.0  # for anything that should happen at all; nothing waits that long when it works


def tone(seconds: float, channels: int = 1) -> np.ndarray[Any, np.dtype[np.int16]]:
    """A tone of its own pitch for each channel: 500 Hz, 1000 Hz ..."""
    at = np.arange(round(seconds * RATE)) / RATE
    return np.stack([8000 * np.sin(2 * np.pi * 500 * (n + 1) * at) for n in range(channels)], axis=1).astype(np.int16)


class House:
    """A data folder with a spool, and what can be asked of it from outside."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.spool = Spool(root / "spool")
        self.objects = root / "objects"
        self.rows = root / "tapeline.sqlite"
        self.jobs = root / "dbos.sqlite"
        self.config = WorkerConfig(str(root), f"sqlite:///{self.rows}", str(self.objects), f"sqlite:///{self.jobs}", "test", slots=2)

    def record(self, seconds: float = 1.0, channels: int = 1, **fields: Any) -> str:
        """Capture a tone into the spool, as a call does, and complete it."""
        spec = RecordSpec(**({"channels": channels, "rate": RATE} | fields.pop("spec", {})))
        now = time.time()
        manifest = make_manifest(spec, created=now - seconds, started=now - seconds, ended=now, channels=channels, **fields)
        path = self.spool.create(replace(manifest, state="recording"))
        with path.open("ab") as file:
            file.write(tone(seconds, channels).tobytes())
        self.spool.finish(manifest)
        return manifest.id

    def query(self, file: Path, statement: str, *values: object) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
        try:
            return connection.execute(statement, values).fetchall()
        finally:
            connection.close()

    def row(self, recording_id: str) -> dict[str, Any]:
        names = ("state", "reason", "duration", "size", "sha256", "object_key", "content_type", "channels", "rate", "format", "deleted")
        rows = self.query(self.rows, f"SELECT {', '.join(names)} FROM recordings WHERE id = ?", recording_id)
        assert len(rows) == 1
        return dict(zip(names, rows[0], strict=True))

    def attempts(self, recording_id: str) -> list[tuple[Any, ...]]:
        return self.query(
            self.rows, "SELECT target, outcome, reason, fault FROM attempts WHERE ref = ? AND kind = 'finish' ORDER BY time", recording_id
        )

    def stored(self) -> list[Path]:
        return [path for path in self.objects.rglob("*") if path.is_file()]

    async def over(self, *recordings: str) -> None:
        """Released from the spool, and the workflow's end written down, which is a moment later."""
        await until(lambda: not any(self.spool.path(recording).exists() for recording in recordings))
        under_way = "SELECT 1 FROM workflow_status WHERE workflow_uuid = ? AND status != 'SUCCESS'"
        await until(lambda: not any(self.query(self.jobs, under_way, recording) for recording in recordings))

    def check_finished_once(self, recording_id: str, seconds: float) -> None:
        """One row, one object with the audio in it, nothing left in the spool, the workflow over."""
        row = self.row(recording_id)
        assert row["state"] == "available" and row["duration"] == pytest.approx(seconds)
        objects = [path for path in self.stored() if recording_id in path.name]
        assert objects == [self.objects / row["object_key"]]
        data = objects[0].read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (row["size"], row["sha256"])
        assert not self.spool.path(recording_id).exists()
        found = self.query(self.jobs, "SELECT status FROM workflow_status WHERE workflow_uuid = ?", recording_id)
        assert found == [("SUCCESS",)]


def make_manifest(spec: RecordSpec, **fields: Any) -> Manifest:
    return Manifest(id=new_id(), account=ACCOUNT, spec=spec_dict(spec), rate=RATE, **({"reason": "stopped", "state": "stopped"} | fields))


def spec_dict(spec: RecordSpec) -> dict[str, Any]:
    return {"format": spec.format, "channels": spec.channels, "rate": spec.rate}


class Running:
    """A worker process and what it has said."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.said: list[Mapping[str, Any]] = []
        self._more = asyncio.Event()
        self._task = asyncio.create_task(self._hear())

    async def _hear(self) -> None:
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            self.said.append(json.loads(line))
            self._more.set()
        await self.process.wait()
        self._more.set()

    async def hears(self, wanted: Callable[[Mapping[str, Any]], bool], count: int = 1) -> list[Mapping[str, Any]]:
        async with asyncio.timeout(WAIT_S):
            while True:
                found = [line for line in self.said if wanted(line)]
                if len(found) >= count:
                    return found
                assert self.process.returncode is None, "the worker ended"
                self._more.clear()
                await self._more.wait()

    async def state(self, recording_id: str, state: str = "available") -> Mapping[str, Any]:
        return (await self.hears(lambda line: line.get("recording") == recording_id and line["state"] == state))[0]

    def poke(self, recording_id: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"finish {recording_id}\n".encode())

    async def ends(self) -> int:
        status = await asyncio.wait_for(self.process.wait(), WAIT_S)
        await self._task
        return status


@asynccontextmanager
async def working(house: House, fault: str = "") -> AsyncIterator[Running]:
    environment = os.environ | {VARIABLE: house.config.to_json(), "TAPELINE_FAULT": fault}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tapeline.delivery.worker", stdin=PIPE, stdout=PIPE, env=environment
    )
    running = Running(process)
    try:
        yield running
    finally:
        if process.returncode is None:
            process.terminate()
        await running.ends()
        assert process.stdin is not None
        process.stdin.close()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not true():
            await asyncio.sleep(0.02)


@contextmanager
def locked(file: Path) -> Any:
    connection = sqlite3.connect(file, isolation_level=None, timeout=30)
    connection.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path / "data")


POINTS = (
    ["render", "measure", "render.done", "put", "verify", "verify.done"]
    + ["available", "available.done", "release", "release.done"]
)


@pytest.mark.parametrize("point", POINTS)
async def test_killed_at_any_step_it_finishes_each_recording_exactly_once(house: House, point: str) -> None:
    recording = house.record(1.0)
    async with working(house, f"kill:{point}") as worker:
        assert await worker.ends() == -signal.SIGKILL
    assert house.spool.path(recording).exists() == (point != "release.done")
    async with working(house) as worker:
        await worker.hears(lambda line: bool(line.get("ready")))
        await house.over(recording)
    house.check_finished_once(recording, 1.0)
    assert len(house.stored()) == 1
    assert house.attempts(recording) == []


async def test_a_recording_is_available_within_a_second_of_its_end(house: House) -> None:
    async with working(house) as worker:
        await worker.hears(lambda line: bool(line.get("ready")))
        recording = house.record(5.0)
        started = time.monotonic()
        worker.poke(recording)
        line = await worker.state(recording)
        assert time.monotonic() - started < 1.0
        assert line["duration"] == pytest.approx(5.0) and line["size"] == wav.HEADER_SIZE + 5 * RATE * 2
        await house.over(recording)
    house.check_finished_once(recording, 5.0)


async def test_what_it_was_not_told_of_it_finds(house: House) -> None:
    async with working(house) as worker:
        await worker.hears(lambda line: bool(line.get("ready")))
        assert worker.process.stdin is not None
        worker.process.stdin.write(b"\nfinish\nfinish ../../etc\nnonsense \xff\xfe\nfinish " + new_id().encode() + b"\n")
        recording = house.record(0.5)
        await worker.state(recording)


@pytest.mark.parametrize(("form", "channels"), [("mp3", 1), ("ogg", 2), ("wav", 1), ("wav", 2)])
async def test_the_rendition_sounds_like_the_master(house: House, form: str, channels: int) -> None:
    recording = house.record(2.0, channels=2, spec={"format": form, "channels": channels})
    async with working(house) as worker:
        await worker.state(recording)
    row = house.row(recording)
    assert (row["format"], row["channels"], row["duration"]) == (form, channels, pytest.approx(2.0))
    samples, rate = soundfile.read(house.objects / row["object_key"], always_2d=True)
    assert samples.shape[1] == channels and len(samples) / rate == pytest.approx(2.0, abs=0.15)
    for channel in range(channels):
        spectrum = np.abs(np.fft.rfft(samples[: 2 * rate, channel]))
        loud = np.flatnonzero(spectrum > spectrum.max() / 4) * rate / len(samples[: 2 * rate])
        heard = {round(frequency / 500) * 500 for frequency in loud}
        assert heard == ({500, 1000} if channels == 1 else {500 * (channel + 1)})


async def test_a_recording_that_failed_becomes_a_failed_row_and_its_audio_goes(house: House) -> None:
    recording = house.record(0.3, state="failed", reason="too_short")
    async with working(house) as worker:
        line = await worker.state(recording, "failed")
        assert line["reason"] == "too_short"
        await house.over(recording)
    row = house.row(recording)
    assert (row["state"], row["reason"], row["object_key"]) == ("failed", "too_short", "")
    assert house.stored() == []


async def test_a_recording_without_a_frame_is_an_empty_file_that_plays(house: House) -> None:
    recording = house.record(0.0)
    async with working(house) as worker:
        await worker.state(recording)
    row = house.row(recording)
    assert row["duration"] == 0.0
    samples, rate = soundfile.read(house.objects / row["object_key"])
    assert (len(samples), rate) == (0, RATE)


@pytest.mark.parametrize("which", ["rows", "jobs"])
async def test_while_a_database_is_locked_it_waits_and_then_completes(house: House, which: str) -> None:
    async with working(house) as worker:
        await worker.hears(lambda line: bool(line.get("ready")))
        with locked(getattr(house, which)):
            recording = house.record(1.0)
            worker.poke(recording)
            await asyncio.sleep(7.0)  # longer than a connection waits for a lock
            assert house.spool.path(recording).exists()
            assert not any(line.get("state") == "available" for line in worker.said)
        await worker.state(recording)
        await house.over(recording)
    house.check_finished_once(recording, 1.0)
    if which == "rows":
        assert [(target, fault) for target, _, _, fault in house.attempts(recording)] == [("publish", "us")]


@pytest.mark.parametrize("which", ["rows", "jobs"])
async def test_a_database_that_is_gone_at_the_start_is_waited_for(house: House, which: str) -> None:
    async with working(house) as worker:
        await worker.hears(lambda line: bool(line.get("ready")))
    file: Path = getattr(house, which)
    away = house.root / "away"
    file.rename(away)
    file.mkdir()  # as good as a disk that is not mounted, for root too
    recording = house.record(1.0)
    async with working(house) as worker:
        await asyncio.sleep(1.5)
        assert worker.said == [] and worker.process.returncode is None
        file.rmdir()
        away.rename(file)
        await worker.state(recording)
        await house.over(recording)
    house.check_finished_once(recording, 1.0)


async def test_without_the_jobs_database_of_before_the_spool_is_enough(house: House) -> None:
    recording = house.record(1.0)
    async with working(house, "kill:available") as worker:
        await worker.ends()
    for file in house.root.glob("dbos.sqlite*"):
        file.unlink()
    async with working(house) as worker:
        await worker.state(recording)
        await house.over(recording)
    house.check_finished_once(recording, 1.0)


async def test_while_the_object_store_is_away_recordings_stay_in_the_spool_across_restarts(house: House) -> None:
    async with working(house) as worker:
        await worker.state(house.record(0.5))
    away = house.root / "away"
    house.objects.rename(away)
    house.objects.write_bytes(b"not a folder")
    recording = house.record(1.0)
    async with working(house) as worker:
        await worker.hears(lambda line: "problem" in line, count=2)
        worker.process.kill()
    assert house.spool.path(recording).exists()
    house.objects.unlink()
    away.rename(house.objects)
    async with working(house) as worker:
        await worker.state(recording)
        await house.over(recording)
    house.check_finished_once(recording, 1.0)
    tries = house.attempts(recording)
    assert len(tries) >= 2 and all((target, outcome, fault) == ("store", "failed", "us") for target, outcome, _, fault in tries)
    steps = house.query(house.jobs, "SELECT function_name FROM operation_outputs WHERE workflow_uuid = ?", recording)
    assert [name for (name,) in steps].count("render") == 1  # what was done before the failures was not done again


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
async def test_a_full_object_store_loses_nothing(house: House) -> None:
    house.objects.mkdir(parents=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", house.objects], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"cannot mount a tmpfs here: {mounted.stderr.decode().strip()}")
    try:
        recording = house.record(10.0)  # 160 kB
        async with working(house) as worker:
            (line, *_) = await worker.hears(lambda line: "problem" in line)
            assert "space" in line["problem"]
            assert house.stored() == [] and house.spool.path(recording).exists()
            subprocess.run(["mount", "-o", "remount,size=4m", house.objects], check=True)
            await worker.state(recording)
            await house.over(recording)
        house.check_finished_once(recording, 10.0)
    finally:
        subprocess.run(["umount", "-l", house.objects], check=True)


async def test_one_that_cannot_be_finished_does_not_hold_up_the_others(house: House) -> None:
    broken = [house.record(0.5) for _ in range(6)]  # more than can be worked on at once
    for recording in broken:
        (house.spool.path(recording) / "audio.wav").rename(house.root / recording)
    good = house.record(0.5)
    async with working(house) as worker:
        worker.poke(good)
        await worker.state(good)
        for recording in broken:
            await worker.hears(lambda line, recording=recording: line.get("recording") == recording and "problem" in line)
            (house.root / recording).rename(house.spool.path(recording) / "audio.wav")
        for recording in broken:
            await worker.state(recording)


async def test_a_recording_deleted_while_it_was_finished_leaves_no_object(house: House) -> None:
    recording = house.record(0.5)
    async with working(house, "kill:available.done") as worker:
        await worker.ends()
    connection = sqlite3.connect(house.rows)
    connection.execute("UPDATE recordings SET deleted = 1.0")
    connection.commit()
    connection.close()
    async with working(house):
        await house.over(recording)
    assert house.stored() == []
    assert house.row(recording)["deleted"] == 1.0


@pytest.mark.parametrize("how", ["sigterm", "end of stdin"])
async def test_it_ends_cleanly_when_told_to_or_when_its_parent_is_gone(house: House, how: str) -> None:
    async with working(house) as worker:
        await worker.hears(lambda line: bool(line.get("ready")))
        recordings = [house.record(20.0, spec={"format": "mp3"}) for _ in range(4)]
        for recording in recordings:
            worker.poke(recording)
        if how == "sigterm":
            worker.process.terminate()
        else:
            assert worker.process.stdin is not None
            worker.process.stdin.close()
        assert await worker.ends() == 0
    async with working(house) as worker:
        await house.over(*recordings)
    for recording in recordings:
        house.check_finished_once(recording, 20.0)


async def test_two_hundred_short_recordings_at_once(house: House) -> None:
    async with working(house) as worker:
        await worker.hears(lambda line: bool(line.get("ready")))
        recordings = [house.record(1.0) for _ in range(200)]
        started = time.monotonic()
        for recording in recordings:
            worker.poke(recording)
        await worker.hears(lambda line: line.get("state") == "available", count=200)
        took = time.monotonic() - started
        await house.over(*recordings)
    print(f"200 recordings available after {took:.1f} s")
    assert len(house.stored()) == 200
    for recording in recordings:
        house.check_finished_once(recording, 1.0)


async def test_the_parents_end_starts_it_again_when_it_is_killed(house: House) -> None:
    said: list[Mapping[str, Any]] = []
    process = WorkerProcess(house.config, said.append)
    process.start()
    try:
        await asyncio.wait_for(process.ready.wait(), WAIT_S)
        assert process.pid is not None and process.healthy
        os.kill(process.pid, signal.SIGKILL)
        await until(lambda: process.restarts == 1)
        recording = house.record(0.5)
        await asyncio.wait_for(process.ready.wait(), WAIT_S)
        process.finish(recording)
        await until(lambda: any(line.get("recording") == recording and line["state"] == "available" for line in said))
    finally:
        assert await process.stop() == 0
    assert not process.healthy
    process.finish(recording)  # telling one that is not there is no error
    shutil.rmtree(house.root)
