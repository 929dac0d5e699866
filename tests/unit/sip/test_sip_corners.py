"""Corners of the core that no ordinary call comes to."""

from __future__ import annotations

import pytest
from sip_rig import ANSWER, CONTACT, FLOW, OFFER, PEER, SDP, TCP, US, Rig, invite, request, response_to

from tapeline.core.errors import InvalidState
from tapeline.sip import Accepted, EndpointConfig, Flow, Incoming, MalformedMessage, MalformedSdp, ReofferRefused, parse_message, parse_uri
from tapeline.sip.headers import parse_name_addr, parse_parameters, parse_via
from tapeline.sip.message import Message
from tapeline.sip.multipart import Part, parse
from tapeline.sip.offer_answer import LocalMedia, answer_offer, make_offer, read_answer
from tapeline.sip.timers import Timers


def test_a_record_route_that_is_no_sip_uri_is_refused() -> None:
    rig = Rig()
    assert rig.give(invite(extra="Record-Route: <tel:+1555>\r\n")) == [400]
    assert rig.give(invite(branch="z9hG4bK2", extra="Record-Route: <sip:192.0.2.5\r\n")) == [400]


def test_a_2xx_that_cannot_be_read_still_gets_ack_and_bye() -> None:
    rig = Rig()
    session, sent = rig.call()
    rig.give(response_to(sent, 200, extra="Contact: <broken\r\nRecord-Route: <sip:x\r\n" + SDP, body=ANSWER))
    assert rig.methods == ["ACK"] and isinstance(rig.events[0], Accepted)
    session.hangup(0.0)
    rig.drain()
    assert rig.request.uri_text == "sip:bob@192.0.2.9" and rig.flows == [FLOW]


def test_a_target_that_is_no_sip_uri_is_reached_the_way_it_came() -> None:
    rig = Rig()
    session = rig.established(contact="<tel:+1555>")
    rig.within(session, "INVITE", 2, contact="<tel:+1666>", extra=SDP, body=OFFER)
    assert session.dialog.target == "tel:+1555"  # a re-INVITE moves it to a SIP URI alone
    session.hangup(0.0)
    rig.drain()
    assert rig.flows[-1] == FLOW


def test_another_connection_takes_over_and_a_dead_one_is_made_anew_by_name() -> None:
    rig = Rig()
    contact = "<sip:peer@phone.example.com:5071;transport=tcp>"
    rig.give(invite(via="SIP/2.0/TCP 192.0.2.9:5060;branch=z9hG4bKt", contact=contact), TCP)
    session = rig.events[0].session
    session.accept(ANSWER, 0.0)
    rig.drain()
    second = TCP._replace(remote=(PEER[0], 40002), id=2)
    rig.give(request("ACK", to_tag=session.local_tag, via="SIP/2.0/TCP 192.0.2.9:5060;branch=z9hG4bKa"), second)
    session.info("a/b", b"", 0.0)
    rig.drain()
    assert rig.flows == [second]
    rig.give(request("INFO", seq=2, to_tag=session.local_tag), FLOW)  # over another transport: the dialog stays where it was
    rig.give(response_to(parse_message(request("INFO")), 200), FLOW)  # type: ignore[arg-type]  # a request
    rig.endpoint.connection_lost(second, 0.0)
    rig.drain()
    session.hangup(0.0)
    rig.drain()
    assert rig.flows == [Flow("tcp", US, (PEER[0], 5071), 0)]


def test_a_cancel_is_traced_with_its_call() -> None:
    rig = Rig(EndpointConfig(trace=True))
    session = rig.incoming()
    rig.give(request("CANCEL", branch="z9hG4bK-INVITE-1"))
    assert [entry.data.split(b" ")[0] for entry in session.trace or () if entry.way == "in"] == [b"INVITE", b"CANCEL"]


def test_a_2xx_repeated_while_its_ack_is_due_changes_nothing() -> None:
    rig = Rig()
    _, sent = rig.call(None)
    accepted = response_to(sent, 200, extra=CONTACT + SDP, body=OFFER)
    rig.give(accepted)
    rig.give(accepted)
    assert rig.raw == [] and rig.events == []


