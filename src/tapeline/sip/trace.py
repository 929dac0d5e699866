"""The messages of one call as they went over the wire, for whoever wants to see why a call went as it did.

Kept where `EndpointConfig.trace` or `Session.keep_trace` says so. Bounded: the first messages tell how a call was set up and stay; of what
follows the newest stay, and what had to go is counted. Octets are as they were sent, so credentials in them are there as well. This module
knows nothing of calls.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Literal, NamedTuple

from tapeline.sip.config import Flow

__all__ = ["Trace", "TraceEntry"]

_FIRST = 32  # messages at the beginning that stay, while they are not more than half of the octets
_MOST = 256  # messages
_MOST_OCTETS = 512 * 1024


class TraceEntry(NamedTuple):
    """One message: when (the endpoint's clock), which way, its octets, and between whom."""

    at: float
    way: Literal["in", "out"]
    data: bytes
    flow: Flow


class Trace:
    """The entries in their order. `dropped` counts those that had to go."""

    __slots__ = ("_first", "_newest", "_octets", "dropped")

    def __init__(self) -> None:
        self._first: list[TraceEntry] = []
        self._newest: deque[TraceEntry] = deque()
        self._octets = 0
        self.dropped = 0

    def add(self, at: float, way: Literal["in", "out"], data: bytes, flow: Flow) -> None:
        entry = TraceEntry(at, way, data, flow)
        self._octets += len(data)
        if not self._newest and len(self._first) < _FIRST and self._octets <= _MOST_OCTETS // 2:
            self._first.append(entry)
            return
        newest = self._newest
        newest.append(entry)
        while len(newest) > 1 and (self._octets > _MOST_OCTETS or len(newest) > _MOST - _FIRST):
            self._octets -= len(newest.popleft().data)
            self.dropped += 1

    def __iter__(self) -> Iterator[TraceEntry]:
        yield from self._first
        yield from self._newest

    def __len__(self) -> int:
        return len(self._first) + len(self._newest)
