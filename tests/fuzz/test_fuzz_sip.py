"""Any bytes are either taken or refused with a documented error: SIP messages, URIs, SDP, multipart bodies, streams, and a whole endpoint.

Seeds are the torture messages, the vendors' bodies where they are there, and plain messages of our own; mutations are drawn from a fixed
seed, so a finding comes again. TAPELINE_FUZZ_SECONDS is the time for each target (default 1).
"""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beside import VECTORS
from tapeline.core.errors import InvalidState
from tapeline.sip import (
    Ended,
    Endpoint,
    EndpointConfig,
    Flow,
    Incoming,
    MalformedMessage,
    MalformedMultipart,
    MalformedSdp,
    MalformedUri,
    NoCommonMedia,
    Registrar,
    Request,
    Response,
    parse_message,
    parse_uri,
)
from tapeline.sip.auth import Credentials, DigestClient, DigestServer, parse_authorization, parse_challenges
from tapeline.sip.framing import StreamFraming
from tapeline.sip.multipart import parse as parse_multipart
from tapeline.sip.multipart import part_of_type
from tapeline.sip.offer_answer import LocalMedia, answer_offer, make_offer, read_answer
from tapeline.sip.sdp import build, parse

SECONDS = float(os.environ.get("TAPELINE_FUZZ_SECONDS", "1"))
US = LocalMedia("192.0.2.1", 4000, ("PCMU", "PCMA", "L16"))
KEYED = replace(US, srtp="required", srtp_key=bytes(30))
SDP = make_offer(US)
KEYED_SDP = make_offer(KEYED)
FLOW = Flow("udp", ("192.0.2.1", 5060), ("192.0.2.9", 5060))

INVITE = (
    b"INVITE sip:1000@192.0.2.1;x=y SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bK1;rport,"
    b" SIP/2.0/TCP a.example;branch=z9hG4bK0\r\n"
    b'Max-Forwards: 70\r\nFrom: "A, \\"B\\"" <sip:a@192.0.2.9>;tag=f\r\nTo: <sip:1000@192.0.2.1>\r\nCall-ID: fuzz\r\nCSeq: 1 INVITE\r\n'
    b"Contact: <sip:a@192.0.2.9:5060;transport=udp>;q=0.5\r\n"
    b"Record-Route: <sip:192.0.2.8;lr>, <sip:192.0.2.7;lr>\r\n"
    b"Allow: INVITE,\r\n ACK\r\n"
    b"Content-Type: application/sdp\r\nAccept: application/sdp;level=1\r\nSupported: 100rel\r\nContent-Length: %d\r\n\r\n%s"
    % (len(SDP), SDP)
)
RESPONSE = (
    b"SIP/2.0 200 OK\r\nv: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK2;received=1.2.3.4\r\n"
    b"f: <sip:x@y>;tag=1\r\nt: sip:z@y;tag=2\r\ni: fuzz\r\n"
    b"CSeq: 1 INVITE\r\nm: <sip:z@192.0.2.9>\r\nl: 0\r\n\r\n"
)
MULTIPART = (
    b"--b\r\nContent-Type: application/sdp\r\n\r\n"
    + SDP
    + b"\r\n--b\r\nContent-Type: multipart/mixed;boundary=c\r\n\r\n--c\r\n\r\nx\r\n--c--\r\n--b--\r\n"
)
MESSAGES = [INVITE, RESPONSE, *(path.read_bytes() for path in sorted(VECTORS.glob("sip-torture/*/*.dat")))]
BODIES = [MULTIPART, *(path.read_bytes() for path in sorted(VECTORS.glob("siprec/*.txt")))]
URIS = [b"sip:alice:pw@example.com:5060;transport=tcp;lr?subject=x", b"sips:[2001:db8::1]:5061", b"tel:+1555;phone-context=x", b"urn:a:b"]
LOGINS = [
    b'Digest realm="tapeline", nonce="0123", opaque="x", algorithm=SHA-256, qop="auth,auth-int", stale=true, Digest realm="b", nonce="1"',
    b'Digest username="alice", realm="tapeline", nonce="01", uri="sip:x", response="01", algorithm=MD5, cnonce="c", qop=auth, nc=00000001',
]
REGISTER = (
    b"REGISTER sip:192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bK1\r\nFrom: <sip:alice@x>;tag=1\r\n"
    b"To: <sip:alice@x>\r\nCall-ID: r\r\nCSeq: 1 REGISTER\r\nContact: <sip:a@192.0.2.9>;q=0.5;expires=60, *\r\nExpires: 0\r\n"
    b"Authorization: %b\r\n\r\n" % LOGINS[1]
)
SPICE = [
    *(b"\r\n", b"\n", b" ", b"\t", b";", b",", b'"', b"<", b">", b"=", b":", b"\x00", b"\xff", b"%00", b"%", b"@", b"[", b"]", b"\\"),
    *(b"--b", b"99999999999999999999", b"-1", b"0", b"z9hG4bK", b"\xe2\x80\xa8", b"\xd9\xa3", b"SIP/2.0", b"a="),
    *(b"m=audio 1 RTP/AVP 0\r\n", b"\r\n\r\n"),
]


