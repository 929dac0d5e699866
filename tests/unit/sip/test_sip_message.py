"""Messages, headers and URIs: what is read, what is kept, what is refused; each leniency by its name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sip_rig import OFFER, invite, request

from tapeline.sip import MalformedMessage, MalformedUri, Request, Response, Uri, parse_message, parse_uri
from tapeline.sip.headers import parse_cseq, parse_name_addr, parse_parameters, parse_via, quote, split_list
from tapeline.sip.message import Leniency, content_length

# ---- messages


def test_a_request_reads_as_written() -> None:
    data = invite(extra="Subject: x\r\nSupported: a, b\r\nk: c\r\n")
    message = parse_message(data)
    assert isinstance(message, Request)
    assert (message.method, message.uri_text, message.cseq, message.call_id) == ("INVITE", "sip:1000@192.0.2.1", (1, "INVITE"), "call-1")
    assert message.items("supported") == ["a", "b", "c"]
    assert message.get("subject") == "x" and message.get("nothing") is None and message.all("nothing") == []
    assert message.content_type == "application/sdp" and message.body == OFFER
    assert message.serialise() == data


def test_a_response_reads_as_written() -> None:
    data = "SIP/2.0 200 Schön so\r\nVia: SIP/2.0/UDP a;branch=z9hG4bKx\r\nFrom: <sip:a@b>;tag=1\r\n"
    data += "To: <sip:c@d>\r\nCall-ID: x\r\nCSeq: 1 BYE\r\n"
    message = parse_message(data.encode() + b"Content-Length: 0\r\n\r\n")
    assert isinstance(message, Response)
    assert (message.status, message.reason) == (200, "Schön so")
    assert message.serialise() == data.encode() + b"Content-Length: 0\r\n\r\n"


def test_folded_and_compact_headers() -> None:
    data = request("OPTIONS").replace(b"Via: SIP/2.0/UDP ", b"v:\r\n SIP/2.0/UDP\r\n\t").replace(b"CSeq: 1 OPTIONS", b"CSEQ:1\r\n  OPTIONS")
    message = parse_message(data)
    assert message.via.host == "192.0.2.9" and message.cseq == (1, "OPTIONS")


def test_only_the_length_is_made_by_us() -> None:
    message = Request("OPTIONS", "sip:a@b", [("l", "99"), ("Content-Length", "7"), ("X", "1")], b"abc")
    assert message.serialise() == b"OPTIONS sip:a@b SIP/2.0\r\nX: 1\r\nContent-Length: 3\r\n\r\nabc"


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ((b" SIP/2.0", b""), 0),
        ((b"SIP/2.0\r\n", b"SIP/3.0\r\n"), 505),
        ((b"INVITE sip", b"INV@ITE sip"), 0),
        ((b"INVITE sip:", b"INVITE  sip:"), 400),
        ((b"CSeq: 1 INVITE", b"CSeq: 1 BYE"), 400),
        ((b"CSeq: 1 INVITE", b"CSeq: INVITE"), 400),
        ((b"CSeq: 1 INVITE", b"CSeq: 2147483648 INVITE"), 400),
        ((b"Content-Length: ", b"Content-Length: 9"), 400),
        ((b"Content-Length: ", b"Content-Length: x"), 400),
        ((b"Max-Forwards: 70", b"Max-Forwards: 300"), 400),
        ((b"Max-Forwards: 70", b"Max-Forwards: many"), 400),
        ((b"From: <", b'From: "open <'), 400),
        ((b"To: <sip:1000@192.0.2.1>", b"To: "), 400),
        ((b"Via: SIP/2.0/UDP", b"Via: HTTP/1.1"), 400),
    ],
)
def test_what_is_refused(change: tuple[bytes, bytes], status: int) -> None:
    with pytest.raises(MalformedMessage) as refused:
        parse_message(invite().replace(*change, 1))
    assert refused.value.status == status
    assert (refused.value.partial is None) == (status == 0)


def test_a_broken_response_is_never_answered() -> None:
    with pytest.raises(MalformedMessage) as refused:
        parse_message(b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP a;branch=z9hG4bKx\r\n\r\n")
    assert refused.value.status == 0


def test_too_many_headers() -> None:
    with pytest.raises(MalformedMessage) as refused:
        parse_message(invite(extra="X: y\r\n" * 600))
    assert refused.value.status == 513


# ---- leniencies: each is taken, and named


def lenient(data: bytes) -> tuple[Leniency, ...]:
    return parse_message(data).leniencies


def test_a_message_without_faults_needs_none() -> None:
    assert lenient(invite()) == ()


def test_leniency_bare_line_feeds() -> None:
    head, _, body = invite().partition(b"\r\n\r\n")
    message = parse_message(head.replace(b"\r\n", b"\n") + b"\n\n" + body)
    assert message.leniencies == (Leniency.BARE_LINE_FEEDS,) and message.body == OFFER
    mixed = parse_message(head.replace(b"\r\nCSeq", b"\nCSeq") + b"\r\n\r\n" + body)
    assert mixed.leniencies == (Leniency.BARE_LINE_FEEDS,) and mixed.body == OFFER and mixed.cseq == (1, "INVITE")


def test_leniency_leading_blank_lines() -> None:
    assert lenient(b"\r\n\r\n" + invite()) == (Leniency.LEADING_BLANK_LINES,)


def test_leniency_no_blank_line() -> None:
    assert lenient(request("OPTIONS").removesuffix(b"\r\n\r\n")) == (Leniency.NO_BLANK_LINE,)


def test_leniency_line_without_colon() -> None:
    message = parse_message(invite(extra="what is this\r\n"))
    assert message.leniencies == (Leniency.LINE_WITHOUT_COLON,) and message.body == OFFER


def test_leniency_lower_case_version() -> None:
    assert lenient(request("OPTIONS").replace(b"SIP/2.0\r\n", b"sip/2.0\r\n", 1)) == (Leniency.LOWER_CASE_VERSION,)
    answer = request("OPTIONS").replace(b"OPTIONS sip:1000@192.0.2.1 SIP/2.0", b"sip/2.0 200 OK")
    assert lenient(answer) == (Leniency.LOWER_CASE_VERSION,)


def test_leniency_no_max_forwards() -> None:
    assert lenient(invite().replace(b"Max-Forwards: 70\r\n", b"")) == (Leniency.NO_MAX_FORWARDS,)


def test_leniency_no_cookie() -> None:
    assert lenient(invite(branch="1")) == (Leniency.NO_COOKIE,)
    assert lenient(invite(branch="z9hG4bK")) == (Leniency.NO_COOKIE,)


def test_leniency_no_from_tag() -> None:
    assert lenient(invite().replace(b";tag=theirs", b"")) == (Leniency.NO_FROM_TAG,)


def test_leniency_no_contact() -> None:
    assert lenient(invite().replace(b"Contact: <sip:peer@192.0.2.9:5060>\r\n", b"")) == (Leniency.NO_CONTACT,)


def test_leniency_repeated_length() -> None:
    assert lenient(request("OPTIONS", extra="l: 0\r\n")) == (Leniency.REPEATED_LENGTH,)
    with pytest.raises(MalformedMessage):
        parse_message(request("OPTIONS", extra="l: 1\r\n"))


def test_every_leniency_has_its_test() -> None:
    for leniency in Leniency:
        assert f"test_leniency_{leniency.name.lower()}" in globals()


# ---- headers


def test_via() -> None:
    via = parse_via("SIP/2.0/udp [2001:db8::1]:5070;rport;branch=z9hG4bKx;received=192.0.2.1")
    assert (via.transport, via.host, via.port, via.branch) == ("UDP", "2001:db8::1", 5070, "z9hG4bKx")
    assert via.parameters == {"rport": None, "branch": "z9hG4bKx", "received": "192.0.2.1"}
    odd = parse_via('SIP / 2.0 / TCP   a.example.com : 5061 ; Branch = z9hG4bKy ; x="a;b"')
    assert (odd.transport, odd.host, odd.port, odd.branch) == ("TCP", "a.example.com", 5061, "z9hG4bKy")
    for wrong in ("", "SIP/2.0/UDP", "SIP/2.0/UDP ;branch=x", "SIP/2.0/UDP a:99999", "SIP/1.0/UDP a", "SIP/2.0/UDP a;;b"):
        with pytest.raises(MalformedMessage):
            parse_via(wrong)


def test_name_addr() -> None:
    named = parse_name_addr('"A \\"B\\" <c>" <sip:a@b;lr>;tag=x;y="1;2"')
    assert (named.name, named.uri_text, named.tag) == ('A "B" <c>', "sip:a@b;lr", "x")
    assert named.parameters == {"tag": "x", "y": '"1;2"'}
    assert parse_name_addr("sip:a@b;tag=x").uri_text == "sip:a@b"
    assert parse_name_addr("Bell, Alexander <sip:a@b>").name == "Bell, Alexander"
    assert parse_name_addr("<sip:a@b>;TAG=Q").tag == "Q"
    for wrong in ("", "<sip:a@b", '"a <sip:a@b>', "< sip:a@b >", "<>", 'x "y" <sip:a@b>', '"a" sip:a@b', "sip:a@b?x=y", "<sip:a@b>tag=1"):
        with pytest.raises(MalformedMessage):
            parse_name_addr(wrong)


def test_lists_are_split_outside_quotes_and_brackets() -> None:
    assert split_list('"a,b" <sip:c,d@e>, <sip:f@g> ,h') == ['"a,b" <sip:c,d@e>', "<sip:f@g>", "h"]
    assert split_list("a, b ,c") == ["a", "b", "c"]
    with pytest.raises(MalformedMessage):
        split_list('"a, <b>')


def test_cseq_and_length() -> None:
    assert parse_cseq("0009 INVITE") == (9, "INVITE")
    for wrong in ("", "1", "x INVITE", "1 INV ITE", "-1 BYE", "٣ BYE"):
        with pytest.raises(MalformedMessage):
            parse_cseq(wrong)
    assert content_length([]) is None and content_length(["12", "12"]) == 12
    for bad in (["-1"], ["1", "2"], ["x"], ["٣"], ["99999999999"]):
        with pytest.raises(MalformedMessage):
            content_length(bad)


@given(st.text())
def test_what_is_quoted_is_read_back(text: str) -> None:
    clean = text.replace("\r", " ").replace("\n", " ")
    assert parse_name_addr(f"{quote(text)} <sip:a@b>").name == clean


def test_parameters_compare_without_regard_to_case() -> None:
    assert parse_parameters(";A=1;b;a=2") == {"a": "1", "b": None}


# ---- URIs


@pytest.mark.parametrize(
    "text",
    [
        "sip:alice@example.com", "sips:a:pw@[2001:db8::1]:5061;transport=tcp;lr?subject=x&to=y", "sip:example.com", "sip:+1-2;x=y@h:1",
        "tel:+15551234;phone-context=x", "urn:service:sos", "http://x/y?z", "sip:user;par=u%40example.net@example.com", "sip:*72#@pbx_1",
        "sip:a@h;maddr=[::1]", "SIP:Alice@EXAMPLE.com",
    ],
)  # fmt: skip
def test_a_uri_is_written_as_it_was_read(text: str) -> None:
    assert str(parse_uri(text)) == text


def test_the_parts_of_a_uri() -> None:
    uri = parse_uri("sips:a%20b:pw@[2001:db8::1]:5061;Transport=TCP;LR?subject=x")
    assert (uri.scheme, uri.user, uri.plain_user, uri.password) == ("sips", "a%20b", "a b", "pw")
    assert (uri.host, uri.port, uri.transport, uri.loose, uri.headers) == ("2001:db8::1", 5061, "tcp", True, "subject=x")
    assert parse_uri("tel:+1555;x=y").parameters == {"x": "y"}
    assert not parse_uri("tel:+1555").is_sip


def test_a_uri_made_of_parts() -> None:
    assert str(Uri("sip", user="a", host="::1", port=5060, parameters={"lr": None, "x": "y"})) == "sip:a@[::1]:5060;lr;x=y"
    assert str(Uri("tel", user="+1555")) == "tel:+1555"
    assert str(Uri("urn", opaque="service:sos")) == "urn:service:sos"


@pytest.mark.parametrize(
    "text",
    ["", "sip", "sip:", "sip:@h", "sip:a@", "sip:a b@h", "sip:a@h:x", "sip:a@h:70000", "sip:a@h;", "sip:a@h;=x", "sip:a@[::1", "sip:a@h h",
     "tel:", "1sip:a@b", "sip:a@h?x y", "http:// x", "sip:<a>@h", "sip:%zz@h", "sip:a@h;x=\r\n"],
)  # fmt: skip
def test_what_is_no_uri(text: str) -> None:
    with pytest.raises(MalformedUri):
        parse_uri(text)


def test_a_uri_that_is_too_long() -> None:
    with pytest.raises(MalformedUri) as refused:
        parse_uri("sip:" + "a" * 9000 + "@b")
    assert refused.value.status == 414
