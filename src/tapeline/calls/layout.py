"""What each channel of a recording hears: from a specification and the call or conference that is recorded, to sources of the engine.

A call is recorded from where one of its parties stands, the recorded leg: what that party says, and what it hears. So the
same words hold with nobody on the other side (a prompt, a menu), in a bridge, on hold, and in a conference.

    a call          `both`          1 channel    both directions in one, each at its own level
                    `both`          2 channels   left the recorded leg's own voice, right what it hears
                    `caller`        1 channel    what the caller says, whichever side the recorded leg is on
                    `callee`        1 channel    what the other side says, and what we play to the caller
                    `participants`  N channels   the recorded leg's own voice, then that of each whom it met, the surplus in the last
    a conference    `mix`           1 channel    everybody, and what the conference itself plays
                    `participants`  N channels   each member's voice by order of joining, the surplus in the last

Sums are of samples at their full level and saturate: where one speaks, his sound is unchanged; where two shout at once, the
peaks are cut. Who is muted is silent on the recordings, too. A word that makes no sense for what is recorded has that one's
plain meaning (`mix` on a call: `both`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from tapeline.core.recordspec import RecordSpec
from tapeline.rtp import Bus, Leg, Source

__all__ = ["Channels", "Ears", "OfAbsent", "OfCall", "OfConference", "OfFlow"]

Channels = tuple[tuple[Source, ...], ...]


class Ears(Protocol):
    """What is recorded, as far as sound is concerned."""

    @property
    def rate(self) -> int:
        """Samples a second of its own, for a specification that wants no other."""

    @property
    def beside(self) -> Leg | Bus:
        """Where to listen as long as there is nobody to be heard."""

    @property
    def voices(self) -> Sequence[Leg]:
        """The legs whose parties are heard in it: while one of them speaks there is no silence."""

    def channels(self, spec: RecordSpec) -> Channels:
        """The sources of each channel. Their number depends on the specification alone."""


@dataclass(frozen=True, slots=True)
class OfCall:
    """`leg` is the recorded one; `caller` tells whether its party called, or was called. A party that is `muted` says nothing.

    `seats`: the legs of all whom it ever met, in that order, and whether each is to be heard: nobody takes another's channel.
    """

    leg: Leg
    caller: bool
    muted: bool = False
    seats: tuple[tuple[Leg, bool], ...] = ()

    def seated(self, leg: Leg, heard: bool) -> OfCall:
        """With `leg` in a seat, its own where it had one before."""
        if all(leg is not each for each, _ in self.seats):
            return replace(self, seats=(*self.seats, (leg, heard)))
        return replace(self, seats=tuple((each, heard if each is leg else was) for each, was in self.seats))

    @property
    def rate(self) -> int:
        return self.leg.rate

    @property
    def beside(self) -> Leg:
        return self.leg

    @property
    def voices(self) -> Sequence[Leg]:
        return (self.leg,)

    def channels(self, spec: RecordSpec) -> Channels:
        own, heard = () if self.muted else (Source("in", self.leg),), (Source("out", self.leg),)
        if spec.heard in ("caller", "callee"):
            return (own if self.caller == (spec.heard == "caller") else heard,)
        if spec.heard == "participants" and spec.channels > 2:
            return _by_seat(spec.channels, [self.leg if not self.muted else None, *(leg if on else None for leg, on in self.seats)])
        return (own, heard) if spec.channels >= 2 else ((*own, *heard),)


@dataclass(frozen=True, slots=True)
class _Other:
    """Heard by way of `other`, whom the recorded party talked with."""

    other: Leg
    caller: bool

    @property
    def rate(self) -> int:
        return self.other.rate

    @property
    def beside(self) -> Leg:
        return self.other

    @property
    def voices(self) -> Sequence[Leg]:
        return (self.other,)


@dataclass(frozen=True, slots=True)
class OfAbsent(_Other):
    """The recorded party has gone and who takes its place is still to come: `other`, whom it talked with, is all that is heard."""

    def channels(self, spec: RecordSpec) -> Channels:
        heard = Source("in", self.other)
        if spec.heard in ("caller", "callee"):
            return ((),) if self.caller == (spec.heard == "caller") else ((heard,),)
        return ((), (heard,)) if spec.channels >= 2 else ((heard,),)


@dataclass(frozen=True, slots=True)
class OfFlow(_Other):
    """A flow has taken the recorded party's place: what it lets `other` hear, and what `other` says."""

    def channels(self, spec: RecordSpec) -> Channels:
        own, heard = Source("out", self.other), Source("in", self.other)
        if spec.heard in ("caller", "callee"):
            return ((own if self.caller == (spec.heard == "caller") else heard,),)
        return ((own,), (heard,)) if spec.channels >= 2 else ((own, heard),)


@dataclass(frozen=True, slots=True)
class OfConference:
    """`seats`: the legs of all who ever joined, in that order, None for one that has left or is muted: nobody takes another's channel."""

    bus: Bus
    seats: Sequence[Leg | None]

    @property
    def rate(self) -> int:
        return self.bus.rate

    @property
    def beside(self) -> Bus:
        return self.bus

    @property
    def voices(self) -> Sequence[Leg]:
        return tuple(leg for leg in self.seats if leg is not None)

    def channels(self, spec: RecordSpec) -> Channels:
        if spec.heard != "participants":
            return ((Source("mix", self.bus),),)
        return _by_seat(max(1, spec.channels), self.seats)


def _by_seat(channels: int, seats: Sequence[Leg | None]) -> Channels:
    """Each seat's voice on its own channel, the surplus on the last."""
    found: list[list[Source]] = [[] for _ in range(channels)]
    for seat, leg in enumerate(seats):
        if leg is not None:
            found[min(seat, channels - 1)].append(Source("in", leg))
    return tuple(tuple(sources) for sources in found)
