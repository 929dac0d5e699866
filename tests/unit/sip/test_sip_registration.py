"""Requests outside of calls, and our registration with others: kept, made again, taken back."""

from __future__ import annotations

import pytest
from sip_rig import FLOW, TCP, US, Rig, response_to

from tapeline.sip import Credentials, EndpointConfig, Flow, MalformedUri, Registration, RegistrationChanged, Replied, Request
from tapeline.sip.registration import FIRST_DELAY_S, LONGEST_DELAY_S

ALICE = Credentials("alice", "wonderland")
CHALLENGE = 'WWW-Authenticate: Digest realm="r", nonce="n", qop="auth", algorithm=MD5\r\n'


# ---- requests outside of calls


def ask(rig: Rig, method: str = "OPTIONS", **more: object) -> str:
    identity = rig.endpoint.request(method, "sip:trunk@192.0.2.9", local=FLOW, from_uri="sip:us@192.0.2.1", now=rig.now, **more)  # type: ignore[arg-type]
    rig.drain()
    return identity


def test_a_request_outside_of_calls_ends_with_its_answer() -> None:
    rig = Rig()
    identity = ask(rig, "MESSAGE", body=b"hello", headers=[("Content-Type", "text/plain")])
    sent = rig.request
    assert (sent.method, sent.body, sent.call_id, sent.to.tag) == ("MESSAGE", b"hello", identity, "") and sent.from_.tag
    assert sent.need("content-type") == "text/plain" and sent.need("user-agent") == "tapeline"
    rig.give(response_to(sent, 100))
    assert rig.events == []
    rig.now = 0.25
    rig.give(response_to(sent, 202, reason="Fine"))
    (event,) = rig.events
    assert isinstance(event, Replied) and event.response is not None
    assert (event.id, event.status, event.text, event.took_s) == (identity, 202, "Fine", 0.25)


def test_silence_and_a_lost_connection_are_ends_too() -> None:
    rig = Rig()
    identity = ask(rig)
    rig.at(40.0)
    assert rig.events == [Replied(identity, 408, "no answer at all", None, 32.0)]
    rig = Rig()
    identity = rig.endpoint.request("OPTIONS", "sip:x@192.0.2.9", local=TCP._replace(id=0), from_uri="sip:us@192.0.2.1", now=0.0)
    rig.drain()
    rig.endpoint.connection_lost(TCP._replace(id=0), 1.0)
    rig.drain()
    assert rig.events == [Replied(identity, 503, "the connection failed", None, 1.0)]


def test_a_request_logs_in_once() -> None:
    rig = Rig()
    ask(rig, credentials=ALICE)
    rig.give(response_to(rig.request, 401, extra=CHALLENGE))
    again = rig.request
    assert again.cseq == (2, "OPTIONS") and again.get("authorization") and rig.events == []
    rig.give(response_to(again, 401, extra=CHALLENGE))
    (event,) = rig.events
    assert isinstance(event, Replied) and event.status == 401


def test_what_is_no_address_is_refused_at_once() -> None:
    rig = Rig()
    for target, sender in (("nonsense", "sip:us@x"), ("sip:x@y", "nonsense")):
        with pytest.raises(MalformedUri):
            rig.endpoint.request("OPTIONS", target, local=FLOW, from_uri=sender, now=0.0)
    with pytest.raises(ValueError, match="header"):
        rig.endpoint.request("OPTIONS", "sip:x@y", local=FLOW, from_uri="sip:us@x", headers=[("X", "a\r\nB: c")], now=0.0)


# ---- registrations


class Client(Rig):
    """An endpoint that registers `sip:alice@example.com`."""

    def __init__(self, flow: Flow = FLOW, config: EndpointConfig | None = None) -> None:
        super().__init__(config)
        self.registration: Registration = self.endpoint.register(
            "sip:alice@example.com", "sip:example.com", local=flow, credentials=ALICE, contact_user="alice", expires=600, now=0.0
        )
        self.drain()
        self.last = self.request

    def answer(self, status: int, extra: str = "", sent: Request | None = None) -> None:
        """Answer the newest REGISTER."""
        data = response_to(sent or self.last, status, extra=extra)
        self.give(data)
        self._newest()

    def _newest(self) -> None:
        registers = [item for item in self.requests if item.method == "REGISTER"]
        self.last = registers[-1] if registers else self.last

    def until(self, now: float) -> list[float]:
        """Let time pass until a REGISTER of a new transaction is sent; when that was, or nothing where it was not by `now`."""
        before = self.last.via.branch
        while (deadline := self.endpoint.next_deadline()) is not None and deadline <= now:
            self.now = deadline
            self.endpoint.tick(deadline)
            self.drain()
            self._newest()
            if self.last.via.branch != before:
                return [deadline]
        return []

    @property
    def states(self) -> list[str]:
        return [event.state for event in self.events if isinstance(event, RegistrationChanged)]


def granted(rig: Client, seconds: int = 600) -> str:
    return f"Contact: <sip:else@1.2.3.4>;expires=7, {rig.last.need('contact').partition(';')[0]};expires={seconds}\r\n"


def test_a_registration_says_who_and_where() -> None:
    rig = Client()
    sent = rig.last
    assert (sent.method, sent.uri_text, sent.from_.uri_text, sent.to.uri_text) == (
        "REGISTER", "sip:example.com", "sip:alice@example.com", "sip:alice@example.com",
    )  # fmt: skip
    assert sent.need("contact") == "<sip:alice@192.0.2.1:5060>;expires=600" and sent.need("expires") == "600"
    rig.answer(401, CHALLENGE)
    assert rig.last.cseq[0] == 2 and rig.last.get("authorization") and rig.registration.state == "trying"
    rig.answer(200, granted(rig, 300))
    assert rig.states == ["registered"] and rig.registration.expires_at == 300.0


