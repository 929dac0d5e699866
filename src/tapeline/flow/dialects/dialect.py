"""What a dialect is: a name, a shape to be told by, and a function from a document to a program.

A dialect module imports the model, the operations and the diagnostics, and nothing that runs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from tapeline.flow.diagnostics import Problems
from tapeline.flow.jsondoc import Node
from tapeline.flow.program import Program

__all__ = ["Dialect"]


class _Compile(Protocol):
    def __call__(self, root: Node, problems: Problems, *, nested: bool) -> Program | None: ...


@dataclass(frozen=True, slots=True)
class Dialect:
    """`compile` puts what is wrong into the problems; its program counts only where none of them is an error."""

    name: str
    recognises: Callable[[Node], bool]
    compile: _Compile
