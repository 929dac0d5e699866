"""Reliable provisional answers (RFC 3262) as caller and callee, early media, and offers before the call is answered."""

from __future__ import annotations

import pytest
from sip_rig import ANSWER, CONTACT, OFFER, SDP, Rig, invite, request, response_to

from tapeline.core.errors import InvalidState
from tapeline.sip import (
    Accepted,
    Ended,
    EndpointConfig,
    Established,
    MalformedMessage,
    Progress,
    ReofferAccepted,
    ReofferAcknowledged,
    Reoffered,
    ReofferRefused,
    Request,
    Session,
)
from tapeline.sip.reliable import parse_rack, parse_rseq

KNOWS = "Supported: 100rel\r\nAllow: INVITE, ACK, PRACK, UPDATE\r\n"
NEEDS = "Require: 100rel\r\nAllow: UPDATE\r\n"
OTHER = OFFER + b"a=sendonly\r\n"


def ringing(rig: Rig, extra: str = KNOWS, body: bytes | None = ANSWER, **changes: object) -> tuple[Session, int]:
    """A call that rings reliably; the RSeq of that."""
    session = rig.incoming(extra=extra, **changes)
    session.ring(0.0, 183, body)
    rig.drain()
    answer = rig.response
    assert answer.get("require") == "100rel" and answer.body == (body or b"")
    return session, int(answer.need("rseq"))


def prack(rig: Rig, session: Session, rseq: int, seq: int = 2, body: bytes = b"", rack: str = "") -> list[int]:
    extra = f"RAck: {rack or f'{rseq} 1 INVITE'}\r\n" + (SDP if body else "")
    return rig.within(session, "PRACK", seq, extra=extra, body=body)


# ---- as callee


def test_an_answer_in_a_reliable_183_is_repeated_until_its_prack() -> None:
    rig = Rig()
    session, rseq = ringing(rig)
    first = rig.raw
    rig.at(10.0)
    assert rig.raw == first * 4  # after 0.5, 1.5, 3.5 and 7.5 s
    assert prack(rig, session, rseq) == [200]
    rig.at(40.0)
    assert rig.raw == []
    session.accept(ANSWER, 40.0)
    rig.drain()
    assert rig.response.status == 200 and rig.response.body == b"" and session.state == "confirmed"
    rig.give(request("ACK", to_tag=session.local_tag, branch="z9hG4bKa"))
    assert rig.events == [Established(session, None)]


def test_a_2xx_waits_for_the_prack() -> None:
    rig = Rig()
    session, rseq = ringing(rig)
    session.accept(ANSWER, 0.0)
    rig.drain()
    assert rig.raw == [] and session.state == "early"
    with pytest.raises(InvalidState):
        session.accept(ANSWER, 0.0)
    with pytest.raises(InvalidState):
        session.ring(0.0)
    assert sorted(prack(rig, session, rseq)) == [200, 200]
    assert rig.sent[0].get("cseq") == "2 PRACK" and rig.sent[1].get("cseq") == "1 INVITE" and session.state == "confirmed"


def test_a_2xx_does_not_wait_where_nothing_was_offered() -> None:
    rig = Rig()
    session = rig.incoming(extra=NEEDS)
    session.ring(0.0)
    rig.drain()
    rseq = int(rig.response.need("rseq"))
    session.accept(ANSWER, 0.0)
    rig.drain()
    assert rig.statuses == [200] and rig.response.body == ANSWER
    rig.at(0.4)
    assert rig.raw == []
    assert prack(rig, session, rseq) == [200]  # the PRACK that crossed it


def test_provisional_answers_wait_for_each_other() -> None:
    rig = Rig()
    session = rig.incoming(extra=NEEDS)
    for status in (180, 181, 183):
        session.ring(0.0, status, ANSWER if status == 183 else None)
    session.accept(ANSWER, 0.0)
    rig.drain()
    assert rig.statuses == [180]
    rseq = int(rig.response.need("rseq"))
    assert prack(rig, session, rseq) == [200, 181]
    assert prack(rig, session, rseq, 3) == [481]
    assert prack(rig, session, rseq + 1, 4) == [200, 183]
    assert prack(rig, session, rseq + 2, 5) == [200, 200]


def test_too_many_provisional_answers_are_refused() -> None:
    rig = Rig()
    session = rig.incoming(extra=NEEDS)
    for _ in range(9):
        session.ring(0.0)
    with pytest.raises(InvalidState):
        session.ring(0.0)


