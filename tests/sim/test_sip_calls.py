"""Two endpoints over a bad network in virtual time: every call ends exactly once on each side, and nothing stays behind."""

from __future__ import annotations

import contextlib
import gc
import random
from collections import Counter
from collections.abc import Callable

import pytest
from sip_party import ALICE, BOB, SDP, Party, Reaction, let_run

from tapeline.core.errors import InvalidState
from tapeline.sip import Accepted, Ended, Established, Event, Incoming, ReofferAccepted, Reoffered, Session
from tapeline.sip.dialog import Dialog
from tapeline.sip.invite_in import IncomingInvite
from tapeline.sip.invite_out import OutgoingInvite
from tapeline.sip.transactions import Transaction
from tapeline.testing.network import Impairment, LossyNetwork

BAD = Impairment(delay_s=0.02, jitter_s=0.3, loss=0.15, duplicate=0.1, reorder=0.1, reorder_s=0.8)


def quiet(party: Party, event: Event, now: float) -> None:
    """Does nothing."""


def obliging(party: Party, event: Event, now: float) -> None:
    """Answers whatever it is asked."""
    if isinstance(event, Incoming):
        event.session.accept(SDP, now)
    elif isinstance(event, Reoffered):
        event.session.answer_reoffer(SDP, now)
    elif isinstance(event, Accepted) and event.session.state == "confirmed":
        try_to(lambda: event.session.ack(SDP, now))


def try_to(command: Callable[[], object]) -> None:
    """Commands that come at random do not always fit; that they say so is part of the test."""
    with contextlib.suppress(InvalidState):
        command()


def whim(rng: random.Random) -> Reaction:
    """A party that answers, rings, refuses, holds, sends INFO and hangs up as the dice fall."""

    def react(party: Party, event: Event, now: float) -> None:
        session = event.session
        later = now + rng.random() * 4
        if isinstance(event, Incoming):
            choice = rng.randrange(5)
            if choice == 0:
                session.reject(rng.choice((486, 404, 603)), now)
            elif choice == 1:
                session.ring(now)  # and never answers
            elif choice == 2:
                session.accept(SDP, now)
            else:
                session.ring(now)
                party.at(later, lambda at: try_to(lambda: session.accept(SDP, at)))
        elif isinstance(event, Reoffered):
            if rng.random() < 0.3:
                session.refuse_reoffer(488, now)
            else:
                party.at(now + rng.random(), lambda at: try_to(lambda: session.answer_reoffer(SDP, at)))
        elif isinstance(event, Accepted | Established):
            if isinstance(event, Accepted):
                try_to(lambda: session.ack(SDP, now))
            for _ in range(rng.randrange(3)):
                body = SDP if rng.random() < 0.7 else None
                party.at(now + rng.random() * 6, lambda at, body=body: try_to(lambda: session.reoffer(body, at)))  # type: ignore[misc]
            party.at(now + rng.random() * 6, lambda at: try_to(lambda: session.info("application/dtmf-relay", b"Signal=1\r\n", at)))
            party.at(now + rng.random() * 10, lambda at: session.hangup(at))
        elif isinstance(event, ReofferAccepted):
            try_to(lambda: session.ack(SDP, now))

    return react


@pytest.mark.parametrize("seed", range(20))
def test_every_call_ends_once_on_each_side(seed: int) -> None:
    rng = random.Random(seed)
    alice = Party(ALICE, whim(rng))
    bob = Party(BOB, whim(rng))
    network = LossyNetwork(seed, BAD)

    def place(party: Party, target: tuple[str, int]) -> None:
        def command(now: float) -> None:
            session = party.call(target, now, SDP if rng.random() < 0.8 else None)
            party.at(now + rng.random() * 15, lambda at: session.hangup(at))

        party.at(rng.random() * 20, command)

    for _ in range(40):
        place(alice, BOB)
        place(bob, ALICE)
    let_run(network, [alice, bob], 400.0)
    for party in (alice, bob):
        party.assert_all_ended_once()
        assert party.totals["Incoming"] >= 30 and party.totals["Established"] >= 5 and party.totals["Reoffered"] >= 1
    assert network.counters["lost"] > 100 and network.counters["duplicated"] > 50


