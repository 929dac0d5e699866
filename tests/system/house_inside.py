"""A server in the test's own process, with parties that call it and are called over real sockets: what all of them hold can be counted.

Timers are so short that what SIP remembers of a call is forgotten after three seconds.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import json
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from tapeline import sip
from tapeline.app import Server
from tapeline.core.clock import SystemClock
from tapeline.core.settings import Settings, load
from tapeline.sip import offer_answer
from tapeline.sip.transports.shell import Shell
from tapeline.testing.process import free_port_range

Target = tuple[str, int]

# Threads, and connections to the database of three descriptors each, that may still be made when there is more to do at once than before
POOLED = 8
QUICK = sip.SipTimers(t1=0.05, t2=0.4, t4=0.5, refused=3.0)


class Party:
    """An endpoint on a socket of its own."""

    def __init__(self) -> None:
        self.clock = SystemClock()
        self.endpoint = sip.Endpoint(sip.EndpointConfig(timers=QUICK), os.urandom)
        self.shell = Shell(self.endpoint, self.clock, self.on_event)

    def on_event(self, event: sip.Event) -> None:
        """Nothing: who does something with events says so."""

    async def idle(self) -> None:
        """Until nothing of any call is remembered."""
        async with asyncio.timeout(20):
            while not self.endpoint.idle:
                await asyncio.sleep(0.05)


class Caller(Party):
    """Places calls."""

    def __init__(self) -> None:
        super().__init__()
        self._ends: dict[str, asyncio.Future[str]] = {}

    def on_event(self, event: sip.Event) -> None:
        if isinstance(event, sip.Ended) and (future := self._ends.pop(event.session.id, None)) is not None:
            future.set_result(event.cause)

    def invite(self, target: Target, user: str, number: int) -> tuple[sip.Session, asyncio.Future[str]]:
        """A call to `user` at `target`, and how it ends: a cause."""
        session = self.endpoint.invite(
            f"sip:{user}@{target[0]}:{target[1]}",
            local=self.shell.flow_to("udp", target),
            from_uri=f"sip:{number}@127.0.0.1",
            body=offer_answer.make_offer(offer_answer.LocalMedia("127.0.0.1", 40_000 + 2 * (number % 5000))),
            now=self.clock.now(),
        )
        future = self._ends[session.id] = asyncio.get_running_loop().create_future()
        self.shell.pump()
        return session, future


def settings(folder: Path, flows: Mapping[str, str], rtp_ports: int = 2000) -> Settings:
    """A server's settings; `flows` are documents by what they match."""
    low, high = free_port_range(rtp_ports)
    numbers = ""
    for index, (match, document) in enumerate(flows.items()):
        (folder / f"flow-{index}.json").write_text(document)
        numbers += f'[[numbers]]\nmatch = "{match}"\nflow = "flow-{index}.json"\n'
    config = folder / "tapeline.toml"
    config.write_text(
        f"""
        [server]
        data = "{folder / "data"}"
        http = "127.0.0.1:0"
        sip = ["udp:127.0.0.1:0"]
        rtp_ports = "{low}-{high}"
        rtp_threads = 1
        {numbers}
        """
    )
    return load(config)


@asynccontextmanager
async def serving(chosen: Settings, folder: Path, *parties: Party) -> AsyncIterator[tuple[Server, Target]]:
    """A running server and where it takes calls. Parties that do not listen yet do from here on, and all end with it."""
    async with AsyncExitStack() as stack:
        for party in parties:
            stack.push_async_callback(party.shell.close)
        server = Server(chosen, folder, QUICK)
        started = await server.start()
        stack.push_async_callback(server.stop, 0.0)
        host, _, port = started.sip[0].partition(":")[2].rpartition(":")
        for party in parties:
            if not party.shell.listeners:
                await party.shell.listen("udp:127.0.0.1:0")
        yield server, (host, int(port))


def apart(file: str, folder: Path, timeout_s: float = 200.0) -> tuple[Left, Left]:
    """Run a test's own file as a program, in whose memory no other test has been: what it held before and after, which it `tells`."""
    done = subprocess.run([sys.executable, file, str(folder)], capture_output=True, text=True, timeout=timeout_s, check=False)
    assert done.returncode == 0, f"{done.stderr[-2000:]}\n{done.stdout[-3000:]}"
    before, after = (Left(**each) for each in json.loads(done.stdout.splitlines()[-1]))
    return before, after


def tell(before: Left, after: Left) -> None:
    print(json.dumps([asdict(before), asdict(after)]))


@dataclass(frozen=True)
class Left:
    """What a process holds."""

    tasks: int
    descriptors: int
    threads: int
    legs: int
    buses: int
    taps: int
    players: int
    rss_kb: int

    def no_more_than(self, before: Left, most_kb: int) -> None:
        """Raises AssertionError where it is more than there was, and where anything of a call is left at all."""
        assert (self.legs, self.buses, self.taps, self.players) == (0, 0, 0, 0)
        assert self.tasks <= before.tasks
        assert self.threads <= before.threads + POOLED
        assert self.descriptors <= before.descriptors + 3 * POOLED
        assert self.rss_kb - before.rss_kb < most_kb, f"{self.rss_kb - before.rss_kb} kB more"


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
        buses=counters.buses,
        taps=counters.taps,
        players=counters.players,
        rss_kb=rss_kb(),
    )