def test_a_second_body_is_left_out() -> None:
    rig = Rig()
    session, rseq = ringing(rig)
    prack(rig, session, rseq)
    session.ring(0.0, 183, ANSWER, reliable=True)
    rig.drain()
    assert rig.response.body == b"" and int(rig.response.need("rseq")) == rseq + 1


def test_without_prack_the_call_fails() -> None:
    rig = Rig()
    session, _ = ringing(rig)
    rig.at(32.0)
    assert rig.statuses[-1] == 504
    assert rig.events == [Ended(session, "local", 504, "timeout", "no PRACK")]
    rig.give(request("ACK", to_tag=session.local_tag, branch="z9hG4bK-INVITE-1"))
    rig.at(100.0)
    assert rig.endpoint.idle and rig.endpoint.pending == 0


def test_a_cancel_while_the_prack_is_due() -> None:
    rig = Rig()
    session, rseq = ringing(rig)
    session.accept(ANSWER, 0.0)
    assert rig.give(request("CANCEL", branch="z9hG4bK-INVITE-1")) == [200, 487]
    assert prack(rig, session, rseq) == [481]
    assert rig.events == []


@pytest.mark.parametrize("rack", ["7 1 INVITE", "{} 2 INVITE", "{} 1 UPDATE"])
def test_a_prack_to_something_else(rack: str) -> None:
    rig = Rig()
    session, rseq = ringing(rig)
    assert prack(rig, session, rseq, rack=rack.format(rseq)) == [481]
    assert prack(rig, session, rseq, 3) == [200]


def test_a_prack_that_is_none() -> None:
    rig = Rig()
    session, rseq = ringing(rig)
    assert rig.within(session, "PRACK", 2) == [400]
    assert prack(rig, session, rseq, 3, rack="x 1 INVITE") == [400]
    assert rig.give(request("PRACK", extra="RAck: 1 1 INVITE\r\n")) == [481]
    other = rig.established(call_id="c2", branch="z9hG4bKc2")
    assert rig.give(request("PRACK", seq=2, to_tag=other.local_tag, call_id="c2", branch="z9hG4bKp", extra="RAck: 1 1 INVITE\r\n")) == [481]


def test_who_does_not_know_it_gets_none() -> None:
    rig = Rig()
    session = rig.incoming()
    session.ring(0.0, 183, ANSWER)
    rig.drain()
    assert rig.response.get("rseq") is None
    with pytest.raises(InvalidState):
        session.ring(0.0, 183, ANSWER, reliable=True)
    session.accept(ANSWER, 0.0)
    rig.drain()
    assert rig.response.body == ANSWER


def test_who_may_choose_chooses() -> None:
    rig = Rig()
    session = rig.incoming(extra=KNOWS)
    session.ring(0.0)
    session.ring(0.0, 183, ANSWER, reliable=False)
    rig.drain()
    assert all(item.get("rseq") is None for item in rig.sent)
    session.ring(0.0, 180, reliable=True)
    rig.drain()
    assert rig.response.get("rseq") is not None


def test_where_it_is_off_who_needs_it_is_refused() -> None:
    rig = Rig(EndpointConfig(supported=()))
    assert rig.give(invite(extra=NEEDS)) == [420]
    assert rig.response.get("unsupported") == "100rel"
    session = rig.incoming(call_id="c2", branch="z9hG4bKc2", extra=KNOWS)
    session.ring(0.0, 183, ANSWER)
    rig.drain()
    assert rig.response.get("rseq") is None and rig.response.get("supported") is None


def test_our_offer_in_a_provisional_answer() -> None:
    rig = Rig()
    rig.give(request("INVITE", extra=KNOWS))
    session = rig.events[0].session
    session.ring(0.0, 183, OFFER)
    rig.drain()
    rseq = int(rig.response.need("rseq"))
    assert prack(rig, session, rseq) == [400]  # an offer wants its answer
    assert prack(rig, session, rseq, 3, ANSWER) == [200]
    assert rig.events == [ReofferAcknowledged(session, ANSWER)]
    session.accept(OFFER, 0.0)
    rig.drain()
    assert rig.response.body == b""
    rig.give(request("ACK", to_tag=session.local_tag, branch="z9hG4bKa"))
    assert rig.events == [Established(session, None)]