@pytest.mark.parametrize("offset", [-0.5, -0.2, -0.1, -0.09, -0.05, -0.01, 0.0, 0.01, 0.05, 0.09, 0.1, 0.2, 0.5])
def test_cancel_against_200(offset: float) -> None:
    """The callee accepts at 1 s; the caller hangs up around then, 100 ms away."""

    def ringing(party: Party, event: Event, now: float) -> None:
        if isinstance(event, Incoming):
            session = event.session
            session.ring(now)
            party.at(1.0, lambda at: session.accept(SDP, at) if session.state == "early" else None)

    alice, bob = Party(ALICE, quiet), Party(BOB, ringing)
    alice.at(0.0, lambda now: alice.at(1.0 + offset, alice.call(BOB, now).hangup))
    let_run(LossyNetwork(1, Impairment(delay_s=0.1)), [alice, bob], 200.0)
    for party in (alice, bob):
        party.assert_all_ended_once()
    ((caller,),) = alice.ends.values()
    ((callee,),) = bob.ends.values()
    cancelled_in_time = offset < -0.1
    answered_in_time = offset > 0.1
    if cancelled_in_time:
        assert (caller.cause, callee.cause) == ("cancel", "cancel")
    elif answered_in_time:
        assert (caller.cause, callee.cause) == ("normal", "normal")
    elif abs(offset) < 0.1:
        # The 200 and the CANCEL cross: the caller has cancelled, the callee was called and then told goodbye.
        assert (caller.cause, callee.cause) == ("cancel", "normal")
    assert caller.by == "local" and callee.by == "remote"


@pytest.mark.parametrize("offset", [-0.3, -0.15, -0.1, -0.05, 0.0, 0.05, 0.1, 0.15, 0.3])
@pytest.mark.parametrize("who", ["caller", "callee"])
def test_bye_crossing_a_reinvite(offset: float, who: str) -> None:
    alice, bob = Party(ALICE, obliging), Party(BOB, obliging)

    def start(now: float) -> None:
        session = alice.call(BOB, now)
        rings = (alice, bob) if who == "caller" else (bob, alice)
        rings[0].at(2.0, lambda at: try_to(lambda: session_of(rings[0], session).reoffer(SDP, at)))
        rings[1].at(2.0 + offset, lambda at: session_of(rings[1], session).hangup(at))

    alice.at(0.0, start)
    let_run(LossyNetwork(1, Impairment(delay_s=0.1)), [alice, bob], 200.0)
    for party in (alice, bob):
        party.assert_all_ended_once()
        ((ended,),) = party.ends.values()
        assert ended.cause == "normal"


def session_of(party: Party, session: Session) -> Session:
    """The same call as that side knows it."""
    (found,) = [item for item in party.endpoint.sessions.values() if item.call_id == session.call_id] or [session]
    return found


def test_reinvites_that_meet_are_both_done_in_the_end() -> None:
    alice, bob = Party(ALICE, obliging), Party(BOB, obliging)

    def start(now: float) -> None:
        session = alice.call(BOB, now)
        alice.at(2.0, lambda at: session.reoffer(SDP, at))
        bob.at(2.0, lambda at: session_of(bob, session).reoffer(SDP, at))
        alice.at(20.0, session.hangup)

    alice.at(0.0, start)
    let_run(LossyNetwork(1, Impairment(delay_s=0.1)), [alice, bob], 200.0)
    for party in (alice, bob):
        party.assert_all_ended_once()
        (names,) = party.seen.values()
        assert names.count("Reoffered") == 1 and names.count("ReofferAccepted") == 1 and "ReofferRefused" not in names


def test_the_2xx_is_repeated_until_the_ack_comes() -> None:
    network = LossyNetwork(1, Impairment(delay_s=0.01))
    network.impair(ALICE, BOB, Impairment(delay_s=0.01, gaps=((0.015, 10.0),)))  # ACKs are lost for ten seconds
    alice, bob = Party(ALICE, obliging), Party(BOB, obliging)
    alice.at(0.0, lambda now: alice.at(30.0, alice.call(BOB, now).hangup))
    let_run(network, [alice, bob], 200.0)
    for party in (alice, bob):
        party.assert_all_ended_once()
    assert bob.totals["Established"] == 1
    assert bob.endpoint.counters.retransmitted >= 4 and alice.endpoint.counters.retransmitted >= 4
    assert [ended.cause for (ended,) in bob.ends.values()] == ["normal"]


