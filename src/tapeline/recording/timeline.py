"""What happened to a recording and when: an append-only list of events on its own clock.

Each event has `at`, seconds since the recording's start (0 for what came before it), and `event`, its name; the rest depends on
the name. The API returns it, the page draws it, the manifest keeps it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["Timeline"]

MOST_EVENTS = 10_000  # a call cannot fill the memory by being put on hold for ever


class Timeline:
    def __init__(self) -> None:
        self._events: list[dict[str, Any]] = []

    def add(self, at: float, event: str, **fields: Any) -> None:
        """Append; time never goes backwards, so an event that is told late stands where it was told."""
        at = max(at, 0.0, self._events[-1]["at"] if self._events else 0.0)
        if len(self._events) < MOST_EVENTS:
            self._events.append({"at": round(at, 3), "event": event, **fields})

    def as_dicts(self) -> tuple[Mapping[str, Any], ...]:
        return tuple(self._events)
