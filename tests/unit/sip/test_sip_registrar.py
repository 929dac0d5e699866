"""The registrar: who may register, where users are then reached, and for how long; who must prove to be calling."""

from __future__ import annotations

import pytest
from sip_rig import FLOW, SDP, TCP, US, Rig, counting_entropy, invite, request, response_to

from tapeline.sip import (
    Binding,
    Credentials,
    EndpointConfig,
    Flow,
    Incoming,
    Registered,
    Registrar,
    RegistrarConfig,
    Request,
    Response,
    Unregistered,
    parse_message,
)
from tapeline.sip.auth import DigestClient

PASSWORDS = {"alice": "wonderland", "bob": "builder"}
EXTENSIONS = {"1001": "alice"}
NAT = Flow("udp", US, ("203.0.113.7", 40000))


def name_of(user: str) -> str | None:
    found = EXTENSIONS.get(user, user)
    return found if found in PASSWORDS else None


def secret(user: str) -> str | None:
    return PASSWORDS.get(name_of(user) or "")


class Switch(Rig):
    """An endpoint with a registrar, and a phone that knows how to log in."""

    def __init__(self, **limits: object) -> None:
        config = RegistrarConfig(**limits)  # type: ignore[arg-type]  # passed on as given
        self.registrar = Registrar("tapeline", secret, counting_entropy("registrar"), name_of=name_of, config=config)
        super().__init__(EndpointConfig(), self.registrar)
        self.seq = 0
        self.now = 1000.0

    def send(self, method: str, flow: Flow, to: str, extra: str, contact: str, login: tuple[str, str] | None, call_id: str) -> Response:
        """Send it, log in where asked to; gives the last answer."""
        client = DigestClient(Credentials(*login), lambda: "cafe") if login else None
        fields: list[tuple[str, str]] = []
        for _ in range(2):
            self.seq += 1
            head = "".join(f"{name}: {value}\r\n" for name, value in fields)
            data = request(method, seq=self.seq, branch=f"z9hG4bK-{method}{self.seq}", uri="sip:tapeline", contact=contact, call_id=call_id,
                           extra=extra + head)  # fmt: skip
            data = data.replace(b"To: <sip:1000@192.0.2.1>", f"To: <sip:{to}@192.0.2.1>".encode())
            data = data.replace(b"From: <sip:peer@", f"From: <sip:{to}@".encode())
            self.give(data, flow)
            sent = parse_message(data)
            assert isinstance(sent, Request)
            if client is None or self.response.status not in (401, 407) or not client.take(sent, self.response):
                break
            fields = client.fields(method, "sip:tapeline")
        return self.response

    def register(
        self,
        contact: str = "<sip:alice@192.0.2.9:5060>",
        *,
        user: str = "alice",
        password: str | None = "",
        login: str = "",
        flow: Flow = FLOW,
        extra: str = "",
        call_id: str = "reg-1",
    ) -> Response:
        known = secret(user) or "x" if password == "" else password
        return self.send("REGISTER", flow, user, extra, contact, (login or user, known) if known is not None else None, call_id)

    def contacts(self, user: str = "alice") -> tuple[Binding, ...]:
        return self.registrar.contacts(user, self.now)

    @property
    def uris(self) -> list[str]:
        return [binding.uri for binding in self.contacts()]


# ---- who may


def test_a_registration_is_asked_for_a_password() -> None:
    rig = Switch()
    asked = rig.register(password=None)
    assert asked.status == 401 and len(asked.all("www-authenticate")) == 2
    assert rig.endpoint.transactions == 0  # asking costs nothing
    assert rig.contacts() == () and rig.endpoint.counters.challenged == 1


@pytest.mark.parametrize("user", ["alice", "1001"])
def test_a_user_registers_by_name_or_extension_and_is_one_user(user: str) -> None:
    rig = Switch()
    answer = rig.register(user=user)
    assert answer.status == 200 and answer.all("contact") == ["<sip:alice@192.0.2.9:5060>;q=1;expires=3600"]
    (event,) = rig.events
    assert isinstance(event, Registered) and (event.username, event.fresh) == ("alice", True)
    assert rig.contacts("alice") == rig.contacts("1001") == (event.binding,)
    assert rig.registrar.registered == 1


def test_the_name_logged_in_with_may_be_the_other_one() -> None:
    assert Switch().register(user="1001", login="alice").status == 200


