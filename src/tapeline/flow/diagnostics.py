"""What is wrong with a document, where, and what to do: one `Diagnostic` for each problem, all of them, never just the first.

Lines and columns count from 1; both are 0 for a document that was given as parsed values and so has no text. This module
knows no dialect and no JSON.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

__all__ = ["MAX_PROBLEMS", "Diagnostic", "Place", "Problems"]

MAX_PROBLEMS = 200  # a document of nothing but mistakes is answered with this many


class Place(NamedTuple):
    """Where in a document something stands."""

    line: int = 0
    column: int = 0
    path: str = ""


@dataclass(frozen=True, slots=True)
class Diagnostic:
    severity: Literal["error", "warning"]
    line: int
    column: int
    path: str  # "actions[2].option.text"
    message: str
    hint: str = ""
    code: str = ""  # INVALID_JSON, INVALID_ACTION_TYPE ...: stable, fit for an API

    def __str__(self) -> str:
        where = f"{self.line}:{self.column}: " if self.line else ""
        path = f"{self.path}: " if self.path else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{where}{self.severity}: {path}{self.message}{hint}"


class Problems:
    """Collects diagnostics, in the order of the document once `sorted`."""

    def __init__(self) -> None:
        self._found: list[Diagnostic] = []
        self.failed = False  # an error was among them

    def error(self, place: Place, message: str, *, hint: str = "", code: str = "INVALID_FLOW") -> None:
        self.failed = True
        self._add(Diagnostic("error", place.line, place.column, place.path, message, hint, code))

    def warning(self, place: Place, message: str, *, hint: str = "", code: str = "ODD_FLOW") -> None:
        self._add(Diagnostic("warning", place.line, place.column, place.path, message, hint, code))

    def _add(self, diagnostic: Diagnostic) -> None:
        if len(self._found) < MAX_PROBLEMS or (diagnostic.severity == "error" and not any(d.severity == "error" for d in self._found)):
            self._found.append(diagnostic)

    def sorted(self) -> tuple[Diagnostic, ...]:
        return tuple(sorted(self._found, key=lambda found: (found.line, found.column)))