def test_a_caller_that_never_acks_is_left_after_64_t1() -> None:
    network = LossyNetwork(1, Impairment(delay_s=0.01))
    network.impair(ALICE, BOB, Impairment(delay_s=0.01, gaps=((0.015, 500.0),)))
    alice, bob = Party(ALICE, obliging), Party(BOB, obliging)
    alice.at(0.0, lambda now: alice.call(BOB, now))
    let_run(network, [alice, bob], 300.0)
    for party in (alice, bob):
        party.assert_all_ended_once()
    ((ended,),) = bob.ends.values()
    assert (ended.cause, ended.by, ended.status) == ("timeout", "local", 408)
    ((told,),) = alice.ends.values()  # the BYE reaches it
    assert (told.cause, told.by) == ("normal", "remote")
    assert bob.totals["Established"] == 0


@pytest.mark.parametrize("moment", [0.005, 0.015, 0.025, 0.5, 2.0, 3.05])
def test_a_peer_that_vanishes(moment: float) -> None:
    """Everything after `moment` is lost; the caller hangs up at 3 s, or learns that nobody is there."""
    network = LossyNetwork(1, Impairment(delay_s=0.01, gaps=((moment, 10_000.0),)))
    alice, bob = Party(ALICE, obliging), Party(BOB, obliging)

    def start(now: float) -> None:
        session = alice.call(BOB, now)
        alice.at(3.0, session.hangup)
        bob.at(6.0, lambda at: [item.hangup(at) for item in list(bob.endpoint.sessions.values())] and None)

    alice.at(0.0, start)
    let_run(network, [alice, bob], 400.0)
    for party in (alice, bob):
        party.assert_all_ended_once()


def test_nobody_there() -> None:
    alice = Party(ALICE, quiet)
    alice.at(0.0, lambda now: alice.call(BOB, now))
    let_run(LossyNetwork(), [alice], 100.0)
    alice.assert_all_ended_once()
    assert [ended.cause for (ended,) in alice.ends.values()] == ["timeout"]


def test_a_thousand_calls_leave_nothing_behind() -> None:
    def census() -> Counter[str]:
        gc.collect()
        kinds = (Session, Dialog, Transaction, IncomingInvite, OutgoingInvite)
        return Counter(type(item).__name__ for item in gc.get_objects() if isinstance(item, kinds))

    before = census()
    alice, bob = Party(ALICE, obliging), Party(BOB, obliging)
    for number in range(1000):
        alice.at(number * 0.01, lambda now: alice.at(now + 1.0, alice.call(BOB, now).hangup))
    let_run(LossyNetwork(3, Impairment(delay_s=0.01, jitter_s=0.05, loss=0.02)), [alice, bob], 300.0)
    causes: Counter[str] = Counter()
    for party in (alice, bob):
        party.assert_all_ended_once()
        causes.update(ended.cause for (ended,) in party.ends.values())
        party.ends.clear()
        assert not party.endpoint.layer.merged and not party.endpoint.layer.streams and party.endpoint.pending == 0
    assert sum(causes.values()) == 2000 and causes["normal"] > 1950
    alice.react = bob.react = quiet
    assert census() == before


def test_each_end_comes_from_where_it_was_made() -> None:
    alice, bob = Party(ALICE, obliging), Party(BOB, obliging)
    alice.at(0.0, lambda now: alice.at(5.0, alice.call(BOB, now).hangup))
    let_run(LossyNetwork(), [alice, bob], 100.0)
    assert [(ended.by, ended.status) for (ended,) in alice.ends.values()] == [("local", 200)]
    assert [(ended.by, ended.status) for (ended,) in bob.ends.values()] == [("remote", 200)]
    assert isinstance(next(iter(alice.ends.values()))[0], Ended)
