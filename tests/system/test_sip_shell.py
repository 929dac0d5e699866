"""The shell on real sockets: UDP and TCP, IPv4 and IPv6, connections that break, and the metric of slow inputs."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Callable

import pytest

from tapeline.core.clock import SystemClock
from tapeline.sip import Accepted, Ended, Endpoint, EndpointConfig, Event, Flow, Incoming, Session, SipTimers, parse_message
from tapeline.sip.transports.shell import Shell

SDP = b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"
PATIENCE_S = 5.0
OPTIONS = (
    b"OPTIONS sip:x@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1:9;branch=z9hG4bK%d\r\nMax-Forwards: 70\r\nFrom: <sip:a@b>;tag=1\r\n"
    b"To: <sip:x@127.0.0.1>\r\nCall-ID: %d\r\nCSeq: 1 OPTIONS\r\nContent-Length: %b\r\n\r\n"
)


class Station:
    """A shell with an endpoint; answers calls, keeps what happened."""

    def __init__(self, react: Callable[[Station, Event], None] | None = None) -> None:
        self.clock = SystemClock()
        self.endpoint = Endpoint(EndpointConfig(timers=SipTimers(t1=0.1)), os.urandom)
        self.shell = Shell(self.endpoint, self.clock, self.on_event)
        self.events: list[Event] = []
        self._react = react
        self._news = asyncio.Event()

    def on_event(self, event: Event) -> None:
        self.events.append(event)
        self._news.set()
        if self._react is not None:
            self._react(self, event)
        elif isinstance(event, Incoming):
            event.session.accept(SDP, self.clock.now())

    def call(self, flow: Flow, body: bytes = SDP) -> Session:
        remote = f"[{flow.remote[0]}]" if ":" in flow.remote[0] else flow.remote[0]
        target = f"sip:x@{remote}:{flow.remote[1]}" + (";transport=tcp" if flow.transport == "tcp" else "")
        session = self.endpoint.invite(target, local=flow, from_uri="sip:a@example.com", body=body, now=self.clock.now())
        self.shell.pump()
        return session

    def hangup(self, session: Session) -> None:
        session.hangup(self.clock.now())
        self.shell.pump()

    async def until(self, kind: type) -> Event:
        """The first event of that kind."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                for event in self.events:
                    if isinstance(event, kind):
                        return event
                self._news.clear()
                await self._news.wait()


@pytest.fixture
async def stations() -> AsyncIterator[Callable[..., Station]]:
    made: list[Station] = []

    def make(react: Callable[[Station, Event], None] | None = None) -> Station:
        made.append(Station(react))
        return made[-1]

    yield make
    for station in made:
        await station.shell.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_a_call_between_two_shells(stations: Callable[..., Station], transport: str, host: str) -> None:
    alice, bob = stations(), stations()
    shown = f"[{host}]" if ":" in host else host
    await alice.shell.listen(f"{transport}:{shown}:0")
    address = await bob.shell.listen(f"{transport}:{shown}:0")
    session = alice.call(alice.shell.flow_to(transport, address))  # type: ignore[arg-type]  # one of the two
    assert isinstance(await alice.until(Accepted), Accepted)
    await bob.until(type(bob.events[0]))
    alice.hangup(session)
    ended = await bob.until(Ended)
    assert isinstance(ended, Ended) and (ended.by, ended.cause) == ("remote", "normal")
    assert [type(event).__name__ for event in bob.events] == ["Incoming", "Established", "Ended"]
    assert alice.endpoint.counters.retransmitted == bob.endpoint.counters.retransmitted == 0


async def test_a_long_request_goes_over_tcp(stations: Callable[..., Station]) -> None:
    alice, bob = stations(), stations()
    await alice.shell.listen("udp:127.0.0.1:0")
    await alice.shell.listen("tcp:127.0.0.1:0")
    host, port = await bob.shell.listen("udp:127.0.0.1:0")
    await bob.shell.listen(f"tcp:{host}:{port}")
    alice.call(alice.shell.flow_to("udp", (host, port)), SDP + b"a=x:" + b"y" * 2000)
    incoming = await bob.until(Incoming)
    assert isinstance(incoming, Incoming) and incoming.session.dialog.flow.transport == "tcp"
    await alice.until(Accepted)


async def test_a_long_request_falls_back_to_a_datagram(stations: Callable[..., Station]) -> None:
    alice, bob = stations(), stations()
    await alice.shell.listen("udp:127.0.0.1:0")
    await alice.shell.listen("tcp:127.0.0.1:0")
    address = await bob.shell.listen("udp:127.0.0.1:0")
    alice.call(alice.shell.flow_to("udp", address), SDP + b"a=x:" + b"y" * 2000)
    await alice.until(Accepted)


