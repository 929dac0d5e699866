"""Which messages are tried now: those that are due, in pages, oldest first, of each lane one, and no more than a few to one receiver.

    table of deliveries -> `due`, a page of rows -> one task each, where there is room -> the row says what came of it

The table is the queue. What is being tried is known here and nowhere else: after a crash, all that still waits is due again. One that
pauses is no task, only a row whose time has not come.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping

from tapeline.store import Database, DeliveryRow

__all__ = ["Dispatcher"]

log = logging.getLogger(__name__)

LOOK_S = 5.0  # how often the table is searched for what nobody told us of
PAGE = 100  # rows read at once
AT_HAND = 25  # of them, for one receiver, kept until it has room
ENDING_S = 2.0  # what tries that are under way may take when the worker ends


class Dispatcher:
    """`send` tries one, and says in how many seconds it is due again; None: it is over, or nobody knows. Nothing is begun while it is not
    certain that what is this node's is sent by nobody else (`ours`)."""

    def __init__(
        self,
        database: Database,
        node: str,
        send: Callable[[DeliveryRow], Awaitable[float | None]],
        *,
        most: int,
        for_each: int,
        ours: Callable[[], bool] = lambda: True,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._node = node
        self._send = send
        self._most = most
        self._for_each = for_each
        self._ours = ours
        self._wall = wall
        self._wake = asyncio.Event()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._receivers: Counter[str] = Counter()
        self._lanes: set[str] = set()
        self._at_hand: list[DeliveryRow] = []  # read, and not begun for want of room
        self._look_again = True  # there may be some that were not read

    @property
    def under_way(self) -> Mapping[str, asyncio.Task[None]]:
        """What is being tried now, by the delivery's id."""
        return dict(self._tasks)

    def wake(self) -> None:
        """There may be something to send."""
        self._look_again = True
        self._wake.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Send what is due, until `stop`."""
        stopping = asyncio.create_task(stop.wait())
        stopping.add_done_callback(lambda _: self._wake.set())
        try:
            while not stop.is_set():
                self._wake.clear()
                try:
                    await self.look()
                except Exception as error:  # noqa: BLE001 - whatever the database did, the next look tries again
                    log.warning("cannot look for what is to be sent: %s", error)
                try:
                    async with asyncio.timeout(LOOK_S):
                        await self._wake.wait()
                except TimeoutError:
                    self._look_again = True
            if self._tasks:
                await asyncio.wait(set(self._tasks.values()), timeout=ENDING_S)
        finally:
            stopping.cancel()

    async def look(self) -> None:
        """Begin what may begin now. The table is asked where nothing is at hand, or something may have come."""
        if not self._ours():
            self._at_hand.clear()
            self._look_again = True
            return
        while len(self._tasks) < self._most:
            if self._begin_at_hand() and not self._look_again:
                break
            self._look_again = False
            busy = [receiver for receiver, count in self._receivers.items() if count >= self._for_each]
            known = [*self._tasks, *(due.id for due in self._at_hand)]
            page = await self._database.deliveries.due(self._node, self._wall(), files=False, limit=PAGE, without=known, busy=busy)
            self._at_hand += page
            begun = self._begin_at_hand()
            if not begun or len(page) < PAGE:
                break
            self._look_again = True

    def _begin_at_hand(self) -> int:
        """Begin those at hand for which there is room; of the others only the first few for each receiver stay. How many were begun."""
        waiting, left = Counter[str](), []
        before = len(self._tasks)
        for due in self._at_hand:
            if len(self._tasks) >= self._most or not self._begin(due):
                waiting[due.receiver] += 1
                if waiting[due.receiver] <= AT_HAND:
                    left.append(due)
        self._at_hand = left
        return len(self._tasks) - before

    def _begin(self, due: DeliveryRow) -> bool:
        if self._receivers[due.receiver] >= self._for_each or due.lane in self._lanes:
            return False
        self._receivers[due.receiver] += 1
        if due.lane:
            self._lanes.add(due.lane)
        self._tasks[due.id] = asyncio.create_task(self._one(due))
        return True

    async def _one(self, due: DeliveryRow) -> None:
        pause: float | None = None
        try:
            pause = await self._send(due)
        except Exception as error:  # a defect in one delivery must not stop the others
            log.exception("a delivery broke: %s", error, extra={"delivery": due.id})
            pause = LOOK_S
        finally:
            self._tasks.pop(due.id, None)
            self._receivers[due.receiver] -= 1
            if not self._receivers[due.receiver]:
                del self._receivers[due.receiver]
            self._lanes.discard(due.lane)
        if pause is None:
            self._wake.set()
        elif pause < LOOK_S:
            asyncio.get_running_loop().call_later(pause + 0.01, self.wake)
