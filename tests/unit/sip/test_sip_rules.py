"""The twelve rules of signalling that others' failures teach, each by its name."""

from __future__ import annotations

import pytest
from sip_rig import ANSWER, CONTACT, FLOW, OFFER, PEER, SDP, TCP, US, Rig, invite, request, response_to

from tapeline.sip import Accepted, Ended, EndpointConfig, Flow, InfoReceived, Response, parse_message

# 1. Bytes in, bytes out.


def test_rule_1_bytes_in_bytes_out() -> None:
    rig = Rig()
    session = rig.established()
    payload = bytes(range(256))
    rig.within(session, "INFO", 2, body=payload, extra="Content-Type: application/octet-stream\r\n")
    (event,) = rig.events
    assert isinstance(event, InfoReceived) and event.body == payload


def test_rule_1_content_length_counts_octets() -> None:
    body = "s=Größe ☎\r\n".encode()
    data = invite(body=body)
    message = parse_message(data + b"what follows is no part of it")
    assert message.body == body
    assert f"Content-Length: {len(body)}\r\n".encode() in message.serialise()


def test_rule_1_unknown_headers_and_any_octets_in_them_survive() -> None:
    line = b"X-ODD-name: caf\xe9 \xff\xfe \xe2\x98\x8e; x=,,;\r\n"
    data = invite(extra=line.decode("utf-8", "surrogateescape"))
    message = parse_message(data)
    assert line in message.serialise()
    assert parse_message(message.serialise()).fields == message.fields


# 2. Transactions by branch, sent-by and method; dialogs by Call-ID and both tags; 482; the same answer again.


def test_rule_2_an_invite_retransmitted_while_ringing_is_no_second_call() -> None:
    rig = Rig()
    data = invite()
    rig.give(data)
    rig.events[0].session.ring(rig.now)
    rig.drain()
    first = rig.raw
    assert rig.give(data) == [180]
    assert rig.raw == first
    assert rig.events == []


def test_rule_2_sent_by_tells_transactions_apart() -> None:
    rig = Rig()
    assert rig.give(request("OPTIONS", branch="z9hG4bKsame")) == [200]
    other = "SIP/2.0/UDP 192.0.2.77:5060;branch=z9hG4bKsame"
    assert rig.give(request("OPTIONS", via=other, call_id="another")) == [200]
    assert rig.endpoint.counters.repeated == 0


def test_rule_2_a_merged_request_gets_482() -> None:
    rig = Rig()
    rig.give(invite(branch="z9hG4bKone"))
    assert rig.give(invite(branch="z9hG4bKtwo")) == [482]
    assert rig.events == []


def test_rule_2_dialogs_need_both_tags() -> None:
    rig = Rig()
    session = rig.established()
    assert rig.within(session, "BYE", 2, from_tag="somebody-else") == [481]
    assert rig.give(request("BYE", seq=2, to_tag="not-ours", branch="z9hG4bKb2")) == [481]
    assert rig.give(request("BYE", seq=2, to_tag=session.local_tag, call_id="call-2", branch="z9hG4bKb3")) == [481]
    assert rig.within(session, "BYE", 2, branch="z9hG4bKb4") == [200]


@pytest.mark.parametrize("method", ["BYE", "OPTIONS", "INFO", "MESSAGE", "FROBNICATE"])
def test_rule_2_whatever_is_retransmitted_gets_the_same_answer(method: str) -> None:
    rig = Rig()
    data = request(method, to_tag="gone")
    rig.give(data)
    first = rig.raw
    for _ in range(3):
        rig.give(data)
        assert rig.raw == first


def test_rule_2_the_accepted_state_absorbs_the_invite_while_the_2xx_is_repeated() -> None:
    rig = Rig()
    session = rig.incoming()
    session.accept(ANSWER, rig.now)
    rig.drain()
    answer = rig.raw
    assert rig.give(invite()) == []
    assert rig.events == []
    rig.at(0.5)
    assert rig.raw == answer


