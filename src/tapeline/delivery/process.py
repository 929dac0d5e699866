"""The parent's end of the worker: start it, tell it of finished recordings, hear what became of them, start it again if it dies.

Knows nothing of what the worker does; see `worker` for the lines that go back and forth.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from tapeline.delivery.config import VARIABLE, WorkerConfig

__all__ = ["WorkerProcess"]

log = logging.getLogger(__name__)

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 10.0


class WorkerProcess:
    """`on_line` gets each thing the worker says, on the event loop that `start` was called on."""

    def __init__(self, config: WorkerConfig, on_line: Callable[[Mapping[str, Any]], None]) -> None:
        self._config = config
        self._on_line = on_line
        self._process: Process | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self.ready = asyncio.Event()
        self.restarts = 0

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    @property
    def healthy(self) -> bool:
        return self.ready.is_set()

    def start(self) -> None:
        """Start it, and keep it running until `stop`."""
        self._stopping.clear()
        self._task = asyncio.create_task(self._keep(), name="delivery.process")

    def finish(self, recording_id: str) -> None:
        """Tell it that a recording is complete. Never waits; if it is not running it will find the recording by itself."""
        self._tell(f"finish {recording_id}\n")

    def deliver(self) -> None:
        """Tell it that there is something to send. Never waits, and what it is not told of it finds by itself."""
        self._tell("deliver\n")

    def _tell(self, line: str) -> None:
        process = self._process
        if process is not None and process.stdin is not None and not process.stdin.is_closing():
            process.stdin.write(line.encode())

    async def stop(self, timeout: float = 12.0) -> int | None:
        """Let it end the step it is in. Kills it after `timeout`. Its exit status."""
        self._stopping.set()
        process = self._process
        if process is not None and process.returncode is None:
            with suppress(ProcessLookupError):
                process.terminate()
            try:
                async with asyncio.timeout(timeout):
                    await process.wait()
            except TimeoutError:
                with suppress(ProcessLookupError):
                    process.kill()
        if self._task is not None:
            await self._task
            self._task = None
        return process.returncode if process is not None else None

    async def _keep(self) -> None:
        pause = FIRST_PAUSE_S
        while not self._stopping.is_set():
            await self._run_once()
            if self._stopping.is_set():
                break
            pause = FIRST_PAUSE_S if self.ready.is_set() else min(pause * 2, LONGEST_PAUSE_S)
            self.ready.clear()
            self.restarts += 1
            log.warning("the worker ended and is started again", extra={"status": self._process.returncode if self._process else None})
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
        self.ready.clear()

    async def _run_once(self) -> None:
        environment = os.environ | {VARIABLE: self._config.to_json()}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tapeline.delivery.worker",
            stdin=PIPE,
            stdout=PIPE,
            env=environment,
            start_new_session=True,  # a Ctrl-C at the terminal is for the server, which stops its worker last
        )
        self._process = process
        if self._stopping.is_set():
            process.terminate()
        assert process.stdout is not None
        while line := await process.stdout.readline():
            self._hear(line)
        await process.wait()

    def _hear(self, line: bytes) -> None:
        try:
            said = json.loads(line)
        except ValueError:
            log.warning("the worker said something that is not JSON")
            return
        if said.get("ready"):
            self.ready.set()
        self._on_line(said)
