"""A network of datagrams in virtual time that loses, delays, reorders and repeats them, the same way for the same seed.

It carries bytes between addresses and knows nothing of what is in them. Nobody waits: `send` says when "now" is, `next_delivery` says
when something falls due, `deliver` hands over what is due. `run` lets several parties without I/O (objects with the three verbs of
the core) talk through it until a given time, which takes as long as their arithmetic does.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from tapeline.testing.clock import FakeClock

__all__ = ["Address", "Datagram", "Impairment", "LossyNetwork", "Node", "run"]

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Impairment:
    """What a path does to its datagrams. Shares are 0..1, times in seconds."""

    delay_s: float = 0.01
    jitter_s: float = 0.0  # added to the delay, evenly from 0 to this; may change the order
    loss: float = 0.0
    duplicate: float = 0.0  # the copy takes its own delay
    reorder: float = 0.0  # the share that is held back by `reorder_s`
    reorder_s: float = 0.05
    gaps: tuple[tuple[float, float], ...] = ()  # [from, to) in `now`: nothing sent then arrives


@dataclass(frozen=True, slots=True)
class Datagram:
    data: bytes
    source: Address
    destination: Address
    sent: float
    arrives: float


class LossyNetwork:
    """Datagrams in flight.

    `counters` has sent, lost, duplicated, reordered, delivered; sent + duplicated = lost + delivered + `in_flight`.
    """

    def __init__(self, seed: int = 1, impairment: Impairment | None = None) -> None:
        self._random = random.Random(seed)
        self._default = impairment or Impairment()
        self._paths: dict[tuple[Address, Address], Impairment] = {}
        self._flight: list[tuple[float, int, Datagram]] = []
        self._order = itertools.count()
        self.counters: Counter[str] = Counter()

    @property
    def in_flight(self) -> int:
        return len(self._flight)

    def impair(self, source: Address, destination: Address, impairment: Impairment) -> None:
        """Give one direction of one path its own impairment, from now on."""
        self._paths[source, destination] = impairment

    def send(self, data: bytes, source: Address, destination: Address, now: float) -> None:
        """Put a datagram on its way at `now`."""
        path = self._paths.get((source, destination), self._default)
        self.counters["sent"] += 1
        # Every draw is made for every datagram, so that changing one share does not reshuffle the others.
        lost, doubled, held = (self._random.random() for _ in range(3))
        delays = (self._random.random() * path.jitter_s, self._random.random() * path.jitter_s)
        if lost < path.loss or any(begin <= now < end for begin, end in path.gaps):
            self.counters["lost"] += 1
            return
        late = 0.0
        if held < path.reorder:
            self.counters["reordered"] += 1
            late = path.reorder_s
        self._launch(Datagram(data, source, destination, now, now + path.delay_s + delays[0] + late))
        if doubled < path.duplicate:
            self.counters["duplicated"] += 1
            self._launch(Datagram(data, source, destination, now, now + path.delay_s + delays[1]))

    def _launch(self, datagram: Datagram) -> None:
        heapq.heappush(self._flight, (datagram.arrives, next(self._order), datagram))

    def next_delivery(self) -> float | None:
        """When the next datagram arrives, or None where none is under way."""
        return self._flight[0][0] if self._flight else None

    def deliver(self, now: float) -> list[Datagram]:
        """All that has arrived by `now`, in order of arrival."""
        due = []
        while self._flight and self._flight[0][0] <= now:
            due.append(heapq.heappop(self._flight)[2])
        self.counters["delivered"] += len(due)
        return due


class Node(Protocol):
    """A party without I/O. `take` gives what it wants sent since it was last asked."""

    def receive(self, data: bytes, source: Address, now: float) -> None: ...

    def tick(self, now: float) -> None: ...

    def next_deadline(self) -> float | None: ...

    def take(self) -> Iterable[tuple[bytes, Address]]: ...


def run(network: LossyNetwork, nodes: Mapping[Address, Node], clock: FakeClock, until: float) -> int:
    """Let `nodes` talk until `clock.now()` is `until`; gives the number of steps taken.

    Datagrams to addresses where nobody is vanish, as on a real network. Raises AssertionError where the nodes keep the clock from
    moving: a deadline that is due again and again is an endless loop in real life.
    """
    steps = standing = 0
    _collect(network, nodes, clock.now())
    while True:
        moments = [node.next_deadline() for node in nodes.values()] + [network.next_delivery()]
        upcoming = min((moment for moment in moments if moment is not None), default=until)
        if upcoming > until:
            clock.advance_to(until)
            return steps
        if upcoming <= clock.now() and (standing := standing + 1) > 10_000:
            raise AssertionError(f"time stands still at {clock.now()}: a deadline is due for ever")
        if upcoming > clock.now():
            standing = 0
        now = clock.advance_to(upcoming)
        if upcoming >= until and not any(moment is not None and moment <= until for moment in moments):
            return steps
        steps += 1
        for datagram in network.deliver(now):
            if (node := nodes.get(datagram.destination)) is not None:
                node.receive(datagram.data, datagram.source, now)
                _collect(network, nodes, now)
        for node in nodes.values():
            deadline = node.next_deadline()
            if deadline is not None and deadline <= now:
                node.tick(now)
        _collect(network, nodes, now)


def _collect(network: LossyNetwork, nodes: Mapping[Address, Node], now: float) -> None:
    for address, node in nodes.items():
        for data, destination in node.take():
            network.send(data, address, destination, now)
