"""KAZOO's modules that are told by a document of the account what to do: a menu's, and those of times.

The document is looked up when the call comes there. A menu's fields may also stand in the module's data.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from tapeline.core.errors import InvalidInput
from tapeline.flow.diagnostics import Problems
from tapeline.flow.dialects.kazoo.module import Module, Plan, template
from tapeline.flow.fields import Fields
from tapeline.flow.jsondoc import wrap
from tapeline.flow.ops.fetching import LoadProgram
from tapeline.flow.ops.menu import Menu
from tapeline.flow.ops.stored import ByRule, Described, SwitchRules
from tapeline.flow.patterns import compile_pattern
from tapeline.flow.program import DEFAULT, Op
from tapeline.flow.variables import DIGITS

__all__ = ["menu", "temporal_route"]

_NOTHING: Final = ("record_pin", "allow_record_from_offnet", "name", "flags", "id")  # of a menu, that means nothing here


def menu(module: Module) -> Plan:
    """A menu that has no document of its own is made of the data alone."""
    inline = _menu(module.data, module.children, hunts=False)
    given = module.data.plain()
    name = module.text("id")
    op: Op = Described("menu", name, partial(_described, given, module.children, inline)) if name else inline
    aside = (("hunt", LoadProgram("", number=f"${{{DIGITS}}}")),) if name or inline.hunts else ()
    return Plan((op,), again=("again",), aside=aside)


def _described(given: Mapping[str, Any], children: frozenset[str], inline: Menu, document: Mapping[str, Any]) -> Menu:
    """The menu of a document. What the data say beside its id wins."""
    if not document:
        return inline
    problems = Problems()
    fields = Fields(wrap({**document, **given}, problems), problems)
    return _menu(fields, children, hunts=True)


def _menu(data: Fields, children: frozenset[str], *, hunts: bool) -> Menu:
    data.ignore(*_NOTHING)
    hunts = data.boolean("hunt", hunts)
    allow, deny = (data.text(name) for name in ("hunt_allow", "hunt_deny"))
    for name, pattern in (("hunt_allow", allow), ("hunt_deny", deny)):
        try:
            compile_pattern(pattern)
        except InvalidInput as error:
            data.problems.warning(data.at(name), str(error), hint="no number can be reached from this menu")
            hunts, allow, deny = False, "", ""
    greeting = template(data.text("greeting")) or template(data.text("text"))
    media = Fields(data.node("media"), data.problems, data.place)
    prompt = template(media.text("greeting"))
    media.ignore("transfer_media")
    invalid, leaving = (_prompt(media, name) for name in ("invalid_media", "exit_media"))
    media.done()
    return Menu(
        menu=template(data.text("id")),
        text="" if prompt else greeting,
        language="${kazoo.language}",
        invalid=invalid,
        exit=leaving,
        hunts=hunts,
        hunt_allow=allow,
        hunt_deny=deny,
        choices=children,
        media=prompt,
        retries=data.integer("retries", 3, low=1, high=10, clamp=True),
        timeout_s=data.integer("timeout", 10_000, low=1, clamp=True) / 1000,
        between_s=data.integer("interdigit_timeout", 2000, low=1, clamp=True) / 1000,
        max_digits=data.integer("max_extension_length", 4, low=1, high=6, clamp=True),
    )


def _prompt(media: Fields, name: str) -> str:
    """The address of a prompt; true and false mean one that KAZOO itself has, and is not here."""
    node = media.node(name)
    return template(node.value) if node is not None and isinstance(node.value, str) and node.value not in ("true", "false") else ""


def temporal_route(module: Module) -> Plan:
    """The child of the first rule that holds now. Rules are those of the data, then the children's keys, then those of the set."""
    data = module.data
    between = data.integer("interdigit_timeout", 2000, low=1, clamp=True) / 1000
    action = data.text("action", choices=("", "menu", "enable", "disable", "reset"))
    listed = tuple(template(rule) for rule in data.texts("rules"))
    rule_set = module.text("rule_set")
    timezone = module.text("timezone")
    if action:
        return Plan((SwitchRules(listed, action, "${kazoo.language}", between),))
    own = tuple(sorted(key for key in module.children if key not in (DEFAULT, "rule_set") and key not in listed))
    if not listed and not own and not rule_set:
        module.warn("there are no rules", hint='the child "_" is always taken')
    return Plan((ByRule((*listed, *own), rule_set, "" if timezone == "inherit" else timezone),))
