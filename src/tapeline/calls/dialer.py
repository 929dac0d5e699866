"""Dialling: parties are called, all at once or one after another, until the first answers; the others are cancelled.

    parties -> branches (`calls.parties`) -> hops, tried in order -> one call each (`calls.outgoing`) -> DialResult

Whoever answers first wins at that very moment; a second answer is hung up. What did not come about is told by causes: a word, most
telling first, and the peer's status as `sip:486`. Who waits may be cancelled at any time, and every call that still rings is cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

import structlog

from tapeline.calls.equipment import Equipment
from tapeline.calls.outgoing import Hop, Order, Outgoing
from tapeline.calls.parties import Branch, NoWay, Parties
from tapeline.calls.session import Call
from tapeline.calls.views import Address
from tapeline.core.errors import Exhausted, ProtocolError
from tapeline.flow import Party
from tapeline.sip.uri import host_port

__all__ = ["DialResult", "Dialer", "Wish"]

log = structlog.get_logger(__name__)

Anonymous = Literal["yes", "no", "auto"]
WORDS = {  # of a SIP status
    403: "REJECTED", 404: "NOT_FOUND", 408: "NO_ANSWER", 410: "NOT_FOUND", 480: "NO_ANSWER", 482: "LOOP", 483: "LOOP", 484: "NOT_FOUND",
    486: "BUSY", 487: "NO_ANSWER", 488: "NO_MEDIA", 503: "UNREACHABLE", 600: "BUSY", 603: "REJECTED", 604: "NOT_FOUND", 606: "NO_MEDIA",
    607: "REJECTED", 608: "REJECTED", 401: "REJECTED", 407: "REJECTED",
}  # fmt: skip
TELLING = ("BUSY", "REJECTED", "NO_ANSWER", "NOT_REGISTERED", "NO_MEDIA", "NOT_FOUND", "LOOP", "UNREACHABLE", "FAILED")
REASONS = {"BUSY": "busy", "NO_ANSWER": "noanswer"}  # the hangup_reason of a word; else failed
UNREACHED = (500, 502, 503, 504)  # another way may lead there


@dataclass(frozen=True, slots=True)
class Wish:
    """Who is to be called, for whom, and how. `caller` is the call that the answer is for, None for a call of its own."""

    parties: tuple[Party, ...]
    account: str
    caller: Call | None = None
    source: Address = Address()
    timeout_s: float = 60.0
    anonymous: Anonymous = "auto"
    together: bool = True  # all at once, else one after another
    each_s: float = 0.0  # how long each of them may ring, one after another; 0: as long as there is time
    activeflow_id: str = ""
    flow_id: str = ""


@dataclass(frozen=True, slots=True)
class DialResult:
    """`call` is up, or there is none and `causes` tell why; `reason` is the same as a hangup_reason."""

    call: Call | None
    causes: tuple[str, ...] = ()
    reason: str = ""


class Dialer:
    def __init__(self, equipment: Equipment, outgoing: Outgoing, parties: Parties) -> None:
        self._kit = equipment
        self._outgoing = outgoing
        self._parties = parties

    async def dial(self, wish: Wish, on_progress: Callable[[Call, int], None] | None = None) -> DialResult:
        """Call them. `on_progress(call, status)` is told of each provisional answer; early media are agreed on by then."""
        return await _Dialling(wish, on_progress, self._kit, self._outgoing, self._parties).run()


class _Attempt:
    """Follows one call until it is answered or over, and stays quiet from then on."""

    def __init__(self, dialling: _Dialling) -> None:
        self._dialling = dialling
        self.call: Call | None = None
        self.done = asyncio.Event()

    def progressed(self, status: int) -> None:
        if self.call is not None:
            self._dialling.progressed(self.call, status)

    def established(self) -> None:
        self.done.set()
        if self.call is not None:
            self._dialling.answered(self.call)

    def digit(self, digit: str) -> None:
        """Keys are the bridge's."""

    def hung_up(self, cause: str, by: str) -> None:
        self.done.set()

    @property
    def action(self) -> dict[str, Any]:
        return {}


