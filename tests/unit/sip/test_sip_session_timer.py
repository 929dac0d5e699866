"""Session timers (RFC 4028): who refreshes, by what, what is too small, and the end of a call whose peer is silent."""

from __future__ import annotations

import pytest
from sip_rig import ANSWER, CONTACT, OFFER, SDP, Rig, invite, request, response_to

from tapeline.sip import Ended, EndpointConfig, MalformedMessage, ReofferAccepted, Request, Session
from tapeline.sip.session_timer import parse_min_se, parse_session_expires

ON = EndpointConfig(session_expires=1800)
KNOWS = "Supported: timer\r\n"
UPDATES = "Allow: INVITE, ACK, BYE, UPDATE\r\n"


def accepted(rig: Rig, extra: str = "") -> tuple[Session, str | None, str | None]:
    """A call to us, accepted; what the 2xx says in Session-Expires and Require."""
    session = rig.incoming(extra=extra)
    session.accept(ANSWER, rig.now)
    rig.drain()
    told = rig.response.get("session-expires"), rig.response.get("require")
    rig.give(request("ACK", to_tag=session.local_tag, branch="z9hG4bKa"))
    return session, *told


def called(rig: Rig, extra: str = "") -> tuple[Session, Request]:
    """A call of ours that was accepted, with these headers in the 2xx."""
    session, sent = rig.call()
    rig.give(response_to(sent, 200, extra=CONTACT + SDP + extra, body=ANSWER))
    return session, sent


# ---- off


def test_where_it_is_off_nothing_is_said() -> None:
    rig = Rig()
    assert accepted(rig, KNOWS + "Session-Expires: 100\r\n")[1:] == (None, None)
    session, sent = called(rig, "Session-Expires: 100;refresher=uac\r\n")
    assert sent.get("session-expires") is None and "timer" not in sent.tokens("supported")
    rig.at(1000.0)
    assert rig.raw == [] and session.state == "confirmed"
    assert rig.give(invite(call_id="c2", branch="z9hG4bKc2", extra="Require: timer\r\n")) == [420]


# ---- as callee


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (KNOWS, ("1800;refresher=uac", "timer")),
        (KNOWS + "Session-Expires: 600\r\n", ("600;refresher=uac", "timer")),
        (KNOWS + "x: 600 ; refresher=uas\r\n", ("600;refresher=uas", None)),
        (KNOWS + "Session-Expires: 600;refresher=UAC\r\n", ("600;refresher=uac", "timer")),
        (KNOWS + "Session-Expires: 7200\r\n", ("1800;refresher=uac", "timer")),
        (KNOWS + "Session-Expires: 7200\r\nMin-SE: 3600\r\n", ("3600;refresher=uac", "timer")),
        ("", ("1800;refresher=uas", None)),
        ("Session-Expires: 60\r\n", ("90;refresher=uas", None)),  # asked for by a proxy: the caller would not understand a 422
    ],
)
def test_what_we_agree_to(asked: str, told: tuple[str, str | None]) -> None:
    assert accepted(Rig(ON), asked)[1:] == told


def test_what_is_too_small_gets_422() -> None:
    rig = Rig(ON)
    assert rig.give(invite(extra=KNOWS + "Session-Expires: 60\r\n")) == [422]
    assert rig.response.get("min-se") == "90" and rig.events == []
    assert rig.give(invite(call_id="c2", branch="z9hG4bKc2", extra=KNOWS + "Session-Expires: 90\r\n")) == []


@pytest.mark.parametrize("extra", ["Session-Expires: x\r\n", "Session-Expires: 99999999999\r\n", "Session-Expires: 600\r\nMin-SE: y\r\n"])
def test_what_cannot_be_read_gets_400(extra: str) -> None:
    rig = Rig(ON)
    assert rig.give(invite(extra=KNOWS + extra)) == [400]
    session, *_ = accepted(rig)
    assert rig.within(session, "UPDATE", 2, extra=KNOWS + extra) == [400]
    assert rig.within(session, "INVITE", 3, extra=KNOWS + extra + SDP, body=OFFER) == [400]
    assert rig.within(session, "UPDATE", 4, extra=KNOWS + "Session-Expires: 89\r\n") == [422]


