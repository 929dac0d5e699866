"""An endpoint as a node of the emulated network, with a plan of what it does when."""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from collections.abc import Callable, Iterable

from tapeline.sip import Ended, Endpoint, EndpointConfig, Event, Flow, Registrar, Session, SessionEvent
from tapeline.testing.clock import FakeClock
from tapeline.testing.network import Address, LossyNetwork, run

SDP = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"
ALICE = ("192.0.2.1", 5060)
BOB = ("192.0.2.2", 5060)

Reaction = Callable[["Party", Event, float], None]


class Party:
    """`react` is given each event; `at` plans a command."""

    def __init__(
        self, address: Address, react: Reaction, config: EndpointConfig | None = None, passwords: dict[str, str] | None = None
    ) -> None:
        """With `passwords` of users it is a registrar, too."""
        count = 0

        def entropy(octets: int) -> bytes:
            nonlocal count
            count += 1
            return hashlib.sha256(f"{address}{count}".encode()).digest()[:octets]

        self.address = address
        registrar = Registrar("sim", passwords.get, entropy) if passwords else None
        self.endpoint = Endpoint(config or EndpointConfig(), entropy, registrar)
        self.react = react
        self.seen: dict[str, list[str]] = {}  # names of events, by session
        self.ends: dict[str, list[Ended]] = {}
        self.totals: Counter[str] = Counter()
        self._plan: list[tuple[float, int, Callable[[float], None]]] = []
        self._order = 0
        self._out: list[tuple[bytes, Address]] = []

    def at(self, when: float, command: Callable[[float], None]) -> None:
        self._order += 1
        heapq.heappush(self._plan, (when, self._order, command))

    def call(self, target: Address, now: float, body: bytes | None = SDP) -> Session:
        flow = Flow("udp", self.address, target)
        return self.endpoint.invite(f"sip:x@{target[0]}:{target[1]}", local=flow, from_uri=f"sip:a@{self.address[0]}", body=body, now=now)

    def _settle(self, now: float) -> None:
        while True:
            self._out += [(item.data, item.flow.remote) for item in self.endpoint.outgoing()]
            events = self.endpoint.events()
            if not events:
                return
            for event in events:
                name = type(event).__name__
                self.totals[name] += 1
                if isinstance(event, SessionEvent):
                    self.seen.setdefault(event.session.id, []).append(name)
                if isinstance(event, Ended):
                    self.ends.setdefault(event.session.id, []).append(event)
                self.react(self, event, now)

    def receive(self, data: bytes, source: Address, now: float) -> None:
        self.endpoint.receive(data, Flow("udp", self.address, source), now)
        self._settle(now)

    def tick(self, now: float) -> None:
        while self._plan and self._plan[0][0] <= now:
            heapq.heappop(self._plan)[2](now)
            self._settle(now)
        self.endpoint.tick(now)
        self._settle(now)

    def next_deadline(self) -> float | None:
        moments = [self.endpoint.next_deadline(), self._plan[0][0] if self._plan else None]
        return min((moment for moment in moments if moment is not None), default=None)

    def take(self) -> Iterable[tuple[bytes, Address]]:
        taken, self._out = self._out, []
        return taken

    def assert_all_ended_once(self) -> None:
        """Exactly one Ended for each session, and nothing after it; nothing left in the endpoint."""
        for session, names in self.seen.items():
            assert names.count("Ended") == 1 and names[-1] == "Ended", (session, names)
        assert self.endpoint.idle, (self.endpoint.sessions, self.endpoint.transactions)


def let_run(network: LossyNetwork, parties: Iterable[Party], until: float) -> FakeClock:
    clock = FakeClock(now=0.0)
    run(network, {party.address: party for party in parties}, clock, until)
    return clock
