"""100rel, UPDATE, session timers, REFER and forks over a bad network in virtual time: whatever crosses, both sides end as they should."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest
from sip_party import ALICE, BOB, SDP, Party, Reaction, let_run
from test_sip_calls import BAD, obliging, quiet, session_of, try_to

from tapeline.sip import (
    Accepted,
    Ended,
    EndpointConfig,
    Established,
    Event,
    Incoming,
    Progress,
    ReferProgress,
    Referred,
    ReofferAccepted,
    Reoffered,
    Request,
    parse_message,
)
from tapeline.testing.clock import FakeClock
from tapeline.testing.network import Address, Impairment, LossyNetwork, run

CAROL = ("192.0.2.3", 5060)
PROXY = ("192.0.2.9", 5060)
OTHER = SDP + b"a=sendonly\r\n"
TIMED = EndpointConfig(session_expires=100, refer_expires=40)


def lively(rng: random.Random) -> Reaction:
    """A party that does all there is, as the dice fall."""

    def plan(party: Party, now: float, within: float, command: object) -> None:
        party.at(now + rng.random() * within, lambda at: try_to(lambda: command(at)))  # type: ignore[operator]  # a command

    def react(party: Party, event: Event, now: float) -> None:
        session = event.session  # type: ignore[union-attr]  # there is no registrar here
        if isinstance(event, Incoming):
            for status in (180, 183, 181):
                if rng.random() < 0.6:
                    body = SDP if rng.random() < 0.6 else None
                    plan(party, now, 3, lambda at, status=status, body=body: session.ring(at, status, body))  # type: ignore[misc]
            plan(party, now, 6, lambda at: session.reoffer(OTHER, at))
            plan(party, now, 8, lambda at: session.accept(SDP, at) if rng.random() < 0.8 else session.reject(486, at))
        elif isinstance(event, Progress):
            if event.offered:
                plan(party, now, 1, lambda at: session.answer_early(SDP, at))
            plan(party, now, 4, lambda at: session.reoffer(OTHER, at))
        elif isinstance(event, Reoffered):
            plan(party, now, 2, lambda at: session.answer_reoffer(SDP, at) if rng.random() < 0.8 else session.refuse_reoffer(488, at))
        elif isinstance(event, Referred):
            refer = event.refer
            if rng.random() < 0.8:
                refer.accept(now)
                for status in (180, 183, rng.choice((200, 486))):
                    plan(party, now, 20, lambda at, status=status: refer.notify(status, "", at))  # type: ignore[misc]
            elif rng.random() < 0.8:
                refer.reject(403, now)
        elif isinstance(event, Accepted | Established | ReofferAccepted):
            try_to(lambda: session.ack(SDP, now))
            if not isinstance(event, ReofferAccepted):
                for body in (OTHER, SDP, None):
                    plan(party, now, 100, lambda at, body=body: session.reoffer(body, at))  # type: ignore[misc]
                plan(party, now, 100, lambda at: session.refer("sip:c@192.0.2.3", at))
                plan(party, now, 250, lambda at: session.hangup(at))

    return react


@pytest.mark.parametrize("seed", range(10))
def test_every_call_ends_once_on_each_side(seed: int) -> None:
    rng = random.Random(seed)
    alice = Party(ALICE, lively(rng), TIMED)
    bob = Party(BOB, lively(rng), TIMED if seed % 2 else EndpointConfig(refer_expires=40))
    network = LossyNetwork(seed, BAD)
    for _ in range(15):
        for caller, callee in ((alice, BOB), (bob, ALICE)):
            body = SDP if rng.random() < 0.7 else None
            caller.at(rng.random() * 60, lambda now, caller=caller, callee=callee, body=body: caller.call(callee, now, body) and None)  # type: ignore[misc]
    let_run(network, [alice, bob], 900.0)
    totals = alice.totals + bob.totals
    for party in (alice, bob):
        party.assert_all_ended_once()
    assert totals["Established"] >= 8 and totals["Reoffered"] >= 8 and totals["Referred"] >= 3 and totals["ReferProgress"] >= 3


# ---- 100rel


def prompt(party: Party, event: Event, now: float) -> None:
    """Rings reliably with its answer and accepts at once."""
    if isinstance(event, Incoming):
        event.session.ring(now, 183, SDP)
        event.session.accept(SDP, now)
    else:
        obliging(party, event, now)


@pytest.mark.parametrize("seed", range(8))
def test_a_2xx_that_waits_for_its_prack_gets_through(seed: int) -> None:
    alice, bob = Party(ALICE, quiet), Party(BOB, prompt)
    alice.at(0.0, lambda now: alice.at(20.0, alice.call(BOB, now).hangup))
    let_run(LossyNetwork(seed, Impairment(delay_s=0.05, jitter_s=0.2, loss=0.2, duplicate=0.2)), [alice, bob], 200.0)
    for party in (alice, bob):
        party.assert_all_ended_once()
        ((ended,),) = party.ends.values()
        assert ended.cause == "normal"
    (names,) = alice.seen.values()
    assert names.index("Progress") < names.index("Accepted") and names.count("Accepted") == 1


@pytest.mark.parametrize("offset", [-0.3, -0.2, -0.11, -0.09, -0.01, 0.0, 0.05, 0.15, 0.25, 0.35])
def test_a_cancel_that_meets_prack_and_2xx(offset: float) -> None:
    """The callee rings with its answer at 1 s and accepts at once; the 200 leaves with the PRACK, 200 ms later."""

    def late(party: Party, event: Event, now: float) -> None:
        if isinstance(event, Incoming):
            session = event.session
            session.ring(now)
            party.at(1.0, lambda at: try_to(lambda: (session.ring(at, 183, SDP), session.accept(SDP, at))))

    alice, bob = Party(ALICE, quiet), Party(BOB, late)
    alice.at(0.0, lambda now: alice.at(1.2 + offset, alice.call(BOB, now).hangup))
    let_run(LossyNetwork(1, Impairment(delay_s=0.1)), [alice, bob], 200.0)
    for party in (alice, bob):
        party.assert_all_ended_once()
    ((caller,),) = alice.ends.values()
    ((callee,),) = bob.ends.values()
    assert caller.by == "local" and callee.by == "remote"
    assert caller.cause == ("cancel" if offset < 0.1 else "normal")
    assert callee.cause == ("cancel" if offset < -0.1 else "normal")


def test_early_media_then_busy() -> None:
    """A carrier that answers 183 and then 486."""

    def busy(party: Party, event: Event, now: float) -> None:
        if isinstance(event, Incoming):
            session = event.session
            session.ring(now, 183, SDP)
            party.at(now + 5.0, lambda at: session.reject(486, at))

    alice, bob = Party(ALICE, quiet), Party(BOB, busy)
    alice.at(0.0, lambda now: alice.call(BOB, now) and None)
    let_run(LossyNetwork(3, BAD), [alice, bob], 200.0)
    for party in (alice, bob):
        party.assert_all_ended_once()
    ((caller,),) = alice.ends.values()
    assert (caller.cause, caller.status) == ("busy", 486)


# ---- offers that meet


@pytest.mark.parametrize("offset", [-0.3, -0.15, -0.1, -0.05, 0.0, 0.05, 0.1, 0.15, 0.3])
def test_a_reinvite_that_meets_an_update(offset: float) -> None:
    """Both change the media at about 2 s, one by re-INVITE and one by UPDATE; each is done in the end, and told once."""
    alice, bob = Party(ALICE, obliging), Party(BOB, obliging)
    sent: list[float] = []

    def start(now: float) -> None:
        session = alice.call(BOB, now)

        def update(at: float) -> None:
            # What our owners do not do in a confirmed call, and other implementations do.
            session_of(bob, session).offering().send(OTHER, at, by_update=True)
            sent.append(at)

        alice.at(2.0, lambda at: session.reoffer(OTHER, at))
        bob.at(2.0 + offset, lambda at: try_to(lambda: update(at)))
        alice.at(30.0, session.hangup)

    alice.at(0.0, start)
    let_run(LossyNetwork(1, Impairment(delay_s=0.1)), [alice, bob], 200.0)
    done = 0
    for party in (alice, bob):
        party.assert_all_ended_once()
        (names,) = party.seen.values()
        assert "ReofferRefused" not in names
        done += names.count("ReofferAccepted")
    assert done == 1 + len(sent)
    assert bool(sent) is (offset < 0.1)  # later the re-INVITE is there, and its ACK is not


# ---- session timers


@pytest.mark.parametrize("seed", range(4))
def test_a_long_call_is_refreshed_and_lasts(seed: int) -> None:
    alice, bob = Party(ALICE, obliging, TIMED), Party(BOB, obliging, TIMED if seed % 2 else None)
    alice.at(0.0, lambda now: alice.at(1000.0, alice.call(BOB, now).hangup))
    let_run(LossyNetwork(seed, Impairment(delay_s=0.05, jitter_s=0.2, loss=0.2)), [alice, bob], 1200.0)
    for party in (alice, bob):
        party.assert_all_ended_once()
        ((ended,),) = party.ends.values()
        assert ended.cause == "normal"
    if seed % 2:
        assert alice.endpoint.counters.sent + bob.endpoint.counters.sent > 2 * 15


@pytest.mark.parametrize("direction", ["caller", "callee"])
def test_a_peer_that_vanishes_is_noticed(direction: str) -> None:
    alice, bob = Party(ALICE, obliging, TIMED), Party(BOB, obliging, TIMED)
    source, target = (ALICE, BOB) if direction == "caller" else (BOB, ALICE)
    network = LossyNetwork(1, Impairment(delay_s=0.01))
    network.impair(source, target, Impairment(delay_s=0.01, gaps=((30.0, 10_000.0),)))
    alice.at(0.0, lambda now: alice.call(BOB, now) and None)
    let_run(network, [alice, bob], 400.0)
    for party in (alice, bob):
        party.assert_all_ended_once()
        ((ended,),) = party.ends.values()
        assert ended.cause in ("timeout", "normal")
    assert "timeout" in {ended.cause for party in (alice, bob) for (ended,) in party.ends.values()}


# ---- REFER


@pytest.mark.parametrize("seed", range(6))
def test_a_transfer_is_told_of_in_order_and_to_its_end(seed: int) -> None:
    told: list[tuple[int, bool]] = []

    def asks(party: Party, event: Event, now: float) -> None:
        if isinstance(event, Accepted):
            event.session.refer("sip:carol@192.0.2.3", now)
        elif isinstance(event, ReferProgress):
            told.append((event.status, event.final))
            if event.final:
                party.at(now + 1.0, event.session.hangup)

    def does(party: Party, event: Event, now: float) -> None:
        if isinstance(event, Referred):
            refer = event.refer
            party.at(now + 0.1, refer.accept)
            for later, status in ((0.2, 180), (0.3, 183), (5.0, 200)):
                party.at(now + later, lambda at, status=status: refer.notify(status, "", at))  # type: ignore[misc]
        else:
            obliging(party, event, now)

    alice, bob = Party(ALICE, asks), Party(BOB, does)
    alice.at(0.0, lambda now: alice.call(BOB, now) and None)
    let_run(LossyNetwork(seed, BAD), [alice, bob], 400.0)
    for party in (alice, bob):
        party.assert_all_ended_once()
    notified = [status for status, _ in told if status != 202]
    assert notified == sorted(notified) and told.count((200, True)) == 1 and told[-1] == (200, True) and notified[0] == 100


def test_a_transferor_that_says_goodbye_at_once() -> None:
    """The NOTIFY after the BYE is answered with 481, and nothing stays behind."""

    def asks(party: Party, event: Event, now: float) -> None:
        if isinstance(event, Accepted):
            event.session.refer("sip:carol@192.0.2.3", now)
        elif isinstance(event, ReferProgress):
            event.session.hangup(now)

    def does(party: Party, event: Event, now: float) -> None:
        if isinstance(event, Referred):
            event.refer.accept(now)
            refer = event.refer
            party.at(now + 5.0, lambda at: refer.notify(200, "", at))
        else:
            obliging(party, event, now)

    alice, bob = Party(ALICE, asks), Party(BOB, does)
    alice.at(0.0, lambda now: alice.call(BOB, now) and None)
    let_run(LossyNetwork(1, Impairment(delay_s=0.05)), [alice, bob], 400.0)
    for party in (alice, bob):
        party.assert_all_ended_once()


# ---- forks


class ForkingProxy:
    """A proxy without state: each request goes to both targets, each answer back along its Via."""

    def __init__(self, targets: Iterable[Address]) -> None:
        self._targets = list(targets)
        self._out: list[tuple[bytes, Address]] = []

    def receive(self, data: bytes, source: Address, now: float) -> None:
        message = parse_message(data)
        line, _, rest = data.partition(b"\r\n")
        if isinstance(message, Request):
            for number, target in enumerate(self._targets):
                branch = f"{message.via.branch}-{number}"
                via = f"Via: SIP/2.0/UDP {PROXY[0]}:{PROXY[1]};branch={branch}\r\n".encode()
                self._out.append((line + b"\r\n" + via + rest, target))
        else:
            own, _, rest = rest.partition(b"\r\n")
            assert PROXY[0].encode() in own
            next_hop = parse_message(line + b"\r\n" + rest).via
            self._out.append((line + b"\r\n" + rest, (next_hop.host, next_hop.port or 5060)))

    def tick(self, now: float) -> None:
        """It has no time."""

    def next_deadline(self) -> float | None:
        return None

    def take(self) -> Iterable[tuple[bytes, Address]]:
        taken, self._out = self._out, []
        return taken


def answers(after: float, rings: bytes | None) -> Reaction:
    def react(party: Party, event: Event, now: float) -> None:
        if isinstance(event, Incoming):
            session = event.session
            session.ring(now, 183 if rings else 180, rings)
            party.at(now + after, lambda at: try_to(lambda: session.accept(SDP, at)))

    return react


@pytest.mark.parametrize("behind", [0.0, 0.05, 1.0])
@pytest.mark.parametrize("rings", [None, SDP])
def test_the_first_of_a_fork_wins_and_the_others_are_ended(behind: float, rings: bytes | None) -> None:
    progress: list[str] = []

    def calls(party: Party, event: Event, now: float) -> None:
        if isinstance(event, Progress):
            progress.append(event.tag)

    alice = Party(ALICE, calls)
    bob, carol = Party(BOB, answers(2.0, rings)), Party(CAROL, answers(2.0 + behind, rings))
    alice.at(0.0, lambda now: alice.at(20.0, alice.call(PROXY, now).hangup))
    nodes = {ALICE: alice, BOB: bob, CAROL: carol, PROXY: ForkingProxy([BOB, CAROL])}
    run(LossyNetwork(1, Impairment(delay_s=0.02)), nodes, FakeClock(now=0.0), 200.0)
    for party in (alice, bob, carol):
        party.assert_all_ended_once()
    assert len(set(progress)) == 2 and alice.totals["Accepted"] == 1
    lengths = [bob.totals["Established"], carol.totals["Established"]]
    assert lengths == [1, 1]  # both were acknowledged, and the second at once told goodbye
    assert all(isinstance(ended, Ended) and ended.by == "remote" for party in (bob, carol) for (ended,) in party.ends.values())


def test_a_fork_that_is_cancelled() -> None:
    alice, bob, carol = Party(ALICE, quiet), Party(BOB, answers(5.0, SDP)), Party(CAROL, answers(5.0, None))
    alice.at(0.0, lambda now: alice.at(2.0, alice.call(PROXY, now).hangup))
    nodes = {ALICE: alice, BOB: bob, CAROL: carol, PROXY: ForkingProxy([BOB, CAROL])}
    run(LossyNetwork(1, Impairment(delay_s=0.02)), nodes, FakeClock(now=0.0), 200.0)
    for party in (alice, bob, carol):
        party.assert_all_ended_once()
        assert [ended.cause for (ended,) in party.ends.values()] == ["cancel"]
