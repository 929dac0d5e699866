"""Digest on both sides: what the two RFCs reckon, what is asked, what is believed, and what is never believed twice."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sip_rig import ANSWER, CONTACT, OFFER, SDP, Rig, counting_entropy, response_to
from sip_rig import request as request_text

from tapeline.sip import Ended, EndpointConfig, MalformedMessage, Request, Session, parse_message
from tapeline.sip.auth import (
    Authorization,
    Credentials,
    DigestClient,
    DigestServer,
    digest_response,
    parse_authorization,
    parse_challenges,
)

ALICE = Credentials("alice", 'pass"word\\ü')
PASSWORDS = {ALICE.username: ALICE.password}


def server(**changes: object) -> DigestServer:
    return DigestServer("tapeline", PASSWORDS.get, counting_entropy("server"), **changes)  # type: ignore[arg-type]  # passed on as given


def register(*headers: tuple[str, str]) -> Request:
    message = parse_message(request_text("REGISTER", extra="".join(f"{name}: {value}\r\n" for name, value in headers)))
    assert isinstance(message, Request)
    return message


def challenged(asked: list[str], status: int = 401) -> bytes:
    name = "WWW-Authenticate" if status == 401 else "Proxy-Authenticate"
    return response_to(register(), status, extra="".join(f"{name}: {value}\r\n" for value in asked))


def logged_in(asked: list[str], credentials: Credentials = ALICE) -> tuple[DigestClient, Request]:
    client = DigestClient(credentials, lambda: "c0ffee")
    response = parse_message(challenged(asked))
    assert not isinstance(response, Request) and client.take(register(), response)
    return client, register(*client.fields("REGISTER", "sip:192.0.2.1"))


# ---- what the RFCs reckon

MUFASA = Authorization(
    "Mufasa", "http-auth@example.org", "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", "/dir/index.html", "", "MD5", "auth", "00000001",
    "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
)  # fmt: skip


@pytest.mark.parametrize(
    ("algorithm", "expected"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_the_example_of_rfc_7616(algorithm: str, expected: str) -> None:
    assert digest_response(Credentials("Mufasa", "Circle of Life"), "GET", replace(MUFASA, algorithm=algorithm)) == expected


def test_the_example_of_rfc_2069_has_no_qop() -> None:
    answer = Authorization("Mufasa", "testrealm@host.com", "dcd98b7102dd2f0e8b11d0f600bfb0c093", "/dir/index.html", "", "MD5", "", "", "")
    assert digest_response(Credentials("Mufasa", "CircleOfLife"), "GET", answer) == "1949323746fe6a43ef61f9606e7febea"


# ---- reading


def test_challenges_may_share_a_line_with_each_other_and_with_other_schemes() -> None:
    found = parse_challenges('Basic realm="x", Digest realm="a, b",nonce="1" , qop="auth,auth-int", Digest realm="c",nonce="2",stale=TRUE')
    assert [(item.realm, item.nonce, item.qop, item.stale) for item in found] == [
        ("a, b", "1", ("auth", "auth-int"), False),
        ("c", "2", (), True),
    ]
    assert found[0].algorithm == "MD5" and found[0].opaque is None


@pytest.mark.parametrize(
    "text",
    ["", "Digest", 'Digest realm="a"', 'Digest realm="a', "Digest =,", 'Digest username="a",realm="b",nonce="c",uri="d"', "x" * 5000,
     'Digest username="a",realm="b",nonce="c",uri="d",response="e",qop=auth', 'Digest username="a",realm="b",nonce="c",uri="d",'
     'response="e",qop=auth,nc=1,cnonce="f"', 'Digest a="b", Digest c="d"'],
)  # fmt: skip
def test_credentials_that_cannot_be_read_are_refused(text: str) -> None:
    with pytest.raises(MalformedMessage):
        parse_authorization(text)


def test_another_scheme_is_no_digest() -> None:
    assert parse_authorization('Bearer token="x"') is None


def test_quotes_and_letters_beyond_ascii_survive() -> None:
    answer = logged_in(server().challenges(1.0))[1]
    found = parse_authorization(answer.need("authorization"))
    assert found is not None and found.username == "alice"
    assert parse_authorization(r'Digest username="a\"b\\",realm="",nonce="n",uri="u",response="AB"') == Authorization(
        'a"b\\', "", "n", "u", "ab", "MD5", "", "", ""
    )


# ---- the server


def test_both_algorithms_are_offered_the_stronger_first() -> None:
    first, second = server().challenges(0.0)
    assert "algorithm=SHA-256" in first and "algorithm=MD5" in second
    assert [item.qop for item in parse_challenges(f"{first}, {second}")] == [("auth",), ("auth",)]


def test_a_client_that_gives_up_at_a_second_challenge_is_given_one() -> None:
    (only,) = server().challenges(0.0, agent="baresip v1.0.0 (x86_64/linux)")
    assert "algorithm=MD5" in only
    assert len(server().challenges(0.0, agent="baresip v3.1.0")) == 2
    (strong,) = server(algorithms=("SHA-256",)).challenges(0.0, agent="baresip v1.0.0")
    assert "algorithm=SHA-256" in strong


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
def test_the_right_password_is_granted_once_for_each_count(algorithm: str) -> None:
    ours = server(algorithms=(algorithm,))
    client, sent = logged_in(ours.challenges(1.0))
    assert ours.check(sent, "authorization", 2.0).outcome == "granted"
    assert ours.check(sent, "authorization", 2.0).outcome == "stale"
    again = register(*client.fields("REGISTER", "sip:192.0.2.1"))
    assert "nc=00000002" in again.need("authorization")
    assert ours.check(again, "authorization", 3.0).outcome == "granted"
    assert ours.check(sent, "authorization", 3.0).outcome == "stale"


@pytest.mark.parametrize("wrong", [Credentials("alice", "wrong"), Credentials("nobody", "x")])
def test_wrong_passwords_and_unknown_names_are_denied_alike(wrong: Credentials) -> None:
    ours = server()
    verdict = ours.check(logged_in(ours.challenges(1.0), wrong)[1], "authorization", 1.0)
    assert (verdict.outcome, verdict.username) == ("denied", wrong.username)


def test_nothing_or_something_for_another_realm_is_missing() -> None:
    ours = server()
    assert ours.check(register(), "authorization", 0.0).outcome == "missing"
    other = DigestServer("elsewhere", PASSWORDS.get, counting_entropy())
    assert ours.check(logged_in(other.challenges(0.0))[1], "authorization", 0.0).outcome == "missing"


def test_a_nonce_has_its_time() -> None:
    ours = server(lifetime_s=30.0)
    sent = logged_in(ours.challenges(100.0))[1]
    assert ours.check(sent, "authorization", 131.0).outcome == "stale"
    assert "stale=true" in ours.challenges(131.0, stale=True)[0]


@pytest.mark.parametrize("forge", ["", "x", "0" * 58, "ü" * 58, "g" * 58])
def test_a_nonce_that_is_not_ours_is_never_believed(forge: str) -> None:
    ours = server()
    asked = [text.replace(parse_challenges(text)[0].nonce, forge or "-") for text in ours.challenges(1.0)]
    assert ours.check(logged_in(asked)[1], "authorization", 1.0).outcome == "stale"


def test_a_nonce_of_another_life_is_stale() -> None:
    before = DigestServer("tapeline", PASSWORDS.get, counting_entropy("before"))
    assert server().check(logged_in(before.challenges(1.0))[1], "authorization", 1.0).outcome == "stale"


def test_an_algorithm_that_was_not_offered_is_denied() -> None:
    ours = server(algorithms=("SHA-256",))
    weaker = [text.replace("SHA-256", "MD5") for text in ours.challenges(1.0)]
    assert ours.check(logged_in(weaker)[1], "authorization", 1.0).outcome == "denied"


def test_without_qop_a_nonce_is_good_once() -> None:
    ours = server()
    old = [text.replace(', qop="auth"', "") for text in ours.challenges(1.0)]
    client, sent = logged_in(old)
    assert "qop" not in sent.need("authorization")
    assert ours.check(sent, "authorization", 1.0).outcome == "granted"
    again = register(*client.fields("REGISTER", "sip:192.0.2.1"))
    assert ours.check(again, "authorization", 1.0).outcome == "stale"


def test_used_nonces_are_few_and_none_is_good_again_after_it_was_forgotten() -> None:
    ours = server(most=2)
    sent = [logged_in(ours.challenges(float(moment)))[1] for moment in range(1, 5)]
    assert [ours.check(item, "authorization", 5.0).outcome for item in sent] == ["granted"] * 4
    assert [ours.check(item, "authorization", 5.0).outcome for item in sent] == ["stale"] * 4
    assert len(ours._used) == 2


# ---- the client


def answer(asked: list[str], sent: Request | None = None, status: int = 401) -> tuple[DigestClient, bool]:
    client = DigestClient(ALICE, lambda: "c0ffee")
    response = parse_message(challenged(asked, status))
    assert not isinstance(response, Request)
    return client, client.take(sent or register(), response)


def test_the_strongest_algorithm_that_we_know_is_answered() -> None:
    asked = ['Digest realm="r", nonce="1", algorithm=MD5', 'Digest realm="r", nonce="2", algorithm=SHA-512-256',
             'Digest realm="r", nonce="3", algorithm=sha-256, qop="auth", opaque="o"']  # fmt: skip
    client, willing = answer(asked)
    ((name, value),) = client.fields("REGISTER", "sip:x")
    found = parse_authorization(value)
    assert willing and name == "Authorization" and found is not None and (found.nonce, found.qop) == ("3", "auth")
    assert 'opaque="o"' in value and "nc=00000001" in value and "algorithm=sha-256" in value


def test_each_realm_is_answered_and_so_is_a_proxy() -> None:
    client, willing = answer(['Digest realm="a", nonce="1", Digest realm="b", nonce="2"'], status=407)
    assert willing
    assert [name for name, _ in client.fields("INVITE", "sip:x")] == ["Proxy-Authorization"] * 2


@pytest.mark.parametrize(
    "asked",
    [[], ['Basic realm="r"'], ['Digest realm="r", nonce="1", algorithm=SHA-512-256'], ['Digest realm="r", nonce="1", qop="auth-int"'],
     ["Digest ,"], ['Digest realm="r"']],
)  # fmt: skip
def test_what_we_cannot_answer_is_not_answered(asked: list[str]) -> None:
    assert not answer(asked)[1]


# ---- calls of ours that are asked for a password

CHALLENGE = 'Digest realm="r", nonce="n1", qop="auth", algorithm=MD5'


def ask(sent: Request, status: int = 407, challenge: str = CHALLENGE) -> bytes:
    name = "WWW-Authenticate" if status == 401 else "Proxy-Authenticate"
    return response_to(sent, status, extra=f"{name}: {challenge}\r\n")


def test_an_invite_is_sent_again_with_a_new_cseq_and_the_failure_gets_its_ack() -> None:
    rig = Rig()
    session, first = rig.call(credentials=ALICE)
    rig.give(ask(first))
    ack, second = rig.requests
    assert (ack.method, ack.cseq, second.method, second.cseq) == ("ACK", (1, "ACK"), "INVITE", (2, "INVITE"))
    assert second.via.branch != first.via.branch and second.call_id == first.call_id and second.body == OFFER
    assert second.need("from") == first.need("from") and second.to.tag == "" and rig.events == []
    found = parse_authorization(second.need("proxy-authorization"))
    assert found is not None
    assert found.response == digest_response(ALICE, "INVITE", found)
    rig.give(response_to(second, 200, extra=CONTACT + SDP, body=ANSWER))
    assert rig.names == ["Accepted"]
    # RFC 3261 section 22.1: the ACK to the 2xx has the credentials of its INVITE.
    assert rig.request.method == "ACK" and rig.request.need("proxy-authorization") == second.need("proxy-authorization")
    assert rig.request.cseq[0] == 2
    session.hangup(rig.now)
    rig.drain()
    assert rig.request.cseq == (3, "BYE") and "nc=00000002" in rig.request.need("proxy-authorization")


@pytest.mark.parametrize("status", [401, 407])
def test_a_wrong_password_ends_the_call_at_the_second_refusal(status: int) -> None:
    rig = Rig()
    _, sent = rig.call(credentials=ALICE)
    rig.give(ask(sent, status))
    rig.give(ask(rig.requests[1], status, CHALLENGE.replace("n1", "n2")))
    (ended,) = rig.events
    assert isinstance(ended, Ended) and (ended.cause, ended.status) == ("rejected", status)
    assert rig.methods == ["ACK"]


def test_a_peer_that_finds_every_nonce_stale_is_given_up() -> None:
    rig = Rig()
    _, sent = rig.call(credentials=ALICE)
    for number in range(3):
        rig.give(ask(sent, challenge=CHALLENGE.replace("n1", f"n{number}") + ", stale=true"))
        if number < 2:
            sent = rig.requests[1]
    assert rig.names == ["Ended"]


def test_without_credentials_the_challenge_is_the_end() -> None:
    rig = Rig()
    _, sent = rig.call()
    rig.give(ask(sent))
    assert rig.names == ["Ended"] and rig.methods == ["ACK"]


def test_a_call_that_was_cancelled_is_not_sent_again() -> None:
    rig = Rig()
    session, sent = rig.call(credentials=ALICE)
    session.hangup(rig.now)
    rig.drain()
    rig.give(ask(sent))
    assert rig.methods == ["ACK"]


def test_a_cancel_is_for_the_invite_that_was_sent_again() -> None:
    rig = Rig()
    session, sent = rig.call(credentials=ALICE)
    rig.give(ask(sent))
    second = rig.requests[1]
    rig.give(response_to(second, 180))
    session.hangup(rig.now)
    rig.drain()
    assert rig.request.method == "CANCEL" and rig.request.via.branch == second.via.branch and rig.request.cseq[0] == 2


def established() -> tuple[Rig, Session]:
    rig = Rig()
    session, sent = rig.call(credentials=ALICE)
    rig.give(response_to(sent, 200, extra=CONTACT + SDP, body=ANSWER))
    return rig, session


def test_a_bye_is_sent_again_too() -> None:
    rig, session = established()
    session.hangup(rig.now)
    rig.drain()
    bye = rig.request
    rig.give(ask(bye, 401))
    assert rig.request.method == "BYE" and rig.request.cseq[0] == bye.cseq[0] + 1 and rig.request.get("authorization")
    rig.give(response_to(rig.request, 200))
    rig.at(100.0)
    assert rig.endpoint.idle


def test_a_reinvite_and_an_info_are_sent_again_too() -> None:
    rig, session = established()
    session.reoffer(OFFER, rig.now)
    rig.drain()
    rig.give(ask(rig.request))
    rig.give(response_to(rig.requests[1], 200, extra=CONTACT + SDP, body=ANSWER))
    assert rig.names == ["ReofferAccepted"]
    session.info("text/plain", b"x", rig.now)
    rig.drain()
    info = rig.request
    assert info.get("proxy-authorization")
    rig.give(ask(info, challenge=CHALLENGE.replace("n1", "n9")))
    assert rig.request.method == "INFO" and 'nonce="n9"' in rig.request.need("proxy-authorization")
    assert len(rig.request.all("proxy-authorization")) == 1


@pytest.mark.parametrize("method", ["REFER", "UPDATE", "NOTIFY"])
def test_what_else_is_sent_within_a_call_logs_in_too(method: str) -> None:
    rig, session = established()
    fields = [("Refer-To", "<sip:x@y>"), ("Contact", "<sip:us@192.0.2.1>")]
    session.send(method, rig.now, fields)
    rig.drain()
    rig.give(ask(rig.request))
    assert rig.request.method == method and rig.request.cseq[0] == 3 and rig.request.get("proxy-authorization")
    rig.give(ask(rig.request, challenge=CHALLENGE.replace("n1", "n2")))
    assert rig.methods == []


def test_an_invite_with_another_interval_has_credentials_of_its_own() -> None:
    rig = Rig(EndpointConfig(session_expires=1800))
    _, sent = rig.call(credentials=ALICE)
    rig.give(ask(sent))
    rig.give(response_to(rig.requests[1], 422, extra="Min-SE: 3600\r\n"))
    again = rig.requests[1]
    assert again.need("min-se") == "3600" and len(again.all("proxy-authorization")) == 1
    assert "nc=00000002" in again.need("proxy-authorization")
