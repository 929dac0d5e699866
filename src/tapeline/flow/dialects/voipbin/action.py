"""One action of a VoIPBIN flow while it is compiled, and what several types read alike.

Knows no type of action: these stand in `actions`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from tapeline.core.ids import ZERO_ID
from tapeline.flow.fields import Fields
from tapeline.flow.jsondoc import Node
from tapeline.flow.ops.sounding import ALL_KEYS

__all__ = ["Action", "as_json", "keys_of", "method_of", "needed"]


@dataclass(slots=True)
class Action:
    """One action while it is compiled: its option, and the edges that its type adds to the way on."""

    type: str
    option: Fields
    targets: dict[str, tuple[str, Node]] = field(default_factory=dict)  # result -> (action id, where that was said)

    def target(self, result: str, name: str) -> bool:
        """Take option `name` as the target of `result`; False where there is none."""
        node = self.option.node(name)
        target = self.option.text(name).strip()
        if node is None or target in ("", ZERO_ID):
            return False
        self.targets[result] = (target, node)
        return True

    def false_target(self) -> None:
        if not self.target("false", "false_target_id"):
            self.warn("no false_target_id: the next action runs either way")

    def warn(self, message: str, name: str = "", hint: str = "") -> None:
        self.option.problems.warning(self.option.at(name), message, hint=hint)

    def fail(self, message: str, name: str = "", hint: str = "") -> None:
        self.option.problems.error(self.option.at(name), message, hint=hint)


def keys_of(action: Action, name: str) -> str:
    wanted = action.option.text(name).upper()
    keys = "".join(key for key in wanted if key in ALL_KEYS)
    if keys != wanted:
        action.warn("only 0-9, *, # and A-D are keys", name, "the rest is left out")
    return keys


def needed(action: Action, name: str) -> str:
    value = action.option.text(name).strip()
    if value in ("", ZERO_ID):
        action.fail(f"{action.type} needs {name}", name)
    return value


def method_of(action: Action, name: str) -> str:
    return action.option.text(name, "POST", choices=("", "get", "post", "put", "delete"), lower=True).upper() or "POST"


def as_json(node: Node | None) -> str:
    return "" if node is None else json.dumps(node.plain(), ensure_ascii=False)
