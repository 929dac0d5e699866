"""One action of a KAZOO callflow as its module sees it, and what the module makes of it.

Texts may hold KAZOO's documentation placeholders (`{ACCOUNT_ID}`), which become variables of the call; `${` means nothing in KAZOO and
stays as it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from tapeline.flow.fields import Fields
from tapeline.flow.program import Op

__all__ = ["KEYS", "LONGEST_S", "Module", "Plan", "template", "terminators"]

KEYS: Final = "0123456789*#"
LONGEST_S: Final = 10_800  # the schema's limit of time_limit
_PLACEHOLDER = re.compile(r"\{(ACCOUNT_ID|USER_ID|BOX_ID|VMBOX_ID|CALL_ID)\}")


@dataclass(frozen=True, slots=True)
class Module:
    """One action: its name, its data, the name of the document that it stands in, the keys of its children."""

    name: str
    data: Fields
    document: str
    children: frozenset[str] = frozenset()

    def warn(self, message: str, name: str = "", hint: str = "") -> None:
        self.data.problems.warning(self.data.at(name), message, hint=hint)

    def text(self, name: str, default: str = "") -> str:
        return template(self.data.text(name, default))


@dataclass(frozen=True, slots=True)
class Plan:
    """Operations in a row; with `missing` they are passed over as a whole where the first says so.

    `settled`: results that end the flow whatever the children; `again`: those that lead back to the first; without `falls_through`, `_` is
    not taken. `otherwise` is done instead of `_`. `aside`: operations of their own that a result leads to, from where it goes on to `_`, or
    where they fail back to the first.
    """

    ops: tuple[Op, ...]
    settled: tuple[str, ...] = ()
    again: tuple[str, ...] = ()
    falls_through: bool = True
    otherwise: Op | None = None
    missing: bool = False
    aside: tuple[tuple[str, Op], ...] = ()


def template(text: str) -> str:
    """KAZOO's text as a template of ours."""
    literal = text.replace("${", "${kazoo.dollar}{")
    return _PLACEHOLDER.sub(lambda found: "${kazoo." + found.group(1).lower().replace("vmbox", "box") + "}", literal)


def terminators(module: Module) -> str:
    if "terminators" not in module.data:
        return KEYS
    return "".join(key for key in module.data.texts("terminators") if len(key) == 1 and key in KEYS)