def mutate(rng: random.Random, seeds: list[bytes]) -> bytes:
    data = bytearray(rng.choice(seeds))
    for _ in range(rng.randrange(1, 8)):
        at = rng.randrange(len(data) + 1)
        end = min(len(data), at + rng.randrange(1, 24))
        kind = rng.randrange(6)
        if kind == 0:
            del data[at:end]
        elif kind == 1:
            data[at:at] = rng.choice(SPICE)
        elif kind == 2:
            data[at:end] = rng.choice(SPICE)
        elif kind == 3:
            data[at:at] = data[at:end] * rng.randrange(1, 4)
        elif kind == 4 and data:
            data[min(at, len(data) - 1)] = rng.randrange(256)
        else:
            other = rng.choice(seeds)
            start = rng.randrange(len(other) + 1)
            data[at:end] = other[start : start + rng.randrange(40)]
    return bytes(data)


def hammer(target: Callable[[bytes], None], seeds: list[bytes], seed: int, share: float = 1.0) -> None:
    """Give `target` mutations for its share of the set time; whatever it raises is a finding, and pytest shows its bytes."""
    rng = random.Random(seed)
    end = time.monotonic() + SECONDS * share
    rounds = 0
    for data in seeds:
        target(data)
    while time.monotonic() < end:
        for _ in range(50):
            data = mutate(rng, seeds)
            try:
                target(data)
            except Exception as error:
                raise AssertionError(f"{type(error).__name__} after {rounds} rounds, from {data!r}") from error
            rounds += 1
    assert rounds >= 50


def read_everything(message: Request | Response) -> None:
    """All that can be asked of a message; each may refuse, none may do worse."""
    for ask in (
        lambda: message.via,
        lambda: message.from_.uri,
        lambda: message.to.uri,
        lambda: message.contact and message.contact.uri,
        lambda: message.items("record-route"),
        lambda: message.tokens("supported"),
        lambda: message.items("via"),
        lambda: isinstance(message, Request) and message.uri,
    ):
        with contextlib.suppress(MalformedMessage):
            ask()


def message_target(data: bytes) -> None:
    try:
        message = parse_message(data)
    except MalformedMessage as error:
        assert error.status in (0, 400, 414, 505, 513)
        return
    read_everything(message)
    again = parse_message(message.serialise())
    assert again.body == message.body and type(again) is type(message)
    kept = [(name.strip(), value) for name, value in message.fields if name.strip().lower() not in ("content-length", "l")]
    assert [(name.strip(), value) for name, value in again.fields if name.strip().lower() not in ("content-length", "l")] == kept