@pytest.mark.parametrize("extra", ["Expires: 300\r\n", "", "Contact: <sip:x@y\r\n", 'Contact: "x, <sip:x@y>\r\n'])
def test_it_is_refreshed_before_it_ends_each_time_at_another_moment(extra: str) -> None:
    rig = Client()
    moments = []
    for _ in range(4):
        rig.answer(200, extra)
        assert rig.states in (["registered"], [])
        began = rig.now
        (moment,) = rig.until(began + 599.0)
        moments.append(moment - began)
    asked = 300 if "Expires" in extra else 600
    assert all(0.69 * asked < moment < 0.86 * asked for moment in moments) and len(set(moments)) == 4
    assert rig.last.call_id and rig.last.cseq[0] == 5


def test_423_names_the_interval_that_is_asked_for_next_once() -> None:
    rig = Client()
    rig.answer(423, "Min-Expires: 1800\r\n")
    assert rig.last.need("expires") == "1800"
    rig.answer(423, "Min-Expires: 3600\r\n")
    assert rig.states == ["failed"]


@pytest.mark.parametrize("extra", ["", "Min-Expires: 60\r\n", "Min-Expires: 999999999\r\n", "Min-Expires: soon\r\n"])
def test_423_that_makes_no_sense_is_a_failure(extra: str) -> None:
    rig = Client()
    rig.answer(423, extra)
    assert rig.states == ["failed"]


def test_a_refusal_is_tried_again_later_and_later_up_to_a_limit_and_told_each_time() -> None:
    rig = Client()
    waits = []
    for _ in range(12):
        rig.answer(403)
        assert rig.states == ["failed"]
        began = rig.now
        (moment,) = rig.until(began + LONGEST_DELAY_S)
        waits.append(moment - began)
    assert 0.5 * FIRST_DELAY_S <= waits[0] <= FIRST_DELAY_S and waits[3] > waits[0] * 2
    assert 0.5 * LONGEST_DELAY_S <= waits[-1] <= LONGEST_DELAY_S
    assert rig.registration.state == "failed" and rig.registration.status == 403
    rig.answer(200)
    assert rig.states == ["registered"]


def test_retry_after_is_waited_for() -> None:
    rig = Client()
    rig.answer(503, "Retry-After: 100 (busy)\r\n")
    (moment,) = rig.until(500.0)
    assert moment >= 100.0


def test_silence_is_a_failure_and_is_tried_again() -> None:
    rig = Client()
    rig.until(33.0)
    assert (rig.registration.state, rig.registration.status) == ("failed", 408)
    assert len(rig.until(60.0)) == 1


def test_a_wrong_password_is_told() -> None:
    rig = Client()
    rig.answer(401, CHALLENGE)
    rig.answer(401, CHALLENGE)
    (event,) = rig.events
    assert isinstance(event, RegistrationChanged) and (event.state, event.status) == ("failed", 401)


def test_a_lost_connection_is_registered_anew() -> None:
    flow = Flow("tcp", US, ("192.0.2.9", 5060))
    rig = Client(flow)
    assert rig.last.need("contact").startswith("<sip:alice@192.0.2.1:5060;transport=tcp>")
    rig.answer(200)
    rig.endpoint.connection_lost(flow, rig.now)
    rig.drain()
    assert len(rig.until(rig.now + 2.1)) == 1


def test_a_server_that_has_moved_is_registered_with_at_once() -> None:
    rig = Client()
    rig.answer(503)
    there = FLOW._replace(remote=("192.0.2.10", 5060))
    rig.registration.move(there, rig.now)
    rig.drain()
    assert rig.flows == [there] and rig.methods == ["REGISTER"]
    rig.registration.move(FLOW, rig.now)
    rig.drain()
    assert rig.methods == []  # one is under way


@pytest.mark.parametrize("via", ["received=203.0.113.1", "rport=40000"])
def test_what_lies_behind_a_nat_is_kept_open(via: str) -> None:
    rig = Client()
    data = response_to(rig.last, 200).replace(b";rport", f";{via}".encode())
    rig.give(data)
    rig.at(60.0)
    assert rig.raw == [b"\r\n\r\n"] * 2
    rig.registration.stop(rig.now)
    rig.drain()
    rig.answer(200, sent=rig.request)
    rig.at(200.0)
    assert rig.raw == []


def test_a_registration_that_stands_is_taken_back() -> None:
    rig = Client()
    rig.answer(200)
    rig.registration.stop(rig.now)
    rig.drain()
    sent = rig.request
    assert sent.need("expires") == "0" and sent.need("contact").endswith(";expires=0")
    rig.registration.stop(rig.now)
    rig.registration.move(TCP, rig.now)
    rig.drain()
    assert rig.raw == []
    rig.answer(200, sent=sent)
    assert rig.states == ["ended"] and rig.endpoint.registrations == []


def test_one_that_never_stood_just_ends() -> None:
    rig = Client()
    rig.answer(403)
    rig.registration.stop(rig.now)
    rig.drain()
    assert rig.states == ["ended"] and rig.raw == []
    assert rig.until(rig.now + 5000.0) == []


def test_one_that_is_being_made_is_taken_back_when_it_is_there() -> None:
    rig = Client()
    rig.registration.stop(rig.now)
    rig.drain()
    assert rig.raw == []
    rig.answer(200)
    assert rig.last.need("expires") == "0"
    rig.answer(200)
    assert rig.states == ["ended"]


def test_one_that_is_being_refused_ends_with_that() -> None:
    rig = Client()
    rig.registration.stop(rig.now)
    rig.answer(403)
    assert rig.states == ["ended"] and rig.endpoint.registrations == []