@pytest.mark.parametrize(("user", "login", "password"), [
    ("alice", "alice", "wrong"), ("nobody", "nobody", "x"), ("alice", "bob", "builder"), ("nobody", "alice", "wonderland"),
])  # fmt: skip
def test_whoever_is_not_that_user_is_forbidden(user: str, login: str, password: str) -> None:
    rig = Switch()
    assert rig.register(user=user, login=login, password=password).status == 403
    assert rig.registrar.registered == 0 and rig.endpoint.counters.failed_logins == 1


def test_credentials_that_cannot_be_read_get_400() -> None:
    assert Switch().register(password=None, extra="Authorization: Digest realm\r\n").status == 400


def test_a_source_with_too_many_wrong_passwords_is_refused_unheard() -> None:
    rig = Switch(most_failures=3, shut_out_s=60.0)
    for _ in range(3):
        assert rig.register(password="wrong").status == 403
    transactions = rig.endpoint.transactions
    assert rig.register().status == 403
    assert rig.endpoint.transactions == transactions and rig.endpoint.counters.refused_logins == 1
    assert rig.register(flow=FLOW._replace(remote=("192.0.2.10", 5060))).status == 200
    rig.at(rig.now + 61.0)
    assert rig.register().status == 200


def test_a_registered_phone_is_heard_though_its_neighbour_guesses() -> None:
    rig = Switch(most_failures=2)
    rig.register(flow=NAT)
    for _ in range(4):
        rig.register(flow=NAT._replace(remote=(NAT.remote[0], 50000)), password="wrong")
    assert rig.endpoint.counters.refused_logins == 2
    assert rig.register(flow=NAT).status == 200
    assert rig.register(flow=NAT, user="bob").status == 403  # that flow is alice's alone


def test_without_a_registrar_nobody_registers() -> None:
    rig = Rig()
    assert rig.give(request("REGISTER")) == [405]
    assert "REGISTER" not in rig.response.need("allow")
    with_one = Switch()
    with_one.give(request("OPTIONS"))
    assert "REGISTER" in with_one.response.need("allow")


# ---- where somebody is


def test_several_contacts_best_first() -> None:
    rig = Switch()
    rig.register("<sip:a@192.0.2.9:1>;q=0.3")
    rig.register("<sip:b@192.0.2.9:2>;q=0.9, <sip:c@192.0.2.9:3>;q=0.1", call_id="reg-1")
    assert rig.uris == ["sip:b@192.0.2.9:2", "sip:a@192.0.2.9:1", "sip:c@192.0.2.9:3"]


@pytest.mark.parametrize(("q", "expected"), [("2", 1.0), ("-1", 0.0), ("nan", 1.0), ("x", 1.0), ("0.25", 0.25)])
def test_a_q_that_is_none_is_made_one(q: str, expected: float) -> None:
    rig = Switch()
    rig.register(f"<sip:a@192.0.2.9>;q={q}")
    assert rig.contacts()[0].q == expected


@pytest.mark.parametrize(
    ("contact", "extra", "expected"),
    [("<sip:a@x>;expires=120", "Expires: 600\r\n", 120), ("<sip:a@x>", "Expires: 600\r\n", 600), ("<sip:a@x>", "", 3600),
     ("<sip:a@x>;expires=99999999", "", 7200), ("<sip:a@x>;expires=soon", "", 3600), ("<sip:a@x>", "Expires: never\r\n", 3600)],
)  # fmt: skip
def test_how_long_a_registration_lasts(contact: str, extra: str, expected: int) -> None:
    rig = Switch()
    assert f";expires={expected}" in rig.register(contact, extra=extra).need("contact")
    assert rig.contacts()[0].expires_at == rig.now + expected


def test_a_default_that_is_longer_than_allowed_is_cut() -> None:
    rig = Switch(max_expires=600)
    assert rig.register("<sip:a@x>").need("contact").endswith(";expires=600")


def test_too_short_a_registration_gets_423_and_changes_nothing() -> None:
    rig = Switch()
    answer = rig.register("<sip:a@x>;expires=100, <sip:b@x>;expires=59")
    assert answer.status == 423 and answer.get("min-expires") == "60"
    assert rig.uris == []


def test_a_registration_expires_and_says_so() -> None:
    rig = Switch()
    rig.register("<sip:a@x>;expires=60")
    assert rig.endpoint.next_deadline() is not None
    rig.at(rig.now + 60.0)
    assert Unregistered("alice", "sip:a@x", "expired") in rig.events
    assert rig.uris == [] and rig.registrar.registered == 0