async def test_nobody_listens(stations: Callable[..., Station], unused_tcp_port: int) -> None:
    alice = stations()
    await alice.shell.listen("tcp:127.0.0.1:0")
    alice.call(alice.shell.flow_to("tcp", ("127.0.0.1", unused_tcp_port)))
    ended = await alice.until(Ended)
    assert isinstance(ended, Ended) and ended.cause == "unreachable"


async def test_a_listener_on_every_address_says_which_one(stations: Callable[..., Station]) -> None:
    alice, bob = stations(), stations()
    await alice.shell.listen("udp:127.0.0.1:0")
    _, port = await bob.shell.listen("udp:0.0.0.0:0")
    alice.call(alice.shell.flow_to("udp", ("127.0.0.1", port)))
    accepted = await alice.until(Accepted)
    assert isinstance(accepted, Accepted) and accepted.response.contact is not None
    assert accepted.response.contact.uri_text == f"sip:127.0.0.1:{port}"


async def test_keep_alive_and_pieces_on_one_connection(stations: Callable[..., Station]) -> None:
    host, port = await (bob := stations()).shell.listen("tcp:127.0.0.1:0")
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(b"\r\n\r\n")
    assert await asyncio.wait_for(reader.readexactly(2), PATIENCE_S) == b"\r\n"
    data = OPTIONS % (1, 1, b"0")
    for at in range(0, len(data), 100):
        writer.write(data[at : at + 100])
        await writer.drain()
    answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE_S)
    assert parse_message(answer).start_line == "SIP/2.0 200 OK"
    writer.write(OPTIONS % (2, 2, b"-1"))
    answer = await asyncio.wait_for(reader.read(-1), PATIENCE_S)  # refused, and then closed
    assert answer.startswith(b"SIP/2.0 400 ")
    writer.close()
    assert bob.endpoint.counters.malformed == 1


async def test_a_listener_must_be_one(stations: Callable[..., Station]) -> None:
    alice = stations()
    for wrong in ("sctp:127.0.0.1:0", "udp"):
        with pytest.raises(ValueError, match="listener"):
            await alice.shell.listen(wrong)
    _, port = await alice.shell.listen("udp:127.0.0.1:0")
    with pytest.raises(OSError, match="in use"):
        await alice.shell.listen(f"udp:127.0.0.1:{port}")
    with pytest.raises(LookupError):
        alice.shell.flow_to("tcp", ("127.0.0.1", 5060))


async def test_rule_10_an_input_that_takes_longer_than_a_millisecond_is_counted(stations: Callable[..., Station]) -> None:
    def dawdle(station: Station, event: Event) -> None:
        if isinstance(event, Incoming):
            time.sleep(0.005)  # the fault that the metric is for
            event.session.reject(486, station.clock.now())

    alice, bob = stations(), stations(dawdle)
    await alice.shell.listen("udp:127.0.0.1:0")
    alice.call(alice.shell.flow_to("udp", await bob.shell.listen("udp:127.0.0.1:0")))
    await alice.until(Ended)
    assert bob.shell.slow >= 1 and bob.shell.slowest_s >= 0.005


async def test_a_defect_in_one_call_is_told_and_does_not_stop_the_others(stations: Callable[..., Station]) -> None:
    told: list[BaseException | None] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context.get("exception")))

    def stumble(station: Station, event: Event) -> None:
        if isinstance(event, Incoming) and len(station.events) == 1:
            raise RuntimeError("a defect")
        if isinstance(event, Incoming):
            event.session.accept(SDP, station.clock.now())

    alice, bob = stations(), stations(stumble)
    await alice.shell.listen("udp:127.0.0.1:0")
    flow = alice.shell.flow_to("udp", await bob.shell.listen("udp:127.0.0.1:0"))
    first = alice.call(flow)
    await bob.until(Incoming)
    alice.call(flow)
    await alice.until(Accepted)
    alice.hangup(first)
    assert [str(error) for error in told] == ["a defect"]


async def test_what_is_no_sip_is_dropped(stations: Callable[..., Station]) -> None:
    host, port = await (bob := stations()).shell.listen("udp:127.0.0.1:0")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        for data in (b"\r\n\r\n", b"\x01" * 20, b"GET / HTTP/1.1\r\n\r\n", b""):
            stranger.sendto(data, (host, port))
        async with asyncio.timeout(PATIENCE_S):
            while bob.endpoint.counters.received < 4:
                await asyncio.sleep(0.01)
    assert bob.endpoint.counters.dropped == {"keep-alive": 2, "malformed": 2} and bob.events == []
