"""Parts on their way from one engine thread to another, as Python sees them.

Nobody waits: while a part is on the way, a `Seat` stands in the place of its shard, and keeps what is commanded, in order, until the old
thread has said that it let go; then the parts are put into the new thread's world and the commands follow. What refers to each other
goes together: a leg with the taps that hear it, these with all that they hear, a bus with its members.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from tapeline.rtp.engine import constants as c
from tapeline.rtp.engine.shard import Shard
from tapeline.rtp.errors import TooManyLegs

if TYPE_CHECKING:
    from tapeline.rtp.engine.parts import Bus, Leg, Tap

    Movable = Leg | Bus | Tap

__all__ = ["Seat", "Transit", "home", "move", "settled"]


class Transit:
    """A journey of some parts. What is to be done then is kept until `arrive` was called as often as there are departures to wait for."""

    def __init__(self, target: Shard, parts: list[Any], departures: int = 1, *, fresh: bool = False) -> None:
        self.target = target
        self.parts = parts
        self._waits = departures
        self._fresh = fresh  # the target's thread gets to know the parts by what is commanded
        self._queue: list[Callable[[], None]] = []
        for part in parts:
            _seat(part, Seat(self, part))

    def then(self, call: Callable[[], None]) -> None:
        """Call when the parts have arrived, after what was commanded before."""
        self._queue.append(call)

    def arrive(self) -> None:
        """One of the departures has happened. After the last the parts live on the target's thread, and what was kept is carried out."""
        self._waits -= 1
        if self._waits:
            return
        for part in self.parts:
            _seat(part, self.target)
            if not part.gone and not self._fresh:
                self.target.command(part.arrival, part.handle)
        for call in self._queue:
            call()


class Seat:
    """Stands in the place of a part's shard while the part is on its way: what is commanded follows it, however far it goes."""

    def __init__(self, transit: Transit, part: Any) -> None:
        self.target = transit.target
        self.then = transit.then
        self._part = part

    def command(self, op: int, target: int, *args: int, size: int = 0, blob: bytes = b"") -> None:
        self.then(lambda: self._part.shard.command(op, target, *args, size=size, blob=blob))

    def keep(self, handle: int, *things: Any) -> int:
        return self.target.keep(handle, *things)

    def free(self, handle: int) -> None:
        self.target.free(handle)


def _seat(part: Any, shard: Shard | Seat) -> None:
    part.shard = shard
    for player in part.players.values():
        player.shard = shard


def home(part: Leg | Bus | Tap) -> Shard:
    """The thread on which a part lives, or will."""
    return part.shard.target if isinstance(part.shard, Seat) else part.shard


def settled(parts: Iterable[Leg | Bus | Tap], call: Callable[[], None]) -> None:
    """Call as soon as none of the parts is on its way: at once, or later."""
    for part in parts:
        if isinstance(part.shard, Seat):
            part.shard.then(lambda: settled(parts, call))
            return
    call()


def move(part: Leg | Bus, target: Shard, *, leaving: bool = False) -> None:
    """Send a part, with all that must go with it, to another thread. `leaving`: a leg leaves its bus, which may stay.

    Raises TooManyLegs.
    """
    if home(part) is target:
        return
    if isinstance(part.shard, Seat):
        part.shard.then(lambda: move(part, target, leaving=leaving))
        return
    shard = part.shard
    group = [each for each in _together(part, leaving) if each.shard is shard]
    legs = sum(each.arrival == c.ADD_LEG for each in group)
    if target.legs + legs > 2 * target.max_legs:
        raise TooManyLegs(f"{target.legs} legs are open on the thread that {part!r} should go to")
    shard.legs -= legs
    target.legs += legs
    for each in group:
        for handle in (each.handle, *(player.handle for player in each.players.values())):
            target.keep(handle, *shard.kept.pop(handle))
        number, size = (each.id, 2) if each.arrival == c.ARRIVE_TAP else (each.handle, int(each.arrival == c.ADD_BUS))
        shard.command(c.DEPART, number, size=size)
    shard.command(c.DEPARTED, 0)
    shard.transits.append(Transit(target, group))


def _together(part: Leg | Bus, leaving: bool) -> list[Leg | Bus | Tap]:
    """All that must be on one thread with `part`, itself first."""
    found: dict[Leg | Bus | Tap, None] = {part: None}
    waiting: list[Any] = [part]
    while waiting:
        each = waiting.pop()
        if each.arrival == c.ARRIVE_TAP:
            near = [source.of for heard in each.heard for source in heard]
        elif each.arrival == c.ADD_BUS:
            near = [*each.members, *each.taps]
        else:
            near = [*each.taps] + ([each.bus] if each.bus and not (each is part and leaving) else [])
        for other in near:
            if other not in found and not other.closed:
                found[other] = None
                waiting.append(other)
    return list(found)
