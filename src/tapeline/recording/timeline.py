"""What happened to a recording and when: an append-only list of events on its own clock.

Each event has `at`, seconds since the recording's start (0 for what came before it), and `event`, its name; the rest depends on
the name. Where a pause has cut something out, `position` says where in the file the event lies; else that is `at` itself. The API
returns the list, the page draws it, the manifest keeps it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["MOST_EVENTS", "Timeline"]

MOST_EVENTS = 10_000  # a call cannot fill the memory by being put on hold for ever
_ENDS = frozenset({"stopped", "cut_short", "recovered"})  # kept however full the list is


class Timeline:
    def __init__(self, events: Iterable[Mapping[str, Any]] = ()) -> None:
        self._events: list[dict[str, Any]] = [dict(event) for event in events]
        self._last = max((event["at"] for event in self._events), default=0.0)

    def add(self, at: float, event: str, *, position: float | None = None, **fields: Any) -> None:
        """Append; time never goes backwards, so an event that is told late stands where it was told."""
        if len(self._events) >= MOST_EVENTS and event not in _ENDS:
            return
        self._last = round(max(at, 0.0, self._last), 3)
        entry: dict[str, Any] = {"at": self._last, "event": event}
        if position is not None:
            entry["position"] = round(position, 3)
        self._events.append(entry | fields)

    def as_dicts(self) -> tuple[Mapping[str, Any], ...]:
        return tuple(self._events)
