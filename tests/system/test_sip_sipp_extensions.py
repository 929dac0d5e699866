"""SIPp as a caller that wants PRACK, changes its offer by UPDATE, keeps time, and transfers, and as a callee that rings reliably.

Each scenario is SIPp's own, over UDP; what it waits for in our messages is in the scenario.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tapeline.core.clock import SystemClock
from tapeline.sip import Accepted, Ended, Endpoint, EndpointConfig, Event, Incoming, Progress, ReferProgress, Referred, Reoffered
from tapeline.sip.offer_answer import LocalMedia, answer_offer, make_offer
from tapeline.sip.transports.shell import Shell

pytestmark = [pytest.mark.peer, pytest.mark.skipif(shutil.which("sipp") is None, reason="SIPp is not installed")]

CALLS = 10

HEAD = """<?xml version="1.0" encoding="ISO-8859-1" ?>
<scenario name="{name}">
{steps}
</scenario>
"""
REQUEST = """<send{retrans}><![CDATA[
{method} {uri} SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:sipp@[local_ip]:[local_port]>;tag=[pid]-[call_number]
To: <sip:1000@[remote_ip]:[remote_port]>{to}
Call-ID: [call_id]
CSeq: {seq} {method}
Contact: <sip:sipp@[local_ip]:[local_port]>
Max-Forwards: 70
Allow: INVITE, ACK, CANCEL, BYE, PRACK, UPDATE, NOTIFY
{extra}Content-Length: [len]

{body}
]]></send>
"""
SDP = """v=0
o=sipp 1 {version} IN IP[local_ip_type] [local_ip]
s=-
c=IN IP[media_ip_type] [media_ip]
t=0 0
m=audio 6000 RTP/AVP 0
a=rtpmap:0 PCMU/8000
a={direction}
"""
REPLY = """<send><![CDATA[
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:]
[last_Call-ID:]
[last_CSeq:]
Contact: <sip:sipp@[local_ip]:[local_port]>
{extra}Content-Length: 0

]]></send>
"""


def request(method: str, seq: int, extra: str = "", sdp: str = "", *, within: bool = True, again: bool = True) -> str:
    body = SDP.format(version=seq, direction=sdp) if sdp else ""
    if body:
        extra += "Content-Type: application/sdp\n"
    uri = "sip:1000@[remote_ip]:[remote_port]"
    retrans = ' retrans="500"' if again else ""
    to = "[peer_tag_param]" if within else ""
    return REQUEST.format(method=method, seq=seq, extra=extra, body=body, uri=uri, to=to, retrans=retrans)


def invite(extra: str = "") -> str:
    return request("INVITE", 1, extra, "sendrecv", within=False)


def wants(what: str, check: str = "", *, optional: bool = False) -> str:
    """Wait for a status or a method; `check` is a regular expression that the message must match."""
    kind = "response" if what.isdigit() else "request"
    how = ' optional="true"' if optional else ""
    action = f'<action><ereg regexp="{check}" search_in="msg" check_it="true" assign_to="found"/></action>' if check else ""
    return f'<recv {kind}="{what}"{how}>{action}</recv>\n'


ACK = request("ACK", 1, again=False)
BYE = request("BYE", 9) + wants("200")
# A variable that is set and not used is an error to SIPp.
USED = '<Reference variables="found"/>\n'

PRACK = (
    invite("Require: 100rel\n")
    + """<recv response="183"><action>