# 3. Every request that is not ACK gets a final answer.


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (request("REGISTER"), 405),
        (request("SUBSCRIBE"), 405),
        (request("NEWTHING"), 501),
        (invite(extra="Require: 100rel, Magic\r\n"), 420),
        (invite(uri="mailto:x@example.com"), 416),
        (request("INVITE", body=b"<x/>", extra="Content-Type: text/xml\r\n"), 415),
        (invite(extra="Content-Encoding: gzip\r\n"), 415),
        (invite(extra="Accept: text/plain\r\n"), 406),
        (request("BYE"), 481),
        (request("BYE", to_tag="gone"), 481),
        (request("CANCEL"), 481),
        (request("INFO", to_tag="gone"), 481),
        (request("INFO"), 481),
        (request("NOTIFY"), 481),
        (request("NOTIFY", to_tag="gone"), 481),
        (request("REFER", extra="Refer-To: <sip:x@y>\r\n"), 403),
        (request("REFER", to_tag="gone"), 481),
        (request("MESSAGE"), 405),
        (invite(to_tag="gone"), 481),
        (request("UPDATE", to_tag="gone"), 481),
        (request("OPTIONS"), 200),
        (request("OPTIONS", to_tag="gone"), 481),
        (request("OPTIONS", extra="To: <sip:second@example.com>\r\n"), 400),
        (invite(contact="<sip:broken"), 400),
        (invite(uri="sip:1000@192.0.2.1?x=y"), 400),
    ],
)
def test_rule_3_every_request_gets_a_final_answer(data: bytes, status: int) -> None:
    rig = Rig()
    assert rig.give(data) == [status]
    assert rig.events == []


@pytest.mark.parametrize("header", ["Via", "From", "To", "Call-ID", "CSeq"])
def test_rule_3_a_request_that_lacks_a_header_is_answered_with_what_there_is(header: str) -> None:
    lines = request("OPTIONS").split(b"\r\n")
    data = b"\r\n".join(line for line in lines if not line.startswith(header.encode() + b":"))
    assert Rig().give(data) == [400]


def test_rule_3_an_ack_gets_none() -> None:
    rig = Rig()
    assert rig.give(request("ACK", to_tag="gone")) == []
    assert rig.endpoint.counters.dropped == {"ACK without dialog": 1}


def test_rule_3_what_the_call_does_not_want_is_answered_within_it_too() -> None:
    rig = Rig()
    session = rig.established()
    assert rig.within(session, "MESSAGE", 2) == [405]
    assert rig.within(session, "INFO", 3, extra="Require: nothing\r\n") == [420]
    assert rig.within(session, "OPTIONS", 4) == [200]
    assert rig.within(session, "INFO", 2) == [500]  # out of order
    assert rig.within(session, "BYE", 5) == [200]


# 4. The messages of a flow leave in the order they were made.


def test_rule_4_messages_leave_in_the_order_they_were_made() -> None:
    rig = Rig()
    session = rig.incoming()
    session.ring(rig.now)
    session.accept(ANSWER, rig.now)
    rig.drain()
    assert rig.statuses == [180, 200]


# 5. Each 2xx of a fork is ACKed and the unwanted ones are ended.


def test_rule_5_every_2xx_of_a_fork_is_acked_and_the_unwanted_are_ended() -> None:
    rig = Rig()
    session, sent = rig.call()
    rig.give(response_to(sent, 200, tag="first", extra=CONTACT + SDP, body=ANSWER))
    assert rig.methods == ["ACK"] and rig.names == ["Accepted"]
    rig.give(response_to(sent, 200, tag="second", extra="Contact: <sip:other@192.0.2.10:5070>\r\n" + SDP, body=ANSWER))
    assert rig.methods == ["ACK", "BYE"] and rig.events == []
    ack, bye = rig.sent
    assert ack.to.tag == bye.to.tag == "second"
    assert ack.start_line == "ACK sip:other@192.0.2.10:5070 SIP/2.0"
    assert [flow.remote for flow in rig.flows] == [("192.0.2.10", 5070)] * 2
    assert session.state == "confirmed" and session.remote_tag == "first"
    rig.give(response_to(sent, 200, tag="second", extra=CONTACT + SDP, body=ANSWER))
    assert rig.methods == ["ACK"]  # the same again


def test_rule_5_a_cancel_crossed_by_200_ends_in_ack_and_bye() -> None:
    rig = Rig()
    session, sent = rig.call()
    rig.give(response_to(sent, 180))
    session.hangup(rig.now)
    rig.drain()
    assert rig.methods == ["CANCEL"]
    assert [(event.cause, event.by) for event in rig.events if isinstance(event, Ended)] == [("cancel", "local")]
    rig.give(response_to(sent, 200, extra=CONTACT + SDP, body=ANSWER))
    assert rig.methods == ["ACK", "BYE"]
    assert rig.events == []


# 6. ACK to a failure and to a 2xx.


def test_rule_6_the_ack_to_a_failure_copies_uri_via_and_route() -> None:
    rig = Rig()
    _, sent = rig.call(headers=[("Route", "<sip:192.0.2.50;lr>")])
    rig.give(response_to(sent, 486))
    ack = rig.request
    assert ack.method == "ACK" and ack.uri_text == sent.uri_text
    assert ack.all("via") == sent.all("via") and ack.all("route") == ["<sip:192.0.2.50;lr>"]
    assert ack.cseq == (sent.cseq[0], "ACK") and ack.to.tag == "theirs"
    assert rig.flows == [Flow("udp", US, ("192.0.2.50", 5060))]
    first = rig.raw
    rig.give(response_to(sent, 486))
    assert rig.raw == first


