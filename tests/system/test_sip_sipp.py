"""SIPp calls a small answering program on the real shell, over UDP and TCP, IPv4 and IPv6: every call succeeds, nothing is sent twice.

The other way round, our endpoint calls SIPp.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tapeline.core.clock import SystemClock
from tapeline.sip import Accepted, Ended, Endpoint, EndpointConfig, Event, Incoming
from tapeline.sip.offer_answer import LocalMedia, answer_offer, make_offer
from tapeline.sip.transports.shell import Shell

pytestmark = [pytest.mark.peer, pytest.mark.skipif(shutil.which("sipp") is None, reason="SIPp is not installed")]

CALLS = 100


class Answerer:
    """Answers every call at once, and counts."""

    def __init__(self) -> None:
        self.endpoint = Endpoint(EndpointConfig(), os.urandom)
        self.shell = Shell(self.endpoint, SystemClock(), self.on_event)
        self.ended: list[Ended] = []
        self.accepted = 0

    def on_event(self, event: Event) -> None:
        now = SystemClock().now()
        if isinstance(event, Incoming):
            event.session.ring(now)
            assert event.body is not None
            media = LocalMedia(event.session.dialog.flow.local[0], 40000)
            event.session.accept(answer_offer(event.body, media).sdp, now)
        elif isinstance(event, Accepted):
            self.accepted += 1
            asyncio.get_running_loop().call_later(0.05, self.hang_up, event)
        elif isinstance(event, Ended):
            self.ended.append(event)

    def hang_up(self, event: Accepted) -> None:
        event.session.hangup(SystemClock().now())
        self.shell.pump()


@pytest.fixture
async def answerer() -> AsyncIterator[Answerer]:
    made = Answerer()
    yield made
    await made.shell.close()


async def sipp(folder: Path, *arguments: str) -> tuple[int, str]:
    """Run SIPp; its exit code (0: all calls succeeded) and what it said."""
    process = await asyncio.create_subprocess_exec(
        "sipp", *arguments, "-nostdin", "-timeout", "20", cwd=folder, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    return process.returncode or 0, said.decode("utf-8", "replace")


@pytest.mark.parametrize(("transport", "host"), [("udp", "127.0.0.1"), ("tcp", "127.0.0.1"), ("udp", "[::1]"), ("tcp", "[::1]")])
async def test_sipp_calls_us(answerer: Answerer, transport: str, host: str, tmp_path: Path) -> None:
    _, port = await answerer.shell.listen(f"{transport}:{host}:0")
    mode = "u1" if transport == "udp" else "t1"
    code, said = await sipp(
        tmp_path, *("-sn", "uac", "-m", str(CALLS), "-r", "50", "-d", "100"), *("-t", mode, "-i", host.strip("[]"), f"{host}:{port}")
    )
    assert code == 0, said
    assert [event.cause for event in answerer.ended] == ["normal"] * CALLS
    assert all(event.by == "remote" for event in answerer.ended)
    assert not answerer.endpoint.sessions
    assert answerer.endpoint.counters.retransmitted == 0
    assert answerer.endpoint.counters.dropped == {}


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_we_call_sipp(answerer: Answerer, transport: str, tmp_path: Path, unused_tcp_port: int) -> None:
    host, _ = await answerer.shell.listen(f"{transport}:127.0.0.1:0")
    mode = "u1" if transport == "udp" else "t1"
    calls = 20
    running = asyncio.create_task(sipp(tmp_path, "-sn", "uas", "-m", str(calls), "-t", mode, "-i", host, "-p", str(unused_tcp_port)))
    await asyncio.sleep(1.0)
    target = f"sip:callee@127.0.0.1:{unused_tcp_port}" + (";transport=tcp" if transport == "tcp" else "")
    flow = answerer.shell.flow_to("udp" if transport == "udp" else "tcp", ("127.0.0.1", unused_tcp_port))
    for _ in range(calls):
        offer = make_offer(LocalMedia("127.0.0.1", 40000))
        answerer.endpoint.invite(target, local=flow, from_uri="sip:tapeline@127.0.0.1", body=offer, now=SystemClock().now())
        answerer.shell.pump()
        await asyncio.sleep(0.02)
    code, said = await running
    assert code == 0, said
    assert answerer.accepted == calls
    assert [event.cause for event in answerer.ended] == ["normal"] * calls
