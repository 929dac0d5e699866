"""REFER in both directions, with the NOTIFY that follow it, and INVITE with Replaces."""

from __future__ import annotations

import pytest
from sip_rig import ANSWER, CONTACT, OFFER, SDP, Rig, invite, request, response_to

from tapeline.core.errors import InvalidState
from tapeline.sip import Ended, EndpointConfig, Incoming, MalformedMessage, MalformedUri, Refer, ReferProgress, Referred, Request, Session
from tapeline.sip.refer import parse_refer_to, parse_sipfrag
from tapeline.sip.replaces import escaped, parse_replaces, unescaped

TO_BOB = "Refer-To: <sip:bob@192.0.2.20>\r\n"
EVENT = "Event: refer\r\n"
FRAGMENT = "Content-Type: message/sipfrag\r\n"


def referred(rig: Rig, session: Session, extra: str = TO_BOB, seq: int = 2) -> Refer:
    assert rig.within(session, "REFER", seq, extra=extra) == []
    (event,) = rig.events
    assert isinstance(event, Referred) and event.session is session
    return event.refer


def told(rig: Rig) -> tuple[str, str, bytes]:
    """The one NOTIFY that was sent, answered: its event, the state of the subscription, and the body."""
    notify = rig.requests[-1]
    assert notify.method == "NOTIFY" and notify.content_type == "message/sipfrag"
    found = notify.need("event"), notify.need("subscription-state"), notify.body
    rig.give(response_to(notify, 200))
    return found


# ---- the peer's


def test_a_blind_transfer_from_refer_to_its_final_notify() -> None:
    rig = Rig()
    session = rig.established()
    refer = referred(rig, session, TO_BOB + "Referred-By: <sip:peer@192.0.2.9>;cid=1\r\n")
    assert (refer.target, refer.replaces, refer.referred_by) == ("sip:bob@192.0.2.20", None, "<sip:peer@192.0.2.9>;cid=1")
    refer.accept(1.0)
    rig.drain()
    assert rig.statuses == [202]
    (accepted,) = [item for item in rig.sent if not isinstance(item, Request)]
    assert accepted.contact is not None
    assert told(rig) == ("refer", "active;expires=300", b"SIP/2.0 100 Trying\r\n")
    refer.notify(180, "Ringing", 11.0)
    rig.drain()
    assert told(rig) == ("refer", "active;expires=290", b"SIP/2.0 180 Ringing\r\n")
    refer.notify(200, "", 12.0)
    rig.drain()
    assert told(rig) == ("refer", "terminated;reason=noresource", b"SIP/2.0 200 OK\r\n")
    refer.notify(200, "", 13.0)
    rig.drain()
    assert rig.raw == []
    rig.within(session, "BYE", 3)
    rig.at(400.0)
    assert rig.endpoint.idle


def test_an_attended_transfer_names_the_call_to_replace() -> None:
    rig = Rig()
    session = rig.established()
    refer = referred(rig, session, "Refer-To: <sip:bob@192.0.2.20;method=INVITE?Accept=a&REPLACES=c1%40h%3Bto-tag%3Dx%3Bfrom-tag%3Dy>\r\n")
    assert (refer.target, refer.replaces) == ("sip:bob@192.0.2.20", "c1@h;to-tag=x;from-tag=y")


def test_one_notify_at_a_time_and_between_them_the_newest() -> None:
    rig = Rig()
    refer = referred(rig, rig.established())
    refer.accept(0.0)
    refer.notify(180, "", 0.1)
    refer.notify(183, "", 0.2)
    refer.notify(486, "Busy Here", 0.3)
    refer.notify(200, "", 0.4)  # after the last word
    rig.drain()
    assert rig.methods == ["NOTIFY"]
    first = rig.request
    rig.give(response_to(first, 100, tag=""))
    assert rig.raw == []
    rig.give(response_to(first, 200))
    assert rig.request.body == b"SIP/2.0 486 Busy Here\r\n"


def test_the_second_refer_of_a_call_has_an_id() -> None:
    rig = Rig()
    session = rig.established()
    refer = referred(rig, session)
    assert rig.within(session, "REFER", 3, extra=TO_BOB) == [491]
    refer.reject(486, 0.0)
    rig.drain()
    assert rig.statuses == [486]
    refer = referred(rig, session, seq=4)
    refer.accept(0.0)
    rig.drain()
    assert told(rig)[0] == "refer;id=4"
    assert rig.within(session, "REFER", 5, extra=TO_BOB) == [491]


