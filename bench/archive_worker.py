"""The worker's process, watched: how much memory it took beyond what it had when it began, and how long its event loop stood still.

Run as a program it is that process: the worker as the service starts it, and beside it a task that tells how late it was woken.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tapeline.delivery.config import VARIABLE, WorkerConfig
from tapeline.delivery.worker import NICE, Worker

STEP_S = 0.01


class Watched:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.growth = 0  # bytes
        self.late = 0  # of them, those that came in the second half of the time
        self.stall = 0.0  # seconds; known when it has ended
        self.removed = 0  # recordings, so far
        self.ready = asyncio.Event()

    async def listen(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            said = json.loads(line)
            if "ready" in said:
                self.ready.set()
            self.removed += said.get("removed", 0)
            self.stall = said.get("stall", self.stall)

    async def weigh(self) -> None:
        """From when it is ready on: what it needs to be there at all does not count."""
        await self.ready.wait()
        first = _resident(self._process.pid)
        most = [first]
        while self._process.returncode is None:
            most.append(max(most[-1], _resident(self._process.pid)))
            await asyncio.sleep(0.1)
        self.growth, self.late = most[-1] - first, most[-1] - most[len(most) // 2]


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


@asynccontextmanager
async def watched(config: WorkerConfig) -> AsyncIterator[Watched]:
    """A worker until the block ends; then `stall` is known."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, __file__, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        env={**os.environ, VARIABLE: config.to_json()},
    )  # fmt: skip
    found = Watched(process)
    tasks = [asyncio.create_task(found.listen()), asyncio.create_task(found.weigh())]
    try:
        yield found
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
        await asyncio.gather(*tasks)


class _Telling(Worker):
    """Whose `ready` is known here, too."""

    def __init__(self, config: WorkerConfig) -> None:
        super().__init__(config)
        self.at_work = asyncio.Event()

    def _say(self, what: Mapping[str, Any]) -> None:
        super()._say(what)
        if "ready" in what:
            self.at_work.set()


async def main() -> None:
    worker = _Telling(WorkerConfig.from_environment())
    working = asyncio.create_task(worker.run())
    await worker.at_work.wait()
    longest = 0.0
    while not working.done():
        began = time.monotonic()
        await asyncio.sleep(STEP_S)
        longest = max(longest, time.monotonic() - began - STEP_S)
    working.result()
    os.write(1, json.dumps({"stall": longest}).encode() + b"\n")


if __name__ == "__main__":
    os.nice(NICE)
    asyncio.run(main())
    os._exit(0)  # as the worker does