def test_rule_6_the_ack_to_a_2xx_follows_the_route_set_again_for_each_2xx() -> None:
    rig = Rig()
    _, sent = rig.call()
    routes = "Record-Route: <sip:192.0.2.61;lr>, <sip:192.0.2.60;lr>\r\n"
    answer = response_to(sent, 200, extra=CONTACT + routes + SDP, body=ANSWER)
    rig.give(answer)
    ack = rig.request
    assert ack.all("route") == ["<sip:192.0.2.60;lr>", "<sip:192.0.2.61;lr>"]
    assert ack.uri_text == "sip:peer@192.0.2.9:5060"
    assert ack.via.branch != sent.via.branch
    assert rig.flows[0].remote == ("192.0.2.60", 5060)
    first = rig.raw
    for _ in range(3):
        rig.give(answer)
        assert rig.raw == first and rig.events == []


# 7. Parameters compare without regard to case.


def test_rule_7_a_contact_with_transport_in_capitals_ends_like_any_other() -> None:
    rig = Rig()
    session = rig.established(contact="<sip:peer@192.0.2.9:5060;Transport=UDP>")
    session.hangup(rig.now)
    rig.drain()
    assert rig.methods == ["BYE"] and rig.flows == [FLOW]


def test_rule_7_parameters_of_via_compare_without_regard_to_case() -> None:
    rig = Rig()
    rig.give(request("OPTIONS", via="SIP/2.0/udp 192.0.2.9:5060;BRANCH=z9hG4bKx;RPORT"), Flow("udp", US, ("192.0.2.9", 1024)))
    assert rig.flows[0].remote == ("192.0.2.9", 1024)
    assert rig.response.via.parameters["rport"] == "1024"
    session = rig.established(call_id="case", from_tag="x;TAG=ignored")
    assert session.remote_tag == "x"


# 8. Long requests over TCP, framing, keep-alive, reuse, rport, received.


def test_rule_8_a_request_too_long_for_a_datagram_goes_over_tcp() -> None:
    rig = Rig()
    rig.endpoint.add_listener("tcp", ("0.0.0.0", 5060))
    _, sent = rig.call(OFFER + b"a=x:" + b"y" * 1300)
    assert rig.flows == [Flow("tcp", US, PEER)]
    assert sent.via.transport == "TCP"
    rig.call(OFFER)
    assert rig.flows == [FLOW]


def test_rule_8_where_tcp_fails_the_long_request_goes_in_a_datagram_after_all() -> None:
    rig = Rig()
    rig.endpoint.add_listener("tcp", ("0.0.0.0", 5060))
    session, sent = rig.call(OFFER + b"a=x:" + b"y" * 1300)
    rig.endpoint.connection_lost(rig.flows[0], rig.now)
    rig.drain()
    assert rig.flows == [FLOW] and rig.request.via.transport == "UDP"
    assert rig.request.via.branch == sent.via.branch and session.state == "calling"


def test_rule_8_without_a_tcp_listener_a_long_request_stays_on_udp() -> None:
    rig = Rig()
    rig.call(OFFER + b"a=x:" + b"y" * 1300)
    assert rig.flows == [FLOW]


def test_rule_8_rport_and_received_lead_the_answer_back() -> None:
    rig = Rig()
    nat = Flow("udp", US, ("203.0.113.5", 40000))
    rig.give(request("OPTIONS", via="SIP/2.0/UDP 10.0.0.5:5060;branch=z9hG4bKn;rport"), nat)
    via = rig.response.via
    assert via.parameters["received"] == "203.0.113.5" and via.parameters["rport"] == "40000"
    assert rig.flows == [nat]


def test_rule_8_an_answer_goes_to_the_port_of_via_where_nobody_asked_otherwise() -> None:
    rig = Rig()
    rig.give(request("OPTIONS", via="SIP/2.0/UDP 192.0.2.9:5070;branch=z9hG4bKn"), Flow("udp", US, ("192.0.2.9", 40000)))
    assert rig.flows[0].remote == ("192.0.2.9", 5070)
    assert "received" not in rig.response.via.parameters


def test_rule_8_the_connection_is_used_again() -> None:
    rig = Rig()
    rig.give(invite(via="SIP/2.0/TCP 192.0.2.9:5060;branch=z9hG4bKt", contact="<sip:peer@192.0.2.9:5060;transport=tcp>"), TCP)
    session = rig.events[0].session
    session.accept(ANSWER, rig.now)
    rig.drain()
    assert rig.flows == [TCP]
    rig.give(request("ACK", to_tag=session.local_tag, via="SIP/2.0/TCP 192.0.2.9:5060;branch=z9hG4bKa"), TCP)
    session.hangup(rig.now)
    rig.drain()
    assert rig.methods == ["BYE"] and rig.flows == [TCP]