class _Dialling:
    """One dialling, from its first INVITE to its result."""

    def __init__(
        self, wish: Wish, on_progress: Callable[[Call, int], None] | None, kit: Equipment, outgoing: Outgoing, parties: Parties
    ) -> None:
        self._wish = wish
        self._on_progress = on_progress
        self._kit = kit
        self._outgoing = outgoing
        self._parties = parties
        self._winner: asyncio.Future[Call] = asyncio.get_running_loop().create_future()
        self._calls: list[Call] = []
        self._failures: list[tuple[str, int]] = []  # word and status of each branch that failed

    async def run(self) -> DialResult:
        finished = False
        try:
            async with asyncio.timeout(self._wish.timeout_s):
                for group in await self._groups():
                    await self._ring(group)
                    if self._winner.done():
                        break
            finished = True
        except TimeoutError:
            finished = True
            self._failures.append(("NO_ANSWER", 0))
        finally:
            if not finished and self._winner.done():
                self._winner.result().hang_up("cancel", "nobody waits any more")
        if self._winner.done():
            return DialResult(self._winner.result())
        causes = told(self._failures)
        return DialResult(None, causes, REASONS.get(causes[0], "failed"))

    async def _groups(self) -> list[list[Branch]]:
        """Who is called together with whom."""
        groups: list[list[Branch]] = []
        for party in self._wish.parties:
            try:
                groups.append(await self._parties.find(party))
            except NoWay as error:
                log.info("nobody to dial", kind=party.kind, reason=error.message)
                self._failures.append((error.cause, error.status))
        return [[branch for group in groups for branch in group]] if self._wish.together else groups

    async def _ring(self, group: list[Branch]) -> None:
        """Call all of `group` until one answers, all have failed, or the time is over; then nobody of it rings any more."""
        first = len(self._calls)
        tasks = [asyncio.create_task(self._branch(branch)) for branch in group]
        why = ("cancel", "nobody waits any more")
        try:
            waiting: set[asyncio.Future[Any]] = {self._winner, *tasks}
            async with asyncio.timeout(None if self._wish.together else self._wish.each_s or None):
                while len(waiting) > 1 and not self._winner.done():
                    _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            why = ("dialout", "no answer in time")
            self._failures.append(("NO_ANSWER", 0))
        finally:
            for task in tasks:
                task.cancel()
            self._hang_up(self._calls[first:], *why)
            for outcome in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(outcome, Exception):
                    log.error("dialling failed", error=repr(outcome), exc_info=outcome)
                    self._failures.append(("FAILED", 500))

    def _hang_up(self, calls: Sequence[Call], reason: str, text: str) -> None:
        winner = self._winner.result() if self._winner.done() else None
        for call in calls:
            if call is not winner:
                call.hang_up(reason, text)

    # -- one branch ----------------------------------------------------------------------------------------------------

    async def _branch(self, branch: Branch) -> None:
        """Try its hops until one can be reached; what that one answers counts."""
        word, status = "FAILED", 500
        for hop in branch.hops:
            word, status = await self._attempt(branch, hop)
            if not word:
                return
            if word != "UNREACHABLE" and status not in UNREACHED:
                break
        self._failures.append((word, status))

    async def _attempt(self, branch: Branch, hop: Hop) -> tuple[str, int]:
        """Call once. The word and status of what went wrong; no word where it was answered."""
        attempt = _Attempt(self)
        try:
            call = self._outgoing.place(self._order(branch, hop), attempt)
        except Exhausted as error:
            log.error("no call can be placed", error=str(error))
            return "UNREACHABLE", 503
        except (ProtocolError, ValueError) as error:
            log.warning("the target cannot be called", error=str(error))
            return "NOT_FOUND", 404
        attempt.call = call
        self._calls.append(call)
        await attempt.done.wait()
        return outcome(call)

    def _order(self, branch: Branch, hop: Hop) -> Order:
        wish = self._wish
        agreed = wish.caller.media.agreed if wish.caller is not None else None
        return Order(
            hop,
            account=wish.account,
            source=wish.source,
            destination=branch.party,
            from_uri=identity(wish.source, hop),
            from_name=wish.source.name,
            activeflow_id=wish.activeflow_id,
            flow_id=wish.flow_id,
            master=wish.caller,
            beside=wish.caller.leg if wish.caller is not None else None,
            prefer=agreed.codec if agreed is not None else "",
        )

    # -- what the calls tell -------------------------------------------------------------------------------------------

    def progressed(self, call: Call, status: int) -> None:
        if self._on_progress is not None and not self._winner.done():
            self._on_progress(call, status)

    def answered(self, call: Call) -> None:
        if self._winner.done():
            call.hang_up("cancel", "answered elsewhere")
            return
        self._winner.set_result(call)
        self._hang_up(self._calls, "cancel", "answered elsewhere")


def identity(source: Address, hop: Hop) -> str:
    """The URI that we call from: the caller's user at our own address."""
    user = quote(source.target.removeprefix("sip:").removeprefix("sips:").partition("@")[0], safe="-_.!~*'()&=+$,;?/")
    host = host_port(hop.flow.local[0])
    return f"sip:{user}@{host}" if user else f"sip:{host}"


def outcome(call: Call) -> tuple[str, int]:
    """The word and status of how a call of ours came out; no word where it is or was up."""
    if call.progressing is not None:
        return "", 0
    final = call.final
    if final is None or (final.by == "local" and final.cause == "cancel"):
        return "FAILED", 500
    if final.by == "local":
        return ("NO_ANSWER" if final.cause == "noanswer" else "UNREACHABLE"), final.status
    return WORDS.get(final.status, "FAILED"), final.status


def told(failures: Sequence[tuple[str, int]]) -> tuple[str, ...]:
    """Causes, most telling first, each once: the words, then the statuses as `sip:486`."""
    ordered = sorted(failures or [("FAILED", 0)], key=lambda failure: TELLING.index(failure[0]))
    words = [word for word, _ in ordered]
    statuses = [f"sip:{status}" for _, status in ordered if status]
    return tuple(dict.fromkeys([*words, *statuses]))
