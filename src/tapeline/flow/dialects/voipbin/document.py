"""VoIPBIN's flows: `{"actions": [{"id", "type", "option", "next_id"}, ...]}`, or the bare list of actions.

Actions run in order; `next_id` and the targets of branches, conditions and jumps name other actions by id, in this document or in
one that called it. What each type means stands in `actions`. Where the platform is lenient, so is this: odd values are
warnings. Knows the model and its operations, nothing that runs.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final

from tapeline.core.ids import ZERO_ID
from tapeline.flow.diagnostics import Problems
from tapeline.flow.dialects.dialect import Dialect
from tapeline.flow.dialects.voipbin.action import Action
from tapeline.flow.dialects.voipbin.actions import OTHERS, TYPES
from tapeline.flow.fields import Fields
from tapeline.flow.jsondoc import Node
from tapeline.flow.ops.ending import Hangup, Stop
from tapeline.flow.program import DEFAULT, END, Op, Program, Step

__all__ = ["DIALECT"]

_IDS: Final = uuid.UUID("5b7f4c1e-3b1c-4f0e-9a53-6f1f0c7d2a90")  # name space of the ids made for actions that have none
_WITHOUT_END: Final = (Hangup, Stop)


def _recognises(root: Node) -> bool:
    if isinstance(root.value, dict):
        return "actions" in root.value
    items = root.value if isinstance(root.value, list) else None
    return items is not None and all(not isinstance(item.value, dict) or "action" not in item.value for item in items)


@dataclass(slots=True)
class _Draft:
    """An action between the two passes: what it is, and where it goes."""

    id: str
    node: Node
    action: Action
    op: Op
    next: tuple[str, Node] | None
    shown: dict[str, Any]


def _compile(root: Node, problems: Problems, *, nested: bool) -> Program | None:
    listed, name, on_complete = root, "", ""
    if isinstance(root.value, dict):
        document = Fields(root, problems)
        document.ignore("id", "customer_id", "type", "detail", "direct_hash", "tm_create", "tm_update", "tm_delete")
        name, on_complete = document.text("name"), document.text("on_complete_flow_id")
        found = document.node("actions")
        document.done()
        if found is None:
            problems.error(root.place, "there are no actions", hint='{"actions": [...]}')
            return None
        listed = found
    if not isinstance(listed.value, list):
        problems.error(listed.place, f"actions must be a list, not {listed.type}")
        return None
    drafts = _drafts(listed.value, problems)
    steps = _linked(drafts, problems, nested)
    if problems.failed:
        return None
    on_complete = "" if on_complete == ZERO_ID else on_complete
    return Program(drafts[0].id if drafts else END, steps, dialect="voipbin", name=name, on_complete_flow_id=on_complete)


def _drafts(items: list[Node], problems: Problems) -> list[_Draft]:
    """First pass: each action by itself."""
    drafts: list[_Draft] = []
    seen: set[str] = set()
    for node in items:
        if not isinstance(node.value, dict):
            problems.error(node.place, f"an action must be an object, not {node.type}")
            continue
        fields = Fields(node, problems)
        fields.ignore("tm_execute")
        own = fields.text("id").strip()
        if own in ("", ZERO_ID):
            own = ""
        elif own in seen:
            problems.warning(fields.at("id"), f"the id {own[:64]!r} is here twice", hint="targets mean the first")
            own = ""
        own = own or str(uuid.uuid5(_IDS, node.path))
        seen.add(own)
        next_node = fields.node("next_id")
        target = fields.text("next_id").strip()
        following = (target, next_node) if next_node is not None and target not in ("", ZERO_ID) else None
        option = fields.node("option")
        action = Action(_type_of(fields, problems), Fields(option, problems, node.place))
        fields.done()
        if not action.type:
            continue
        op = TYPES[action.type](action)
        if action.type not in OTHERS:
            action.option.done()
        shown = {"id": own, "next_id": target or ZERO_ID, "type": action.type, "option": option.plain() if option is not None else {}}
        drafts.append(_Draft(own, node, action, op, following, shown))
    return drafts


def _type_of(fields: Fields, problems: Problems) -> str:
    kind = fields.text("type").strip()
    if kind in TYPES:
        return kind
    near = get_close_matches(kind[:64], TYPES, n=1, cutoff=0.6)
    hint = f"did you mean {near[0]!r}?" if near else "see the list of VoIPBIN action types"
    message = f"unknown action type {kind[:64]!r}" if kind else "an action needs a type"
    problems.error(fields.at("type"), message, hint=hint, code="INVALID_ACTION_TYPE")
    return ""


def _linked(drafts: list[_Draft], problems: Problems, nested: bool) -> dict[str, Step]:
    """Second pass: the edges."""
    known = {draft.id for draft in drafts}
    steps: dict[str, Step] = {}
    for place, draft in enumerate(drafts):
        targets = dict(draft.action.targets)
        if draft.next is not None:
            targets.setdefault(DEFAULT, draft.next)
        edges: dict[str, str] = {}
        for result, (target, node) in targets.items():
            if target not in known and not nested:
                near = get_close_matches(target[:64], known, n=1, cutoff=0.6)
                hint = f"did you mean {near[0]!r}?" if near else "give that action this id"
                problems.error(node.place, f"no action has the id {target[:64]!r}", hint=hint, code="UNKNOWN_TARGET")
            edges[result] = target
        if DEFAULT not in edges and place + 1 < len(drafts) and not isinstance(draft.op, _WITHOUT_END):
            edges[DEFAULT] = drafts[place + 1].id
        steps[draft.id] = Step(draft.id, draft.op, edges, draft.node.place, draft.action.type, draft.shown)
    return steps


DIALECT: Final = Dialect("voipbin", _recognises, _compile)