def test_bindings_do_not_keep_an_endpoint_from_being_idle() -> None:
    rig = Switch()
    rig.register()
    rig.at(rig.now + 40.0)  # the transactions are over
    assert rig.contacts() and rig.endpoint.idle


def test_a_refresh_is_no_second_binding() -> None:
    rig = Switch()
    rig.register("<sip:a@X.example:5060;transport=UDP>")
    rig.at(rig.now + 1000.0)
    rig.register("<sip:a@x.EXAMPLE:5060;transport=udp>")
    (event,) = rig.events
    assert isinstance(event, Registered) and not event.fresh
    assert len(rig.contacts()) == 1 and rig.contacts()[0].expires_at == rig.now + 3600
    rig.at(rig.now + 3000.0)
    assert len(rig.contacts()) == 1


def test_a_contact_is_removed_by_expires_0_and_all_by_a_star() -> None:
    rig = Switch()
    rig.register("<sip:a@x>, <sip:b@x>, <sip:c@x>")
    answer = rig.register("<sip:b@x>;expires=0")
    assert len(answer.all("contact")) == 2 and rig.events == [Unregistered("alice", "sip:b@x", "removed")]
    answer = rig.register("*", extra="Expires: 0\r\n")
    assert answer.status == 200 and answer.all("contact") == [] and rig.uris == []
    assert rig.register("<sip:gone@x>;expires=0").status == 200


@pytest.mark.parametrize(("contact", "extra"), [("*", ""), ("*", "Expires: 60\r\n"), ("*, <sip:a@x>", "Expires: 0\r\n"), ("<tel:1>", ""),
                                                ("<sip:a@x", ""), ("<sip:@>", "")])  # fmt: skip
def test_a_contact_that_is_none_gets_400(contact: str, extra: str) -> None:
    assert Switch().register(contact, extra=extra).status == 400


def test_without_contact_the_bindings_are_told() -> None:
    rig = Switch()
    rig.register("<sip:a@x>;expires=600")
    rig.at(rig.now + 100.0)
    rig.register("<sip:z@x>")
    answer = rig.register("")
    assert answer.status == 200 and rig.events == []
    assert [item.partition(";")[0] for item in answer.all("contact")] == ["<sip:z@x>", "<sip:a@x>"]
    assert answer.all("contact")[1].endswith("expires=500")


def test_a_registration_that_was_overtaken_changes_nothing() -> None:
    rig = Switch()
    rig.register("<sip:a@x>;expires=600")
    rig.at(rig.now + 40.0)  # the transactions are over
    rig.seq -= 2
    assert rig.register("<sip:a@x>;expires=0").status == 500
    assert rig.uris == ["sip:a@x"]


def test_a_user_has_so_many_contacts_and_the_one_that_ends_first_makes_room() -> None:
    rig = Switch(most_contacts=2)
    rig.register("<sip:a@x>;expires=600, <sip:b@x>;expires=300")
    rig.register("<sip:c@x>")
    assert Unregistered("alice", "sip:b@x", "replaced") in rig.events
    assert sorted(rig.uris) == ["sip:a@x", "sip:c@x"]
    assert rig.register("<sip:d@x>, <sip:e@x>, <sip:f@x>").status == 403


def test_a_phone_that_was_started_anew_is_not_there_twice() -> None:
    rig = Switch()
    rig.register("<sip:alice-1@192.0.2.9:5060>", call_id="first")
    rig.register("<sip:bob@192.0.2.9:5060>", user="bob")
    rig.register("<sip:alice-2@192.0.2.9:5060>", call_id="second")
    assert rig.events[0] == Unregistered("alice", "sip:alice-1@192.0.2.9:5060", "replaced")
    assert rig.uris == ["sip:alice-2@192.0.2.9:5060"] and len(rig.contacts("bob")) == 1


def test_an_instance_with_a_number_is_the_same_phone_wherever_it_is() -> None:
    rig = Switch()
    same = ';+sip.instance="<urn:uuid:1>";reg-id=1'
    rig.register(f"<sip:a@192.0.2.9:1>{same}")
    rig.register(f"<sip:a@192.0.2.9:2>{same}", flow=NAT)
    assert [(binding.uri, binding.flow) for binding in rig.contacts()] == [("sip:a@192.0.2.9:2", NAT)]


# ---- the way back


