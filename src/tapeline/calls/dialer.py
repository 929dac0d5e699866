"""Dialling: parties are called, all at once or one after another, until the first answers; the others are cancelled.

    parties -> branches (`calls.parties`) -> hops, tried in order -> one call each (`calls.outgoing`) -> DialResult

Whoever answers first wins at that very moment; a second answer is hung up. What did not come about is told by causes: a word, most
telling first, and the peer's status as `sip:486`. Who waits may be cancelled at any time, and every call that still rings is cancelled.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import structlog

from tapeline.calls.equipment import Equipment
from tapeline.calls.identity import Anonymous, Identity, hops_left, identify, wants_privacy
from tapeline.calls.kazoo.members import resolved
from tapeline.calls.outgoing import Hop, Order, Outgoing
from tapeline.calls.parties import Branch, NoWay, Parties
from tapeline.calls.session import Call
from tapeline.calls.trunks import Trunks
from tapeline.calls.views import Address
from tapeline.core.errors import Exhausted, ProtocolError
from tapeline.flow import Party
from tapeline.sip.uri import host_port

__all__ = ["DialResult", "Dialer", "Wish"]

log = structlog.get_logger(__name__)

WORDS = {  # of a SIP status
    403: "REJECTED", 404: "NOT_FOUND", 408: "NO_ANSWER", 410: "NOT_FOUND", 480: "NO_ANSWER", 482: "LOOP", 483: "LOOP", 484: "NOT_FOUND",
    486: "BUSY", 487: "NO_ANSWER", 488: "NO_MEDIA", 503: "UNREACHABLE", 600: "BUSY", 603: "REJECTED", 604: "NOT_FOUND", 606: "NO_MEDIA",
    607: "REJECTED", 608: "REJECTED", 401: "REJECTED", 407: "REJECTED",
}  # fmt: skip
TELLING = ("BUSY", "REJECTED", "NO_ANSWER", "NOT_REGISTERED", "NO_MEDIA", "NOT_FOUND", "LOOP", "UNREACHABLE", "FAILED")
REASONS = {"BUSY": "busy", "NO_ANSWER": "noanswer"}  # the hangup_reason of a word; else failed
PASSED_ON = (403, 404, 410, 480, 484, 486, 488, 600, 603, 604, 606, 607, 608)  # they tell of the callee, not of the way there
UNREACHED = (500, 502, 503, 504)  # another way may lead there
ELSEWHERE = "Call completed elsewhere"
SILENT_S = 4.0  # a hop that says nothing at all for so long is given up where there is another
MOST_REDIRECTIONS = 5  # of one branch
MOST_CONTACTS = 10  # of one redirection
MOST_BRANCHES = 100  # of one wish


@dataclass(frozen=True, slots=True)
class Wish:
    """Who is to be called, for whom, and how. `caller` is the call that the answer is for, None for a call of its own."""

    parties: tuple[Party, ...]
    account: str
    caller: Call | None = None
    chained: bool = True  # the calls end with the caller's
    source: Address | None = None  # who it is from; None: the caller's own
    timeout_s: float = 60.0
    anonymous: Anonymous = "auto"
    together: bool = True  # all at once, else one after another
    each_s: float = 0.0  # how long each of them may ring, one after another; 0: its share of the time
    activeflow_id: str = ""
    flow_id: str = ""
    application_id: str = ""  # the Vonage application that the calls belong to; "" the caller's
    event_url: str = ""  # where their events go; "" where the caller's go
    event_method: str = ""
    event_asked: bool = False  # why it was not answered is told by who waits for an answer to that
    headers: tuple[tuple[str, str], ...] = ()  # of the INVITE, beside those that every call of ours has
    by_weight: bool = False  # one after another, in an order of chance
    single_reject: bool = False  # who is busy or rejects, does so for all
    redirects: bool = True  # whether a redirection is followed
    without: str = ""  # the name of a user whose phones do not ring


@dataclass(frozen=True, slots=True)
class DialResult:
    """`call` is up, or there is none and `causes` tell why; `reason` is the same as a hangup_reason, `status` as a refusal that may be
    passed on to a caller (0: none that may)."""

    call: Call | None
    causes: tuple[str, ...] = ()
    reason: str = ""
    status: int = 0


class Dialer:
    """`answered(call, caller, user, offnet)` is told of who has answered: whom it was dialled for, whose phone it is ("" nobody's of ours),
    and whether it went over a trunk."""

    def __init__(
        self,
        equipment: Equipment,
        outgoing: Outgoing,
        parties: Parties,
        trunks: Trunks,
        advertise: str,
        answered: Callable[[Call, Call | None, str, bool], None] = lambda call, caller, user, offnet: None,
    ) -> None:
        self.kit = equipment
        self.outgoing = outgoing
        self.parties = parties
        self.trunks = trunks
        self.answered = answered
        self.advertise = advertise  # the host that others reach us by; "" the address that a call is sent from

    async def dial(
        self,
        wish: Wish,
        on_progress: Callable[[Call, int], None] = lambda call, status: None,
        on_call: Callable[[Call], None] = lambda call: None,
    ) -> DialResult:
        """Call them. `on_progress(call, status)` is told of each provisional answer (early media are agreed on by then), `on_call` of
        each call that is placed."""
        return await _Dialling(self, wish, on_progress, on_call).run()


class _Attempt:
    """Follows one call until it is answered or over, and stays quiet from then on."""

    def __init__(self, dialling: _Dialling, user: str, offnet: bool) -> None:
        self.user = user  # whose phone it was before any redirection
        self.offnet = offnet
        self._dialling = dialling
        self.call: Call | None = None
        self.heard = asyncio.Event()  # of the peer, whatever it was
        self.done = asyncio.Event()

    def progressed(self, status: int) -> None:
        self.heard.set()
        if self.call is not None:
            self._dialling.progressed(self.call, status)

    def established(self) -> None:
        self.heard.set()
        self.done.set()
        if self.call is not None:
            self._dialling.answered(self.call, self.user, self.offnet)

    def digit(self, digit: str) -> None:
        """Keys are the bridge's."""

    def hung_up(self, cause: str, by: str) -> None:
        self.heard.set()
        self.done.set()

    @property
    def action(self) -> dict[str, Any]:
        return {}


class _Dialling:
    """One dialling, from its first INVITE to its result."""

    def __init__(
        self, dialer: Dialer, wish: Wish, on_progress: Callable[[Call, int], None], on_call: Callable[[Call], None]
    ) -> None:
        self._dialer = dialer
        self._wish = wish
        self._on_progress = on_progress
        self._on_call = on_call
        self._anonymous = wish.anonymous == "yes" or (wish.anonymous == "auto" and wish.caller is not None and wants_privacy(wish.caller))
        self._winner: asyncio.Future[Call] = asyncio.get_running_loop().create_future()
        self._limit: asyncio.Timeout | None = None
        self._calls: list[Call] = []
        self._failures: list[tuple[str, int]] = []  # word and status of each branch that failed
        self._rejected = False  # for all

    async def run(self) -> DialResult:
        finished = False
        if hops_left(self._wish.caller) == 0:
            return DialResult(None, ("LOOP", "sip:483"), "failed")
        try:
            async with asyncio.timeout(self._wish.timeout_s) as self._limit:
                groups = await self._groups()
                each = None if self._wish.together else self._wish.each_s or self._wish.timeout_s / max(1, len(groups))
                for group in groups:
                    await self._ring(group, each)
                    if self._winner.done() or self._rejected:
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
        _, status = min(self._failures, key=telling, default=("FAILED", 0))
        return DialResult(None, causes, REASONS.get(causes[0], "failed"), status if status in PASSED_ON else 0)

    async def _groups(self) -> list[list[Branch]]:
        """Who is called together with whom."""
        groups: list[list[Branch]] = []
        parties = resolved(self._wish.parties, self._wish.account, self._dialer.kit.stored.document)
        if not parties:
            self._failures.append(("NOT_FOUND", 404))
        parties = by_chance(parties) if self._wish.by_weight else parties
        for party in parties:
            try:
                found = await self._dialer.parties.find(party)
                others = [branch for branch in found if not self._wish.without or branch.hops[0].user != self._wish.without]
                groups.append([replace(branch, delay_s=party.delay_s, limit_s=party.limit_s) for branch in others])
            except NoWay as error:
                log.info("nobody to dial", kind=party.kind, reason=error.message)
                self._failures.append((error.cause, error.status))
        branches = [branch for group in groups for branch in group]
        if len(branches) > MOST_BRANCHES:
            log.warning("too many to be called: the rest is left out", wanted=len(branches), most=MOST_BRANCHES)
        return [branches[:MOST_BRANCHES]] if self._wish.together else groups[:MOST_BRANCHES]

    async def _ring(self, group: list[Branch], limit_s: float | None) -> None:
        """Call all of `group` until one answers, all have failed, or the time is over; then nobody of it rings any more."""
        first = len(self._calls)
        tasks = [asyncio.create_task(self._branch(branch)) for branch in group]
        why = ("cancel", "nobody waits any more")
        try:
            waiting: set[asyncio.Future[Any]] = {self._winner, *tasks}
            async with asyncio.timeout(limit_s):
                while len(waiting) > 1 and not self._winner.done() and not self._rejected:
                    _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            why = ("dialout", "no answer in time")
            self._failures.append(("NO_ANSWER", 0))
        finally:
            for task in tasks:
                task.cancel()
            if self._winner.done():
                why = ("cancel", ELSEWHERE)
            elif self._limit is not None and self._limit.expired():
                why = ("dialout", "no answer in time")
            self._hang_up(self._calls[first:], *why)
            for ended in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(ended, Exception):
                    log.error("dialling failed", error=repr(ended), exc_info=ended)
                    self._failures.append(("FAILED", 500))

    def _hang_up(self, calls: Sequence[Call], reason: str, text: str) -> None:
        winner = self._winner.result() if self._winner.done() else None
        for call in calls:
            if call is not winner:
                call.hang_up(reason, text, 200 if winner is not None else 0)

    # -- one branch ----------------------------------------------------------------------------------------------------

    async def _branch(self, branch: Branch) -> None:
        """Ring in its time, and for as long as it may."""
        await asyncio.sleep(branch.delay_s)
        calls: list[Call] = []
        try:
            async with asyncio.timeout(branch.limit_s or None):
                await self._hops(branch, calls)
        except TimeoutError:
            if not self._winner.done():
                self._failures.append(("NO_ANSWER", 0))
                self._hang_up(calls, "dialout", "no answer in time")

    async def _hops(self, branch: Branch, calls: list[Call]) -> None:
        """Try its hops until one can be reached, and follow where that one points; what the last one answers counts. `calls` are those that
        were placed."""
        word, status = "FAILED", 500
        hops, redirections, seen = deque(branch.hops), 0, {hop.uri for hop in branch.hops}
        while hops:
            hop = hops.popleft()
            call, word, status = await self._attempt(branch, hop, calls, patient=not hops)
            if not word:
                return
            if call is not None and 300 <= status < 400 and self._wish.redirects:
                redirections += 1
                fresh = [uri for uri in (call.final.contacts if call.final is not None else ()) if uri not in seen]
                if redirections > MOST_REDIRECTIONS or not fresh:
                    log.info("redirected in a circle, or to nowhere", call_id=call.facts.id)
                    word, status = "LOOP", 482
                    break
                seen |= set(fresh)
                hops = deque(await self._redirections(call, fresh[:MOST_CONTACTS]))
            elif word != "UNREACHABLE" and status not in UNREACHED:
                break
        self._failures.append((word, status))
        self._rejected |= self._wish.single_reject and word in ("BUSY", "REJECTED")

    async def _redirections(self, call: Call, contacts: Sequence[str]) -> list[Hop]:
        """The ways to where a 3xx points (RFC 3261 section 8.1.3.4)."""
        hops: list[Hop] = []
        for uri in contacts:
            try:
                hops += await self._dialer.parties.redirected(uri)
            except NoWay as error:
                log.info("a redirection leads nowhere", call_id=call.facts.id, reason=error.message)
        return hops

    async def _attempt(self, branch: Branch, hop: Hop, calls: list[Call], *, patient: bool) -> tuple[Call | None, str, int]:
        """Call once: the call, and the word and status of what went wrong; no word where it was answered."""
        attempt = _Attempt(self, branch.hops[0].user, hop.trunk is not None)
        try:
            call = self._dialer.outgoing.place(self._order(branch, hop), attempt)
        except Exhausted as error:
            log.error("no call can be placed", error=str(error))
            return None, "UNREACHABLE", 503
        except (ProtocolError, ValueError) as error:
            log.warning("the target cannot be called", error=str(error))
            return None, "NOT_FOUND", 404
        attempt.call = call
        call.instead = self._picked_up
        self._calls.append(call)
        calls.append(call)
        self._on_call(call)
        if hop.trunk is not None:
            self._dialer.trunks.took(hop.trunk.name)
            name = hop.trunk.name
            call.when_over(lambda: self._dialer.trunks.freed(name))
        if not patient:
            try:
                await asyncio.wait_for(attempt.heard.wait(), SILENT_S)
            except TimeoutError:
                if call.session.state == "calling":
                    call.hang_up("failed", "no answer at all")
                    return call, "UNREACHABLE", 408
        await attempt.done.wait()
        return call, *outcome(call)

    def _order(self, branch: Branch, hop: Hop) -> Order:
        wish = self._wish
        agreed = wish.caller.media.agreed if wish.caller is not None else None
        return Order(
            hop,
            account=wish.account,
            source=self._source(),
            destination=branch.party,
            identity=self._identity(hop),
            max_forwards=hops_left(wish.caller),
            activeflow_id=wish.activeflow_id,
            flow_id=wish.flow_id,
            application_id=wish.application_id or (wish.caller.facts.application_id if wish.caller is not None else ""),
            event_url=wish.event_url or (wish.caller.facts.event_url if wish.caller is not None else ""),
            event_method=wish.event_method or (wish.caller.facts.event_method if wish.caller is not None else ""),
            event_asked=wish.event_asked,
            master=wish.caller if wish.chained else None,
            beside=wish.caller.leg if wish.caller is not None else None,
            prefer=agreed.codec if agreed is not None else "",
        )

    def _source(self) -> Address:
        """Who it is from, as the call's row says it."""
        if self._wish.source is not None:
            return self._wish.source
        return self._wish.caller.other_party if self._wish.caller is not None else Address()

    def _identity(self, hop: Hop) -> Identity:
        source, trunk = self._source(), hop.trunk
        host = (trunk.domain if trunk is not None else "") or host_port(self._dialer.advertise or hop.flow.local[0])
        if trunk is not None and trunk.caller_id and self._wish.source is None:
            source = Address("tel", trunk.caller_id, source.name)
        found = identify(source, host, anonymous=self._anonymous, trusted=trunk is not None)
        return replace(found, headers=(*found.headers, *self._wish.headers))

    # -- what the calls tell -------------------------------------------------------------------------------------------

    def progressed(self, call: Call, status: int) -> None:
        if not self._winner.done():
            self._on_progress(call, status)

    def _picked_up(self, coming: Call) -> None:
        """`coming`, which called us, answers for one that rings."""
        if self._wish.caller is not None and self._wish.chained:
            self._wish.caller.chain(coming)
        self.answered(coming, coming.facts.user, False)

    def answered(self, call: Call, user: str, offnet: bool) -> None:
        if self._winner.done():
            call.hang_up("cancel", ELSEWHERE, 200)
            return
        self._winner.set_result(call)
        self._hang_up(self._calls, "cancel", ELSEWHERE)
        self._dialer.answered(call, self._wish.caller, user, offnet)


def by_chance(parties: Sequence[Party]) -> tuple[Party, ...]:
    """In an order of chance, where twice the weight comes first twice as often."""
    return tuple(sorted(parties, key=lambda party: random.random() ** (1.0 / max(1, party.weight)), reverse=True))


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


def telling(failure: tuple[str, int]) -> int:
    """How little a failure tells."""
    return TELLING.index(failure[0])


def told(failures: Sequence[tuple[str, int]]) -> tuple[str, ...]:
    """Causes, most telling first, each once: the words, then the statuses as `sip:486`."""
    ordered = sorted(failures or [("FAILED", 0)], key=telling)
    words = [word for word, _ in ordered]
    statuses = [f"sip:{status}" for _, status in ordered if status]
    return tuple(dict.fromkeys([*words, *statuses]))