def test_a_second_hangup_or_a_late_answer_changes_nothing() -> None:
    rig = Rig()
    session, sent = rig.call()
    session.hangup(0.0)
    session.hangup(0.0)
    rig.drain()
    assert rig.names == ["Ended"]
    rig.give(response_to(sent, 486))
    assert rig.methods == ["ACK"] and rig.events == []


def test_a_reinvite_on_a_call_that_ended_gets_481() -> None:
    rig = Rig()
    session = rig.established()
    session.hangup(0.0)
    rig.drain()
    assert rig.within(session, "INVITE", 2, extra=SDP, body=OFFER) == [481]
    assert rig.within(session, "INFO", 3) == [481]


def test_a_reinvite_before_the_first_answer_gets_491() -> None:
    rig = Rig()
    session = rig.incoming()
    session.ring(0.0)
    rig.drain()
    session_invite = invite(seq=2, branch="z9hG4bK2", to_tag=session.local_tag)
    assert rig.give(session_invite) == [491]


def test_no_more_than_sixteen_early_dialogs_are_remembered() -> None:
    rig = Rig()
    session, sent = rig.call()
    for number in range(20):
        rig.give(response_to(sent, 180, tag=f"t{number}"))
    assert len(session.tags) == 16


def test_a_provisional_answer_without_tag_makes_no_dialog() -> None:
    rig = Rig()
    session, sent = rig.call()
    rig.give(response_to(sent, 183, tag=""))
    assert session.state == "proceeding" and rig.names == ["Progress"]


def test_an_info_that_is_never_answered_leaves_the_call() -> None:
    rig = Rig()
    session = rig.established()
    session.info("a/b", b"", 0.0)
    rig.drain()
    rig.give(response_to(rig.request, 100, tag=""))
    rig.at(40.0)
    assert session.state == "confirmed" and rig.events == []


def test_our_offer_that_met_the_peers_gives_way_where_the_peers_is_under_way() -> None:
    rig = Rig()
    session = rig.established()
    session.reoffer(OFFER, 0.0)
    rig.drain()
    rig.give(response_to(rig.request, 491))
    rig.within(session, "INVITE", 2, extra=SDP, body=OFFER)
    rig.at(2.1)
    assert rig.events == [ReofferRefused(session, 491)]


def test_a_refusal_over_a_stream_is_not_repeated() -> None:
    rig = Rig()
    rig.give(invite(via="SIP/2.0/TCP 192.0.2.9:5060;branch=z9hG4bKt"), TCP)
    rig.events[0].session.reject(486, 0.0)
    rig.drain()
    rig.at(31.9)
    assert rig.raw == []


def test_what_may_be_left_out_of_a_body_is() -> None:
    rig = Rig()
    rig.give(request("INVITE", extra="Content-Type: text/x\r\nContent-Disposition: render; handling = optional\r\n", body=b"x"))
    assert rig.names == ["Incoming"]


def test_a_multipart_body_that_cannot_be_read_has_no_offer() -> None:
    rig = Rig()
    rig.give(request("INVITE", extra="Content-Type: multipart/mixed;boundary=b\r\n", body=b"x"))
    (event,) = rig.events
    assert isinstance(event, Incoming) and event.body is None


def test_an_extension_that_we_support_may_be_required() -> None:
    rig = Rig(EndpointConfig(supported=("siprec",)))
    rig.give(invite(extra="Require: SIPREC\r\n"))
    assert rig.names == ["Incoming"]


def test_the_tcp_listener_must_be_of_the_same_family() -> None:
    rig = Rig()
    rig.endpoint.add_listener("tcp", ("::", 5060))
    rig.call(OFFER + b"y" * 1400)
    assert rig.flows == [FLOW]


