"""KAZOO's metaflows: what keys do that are pressed during a call, beside whatever flow it is in.

A document binds a digit; keys that follow it are collected until `digit_timeout` ms have passed without another, and name an action: by
exact number, else by the first pattern that fits them. Actions are a tree like a callflow's. What an action does is not known here, nor
where keys come from; time is a number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, cast

from tapeline.core.errors import InvalidInput
from tapeline.flow.diagnostics import Problems
from tapeline.flow.fields import Fields
from tapeline.flow.jsondoc import Node, wrap
from tapeline.flow.patterns import compile_pattern

__all__ = ["Action", "Collector", "Found", "Metaflows", "action", "metaflows"]

MOST_KEYS: Final = 64
DIGITS: Final = "0123456789*#"
MOST_ACTIONS: Final = 1000  # in one document
MOST_PATTERNS: Final = 100


@dataclass(frozen=True, slots=True)
class Action:
    """What is to be done. `next` is the child `_`, after which it goes on."""

    module: str
    data: Mapping[str, Any] = field(default_factory=dict)
    next: Action | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """The action of what was pressed; `captures` are what its pattern captured, the whole first."""

    action: Action
    collected: str
    captures: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Metaflows:
    """`listen_on`: whose keys count, of the leg that owns this (`self`), of whom it talks with (`peer`), or both."""

    binding_digit: str = "*"
    digit_timeout_s: float = 0.8
    listen_on: Literal["self", "peer", "both"] = "self"
    numbers: Mapping[str, Action] = field(default_factory=dict)
    patterns: tuple[tuple[Any, Action], ...] = ()

    def find(self, collected: str) -> Found | None:
        if collected in self.numbers:
            return Found(self.numbers[collected], collected)
        for pattern, found in self.patterns:
            match = pattern.search(collected)
            if match is not None:
                return Found(found, collected, (match.group(0), *(group or "" for group in match.groups())))
        return None


class Collector:
    """Keys of one party for one `Metaflows`. After each input, `deadline` says when `tick` is due."""

    def __init__(self, metaflows: Metaflows) -> None:
        self.metaflows = metaflows
        self.deadline: float | None = None
        self._collected = ""

    def press(self, digit: str, now: float) -> None:
        """The binding digit begins; each key that follows is awaited anew."""
        if self.deadline is None:
            if digit != self.metaflows.binding_digit:
                return
            self._collected = ""
        elif len(self._collected) < MOST_KEYS:
            self._collected += digit
        self.deadline = now + self.metaflows.digit_timeout_s

    def tick(self, now: float) -> Found | None:
        """What was pressed, once no more keys come. None: not yet, or it means nothing."""
        if self.deadline is None or now < self.deadline:
            return None
        self.deadline = None
        return self.metaflows.find(self._collected)

    def forget(self) -> None:
        """What was pressed until now meant something else."""
        self.deadline = None


def metaflows(document: Mapping[str, Any], problems: Problems) -> Metaflows | None:
    """Compile a document of `metaflows`. None, with an error in `problems`, where it cannot be used."""
    root = wrap(dict(document), problems)
    fields = Fields(root, problems)
    binding = fields.text("binding_digit", "*") or "*"
    if binding not in DIGITS or len(binding) != 1:
        problems.error(fields.at("binding_digit"), "binding_digit must be one key")
    timeout = fields.integer("digit_timeout", 800, low=0, high=60_000, clamp=True)
    listen = fields.text("listen_on", "self", choices=("both", "self", "peer"))
    fields.ignore("id", *(name for name in document if name.startswith("_")))
    numbers = {name: made for name, node in fields.members("numbers").items() if (made := _action(node, problems)) is not None}
    patterns = []
    for text, node in fields.members("patterns").items():
        made = _action(node, problems)
        try:
            pattern = compile_pattern(text)
        except InvalidInput as error:
            problems.error(node.place, f"{text[:64]!r} is {error.message}", hint=error.hint)
            continue
        if made is not None:
            patterns.append((pattern, made))
    fields.done()
    if len(numbers) > MOST_ACTIONS or len(patterns) > MOST_PATTERNS:
        problems.error(fields.place, f"more than {MOST_ACTIONS} numbers or {MOST_PATTERNS} patterns")
    if problems.failed:
        return None
    side = cast(Literal["self", "peer", "both"], listen)
    return Metaflows(binding, timeout / 1000, side, numbers, tuple(patterns))


def action(document: Mapping[str, Any], problems: Problems) -> Action | None:
    """Compile one action with its children. None, with an error in `problems`, where it is none."""
    root = wrap(dict(document), problems)
    return _action(root, problems) if root is not None else None


def _action(node: Node, problems: Problems) -> Action | None:
    """An action and what comes after it: a chain, since each goes on with its child `_`."""
    chain: list[tuple[str, Mapping[str, Any]]] = []
    here: Node | None = node
    while here is not None and len(chain) < MOST_ACTIONS:
        if isinstance(here.value, dict) and not here.value:
            break
        fields = Fields(here, problems)
        module = fields.text("module")
        if not 1 <= len(module) <= 64:
            problems.error(here.place, "an action needs a module, a name of 1 to 64 characters")
            return None
        data, children = fields.node("data"), fields.node("children")
        if data is not None and not isinstance(data.value, dict):
            problems.error(data.place, f"data must be an object, not {data.type}")
            return None
        chain.append((module, data.plain() if data is not None else {}))
        here = Fields(children, problems).node("_") if children is not None else None
    made: Action | None = None
    for module, found in reversed(chain):
        made = Action(module, found, made)
    return made
