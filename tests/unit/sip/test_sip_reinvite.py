"""Re-INVITE in both directions: hold, resume, another address, offers that meet, and answers that never come."""

from __future__ import annotations

import pytest
from sip_rig import ANSWER, CONTACT, OFFER, SDP, Rig, request, response_to

from tapeline.core.errors import InvalidState
from tapeline.sip import (
    Ended,
    EndpointConfig,
    ReofferAccepted,
    ReofferAcknowledged,
    Reoffered,
    ReofferRefused,
    SipTimers,
)

# ---- re-INVITE


def test_hold_and_resume_by_the_peer() -> None:
    rig = Rig()
    session = rig.established()
    held = OFFER + b"a=sendonly\r\n"
    assert rig.within(session, "INVITE", 2, extra=SDP, body=held, contact="<sip:moved@192.0.2.9:5099>") == []
    assert rig.events == [Reoffered(session, held)]
    session.answer_reoffer(ANSWER + b"a=recvonly\r\n", 1.0)
    rig.drain()
    assert rig.statuses == [200]
    rig.give(request("ACK", seq=2, to_tag=session.local_tag, branch="z9hG4bKa2"))
    assert rig.events == []
    session.hangup(2.0)
    rig.drain()
    assert rig.request.uri_text == "sip:moved@192.0.2.9:5099" and rig.flows[0].remote == ("192.0.2.9", 5099)


def test_a_reoffer_without_body_is_answered_in_its_ack() -> None:
    rig = Rig()
    session = rig.established()
    rig.within(session, "INVITE", 2)
    assert rig.events == [Reoffered(session, None)]
    session.answer_reoffer(ANSWER, 1.0)
    rig.drain()
    rig.give(request("ACK", seq=2, to_tag=session.local_tag, branch="z9hG4bKa2", extra=SDP, body=OFFER))
    assert rig.events == [ReofferAcknowledged(session, OFFER)]


def test_a_reoffer_that_we_refuse_leaves_the_call() -> None:
    rig = Rig()
    session = rig.established()
    rig.within(session, "INVITE", 2, extra=SDP, body=OFFER)
    session.refuse_reoffer(488, 1.0)
    rig.drain()
    assert rig.statuses == [488] and session.state == "confirmed"
    rig.give(request("ACK", seq=2, to_tag=session.local_tag, branch="z9hG4bK-INVITE-2"))
    assert rig.within(session, "INVITE", 3, extra=SDP, body=OFFER) == []
    assert rig.names == ["Reoffered"]


def test_a_second_reoffer_before_the_first_is_answered_gets_500() -> None:
    rig = Rig()
    session = rig.established()
    rig.within(session, "INVITE", 2, extra=SDP, body=OFFER)
    assert rig.within(session, "INVITE", 3, extra=SDP, body=OFFER) == [500]
    assert 0 <= int(rig.response.need("retry-after")) <= 10


def test_a_cancelled_reoffer_leaves_the_call() -> None:
    rig = Rig()
    session = rig.established()
    rig.within(session, "INVITE", 2, extra=SDP, body=OFFER)
    assert rig.give(request("CANCEL", seq=2, branch="z9hG4bK-INVITE-2", to_tag=session.local_tag)) == [200, 487]
    assert session.state == "confirmed" and rig.events == []
    with pytest.raises(InvalidState):
        session.answer_reoffer(ANSWER, 1.0)


def test_reoffers_that_meet_get_491_and_ours_is_tried_again() -> None:
    rig = Rig()
    session = rig.established()
    session.reoffer(OFFER, 1.0)
    rig.drain()
    ours = rig.request
    assert rig.within(session, "INVITE", 2, extra=SDP, body=OFFER) == [491]
    rig.give(response_to(ours, 491))
    assert rig.methods == ["ACK"] and rig.events == []
    with pytest.raises(InvalidState):
        session.reoffer(OFFER, 1.0)
    rig.at(3.0)  # a UAS waits up to 2 s
    again = rig.requests[0]
    assert again.method == "INVITE" and again.body == OFFER and again.cseq[0] == ours.cseq[0] + 1
    rig.give(response_to(again, 200, extra=CONTACT + SDP, body=ANSWER))
    assert rig.events == [ReofferAccepted(session, ANSWER)] and rig.methods == ["ACK"]


