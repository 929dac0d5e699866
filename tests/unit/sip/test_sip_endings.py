"""What is told of the end of a call: redirections, Reason in both directions, late answers; and the trace of its messages."""

from __future__ import annotations

import pytest
from sip_rig import ANSWER, CONTACT, FLOW, OFFER, SDP, Rig, invite, request, response_to

from tapeline.sip import Ended, EndpointConfig, parse_message
from tapeline.sip.message import Response, contacts_of
from tapeline.sip.reasons import Reason, reason_fields, reasons_of
from tapeline.sip.trace import Trace


def end(rig: Rig) -> Ended:
    (event,) = rig.events
    assert isinstance(event, Ended)
    return event


# ---- 3xx


def test_a_redirection_names_where_to_call_instead() -> None:
    rig = Rig()
    _, sent = rig.call()
    rig.give(response_to(sent, 302, extra='Contact: <sip:b@h>, "x <sip:a@h>\r\n'))
    ended = end(rig)
    assert (ended.status, ended.cause) == (302, "failed")
    assert ended.contacts == ()  # a header that cannot be taken apart says nothing


def test_contacts_come_best_first_and_each_once() -> None:
    rig = Rig()
    _, sent = rig.call()
    contacts = "Contact: <sip:b@h>;q=0.1, sip:a@h;q=0.7\r\nm: <tel:+1555>;q=1, <http://x/>, <sip:a@h>;q=0.9\r\n"
    contacts += "Contact: <x>\r\nContact: <sip:c@h>;q=x\r\n"
    rig.give(response_to(sent, 302, extra=contacts))
    assert end(rig).contacts == ("tel:+1555", "sip:c@h", "sip:a@h", "sip:b@h")
    assert rig.methods == ["ACK"]


def test_a_redirection_is_bounded() -> None:
    rig = Rig()
    _, sent = rig.call()
    rig.give(response_to(sent, 300, extra="".join(f"Contact: <sip:{n}@h>\r\n" for n in range(100)) + "Contact: *\r\n"))
    assert len(end(rig).contacts) == 16
    assert contacts_of(Response(302, "", [("Contact", "*"), ("Contact", "<sip:x y@h>")])) == ()


def test_other_answers_have_no_contacts() -> None:
    rig = Rig()
    _, sent = rig.call()
    rig.give(response_to(sent, 486, extra=CONTACT))
    assert end(rig).contacts == ()


# ---- Reason


def test_the_reason_of_a_bye() -> None:
    rig = Rig()
    session = rig.established()
    rig.within(session, "BYE", 2, extra='Reason: SIP;cause=480;text="a \\"b\\""\r\nReason: q.850 ;cause=31\r\n')
    ended = end(rig)
    assert (ended.status, ended.cause, ended.text, ended.q850) == (200, "normal", 'a "b"', 31)


def test_the_reason_of_a_cancel() -> None:
    rig = Rig()
    rig.incoming()
    rig.give(request("CANCEL", branch="z9hG4bK-INVITE-1", extra='Reason: SIP;cause=200;text="Call completed elsewhere"\r\n'))
    ended = end(rig)
    assert (ended.status, ended.cause, ended.text) == (487, "cancel", "Call completed elsewhere")


def test_the_reason_of_a_refusal() -> None:
    rig = Rig()
    _, sent = rig.call()
    rig.give(response_to(sent, 404, extra='Reason: Q.850;cause=1;text="unallocated"\r\n'))
    ended = end(rig)
    assert (ended.status, ended.cause, ended.text, ended.q850) == (404, "failed", "Reason", 1)


def test_reasons_that_are_none_are_passed_over() -> None:
    message = Response(200, "", [("Reason", 'SIP;cause=99999, Q.850;cause=200, X;cause, ;cause=1, Y;=x'), ("Reason", "Z;text=hm")])
    assert reasons_of(message) == [Reason("sip", 0, ""), Reason("q.850", 0, ""), Reason("x", 0, ""), Reason("z", 0, "hm")]
    assert reasons_of(Response(200, "", [("Reason", 'a;text="')])) == []
    assert reasons_of(Response(200, "", [("Reason", 'a, "')])) == []
    assert reason_fields([Reason("sip", 0, "x"), Reason("q.850", 16, "")]) == [("Reason", "Q.850;cause=16")]


def test_what_we_tell_when_we_hang_up() -> None:
    rig = Rig()
    session = rig.established()
    session.hangup(0.0, 'no "media"', status=408, q850=127)
    rig.drain()
    assert rig.request.all("reason") == ['SIP;cause=408;text="no \\"media\\""', "Q.850;cause=127"]
    session, sent = rig.call()
    rig.give(response_to(sent, 180))
    session.hangup(0.0, "Call completed elsewhere", status=200)
    rig.drain()
    assert rig.request.method == "CANCEL" and rig.request.all("reason") == ['SIP;cause=200;text="Call completed elsewhere"']
    session = rig.incoming(call_id="c3", branch="z9hG4bKc3")
    session.hangup(0.0, q850=21)
    rig.drain()
    assert rig.response.status == 480 and rig.response.all("reason") == ["Q.850;cause=21"]


