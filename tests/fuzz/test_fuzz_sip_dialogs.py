"""Any bytes within a call: its headers are taken or refused with a documented error, every request is answered, and one Ended is the end.

The targets here are what belongs to calls: Refer-To, Replaces, RAck, Session-Expires, Reason, sipfrag, Contact of a redirection, and a
whole call that gets broken REFER, NOTIFY, UPDATE, PRACK, INFO and re-INVITE as callee and as caller.
"""

from __future__ import annotations

import contextlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_fuzz_sip import FLOW, SDP, hammer

from tapeline.core.errors import InvalidState
from tapeline.sip import (
    Accepted,
    Ended,
    Endpoint,
    EndpointConfig,
    Event,
    Incoming,
    MalformedMessage,
    Referred,
    ReofferAccepted,
    Reoffered,
    Request,
    Response,
    parse_message,
    parse_uri,
)
from tapeline.sip.message import contacts_of
from tapeline.sip.reasons import Reason, reason_fields, reasons_of
from tapeline.sip.refer import parse_refer_to, parse_sipfrag
from tapeline.sip.reliable import parse_rack, parse_rseq
from tapeline.sip.replaces import escaped, parse_replaces, unescaped
from tapeline.sip.session_timer import parse_min_se, parse_session_expires

HEADERS = [
    b"<sip:bob@192.0.2.20;method=INVITE?Replaces=c1%40h%3Bto-tag%3Dx%3Bfrom-tag%3Dy&Require=replaces>",
    b'"Bob" <sips:bob@[2001:db8::1]:5061>;x=y',
    b"tel:+1555",
    b"c1@h;to-tag=x;from-tag=y;early-only",
    b"4711 1 INVITE",
    b"1800;refresher=uac",
    b"90",
    b'Q.850;cause=16;text="done"',
    b'SIP;cause=200;text="a \\"b\\"", X;y',
    b"<sip:a@h>;q=0.7, <sip:b@h>;q=1",
]
FRAGMENTS = [b"SIP/2.0 200 OK\r\nContact: <sip:x@y>\r\n", b"SIP/2.0 100 Trying\r\n", b"\r\nsip/2.0 486"]


def header_target(data: bytes) -> None:
    """One value, read as each of the headers that a call may bring."""
    text = data.decode("utf-8", "surrogateescape").replace("\r", " ").replace("\n", " ")
    with contextlib.suppress(MalformedMessage):
        to = parse_refer_to(text)
        target = parse_uri(to.target)
        assert not target.headers and not (target.is_sip and "method" in target.parameters)
    with contextlib.suppress(MalformedMessage):
        replaces = parse_replaces(text)
        assert replaces.call_id and replaces.to_tag and replaces.from_tag
        assert parse_replaces(unescaped(escaped(text))) == replaces
    with contextlib.suppress(MalformedMessage):
        rseq, seq, method = parse_rack(text)
        assert 0 < rseq < 2**32 and seq >= 0 and method
    assert (parse_rseq(text) or 1) > 0
    with contextlib.suppress(MalformedMessage):
        seconds, who = parse_session_expires(text)
        assert seconds >= 0 and who in ("", "uac", "uas")
    with contextlib.suppress(MalformedMessage):
        assert parse_min_se(text) >= 90
    reasons = reasons_of(Response(200, "OK", [("Reason", text)]))
    assert all(0 <= reason.cause <= 999 for reason in reasons)
    for name, value in reason_fields([Reason("sip", 200, text)]):
        assert name == "Reason" and "\n" not in value
        (again,) = reasons_of(Response(200, "OK", [(name, value)]))
        assert again.cause == 200 and again.text == text.replace("\r", " ").replace("\n", " ")
    for uri in contacts_of(Response(302, "", [("Contact", text)])):
        parse_uri(uri)


def fragment_target(data: bytes) -> None:
    found = parse_sipfrag(data)
    assert found is None or 100 <= found[0] < 700


def test_any_header_of_a_call_is_taken_or_refused() -> None:
    hammer(header_target, HEADERS, seed=11, share=0.3)


def test_any_body_of_a_notify_is_taken_or_passed_over() -> None:
    hammer(fragment_target, FRAGMENTS, seed=12, share=0.3)


@given(st.binary(max_size=300))
def test_raw_bytes(data: bytes) -> None:
    header_target(data)
    fragment_target(data)


# ---- whole calls


def within(method: bytes, extra: bytes, body: bytes = b"") -> bytes:
    return (
        b"%s sip:1000@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bKNUMBER\r\nMax-Forwards: 70\r\n"
        b"From: <sip:peer@192.0.2.9>;tag=THEIRS\r\nTo: <sip:1000@192.0.2.1>;tag=OURS\r\nCall-ID: CALL\r\nCSeq: NUMBER %s\r\n"
        b"Contact: <sip:peer@192.0.2.9:5060>\r\nSupported: 100rel, timer\r\n%sContent-Length: %d\r\n\r\n%s"
    ) % (method, method, extra, len(body), body)


