"""One world for many tests, as new for each: an application of more than a hundred routes takes longer to build than most tests take.

Only what the tests' own stores in memory hold is put back. The application keeps what it remembers of logins, and forgets it as it does
in life, with time: a day passes between two tests.
"""

from __future__ import annotations

import copy
from functools import cache
from typing import Any, Generic, TypeVar

from api_world import World
from kazoo_world import KazooWorld

from tapeline.testing.clock import FakeClock

DAY_S = 86_400.0

W = TypeVar("W", bound=World)


class Renewal(Generic[W]):
    """Made right after what it renews."""

    def __init__(self, world: W) -> None:
        self._world = world
        self._parts: dict[int, Any] = {}
        self._gather(world)
        self._kept = self._copy({number: dict(vars(part)) for number, part in self._parts.items()})

    def renewed(self) -> W:
        for number, state in self._copy(self._kept).items():
            vars(self._parts[number]).clear()
            vars(self._parts[number]).update(state)
        self._world.clock.advance(DAY_S)
        return self._world

    def _gather(self, part: Any) -> None:
        """`part` and all of its parts that stand in a module of these tests; time goes on."""
        if id(part) in self._parts or isinstance(part, FakeClock) or not type(part).__module__.endswith("_world"):
            return
        self._parts[id(part)] = part
        for value in vars(part).values():
            self._gather(value)

    def _copy(self, states: dict[int, dict[str, Any]]) -> dict[int, dict[str, Any]]:
        """What the stores hold, anew, and shared where it was shared; the stores themselves and what is not plain data stay."""
        values = [value for state in states.values() for value in state.values()]
        same = {id(value): value for value in values if not isinstance(value, dict | list | set | bytearray)}
        return copy.deepcopy(states, same | self._parts)


@cache
def _worlds() -> Renewal[World]:
    return Renewal(World())


@cache
def _houses() -> Renewal[KazooWorld]:
    return Renewal(KazooWorld())


def fresh_world() -> World:
    return _worlds().renewed()


def fresh_house() -> KazooWorld:
    """Not opened yet."""
    return _houses().renewed()
