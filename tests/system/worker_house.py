
"""A data folder and the worker as a real process over it, as the tests of delivery need them."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tapeline.core.ids import new_id
from tapeline.core.recordspec import Delivery, RecordSpec
from tapeline.delivery.config import VARIABLE, WorkerConfig
from tapeline.recording.manifest import Manifest, spec_as_dict
from tapeline.recording.spool import Spool
from tapeline.store import Database, RecordingRow

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
        self.environment: dict[str, str] = {}  # of its worker, over ours
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

    async def shelved(self, database: Database, count: int, **fields: Any) -> dict[str, str]:
        """Rows and files, as if so many had been recorded and finished long ago: id -> sha256."""
        folder = self.objects / ACCOUNT
        folder.mkdir(parents=True, exist_ok=True)
        rows = []
        for n in range(count):
            audio = b"RIFF" + n.to_bytes(4, "big") * 250
            row_id = new_id()
            (folder / f"{row_id}.wav").write_bytes(audio)
            facts: dict[str, Any] = {"size": len(audio), "sha256": hashlib.sha256(audio).hexdigest(), "updated": 1.0}
            facts |= {"object_key": f"{ACCOUNT}/{row_id}.wav"} | fields
            rows.append(RecordingRow(row_id, ACCOUNT, "available", 1000.0 + n, **facts))
        for start in range(0, count, 1000):
            await database.recordings.upsert(*rows[start : start + 1000])
        return {row.id: row.sha256 for row in rows}

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


class Sent(House):
    """A house whose recordings are sent to receivers."""

    SECONDS = 1.0

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.config = replace(self.config, private=True)

    def send(self, *urls: str) -> str:
        """A recording that is to be sent to each of `urls`."""
        return self.record(self.SECONDS, spec=self.to(*urls))

    def to(self, *urls: str) -> dict[str, Any]:
        """What a recording's specification says of that."""
        return {"deliver": tuple(Delivery(url, naming="kazoo") for url in urls)}

    def deliveries(self, recording_id: str) -> list[tuple[Any, ...]]:
        query = "SELECT state, tries, status, reason FROM deliveries WHERE ref = ? ORDER BY url"
        return self.query(self.rows, query, recording_id) if self.rows.exists() else []

    def tries(self, recording_id: str) -> list[tuple[Any, ...]]:
        query = "SELECT a.outcome, a.status FROM attempts a JOIN deliveries d ON a.ref = d.id WHERE d.ref = ? ORDER BY a.time"
        return self.query(self.rows, query, recording_id)

    async def delivered(self, *recordings: str) -> None:
        """Until each of the recordings has been sent to all that it is to be sent to."""

        def all_delivered() -> bool:
            try:
                found = [self.deliveries(recording) for recording in recordings]
            except sqlite3.OperationalError:
                return False  # the tables are being made
            return all(rows and all(state == "delivered" for state, *_ in rows) for rows in found)

        await until(all_delivered)


def make_manifest(spec: RecordSpec, **fields: Any) -> Manifest:
    given = {"reason": "stopped", "state": "stopped"} | fields
    return Manifest(id=new_id(), account=ACCOUNT, spec=spec_as_dict(spec), rate=RATE, **given)


class Nursery:
    """Where workers come from; see `worker_nursery`. Started once for a run of tests."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None

    def start(self) -> None:
        if self._process is not None:
            return
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, str(Path(__file__).with_name("worker_nursery.py")), str(theirs.fileno())]
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        self._socket.settimeout(WAIT_S)
        assert self._socket.recv(100) == b"ready"

    def stop(self) -> None:
        if self._process is not None and self._socket is not None:
            self._socket.close()
            self._process.wait(WAIT_S)
            self._process = None

    def bear(self, environment: Mapping[str, str]) -> tuple[int, int, int, int]:
        """A worker: its id, and our ends of its stdin, its stdout and of the pipe that tells how it ended."""
        assert self._socket is not None, "ask for the fixture `nursery`"
        (read_in, write_in), (read_out, write_out), (read_end, write_end) = os.pipe(), os.pipe(), os.pipe()
        socket.send_fds(self._socket, [json.dumps(dict(environment)).encode()], [read_in, write_out, write_end])
        pid = int(self._socket.recv(100))
        for theirs in (read_in, write_out, write_end):
            os.close(theirs)
        return pid, write_in, read_out, read_end


NURSERY = Nursery()


class WorkerChild:
    """A worker, with as much of asyncio's `Process` as the tests use."""

    def __init__(self, pid: int, stdin: asyncio.WriteTransport, stdout: asyncio.StreamReader, end: asyncio.StreamReader) -> None:
        self.pid = pid
        self.stdin = stdin
        self.stdout = stdout
        self.returncode: int | None = None
        self._ended = asyncio.create_task(self._wait(end))

    @classmethod
    async def born(cls, environment: Mapping[str, str]) -> WorkerChild:
        pid, stdin, stdout, end = NURSERY.bear(environment)
        loop = asyncio.get_running_loop()
        writer, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, os.fdopen(stdin, "wb"))
        return cls(pid, writer, await cls._reader(stdout), await cls._reader(end))

    @staticmethod
    async def _reader(descriptor: int) -> asyncio.StreamReader:
        reader = asyncio.StreamReader()
        file = os.fdopen(descriptor, "rb")
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), file)
        return reader

    async def _wait(self, end: asyncio.StreamReader) -> int:
        self.returncode = int(await end.read())
        return self.returncode

    async def wait(self) -> int:
        return await asyncio.shield(self._ended)

    def terminate(self) -> None:
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)


class Running:
    """A worker process and what it has said."""

    def __init__(self, process: WorkerChild) -> None:
        self.process = process
        self.said: list[Mapping[str, Any]] = []
        self._more = asyncio.Event()
        self._task = asyncio.create_task(self._hear())

    async def _hear(self) -> None:
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
        self.process.stdin.write(f"finish {recording_id}\n".encode())

    async def ends(self) -> int:
        status = await asyncio.wait_for(self.process.wait(), WAIT_S)
        await self._task
        return status


@asynccontextmanager
async def working(house: House, fault: str = "") -> AsyncIterator[Running]:
    """A worker over the house, made to fail at `fault`. Its process is its own; only its code was read before."""
    running = Running(await WorkerChild.born({**house.environment, VARIABLE: house.config.to_json(), "TAPELINE_FAULT": fault}))
    try:
        yield running
    finally:
        running.process.terminate()
        await running.ends()
        running.process.stdin.close()


async def killed(house: House, fault: str) -> None:
    """Run a worker until it is killed at `fault`."""
    async with working(house, fault) as worker:
        async with asyncio.timeout(WAIT_S):
            assert await worker.process.wait() == -signal.SIGKILL


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