def test_a_caller_that_does_not_refresh_is_left() -> None:
    rig = Rig(ON)
    session, *_ = accepted(rig, KNOWS + "Session-Expires: 600\r\n")
    rig.at(567.9)
    assert rig.raw == []
    rig.at(568.0)
    assert rig.methods[0] == "BYE" and rig.request.get("reason") == 'SIP;cause=408;text="session expired"'
    assert rig.events == [Ended(session, "local", 408, "timeout", "session expired")]


def test_a_callers_refresh_moves_the_end() -> None:
    rig = Rig(ON)
    session, *_ = accepted(rig, KNOWS + "Session-Expires: 600\r\n")
    rig.at(300.0)
    assert rig.within(session, "UPDATE", 2, extra=KNOWS + "Session-Expires: 600;refresher=uac\r\n") == [200]
    assert rig.response.get("session-expires") == "600;refresher=uac"
    rig.at(860.0)
    assert rig.raw == []
    rig.within(session, "INVITE", 3, extra=KNOWS + "Session-Expires: 600;refresher=uac\r\n" + SDP, body=OFFER)
    session.answer_reoffer(ANSWER, 860.0)
    rig.drain()
    assert rig.response.get("session-expires") == "600;refresher=uac"
    rig.give(request("ACK", seq=3, to_tag=session.local_tag, branch="z9hG4bKa3"))
    rig.at(1427.0)
    assert rig.raw == []
    rig.at(1428.0)
    assert rig.methods[0] == "BYE"


def test_we_refresh_for_a_caller_that_cannot() -> None:
    rig = Rig(ON)
    session, *_ = accepted(rig, UPDATES)
    rig.at(900.0)
    refresh = rig.request
    assert refresh.method == "UPDATE" and refresh.body == b"" and refresh.get("session-expires") == "1800;refresher=uac"
    rig.give(response_to(refresh, 200, extra=CONTACT + "Session-Expires: 1800;refresher=uac\r\n"))
    assert rig.events == []
    rig.at(1799.0)
    assert rig.raw == []
    rig.at(1800.0)
    assert rig.methods == ["UPDATE"]
    session.hangup(1801.0)
    rig.drain()
    rig.give(response_to(rig.request, 200))
    rig.at(2000.0)
    assert rig.endpoint.idle


def test_a_caller_that_cannot_and_refuses_our_refresh_is_there_all_the_same() -> None:
    rig = Rig(ON)
    session, *_ = accepted(rig)
    for number in range(1, 5):
        rig.at(900.0 * number)
        refresh = rig.request
        assert refresh.method == "INVITE" and refresh.body == ANSWER
        rig.give(response_to(refresh, 488))
        assert rig.events == []
    rig.at(4500.0)
    assert rig.methods == ["INVITE"]
    rig.at(4532.0)  # and then not even that
    assert [event.cause for event in rig.events if isinstance(event, Ended)] == ["timeout"]
    assert session.state == "terminated"


# ---- as caller


def test_what_we_ask_for() -> None:
    rig = Rig(ON)
    _, sent = rig.call()
    assert sent.get("session-expires") == "1800" and sent.get("min-se") is None and "timer" in sent.tokens("supported")
    rig = Rig(EndpointConfig(session_expires=1800, min_se=120))
    _, sent = rig.call()
    assert sent.get("min-se") == "120"


def test_a_422_is_followed() -> None:
    rig = Rig(ON)
    session, sent = rig.call(headers=[("X-Thing", "1")])
    rig.give(response_to(sent, 422, extra="Min-SE: 3600\r\n"))
    ack, again = rig.requests
    assert ack.method == "ACK" and again.method == "INVITE" and again.cseq[0] == 2 and again.call_id == sent.call_id
    assert (again.get("session-expires"), again.get("min-se"), again.get("x-thing"), again.body) == ("3600", "3600", "1", OFFER)
    assert again.from_.tag == sent.from_.tag and rig.events == []
    rig.give(response_to(again, 422, extra="Min-SE: 7200\r\n"))
    third = rig.requests[1]
    rig.give(response_to(third, 422, extra="Min-SE: 9000\r\n"))
    assert rig.events == [Ended(session, "remote", 422, "failed", "Reason")]
    rig.at(100.0)
    assert rig.endpoint.idle


