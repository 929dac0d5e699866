"""Runs of flows as others see them: which action each is at, which it has done, that it has ended.

Whoever runs a flow (`script` on a call, `errands` without one) begins an `Activeflow` here, and tells it of each step and of the end. Each
change becomes a row, written behind, and an event. Knows nothing of programs.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tapeline.core.ids import new_id
from tapeline.store import ActiveflowRow

if TYPE_CHECKING:
    from tapeline.calls.equipment import Equipment

__all__ = ["Activeflow", "Runs", "Target"]

EXECUTED = 100  # of the actions that were done, so many of the last
REMEMBERED = 1000  # runs that ended last, for events that come after the end
MOST_TEXT = 65_536  # characters of variables kept with a run
Target = tuple[str, str]  # address and method


class Activeflow:
    """One run. `on_stop` ends it from outside."""

    def __init__(self, row: ActiveflowRow, runs: Runs, on_stop: Callable[[], None]) -> None:
        self.row = row
        self.stop = on_stop
        self._runs = runs

    def stepped(self, actions: Iterable[Mapping[str, Any]], variables: Mapping[str, str]) -> None:
        """It has begun these actions, in order; the last one is current. `variables` are as they are now."""
        now = self._runs.wall()
        begun = [{**action, "tm_execute": now} for action in actions]
        if begun and self.row.status == "running":
            done = (*self.row.executed_actions, *begun)[-EXECUTED:]
            self._change(current_action=begun[-1], executed_actions=done, variables=bounded(variables), updated=now)

    def end(self, variables: Mapping[str, str] | None = None) -> None:
        """It is over. A second end changes nothing."""
        if self.row.status == "running":
            now = self._runs.wall()
            kept = self.row.variables if variables is None else bounded(variables)
            self._change(status="ended", ended=now, updated=now, variables=kept)

    def _change(self, **changes: Any) -> None:
        self.row = replace(self.row, **changes)
        self._runs.changed(self.row, "activeflow_updated")


class Runs:
    """The register of this node's runs."""

    def __init__(self, equipment: Equipment) -> None:
        self._kit = equipment
        self._live: dict[str, Activeflow] = {}
        self._ended: OrderedDict[str, Target] = OrderedDict()
        self.load: Callable[[str], Awaitable[ActiveflowRow | None]] | None = None  # a run's row; set by the composition root

    def wall(self) -> float:
        return self._kit.clock.wall()

    def get(self, run_id: str) -> Activeflow | None:
        """The run of that id, while it lasts."""
        return self._live.get(run_id)

    @property
    def live(self) -> tuple[Activeflow, ...]:
        return tuple(self._live.values())

    def begin(self, row: ActiveflowRow, on_stop: Callable[[], None], *, known: bool = False) -> Activeflow:
        """A run begins. One whose id another has already gets one of its own, and names that one as where it comes from. `known`: its row
        is written, and listeners know of it."""
        if row.id in self._live or row.id in self._ended:
            row = replace(row, id=new_id(), reference_activeflow_id=row.id)
        run = self._live[row.id] = Activeflow(row, self, on_stop)
        if not known:
            self.changed(row, "activeflow_created")
        return run

    def changed(self, row: ActiveflowRow, kind: str) -> None:
        """Every change of a run comes by here."""
        self._kit.writer.put(row)
        if row.status == "ended" and self._live.pop(row.id, None) is not None:
            self._ended[row.id] = row.webhook_uri, row.webhook_method
            if len(self._ended) > REMEMBERED:
                self._ended.popitem(last=False)
        self._kit.happened(kind, row.account, row.id, row)

    async def target(self, run_id: str) -> Target | None:
        """Where events of that run go besides the account's address. Raises DatabaseUnavailable."""
        live = self._live.get(run_id)
        if live is not None:
            return live.row.webhook_uri, live.row.webhook_method
        known = self._ended.get(run_id)
        if known is not None or self.load is None:
            return known
        row = await self.load(run_id)
        return (row.webhook_uri, row.webhook_method) if row is not None else None


def bounded(variables: Mapping[str, str]) -> dict[str, str]:
    """As many of them, in their order, as are kept with a run."""
    kept, size = {}, 0
    for name, value in variables.items():
        size += len(name) + len(value)
        if size > MOST_TEXT:
            break
        kept[name] = value
    return kept