def test_rule_8_a_lost_connection_is_made_anew_to_the_contact() -> None:
    rig = Rig()
    rig.give(invite(via="SIP/2.0/TCP 192.0.2.9:5060;branch=z9hG4bKt", contact="<sip:peer@192.0.2.9:5060;transport=tcp>"), TCP)
    session = rig.events[0].session
    session.accept(ANSWER, rig.now)
    rig.drain()
    rig.give(request("ACK", to_tag=session.local_tag, via="SIP/2.0/TCP 192.0.2.9:5060;branch=z9hG4bKa"), TCP)
    rig.endpoint.connection_lost(TCP, rig.now)
    rig.drain()
    session.hangup(rig.now)
    rig.drain()
    assert rig.flows == [Flow("tcp", US, PEER, 0)]


# 9. Overload.


def test_rule_9_above_the_cap_new_calls_get_503_with_retry_after() -> None:
    rig = Rig(EndpointConfig(max_pending=2, retry_after=7))
    sessions = [rig.incoming(call_id=f"c{n}", branch=f"z9hG4bK{n}") for n in range(2)]
    assert rig.give(invite(call_id="c3", branch="z9hG4bK3")) == [503]
    assert rig.response.get("retry-after") == "7"
    first = rig.raw
    assert rig.give(invite(call_id="c3", branch="z9hG4bK3")) == [503]
    assert rig.raw == first
    sessions[0].accept(ANSWER, rig.now)
    rig.drain()
    assert rig.give(invite(call_id="c4", branch="z9hG4bK4")) == []
    assert rig.names == ["Incoming"]


def test_rule_9_a_limit_for_each_source() -> None:
    rig = Rig(EndpointConfig(max_pending_per_source=1))
    rig.incoming()
    assert rig.give(invite(call_id="c2", branch="z9hG4bK2")) == [503]
    rig.give(invite(call_id="c3", branch="z9hG4bK3"), Flow("udp", US, ("192.0.2.10", 5060)))
    assert rig.names == ["Incoming"]


def test_rule_9_who_takes_no_calls_says_so_to_options_too() -> None:
    rig = Rig()
    session = rig.established()
    rig.endpoint.accepting = False
    assert rig.give(invite(call_id="c2", branch="z9hG4bK2")) == [503]
    assert rig.give(request("OPTIONS", call_id="ping")) == [503]
    assert rig.within(session, "OPTIONS", 2) == [200]
    assert rig.within(session, "BYE", 3) == [200]


# 10 is the shell's: see test_sip_shell.py.

# 11. Strict when sending.


def test_rule_11_what_we_send_is_strict_whatever_came() -> None:
    rig = Rig()
    head, _, body = invite().partition(b"\r\n\r\n")
    rig.give(b"\r\n\r\n" + head.replace(b"\r\n", b"\n").replace(b"Via:", b"v  :") + b"\n\n" + body)
    (answer,) = rig.events
    answer.session.accept(ANSWER, rig.now)
    rig.drain()
    (data,) = rig.raw
    head = data.partition(b"\r\n\r\n")[0]
    assert head.count(b"\n") == head.count(b"\r\n")
    message = parse_message(data)
    assert isinstance(message, Response) and message.leniencies == ()
    assert message.to.tag == answer.session.local_tag


# 12. A trace.


def test_rule_12_a_trace_of_every_message_of_a_call() -> None:
    rig = Rig(EndpointConfig(trace=True))
    session = rig.incoming()
    session.ring(0.0)
    session.accept(ANSWER, 0.1)
    rig.drain()
    rig.give(request("ACK", to_tag=session.local_tag, branch="z9hG4bKa"))
    rig.within(session, "BYE", 2)
    told = [(way, data.split(b"\r\n")[0].decode()) for _, way, data, _ in session.trace or ()]
    assert told == [
        ("in", "INVITE sip:1000@192.0.2.1 SIP/2.0"),
        ("out", "SIP/2.0 180 Ringing"),
        ("out", "SIP/2.0 200 OK"),
        ("in", "ACK sip:1000@192.0.2.1 SIP/2.0"),
        ("in", "BYE sip:1000@192.0.2.1 SIP/2.0"),
        ("out", "SIP/2.0 200 OK"),
    ]
    out, sent = rig.call()
    rig.give(response_to(sent, 200, extra=CONTACT + SDP, body=ANSWER))
    assert isinstance(rig.events[0], Accepted)
    assert [entry.way for entry in out.trace or ()] == ["out", "in", "out"]
