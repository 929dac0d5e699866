"""Checks a KAZOO document against rules and words what is wrong as KAZOO does: `{"flow.data.time_limit": {"minimum": {...}}}`.

The rules of each document stand in `rules`. As everywhere here, `null` is absent, and numbers and booleans may be strings. What is
nested is kept on a list and not on Python's stack, and only so many problems are told, so that no document is too much.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

from tapeline.api.bodies import finite
from tapeline.api.kazoo.words import FieldErrors

__all__ = ["ANY", "FLAG", "Faults", "Rule", "check", "items", "kept", "of", "one_of", "only", "text", "whole"]

Checked = TypeVar("Checked", bound=Mapping[str, Any])

MOST: Final = 100  # problems told
LONGEST_PATH: Final = 300
LONGEST_KEY: Final = 64
_FLAGS: Final = {"true", "false", "yes", "no", "on", "off", "1", "0", ""}

Faults = dict[str, dict[str, dict[str, Any]]]  # by field, by rule


@dataclass(frozen=True, slots=True)
class Rule:
    """What a value must be. `low` and `high` are of a number's value, a text's length, a list's count."""

    kinds: tuple[str, ...] = ()  # JSON's words for types; () = any
    choices: tuple[Any, ...] = ()
    low: float | None = None
    high: float | None = None
    pattern: str = ""  # that a text, or the keys of `others`, must match
    unique: bool = False
    items: Rule | None = None
    fields: Mapping[str, Rule] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    may_be_empty: bool = False  # then nothing is required
    taken_as: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None  # how an object is meant
    others: Callable[[], Rule] | None = None  # of keys that are not in `fields`, where they are not free
    closed: bool = False  # no other keys
    data_of: Callable[[str], Rule | None] | None = None  # the rule of the field `data` by the one of the field `module`
    also: Callable[[Any], str] | None = None  # says what else is wrong with it; "" = nothing

    def with_(self, **changes: Any) -> Rule:
        return replace(self, **changes)


ANY: Final = Rule()
FLAG: Final = Rule(("boolean",))


def text(low: float | None = None, high: float | None = None, **more: Any) -> Rule:
    return Rule(("string",), low=low, high=high, **more)


def whole(low: float | None = None, high: float | None = None) -> Rule:
    return Rule(("integer",), low=low, high=high)


def one_of(*choices: str) -> Rule:
    return Rule(("string",), choices=choices)


def items(rule: Rule, low: float | None = None, *, unique: bool = False) -> Rule:
    return Rule(("array",), items=rule, low=low, unique=unique)


def of(required: tuple[str, ...] = (), /, **fields: Rule) -> Rule:
    """An object of these fields; unknown ones are let pass."""
    return Rule(("object",), fields=fields, required=required)


def only(**fields: Rule) -> Rule:
    """An object of these fields and no others."""
    return Rule(("object",), fields=fields, closed=True)


def kept(document: Checked, rule: Rule) -> Checked:
    """The document itself. Raises FieldErrors where `check` finds something."""
    if faults := check(document, rule):
        raise FieldErrors(faults)
    return document


def check(document: Any, rule: Rule, at: str = "") -> Faults:
    """All that is wrong, up to a hundred problems."""
    faults: Faults = {}
    waiting: list[tuple[str, Any, Rule]] = [(at, document, rule)]
    while waiting and len(faults) < MOST:
        path, value, wanted = waiting.pop()
        if wanted.taken_as is not None and isinstance(value, Mapping):
            value = wanted.taken_as(value)
        for name, said in _faults(value, wanted):
            faults.setdefault(path or "data", {}).setdefault(name, said)
        if isinstance(value, Mapping):
            for key, missing in _missing(value, wanted):
                faults.setdefault(_under(path, key), {}).setdefault("required", missing)
            for key, closed in _stray(value, wanted):
                faults.setdefault(_under(path, key), {}).update(closed)
        waiting += [(_under(path, key), item, inner) for key, item, inner in reversed(list(_inner(value, wanted)))]
    return faults


def _under(path: str, key: str) -> str:
    """Cut off where it is long: the keys are the author's, and each of many values would carry them all."""
    return (f"{path}.{key[:LONGEST_KEY]}" if path else key[:LONGEST_KEY])[:LONGEST_PATH]