def uri_target(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    with contextlib.suppress(MalformedUri):
        uri = parse_uri(text)
        assert str(uri) == text
        assert uri.plain_user is not None and uri.transport is not None


def sdp_target(data: bytes) -> None:
    with contextlib.suppress(MalformedSdp):
        description = parse(data)
        assert parse(build(description)) == description
    for use in (lambda: answer_offer(data, US), lambda: read_answer(SDP, data, US)):
        with contextlib.suppress(MalformedSdp, NoCommonMedia):
            agreed = use()
            assert agreed.codec in ("PCMU", "PCMA", "L16") and 0 < agreed.remote_port < 65536 and 10 <= agreed.ptime <= 60
            assert parse(agreed.sdp).media
    for ask in (lambda: answer_offer(data, KEYED), lambda: read_answer(KEYED_SDP, data, KEYED)):
        with contextlib.suppress(MalformedSdp, NoCommonMedia):
            keys = ask().srtp
            assert keys is not None and len(keys.remote) == 30 and keys.local == KEYED.srtp_key


def login_target(data: bytes) -> None:
    """The text as a challenge to us and as an answer to ours."""
    text = " ".join(data.decode("utf-8", "surrogateescape").split())
    with contextlib.suppress(MalformedMessage):
        parse_challenges(text)
    with contextlib.suppress(MalformedMessage):
        parse_authorization(text)
    server = DigestServer("tapeline", {"alice": "x"}.get, random.Random(1).randbytes)
    asked = Request("REGISTER", "sip:x", [("Authorization", text)])
    with contextlib.suppress(MalformedMessage):
        assert server.check(asked, "authorization", 1.0).outcome != "granted"
    client = DigestClient(Credentials("alice", "x"), lambda: "c")
    if client.take(Request("REGISTER", "sip:x", []), Response(401, "", [("WWW-Authenticate", text)])):
        assert all(parse_authorization(said) is not None for _, said in client.fields("REGISTER", "sip:x"))


def multipart_target(data: bytes) -> None:
    for content_type in (
        "multipart/mixed;boundary=b",
        'multipart/mixed; boundary="uniqueBoundary"',
        data[:60].decode("utf-8", "surrogateescape"),
    ):
        with contextlib.suppress(MalformedMultipart):
            parse_multipart(content_type, data)
            part_of_type(content_type, data, "application/sdp")


def stream_target(data: bytes) -> None:
    whole, pieces = StreamFraming(), StreamFraming()
    found = whole.feed(data)
    cut = [message for at in range(0, len(data), 7) for message in pieces.feed(data[at : at + 7])]
    if not whole.broken and not pieces.broken:
        assert cut == found


class EndpointTarget:
    """One endpoint for the whole run: whatever comes, it answers, and in the end it has nothing left."""

    def __init__(self) -> None:
        rng = random.Random(7)
        registrar = Registrar("tapeline", {"alice": "x"}.get, rng.randbytes)
        self.endpoint = Endpoint(EndpointConfig(trace=True, rate_per_source=50.0), rng.randbytes, registrar)
        self.now = 0.0
        self.seed = 0

    def __call__(self, data: bytes) -> None:
        rng = random.Random(self.seed)
        self.seed += 1
        self.now += rng.random()
        self.endpoint.tick(self.now)
        self.drain(rng)
        flow = FLOW if rng.random() < 0.8 else FLOW._replace(transport="tcp", id=rng.randrange(3))
        self.endpoint.receive(data, flow, self.now)
        self.drain(rng)
        if rng.random() < 0.05:
            self.endpoint.connection_lost(flow, self.now)
            self.drain(rng)

    def drain(self, rng: random.Random) -> None:
        while events := self.endpoint.events():
            for event in events:
                with contextlib.suppress(InvalidState):
                    if isinstance(event, Incoming) and rng.random() < 0.5:
                        event.session.accept(SDP, self.now)
                    else:
                        event.session.hangup(self.now)
        self.endpoint.outgoing()

    def finish(self) -> None:
        for session in list(self.endpoint.sessions.values()):
            session.hangup(self.now)
        rng = random.Random(0)
        self.drain(rng)
        while (deadline := self.endpoint.next_deadline()) is not None:
            self.endpoint.tick(max(self.now, deadline))
            self.now = max(self.now, deadline)
            self.drain(rng)
        assert not self.endpoint.sessions and not self.endpoint.transactions and self.endpoint.pending == 0


@pytest.mark.parametrize(
    ("target", "seeds", "share"),
    [(message_target, MESSAGES, 1.0), (uri_target, URIS, 1.0), (sdp_target, [SDP, KEYED_SDP, *BODIES], 1.0), (login_target, LOGINS, 0.3),
     (multipart_target, BODIES, 0.3), (stream_target, MESSAGES, 0.3)],
    ids=["message", "uri", "sdp", "login", "multipart", "stream"],
)
def test_any_bytes_are_taken_or_refused(target: Callable[[bytes], None], seeds: list[bytes], share: float) -> None:
    hammer(target, seeds, seed=1, share=share)


def test_an_endpoint_survives_whatever_it_is_sent() -> None:
    target = EndpointTarget()
    other = [INVITE.replace(b"sip:a@", b"sip:alice@"), *(INVITE.replace(b"INVITE", method) for method in (b"BYE", b"ACK"))]
    hammer(target, [INVITE, RESPONSE, REGISTER, *other, *MESSAGES], seed=2, share=0.5)
    target.finish()


ANSWER = (
    b"SIP/2.0 STATUS Reason\r\nVia: VIA\r\nFrom: FROM\r\nTo: TO;tag=TAG\r\nCall-ID: CALL\r\nCSeq: CSEQ\r\nContact: <sip:z@192.0.2.9>\r\n"
    b"Record-Route: <sip:192.0.2.8;lr>, <sip:192.0.2.7>\r\nContent-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%s" % (len(SDP), SDP)
)


def answer_target(data: bytes) -> None:
    """A call of ours that gets this answer, whole and broken, and is hung up: one Ended, nothing left."""
    rng = random.Random(data)
    endpoint = Endpoint(EndpointConfig(), rng.randbytes)
    session = endpoint.invite("sip:z@192.0.2.9", local=FLOW, from_uri="sip:a@192.0.2.1", body=SDP if rng.random() < 0.7 else None, now=0.0)
    ended = 0
    (invite,) = (parse_message(item.data) for item in endpoint.outgoing())
    for mark, value in (("VIA", "via"), ("FROM", "from"), ("TO", "to"), ("CALL", "call-id"), ("CSEQ", "cseq")):
        data = data.replace(mark.encode(), invite.need(value).encode())
    for moment in range(4):
        status = rng.choice((b"100", b"183", b"200", b"302", b"486", b"491"))
        endpoint.receive(data.replace(b"STATUS", status).replace(b"TAG", b"%d" % rng.randrange(2)), FLOW, float(moment))
        ended += sum(isinstance(event, Ended) for event in endpoint.events())
        endpoint.outgoing()
    session.hangup(5.0)
    ended += sum(isinstance(event, Ended) for event in endpoint.events())
    endpoint.outgoing()
    while (deadline := endpoint.next_deadline()) is not None:
        endpoint.tick(deadline)
        ended += sum(isinstance(event, Ended) for event in endpoint.events())
        endpoint.outgoing()
    assert ended == 1 and endpoint.idle


def test_a_call_survives_whatever_it_is_answered() -> None:
    hammer(answer_target, [ANSWER], seed=3, share=0.3)


REGISTERED = (
    b"SIP/2.0 STATUS Reason\r\nVia: VIA\r\nFrom: FROM\r\nTo: TO;tag=1\r\nCall-ID: CALL\r\nCSeq: CSEQ\r\n"
    b"Contact: <sip:us@192.0.2.1:5060>;expires=60, <sip:else@192.0.2.2>;q=0.1\r\nExpires: 90\r\nMin-Expires: 1800\r\n"
    b"Retry-After: 20 (busy);duration=5\r\nWWW-Authenticate: %b\r\nContent-Length: 0\r\n\r\n" % LOGINS[0]
)


def registration_target(data: bytes) -> None:
    """A registration of ours that gets this answer: it always goes on, and ends when it is told to."""
    rng = random.Random(data)
    endpoint = Endpoint(EndpointConfig(), rng.randbytes)
    login = Credentials("us", "x")
    ours = endpoint.register("sip:us@x", "sip:192.0.2.9", local=FLOW, credentials=login, contact_user="us", now=0.0)
    now = 0.0
    for _ in range(6):
        sent = [parse_message(item.data) for item in endpoint.outgoing() if item.data.startswith(b"REGISTER")]
        endpoint.events()
        if sent and rng.random() < 0.9:
            answer = data.replace(b"STATUS", rng.choice((b"100", b"200", b"401", b"407", b"423", b"503")))
            for mark, value in (("VIA", "via"), ("FROM", "from"), ("TO", "to"), ("CALL", "call-id"), ("CSEQ", "cseq")):
                answer = answer.replace(mark.encode(), sent[-1].need(value).encode())
            endpoint.receive(answer, FLOW, now)
        else:
            deadline = endpoint.next_deadline()
            assert deadline is not None, "it has come to a standstill"
            now = max(now, deadline)
            endpoint.tick(now)
    endpoint.events(), endpoint.outgoing()
    ours.stop(now)
    endpoint.events(), endpoint.outgoing()
    while (deadline := endpoint.next_deadline()) is not None:
        endpoint.tick(deadline)
        endpoint.events(), endpoint.outgoing()
    assert ours.state == "ended" and endpoint.registrations == [] and endpoint.idle


def test_a_registration_survives_whatever_it_is_answered() -> None:
    hammer(registration_target, [REGISTERED], seed=4, share=0.3)


@given(st.binary(max_size=300))
def test_raw_bytes(data: bytes) -> None:
    for target in (message_target, uri_target, sdp_target, multipart_target, stream_target):
        target(data)