def test_a_phone_behind_a_nat_is_called_over_its_flow_and_the_call_keeps_to_it() -> None:
    rig = Switch()
    rig.register("<sip:alice@10.0.0.5:5060>", flow=NAT)
    (binding,) = rig.contacts()
    assert binding.behind_nat and binding.flow == NAT
    session, sent = rig.call(target=binding.uri, flow=binding.flow)
    assert rig.flows == [NAT] and sent.uri_text == "sip:alice@10.0.0.5:5060"
    rig.give(response_to(sent, 200, extra="Contact: <sip:alice@10.0.0.5:5060>\r\n" + SDP, body=b"v=0\r\n"), NAT)
    assert rig.flows == [NAT]  # the ACK
    session.hangup(rig.now)
    rig.drain()
    assert rig.flows == [NAT]


def test_a_call_to_the_same_contact_that_nobody_registered_goes_where_its_contact_points() -> None:
    rig = Switch()
    there = Flow("udp", US, ("198.51.100.1", 5060))
    _, sent = rig.call(target="sip:x@198.51.100.1", flow=there)
    rig.give(response_to(sent, 200, extra="Contact: <sip:x@198.51.100.2:5070>\r\n" + SDP, body=b"v=0\r\n"), there)
    assert rig.flows[0].remote == ("198.51.100.2", 5070)


def test_a_nat_is_kept_open() -> None:
    rig = Switch(ping_s=20.0)
    rig.register("<sip:alice@10.0.0.5:5060>;expires=70", flow=NAT)
    rig.register("<sip:bob@192.0.2.9:5060>", user="bob")
    rig.at(rig.now + 65.0)
    assert rig.raw == [b"\r\n\r\n"] * 3 and rig.flows == [NAT] * 3
    rig.at(rig.now + 100.0)
    assert rig.raw == []


def test_a_closed_connection_ends_its_bindings() -> None:
    rig = Switch()
    rig.register("<sip:a@192.0.2.9:40001;transport=tcp>", flow=TCP)
    assert not rig.contacts()[0].behind_nat
    rig.endpoint.connection_lost(TCP, rig.now)
    rig.drain()
    assert rig.events == [Unregistered("alice", "sip:a@192.0.2.9:40001;transport=tcp", "lost")]
    assert rig.uris == []
    assert rig.endpoint.next_deadline() is None or rig.registrar.registered == 0


# ---- who calls


def claim(rig: Switch, user: str, login: tuple[str, str] | None, extra: str = "") -> Response | None:
    """An INVITE from `user`; its final answer, or None where it became a call."""
    rig.seq += 10
    data = invite(seq=rig.seq, branch=f"z9hG4bKinv{rig.seq}", call_id=f"call-{rig.seq}", extra=extra)
    data = data.replace(b"From: <sip:peer@", f"From: <sip:{user}@".encode())
    if rig.give(data) == [] or login is None:
        return rig.response if rig.raw else None
    sent = parse_message(data)
    client = DigestClient(Credentials(*login), lambda: "cafe")
    assert isinstance(sent, Request) and client.take(sent, rig.response)
    fields = "".join(f"{name}: {value}\r\n" for name, value in client.fields("INVITE", sent.uri_text))
    again = data.replace(f"CSeq: {rig.seq} ".encode(), f"{fields}CSeq: {rig.seq + 1} ".encode()).replace(b"z9hG4bKinv", b"z9hG4bKinw")
    return rig.response if rig.give(again) else None


def test_a_call_from_a_user_is_asked_for_a_password_even_over_its_own_flow() -> None:
    rig = Switch()
    rig.register()
    answer = claim(rig, "alice", None)
    assert answer is not None and answer.status == 407 and len(answer.all("proxy-authenticate")) == 2
    ack = request("ACK", seq=rig.seq, branch=f"z9hG4bKinv{rig.seq}", call_id=answer.call_id, to_tag=answer.to.tag)
    rig.give(ack)
    assert rig.endpoint.counters.dropped == {} and rig.endpoint.pending == 0


@pytest.mark.parametrize("user", ["alice", "1001"])
def test_the_user_who_calls_is_named(user: str) -> None:
    rig = Switch()
    assert claim(rig, user, (user, "wonderland")) is None
    (event,) = rig.events
    assert isinstance(event, Incoming) and event.user == "alice"


def test_a_call_in_anothers_name_is_forbidden() -> None:
    rig = Switch()
    for login in (("bob", "builder"), ("alice", "wrong")):
        answer = claim(rig, "alice", login)
        assert answer is not None and answer.status == 403


def test_a_call_from_elsewhere_is_not_asked() -> None:
    rig = Switch()
    assert claim(rig, "peer", None) is None
    (event,) = rig.events
    assert isinstance(event, Incoming) and event.user == ""