def test_a_refer_that_wants_no_notify_gets_none() -> None:
    rig = Rig()
    refer = referred(rig, rig.established(), TO_BOB + "Refer-Sub: false\r\nRequire: norefersub\r\n")
    refer.accept(0.0)
    refer.notify(200, "", 1.0)
    rig.drain()
    assert rig.statuses == [202] and rig.methods == [] and rig.response.get("refer-sub") == "false"
    assert refer.state == "over"


def test_a_refer_that_nobody_answers_is_declined() -> None:
    rig = Rig()
    refer = referred(rig, rig.established())
    rig.at(8.0)
    assert rig.statuses == [603]
    with pytest.raises(InvalidState):
        refer.accept(9.0)
    with pytest.raises(InvalidState):
        refer.reject(486, 9.0)
    refer.notify(200, "", 9.0)
    rig.drain()
    assert rig.raw == []


def test_the_end_of_the_call_refuses_what_waits_and_leaves_what_was_accepted() -> None:
    rig = Rig()
    session = rig.established()
    referred(rig, session)
    assert sorted(rig.within(session, "BYE", 3)) == [200, 487]
    session = rig.established(call_id="c2", branch="z9hG4bKc2")
    rig.give(request("REFER", seq=2, to_tag=session.local_tag, call_id="c2", branch="z9hG4bKr2", extra=TO_BOB))
    (event,) = rig.events
    refer = event.refer
    refer.accept(0.0)
    rig.drain()
    told(rig)
    rig.give(request("BYE", seq=3, to_tag=session.local_tag, call_id="c2", branch="z9hG4bKb2"))
    refer.notify(200, "", 1.0)
    rig.drain()
    assert told(rig)[1].startswith("terminated")
    rig.at(400.0)
    assert rig.endpoint.idle


def test_time_ends_the_subscription() -> None:
    rig = Rig(EndpointConfig(refer_expires=20))
    refer = referred(rig, rig.established())
    refer.accept(0.0)
    rig.drain()
    told(rig)
    rig.at(20.0)
    assert told(rig) == ("refer", "terminated;reason=timeout", b"SIP/2.0 408 Request Timeout\r\n")
    refer.notify(200, "", 21.0)
    rig.drain()
    assert rig.raw == []


def test_time_ends_a_subscription_whose_notify_is_under_way() -> None:
    rig = Rig(EndpointConfig(refer_expires=20))
    refer = referred(rig, rig.established())
    refer.accept(0.0)
    rig.drain()
    first = rig.request
    rig.at(20.0)
    rig.give(response_to(first, 200))
    assert rig.request.get("subscription-state") == "terminated;reason=timeout"


@pytest.mark.parametrize("status", [481, 405, None])
def test_a_peer_that_wants_no_notify_gets_no_other(status: int | None) -> None:
    rig = Rig()
    refer = referred(rig, rig.established())
    refer.accept(0.0)
    rig.drain()
    if status is None:
        rig.at(32.0)
    else:
        rig.give(response_to(rig.request, status))
    assert refer.state == "over" and not rig.events
    refer.notify(200, "", 33.0)
    rig.drain()
    assert rig.raw == []


@pytest.mark.parametrize(
    ("extra", "status"),
    [
        ("", 400),
        (TO_BOB + TO_BOB, 400),
        ("Refer-To: <sip:bob\r\n", 400),
        ("Refer-To: sip:bob@h?Replaces=x\r\n", 400),
        ("Refer-To: <sip:bob@h?Replaces=x>\r\n", 400),
        ("Refer-To: <sip:bob@h?Replaces=a%3Bto-tag%3D1%3Bfrom-tag%3D2&replaces=b>\r\n", 400),
        ("Refer-To: <http://example.com/>\r\n", 416),
        ("Refer-To: <sip:bob@h;method=BYE>\r\n", 403),
    ],
)
def test_a_refer_that_cannot_be_followed_is_refused(extra: str, status: int) -> None:
    rig = Rig()
    session = rig.established()
    assert rig.within(session, "REFER", 2, extra=extra) == [status]
    assert rig.events == []
    rig.within(session, "BYE", 3)
    rig.at(100.0)
    assert rig.endpoint.idle


