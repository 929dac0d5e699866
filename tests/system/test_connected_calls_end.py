"""However a connected call ends, it ends: no call hangs, and nothing is left behind of any of them.

Caller, callee and server run in this process over real sockets, with timers so short that what SIP remembers is forgotten after three
seconds. Callees answer, refuse, ring for ever, send their caller in a circle, hang up at the very moment at which the caller does.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from house_inside import Caller, Party, Target, apart, serving, settings, settled, tell

from tapeline import sip
from tapeline.app import Server
from tapeline.sip import offer_answer
from tapeline.testing import Plan, quiet
from tapeline.testing.sipp import SippCallers, sipp_missing

KINDS = ("answers", "busy", "early", "late", "never", "circle", "crossing", "refers_away", "both")
NUMBERS = (*KINDS, "by_info")
ROUNDS = 12
AT_ONCE = 30
MOST_KB = 3_000


class Callee(Party):
    """Takes calls; what it does with each is said by the user it is called as."""

    def __init__(self) -> None:
        super().__init__()
        self.on_info: Callable[[sip.InfoReceived], None] = lambda event: None
        self.ports = itertools.cycle(range(30_000, 39_000, 2))

    def on_event(self, event: sip.Event) -> None:
        if isinstance(event, sip.Incoming):
            self.take(event)
        elif isinstance(event, sip.Reoffered) and event.body:
            event.session.answer_reoffer(self.answer(event.body), self.clock.now())
        elif isinstance(event, sip.InfoReceived):
            self.on_info(event)
        elif isinstance(event, sip.Established) and self.wants_info(event.session):
            # Who sends a key by INFO shows that it takes them so.
            event.session.info("application/dtmf-relay", b"Signal=0\r\nDuration=100\r\n", self.clock.now())

    def wants_info(self, session: sip.Session) -> bool:
        return sip.parse_uri(session.request_uri).plain_user == "by_info"

    def answer(self, offer: bytes, dtmf: bool = True) -> bytes:
        return offer_answer.answer_offer(offer, offer_answer.LocalMedia("127.0.0.1", next(self.ports), dtmf=dtmf)).sdp

    def take(self, event: sip.Incoming) -> None:
        session, now = event.session, self.clock.now()
        kind = sip.parse_uri(session.request_uri).plain_user
        body = self.answer(event.body or b"", dtmf=not self.wants_info(session))
        if kind == "busy":
            session.reject(486, now)
        elif kind == "circle":
            session.reject(302, now, headers=[("Contact", f"<{session.request_uri}>")])
        elif kind == "refers_away":
            host, port = self.shell.listeners[0][1]
            session.reject(302, now, headers=[("Contact", f"<sip:answers@{host}:{port}>, <sip:busy@{host}:{port}>;q=0.1")])
        elif kind == "early":
            session.ring(now, 183, body)
            self.later(0.05, lambda: session.reject(486, self.clock.now()))
        else:
            session.ring(now)
            if kind != "never":
                self.later(0.15 if kind == "late" else 0.02, lambda: session.accept(body, self.clock.now()))
            if kind == "crossing":
                self.later(0.2, lambda: session.hangup(self.clock.now()))

    def later(self, seconds: float, then: object) -> None:
        def run() -> None:
            try:
                then()  # type: ignore[operator]  # what is given is called
            except Exception:  # noqa: BLE001  # the call has ended meanwhile: that is what is tried here
                return
            self.shell.pump()

        asyncio.get_running_loop().call_later(seconds, run)


def flows(callee: Target) -> dict[str, str]:
    """For each kind of call a flow that connects with whoever does that."""
    documents = {}
    for kind in NUMBERS:
        users = ("answers", "late") if kind == "both" else (kind,)
        targets = ", ".join(f'{{"type": "sip", "target": "sip:{user}@{callee[0]}:{callee[1]}"}}' for user in users)
        early = "true" if kind == "early" else "false"
        documents[kind] = f"""{{"actions": [{{"type": "connect", "option": {{"destinations": [{targets}], "early_media": {early}}}}}]}}"""
    return documents


@asynccontextmanager
async def house(folder: Path, callee: Callee, *parties: Party) -> AsyncIterator[tuple[Server, Target]]:
    """A server that connects its callers with `callee`."""
    await callee.shell.listen("udp:127.0.0.1:0")
    try:
        chosen = settings(folder, flows(callee.shell.listeners[0][1]), 2800)
        async with serving(chosen, folder, callee, *parties) as running:
            yield running
    finally:
        await callee.shell.close()


async def place(caller: Caller, target: Target, gate: asyncio.Semaphore, kind: str, number: int, *, patience: float = 0.0) -> str:
    """Call, and hang up after a while that is another one for each call, if it has not ended by then."""
    async with gate:
        session, ended = caller.invite(target, kind, number)
        await asyncio.wait([ended], timeout=patience or (0.2 if kind == "crossing" else 0.05 + 0.03 * (number % 10)))
        session.hangup(caller.clock.now())
        caller.shell.pump()
        return await asyncio.wait_for(ended, 20)


async def crowd(caller: Caller, target: Target) -> Counter[str]:
    gate = asyncio.Semaphore(AT_ONCE)
    kinds = [kind for _ in range(ROUNDS) for kind in KINDS]
    return Counter(await asyncio.gather(*(place(caller, target, gate, kind, number) for number, kind in enumerate(kinds))))


@pytest.mark.timeout(120)
def test_calls_that_end_in_every_way_leave_nothing_behind(tmp_path: Path) -> None:
    before, after = apart(__file__, tmp_path)
    after.no_more_than(before, MOST_KB)


async def every_way(folder: Path) -> None:
    callee, caller = Callee(), Caller()
    async with house(folder, callee, caller) as (server, target):
        await crowd(caller, target)
        before = await settled(server, caller)
        causes = await crowd(caller, target)
        after = await settled(server, caller)
        await callee.idle()
    assert sum(causes.values()) == ROUNDS * len(KINDS)
    assert causes["normal"] and causes["cancel"]
    tell(before, after)


@pytest.mark.peer
@pytest.mark.skipif(bool(sipp_missing()), reason=sipp_missing())
@pytest.mark.timeout(60)
async def test_a_caller_who_never_acknowledges_ends_with_the_callee(tmp_path: Path) -> None:
    callee = Callee()
    async with house(tmp_path, callee) as (server, target):
        callers = SippCallers(tmp_path / "s", target, [Plan.of([quiet(1.0)])], number="answers", seconds=8.0, ends="never_acks")
        await asyncio.to_thread(callers.run)
        await callee.idle()
        async with asyncio.timeout(20):
            while server.busy:
                await asyncio.sleep(0.05)
        assert server.engine.counters().legs == 0


@pytest.mark.timeout(60)
async def test_a_server_that_stops_ends_both_legs(tmp_path: Path) -> None:
    callee, caller = Callee(), Caller()
    async with house(tmp_path, callee, caller) as (server, target):
        gate = asyncio.Semaphore(2)
        waiting = [asyncio.create_task(place(caller, target, gate, kind, 0, patience=20)) for kind in ("answers", "never")]
        async with asyncio.timeout(5):
            while [session.state for session in caller.endpoint.sessions.values()] != ["confirmed", "early"]:
                await asyncio.sleep(0.02)
        await server.stop(0.0)
        assert await asyncio.gather(*waiting) == ["normal", "noanswer"]
        await callee.idle()


@pytest.mark.timeout(60)
async def test_keys_that_come_by_info_are_passed_on(tmp_path: Path) -> None:
    callee, caller = Callee(), Caller()
    keys: list[str] = []
    callee.on_info = lambda event: keys.append(sip.info_digit(event.content_type, event.body))
    async with house(tmp_path, callee, caller) as (_, target):
        session, ended = caller.invite(target, "by_info", 0)
        async with asyncio.timeout(5):
            while session.state != "confirmed":
                await asyncio.sleep(0.02)
            await asyncio.sleep(0.2)
            for key in "12#":
                session.info("application/dtmf-relay", f"Signal={key}\r\nDuration=100\r\n".encode(), caller.clock.now())
                caller.shell.pump()
            while keys != ["1", "2", "#"]:
                await asyncio.sleep(0.02)
        session.hangup(caller.clock.now())
        caller.shell.pump()
        assert await asyncio.wait_for(ended, 20) == "normal"


if __name__ == "__main__":
    asyncio.run(every_way(Path(sys.argv[1])))
