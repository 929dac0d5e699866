"""KAZOO's modules about who calls: the name and number that are shown from then on, and the way by the number.

What is shown to those who are called is `kazoo.shown_*`; it is empty as long as no module has said anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tapeline.core.errors import InvalidInput
from tapeline.flow.dialects.kazoo.module import Module, Plan, template
from tapeline.flow.fields import Fields
from tapeline.flow.ops.caller import Behind, EnterNumber, InList, Match
from tapeline.flow.ops.deciding import SetVariable
from tapeline.flow.ops.ending import Skip
from tapeline.flow.ops.stored import Described
from tapeline.flow.patterns import compile_pattern
from tapeline.flow.program import Op

__all__ = ["check_cid", "cidlistmatch", "dynamic_cid", "prepend_cid", "set_cid"]

NOTHING: Final = r"[^\s\S]"  # fits no text
_CALLER: Final = ("caller_id_name", "caller_id_number")
_SHOWN: Final = (("kazoo.shown_number", "${kazoo.caller_id_number}"), ("kazoo.shown_name", "${kazoo.caller_id_name}"))


def prepend_cid(module: Module) -> Plan:
    data = module.data
    data.ignore("apply_to")
    if data.text("action", "prepend", choices=("", "prepend", "reset")) == "reset":
        pairs = tuple((f"kazoo.{name}", f"${{kazoo.original_{name}}}") for name in _CALLER)
        data.ignore(*(f"{name}_prefix" for name in _CALLER))
        return Plan((SetVariable((*pairs, ("kazoo.shown_number", ""), ("kazoo.shown_name", ""))),))
    pairs = tuple((f"kazoo.{name}", module.text(f"{name}_prefix") + f"${{kazoo.{name}}}") for name in _CALLER)
    return Plan((SetVariable((*pairs, *_SHOWN)),))


def set_cid(module: Module) -> Plan:
    given = [(name, module.text(name)) for name in _CALLER]
    return Plan((SetVariable((*((f"kazoo.{name}", value) for name, value in given if value), *_SHOWN)),))


def _pattern(module: Module, name: str, default: str) -> str | None:
    """A pattern that can be used; None where it cannot."""
    given = module.data.text(name, default) or default
    try:
        compile_pattern(given)
    except InvalidInput as error:
        module.warn(str(error), name, "nothing fits it")
        return None
    return given


def check_cid(module: Module) -> Plan:
    """The way by the caller's number: its own child, or `match` and `nomatch`. What fits may be shown as somebody else."""
    data = module.data
    itself = data.boolean("use_absolute_mode")
    shown = Fields(Fields(data.node("caller_id"), data.problems, data.place).node("external"), data.problems, data.place)
    name, number, user = template(shown.text("name")), template(shown.text("number")), module.text("user_id")
    pattern = _pattern(module, "regex", ".*")
    whose = (("kazoo.caller_id_name", name), ("kazoo.caller_id_number", number), ("kazoo.owner_id", user), *_SHOWN)
    return Plan((Match("${kazoo.caller_id_number}", pattern or NOTHING, itself, whose if name and number and user else ()),))


def cidlistmatch(module: Module) -> Plan:
    """The way by whether the caller's number is in a list that is stored."""
    name = module.text("id")
    if not name:
        module.warn("the list has no id", "id", "nobody is in it")
    return Plan((Described("list", name, _listed),))


def _listed(document: Mapping[str, Any]) -> Op:
    """What a list's `entries` say; those that say nothing that can be used are left out."""
    entries = document.get("entries")
    found: dict[str, list[str]] = {"number": [], "prefix": [], "pattern": []}
    for entry in entries.values() if isinstance(entries, Mapping) else entries if isinstance(entries, list) else ():
        facts = entry if isinstance(entry, Mapping) else {"number": entry}
        for name, values in found.items():
            value = facts.get(name) or (facts.get("regexp") if name == "pattern" else None)
            if isinstance(value, str) and value:
                values.append(value)
    numbers, prefixes = ([value.removeprefix("+") for value in found[name]] for name in ("number", "prefix"))
    return InList("${kazoo.caller_id_number}", frozenset(numbers), tuple(prefixes), tuple(filter(_usable, found["pattern"])))


def _usable(pattern: str) -> bool:
    try:
        compile_pattern(pattern)
    except InvalidInput:
        return False
    return True


def dynamic_cid(module: Module) -> Plan:
    """Another caller id for what is called next; that is the number behind the feature code, where the callflow's pattern captured one."""
    data = module.data
    data.ignore("enforce_call_restriction", "idx_name", "permit_custom_callflow", "id")
    action = data.text("action", "manual", choices=("", "list", "lists", "manual", "static"))
    given = Fields(data.node("caller_id"), data.problems, data.place)
    pairs = tuple((f"kazoo.caller_id_{name}", template(given.text(name))) for name in ("name", "number"))
    enter = _entered(module)
    if action in ("list", "lists"):
        module.warn("lists of caller ids are not kept here", "action", "the caller's own is shown")
        return Plan((Skip("dynamic_cid", "lists of caller ids are not kept here"), Behind()))
    if action == "static":
        return Plan((SetVariable((*((name, value) for name, value in pairs if value), *_SHOWN)), Behind()))
    return Plan((enter, Behind()))


def _entered(module: Module) -> EnterNumber:
    data = module.data
    pattern = _pattern(module, "whitelist_regex", r"\d+")
    high = data.integer("max_digits", 10, low=1, high=64, clamp=True)
    pause = data.number("interdigit_timeout", 2000.0, low=0, high=60_000, clamp=True)
    return EnterNumber(
        "Please enter the number that is to be shown.",
        module.text("media_id"),
        "${kazoo.language}",
        low=data.integer("min_digits", min(10, high), low=1, high=64, clamp=True),
        high=high,
        pattern=pattern or NOTHING,
        between_s=pause if pause < 100 else pause / 1000,  # the schema says seconds, the platform takes milliseconds
        assignments=(("kazoo.caller_id_number", "${entered}"), *_SHOWN),
    )
