"""VoIPBIN's actions that decide where a flow goes on: branches, conditions, jumps, and the variables they look at.

A condition's own way on is that of "true"; what it does otherwise is its `false_target_id`.
"""

from __future__ import annotations

from typing import Final, cast

from tapeline.core.ids import ZERO_ID
from tapeline.flow.dialects.voipbin.action import Action, keys_of
from tapeline.flow.ops.deciding import Branch, Compare, CompareTime, Comparison, HasDigits, HasStatus, Jump, SetVariable
from tapeline.flow.ops.ending import Skip
from tapeline.flow.program import DEFAULT, Op

__all__ = ["branch", "condition_call_digits", "condition_call_status", "condition_datetime", "condition_variable", "goto", "variable_set"]

_COMPARISONS: Final = ("==", "!=", ">", ">=", "<", "<=")


def branch(action: Action) -> Op:
    option = action.option
    for value, node in option.members("target_ids").items():
        if isinstance(node.value, str) and node.value.strip() not in ("", ZERO_ID):
            action.targets[value] = (node.value.strip(), node)
        elif not isinstance(node.value, str):
            option.problems.error(node.place, f"must be an action's id, not {node.type}")
    action.target(DEFAULT, "default_target_id")
    if not action.targets and "target_ids" not in option:
        action.warn("a branch without targets goes to the next action")
    return Branch(option.text("variable") or "voipbin.call.digits", clear=True)


def _comparison(action: Action) -> Comparison:
    found = action.option.text("condition", "==").strip() or "=="
    if found not in _COMPARISONS:
        action.fail(f"no such condition: {found[:20]!r}", "condition", "one of " + " ".join(_COMPARISONS))
        return "=="
    return cast(Comparison, found)


def condition_variable(action: Action) -> Op:
    option = action.option
    comparison = _comparison(action)
    kind = option.text("value_type", "string", choices=("", "string", "number", "length")) or "string"
    text, number, length = option.text("value_string"), option.number("value_number"), option.integer("value_length")
    action.false_target()
    if "variable" not in option:
        action.warn("no variable to look at", hint="write ${name}")
    subject = option.text("variable")
    if kind == "string":
        return Compare(subject, comparison, text)
    return Compare(subject, comparison, number if kind == "number" else length, "number" if kind == "number" else "length")


def condition_datetime(action: Action) -> Op:
    option = action.option
    comparison = _comparison(action)
    parts = {
        "minute": option.integer("minute", 0, low=-1, high=59),
        "hour": option.integer("hour", 0, low=-1, high=23),
        "day": option.integer("day", 0, high=31),
        "month": option.integer("month", 0, high=12),
    }
    weekdays: set[int] = set()
    node = option.node("weekdays")
    for item in node.value if node is not None and isinstance(node.value, list) else []:
        day = int(item.value) if str(item.value) in "0123456" and len(str(item.value)) == 1 else -1
        if day < 0:
            option.problems.error(item.place, "a weekday is 0 (Sunday) to 6")
        else:
            weekdays.add(day)
    if node is not None and not isinstance(node.value, list):
        option.problems.error(node.place, f"must be a list of numbers, not {node.type}")
    action.false_target()
    return CompareTime(
        comparison,
        minute=parts["minute"] if parts["minute"] >= 0 else None,
        hour=parts["hour"] if parts["hour"] >= 0 else None,
        day=parts["day"] if parts["day"] > 0 else None,
        month=parts["month"] if parts["month"] > 0 else None,
        weekdays=frozenset(weekdays),
    )


def condition_call_digits(action: Action) -> Op:
    action.false_target()
    return HasDigits(action.option.integer("length", low=0, clamp=True), keys_of(action, "key"))


def condition_call_status(action: Action) -> Op:
    action.false_target()
    return HasStatus(action.option.text("status"))


def goto(action: Action) -> Op:
    times = action.option.integer("loop_count", low=0, clamp=True)
    if not action.target("again", "target_id") and times:
        action.fail("goto needs a target_id", "target_id")
    if not times:
        action.warn("a goto without a loop_count is never taken", "loop_count")
    return Jump(times)


def variable_set(action: Action) -> Op:
    key, value = action.option.text("key"), action.option.text("value")
    if not key.strip():
        action.warn("no key: nothing is set", "key")
        return Skip("variable_set", "it names no variable")
    return SetVariable(((key, value),))
