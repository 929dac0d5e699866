"""One try at sending something to somebody, and what it means for the next. What is done, not how it survives; see `jobs`.

    row of `deliveries` -> guarded request -> row of `attempts` and the row's new state, in one transaction

An upload streams the object from the store, never holding it; a message is the row's own body. A success is noted before anything
else is done, for as long as the database is away: what the receiver has taken is not sent to it again, unless we are killed in
between. One receiver has at most `PER_HOST` requests under way, so one that is dead or slow delays no other.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from tapeline.core.errors import TapelineError
from tapeline.delivery.errors import DeliveryFailed, Fault, Refused
from tapeline.delivery.ftp import put_ftp
from tapeline.delivery.http import GuardedClient
from tapeline.delivery.pauses import pause_after
from tapeline.delivery.seam import fault
from tapeline.store import Database, DatabaseUnavailable, DeliveryRow, ObjectMissing, ObjectStore

__all__ = ["KEEP_TRYING_S", "LONGEST_PAUSE_S", "Sender"]

log = logging.getLogger(__name__)

KEEP_TRYING_S = 3 * 86400.0  # how long a delivery is tried
LONGEST_PAUSE_S = 3600.0
PER_HOST = 4
IDLE_S = 30.0  # a receiver that takes or says nothing for so long is given up, this time
LONGEST_S = 4 * 3600.0  # one try as a whole
MAX_REDIRECTS = 10
ANSWER_BYTES = 65536


@dataclass(frozen=True, slots=True)
class _Object:
    """An object of the store as the body of a request: read anew each time it is sent."""

    store: ObjectStore
    key: str
    size: int

    def pieces(self) -> AsyncIterator[bytes]:
        return self.store.read(self.key)


@dataclass(frozen=True, slots=True)
class _Result:
    status: int = 0
    reason: str = ""
    fault: Fault | str = ""
    final: bool = False  # trying again would change nothing


class Sender:
    """Over one database and one object store. Coroutines of one event loop. `announce` tells the parent process."""

    def __init__(
        self,
        database: Database,
        objects: ObjectStore,
        client: GuardedClient,
        announce: Callable[[Mapping[str, Any]], None],
        *,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._objects = objects
        self._client = client
        self._announce = announce
        self._wall = wall
        self._hosts: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(PER_HOST))

    async def holds(self, delivery_id: str, round: int) -> bool:
        """Whether that round of the delivery is still to be sent."""
        row = await self._database.deliveries.get(delivery_id)
        return row is not None and (row.state, row.round) == ("waiting", round)

    async def attempt(self, delivery_id: str, round: int) -> float | None:
        """Try once. Seconds until the next try; None when there is nothing more to do. Never raises."""
        try:
            row = await self._database.deliveries.get(delivery_id)
        except DatabaseUnavailable as error:
            log.warning("a delivery waits for the database: %s", error, extra={"delivery": delivery_id})
            return 5.0
        if row is None or (row.state, row.round) != ("waiting", round):
            return None
        if row.due is not None and (early := row.due - self._wall()) > 1.0:
            return early  # begun anew from the row in the middle of a pause
        async with self._hosts[_host(row.url)]:
            result = await self._try(row)
        return await self._conclude(row, result)

    async def _try(self, row: DeliveryRow) -> _Result:
        fault("send")
        try:
            status = await self._send(row)
        except Refused as error:
            return _Result(reason=_plain(error), fault=error.fault, final=True)
        except DeliveryFailed as error:
            return _Result(reason=_plain(error), fault=error.fault)
        except ObjectMissing:
            return _Result(reason="the recording's audio has been deleted", fault="us", final=True)
        except TapelineError as error:
            return _Result(reason=_plain(error), fault="us")
        except Exception as error:  # a defect in one delivery must neither lose it nor stop the others
            log.exception("a delivery broke", extra={"delivery": row.id})
            return _Result(reason=f"{type(error).__name__}: {error}", fault="us")
        fault("send.done")
        if 200 <= status < 300:
            return _Result(status)
        final = row.policy == "server" and status < 500
        return _Result(status, f"answered {status}", "destination", final)

    async def _send(self, row: DeliveryRow) -> int:
        """The status of the answer; for FTP, 226 where the file was taken."""
        body: bytes | _Object = row.body.encode()
        if row.object_key:
            found = await self._objects.stat(row.object_key)
            body = _Object(self._objects, row.object_key, found.size)
        if urlsplit(row.url).scheme.lower() in {"ftp", "ftps"}:
            if isinstance(body, bytes):
                raise Refused("only files are sent over FTP")
            return await put_ftp(row.url, body, self._client.addresses, idle_s=IDLE_S)
        answer = await self._client.request(
            row.method,
            row.url,
            body=body,
            headers=[("Content-Type", row.content_type), *row.headers.items()],
            timeout_s=LONGEST_S,
            idle_s=IDLE_S,
            max_bytes=ANSWER_BYTES,
            redirects=MAX_REDIRECTS,
        )
        return answer.status

    async def _conclude(self, row: DeliveryRow, result: _Result) -> float | None:
        """Note the try, and decide on the next."""
        now = self._wall()
        pause: float | None = None
        state = "delivered"
        if result.reason:
            pause = pause_after(row.tries + 1, LONGEST_PAUSE_S)
            state = "waiting" if not result.final and now + pause < row.until else "failed"
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
            log.warning("a delivery failed: %s", result.reason, extra=facts)
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
