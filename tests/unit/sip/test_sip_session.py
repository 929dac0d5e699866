"""Sessions as their owner sees them: commands, events, and the one Ended; the other side is written by hand."""

from __future__ import annotations

import pytest
from sip_rig import ANSWER, CONTACT, FLOW, OFFER, PEER, SDP, US, Rig, invite, request, response_to

from tapeline.core.errors import InvalidState
from tapeline.sip import (
    Accepted,
    Ended,
    Endpoint,
    EndpointConfig,
    Established,
    Flow,
    Incoming,
    InfoReceived,
    MalformedUri,
    NotDrained,
    Progress,
    SipTimers,
)

# ---- incoming calls


def test_an_incoming_call_from_invite_to_bye() -> None:
    rig = Rig()
    rig.give(invite(extra='X-Tenant: "a"\r\n'))
    (event,) = rig.events
    assert isinstance(event, Incoming) and event.body == OFFER
    session = event.session
    assert (session.incoming, session.state, session.call_id) == (True, "proceeding", "call-1")
    assert (session.remote_uri, session.local_uri, session.request_uri) == (
        "sip:peer@192.0.2.9",
        "sip:1000@192.0.2.1",
        "sip:1000@192.0.2.1",
    )
    assert session.request.get("x-tenant") == '"a"'
    session.ring(0.0, 183, ANSWER, [("X-Early", "yes")])
    rig.drain()
    assert session.state == "early"
    assert rig.response.body == ANSWER and rig.response.get("x-early") == "yes" and rig.response.to.tag == session.local_tag
    session.accept(ANSWER, 1.0, [("X-Late", "yes")])
    rig.drain()
    assert rig.response.get("content-type") == "application/sdp" and rig.response.get("x-late") == "yes"
    assert rig.response.contact is not None and rig.response.contact.uri_text == "sip:192.0.2.1:5060"
    rig.give(request("ACK", to_tag=session.local_tag, branch="z9hG4bKa"))
    assert rig.events == [Established(session, None)]
    rig.within(session, "BYE", 2, extra='Reason: Q.850;cause=16;text="done"\r\n')
    (ended,) = rig.events
    assert isinstance(ended, Ended)
    assert (ended.by, ended.status, ended.cause, ended.text, ended.q850) == ("remote", 200, "normal", "done", 16)
    assert session.state == "terminated" and not rig.endpoint.sessions
    rig.at(100.0)
    assert rig.endpoint.idle


def test_a_delayed_offer_is_answered_in_the_ack() -> None:
    rig = Rig()
    rig.give(request("INVITE"))
    (event,) = rig.events
    assert isinstance(event, Incoming) and event.body is None
    event.session.accept(ANSWER, 0.0)
    rig.drain()
    rig.give(request("ACK", to_tag=event.session.local_tag, branch="z9hG4bKa", extra=SDP, body=OFFER))
    assert rig.events == [Established(event.session, OFFER)]


def test_the_offer_is_found_in_a_multipart_body() -> None:
    rig = Rig()
    body = (
        b"--b\r\nContent-Type: application/rs-metadata+xml\r\n\r\n<x/>\r\n--b\r\nContent-Type: application/sdp\r\n\r\n"
        + OFFER
        + b"\r\n--b--\r\n"
    )
    rig.give(request("INVITE", extra='Content-Type: multipart/mixed; boundary="b"\r\n', body=body))
    (event,) = rig.events
    assert isinstance(event, Incoming) and event.body == OFFER


def test_the_ack_with_the_branch_of_the_invite_counts_as_well() -> None:
    rig = Rig()
    session = rig.incoming()
    session.accept(ANSWER, 0.0)
    rig.drain()
    rig.give(request("ACK", to_tag=session.local_tag, branch="z9hG4bK-INVITE-1"))
    assert rig.names == ["Established"]
    rig.give(request("ACK", to_tag=session.local_tag, branch="z9hG4bK-INVITE-1"))
    assert rig.events == []


def test_cancel_while_ringing() -> None:
    rig = Rig()
    session = rig.incoming()
    session.ring(0.0)
    rig.drain()
    assert rig.give(request("CANCEL", branch="z9hG4bK-INVITE-1")) == [200, 487]
    (event,) = rig.events
    assert isinstance(event, Ended) and (event.by, event.status, event.cause) == ("remote", 487, "cancel")
    with pytest.raises(InvalidState):
        session.accept(ANSWER, 0.0)
    session.hangup(0.0)
    rig.drain()
    assert rig.raw == [] and rig.events == []