def test_a_refer_before_the_answer_is_refused() -> None:
    rig = Rig()
    session = rig.incoming()
    session.ring(0.0)
    rig.drain()
    assert rig.within(session, "REFER", 2, extra=TO_BOB) == [491]


def test_what_may_not_be_said() -> None:
    rig = Rig()
    session = rig.established()
    refer = referred(rig, session)
    with pytest.raises(ValueError, match="status"):
        refer.reject(202, 0.0)
    with pytest.raises(ValueError, match="status"):
        refer.notify(99, "", 0.0)
    refer.accept(0.0)
    refer.notify(404, "No\r\nSuch  " + "x" * 200, 0.0)
    rig.drain()
    rig.give(response_to(rig.request, 200))
    assert rig.request.body == b"SIP/2.0 404 No Such " + b"x" * 120 + b"\r\n"


# ---- ours


def asked(rig: Rig, replaces: str | None = None) -> tuple[Session, Request]:
    session = rig.established()
    session.refer("sip:bob@192.0.2.20", 0.0, replaces)
    rig.drain()
    return session, rig.request


def test_our_refer_and_how_it_goes() -> None:
    rig = Rig()
    session, sent = asked(rig)
    assert sent.method == "REFER" and sent.get("refer-to") == "<sip:bob@192.0.2.20>" and sent.contact is not None
    assert sent.get("referred-by") == "<sip:1000@192.0.2.1>"
    rig.give(response_to(sent, 202))
    assert rig.events == [ReferProgress(session, 202, False)]
    notify = EVENT + "Subscription-State: active;expires=60\r\n" + FRAGMENT
    assert rig.within(session, "NOTIFY", 2, extra=notify, body=b"SIP/2.0 180 Ringing\r\n") == [200]
    assert rig.events == [ReferProgress(session, 180, False)]
    notify = "o: refer;id=1\r\nSubscription-State: terminated;reason=noresource\r\n" + FRAGMENT
    assert rig.within(session, "NOTIFY", 3, extra=notify, body=b"SIP/2.0 200 OK\r\n") == [200]
    assert rig.events == [ReferProgress(session, 200, True)]
    assert rig.within(session, "NOTIFY", 4, extra=notify, body=b"SIP/2.0 200 OK\r\n") == [481]
    assert rig.events == []
    session.refer("sip:carol@192.0.2.20", 0.0)  # and another


def test_our_refer_names_the_call_to_replace() -> None:
    rig = Rig()
    _, sent = asked(rig, "c 1@h;to-tag=x;from-tag=y".replace(" ", ""))
    assert sent.get("refer-to") == "<sip:bob@192.0.2.20?Replaces=c1%40h%3Bto-tag%3Dx%3Bfrom-tag%3Dy>"
    to = parse_refer_to(sent.need("refer-to"))
    assert to.replaces is not None and to.replaces.text == "c1@h;to-tag=x;from-tag=y"


def test_a_notify_that_overtakes_the_202_counts() -> None:
    rig = Rig()
    session, sent = asked(rig)
    notify = EVENT + "Subscription-State: terminated\r\n" + FRAGMENT
    assert rig.within(session, "NOTIFY", 2, extra=notify, body=b"SIP/2.0 486 Busy Here\r\n") == [200]
    assert rig.events == [ReferProgress(session, 486, True)]
    rig.give(response_to(sent, 202))
    assert rig.events == []


def test_a_refused_refer_is_final() -> None:
    rig = Rig()
    session, sent = asked(rig)
    rig.give(response_to(sent, 603))
    assert rig.events == [ReferProgress(session, 603, True)] and session.state == "confirmed"


def test_a_refer_that_is_never_answered_is_final() -> None:
    rig = Rig()
    session, _ = asked(rig)
    rig.at(32.0)
    assert rig.events == [ReferProgress(session, 408, True)] and session.state == "confirmed"


def test_a_refer_to_a_peer_that_lost_the_dialog_ends_the_call() -> None:
    rig = Rig()
    session, sent = asked(rig)
    rig.give(response_to(sent, 481))
    assert rig.events[0] == ReferProgress(session, 481, True) and isinstance(rig.events[1], Ended)