def test_our_offer_must_not_get_lost() -> None:
    rig = Rig()
    rig.give(request("INVITE"))
    with pytest.raises(InvalidState):
        rig.events[0].session.ring(0.0, 183, OFFER)
    rig.events[0].session.ring(0.0, 180)


def test_an_offer_in_a_prack_is_answered_before_the_2xx() -> None:
    rig = Rig()
    session, rseq = ringing(rig)
    assert prack(rig, session, rseq, body=OTHER) == []
    assert rig.events == [Reoffered(session, OTHER)]
    session.accept(ANSWER, 0.0)
    rig.drain()
    assert rig.raw == []
    session.answer_reoffer(ANSWER, 0.0)
    rig.drain()
    assert rig.statuses == [200, 200] and rig.sent[0].body == ANSWER and rig.sent[1].body == b""


def test_an_offer_in_a_prack_that_we_refuse() -> None:
    rig = Rig()
    session, rseq = ringing(rig)
    prack(rig, session, rseq, body=OTHER)
    session.refuse_reoffer(488, 0.0)
    rig.drain()
    assert rig.statuses == [488]
    session.accept(ANSWER, 0.0)
    rig.drain()
    assert rig.statuses == [200]


# ---- UPDATE to a call that is not answered yet, as callee


def update(rig: Rig, session: Session, seq: int, body: bytes = b"", **changes: object) -> list[int]:
    return rig.within(session, "UPDATE", seq, extra=SDP if body else "", body=body, **changes)


def test_the_caller_changes_its_offer_before_we_answer() -> None:
    rig = Rig()
    session, rseq = ringing(rig)
    prack(rig, session, rseq)
    assert update(rig, session, 3, OTHER) == []
    assert rig.events == [Reoffered(session, OTHER)]
    assert update(rig, session, 4, OTHER) == [500]
    assert 0 <= int(rig.response.need("retry-after")) <= 10
    session.answer_reoffer(ANSWER, 0.0)
    rig.drain()
    assert rig.response.body == ANSWER and rig.response.contact is not None
    with pytest.raises(InvalidState):
        session.answer_reoffer(ANSWER, 0.0)


def test_the_caller_may_not_change_what_is_not_answered() -> None:
    rig = Rig()
    session = rig.incoming(extra=KNOWS)
    session.ring(0.0)
    rig.drain()
    assert update(rig, session, 2, OTHER) == [500]
    assert update(rig, session, 3) == [200]


def test_we_change_our_answer_before_we_accept() -> None:
    rig = Rig()
    session, rseq = ringing(rig)
    with pytest.raises(InvalidState):
        session.reoffer(OTHER, 0.0)  # not acknowledged yet
    prack(rig, session, rseq)
    with pytest.raises(InvalidState):
        session.reoffer(None, 0.0)
    session.reoffer(OTHER, 0.0)
    rig.drain()
    sent = rig.request
    assert sent.method == "UPDATE" and sent.body == OTHER and sent.contact is not None
    assert update(rig, session, 3, OFFER) == [491]
    with pytest.raises(InvalidState):
        session.reoffer(OTHER, 0.0)
    rig.give(response_to(sent, 200, extra=CONTACT + SDP, body=ANSWER))
    (event,) = rig.events
    assert event == ReofferAccepted(session, ANSWER) and isinstance(event, ReofferAccepted) and event.offer == OTHER


def test_a_caller_that_does_not_take_update_is_not_sent_one() -> None:
    rig = Rig()
    session, rseq = ringing(rig, "Supported: 100rel\r\n")
    prack(rig, session, rseq)
    with pytest.raises(InvalidState):
        session.reoffer(OTHER, 0.0)


# ---- as caller


def rung(rig: Rig, sent: Request, rseq: int, tag: str = "b", status: int = 183, body: bytes = ANSWER, **more: str) -> None:
    extra = f"{NEEDS}RSeq: {rseq}\r\n{CONTACT}" + (SDP if body else "") + "".join(f"{name}: {value}\r\n" for name, value in more.items())
    rig.give(response_to(sent, status, tag=tag, extra=extra, body=body))


