# ruff: noqa: ASYNC221, ASYNC240 - a test may block its own event loop, and looks from outside
"""The worker as a real process: killed at each step, cut off from its databases and its store, flooded. Each recording is finished
exactly once, and no audio is lost."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from worker_house import RATE, WAIT_S, House, locked, until, working

from tapeline.audio import wav
from tapeline.core.ids import new_id
from tapeline.delivery.process import WorkerProcess


@pytest.fixture
def house(nursery: None, tmp_path: Path) -> House:
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


async def test_while_a_database_is_locked_it_waits_and_then_completes(nursery: None, tmp_path: Path) -> None:
    async def locked_out(which: str) -> None:
        house = House(tmp_path / which)
        async with working(house) as worker:
            await worker.hears(lambda line: bool(line.get("ready")))
            with locked(getattr(house, which)):
                recording = house.record(1.0)
                worker.poke(recording)
                if which == "rows":  # all but the row is done soon
                    async with asyncio.timeout(60):
                        while not [path for path in house.objects.rglob("*") if path.is_file()]:
                            await asyncio.sleep(0.05)
                await asyncio.sleep(8.0)  # longer than a connection waits for a lock
                assert house.spool.path(recording).exists()
                assert not any(line.get("state") == "available" for line in worker.said)
            await worker.state(recording)
            await house.over(recording)
        house.check_finished_once(recording, 1.0)
        if which == "rows":
            assert [(target, fault) for target, _, _, fault in house.attempts(recording)] == [("publish", "us")]

    await asyncio.gather(locked_out("rows"), locked_out("jobs"))


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