def test_a_peer_that_will_tell_nothing() -> None:
    rig = Rig()
    session, sent = asked(rig)
    rig.give(response_to(sent, 202, extra="Refer-Sub: false\r\n"))
    assert rig.events == [ReferProgress(session, 202, True)]


def test_a_peer_that_stops_telling() -> None:
    rig = Rig()
    session, sent = asked(rig)
    rig.give(response_to(sent, 202))
    notify = EVENT + "Subscription-State: active;expires=10\r\n" + FRAGMENT
    rig.within(session, "NOTIFY", 2, extra=notify, body=b"SIP/2.0 100 Trying\r\n")
    rig.at(41.0)
    assert rig.events == []
    rig.at(42.0)  # ten seconds and what a NOTIFY may take
    assert rig.events == [ReferProgress(session, 408, True)]


def test_a_subscription_that_ends_without_a_status() -> None:
    rig = Rig()
    session, _ = asked(rig)
    notify = EVENT + "Subscription-State: terminated;reason=timeout\r\n"
    assert rig.within(session, "NOTIFY", 2, extra=notify) == [200]
    assert rig.events == [ReferProgress(session, 408, True)]


@pytest.mark.parametrize(
    ("extra", "body", "status"),
    [
        (EVENT + FRAGMENT, b"SIP/2.0 100 Trying\r\n", 400),  # no Subscription-State
        (EVENT + "Subscription-State: active\r\n" + FRAGMENT, b"hello", 400),
        (EVENT + 'Subscription-State: active;"\r\n' + FRAGMENT, b"SIP/2.0 100 Trying\r\n", 400),
        ("Event: message-summary\r\nSubscription-State: active\r\n", b"", 489),
        ("Subscription-State: active\r\n", b"", 489),
    ],
)
def test_a_notify_that_is_none(extra: str, body: bytes, status: int) -> None:
    rig = Rig()
    session, _ = asked(rig)
    assert rig.within(session, "NOTIFY", 2, extra=extra, body=body) == [status]
    assert rig.events == []


def test_nothing_is_told_after_the_end() -> None:
    rig = Rig()
    session, sent = asked(rig)
    rig.within(session, "BYE", 2)
    assert rig.names == ["Ended"]
    rig.give(response_to(sent, 202))
    assert rig.events == []
    notify = EVENT + "Subscription-State: terminated\r\n" + FRAGMENT
    assert rig.within(session, "NOTIFY", 3, extra=notify, body=b"SIP/2.0 200 OK\r\n") == [481]
    rig.at(400.0)
    assert rig.events == [] and rig.endpoint.idle


def test_a_refer_that_does_not_fit() -> None:
    rig = Rig()
    session, _ = asked(rig)
    with pytest.raises(InvalidState):
        session.refer("sip:carol@192.0.2.20", 0.0)
    other = rig.incoming(call_id="c2", branch="z9hG4bKc2")
    with pytest.raises(InvalidState):
        other.refer("sip:carol@192.0.2.20", 0.0)
    rig = Rig()
    session = rig.established()
    with pytest.raises(MalformedUri):
        session.refer("bob", 0.0)
    with pytest.raises(MalformedMessage):
        session.refer("sip:bob@h", 0.0, "nothing")
    session.refer("sip:bob@h?Subject=x", 0.0, "c;to-tag=1;from-tag=2")
    rig.drain()
    assert rig.request.get("refer-to") == "<sip:bob@h?Subject=x&Replaces=c%3Bto-tag%3D1%3Bfrom-tag%3D2>"


# ---- Replaces


def test_an_invite_that_replaces_a_confirmed_call() -> None:
    rig = Rig()
    old = rig.established()
    value = f"Replaces: call-1;to-tag={old.local_tag};from-tag=theirs\r\nRequire: replaces\r\n"
    rig.give(invite(call_id="c2", branch="z9hG4bKc2", from_tag="new", extra=value))
    (event,) = rig.events
    assert isinstance(event, Incoming) and event.replaces is old and event.session is not old
    assert rig.endpoint.replaced(f"call-1;from-tag=theirs;to-tag={old.local_tag}") is old
    assert rig.endpoint.replaced("call-1;from-tag=theirs;to-tag=other") is None