def test_a_reoffer_that_always_meets_another_is_refused_at_last() -> None:
    rig = Rig()
    session, _ = rig.answered()
    session.reoffer(OFFER, 0.0)
    rig.drain()
    for _ in range(4):
        rig.give(response_to(rig.requests[0], 491))
        assert rig.events == []
        rig.at(rig.now + 2.05)
        assert rig.raw == []  # who made the Call-ID waits from 2.1 s on
        rig.at(rig.now + 2.1)
        assert set(rig.methods) == {"INVITE"}
    rig.give(response_to(rig.requests[0], 491))
    assert rig.events == [ReofferRefused(session, 491)]


def test_our_reoffer_refused_leaves_the_call() -> None:
    rig = Rig()
    session = rig.established()
    session.reoffer(OFFER, 1.0)
    rig.drain()
    rig.give(response_to(rig.request, 488))
    assert rig.events == [ReofferRefused(session, 488)] and session.state == "confirmed"


@pytest.mark.parametrize("status", [481, 408])
def test_a_peer_that_has_lost_the_dialog_ends_it(status: int) -> None:
    rig = Rig()
    session = rig.established()
    session.reoffer(OFFER, 1.0)
    rig.drain()
    rig.give(response_to(rig.request, status))
    assert rig.methods == ["ACK", "BYE"]
    assert [(event.cause, event.status) for event in rig.events if isinstance(event, Ended)] == [("failed", status)]


def test_our_reoffer_without_answer_ends_the_call() -> None:
    rig = Rig()
    session = rig.established()
    session.reoffer(OFFER, 0.0)
    rig.drain()
    rig.at(32.0)
    assert rig.methods[-1] == "BYE"
    assert [event.cause for event in rig.events if isinstance(event, Ended)] == ["timeout"]
    rig.at(100.0)
    assert rig.endpoint.idle


def test_asking_the_peer_for_an_offer() -> None:
    rig = Rig()
    session = rig.established()
    session.reoffer(None, 0.0)
    rig.drain()
    rig.give(response_to(rig.request, 200, extra="Contact: <sip:new@192.0.2.9:5071>\r\n" + SDP, body=OFFER))
    assert rig.events == [ReofferAccepted(session, OFFER)] and rig.raw == []
    session.ack(ANSWER, 0.0)
    rig.drain()
    assert rig.request.body == ANSWER and rig.flows[0].remote == ("192.0.2.9", 5071)


def test_a_bye_that_crosses_our_reoffer() -> None:
    rig = Rig()
    session = rig.established()
    session.reoffer(OFFER, 0.0)
    rig.drain()
    ours = rig.request
    assert rig.within(session, "BYE", 2) == [200]
    assert rig.names == ["Ended"]
    rig.give(response_to(ours, 481))
    assert rig.methods == ["ACK"] and rig.events == []
    rig.at(100.0)
    assert rig.endpoint.idle


def test_a_bye_while_the_peers_reoffer_waits() -> None:
    rig = Rig()
    session = rig.established()
    rig.within(session, "INVITE", 2, extra=SDP, body=OFFER)
    session.hangup(0.0)
    rig.drain()
    assert rig.statuses == [487] and rig.methods == ["BYE"]


def test_a_reoffer_that_is_only_tried_is_given_up_with_the_call() -> None:
    rig = Rig(EndpointConfig(timers=SipTimers(ringing=60.0)))
    session = rig.established()
    session.reoffer(OFFER, 0.0)
    rig.drain()
    rig.give(response_to(rig.request, 100, tag=""))
    rig.at(60.0)
    assert rig.methods == ["CANCEL", "BYE"]
    assert [event.cause for event in rig.events if isinstance(event, Ended)] == ["noanswer"]
    rig.at(300.0)
    assert rig.endpoint.idle


def test_a_reoffer_that_is_only_tried_does_not_outlive_the_call() -> None:
    rig = Rig()
    session = rig.established()
    session.reoffer(OFFER, 0.0)
    rig.drain()
    rig.give(response_to(rig.request, 100, tag=""))
    rig.within(session, "BYE", 2)
    rig.at(100.0)
    assert rig.endpoint.idle