def test_cancel_after_the_answer_changes_nothing() -> None:
    rig = Rig()
    session = rig.incoming()
    session.accept(ANSWER, 0.0)
    rig.drain()
    assert rig.give(request("CANCEL", branch="z9hG4bK-INVITE-1")) == [200]
    assert session.state == "confirmed" and rig.events == []


def test_bye_before_the_answer_ends_the_invite_too() -> None:
    rig = Rig()
    session = rig.incoming()
    session.ring(0.0)
    rig.drain()
    assert rig.within(session, "BYE", 2) == [200, 487]
    assert [event.cause for event in rig.events if isinstance(event, Ended)] == ["normal"]


def test_a_callee_that_never_acks_is_ended_with_bye_after_64_t1() -> None:
    rig = Rig()
    session = rig.incoming()
    session.accept(ANSWER, 0.0)
    rig.drain()
    rig.at(31.99)
    assert rig.statuses == [200] * 10 and rig.events == []
    rig.at(32.0)
    assert rig.methods == ["BYE"]
    (event,) = rig.events
    assert isinstance(event, Ended) and (event.by, event.status, event.cause) == ("local", 408, "timeout")
    rig.at(200.0)
    assert rig.endpoint.idle


def test_a_hangup_before_the_ack_waits_with_its_bye() -> None:
    rig = Rig()
    session = rig.incoming()
    session.accept(ANSWER, 0.0)
    session.hangup(0.0)
    rig.drain()
    assert rig.methods == [] and rig.names == ["Ended"]
    rig.give(request("ACK", to_tag=session.local_tag, branch="z9hG4bKa"))
    assert rig.methods == ["BYE"] and rig.events == []
    rig.give(response_to(rig.request, 200))
    rig.at(100.0)
    assert rig.endpoint.idle


def test_a_hangup_without_any_ack_says_bye_in_the_end() -> None:
    rig = Rig()
    session = rig.incoming()
    session.accept(ANSWER, 0.0)
    session.hangup(0.0)
    rig.drain()
    rig.at(32.0)
    assert rig.methods == ["BYE"]
    rig.at(200.0)
    assert rig.endpoint.idle


def test_byes_that_cross_are_both_answered_and_end_once() -> None:
    rig = Rig()
    session = rig.established()
    session.hangup(0.0)
    rig.drain()
    ours = rig.request
    assert rig.names == ["Ended"]
    assert rig.within(session, "BYE", 2) == [200]
    assert rig.events == []
    rig.give(response_to(ours, 200))
    rig.at(100.0)
    assert rig.endpoint.idle


@pytest.mark.parametrize(
    ("status", "cause"), [(486, "busy"), (600, "busy"), (480, "noanswer"), (603, "rejected"), (404, "rejected"), (302, "rejected")]
)
def test_a_call_that_we_reject(status: int, cause: str) -> None:
    rig = Rig()
    session = rig.incoming()
    session.reject(status, 0.0, "not now", [("Contact", "<sip:elsewhere@192.0.2.3>")])
    rig.drain()
    assert rig.statuses == [status] and rig.response.reason == "not now"
    (event,) = rig.events
    assert isinstance(event, Ended) and (event.by, event.status, event.cause, event.text) == ("local", status, cause, "not now")


def test_a_hangup_while_ringing_refuses() -> None:
    rig = Rig()
    session = rig.incoming()
    session.hangup(0.0)
    rig.drain()
    assert rig.statuses == [480] and rig.names == ["Ended"]
    assert rig.endpoint.pending == 0


def test_record_route_comes_back_and_is_followed() -> None:
    rig = Rig()
    session = rig.incoming(extra="Record-Route: <sip:192.0.2.50;lr>\r\nRecord-Route: <sip:192.0.2.51:5080;lr>, <sip:192.0.2.52;lr>\r\n")
    session.accept(ANSWER, 0.0)
    rig.drain()
    assert rig.response.items("record-route") == ["<sip:192.0.2.50;lr>", "<sip:192.0.2.51:5080;lr>", "<sip:192.0.2.52;lr>"]
    rig.give(request("ACK", to_tag=session.local_tag, branch="z9hG4bKa"))
    session.hangup(0.0)
    rig.drain()
    assert rig.request.items("route") == ["<sip:192.0.2.50;lr>", "<sip:192.0.2.51:5080;lr>", "<sip:192.0.2.52;lr>"]
    assert rig.request.uri_text == "sip:peer@192.0.2.9:5060"
    assert rig.flows[0].remote == ("192.0.2.50", 5060)