def _inner(value: Any, rule: Rule) -> Iterator[tuple[str, Any, Rule]]:
    """What is within a value, with its rules. `null` is absent."""
    if isinstance(value, list) and rule.items is not None:
        yield from ((str(index), item, rule.items) for index, item in enumerate(value) if item is not None)
    elif isinstance(value, Mapping):
        module = value.get("module")
        own = rule.data_of(module) if rule.data_of is not None and isinstance(module, str) else None
        for key, item in value.items():
            if item is None:
                continue
            if key == "data" and own is not None:
                yield key, item, own
            elif key in rule.fields:
                yield key, item, rule.fields[key]
            elif rule.others is not None:
                yield key, item, rule.others()


def _missing(value: Mapping[str, Any], rule: Rule) -> Iterator[tuple[str, dict[str, Any]]]:
    for name in () if rule.may_be_empty and not value else rule.required:
        if value.get(name) is None:
            yield name, {"message": "Field is required but missing", "target": "required"}


def _stray(value: Mapping[str, Any], rule: Rule) -> Iterator[tuple[str, dict[str, dict[str, Any]]]]:
    for key in value:
        if key in rule.fields or key.startswith("_"):
            continue
        odd_key = rule.others is not None and rule.pattern and not re.search(rule.pattern, key[:LONGEST_PATH])
        if rule.closed or odd_key:
            said = "Strict checking of data is enabled; only include schema-defined properties"
            yield key, {"additionalProperties": {"message": said, "target": key[:LONGEST_KEY]}}


def _faults(value: Any, rule: Rule) -> Iterator[tuple[str, dict[str, Any]]]:
    if value is None:
        return
    if rule.kinds and not any(_is(value, kind) for kind in rule.kinds):
        yield "type", {"message": f"Value did not match type(s): {', '.join(rule.kinds)}", "target": ", ".join(rule.kinds), **_shown(value)}
        return
    if rule.choices and value not in rule.choices and not (isinstance(value, str) and value.lower() in rule.choices):
        yield "enum", {"message": "Value not found in enumerated list of values", "target": list(rule.choices), **_shown(value)}
    yield from _bounds(value, rule)
    if rule.pattern and isinstance(value, str) and not re.search(rule.pattern, value[:LONGEST_PATH]):
        yield "pattern", {"message": f"Failed to match pattern '{rule.pattern}'", "target": rule.pattern, **_shown(value)}
    if rule.unique and isinstance(value, list) and len({json.dumps(item, sort_keys=True) for item in value[:10_000]}) < len(value[:10_000]):
        yield "uniqueItems", {"message": "List of items is not unique", "target": True}
    said = rule.also(value) if rule.also is not None else ""
    if said:
        yield "invalid", {"message": said, **_shown(value)}


def _bounds(value: Any, rule: Rule) -> Iterator[tuple[str, dict[str, Any]]]:
    number = _number(value) if "integer" in rule.kinds or "number" in rule.kinds else None
    if isinstance(value, list):
        names, words, size = ("minItems", "maxItems"), "The list must have {} {} items", float(len(value))
    elif number is not None:
        names, words, size = ("minimum", "maximum"), "Value must be {} {}", number
    elif isinstance(value, str):
        names, words, size = ("minLength", "maxLength"), "String must be {} {} characters", float(len(value))
    else:
        return
    if rule.low is not None and size < rule.low:
        yield names[0], {"message": words.format("at least", f"{rule.low:g}"), "target": rule.low, **_shown(value)}
    if rule.high is not None and size > rule.high:
        yield names[1], {"message": words.format("at most", f"{rule.high:g}"), "target": rule.high, **_shown(value)}


def _is(value: Any, kind: str) -> bool:
    if kind == "boolean":
        return isinstance(value, bool) or (isinstance(value, str) and value.strip().lower() in _FLAGS) or value in (0, 1)
    if kind in ("integer", "number"):
        number = _number(value)
        return number is not None and (kind == "number" or number == int(number))
    types: dict[str, type | tuple[type, ...]] = {"string": str, "array": list, "object": Mapping}
    return isinstance(value, types[kind])


def _number(value: Any) -> float | None:
    return None if isinstance(value, str) and len(value) > 64 else finite(value)


def _shown(value: Any) -> dict[str, Any]:
    """The value itself, where it is small."""
    if isinstance(value, str):
        return {"value": value[:200]}
    return {"value": value} if isinstance(value, bool | int | float) and abs(value) < 1e18 else {}
