"""KAZOO's callflows: a tree of `{"module", "data", "children"}`, alone or as the `flow` of a document with numbers and patterns.

A module continues with one of its children, by a result where it has several (a key, a cause, `sip:486`), else with `_`; where there is
no such child the call is hung up. A module that is not known here is passed over. What each module means stands in `modules`;
this module walks the tree and draws the edges. Odd things that KAZOO's own documents show run as they are meant, with a warning.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from tapeline.flow.diagnostics import Problems
from tapeline.flow.dialects.dialect import Dialect
from tapeline.flow.dialects.kazoo.module import Module, Plan
from tapeline.flow.dialects.kazoo.modules import MODULES
from tapeline.flow.fields import Fields
from tapeline.flow.jsondoc import Node
from tapeline.flow.metaflows import metaflows
from tapeline.flow.ops.ending import Skip
from tapeline.flow.program import DEFAULT, END, Program, Step

__all__ = ["DIALECT"]

CAUSES: Final = {  # KAZOO's word for a failed call, and the dialer's
    "USER_BUSY": "BUSY",
    "CALL_REJECTED": "REJECTED",
    "NO_ANSWER": "NO_ANSWER",
    "NO_USER_RESPONSE": "NO_ANSWER",
    "ALLOTTED_TIMEOUT": "NO_ANSWER",
    "SUBSCRIBER_ABSENT": "NOT_REGISTERED",
    "USER_NOT_REGISTERED": "NOT_REGISTERED",
    "UNALLOCATED_NUMBER": "NOT_FOUND",
    "INCOMPATIBLE_DESTINATION": "NO_MEDIA",
    "DESTINATION_OUT_OF_ORDER": "UNREACHABLE",
    "NORMAL_TEMPORARY_FAILURE": "UNREACHABLE",
    "EXCHANGE_ROUTING_ERROR": "LOOP",
}
_DOCUMENT_KEYS: Final = ("numbers", "patterns", "featurecode", "ringback", "flags", "id", "contact_list", "ui_metadata")


def _recognises(root: Node) -> bool:
    return isinstance(root.value, dict) and ("module" in root.value or "flow" in root.value)


def _compile(root: Node, problems: Problems, *, nested: bool) -> Program | None:
    name, top, no_match = "", root, False
    metaflow: dict[str, Any] = {}
    if "module" not in root.value:
        document = Fields(root, problems)
        document.ignore(*_DOCUMENT_KEYS, *(key for key in root.value if key.startswith("_")))
        name = document.text("name")
        no_match = "no_match" in document.texts("numbers")
        metaflow = _metaflow(document, problems)
        found = document.node("flow")
        document.done()
        if found is None:
            problems.error(root.place, "there is no flow", hint='{"flow": {"module": ...}}')
            return None
        top = found
    entry, steps = _walk(top, name, problems)
    if problems.failed:
        return None
    return Program(entry, steps, dialect="kazoo", name=name, typed_ahead="all", no_match=no_match, metaflow=metaflow)


def _metaflow(document: Fields, problems: Problems) -> dict[str, Any]:
    """What keys do on the call. One that cannot be used keeps no call from being answered."""
    node = document.node("metaflow")
    if node is None:
        return {}
    found = node.plain()
    wrong = Problems()
    if not isinstance(found, dict) or metaflows(found, wrong) is None:
        problems.warning(node.place, "the metaflow cannot be used", hint="; ".join(problem.message for problem in wrong.sorted()[:3]))
        return {}
    return found


@dataclass(slots=True)
class _Seat:
    """An action to be compiled, and the id of its first step."""

    node: Node
    id: str


def _walk(top: Node, name: str, problems: Problems) -> tuple[str, dict[str, Step]]:
    """The tree as steps, without recursion: documents are as deep as their authors like."""
    steps: dict[str, Step] = {}
    waiting = [_Seat(top, "1")]
    entry = "1" if _is_action(top, problems) else END
    count = 1
    while waiting:
        seat = waiting.pop()
        if not _is_action(seat.node, problems):
            continue
        edges: dict[str, str] = {}
        for key, child in _children(seat.node, problems):
            if child.value == {}:
                edges[key] = END
                continue
            count += 1
            edges[key] = str(count)
            waiting.append(_Seat(child, str(count)))
        steps.update(_steps(seat, edges, name, problems))
    known = set(steps)
    # A child that turned out to be no action has its error already; its edge must lead somewhere all the same.
    return entry, {key: _within(step, known) for key, step in steps.items()}


def _within(step: Step, known: set[str]) -> Step:
    edges = {result: target if target in known else END for result, target in step.edges.items()}
    return Step(step.id, step.op, edges, step.origin, step.label, step.action)


def _is_action(node: Node, problems: Problems) -> bool:
    if not isinstance(node.value, dict):
        problems.error(node.place, f"an action must be an object, not {node.type}", hint='{"module": "...", "data": {}, "children": {}}')
        return False
    if not node.value:
        return False
    module = node.value.get("module")
    if module is None or not isinstance(module.value, str) or not 1 <= len(module.value) <= 64:
        problems.error(node.place, "an action needs a module, a name of 1 to 64 characters")
        return False
    return True


def _children(node: Node, problems: Problems) -> Iterator[tuple[str, Node]]:
    children = node.value.get("children")
    if children is None or children.value is None:
        return
    if not isinstance(children.value, dict):
        problems.error(children.place, f"children must be an object, not {children.type}")
        return
    module = children.value.get("module")
    if module is not None and isinstance(module.value, str):
        problems.warning(children.place, "these children are an action themselves", hint='taken as the child "_"')
        yield DEFAULT, children
        return
    for key, child in children.value.items():
        if child.value is not None:
            yield key, child


def _steps(seat: _Seat, edges: dict[str, str], name: str, problems: Problems) -> Iterator[tuple[str, Step]]:
    """The steps of one action: one, or several in a row."""
    fields = Fields(seat.node, problems)
    kind = fields.text("module").strip()
    data = fields.node("data")
    fields.ignore("children", *(key for key in seat.node.value if key.startswith("_")))
    fields.done()
    module = Module(kind, Fields(data, problems, seat.node.place), name, frozenset(edges))
    plan = _plan(module)
    shown: dict[str, Any] = {"module": kind, "data": data.plain() if data is not None else {}}
    ways = _ways(plan, edges, seat.id)
    last = len(plan.ops) - 1
    for number, op in enumerate(plan.ops):
        own = seat.id if number == 0 else f"{seat.id}.{number}"
        following = {DEFAULT: f"{seat.id}.{number + 1}"} if number < last else ways
        if number < last and plan.settled:
            following |= {result: ways.get(result, END) for result in plan.settled}
        if number == 0 and plan.missing:
            following |= {"missing": edges.get(DEFAULT, END)}
        yield own, Step(own, op, following, seat.node.place, kind, shown)
    if plan.otherwise is not None:
        yield f"{seat.id}.otherwise", Step(f"{seat.id}.otherwise", plan.otherwise, {}, seat.node.place, kind, shown)
    for result, op in plan.aside:
        back = {"failed": seat.id, DEFAULT: edges.get(DEFAULT, END)}
        yield f"{seat.id}.{result}", Step(f"{seat.id}.{result}", op, back, seat.node.place, kind, shown)


def _plan(module: Module) -> Plan:
    data = module.data
    if data.boolean("skip_module"):
        return Plan((Skip(module.name, "skip_module says so"),))
    make = MODULES.get(module.name)
    if make is None:
        data.problems.warning(data.place, f"the module {module.name[:64]!r} is not known", hint='it is passed over to its child "_"')
        return Plan((Skip(module.name),))
    plan = make(module)
    data.done()
    return plan


def _ways(plan: Plan, edges: dict[str, str], first: str) -> dict[str, str]:
    """The children by result. Causes are also known by the dialer's words."""
    ways: dict[str, str] = {}
    for key, target in edges.items():
        ways.setdefault(CAUSES.get(key.upper(), key), target)
        ways[key] = target
    for result in plan.settled:
        ways[result] = END
    for result in plan.again:
        ways[result] = first
    for result, _ in plan.aside:
        ways[result] = f"{first}.{result}"
    if plan.otherwise is not None:
        ways[DEFAULT] = f"{first}.otherwise"
    elif not plan.falls_through:
        ways.pop(DEFAULT, None)
    return ways


DIALECT: Final = Dialect("kazoo", _recognises, _compile)