def test_a_strict_router_becomes_the_request_uri() -> None:
    rig = Rig()
    session = rig.established(extra="Record-Route: <sip:192.0.2.50:5070>, <sip:192.0.2.51;lr>\r\n")
    session.hangup(0.0)
    rig.drain()
    assert rig.request.uri_text == "sip:192.0.2.50:5070"
    assert rig.request.all("route") == ["<sip:192.0.2.51;lr>", "<sip:peer@192.0.2.9:5060>"]
    assert rig.flows[0].remote == ("192.0.2.50", 5070)


def test_a_peer_behind_a_nat_is_reached_through_its_hole() -> None:
    rig = Rig()
    nat = Flow("udp", US, ("203.0.113.5", 40000))
    rig.give(invite(via="SIP/2.0/UDP 10.0.0.5:5060;branch=z9hG4bKn", contact="<sip:peer@10.0.0.5:5060>"), nat)
    session = rig.events[0].session
    session.accept(ANSWER, 0.0)
    rig.drain()
    assert rig.flows == [nat]
    moved = nat._replace(remote=("203.0.113.5", 40001))
    rig.give(request("ACK", to_tag=session.local_tag, via="SIP/2.0/UDP 10.0.0.5:5060;branch=z9hG4bKa"), moved)
    session.hangup(0.0)
    rig.drain()
    assert rig.flows == [moved]


def test_a_contact_that_is_a_name_is_reached_the_way_it_came() -> None:
    rig = Rig()
    session = rig.established(contact="<sip:peer@phone.example.com>")
    session.hangup(0.0)
    rig.drain()
    assert rig.flows == [FLOW] and rig.request.uri_text == "sip:peer@phone.example.com"


# ---- outgoing calls


def test_an_outgoing_call_from_invite_to_bye() -> None:
    rig = Rig()
    session, sent = rig.call(from_name='A "B" C', headers=[("X-Thing", "1")])
    assert sent.from_.name == 'A "B" C' and sent.get("x-thing") == "1" and sent.body == OFFER
    assert sent.via.parameters["rport"] is None and sent.contact is not None
    assert (session.incoming, session.state, session.remote_uri) == (False, "calling", "sip:bob@192.0.2.9")
    rig.give(response_to(sent, 100, tag=""))
    assert session.state == "proceeding" and rig.events == []
    rig.give(response_to(sent, 183, extra=SDP, body=ANSWER, reason="Session Progress"))
    assert rig.events == [Progress(session, 183, "Session Progress", ANSWER, "theirs")]
    assert session.state == "early"
    rig.give(response_to(sent, 200, extra=CONTACT + SDP, body=ANSWER))
    (event,) = rig.events
    assert isinstance(event, Accepted) and event.body == ANSWER and event.response.status == 200
    assert rig.request.method == "ACK" and session.remote_tag == "theirs"
    session.hangup(1.0, 'she said "bye"\r\nX: y')
    rig.drain()
    assert rig.request.method == "BYE" and rig.request.cseq == (2, "BYE")
    assert rig.request.get("reason") == 'SIP;cause=200;text="she said \\"bye\\"  X: y"'
    assert [event.cause for event in rig.events if isinstance(event, Ended)] == ["normal"]
    rig.give(response_to(rig.request, 200))
    rig.at(100.0)
    assert rig.endpoint.idle


def test_an_offer_in_the_2xx_is_answered_with_the_ack() -> None:
    rig = Rig()
    session, sent = rig.call(None)
    assert sent.body == b"" and sent.get("content-type") is None
    with pytest.raises(InvalidState):
        session.ack(ANSWER, 0.0)
    accepted = response_to(sent, 200, extra=CONTACT + SDP, body=OFFER)
    rig.give(accepted)
    assert rig.names == ["Accepted"] and rig.raw == []
    session.ack(ANSWER, 0.0)
    rig.drain()
    ack = rig.raw
    assert rig.request.method == "ACK" and rig.request.body == ANSWER
    rig.give(accepted)
    assert rig.raw == ack
    with pytest.raises(InvalidState):
        session.ack(ANSWER, 0.0)


def test_a_hangup_while_the_ack_is_due_acknowledges_first() -> None:
    rig = Rig()
    session, sent = rig.call(None)
    rig.give(response_to(sent, 200, extra=CONTACT + SDP, body=OFFER))
    session.hangup(0.0)
    rig.drain()
    assert rig.methods == ["ACK", "BYE"]