@pytest.mark.parametrize("extra", ["", "Min-SE: x\r\n", "Min-SE: 100000\r\n"])
def test_a_422_that_cannot_be_followed_ends_the_call(extra: str) -> None:
    rig = Rig(ON)
    _, sent = rig.call()
    rig.give(response_to(sent, 422, extra=extra))
    if extra:
        assert [event.status for event in rig.events if isinstance(event, Ended)] == [422]
    else:
        assert rig.events == [] and rig.requests[1].get("session-expires") == "1800"


def test_a_422_is_not_followed_where_it_is_off() -> None:
    rig = Rig()
    _, sent = rig.call()
    rig.give(response_to(sent, 422, extra="Min-SE: 3600\r\n"))
    assert rig.names == ["Ended"]


def test_we_refresh_by_a_reinvite_that_changes_nothing() -> None:
    rig = Rig(ON)
    session, _ = called(rig, "Session-Expires: 600;refresher=uac\r\nRequire: timer\r\n")
    rig.at(300.0)
    refresh = rig.request
    assert refresh.method == "INVITE" and refresh.body == OFFER and refresh.get("session-expires") == "600;refresher=uac"
    rig.give(response_to(refresh, 200, extra=CONTACT + SDP + "Session-Expires: 600;refresher=uac\r\n", body=ANSWER))
    assert rig.methods == ["ACK"] and rig.events == []
    rig.at(600.0)
    again = rig.request
    changed = ANSWER + b"a=sendonly\r\n"
    rig.give(response_to(again, 200, extra=CONTACT + SDP + "Session-Expires: 600\r\n", body=changed))
    (event,) = rig.events
    assert isinstance(event, ReofferAccepted) and (event.body, event.offer) == (changed, OFFER)
    rig.at(900.0)
    assert rig.methods == ["INVITE"]
    assert session.state == "confirmed"


def test_a_refresh_repeats_what_was_agreed_on_last() -> None:
    rig = Rig(ON)
    session, _ = called(rig, "Session-Expires: 600;refresher=uac\r\n")
    held = OFFER + b"a=sendonly\r\n"
    session.reoffer(held, 1.0)
    rig.drain()
    assert rig.request.get("session-expires") == "600;refresher=uac"
    rig.give(response_to(rig.request, 200, extra=CONTACT + SDP + "Session-Expires: 600;refresher=uac\r\n", body=ANSWER))
    session.reoffer(OFFER, 2.0)
    rig.drain()
    rig.give(response_to(rig.request, 488))
    rig.at(300.0)
    assert rig.request.body == held


def test_a_callee_that_does_not_refresh_is_left() -> None:
    rig = Rig(ON)
    session, _ = called(rig, "Session-Expires: 90;refresher=uas\r\n")
    session.info("a/b", b"", 1.0)
    rig.drain()
    rig.give(response_to(rig.request, 200))
    rig.at(60.0)
    assert rig.methods == ["BYE"] and [event.text for event in rig.events if isinstance(event, Ended)] == ["session expired"]


@pytest.mark.parametrize("extra", ["", "Session-Expires: x\r\n", "Session-Expires: 0\r\n"])
def test_a_2xx_that_names_no_interval_ends_nothing(extra: str) -> None:
    rig = Rig(ON)
    session, _ = called(rig, extra)
    rig.at(5000.0)
    assert rig.raw == [] and session.state == "confirmed"


def test_an_interval_without_measure_is_bounded() -> None:
    rig = Rig(ON)
    called(rig, "Session-Expires: 1;refresher=uac\r\n")
    rig.at(44.9)
    assert rig.raw == []
    rig.at(45.0)
    assert rig.methods == ["INVITE"]


def test_a_peer_that_does_not_take_update_after_all_gets_a_reinvite() -> None:
    rig = Rig(ON)
    called(rig, "Session-Expires: 600\r\n" + UPDATES)
    rig.at(300.0)
    assert rig.methods == ["UPDATE"]
    rig.give(response_to(rig.request, 405))
    assert rig.methods == ["INVITE"] and rig.request.body == OFFER and rig.events == []