def test_an_answer_to_a_broken_request_has_a_tag_where_that_can_be_told() -> None:
    rig = Rig()
    assert rig.give(request("OPTIONS", uri="<sip:x>", extra="").replace(b"To: <sip:1000@192.0.2.1>", b"To: <sip:a@b>;TAG=x")) == [400]
    assert b"To: <sip:a@b>;TAG=x\r\n" in rig.raw[0]
    assert rig.give(request("OPTIONS", uri="<sip:x>").replace(b"To: <sip:1000@192.0.2.1>", b"To: <sip:a@b;tag=x")) == [400]
    assert b"To: <sip:a@b;tag=x\r\n" in rig.raw[0]


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (parse_parameters, 'x;a="b"'),
        (parse_parameters, ';a="b'),
        (parse_parameters, "x;a=b"),
        (parse_via, "SIP/2.0/UDP a:b:c"),
        (parse_via, "SIP / 2.0 / UDP [::1"),
        (parse_name_addr, "<sip:a@b> tag"),
        (parse_uri, "sip:a:p@ss@b"),
    ],
)
def test_what_cannot_be_read(read: object, text: str) -> None:
    with pytest.raises(MalformedMessage):
        read(text)  # type: ignore[operator]  # one of the readers


def test_quoted_parameters_with_spaces_about_them() -> None:
    assert parse_parameters(' ; a = "b;c" ; d ; e=f') == {"a": '"b;c"', "d": None, "e": "f"}


def test_a_head_in_line_feeds_without_its_end() -> None:
    message = parse_message(request("OPTIONS").replace(b"\r\n", b"\n").rstrip())
    assert message.cseq == (1, "OPTIONS") and message.body == b""


def test_only_requests_and_responses_are_messages() -> None:
    with pytest.raises(TypeError):
        Message([], b"").serialise()
    with pytest.raises(MalformedMessage):
        _ = Message([], b"").via


def test_an_empty_part() -> None:
    assert parse("multipart/mixed;boundary=x", b"--x\r\n--x--") == [Part((), b"")]


def test_events_under_types_that_we_did_not_offer() -> None:
    quiet = LocalMedia("192.0.2.1", 4000, ("PCMU",), dtmf=True)
    offer = make_offer(LocalMedia("192.0.2.1", 4000, ("PCMU",), dtmf=False))
    answer = b"v=0\r\nc=IN IP4 192.0.2.9\r\nm=audio 6000 RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\n"
    assert read_answer(offer, answer, quiet).dtmf_payload_type is None


def test_an_odd_address_for_reports() -> None:
    offer = b"v=0\r\nc=IN IP4 192.0.2.9\r\nm=audio 6000 RTP/AVP 0\r\na=rtcp:6100 IN IP4 somewhere\r\n"
    assert answer_offer(offer, LocalMedia("192.0.2.1", 4000)).remote_rtcp == ("192.0.2.9", 6100)


def test_cancelled_timers_do_not_pile_up() -> None:
    class Owner:
        fired = 0

        def on_timer(self, name: str, now: float) -> None:
            self.fired += 1

    timers, owner = Timers(), Owner()
    kept = timers.start(5.0, owner, "kept")
    for number in range(5000):
        timers.cancel(timers.start(10.0 + number, owner, "cancelled"))
    assert len(timers) == 1 and len(timers._heap) < 2500
    timers.fire(20.0)
    timers.cancel(kept)
    assert owner.fired == 1 and timers.next_deadline() is None and len(timers) == 0


def test_commands_after_the_end() -> None:
    rig = Rig()
    session, _ = rig.answered()
    session.hangup(0.0)
    rig.drain()
    with pytest.raises(InvalidState):
        session.info("a/b", b"", 0.0)
    with pytest.raises(InvalidState):
        session.reoffer(OFFER, 0.0)


def test_a_connection_line_may_hold_a_name_but_not_anything() -> None:
    for address in ("a/b", "x y", "caf\u00e9!", "?"):
        data = f"v=0\r\nc=IN IP4 {address}\r\nm=audio 6000 RTP/AVP 0\r\n".encode()
        if address != "a/b":
            with pytest.raises(MalformedSdp):
                answer_offer(data, LocalMedia("192.0.2.1", 4000))
        else:
            assert answer_offer(data, LocalMedia("192.0.2.1", 4000)).remote_address is None
