"""The worker: a process of its own that finishes recordings, so that encoding and uploading never share a thread with a live call.

    python -m tapeline.delivery.worker

It is told of work by lines on stdin (`finish <recording id>`, `deliver`), and finds what it was not told of by looking into the spool
and into the table of deliveries. What it did it says in lines of JSON on stdout: `{"recording": id, "state": "available", ...}`,
`{"delivery": id, ...}`, `{"removed": count}`, `{"export": id}`, `{"ready": true}`.
Its parent's death closes stdin; then, or on SIGTERM, it ends after the step it is in. It may be killed at any time: what it was doing
goes on when it is started again.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from tapeline.core.errors import TapelineError
from tapeline.core.ids import is_id
from tapeline.core.loglines import log_to_stderr
from tapeline.delivery.carry import Carrier
from tapeline.delivery.config import WorkerConfig
from tapeline.delivery.dispatch import Dispatcher
from tapeline.delivery.durable import Jobs
from tapeline.delivery.export import Exporter
from tapeline.delivery.finish import Finisher
from tapeline.delivery.http import GuardedClient
from tapeline.delivery.jobs import Exporting, Finishing, Sending, sending_key
from tapeline.delivery.retain import Sweeper
from tapeline.delivery.send import Sender
from tapeline.delivery.share import Share
from tapeline.delivery.signing import SCHEMES, Signer, vonage
from tapeline.delivery.uploads import storage_of
from tapeline.recording.spool import Spool
from tapeline.store import Database, DatabaseUnavailable, DeliveryRow, ObjectStore

__all__ = ["Worker", "main"]

log = logging.getLogger(__name__)

LOOK_S = 5.0  # how often the spool is searched for what nobody told us of
EXPORT_S = 2.0  # how often exports are looked for
FORGET_S = 3600.0
KEEP_MESSAGES_S = 30 * 86400.0  # that were sent or given up
ENDING_S = 3.0  # what the loops may take to end
NICE = 5  # where the cores are short, live calls go first
SENDING = 400  # files sent at once; far more than that may wait for their receivers
MESSAGES, MESSAGES_FOR_EACH = 100, 4  # sent at once, and to one receiver
PAGE = 500  # deliveries read at once
THREADS = 64  # for what blocks: disks, names that are looked up, the steps of the jobs
AHEAD = 2  # workflows begun beyond what can be worked on, so that no slot waits for DBOS


class Worker:
    """The loop around `Jobs`: what to start when. Run it once."""

    def __init__(self, config: WorkerConfig) -> None:
        self._config = config
        slots = config.slots or os.cpu_count() or 1
        self._spool = Spool(config.spool)
        self._database = Database(config.database)
        self._jobs = Jobs(config.jobs, config.node)
        self._finishing = self._jobs.kind("finish", slots)
        self._sending = self._jobs.kind("deliver", SENDING)
        self._objects = objects = ObjectStore(config.objects)
        self._finisher = Finisher(self._spool, self._database, objects, self._say, manner=config.manner)
        self._finishing.does(Finishing(self._finisher))
        self._client = GuardedClient(allow_private_addresses=config.private, connections=SENDING)
        self._trusted = GuardedClient(allow_private_addresses=True)  # for what the settings name, and nobody else
        carrier = Carrier(objects, self._client, config.couch, self._trusted, partial(storage_of, self._database))
        signer = Signer(self._database, {**SCHEMES, "vonage": vonage(self._config.signers)})
        sender = Sender(self._database, carrier, self._say, signer=signer, node=config.node)
        self._share = Share(self._database, config.node, objects, self._hurry)
        self._sending.does(Sending(sender))
        self._messages = Dispatcher(
            self._database, config.node, sender.send, most=MESSAGES, for_each=MESSAGES_FOR_EACH, ours=self._share.ours
        )
        self._sweeper = Sweeper(
            self._database,
            objects,
            default_days=config.retention_days,
            share=config.sweep_share,
            node=config.node,
            stopping=self._stopping,
            on_removed=lambda count: self._say({"removed": count}),
        )
        self._exporting = self._jobs.kind("export", 1)
        exporter = Exporter(
            self._database,
            objects,
            folder=Path(config.data),
            node=config.node,
            hours=config.export_hours,
            base_url=config.public_url,
            closing=self._stopping,
            on_ended=lambda export_id: self._say({"export": export_id}),
        )
        self._exporting.does(Exporting(exporter))
        self._waiting: dict[str, None] = {}  # complete recordings not begun yet, in order of arrival
        self._begun: set[str] = set()
        self._room = asyncio.Semaphore(slots + AHEAD)
        self._wake = asyncio.Event()
        self._to_send = asyncio.Event()
        self._stop = asyncio.Event()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(THREADS, "worker"))
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        listening = asyncio.create_task(self._listen())
        working = asyncio.create_task(self._work())
        trying = asyncio.create_task(self._try_store())
        stopping = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
            # The loops see `stop` and end by themselves: a query to SQLite that is cut short leaves a connection that never closes.
            await asyncio.wait({working}, timeout=ENDING_S)
            if working.done():
                working.result()
        finally:
            for task in (listening, working, stopping, trying):
                task.cancel()
            await self._jobs.close(10.0)
            await self._share.leave()
            await self._client.close()
            await self._trusted.close()
            await self._database.close()

    async def _work(self) -> None:
        await self._open_database()
        if self._stop.is_set():
            return
        await self._jobs.open()
        with suppress(TapelineError):
            await self._share.look()  # others see that we are here before we say that we are ready
        self._say({"ready": True})
        messages = self._messages.run(self._stop)
        share = self._share.run(self._stop)
        await asyncio.gather(self._look(), self._start(), self._deliver(), messages, share, self._tidy(), self._retain(), self._export())

    async def _try_store(self) -> None:
        """Whoever starts the server is told that nothing can be stored now, not with the first recording."""
        try:
            await self._objects.check()
        except TapelineError as error:
            log.warning("recordings stay in the spool for now: %s", error)
            self._say({"store": str(error)})

    async def _open_database(self) -> None:
        pause = 0.5
        while not self._stop.is_set():
            try:
                await self._database.open()
                return
            except DatabaseUnavailable as error:
                log.warning("%s", error)
                await self._rest(pause)
                pause = min(pause * 2, 10.0)

    async def _rest(self, seconds: float) -> None:
        """Let time pass, or until the end."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stop.wait()

    async def _listen(self) -> None:
        reader = asyncio.StreamReader(limit=65536)
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            word, _, recording_id = line.decode("ascii", "replace").strip().partition(" ")
            if word == "finish" and is_id(recording_id):
                self._add(recording_id)
            elif word == "deliver":
                self._hurry()
        self._stop.set()  # nobody is left who could tell us anything: the parent is gone

    def _hurry(self) -> None:
        """There may be something to send."""
        self._to_send.set()
        self._messages.wake()

    def _add(self, recording_id: str) -> None:
        if recording_id not in self._begun and recording_id not in self._waiting and recording_id not in self._finishing.working:
            self._waiting[recording_id] = None
            self._wake.set()

    async def _look(self) -> None:
        while not self._stop.is_set():
            try:
                for recording_id in await asyncio.to_thread(self._spool.complete):
                    self._add(recording_id)
                await self._finisher.write_attempts()
            except (OSError, TapelineError) as error:
                log.warning("cannot look into the spool: %s", error)
            await self._rest(LOOK_S)

    async def _start(self) -> None:
        """Begin workflows, oldest first, while there is room."""
        starting: set[asyncio.Task[None]] = set()
        while await self._woken(self._wake):
            self._wake.clear()
            while self._waiting:
                await self._room.acquire()
                recording_id = next(iter(self._waiting))
                del self._waiting[recording_id]
                self._begun.add(recording_id)
                task = asyncio.create_task(self._begin(recording_id))
                starting.add(task)
                task.add_done_callback(starting.discard)

    async def _begin(self, recording_id: str) -> None:
        def rest() -> None:
            if recording_id in self._begun:
                self._begun.discard(recording_id)
                self._room.release()

        try:
            await self._finishing.offer(recording_id, rest)
        except Exception as error:  # noqa: BLE001 - whatever DBOS's database did, the next look into the spool tries again
            log.warning("cannot begin to finish: %s", error, extra={"recording": recording_id})
            rest()

    async def _deliver(self) -> None:
        """Begin the workflow of each file that is due and is not under way: as soon as one is known of, and every few seconds."""
        while not self._stop.is_set():
            self._to_send.clear()
            try:
                last: DeliveryRow | None = None
                while page := await self._database.deliveries.due(self._config.node, time.time(), files=True, limit=PAGE, after=last):
                    for due in page:
                        await self._sending.offer(sending_key(due.id, due.round), lambda: None)
                    last = page[-1]
            except Exception as error:  # noqa: BLE001 - whatever either database did, the next look tries again
                log.warning("cannot begin to deliver: %s", error)
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._woken(self._to_send)

    async def _woken(self, event: asyncio.Event) -> bool:
        """Wait for `event`; False at the end."""
        waiting = {asyncio.ensure_future(event.wait()), asyncio.ensure_future(self._stop.wait())}
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
        return not self._stop.is_set()

    def _stopping(self) -> bool:
        return self._stop.is_set()

    async def _export(self) -> None:
        """Begin the workflow of each export whose file is to be written here."""
        while not self._stop.is_set():
            try:
                for export_id in await self._database.exports.open(self._config.node, time.time()):
                    await self._exporting.offer(export_id, lambda: None)
            except Exception as error:  # noqa: BLE001 - whatever either database did, the next look tries again
                log.warning("cannot begin to export: %s", error)
            await self._rest(EXPORT_S)

    async def _retain(self) -> None:
        """Remove what is over, and what a crash left behind of it."""
        while not self._stop.is_set():
            try:
                await self._database.exports.expire(time.time())
                await self._sweeper.left_behind()
                await self._sweeper.sweep()
            except TapelineError as error:
                log.warning("the sweep goes on later: %s", error)
            await self._rest(self._config.sweep_s)

    async def _tidy(self) -> None:
        while not self._stop.is_set():
            try:
                await self._jobs.forget_old()
                while not self._stop.is_set() and await self._database.deliveries.forget(time.time() - KEEP_MESSAGES_S, PAGE) == PAGE:
                    pass
            except Exception as error:  # noqa: BLE001 - housekeeping; it is tried again in an hour
                log.warning("cannot tidy: %s", error)
            await self._rest(FORGET_S)

    def _say(self, what: Mapping[str, Any]) -> None:
        """One line for the parent, in a single write."""
        if what.get("state") == "available":
            self._to_send.set()  # its row came with what is to be sent of it
        with suppress(OSError):  # the parent is gone; the end of stdin will tell
            os.write(1, json.dumps(what).encode() + b"\n")


def main() -> None:
    os.nice(NICE)
    log_to_stderr(logging.INFO, "worker")
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # it would log each address, which may hold a password
    asyncio.run(Worker(WorkerConfig.from_environment()).run())
    logging.shutdown()
    # Threads that encode cannot be interrupted and would be waited for here. What they were doing is done again.
    os._exit(0)


if __name__ == "__main__":
    main()