def test_a_refresh_that_is_refused_is_tried_again_until_the_end() -> None:
    rig = Rig(ON)
    session, _ = called(rig, "Session-Expires: 600\r\n" + UPDATES)
    rig.at(300.0)
    tried = 0
    while session.state == "confirmed":
        assert rig.methods == ["UPDATE"] and rig.events == []
        tried += 1
        rig.give(response_to(rig.request, 500))
        rig.at(rig.endpoint.next_deadline() or 0.0)
        while session.state == "confirmed" and not rig.raw:
            rig.at(rig.endpoint.next_deadline() or 0.0)
    assert 3 < tried < 100 and 560 < rig.now < 570
    assert [event.text for event in rig.events if isinstance(event, Ended)] == ["session expired"]


def test_a_refresh_with_422_is_sent_again() -> None:
    rig = Rig(ON)
    called(rig, "Session-Expires: 600;refresher=uac\r\n" + UPDATES)
    rig.at(300.0)
    rig.give(response_to(rig.request, 422, extra="Min-SE: 900\r\n"))
    assert rig.request.method == "UPDATE" and rig.request.get("session-expires") == "900;refresher=uac"


@pytest.mark.parametrize("status", [408, 481])
def test_a_refresh_that_finds_no_dialog_ends_the_call(status: int) -> None:
    rig = Rig(ON)
    called(rig, "Session-Expires: 600\r\n" + UPDATES)
    rig.at(300.0)
    rig.give(response_to(rig.request, status))
    assert rig.methods == ["BYE"] and [event.status for event in rig.events if isinstance(event, Ended)] == [status]


def test_a_refresh_that_is_never_answered_ends_the_call() -> None:
    rig = Rig(ON)
    called(rig, "Session-Expires: 600\r\n" + UPDATES)
    rig.at(332.0)
    assert [event.cause for event in rig.events if isinstance(event, Ended)] == ["timeout"]


def test_a_refresh_waits_while_an_offer_is_under_way() -> None:
    rig = Rig(ON)
    session, _ = called(rig, "Session-Expires: 600\r\n")
    rig.at(299.0)
    session.reoffer(OFFER, 299.0)
    rig.drain()
    ours = rig.request
    rig.give(response_to(ours, 100, tag=""))
    rig.at(301.0)
    assert rig.raw == []
    rig.give(response_to(ours, 488))
    assert rig.names == ["ReofferRefused"]
    rig.at(400.0)
    assert "INVITE" in rig.methods


def test_a_refresh_that_meets_the_peers_offer_is_put_off_quietly() -> None:
    rig = Rig(ON)
    session, _ = called(rig, "Session-Expires: 600\r\n")
    rig.at(300.0)
    rig.give(response_to(rig.request, 491))
    rig.give(request("INVITE", seq=5, to_tag=session.local_tag, call_id=session.call_id, extra=SDP, body=OFFER))
    assert rig.names == ["Reoffered"]
    rig.at(310.0)
    assert rig.events == [] and "INVITE" not in rig.methods
    session.refuse_reoffer(488, 310.0)
    rig.drain()
    rig.give(request("ACK", seq=5, to_tag=session.local_tag, call_id=session.call_id, branch="z9hG4bK-INVITE-5"))
    rig.at(400.0)
    assert "INVITE" in rig.methods


# ---- parsers


def test_intervals() -> None:
    assert parse_session_expires("1800") == (1800, "")
    assert parse_session_expires(" 90 ;x=y; Refresher = UAS") == (90, "uas")
    assert parse_session_expires("90;refresher=me") == (90, "")
    assert parse_min_se(None) == 90 and parse_min_se("30") == 90 and parse_min_se("120;x") == 120


@pytest.mark.parametrize("text", ["", "x", "-1", "1.5", "12345678901", "90;;", "\u0663"])
def test_intervals_that_are_none(text: str) -> None:
    with pytest.raises(MalformedMessage):
        parse_session_expires(text)
