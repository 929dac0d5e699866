"""Two endpoints, a bad network, and any sequence of what their owners may do: in the end both are idle, with one Ended for each session."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from sip_party import ALICE, BOB, SDP, Party
from test_sip_calls import try_to

from tapeline.sip import (
    Accepted,
    EndpointConfig,
    Event,
    Incoming,
    Refer,
    Referred,
    ReofferAccepted,
    Session,
)
from tapeline.testing.clock import FakeClock
from tapeline.testing.network import Impairment, LossyNetwork, run

OTHER = SDP + b"a=sendonly\r\n"
NETWORKS = [
    Impairment(delay_s=0.01),
    Impairment(delay_s=0.1, jitter_s=0.3, duplicate=0.2, reorder=0.2, reorder_s=1.0),
    Impairment(delay_s=0.05, jitter_s=0.1, loss=0.3),
]
CONFIGS = [EndpointConfig(refer_expires=40), EndpointConfig(refer_expires=40, session_expires=90)]
SIDES = st.integers(0, 1)
PICK = st.integers(0, 3)


class TwoEndpoints(RuleBasedStateMachine):
    """`known[side]` are the sessions of that side that its owner has heard of; each rule picks one and gives a command that may not fit."""

    @initialize(seed=st.integers(0, 1000), network=st.sampled_from(NETWORKS), configs=st.tuples(SIDES, SIDES))
    def begin(self, seed: int, network: Impairment, configs: tuple[int, int]) -> None:
        self.clock = FakeClock(now=0.0)
        self.network = LossyNetwork(seed, network)
        self.known: tuple[list[Session], list[Session]] = [], []
        self.refers: list[tuple[Party, Refer]] = []
        self.parties = [Party(where, self.note, CONFIGS[kind]) for where, kind in zip((ALICE, BOB), configs, strict=True)]

    def note(self, party: Party, event: Event, now: float) -> None:
        """What an owner must do at once; all else is left to the rules."""
        if isinstance(event, Incoming):
            self.known[self.parties.index(party)].append(event.session)
        elif isinstance(event, Accepted | ReofferAccepted):
            try_to(lambda: event.session.ack(SDP, now))
        elif isinstance(event, Referred):
            self.refers.append((party, event.refer))

    def at_once(self, party: Party, command: object) -> None:
        party.at(self.clock.now(), lambda now: try_to(lambda: command(now)))  # type: ignore[operator]  # a command
        self.wait(0.0)

    def session(self, side: int, pick: int) -> Session:
        return self.known[side][-1 - pick % len(self.known[side])]

    # ---- the rules

    @rule(seconds=st.sampled_from([0.0, 0.01, 0.06, 0.3, 1.0, 5.0, 40.0]))
    def wait(self, seconds: float) -> None:
        run(self.network, {party.address: party for party in self.parties}, self.clock, self.clock.now() + seconds)

    @precondition(lambda self: len(self.known[0]) + len(self.known[1]) < 4)
    @rule(side=SIDES, offered=st.booleans())
    def invite(self, side: int, offered: bool) -> None:
        party, target = self.parties[side], (BOB, ALICE)[side]
        self.at_once(party, lambda now: self.known[side].append(party.call(target, now, SDP if offered else None)))

    @precondition(lambda self: len(self.known[0]) + len(self.known[1]) < 4)
    @rule(side=SIDES, offered=st.booleans(), early=st.booleans())
    def connect(self, side: int, offered: bool, early: bool) -> None:
        """A call that is answered as soon as it comes, so that what follows has something to work on."""
        heard = len(self.known[1 - side])
        self.invite(side, offered)
        self.wait(3.0)
        for session in self.known[1 - side][heard:]:
            if early:
                self.at_once(self.parties[1 - side], lambda now, session=session: session.ring(now, 183, SDP))
                self.wait(1.0)
            self.at_once(self.parties[1 - side], lambda now, session=session: session.accept(SDP, now))
        self.wait(1.0)

    @precondition(lambda self: self.known[0] or self.known[1])
    @rule(
        side=SIDES,
        pick=PICK,
        what=st.sampled_from(
            ["ring", "ring", "early media", "sure", "accept", "accept", "reject", "hang up", "reoffer", "ask", "refresh", "info", "refer"]
            + ["answer", "answer", "refuse", "answer early"]
        ),
    )
    def command(self, side: int, pick: int, what: str) -> None:
        if not self.known[side]:
            return
        session = self.session(side, pick)
        commands = {
            "ring": lambda now: session.ring(now),
            "early media": lambda now: session.ring(now, 183, SDP),
            "sure": lambda now: session.ring(now, 180, reliable=True),
            "accept": lambda now: session.accept(SDP, now),
            "reject": lambda now: session.reject(486, now),
            "hang up": lambda now: session.hangup(now, "enough"),
            "reoffer": lambda now: session.reoffer(OTHER, now),
            "ask": lambda now: session.reoffer(None, now),
            "refresh": lambda now: session.state == "confirmed" and session.refresh(now),
            "info": lambda now: session.info("a/b", b"x", now),
            "refer": lambda now: session.refer("sip:c@192.0.2.3", now),
            "answer": lambda now: session.answer_reoffer(SDP, now),
            "refuse": lambda now: session.refuse_reoffer(488, now),
            "answer early": lambda now: session.answer_early(SDP, now),
        }
        self.at_once(self.parties[side], commands[what])

    @precondition(lambda self: bool(self.refers))
    @rule(pick=PICK, what=st.sampled_from(["accept", "reject", "180", "200"]))
    def follow(self, pick: int, what: str) -> None:
        party, refer = self.refers[-1 - pick % len(self.refers)]
        commands = {
            "accept": lambda now: refer.accept(now),
            "reject": lambda now: refer.reject(486, now),
            "180": lambda now: refer.notify(180, "", now),
            "200": lambda now: refer.notify(200, "", now),
        }
        self.at_once(party, commands[what])

    def teardown(self) -> None:
        if not hasattr(self, "parties"):
            return
        for side, party in enumerate(self.parties):
            for session in self.known[side]:
                self.at_once(party, session.hangup)
        self.wait(60.0)
        for party in self.parties:
            for session in list(party.endpoint.sessions.values()):
                self.at_once(party, session.hangup)
        self.wait(400.0)
        for party in self.parties:
            party.assert_all_ended_once()
            assert party.endpoint.pending == 0 and not party.endpoint.layer.merged
        assert all(session.state == "terminated" for sessions in self.known for session in sessions)


TestTwoEndpoints = TwoEndpoints.TestCase
TestTwoEndpoints.settings = settings(max_examples=60, stateful_step_count=30)
