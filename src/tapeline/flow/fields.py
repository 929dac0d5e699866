"""Typed reading of a JSON object's fields: what every dialect needs to turn options into an operation's fields.

Strings are accepted for numbers and booleans, `null` is absent, unknown keys are a warning that names the nearest known one. A value
of the wrong type is an error; a number out of range is an error, or is moved into the range with a warning where the platform is
lenient (`clamp`). Knows JSON nodes and problems, and no dialect.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Iterator
from typing import Any

from tapeline.flow.diagnostics import Place, Problems
from tapeline.flow.jsondoc import Node

__all__ = ["Fields"]

_TRUE = {"true", "yes", "on", "1"}
_FALSE = {"false", "no", "off", "0", ""}


class Fields:
    """The fields of one object. Read each that is known, then call `done`."""

    def __init__(self, node: Node | None, problems: Problems, place: Place | None = None) -> None:
        """`node` None: an object without fields, at `place`. Something else than an object is an error, and read as empty."""
        self.problems = problems
        self.place = node.place if node is not None else place or Place()
        self._members: dict[str, Node] = {}
        self._known: list[str] = []
        if node is None or node.value is None:
            return
        if isinstance(node.value, dict):
            self._members = node.value
        else:
            problems.error(node.place, f"must be an object, not {node.type}")

    def __contains__(self, name: str) -> bool:
        return self.node(name) is not None

    def plain(self) -> dict[str, Any]:
        """The fields that there are, without places."""
        return {name: node.plain() for name, node in self._members.items() if node.value is not None}

    def node(self, name: str) -> Node | None:
        """The field itself; None where it is absent or null."""
        if name not in self._known:
            self._known.append(name)
        found = self._members.get(name)
        return None if found is None or found.value is None else found

    def at(self, name: str) -> Place:
        """Where the field stands, or the object, where there is no such field."""
        found = self._members.get(name)
        return found.place if found is not None else self.place

    def text(self, name: str, default: str = "", *, choices: Collection[str] = (), lower: bool = False) -> str:
        """A string; numbers are taken as their text. Outside `choices` (if any): `default`, with a warning."""
        node = self.node(name)
        if node is None:
            return default
        value = self._as_text(node)
        if value is None:
            return default
        if lower:
            value = value.lower()
        if choices and value not in choices:
            known = ", ".join(sorted(filter(None, choices)))
            self.problems.warning(node.place, f"{value[:40]!r} is none of {known}", hint=f"{default!r} is used")
            return default
        return value

    def _as_text(self, node: Node) -> str | None:
        if isinstance(node.value, str):
            return node.value
        if isinstance(node.value, int | float) and not isinstance(node.value, bool):
            return str(node.value)
        self.problems.error(node.place, f"must be a string, not {node.type}")
        return None

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of strings; one string is taken as a list of it, with a warning."""
        node = self.node(name)
        if node is None:
            return ()
        if isinstance(node.value, list):
            found = (self._as_text(item) for item in node.value if item.value is not None)
            return tuple(text for text in found if text is not None)
        single = self._as_text(node)
        if single is None:
            return ()
        self.problems.warning(node.place, "must be a list of strings", hint="the one string is taken as a list of one")
        return (single,)

    def integer(self, name: str, default: int = 0, *, low: int | None = None, high: int | None = None, clamp: bool = False) -> int:
        return int(self._bounded(name, self.number_or_none(name, whole=True), default, low, high, clamp))

    def number(self, name: str, default: float = 0.0, *, low: float | None = None, high: float | None = None, clamp: bool = False) -> float:
        return float(self._bounded(name, self.number_or_none(name), default, low, high, clamp))

    def number_or_none(self, name: str, *, whole: bool = False) -> float | None:
        """The number, whole ones as int; None where the field is absent, or no number, which is an error."""
        node = self.node(name)
        if node is None or (isinstance(node.value, str) and not node.value.strip()):
            return None
        value = _as_number(node.value)
        if value is None:
            shown = f", not {node.value[:40]!r}" if isinstance(node.value, str) else f", not {node.type}"
            self.problems.error(node.place, "must be a number" + shown)
        elif whole and value != int(value):
            self.problems.warning(node.place, "must be a whole number", hint=f"{int(value)} is used")
            return int(value)
        return value

    def _bounded(self, name: str, value: float | None, default: float, low: float | None, high: float | None, clamp: bool) -> float:
        if value is None:
            return default
        if (low is None or value >= low) and (high is None or value <= high):
            return value
        limits = f"at least {low}" if high is None else f"at most {high}" if low is None else f"within {low} and {high}"
        nearest = low if low is not None and value < low else high
        if clamp and nearest is not None:
            self.problems.warning(self.at(name), f"must be {limits}", hint=f"{nearest} is used")
            return nearest
        self.problems.error(self.at(name), f"must be {limits}")
        return default

    def boolean(self, name: str, default: bool = False) -> bool:
        node = self.node(name)
        if node is None:
            return default
        value = node.value
        if isinstance(value, bool):
            return value
        word = str(value).strip().lower() if isinstance(value, str | int) else None
        if word in _TRUE:
            return True
        if word in _FALSE:
            return False
        self.problems.error(node.place, "must be true or false")
        return default

    def objects(self, name: str) -> Iterator[Fields]:
        """The fields of each object of a list; one object is taken as a list of it, with a warning."""
        node = self.node(name)
        if node is None:
            return
        items = node.value
        if isinstance(items, dict):
            self.problems.warning(node.place, "must be a list of objects", hint="the one object is taken as a list of one")
            items = [node]
        if not isinstance(items, list):
            self.problems.error(node.place, f"must be a list of objects, not {node.type}")
            return
        for item in items:
            if item.value is not None:
                yield Fields(item, self.problems)

    def members(self, name: str) -> dict[str, Node]:
        """The fields of an object whose keys are the author's own."""
        node = self.node(name)
        if node is None:
            return {}
        if not isinstance(node.value, dict):
            self.problems.error(node.place, f"must be an object, not {node.type}")
            return {}
        return {key: item for key, item in node.value.items() if item.value is not None}

    def ignore(self, *names: str) -> None:
        """Known names that mean nothing here."""
        self._known += names

    def done(self) -> None:
        """Warn of every field that was not asked for."""
        for name, node in self._members.items():
            if name not in self._known:
                near = difflib.get_close_matches(name, self._known, n=1, cutoff=0.6) if len(name) <= 64 else []
                hint = f"did you mean {near[0]!r}?" if near else "it is ignored"
                self.problems.warning(node.place, f"unknown key {name[:64]!r}", hint=hint)


def _as_number(value: object) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return value if abs(value) < 1e18 else math.copysign(1e18, value)
    if isinstance(value, str) and len(value) <= 64:
        try:
            number = float(value)
        except ValueError:
            return None
        if not math.isfinite(number):
            return None
        return int(number) if number == int(number) and abs(number) < 1e15 else number
    return None