@pytest.mark.parametrize(
    ("status", "cause"),
    [(486, "busy"), (600, "busy"), (480, "noanswer"), (408, "noanswer"), (487, "cancel"), (403, "rejected"), (603, "rejected"),
     (404, "failed"), (503, "failed"), (302, "failed"), (401, "rejected")],
)  # fmt: skip
def test_a_call_that_is_refused(status: int, cause: str) -> None:
    rig = Rig()
    session, sent = rig.call()
    rig.give(response_to(sent, status))
    assert rig.methods == ["ACK"]
    assert rig.events == [Ended(session, "remote", status, cause, "Reason")]  # type: ignore[arg-type]  # one of the causes
    rig.at(100.0)
    assert rig.endpoint.idle


def test_cancel_waits_for_a_provisional_answer() -> None:
    rig = Rig()
    session, sent = rig.call()
    session.hangup(0.0)
    rig.drain()
    assert rig.raw == [] and rig.names == ["Ended"]
    rig.give(response_to(sent, 180))
    cancel = rig.request
    assert cancel.method == "CANCEL" and cancel.all("via") == sent.all("via") and cancel.cseq == (1, "CANCEL")
    assert cancel.need("to") == sent.need("to") and cancel.uri_text == sent.uri_text
    rig.give(response_to(sent, 180))
    assert rig.raw == []
    rig.give(response_to(cancel, 200))
    rig.give(response_to(sent, 487))
    assert rig.methods == ["ACK"] and rig.events == []
    rig.at(100.0)
    assert rig.endpoint.idle


def test_a_cancel_says_why_where_the_call_was_completed_elsewhere() -> None:
    rig = Rig()
    session, sent = rig.call()
    rig.give(response_to(sent, 180))
    session.hangup(0.0, "Call completed elsewhere", 200)
    rig.drain()
    assert rig.request.method == "CANCEL" and rig.request.need("reason") == 'SIP;cause=200;text="Call completed elsewhere"'


def test_a_call_made_for_another_has_fewer_hops_left() -> None:
    rig = Rig()
    _, sent = rig.call(max_forwards=12)
    assert sent.need("max-forwards") == "12"


def test_a_cancelled_call_that_is_never_answered_is_forgotten() -> None:
    rig = Rig()
    session, sent = rig.call()
    rig.give(response_to(sent, 180))
    session.hangup(0.0)
    rig.drain()
    rig.give(response_to(rig.request, 200))
    rig.at(100.0)
    assert rig.endpoint.idle


def test_a_phone_that_only_rings_is_given_up() -> None:
    rig = Rig(EndpointConfig(timers=SipTimers(ringing=60.0)))
    session, sent = rig.call()
    rig.give(response_to(sent, 180))
    rig.at(60.0)
    assert rig.methods == ["CANCEL"]
    assert rig.events == [Ended(session, "local", 408, "noanswer", "nobody answered")]


def test_several_early_dialogs_then_one_answer() -> None:
    rig = Rig()
    session, sent = rig.call()
    for tag in ("one", "two"):
        rig.give(response_to(sent, 180, tag=tag))
        assert rig.names == ["Progress"]
    rig.give(response_to(sent, 200, tag="two", extra=CONTACT + SDP, body=ANSWER))
    assert session.remote_tag == "two"
    bye = request("BYE", to_tag=session.local_tag, from_tag="two", call_id=session.call_id)
    assert rig.give(bye) == [200]
    assert rig.names == ["Ended"]


def test_the_target_must_be_a_uri() -> None:
    rig = Rig()
    with pytest.raises(MalformedUri):
        rig.call(target="bob")
    assert rig.endpoint.idle


# ---- INFO, and what is not allowed


def test_info_both_ways() -> None:
    rig = Rig()
    session = rig.established()
    relay = b"Signal=5\r\nDuration=160\r\n"
    assert rig.within(session, "INFO", 2, extra="Content-Type: application/dtmf-relay\r\n", body=relay) == [200]
    assert rig.events == [InfoReceived(session, "application/dtmf-relay", relay)]
    session.info("application/dtmf-relay", relay, 1.0)
    rig.drain()
    assert rig.request.method == "INFO" and rig.request.body == relay
    rig.give(response_to(rig.request, 415))
    assert session.state == "confirmed" and rig.events == []