def test_a_cancel_that_must_wait_tells_its_reason_all_the_same() -> None:
    rig = Rig()
    session, sent = rig.call()
    session.hangup(0.0, "Call completed elsewhere")
    rig.drain()
    rig.give(response_to(sent, 180))
    assert rig.request.method == "CANCEL" and rig.request.get("reason") == 'SIP;cause=200;text="Call completed elsewhere"'


def test_a_bye_that_must_wait_tells_its_reason_all_the_same() -> None:
    rig = Rig()
    session = rig.incoming()
    session.accept(ANSWER, 0.0)
    session.hangup(0.0, "sorry")
    rig.drain()
    rig.give(request("ACK", to_tag=session.local_tag, branch="z9hG4bKa"))
    assert rig.request.method == "BYE" and rig.request.get("reason") == 'SIP;cause=200;text="sorry"'


# ---- forks and late answers


def test_a_2xx_after_the_invite_timed_out_is_acknowledged_and_ended() -> None:
    rig = Rig()
    _, sent = rig.call()
    rig.at(32.0)
    assert [event.cause for event in rig.events if isinstance(event, Ended)] == ["timeout"]
    rig.at(40.0)
    rig.give(response_to(sent, 200, extra=CONTACT + SDP, body=ANSWER))
    assert rig.methods == ["ACK", "BYE"] and rig.events == []
    rig.at(200.0)
    assert rig.endpoint.idle


def test_a_refusal_after_the_invite_timed_out_is_acknowledged() -> None:
    rig = Rig()
    _, sent = rig.call()
    rig.at(32.0)
    rig.give(response_to(sent, 486))
    assert rig.methods == ["ACK"] and rig.events == []


def test_a_2xx_long_after_a_cancel_is_acknowledged_and_ended() -> None:
    rig = Rig()
    session, sent = rig.call()
    rig.give(response_to(sent, 180))
    session.hangup(0.0)
    rig.drain()
    rig.give(response_to(rig.request, 200))
    rig.at(50.0)  # after 64*T1
    rig.give(response_to(sent, 200, extra=CONTACT + SDP, body=ANSWER))
    assert rig.methods == ["ACK", "BYE"]


def test_each_branch_has_its_own_early_media_and_the_losers_are_no_longer_of_the_call() -> None:
    rig = Rig()
    session, sent = rig.call()
    for tag, body in (("one", OFFER), ("two", ANSWER)):
        rig.give(response_to(sent, 183, tag=tag, extra=SDP, body=body))
        (event,) = rig.events
        assert (event.tag, event.body) == (tag, body)  # type: ignore[union-attr]  # a Progress
    rig.give(response_to(sent, 200, tag="two", extra=CONTACT + SDP, body=ANSWER))
    within = {"to_tag": session.local_tag, "call_id": session.call_id}
    assert rig.give(request("BYE", from_tag="one", **within)) == [481]
    assert rig.events == [] and session.state == "confirmed"
    assert rig.give(request("BYE", seq=2, from_tag="two", **within)) == [200]
    assert rig.names == ["Ended"]


# ---- trace


def test_a_trace_can_be_turned_on_for_one_call_from_then_on() -> None:
    rig = Rig()
    session = rig.incoming()
    assert session.trace is None and not session.keep_trace
    session.keep_trace = True
    session.keep_trace = True
    session.accept(ANSWER, 0.0)
    rig.drain()
    rig.give(request("ACK", to_tag=session.local_tag, branch="z9hG4bKa"))
    session.hangup(2.0)
    rig.drain()
    rig.give(response_to(rig.request, 200))
    assert session.trace is not None
    assert [(entry.way, entry.data.split(b"\r\n")[0].split(b" ")[0], entry.flow) for entry in session.trace] == [
        ("out", b"SIP/2.0", FLOW),
        ("in", b"ACK", FLOW),
        ("out", b"BYE", FLOW),
        ("in", b"SIP/2.0", FLOW),
    ]
    session.keep_trace = False
    assert session.trace is None


def test_a_trace_is_bounded_in_messages() -> None:
    rig = Rig(EndpointConfig(trace=True))
    session = rig.established()
    for seq in range(2, 402):
        rig.within(session, "OPTIONS", seq)
    assert session.trace is not None
    entries = list(session.trace)
    assert len(session.trace) == len(entries) == 256 and session.trace.dropped == 3 + 400 - 256
    assert entries[0].data.startswith(b"INVITE") and b"CSeq: 401 OPTIONS" in entries[-1].data


def test_a_trace_is_bounded_in_octets() -> None:
    trace = Trace()
    for number in range(40):
        trace.add(float(number), "in", b"x" * 60_000, FLOW)
    kept = list(trace)
    assert sum(len(entry.data) for entry in kept) <= 512 * 1024 and kept[0].at == 0.0 and kept[-1].at == 39.0
    assert trace.dropped == 40 - len(kept)


@pytest.mark.parametrize("value", ["0.5", "1.0", "0", "7", "", "nan", "-1", "1e3"])
def test_the_order_of_contacts_with_any_quality(value: str) -> None:
    message = parse_message(response_to(parse_message(invite()), 302, extra=f"Contact: <sip:a@h>;q={value or '.'}, <sip:b@h>;q=0.9\r\n"))  # type: ignore[arg-type]
    assert isinstance(message, Response)
    assert contacts_of(message)[0] == ("sip:b@h" if value in ("0.5", "0") else "sip:a@h")
