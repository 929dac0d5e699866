"""Registrations and calls that log in, over a bad network in virtual time: they come about, they stay, and in the end nothing is left."""

from __future__ import annotations

import pytest
from sip_party import ALICE, BOB, SDP, Party, let_run

from tapeline.sip import Credentials, Event, Flow, Incoming, Session
from tapeline.testing.network import Impairment, LossyNetwork

LOGIN = Credentials("alice", "wonderland")
BAD = Impairment(delay_s=0.02, jitter_s=0.3, loss=0.15, duplicate=0.1, reorder=0.1, reorder_s=0.8)


def obliging(party: Party, event: Event, now: float) -> None:
    if isinstance(event, Incoming):
        event.session.accept(SDP, now)


def stage(seed: int, impairment: Impairment = BAD) -> tuple[LossyNetwork, Party, Party]:
    """A network, a phone, and a server that knows its user."""
    network = LossyNetwork(seed, impairment)
    return network, Party(ALICE, obliging), Party(BOB, obliging, passwords={LOGIN.username: LOGIN.password})


def register(phone: Party, expires: int) -> None:
    flow = Flow("udp", ALICE, BOB)
    phone.at(
        0.0,
        lambda now: phone.endpoint.register(
            "sip:alice@192.0.2.2", "sip:192.0.2.2", local=flow, credentials=LOGIN, contact_user="alice", expires=expires, now=now
        ),
    )


@pytest.mark.parametrize("seed", range(20))
def test_a_registration_holds_over_a_bad_network_and_is_taken_back(seed: int) -> None:
    network, phone, server = stage(seed)
    registrar = server.endpoint.registrar
    assert registrar is not None
    register(phone, 120)
    held: list[bool] = []
    for moment in range(100, 2000, 50):
        server.at(float(moment), lambda now: held.append(bool(registrar.contacts("alice", now))))
    phone.at(2000.0, lambda now: phone.endpoint.registrations[0].stop(now))
    let_run(network, (phone, server), 2300.0)
    assert sum(held) >= 0.9 * len(held) and server.totals["Registered"] >= 2000 // 120
    assert phone.endpoint.registrations == [] and registrar.registered == 0
    assert phone.endpoint.idle and server.endpoint.idle


@pytest.mark.parametrize("seed", range(20))
def test_calls_log_in_and_reach_who_is_registered(seed: int) -> None:
    network, phone, server = stage(seed)
    registrar = server.endpoint.registrar
    assert registrar is not None
    register(phone, 600)
    calls: list[Session] = []

    def call_out(now: float) -> None:
        flow = Flow("udp", ALICE, BOB)
        target, sender = "sip:1000@192.0.2.2", "sip:alice@192.0.2.2"
        calls.append(phone.endpoint.invite(target, local=flow, from_uri=sender, body=SDP, credentials=LOGIN, now=now))

    def call_in(now: float) -> None:
        for binding in registrar.contacts("alice", now):
            sender = "sip:bob@192.0.2.2"
            calls.append(server.endpoint.invite(binding.uri, local=binding.flow, from_uri=sender, body=SDP, now=now))

    phone.at(40.0, call_out)
    server.at(45.0, call_in)
    for party in (phone, server):
        party.at(80.0, lambda now, party=party: [session.hangup(now) for session in list(party.endpoint.sessions.values())])  # type: ignore[misc]
    phone.at(130.0, lambda now: phone.endpoint.registrations[0].stop(now))
    let_run(network, (phone, server), 400.0)
    assert len(calls) == 2 and phone.totals["Incoming"] == server.totals["Incoming"] == 1
    assert phone.totals["Accepted"] == server.totals["Accepted"] == 1
    phone.assert_all_ended_once()
    server.assert_all_ended_once()


def test_a_wrong_password_makes_no_storm() -> None:
    network, phone, server = stage(1, Impairment())
    flow = Flow("udp", ALICE, BOB)
    phone.at(
        0.0,
        lambda now: phone.endpoint.register(
            "sip:alice@192.0.2.2", "sip:192.0.2.2", local=flow, credentials=Credentials("alice", "wrong"), now=now
        ),
    )
    let_run(network, (phone, server), 86400.0)
    counters = server.endpoint.counters
    assert 40 < counters.failed_logins + counters.refused_logins < 120
    assert server.totals["LoginFailed"] == counters.failed_logins > 0
    assert phone.totals["RegistrationChanged"] == counters.failed_logins + counters.refused_logins