def test_an_early_call_of_ours_may_be_replaced() -> None:
    rig = Rig()
    old, sent = rig.call()
    rig.give(response_to(sent, 180, tag="b"))
    value = f"Replaces: {old.call_id};to-tag={old.local_tag};from-tag=b;early-only\r\n"
    rig.give(invite(extra=value))
    (event,) = rig.events
    assert isinstance(event, Incoming) and event.replaces is old


def test_a_peer_without_tag_is_named_by_zero() -> None:
    rig = Rig()
    data = invite().replace(b";tag=theirs", b"")
    rig.give(data)
    (event,) = rig.events
    event.session.accept(ANSWER, 0.0)
    rig.drain()
    assert rig.endpoint.replaced(f"call-1;to-tag={event.session.local_tag};from-tag=0") is event.session


def test_what_may_not_be_replaced_is_refused() -> None:
    rig = Rig()
    ringing = rig.incoming()
    ringing.ring(0.0)
    rig.drain()

    def replacing(number: int, value: str) -> list[int]:
        return rig.give(invite(call_id=f"c{number}", branch=f"z9hG4bK{number}", extra=value))

    mine = f"Replaces: call-1;to-tag={ringing.local_tag};from-tag=theirs"
    assert replacing(2, mine + "\r\n") == [481]  # an early dialog that the peer made
    ringing.accept(ANSWER, 0.0)
    rig.drain()
    assert replacing(3, mine + ";early-only\r\n") == [486]
    assert replacing(4, mine.replace("theirs", "other") + "\r\n") == [481]
    assert replacing(5, "Replaces: call-1\r\n") == [400]
    assert replacing(6, f"{mine}\r\n{mine}\r\n") == [400]
    ringing.hangup(1.0)
    rig.drain()
    assert replacing(7, mine + "\r\n") == [603]
    assert rig.events == []


def test_we_replace_a_call_elsewhere() -> None:
    rig = Rig()
    session, sent = rig.call(headers=[("Replaces", "c1;to-tag=a;from-tag=b"), ("Require", "replaces")])
    assert sent.get("replaces") == "c1;to-tag=a;from-tag=b"
    rig.give(response_to(sent, 200, extra=CONTACT + SDP, body=OFFER))
    assert session.state == "confirmed"


# ---- parsers


def test_what_a_refer_to_may_look_like() -> None:
    assert parse_refer_to('"Bob" <sips:bob@h:5061;transport=tcp;method=invite>').target == "sips:bob@h:5061;transport=tcp"
    assert parse_refer_to("sip:bob@h").target == "sip:bob@h"
    bare = parse_refer_to("sip:bob@h;transport=tcp?Replaces=a%3Bto-tag%3D1%3Bfrom-tag%3D2")
    assert bare.target == "sip:bob@h;transport=tcp" and bare.replaces is not None and bare.replaces.to_tag == "1"
    assert parse_refer_to("<tel:+1555;phone-context=x>").target == "tel:+1555;phone-context=x"
    assert parse_refer_to("<sip:bob@h?Subject=x>").replaces is None


@pytest.mark.parametrize(
    "text",
    [
        *("", ";to-tag=1;from-tag=2", "c;to-tag=1", "c;from-tag=1", "c\r\nX;to-tag=1;from-tag=2", "c;to-tag=1;from-tag"),
        *("c;to-tag=1;from-tag=2\r\nEvil: x", "c;to-tag=1;from-tag=" + "x" * 2000),
    ],
)
def test_a_replaces_that_is_none(text: str) -> None:
    with pytest.raises(MalformedMessage):
        parse_replaces(text)


def test_escapes_go_there_and_back() -> None:
    text = "c1@h;to-tag=x;from-tag=\udcff\u00e9 %?&"
    assert unescaped(escaped(text)) == text
    assert all(char not in escaped(text) for char in " ;=@?&")


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b"SIP/2.0 200 OK\r\n", (200, "OK")),
        (b"SIP/2.0 200", (200, "")),
        (b"\r\nsip/2.0 486 Busy\nTo: x\n", (486, "Busy")),
        (b"SIP/2.0 700 X\r\n", None),
        (b"SIP/2.0 20", None),
        (b"", None),
    ],
)
def test_status_lines_of_fragments(body: bytes, found: tuple[int, str] | None) -> None:
    assert parse_sipfrag(body) == found
