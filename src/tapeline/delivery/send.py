"""One try at sending something to somebody, and what it means for the next. What is done, not how it survives; see `jobs`.

    row of `deliveries` -> guarded request -> row of `attempts` and the row's new state, in one transaction

How it is carried is the affair of `carry`. A success is noted before anything else is done, for as long as the database is away: what
the receiver has taken is not sent to it again, unless we are killed in between. One receiver has at most `PER_HOST` files under way,
and one only after it did not answer; what waits for its turn there holds no place that others could use. So who is dead or slow delays
nobody else.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from tapeline.core.errors import TapelineError
from tapeline.delivery.carry import Carrier
from tapeline.delivery.errors import DeliveryFailed, Fault, Refused
from tapeline.delivery.policies import policy_of
from tapeline.delivery.seam import fault
from tapeline.delivery.signing import Signer
from tapeline.store import Database, DatabaseUnavailable, DeliveryRow, ObjectMissing

__all__ = ["Sender"]

log = logging.getLogger(__name__)

PER_HOST = 4


@dataclass(frozen=True, slots=True)
class _Result:
    status: int = 0
    reason: str = ""
    fault: Fault | str = ""
    final: bool = False  # trying again would change nothing


class _Receiver:
    """One whom we send to. `known`: how many deliveries are under way to it, or wait for that. `silent`: it did not answer the last one."""

    def __init__(self) -> None:
        self.known = 0
        self.silent = False
        self._room = asyncio.Semaphore(PER_HOST)
        self._alone = asyncio.Lock()

    def _answers(self) -> bool:
        return not self.silent

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        async with self._room, AsyncExitStack() as held:
            if self.silent:
                await held.enter_async_context(self._alone)
                if self._answers():
                    await held.aclose()  # meanwhile it has: side by side again
            yield


class Sender:
    """Over one database. Coroutines of one event loop. `announce` tells the parent process. What belongs to another node than `node` is
    not sent by `attempt`; None: whosever it is."""

    def __init__(
        self,
        database: Database,
        carrier: Carrier,
        announce: Callable[[Mapping[str, Any]], None],
        *,
        signer: Signer | None = None,
        node: str | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._carrier = carrier
        self._signer = signer or Signer(database)
        self._announce = announce
        self._node = node
        self._wall = wall
        self._receivers: dict[str, _Receiver] = {}

    async def holds(self, delivery_id: str, round: int) -> bool:
        """Whether that round of the delivery is still to be sent."""
        row = await self._database.deliveries.get(delivery_id)
        return row is not None and self._due_here(row, round)

    def _due_here(self, row: DeliveryRow, round: int) -> bool:
        return (row.state, row.round) == ("waiting", round) and self._node in (None, row.node)

    @asynccontextmanager
    async def turn(self, delivery_id: str) -> AsyncIterator[None]:
        """Wait until its receiver has room for one more, and take it. What waits here does nothing else, and holds nothing."""
        try:
            row = await self._database.deliveries.get(delivery_id)
        except DatabaseUnavailable:
            row = None  # `attempt` will say so
        host = _host(row.url) if row is not None else ""
        receiver = self._receivers.setdefault(host, _Receiver())
        receiver.known += 1
        try:
            async with receiver.turn():
                yield
        finally:
            receiver.known -= 1
            if not receiver.known:
                self._receivers.pop(host, None)

    async def attempt(self, delivery_id: str, round: int) -> float | None:
        """Try once. Seconds until the next try; None when there is nothing more to do. Never raises."""
        try:
            row = await self._database.deliveries.get(delivery_id)
        except DatabaseUnavailable as error:
            log.warning("a delivery waits for the database: %s", error, extra={"delivery": delivery_id})
            return 5.0
        if row is None or not self._due_here(row, round):
            return None
        if row.due is not None and (early := row.due - self._wall()) > 1.0:
            return early  # begun anew from the row in the middle of a pause
        return await self.send(row)

    async def send(self, row: DeliveryRow) -> float | None:
        """`attempt` with a row that has just been read."""
        result = await self._try(row)
        if receiver := self._receivers.get(_host(row.url)):
            receiver.silent = bool(result.reason) and not result.status and not result.final
        return await self._conclude(row, result)

    async def _try(self, row: DeliveryRow) -> _Result:
        fault("send")
        try:
            status = await self._carrier.send(row, await self._signer.headers(row, row.body.encode()))
        except Refused as error:
            return _Result(reason=_plain(error), fault=error.fault, final=True)
        except DeliveryFailed as error:
            return _Result(error.status, _plain(error), error.fault)
        except ObjectMissing:
            return _Result(reason="the recording's audio has been deleted", fault="us", final=True)
        except TapelineError as error:
            return _Result(reason=_plain(error), fault="us")
        except Exception as error:  # a defect in one delivery must neither lose it nor stop the others
            log.exception("a delivery broke", extra={"delivery": row.id})
            return _Result(reason=f"{type(error).__name__}: {error}", fault="us")
        fault("send.done")
        meaning = policy_of(row.policy).meaning(status)
        if meaning == "taken":
            return _Result(status)
        return _Result(status, f"answered {status}", "destination", meaning == "refused")

    async def _conclude(self, row: DeliveryRow, result: _Result) -> float | None:
        """Note the try, and decide on the next."""
        now = self._wall()
        pause: float | None = None
        state = "delivered"
        if result.reason:
            policy, tries = policy_of(row.policy), row.tries + 1
            pause = policy.pause(tries)
            more = not result.final and now + pause < row.until and (not policy.most or tries < policy.most)
            state = "waiting" if more else "failed"
        due = now + pause if state == "waiting" and pause is not None else None
        while True:
            try:
                await self._database.deliveries.note(
                    row,
                    at=now,
                    state=state,
                    status=result.status,
                    reason=result.reason,
                    fault=result.fault,
                    due=due,
                    target=_without_secrets(row.url),
                )
                break
            except DatabaseUnavailable as error:
                log.warning("the end of a delivery waits for the database: %s", error, extra={"delivery": row.id})
                await asyncio.sleep(2.0)
        facts = {"delivery": row.id, "ref": row.ref, "state": state, "status": result.status, "reason": result.reason}
        if result.reason:
            event = "a delivery failed" if state == "failed" else "a delivery will be tried again"
            log.warning(event, extra=facts | {"to": _host(row.url)})
        self._announce(facts)
        return pause if state == "waiting" else None


def _host(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}:{parts.port}".lower()


def _without_secrets(url: str) -> str:
    """The address as it may stand in a row: a password in it is nobody's business."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    return urlunsplit(parts._replace(netloc=f"{parts.username}:***@{parts.netloc.rpartition('@')[2]}"))


def _plain(error: TapelineError) -> str:
    return f"{error.message} ({error.hint})" if error.hint else error.message