<ereg regexp="Require: 100rel" search_in="msg" check_it="true" assign_to="found"/>
<ereg regexp="[0-9]+" search_in="hdr" header="RSeq:" check_it="true" assign_to="rseq"/>
</action></recv>
"""
    + request("PRACK", 2, "RAck: [$rseq] 1 INVITE\n")
    + wants("200", "CSeq: 2 PRACK")
    + wants("200", "CSeq: 1 INVITE")
    + ACK
    + BYE
    + USED
)
UPDATE = (
    invite()
    + wants("183", optional=True)
    + wants("200")
    + ACK
    + request("UPDATE", 2, sdp="sendonly")
    + wants("200", "a=recvonly")
    + request("UPDATE", 3)
    + wants("200", "Content-Length: 0")
    + BYE
    + USED
)
TIMER = (
    invite("Supported: timer\nSession-Expires: 4;refresher=uas\n")
    + wants("183", optional=True)
    + wants("200", "Session-Expires: 4;refresher=uas")
    + ACK
    + wants("UPDATE", "Session-Expires: 4;refresher=uac")
    + REPLY.format(extra="Session-Expires: 4;refresher=uac\n")
    + wants("UPDATE")
    + REPLY.format(extra="Session-Expires: 4;refresher=uac\n")
    + BYE
    + USED
)
TOO_SMALL = invite("Supported: timer\nSession-Expires: 2\n") + wants("422", "Min-SE: 3") + ACK + USED
REFER = (
    invite()
    + wants("183", optional=True)
    + wants("200")
    + ACK
    + request("REFER", 2, "Refer-To: <sip:carol@[remote_ip]>\nReferred-By: <sip:sipp@[local_ip]>\n")
    + wants("202")
    + wants("NOTIFY", "SIP/2.0 100 Trying")
    + REPLY.format(extra="")
    + wants("NOTIFY", "Subscription-State: terminated;reason=noresource.*SIP/2.0 200 OK")
    + REPLY.format(extra="")
    + BYE
    + USED
)


# SIPp as callee that rings reliably. The 200 to the INVITE comes after the PRACK, so what it copies is kept.
KEPT = "".join(
    f'<ereg regexp=".*" search_in="hdr" header="{name}:" check_it="true" assign_to="{name.lower()}"/>'
    for name in ("Via", "From", "To", "CSeq")
)
ANSWER = """<send{retrans}><![CDATA[
SIP/2.0 {status}
Via:[$via]
From:[$from]
To:[$to];tag=[pid]-[call_number]
[last_Call-ID:]
CSeq:[$cseq]
Contact: <sip:sipp@[local_ip]:[local_port]>
Allow: INVITE, ACK, CANCEL, BYE, PRACK, REFER
{extra}Content-Length: [len]

{body}
]]></send>
"""
RINGS = (
    f'<recv request="INVITE"><action>{KEPT}</action></recv>'
    + ANSWER.format(
        retrans="",
        status="183 Session Progress",
        extra="Require: 100rel\nRSeq: 4711\nContent-Type: application/sdp\n",
        body=SDP.format(version=1, direction="sendrecv"),
    )
    + wants("PRACK", "RAck: 4711 1 INVITE")
    + REPLY.format(extra="")
    + ANSWER.format(retrans=' retrans="500"', status="200 OK", extra="", body="")
    + wants("ACK")
    + wants("REFER", "Refer-To: .sip:carol@192.0.2.3")
    + REPLY.format(extra="Refer-Sub: false\n").replace("200 OK", "202 Accepted")
    + wants("BYE")
    + REPLY.format(extra="")
    + USED
)


class Caller:
    """Calls, and once it is answered asks that somebody else be called, and hangs up."""

    def __init__(self) -> None:
        self.endpoint = Endpoint(EndpointConfig(), os.urandom)
        self.shell = Shell(self.endpoint, SystemClock(), self.on_event)
        self.told: list[tuple[str, int]] = []

    def on_event(self, event: Event) -> None:
        now = SystemClock().now()
        match event:
            case Progress(status=status, body=body):
                assert body is not None
                self.told.append(("progress", status))
            case Accepted(session=session, body=body):
                assert body is not None  # that of the 183
                self.told.append(("accepted", 200))
                session.refer("sip:carol@192.0.2.3", now)
            case ReferProgress(session=session, status=status, final=True):
                self.told.append(("referred", status))
                session.hangup(now)
            case Ended(status=status):
                self.told.append(("ended", status))
            case _:
                pass


class Callee:
    """Rings with its answer, accepts, answers offers, and says of each transfer that it succeeded."""

    def __init__(self, config: EndpointConfig) -> None:
        self.endpoint = Endpoint(config, os.urandom)
        self.shell = Shell(self.endpoint, SystemClock(), self.on_event)
        self.ended: list[Ended] = []
        self.referred: list[str] = []

    def on_event(self, event: Event) -> None:
        now = SystemClock().now()
        match event:
            case Incoming(session=session, body=body):
                answer = answer_offer(body or b"", LocalMedia(session.dialog.flow.local[0], 40000)).sdp
                session.ring(now, 183, answer)
                session.accept(answer, now)
            case Reoffered(session=session, body=body):
                session.answer_reoffer(answer_offer(body or b"", LocalMedia(session.dialog.flow.local[0], 40000, version=2)).sdp, now)
            case Referred(refer=refer):
                self.referred.append(refer.target)
                refer.accept(now)
                refer.notify(200, "OK", now)
            case Ended():
                self.ended.append(event)
            case _:
                pass


@pytest.fixture
async def callee() -> AsyncIterator[Callee]:
    made = Callee(EndpointConfig(session_expires=1800, min_se=3))
    yield made
    await made.shell.close()


@pytest.mark.parametrize(
    ("name", "steps", "calls"),
    [("prack", PRACK, CALLS), ("update", UPDATE, CALLS), ("timer", TIMER, CALLS), ("too_small", TOO_SMALL, 0), ("refer", REFER, CALLS)],
)
async def test_sipp_uses_what_the_extensions_offer(callee: Callee, name: str, steps: str, calls: int, tmp_path: Path) -> None:
    host, port = await callee.shell.listen("udp:127.0.0.1:0")
    scenario = tmp_path / f"{name}.xml"
    scenario.write_text(HEAD.format(name=name, steps=steps))
    arguments = ["-sf", str(scenario), "-m", str(CALLS), "-r", "20", "-t", "u1", "-i", host, f"{host}:{port}", "-nostdin", "-timeout", "20"]
    process = await asyncio.create_subprocess_exec(
        "sipp", *arguments, cwd=tmp_path, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    assert process.returncode == 0, said.decode("utf-8", "replace")
    assert [event.cause for event in callee.ended] == ["normal"] * calls
    assert not callee.endpoint.sessions
    if calls:  # SIPp's ACK to a refusal has not the branch of its INVITE
        assert callee.endpoint.counters.dropped == {}
    assert callee.referred == ([f"sip:carol@{host}"] * CALLS if name == "refer" else [])


async def test_we_call_sipp_that_rings_reliably_and_is_asked_to_call_somebody_else(tmp_path: Path, unused_tcp_port: int) -> None:
    caller = Caller()
    host, _ = await caller.shell.listen("udp:127.0.0.1:0")
    scenario = tmp_path / "rings.xml"
    scenario.write_text(HEAD.format(name="rings", steps=RINGS))
    arguments = ["-sf", str(scenario), "-m", "1", "-t", "u1", "-i", host, "-p", str(unused_tcp_port), "-nostdin", "-timeout", "20"]
    process = await asyncio.create_subprocess_exec(
        "sipp", *arguments, cwd=tmp_path, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    await asyncio.sleep(1.0)
    flow = caller.shell.flow_to("udp", (host, unused_tcp_port))
    offer = make_offer(LocalMedia(host, 40000))
    now = SystemClock().now()
    caller.endpoint.invite(f"sip:callee@{host}:{unused_tcp_port}", local=flow, from_uri=f"sip:us@{host}", body=offer, now=now)
    caller.shell.pump()
    _, said = await process.communicate()
    await caller.shell.close()
    assert process.returncode == 0, said.decode("utf-8", "replace")
    assert caller.told == [("progress", 183), ("accepted", 200), ("referred", 202), ("ended", 200)]