def test_a_reliable_183_is_acknowledged_once_and_its_answer_holds() -> None:
    rig = Rig()
    session, sent = rig.call()
    assert "100rel" in sent.tokens("supported")
    rung(rig, sent, 17)
    first = rig.request
    assert first.method == "PRACK" and first.get("rack") == "17 1 INVITE" and first.cseq[0] == 2 and first.to.tag == "b"
    assert first.uri_text == "sip:peer@192.0.2.9:5060"
    assert rig.events == [Progress(session, 183, "Reason", ANSWER, "b")]
    rung(rig, sent, 17)
    assert rig.raw == [] and rig.events == []  # repeated
    rig.give(response_to(first, 200))
    rung(rig, sent, 19)
    assert rig.raw == [] and rig.events == []  # one before it is missing
    rung(rig, sent, 18, status=180, body=b"")
    assert rig.request.get("rack") == "18 1 INVITE" and rig.names == ["Progress"]
    rig.give(response_to(sent, 200, tag="b", extra=CONTACT + SDP, body=OTHER))
    assert rig.methods == ["ACK"]
    (event,) = rig.events
    assert isinstance(event, Accepted) and event.body == ANSWER
    session.hangup(0.0)
    rig.drain()
    assert rig.request.cseq[0] == 4  # after two PRACKs


def test_a_prack_goes_along_the_route_of_its_branch() -> None:
    rig = Rig()
    _, sent = rig.call()
    rung(rig, sent, 1, **{"Record-Route": "<sip:192.0.2.61;lr>, <sip:192.0.2.60;lr>"})
    assert rig.request.all("route") == ["<sip:192.0.2.60;lr>", "<sip:192.0.2.61;lr>"]
    assert rig.flows[0].remote == ("192.0.2.60", 5060)


def test_each_branch_of_a_fork_counts_by_itself() -> None:
    rig = Rig()
    session, sent = rig.call()
    rung(rig, sent, 5, "one")
    rung(rig, sent, 900, "two", body=OTHER)
    assert rig.request.get("rack") == "900 1 INVITE" and rig.request.to.tag == "two" and rig.request.cseq[0] == 2
    rung(rig, sent, 6, "one", body=b"")
    assert rig.request.to.tag == "one" and rig.request.cseq[0] == 3
    rig.give(response_to(sent, 200, tag="one", extra=CONTACT))
    (event,) = rig.events
    assert isinstance(event, Accepted) and event.body == ANSWER and session.remote_tag == "one"
    rig.give(response_to(sent, 200, tag="two", extra=CONTACT))
    ack, bye = rig.requests
    assert (ack.method, bye.method, bye.to.tag, bye.cseq[0]) == ("ACK", "BYE", "two", 3)


def test_no_more_than_sixteen_branches() -> None:
    rig = Rig()
    _, sent = rig.call()
    for number in range(20):
        rung(rig, sent, 1, f"t{number}")
    assert rig.raw == []


@pytest.mark.parametrize("rseq", ["x", "0", "99999999999"])
def test_a_number_that_is_none_makes_no_branch(rseq: str) -> None:
    rig = Rig()
    session, sent = rig.call()
    rig.give(response_to(sent, 183, extra=f"{NEEDS}RSeq: {rseq}\r\n" + SDP, body=ANSWER))
    assert rig.raw == [] and rig.events == [] and session.state == "early"


def test_a_number_without_its_option_is_not_acknowledged() -> None:
    rig = Rig()
    _, sent = rig.call()
    rig.give(response_to(sent, 183, extra="RSeq: 5\r\n" + SDP, body=ANSWER))
    assert rig.raw == [] and rig.names == ["Progress"]
    rig = Rig(EndpointConfig(supported=()))
    _, sent = rig.call()
    rung(rig, sent, 5)
    assert rig.raw == [] and rig.names == ["Progress"]


def test_an_offer_in_a_provisional_answer_is_answered_by_the_prack() -> None:
    rig = Rig()
    session, sent = rig.call(None)
    with pytest.raises(InvalidState):
        session.answer_early(ANSWER, 0.0)
    rung(rig, sent, 5, body=OFFER)
    assert rig.raw == [] and rig.events == [Progress(session, 183, "Reason", OFFER, "b", True)]
    session.answer_early(ANSWER, 0.0)
    rig.drain()
    assert rig.request.get("rack") == "5 1 INVITE" and rig.request.body == ANSWER and rig.request.content_type == "application/sdp"
    with pytest.raises(InvalidState):
        session.answer_early(ANSWER, 0.0)
    rig.give(response_to(sent, 200, tag="b", extra=CONTACT + SDP, body=OFFER))
    (event,) = rig.events
    assert isinstance(event, Accepted) and event.body is None and rig.methods == ["ACK"] and rig.request.body == b""