PLAIN = b"Content-Type: application/sdp\r\n"
REQUESTS = [
    within(b"REFER", b"Refer-To: " + HEADERS[0] + b"\r\nReferred-By: <sip:peer@192.0.2.9>\r\n"),
    within(b"NOTIFY", b"Event: refer\r\nSubscription-State: active;expires=60\r\nContent-Type: message/sipfrag\r\n", FRAGMENTS[1]),
    within(b"NOTIFY", b"Event: refer\r\nSubscription-State: terminated\r\nContent-Type: message/sipfrag\r\n", FRAGMENTS[0]),
    within(b"UPDATE", b"Session-Expires: 1800;refresher=uac\r\nMin-SE: 90\r\n"),
    within(b"UPDATE", PLAIN, SDP),
    within(b"INVITE", PLAIN + b"Session-Expires: 100\r\n", SDP),
    within(b"INVITE", b"Replaces: CALL;to-tag=OURS;from-tag=THEIRS\r\n"),
    within(b"PRACK", b"RAck: RSEQ 1 INVITE\r\n"),
    within(b"PRACK", b"RAck: RSEQ 1 INVITE\r\n" + PLAIN, SDP),
    within(b"INFO", b"Content-Type: application/dtmf-relay\r\n", b"Signal=1\r\n"),
    within(b"ACK", b"").replace(b"CSeq: NUMBER", b"CSeq: 1"),
    within(b"BYE", b'Reason: Q.850;cause=16;text="x"\r\n'),
    within(b"CANCEL", b"").replace(b"NUMBER", b"1").replace(b";tag=OURS", b""),
]


class Owner:
    """Does with each event what the dice say."""

    def __init__(self, endpoint: Endpoint, rng: random.Random) -> None:
        self.endpoint = endpoint
        self.rng = rng
        self.ended = 0
        self.sessions = 0
        self.sent: list[Request | Response] = []

    def settle(self, now: float) -> None:
        while True:
            for item in self.endpoint.outgoing():
                with contextlib.suppress(MalformedMessage):  # the answer to a broken request has its headers
                    self.sent.append(parse_message(item.data))
            events = self.endpoint.events()
            if not events:
                return
            for event in events:
                with contextlib.suppress(InvalidState):
                    self.react(event, now)

    def react(self, event: Event, now: float) -> None:
        rng = self.rng
        if isinstance(event, Ended):
            self.ended += 1
        elif isinstance(event, Incoming):
            self.sessions += 1
            event.session.ring(now, 183, SDP if rng.random() < 0.7 else None)
            if rng.random() < 0.7:
                event.session.accept(SDP, now)
        elif isinstance(event, Reoffered):
            if rng.random() < 0.7:
                event.session.answer_reoffer(SDP, now)
        elif isinstance(event, Referred):
            if rng.random() < 0.8:
                event.refer.accept(now)
                event.refer.notify(rng.choice((180, 200, 486)), "", now)
        elif isinstance(event, Accepted | ReofferAccepted):
            event.session.ack(SDP, now)


def call_target(data: bytes) -> None:
    """A call, incoming or ours, that gets this request in the midst of others: nothing is unanswered and nothing stays behind."""
    rng = random.Random(data)
    endpoint = Endpoint(EndpointConfig(session_expires=1800), rng.randbytes)
    owner = Owner(endpoint, rng)
    if rng.random() < 0.6:
        first = within(b"INVITE", PLAIN, SDP)
        for mark, value in ((b";tag=OURS", b""), (b"NUMBER", b"1"), (b"CALL", b"c1"), (b"THEIRS", b"t")):
            first = first.replace(mark, value)
        endpoint.receive(first, FLOW, 0.0)
    else:
        endpoint.invite("sip:z@192.0.2.9", local=FLOW, from_uri="sip:a@192.0.2.1", body=SDP, now=0.0)
        owner.sessions += 1
    (session,) = endpoint.sessions.values()
    owner.settle(0.0)
    rseq = next((answer.need("rseq") for answer in owner.sent if answer.get("rseq")), "1")
    if not session.incoming:
        invite = next(item for item in owner.sent if isinstance(item, Request))
        head = b"".join(b"%s: %s\r\n" % (name.encode(), invite.need(name.lower()).encode()) for name in ("Via", "From", "Call-ID", "CSeq"))
        status = rng.choice((b"183", b"200"))
        reliable = b"Require: 100rel\r\nRSeq: 7\r\n" if status == b"183" else b""
        answer = b"SIP/2.0 %s X\r\n%sTo: <sip:z@192.0.2.9>;tag=t\r\nContact: <sip:z@192.0.2.9>\r\n%s%sContent-Length: %d\r\n\r\n%s"
        endpoint.receive(answer % (status, head, reliable, PLAIN + b"Allow: UPDATE\r\n", len(SDP), SDP), FLOW, 0.1)
        owner.settle(0.1)
    for number, raw in enumerate([data, *rng.sample(REQUESTS, 4), data], 2):
        marks = {b"OURS": session.local_tag, b"THEIRS": "t", b"CALL": session.call_id, b"NUMBER": str(number), b"RSEQ": rseq}
        for mark, text in marks.items():
            raw = raw.replace(mark, text.encode())
        if rng.random() < 0.3 and session.state == "confirmed":
            with contextlib.suppress(InvalidState):
                rng.choice((lambda now: session.refer("sip:b@h", now), lambda now: session.reoffer(SDP, now)))(number)
            owner.settle(float(number))
        endpoint.receive(raw, FLOW, float(number))
        owner.settle(float(number))
    for other in list(endpoint.sessions.values()):
        other.hangup(10.0)
    owner.settle(10.0)
    while (deadline := endpoint.next_deadline()) is not None:
        endpoint.tick(deadline)
        owner.settle(deadline)
    assert owner.ended == owner.sessions and endpoint.idle and endpoint.pending == 0


def test_a_call_survives_whatever_comes_within_it() -> None:
    hammer(call_target, REQUESTS, seed=13, share=0.3)


@pytest.mark.parametrize("request_bytes", REQUESTS)
def test_each_request_unbroken(request_bytes: bytes) -> None:
    call_target(request_bytes)
