"""TLS between two shells on real sockets: calls both ways over one connection, certificates that are wrong, files that cannot be used."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tapeline.core.clock import SystemClock
from tapeline.core.errors import InvalidInput
from tapeline.sip import Accepted, Ended, Endpoint, EndpointConfig, Event, Flow, Incoming, SipTimers
from tapeline.sip.transports.shell import Shell
from tapeline.sip.transports.tls import Tls
from tapeline.testing.authority import Authority, Certificate, authority_missing

pytestmark = [pytest.mark.peer, pytest.mark.skipif(bool(authority_missing()), reason=authority_missing())]

SDP = b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"


class Station:
    """A shell with an endpoint that takes every call."""

    def __init__(self, tls: Tls) -> None:
        self.clock = SystemClock()
        self.endpoint = Endpoint(EndpointConfig(timers=SipTimers(t1=0.1)), os.urandom)
        self.shell = Shell(self.endpoint, self.clock, self._on_event, tls)
        self.flows: list[Flow] = []
        self._events: asyncio.Queue[Event] = asyncio.Queue()

    def _on_event(self, event: Event) -> None:
        if isinstance(event, Incoming):
            self.flows.append(event.session.dialog.flow)
            event.session.accept(SDP, self.clock.now())
        self._events.put_nowait(event)

    async def call(self, flow: Flow) -> Event:
        """Call over `flow`; gives how it came out."""
        target = f"sip:x@{flow.remote[0]}:{flow.remote[1]};transport=tls"
        session = self.endpoint.invite(target, local=flow, from_uri="sip:a@example.com", body=SDP, now=self.clock.now())
        self.shell.pump()
        async with asyncio.timeout(5):
            while not isinstance(event := await self._events.get(), Accepted | Ended) or event.session is not session:
                pass
        session.hangup(self.clock.now())
        self.shell.pump()
        return event


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def certificate(authority: Authority) -> Certificate:
    return authority.issue("127.0.0.1", "sip.example.com")


@pytest.fixture
async def station() -> AsyncIterator[Callable[[Tls], Station]]:
    made: list[Station] = []

    def make(tls: Tls) -> Station:
        made.append(Station(tls))
        return made[-1]

    yield make
    for each in made:
        await each.shell.close()


def shown(certificate: Certificate, authority: Authority) -> Tls:
    return Tls(str(certificate.certificate), str(certificate.key), str(authority.certificate))


@pytest.mark.parametrize("name", ["", "sip.example.com"])
async def test_calls_go_over_one_connection_both_ways(
    station: Callable[[Tls], Station], certificate: Certificate, authority: Authority, name: str
) -> None:
    server, client = station(shown(certificate, authority)), station(Tls(authority=str(authority.certificate)))
    address = await server.shell.listen("tls:127.0.0.1:0")
    await client.shell.listen("udp:127.0.0.1:0")
    flow = client.shell.flow_to("tls", address, name)
    for _ in range(2):
        assert isinstance(await client.call(flow), Accepted)
    first, second = server.flows
    assert first == second and first.transport == "tls" and first.id == 1
    assert isinstance(await server.call(first), Accepted)
    assert client.flows == [flow]


@pytest.mark.parametrize(("believes", "name"), [(False, ""), (True, "other.example.com")])
async def test_a_certificate_that_is_not_believed_makes_the_peer_unreachable(
    station: Callable[[Tls], Station], certificate: Certificate, authority: Authority, believes: bool, name: str
) -> None:
    server, client = station(shown(certificate, authority)), station(Tls(authority=str(authority.certificate) if believes else ""))
    address = await server.shell.listen("tls:127.0.0.1:0")
    await client.shell.listen("udp:127.0.0.1:0")
    ended = await client.call(client.shell.flow_to("tls", address, name))
    assert isinstance(ended, Ended) and ended.cause == "unreachable"
    assert server.flows == []


async def test_who_does_not_speak_tls_disturbs_nobody(
    station: Callable[[Tls], Station], certificate: Certificate, authority: Authority
) -> None:
    server, client = station(shown(certificate, authority)), station(shown(certificate, authority))
    address = await server.shell.listen("tls:127.0.0.1:0")
    await client.shell.listen("tls:127.0.0.1:0")
    reader, writer = await asyncio.open_connection(*address)
    writer.write(b"OPTIONS sip:x SIP/2.0\r\n\r\n")
    async with asyncio.timeout(5):
        await reader.read()
    writer.close()
    assert isinstance(await client.call(client.shell.flow_to("tls", address)), Accepted)


async def test_a_listener_without_a_certificate_is_refused(station: Callable[[Tls], Station]) -> None:
    with pytest.raises(InvalidInput, match="certificate"):
        await station(Tls()).shell.listen("tls:127.0.0.1:0")


def test_files_that_cannot_be_used_are_named(certificate: Certificate, authority: Authority, tmp_path: Path) -> None:
    other = authority.issue("10.0.0.1")
    rubbish = tmp_path / "rubbish.pem"
    rubbish.write_text("nothing")
    good, key = str(certificate.certificate), str(certificate.key)
    for files, said in [
        ((good, ""), "tls_key"),
        ((str(tmp_path / "absent"), key), "tls_cert: .* cannot be read"),
        ((good, str(tmp_path / "absent")), "tls_key: .* cannot be read"),
        ((good, str(other.key)), "not that of the certificate"),
        ((str(rubbish), key), "cannot be used"),
        (("", "", str(rubbish)), "tls_ca"),
        (("", "", str(tmp_path / "absent")), "tls_ca"),
    ]:
        with pytest.raises(InvalidInput, match=said):
            Tls(*files)


def test_names_that_are_expected_are_so_many_and_are_names() -> None:
    tls = Tls()
    with pytest.raises(LookupError):
        tls.expect(("10.0.0.1", 5061), "a..b")
    for number in range(5000):
        tls.expect((f"10.0.{number >> 8}.{number & 255}", 5061), "x")
    assert len(tls._names) == 4096 and tls.name_of(("10.0.0.0", 5061)) == "10.0.0.0"