def test_an_info_that_finds_no_dialog_ends_the_call() -> None:
    rig = Rig()
    session = rig.established()
    session.info("text/plain", b"x", 1.0)
    rig.drain()
    rig.give(response_to(rig.request, 481))
    assert rig.methods == ["BYE"] and [event.cause for event in rig.events if isinstance(event, Ended)] == ["failed"]


def test_commands_that_do_not_fit() -> None:
    rig = Rig()
    session = rig.established()
    for command in (
        lambda: session.ring(0.0),
        lambda: session.accept(ANSWER, 0.0),
        lambda: session.reject(486, 0.0),
        lambda: session.answer_reoffer(ANSWER, 0.0),
        lambda: session.refuse_reoffer(488, 0.0),
        lambda: session.ack(ANSWER, 0.0),
    ):
        with pytest.raises(InvalidState):
            command()
    ringing = rig.incoming(call_id="c2", branch="z9hG4bKc2")
    for command in (lambda: ringing.reoffer(OFFER, 0.0), lambda: ringing.info("a/b", b"", 0.0)):
        with pytest.raises(InvalidState):
            command()
    for wrong in (lambda: ringing.ring(0.0, 200), lambda: ringing.reject(200, 0.0), lambda: ringing.refuse_reoffer(200, 0.0)):
        with pytest.raises(ValueError, match="status"):
            wrong()


def test_input_before_the_last_was_drained_is_refused() -> None:
    rig = Rig()
    endpoint: Endpoint = rig.endpoint
    endpoint.receive(invite(), FLOW, 0.0)
    for more in (lambda: endpoint.receive(invite(), FLOW, 0.0), lambda: endpoint.tick(1.0), lambda: endpoint.connection_lost(FLOW, 0.0)):
        with pytest.raises(NotDrained):
            more()
    endpoint.events()
    endpoint.receive(request("OPTIONS", call_id="x"), FLOW, 0.0)
    endpoint.events()
    with pytest.raises(NotDrained):
        endpoint.tick(0.1)
    endpoint.outgoing()
    endpoint.tick(0.1)


def test_what_is_advertised_and_sent_from() -> None:
    rig = Rig(EndpointConfig(advertise="203.0.113.1", contact_ports={"udp": 5099}, contact_user="rec"))
    _, sent = rig.call()
    assert sent.via.sent_by == ("203.0.113.1", 5099)
    assert sent.contact is not None and sent.contact.uri_text == "sip:rec@203.0.113.1:5099"
    six = Flow("udp", ("2001:db8::1", 5060), ("2001:db8::9", 5060))
    _, sent = rig.call(target="sip:bob@[2001:db8::9]", flow=six)
    assert sent.via.sent_by == ("2001:db8::1", 5099)
    assert rig.flows == [six]


def test_the_target_names_the_transport() -> None:
    rig = Rig()
    rig.endpoint.add_listener("tcp", ("0.0.0.0", 5062))
    assert rig.endpoint.flow_to("sip:x@192.0.2.9;transport=TCP", FLOW) == Flow("tcp", (US[0], 5062), PEER)
    assert rig.endpoint.flow_to("sip:x@192.0.2.9:5070", FLOW) == Flow("udp", US, ("192.0.2.9", 5070))
    assert rig.endpoint.flow_to("sip:x@192.0.2.9;transport=sctp", FLOW) == FLOW
    rig.endpoint.add_listener("udp", ("2001:db8::1", 5066))
    assert rig.endpoint.flow_to("sip:x@[2001:db8::9]", FLOW) == Flow("udp", ("2001:db8::1", 5066), ("2001:db8::9", 5060))


def test_headers_from_outside_cannot_make_lines_of_their_own() -> None:
    rig = Rig()
    evil = [("X-Name", "a\r\nRequire: everything")]
    session = rig.incoming()
    for command in (
        lambda: session.ring(0.0, headers=evil),
        lambda: session.accept(ANSWER, 0.0, headers=evil),
        lambda: session.reject(486, 0.0, headers=evil),
        lambda: rig.call(headers=evil),
        lambda: rig.call(headers=[("X Name", "a")]),
    ):
        with pytest.raises(ValueError, match="header"):
            command()
    assert session.state == "proceeding"
    with pytest.raises(MalformedUri):
        rig.endpoint.invite("sip:a@192.0.2.9", local=FLOW, from_uri="sip:a@b>\r\nX: y", body=None, now=0.0)
    session.reject(486, 0.0, "no\r\nX: y")
    rig.drain()
    assert rig.response.reason == "no X: y"
