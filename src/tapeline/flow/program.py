"""The program model: what every dialect is compiled to, and what the interpreter runs.

A `Program` is a graph of `Step`s. A step is an operation and its edges, *result -> step id*: `_` is taken when no other fits,
`END` as a target ends the program there, and so does having no fitting edge. A target that is not a step of the program is looked
for in the programs that called it. What the end means (hang up, stay in the call) is the dialect's, and stands on the program.

An operation (`Op`) is a frozen dataclass whose fields are typed and in range. Its behaviour is a generator: it issues commands
through its `Context`, yields the deadline it waits for (None: no deadline), is resumed with each event meant for it (`Elapsed` at
the deadline), and returns its outcome. It does no I/O and owns no state but the generator's.
"""

from __future__ import annotations

import abc
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Literal, Protocol

from tapeline.flow.commands import Command
from tapeline.flow.diagnostics import Diagnostic, Place
from tapeline.flow.events import Event
from tapeline.flow.variables import Variables

__all__ = [
    "DEFAULT",
    "END",
    "Compilation",
    "Context",
    "Enter",
    "Fail",
    "Finish",
    "Op",
    "Outcome",
    "Performance",
    "Program",
    "Step",
]

DEFAULT: Final = "_"  # the edge that is taken when no other fits
END: Final = ""  # the target that ends the program


@dataclass(frozen=True, slots=True)
class Enter:
    """Go on in another program. `push`: when that one ends, go on along this step's `_` edge. `replace`: nothing comes after it."""

    program: Program
    mode: Literal["push", "replace"] = "push"


@dataclass(frozen=True, slots=True)
class Fail:
    """The flow cannot go on: it is logged and the call hung up."""

    reason: str
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Finish:
    """The whole run is over, whatever programs called this one. `hung_up`: the operation already ended the call."""

    hung_up: bool = False


Outcome = str | tuple[str, ...] | Enter | Fail | Finish  # a tuple: results, the first that has an edge is taken
Performance = Generator[float | None, Event, Outcome]


class Context(Protocol):
    """What an operation sees of its run."""

    variables: Variables
    now: float  # monotonic seconds

    @property
    def status(self) -> str:
        """The call's status: dialing, ringing, progressing ..."""

    @property
    def recordings(self) -> frozenset[int]:
        """Tokens of the recordings that this run started and that have not ended."""

    def wall(self) -> float:
        """Seconds since 1970 UTC."""

    def text(self, template: str) -> str:
        """`template` with its variables filled in, where the program's dialect has such."""

    def token(self) -> int:
        """A new token; events that carry it are meant for the step now running."""

    def issue(self, command: Command) -> None:
        """Give a command to the call."""

    def log(self, level: Literal["info", "warning", "error"], message: str, **fields: Any) -> None:
        """Issue a `Log`, with the step's id and type among its fields."""

    def visits(self) -> int:
        """How often the step now running was begun before, in this entry of its program."""

    def compile(self, document: Any) -> Compilation:
        """Compile a document that came while running."""


@dataclass(frozen=True, slots=True)
class Op(abc.ABC):
    """One operation. Subclasses are frozen dataclasses; their `kind` is the operation's name in the model."""

    kind: ClassVar[str] = ""
    collects: ClassVar[bool] = False  # keys pressed meanwhile are appended to the digits, not taken instead of them

    @abc.abstractmethod
    def perform(self, context: Context) -> Performance:
        """Run the operation; see the module's docstring."""


@dataclass(frozen=True, slots=True)
class Step:
    id: str
    op: Op
    edges: Mapping[str, str] = field(default_factory=dict)
    origin: Place = Place()
    label: str = ""  # for people: the platform's name of the action
    action: Mapping[str, Any] = field(default_factory=dict)  # the action as the platform shows it: id, type, option


@dataclass(frozen=True, slots=True)
class Program:
    """A compiled flow. `entry` is the first step's id, END where there is nothing to do."""

    entry: str
    steps: Mapping[str, Step]
    dialect: str = ""
    at_end: Literal["hangup", "stay"] = "hangup"
    substitutes: bool = True  # `${name}` in texts means a variable
    typed_ahead: Literal["last", "all", "none"] = "last"  # which keys are kept that no operation asked for
    name: str = ""
    on_complete_flow_id: str = ""
    no_match: bool = False  # it is for the numbers that nothing else takes
    metaflow: Mapping[str, Any] = field(default_factory=dict)  # KAZOO's document of what keys do on its calls (`flow.metaflows`)

    def __post_init__(self) -> None:
        if self.entry != END and self.entry not in self.steps:
            raise ValueError(f"the program's entry {self.entry!r} is not one of its steps")

    @classmethod
    def chain(cls, *ops: Op, **fields: Any) -> Program:
        """A program of these operations, one after the other; their ids are "1", "2", ..."""
        last = len(ops)
        steps = {str(n): Step(str(n), op, {DEFAULT: str(n + 1)} if n < last else {}) for n, op in enumerate(ops, 1)}
        return cls(entry="1" if ops else END, steps=steps, **fields)


@dataclass(frozen=True, slots=True)
class Compilation:
    """What became of a document: a program, or None where a problem is an error."""

    program: Program | None
    problems: tuple[Diagnostic, ...]
    dialect: str

    @property
    def errors(self) -> tuple[Diagnostic, ...]:
        return tuple(found for found in self.problems if found.severity == "error")

    @property
    def warnings(self) -> tuple[Diagnostic, ...]:
        return tuple(found for found in self.problems if found.severity == "warning")
