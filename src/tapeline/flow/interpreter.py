"""Runs a program on one call, without I/O: events and the time come in, commands go out.

A `Run` is a stack of programs. Its top step either waits, for an event or a deadline, or has decided at once, and then the run
follows the edge to the next. Between two waits it takes at most `Limits.burst` steps and in its life `Limits.total`, so no document
spins. An event whose token does not belong to the step that now waits is stale and changes nothing. The interpreter knows no
dialect: documents that come while it runs go through the `compile` function it was given.

    state     start        event, tick    hung up
    ready     begin        note           finish
    waiting   (RunMisused) deliver        finish
    finished  (RunMisused) ignore         ignore
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

from tapeline.flow import commands, events
from tapeline.flow.commands import Command
from tapeline.flow.errors import RunMisused
from tapeline.flow.events import Event
from tapeline.flow.program import DEFAULT, END, Compilation, Enter, Fail, Finish, Outcome, Performance, Program, Step
from tapeline.flow.variables import DIGITS, Variables

__all__ = ["Compile", "Limits", "Run"]

MAX_DIGITS = 256  # keys kept
TRAIL = 100  # steps remembered for whoever follows a run
KEYS = frozenset("0123456789*#ABCD")


class Compile(Protocol):
    """`flow.compile`, as the run calls it for a document that came while running."""

    def __call__(self, source: Any, *, nested: bool = False) -> Compilation: ...


@dataclass(frozen=True, slots=True)
class Limits:
    burst: int = 1000  # steps between two waits
    total: int = 10_000  # steps of a run
    depth: int = 100  # programs on the stack


@dataclass(slots=True)
class _Frame:
    program: Program
    after: str = END  # where the frame below goes on when this one ends
    visits: dict[str, int] = field(default_factory=dict)  # step id -> how often it was begun


State = Literal["ready", "waiting", "finished"]
Reaction = Literal["begin", "note", "deliver", "finish", "ignore", "misuse"]

TRANSITIONS: Final[dict[tuple[State, str], Reaction]] = {
    ("ready", "start"): "begin",
    ("ready", "event"): "note",
    ("ready", "hungup"): "finish",
    ("waiting", "start"): "misuse",
    ("waiting", "event"): "deliver",
    ("waiting", "hungup"): "finish",
    ("finished", "start"): "misuse",
    ("finished", "event"): "ignore",
    ("finished", "hungup"): "ignore",
}


class Run:
    """One run of a program on one call.

    `start`, `handle` and `tick` return the commands to carry out, in order. `next_deadline` is when `tick` is due. `status` is the
    call's status now; an incoming call that is not yet answered is `ringing`. Raises RunMisused where the table says so.
    """

    def __init__(
        self,
        program: Program,
        variables: Variables,
        *,
        compile: Compile,
        wall: Callable[[], float],
        status: str = "ringing",
        limits: Limits = Limits(),
    ) -> None:
        self.variables = variables
        self.status = status
        self.now = 0.0
        self.wall = wall
        self.current: Step | None = None
        self.steps_taken = 0
        self._compile = compile
        self._limits = limits
        self._stack = [_Frame(program)]
        self._state: State = "ready"
        self._performance: Performance | None = None
        self._deadline: float | None = None
        self._tokens: set[int] = set()  # of the step now running
        self._last_token = 0
        self._recordings: set[int] = set()
        self._commands: list[Command] = []
        self._trail: list[Step] = []

    # --- what the owner of the call uses

    @property
    def finished(self) -> bool:
        """Nothing more will come: the flow has ended, or the call has."""
        return self._state == "finished"

    @property
    def program(self) -> Program:
        """The program now running."""
        return self._stack[-1].program

    def next_deadline(self) -> float | None:
        return self._deadline

    def take_trail(self) -> list[Step]:
        """The steps that were begun since this was asked last, the last of them `TRAIL` at most."""
        taken, self._trail = self._trail, []
        return taken

    def start(self, now: float) -> list[Command]:
        self._react("start")
        self.now = now
        self._state = "waiting"
        self._go(self._resolve(self._stack[-1].program.entry))
        return self._drain()

    def handle(self, event: Event, now: float) -> list[Command]:
        over = isinstance(event, events.HungUp) or (isinstance(event, events.CallStatus) and event.status == "hangup")
        reaction = self._react("hungup" if over else "event")
        if reaction == "ignore":
            return []
        self.now = max(self.now, now)
        if reaction == "finish":
            self.status = "hangup"
            self._finish()
        elif isinstance(event, events.Replaced):
            if reaction == "deliver":
                self._replace(event.program)
        elif self._noted(event) and reaction == "deliver":
            self._resume(event)
        return self._drain()

    def tick(self, now: float) -> list[Command]:
        if self._react("event") == "ignore":
            return []
        self.now = max(self.now, now)
        if self._deadline is not None and self.now >= self._deadline:
            self._resume(events.Elapsed())
        return self._drain()

    # --- what an operation uses (program.Context)

    @property
    def recordings(self) -> frozenset[int]:
        return frozenset(self._recordings)

    def text(self, template: str) -> str:
        return self.variables.substitute(template) if self.program.substitutes else template

    def token(self) -> int:
        self._last_token += 1
        self._tokens.add(self._last_token)
        return self._last_token

    def issue(self, command: Command) -> None:
        if isinstance(command, commands.StartRecording):
            self._recordings.add(command.token)
        self._commands.append(command)

    def log(self, level: Literal["info", "warning", "error"], message: str, **fields: Any) -> None:
        if self.current is not None:
            fields = {"step": self.current.id, "op": self.current.label or self.current.op.kind} | fields
        self._commands.append(commands.Log(level, message, fields))

    def visits(self) -> int:
        return self._stack[-1].visits.get(self.current.id, 1) - 1 if self.current else 0

    def compile(self, document: Any) -> Compilation:
        return self._compile(document, nested=True)

    # --- inside

    def _react(self, kind: str) -> Reaction:
        reaction = TRANSITIONS[self._state, kind]
        if reaction == "misuse":
            raise RunMisused(f"a run that is {self._state} takes no {kind}", reason="RUN_MISUSED")
        return reaction

    def _drain(self) -> list[Command]:
        drained, self._commands = self._commands, []
        return drained

    def _noted(self, event: Event) -> bool:
        """Keep what the event tells of the call; False where it is stale for the step that waits."""
        if isinstance(event, events.CallStatus):
            self.status = event.status
            return True
        if isinstance(event, events.Digit):
            return self._key(event.digit)
        token = getattr(event, "token", None)
        ours = token in self._tokens or token in self._recordings
        if isinstance(event, events.Answered) and ours:
            self.status = "progressing"
        elif isinstance(event, events.RecordingStarted) and ours:
            for name, value in ({"id": event.recording_id} | dict(event.variables)).items():
                self.variables.set("tapeline.recording." + name.rpartition("recording.")[2], value)
        elif isinstance(event, events.RecordingRefused | events.RecordingEnded | events.Unsupported) and token is not None:
            self._recordings.discard(token)
        return ours

    def _key(self, digit: str) -> bool:
        digit = digit.upper()
        if digit not in KEYS:
            return False
        typed = self.variables.get(DIGITS)
        if (self.current is not None and self.current.op.collects) or self.program.typed_ahead == "all":
            self.variables.set(DIGITS, (typed + digit)[-MAX_DIGITS:])
        elif self.program.typed_ahead == "last":
            self.variables.set(DIGITS, digit)
        return True

    def _resume(self, event: Event) -> None:
        """Give the waiting step an event, and go on if it was all that it waited for."""
        assert self._performance is not None and self.current is not None
        try:
            self._deadline = self._performance.send(event)
        except StopIteration as done:
            self._go(self._follow(self.current, done.value))

    def _go(self, step: Step | None) -> None:
        """Take steps until one waits or the run is over."""
        burst = 0
        while step is not None:
            if burst >= self._limits.burst or self.steps_taken >= self._limits.total:
                self._fail("the flow takes too many steps", steps=self.steps_taken)
                return
            burst += 1
            self.steps_taken += 1
            visits = self._stack[-1].visits
            visits[step.id] = visits.get(step.id, 0) + 1
            self.current = step
            self._trail.append(step)
            del self._trail[:-TRAIL]
            self._tokens.clear()
            self._performance = step.op.perform(self)
            try:
                self._deadline = next(self._performance)
                return
            except StopIteration as done:
                step = self._follow(step, done.value)

    def _follow(self, step: Step, outcome: Outcome) -> Step | None:
        """The step that an outcome leads to, or None with the run over."""
        if isinstance(outcome, Finish):
            self._finish(hang_up=not outcome.hung_up and self._stack[0].program.at_end == "hangup")
            return None
        if isinstance(outcome, Fail):
            self._fail(outcome.reason, **outcome.fields)
            return None
        if isinstance(outcome, Enter):
            return self._enter(step, outcome)
        for result in (outcome, DEFAULT) if isinstance(outcome, str) else (*outcome, DEFAULT):
            if result in step.edges:
                return self._resolve(step.edges[result])
        return self._resolve(END)

    def _enter(self, step: Step, outcome: Enter) -> Step | None:
        if outcome.mode == "replace":
            self._stack[-1] = _Frame(outcome.program, self._stack[-1].after)
        elif len(self._stack) >= self._limits.depth:
            self._fail("programs call one another too deeply", depth=len(self._stack))
            return None
        else:
            self._stack.append(_Frame(outcome.program, step.edges.get(DEFAULT, END)))
        return self._resolve(outcome.program.entry)

    def _replace(self, program: Program) -> None:
        """Leave the step that waits where it is, and begin with another program."""
        if self._performance is not None:
            self._performance.close()
        self._deadline = None
        self._stack = [_Frame(program)]
        self._go(self._resolve(program.entry))

    def _resolve(self, target: str) -> Step | None:
        """The step named `target`, searched outward; END leads to where the calling program goes on."""
        while target == END:
            if len(self._stack) == 1:
                self._finish(hang_up=self._stack[0].program.at_end == "hangup")
                return None
            target = self._stack.pop().after
        for depth in range(len(self._stack) - 1, -1, -1):
            found = self._stack[depth].program.steps.get(target)
            if found is not None:
                del self._stack[depth + 1 :]
                return found
        self._fail("the flow goes to an action that does not exist", target=target)
        return None

    def _fail(self, reason: str, **fields: Any) -> None:
        self.log("error", reason, **fields)
        self._finish(hang_up=True)

    def _finish(self, hang_up: bool = False) -> None:
        if hang_up:
            self._commands.append(commands.Hangup("normal"))
        if self._performance is not None:
            self._performance.close()
        self._performance = None
        self._deadline = None
        self._state = "finished"
