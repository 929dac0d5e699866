"""UPDATE (RFC 3311) within a confirmed call, and how it meets re-INVITE; the other direction is in test_sip_reliable.py."""

from __future__ import annotations

import pytest
from sip_rig import ANSWER, CONTACT, OFFER, SDP, Rig, request, response_to

from tapeline.core.errors import InvalidState
from tapeline.sip import Ended, EndpointConfig, ReofferAccepted, Reoffered, ReofferRefused, Session

OTHER = OFFER + b"a=sendonly\r\n"


def update(rig: Rig, session: Session, seq: int, body: bytes = b"", **changes: object) -> list[int]:
    return rig.within(session, "UPDATE", seq, extra=SDP if body else "", body=body, **changes)


def test_an_update_with_an_offer_is_answered_in_its_200() -> None:
    rig = Rig()
    session = rig.established()
    assert update(rig, session, 2, OTHER, contact="<sip:moved@192.0.2.9:5099>") == []
    assert rig.events == [Reoffered(session, OTHER)]
    session.answer_reoffer(ANSWER, 0.0)
    rig.drain()
    answer = rig.response
    assert (answer.status, answer.body, answer.content_type) == (200, ANSWER, "application/sdp") and answer.contact is not None
    rig.at(40.0)
    assert rig.raw == []  # nothing waits for an ACK
    session.hangup(40.0)
    rig.drain()
    assert rig.request.uri_text == "sip:moved@192.0.2.9:5099"


def test_an_update_without_offer_moves_the_target() -> None:
    rig = Rig()
    session = rig.established()
    assert update(rig, session, 2, contact="<sip:moved@192.0.2.9:5099>") == [200]
    assert rig.events == [] and rig.response.contact is not None and session.dialog.target == "sip:moved@192.0.2.9:5099"


def test_an_update_that_we_refuse_leaves_the_call() -> None:
    rig = Rig()
    session = rig.established()
    update(rig, session, 2, OTHER)
    session.refuse_reoffer(488, 0.0)
    rig.drain()
    assert rig.statuses == [488] and session.state == "confirmed"
    assert update(rig, session, 3, OTHER) == []


def test_an_update_that_nobody_answers_gets_504() -> None:
    rig = Rig()
    session = rig.established()
    update(rig, session, 2, OTHER)
    rig.at(8.0)
    assert rig.statuses == [504]
    with pytest.raises(InvalidState):
        session.answer_reoffer(ANSWER, 8.0)


def test_an_update_after_the_end_gets_481_and_one_that_waits_487() -> None:
    rig = Rig()
    session = rig.established()
    update(rig, session, 2, OTHER)
    session.hangup(0.0)
    rig.drain()
    assert rig.statuses == [487] and rig.methods == ["BYE"]
    assert update(rig, session, 3, OTHER) == [481]


def test_an_update_while_the_peers_earlier_offer_waits_gets_500() -> None:
    rig = Rig()
    session = rig.established()
    update(rig, session, 2, OTHER)
    assert update(rig, session, 3, OTHER) == [500] and rig.response.get("retry-after") is not None
    assert rig.within(session, "INVITE", 4, extra=SDP, body=OFFER) == [500]
    assert update(rig, session, 5) == [200]
    session.answer_reoffer(ANSWER, 0.0)
    rig.drain()
    rig.within(session, "INVITE", 6, extra=SDP, body=OFFER)
    assert update(rig, session, 7, OTHER) == [500]


def test_an_update_that_meets_our_reinvite_gets_491() -> None:
    rig = Rig()
    session = rig.established()
    session.reoffer(OFFER, 0.0)
    rig.drain()
    ours = rig.request
    assert update(rig, session, 2, OTHER) == [491]
    assert update(rig, session, 3) == [200]
    rig.give(response_to(ours, 200, extra=CONTACT + SDP, body=ANSWER))
    assert update(rig, session, 4, OTHER) == []


def test_an_update_before_the_answer_to_our_offer_in_a_2xx_gets_491() -> None:
    rig = Rig()
    session = rig.established()
    rig.within(session, "INVITE", 2)
    session.answer_reoffer(OFFER, 0.0)
    rig.drain()
    assert update(rig, session, 3, OTHER) == [491]


def test_an_update_while_our_ack_with_the_answer_is_due_gets_500() -> None:
    rig = Rig()
    session, _ = rig.answered()
    session.reoffer(None, 0.0)
    rig.drain()
    rig.give(response_to(rig.request, 200, extra=CONTACT + SDP, body=OFFER))
    assert rig.events == [ReofferAccepted(session, OFFER)]
    within = {"to_tag": session.local_tag, "call_id": session.call_id}
    assert rig.give(request("UPDATE", seq=5, extra=SDP, body=OTHER, **within)) == [500]


def test_our_reinvite_waits_for_an_update_of_the_peers() -> None:
    rig = Rig()
    session = rig.established()
    session.reoffer(OFFER, 0.0)
    rig.drain()
    rig.give(response_to(rig.request, 491))
    update(rig, session, 2, OTHER)
    with pytest.raises(InvalidState):
        session.reoffer(OFFER, 0.0)
    rig.at(2.1)
    assert rig.events == [ReofferRefused(session, 491)]


def test_the_answer_to_an_update_that_came_too_late() -> None:
    rig = Rig(EndpointConfig(session_expires=100))
    session = rig.established(extra="Allow: UPDATE\r\n")
    rig.at(50.0)
    refresh = rig.request
    assert rig.within(session, "BYE", 2) == [200]
    rig.give(response_to(refresh, 200))
    assert rig.events == [] and rig.raw == []


def test_a_body_that_is_no_offer_is_refused_by_its_type() -> None:
    rig = Rig()
    session = rig.established()
    assert rig.within(session, "UPDATE", 2, extra="Content-Type: text/plain\r\n", body=b"x") == [415]
    optional = "Content-Type: text/plain\r\nContent-Disposition: x;handling=optional\r\n"
    assert rig.within(session, "UPDATE", 3, extra=optional, body=b"x") == [200]


def test_update_can_be_turned_off() -> None:
    allow = ("INVITE", "ACK", "CANCEL", "BYE", "OPTIONS")
    rig = Rig(EndpointConfig(allow=allow))
    session = rig.established()
    assert update(rig, session, 2) == [405] and rig.response.get("allow") == ", ".join(allow)
    assert rig.within(session, "PRACK", 3) == [405]


def test_a_bye_that_crosses_the_answer_to_an_update() -> None:
    rig = Rig()
    session = rig.established()
    update(rig, session, 2, OTHER)
    assert sorted(rig.within(session, "BYE", 3)) == [200, 487]
    assert [type(event) for event in rig.events] == [Ended]
    rig.at(100.0)
    assert rig.endpoint.idle