def test_an_offer_that_may_get_lost_is_none() -> None:
    rig = Rig()
    session, sent = rig.call(None)
    rig.give(response_to(sent, 183, extra=SDP, body=OFFER))
    assert rig.events == [Progress(session, 183, "Reason", None, "theirs")]


def test_the_callee_changes_its_answer_before_it_accepts() -> None:
    rig = Rig()
    session, sent = rig.call()
    within = {"to_tag": session.local_tag, "call_id": session.call_id, "from_tag": "b"}
    rig.give(response_to(sent, 180, tag="b", extra=CONTACT))
    assert rig.give(request("UPDATE", seq=10, extra=SDP, body=OTHER, **within)) == [491]  # our offer is not answered
    rung(rig, sent, 5)
    assert rig.give(request("UPDATE", seq=11, extra=SDP, body=OTHER, **within)) == []
    assert rig.events == [Reoffered(session, OTHER)]
    session.answer_reoffer(ANSWER, 0.0)
    rig.drain()
    assert rig.response.body == ANSWER
    assert rig.give(request("UPDATE", seq=9, **within)) == [500]  # out of order
    rig.give(response_to(sent, 200, tag="b", extra=CONTACT + SDP, body=ANSWER))
    (event,) = rig.events
    assert isinstance(event, Accepted) and event.body is None
    assert rig.give(request("INFO", seq=10, **within)) == [500]  # the numbers go on


def test_we_change_our_offer_before_the_callee_accepts() -> None:
    rig = Rig()
    session, sent = rig.call()
    with pytest.raises(InvalidState):
        session.reoffer(OTHER, 0.0)
    rung(rig, sent, 5)
    session.reoffer(OTHER, 0.0)
    rig.drain()
    update = rig.request
    assert update.method == "UPDATE" and update.to.tag == "b" and update.cseq[0] == 3
    rig.give(response_to(update, 200, extra=CONTACT + SDP, body=OFFER))
    assert rig.events == [ReofferAccepted(session, OFFER)]
    rig.give(response_to(sent, 200, tag="b", extra=CONTACT + SDP, body=ANSWER))
    (event,) = rig.events
    assert isinstance(event, Accepted) and event.body is None


def test_an_early_update_that_is_lost_gives_the_call_up() -> None:
    rig = Rig()
    session, sent = rig.call()
    rung(rig, sent, 5)
    session.reoffer(OTHER, 0.0)
    rig.drain()
    rig.give(response_to(rig.request, 481))
    assert rig.methods == ["CANCEL"]
    assert [(event.status, event.cause) for event in rig.events if isinstance(event, Ended)] == [(481, "failed")]


def test_an_early_update_that_is_refused_leaves_the_call() -> None:
    rig = Rig()
    session, sent = rig.call()
    rung(rig, sent, 5)
    session.reoffer(OTHER, 0.0)
    rig.drain()
    rig.give(response_to(rig.request, 488))
    assert rig.events == [ReofferRefused(session, 488)] and session.state == "early"


def test_a_callee_whose_early_update_gets_no_answer_gives_up() -> None:
    rig = Rig()
    session, rseq = ringing(rig)
    prack(rig, session, rseq)
    session.reoffer(OTHER, 0.0)
    rig.drain()
    rig.at(32.0)
    assert 480 in rig.statuses
    assert [(event.status, event.cause) for event in rig.events if isinstance(event, Ended)] == [(408, "timeout")]


# ---- parsers


@pytest.mark.parametrize(
    "text", ["", "1", "1 2", "1 2 INVITE x", "x 1 INVITE", "0 1 INVITE", "1 -1 INVITE", "1 99999999999 INVITE", "\u0663 1 X"]
)
def test_a_rack_that_is_none(text: str) -> None:
    with pytest.raises(MalformedMessage):
        parse_rack(text)


def test_numbers_of_reliable_answers() -> None:
    assert parse_rack(" 12  34\tINVITE ") == (12, 34, "INVITE")
    assert [parse_rseq(text) for text in (None, "", "0", "4294967296", "-1")] == [None] * 5
    assert [parse_rseq(text) for text in ("1", "4294967295")] == [1, 4294967295]
