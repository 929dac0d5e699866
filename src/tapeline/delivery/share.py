"""Workers that share a database send for each other: what waits at a node without a worker is taken over by whoever is there.

    "I am here", every few seconds -> what nodes without a worker have left -> ours, where we can send it -> the dispatcher and the jobs

A message can be sent from anywhere. A file can where its object can be read: from a bucket always, from a folder where it lies in ours.
Each delivery belongs to one node, and changes hands in one statement, so two workers never send the same one; but a worker that the
database did not hear from for a minute has lost its deliveries, and must not send what it had in hand (`ours`). Where the database was
away for all of them, each gets some time to say that it is there, before another takes it for dead.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress

from tapeline.core.errors import TapelineError
from tapeline.store import Database, ObjectMissing, ObjectStore
from tapeline.store.workers import LOST_S

__all__ = ["Share"]

log = logging.getLogger(__name__)

LOOK_S = 1.0  # how often it looks for messages that nobody sends
BEAT_S = 10.0  # how often it says that it is there, and looks for files
SETTLE_S = 20.0  # how long the database must have heard from us before we take another for dead: it may have been away for both
PAGE = 100  # taken over at once: others may be there who want some


class Share:
    """Of one node's worker. `on_adopted` is called when there is something to send that came from elsewhere, or may be sent again."""

    def __init__(
        self,
        database: Database,
        node: str,
        objects: ObjectStore,
        on_adopted: Callable[[], None],
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._workers = database.workers
        self._node = node
        self._objects = objects
        self._on_adopted = on_adopted
        self._now = now
        self._beaten = float("-inf")
        self._since = float("-inf")  # from when on it has been heard from without a break

    def ours(self) -> bool:
        """Whether what is ours in the table is sent by nobody else, for sure."""
        return self._now() - self._beaten < LOST_S / 2

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                await self.look()
            except Exception as error:  # noqa: BLE001 - whatever the database did, the next look tries again
                log.warning("cannot look for what others left: %s", error)
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await stop.wait()

    async def leave(self) -> None:
        """At the end: others need not wait until we are missed."""
        with suppress(TapelineError):
            await self._workers.leave(self._node)

    async def look(self) -> int:
        """Say that we are here, where it is time for that, and take over what nobody sends. How many."""
        beats, lost = self._now() - self._beaten >= BEAT_S, not self.ours()
        if beats:
            began = self._now()
            await self._workers.beat(self._node)
            self._beaten = began
            if lost:
                self._since = began
        count = 0
        for node in await self._workers.deserted(self._node, missed=self._now() - self._since >= SETTLE_S):
            found = await self._messages(node)
            if beats:
                found += await self._files(node)
            if found:
                log.info("deliveries of a node without a worker are sent from here", extra={"node": node, "count": found})
            count += found
        if count or lost:
            self._on_adopted()
        return count

    async def _messages(self, node: str) -> int:
        page = await self._workers.left_behind(node, files=False, limit=PAGE)
        return len(await self._workers.adopt([place[1] for place, _ in page], node, self._node)) if page else 0

    async def _files(self, node: str) -> int:
        count, after = 0, None
        while page := await self._workers.left_behind(node, files=True, after=after, limit=PAGE):
            after = page[-1][0]
            here = [place[1] for place, key in page if await self._readable(key)]
            count += len(await self._workers.adopt(here, node, self._node)) if here else 0
        return count

    async def _readable(self, key: str) -> bool:
        """Raises ObjectsUnavailable. Of a bucket it is taken for granted, since all share it: a missing object is told of by the try."""
        if not self._objects.local:
            return True
        try:
            await self._objects.stat(key)
        except ObjectMissing:
            return False
        return True
