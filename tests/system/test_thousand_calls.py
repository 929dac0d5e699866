"""A thousand calls leave nothing behind: no task, descriptor, port, thread, transaction, leg, tap, spool folder or memory."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

from tapeline import sip
from tapeline.app import Server
from tapeline.core.clock import SystemClock
from tapeline.core.settings import Settings, load
from tapeline.sip import offer_answer
from tapeline.sip.transports.shell import Shell

FLOW = """{"actions": [
    {"type": "answer"}, {"type": "recording_start"}, {"type": "sleep", "option": {"duration": 100}}, {"type": "hangup"}
]}"""
AT_ONCE = 40
CALLS = 1000
QUICK = sip.SipTimers(t1=0.05, t2=0.4, t4=0.5, refused=3.0)  # what is remembered of a transaction is forgotten after 3 s, not 32


@dataclass(frozen=True)
class Left:
    """What a process holds."""

    tasks: int
    descriptors: int
    threads: int
    legs: int
    taps: int
    players: int
    rss_kb: int


class Caller:
    """Places calls from this process over real sockets; each is ended by the flow."""

    def __init__(self) -> None:
        self.clock = SystemClock()
        self.endpoint = sip.Endpoint(sip.EndpointConfig(timers=QUICK), os.urandom)
        self.shell = Shell(self.endpoint, self.clock, self.on_event)
        self.waiting: dict[str, asyncio.Future[str]] = {}

    def on_event(self, event: sip.Event) -> None:
        if isinstance(event, sip.Ended) and (future := self.waiting.pop(event.session.id, None)) is not None:
            future.set_result(event.cause)

    async def call(self, target: tuple[str, int], number: int) -> str:
        offer = offer_answer.make_offer(offer_answer.LocalMedia("127.0.0.1", 40_000 + 2 * (number % 5000)))
        session = self.endpoint.invite(
            f"sip:1000@{target[0]}:{target[1]}",
            local=self.shell.flow_to("udp", target),
            from_uri=f"sip:{number}@127.0.0.1",
            body=offer,
            now=self.clock.now(),
        )
        self.waiting[session.id] = asyncio.get_running_loop().create_future()
        future = self.waiting[session.id]
        self.shell.pump()
        return await asyncio.wait_for(future, 20)


async def place(caller: Caller, target: tuple[str, int], count: int) -> list[str]:
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> str:
        async with gate:
            return await caller.call(target, number)

    return await asyncio.gather(*(one(number) for number in range(count)))


def rss_kb() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1])
    raise AssertionError("no VmRSS")


def give_back() -> None:
    """Let the C library return what it keeps for later, so that what is counted is what is held. Only glibc has it, or needs it."""
    if (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)


async def settled(server: Server, caller: Caller) -> Left:
    """What is held once everything that was under way has ended: calls, transactions finishing, rows."""
    async with asyncio.timeout(60):
        while server.busy or not caller.endpoint.idle:
            await asyncio.sleep(0.1)
    gc.collect()
    give_back()
    counters = server.engine.counters()
    return Left(
        tasks=len(asyncio.all_tasks()),
        descriptors=len(os.listdir("/proc/self/fd")),
        threads=threading.active_count(),
        legs=counters.legs,
        taps=counters.taps,
        players=counters.players,
        rss_kb=rss_kb(),
    )


def settings(folder: Path) -> Settings:
    (folder / "flow.json").write_text(FLOW)
    config = folder / "tapeline.toml"
    config.write_text(
        f"""
        [server]
        data = "{folder / "data"}"
        http = "127.0.0.1:0"
        sip = ["udp:127.0.0.1:0"]
        rtp_ports = "21000-23000"
        rtp_threads = 1
        [[numbers]]
        match = "/.*/"
        flow = "flow.json"
        """
    )
    return load(config)


@pytest.mark.timeout(240)
async def test_a_thousand_calls_leave_nothing_behind(tmp_path: Path) -> None:
    server = Server(settings(tmp_path), tmp_path, QUICK)
    started = await server.start()
    host, _, port = started.sip[0].partition(":")[2].rpartition(":")
    caller = Caller()
    await caller.shell.listen("udp:127.0.0.1:0")
    try:
        # The first thousand fill what is kept for good: caches, pools, the allocator's arenas.
        assert await place(caller, (host, int(port)), CALLS) == ["normal"] * CALLS
        before = await settled(server, caller)
        causes = await place(caller, (host, int(port)), CALLS)
        assert causes == ["normal"] * CALLS
        after = await settled(server, caller)
    finally:
        await caller.shell.close()
        await server.stop(0.0)
    assert (after.legs, after.taps, after.players) == (0, 0, 0)
    assert after.tasks <= before.tasks
    assert after.threads <= before.threads
    assert after.descriptors <= before.descriptors + 2  # a connection to the database more or less
    # What makes up one call is some 20 kB, so a thousand kept would be 20 MB. Caches still fill: half a MB on an idle machine.
    assert after.rss_kb - before.rss_kb < 5_000, f"{after.rss_kb - before.rss_kb} kB more"
    assert not [path for path in (tmp_path / "data" / "spool").iterdir() if path.is_dir()]
    finished = list((tmp_path / "data" / "objects").rglob("*.wav"))
    assert len(finished) == 2 * CALLS
