"""Times at which KAZOO's temporal rules hold: on which days (`cycle` and what belongs to it), and from when to when on such a day.

Days and times are those of a clock on the wall in the rule's time zone; a `start_date` counts from midnight of its day there. A window
whose end comes before its start lasts over midnight. What cannot be read never holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta, tzinfo
from typing import Any, Final
from zoneinfo import ZoneInfo

from tapeline.core.kazoo import unix

__all__ = ["find", "holds", "zone"]

DAY_S: Final = 86_400
_WEEKDAYS: Final = {"monday": 0, "tuesday": 1, "wednesday": 2, "wensday": 2, "thursday": 3, "friday": 4, "saturday": 5, "sunday": 6}
_ORDINALS: Final = {"first": 0, "second": 1, "third": 2, "fourth": 3, "fifth": 4}
_START: Final = 62_586_115_200  # where a rule names no start_date; as the platform's schema


def zone(name: str) -> tzinfo:
    """Raises ValueError where there is no such time zone."""
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, LookupError) as error:
        raise ValueError(f"there is no time zone {name[:64]!r}") from error


def find(rules: Iterable[tuple[str, Mapping[str, Any]]], wall: float, where: tzinfo) -> str:
    """The key of the first rule that holds at `wall` (seconds since 1970), "" for none. One that is `enabled` holds always, or never."""
    local = datetime.fromtimestamp(wall, where)
    for key, rule in rules:
        enabled = rule.get("enabled")
        if _true(enabled) or (enabled is None and holds(rule, local)):
            return key
    return ""


def holds(rule: Mapping[str, Any], local: datetime) -> bool:
    """Whether the rule's days and times fit."""
    second = local.hour * 3600 + local.minute * 60 + local.second
    start, stop = _whole(rule, "time_window_start", 0), _whole(rule, "time_window_stop", DAY_S)
    today = local.date()
    if start <= stop:
        return start <= second <= stop and _on(rule, today, local.tzinfo)
    evening = second >= start and _on(rule, today, local.tzinfo)
    return evening or (second <= stop and _on(rule, today - timedelta(days=1), local.tzinfo))


def _on(rule: Mapping[str, Any], day: date, where: tzinfo | None) -> bool:
    """Whether the rule has a turn on that day."""
    first = _date(_whole(rule, "start_date", _START), where)
    last = _whole(rule, "end_date", 0)
    if day < first or (last > 0 and day > _date(last, where)):
        return False
    every = max(1, _whole(rule, "interval", 1))
    match rule.get("cycle"):
        case "date":
            return day == first
        case "daily":
            return (day - first).days % every == 0
        case "weekly":
            weeks = (_monday(day) - _monday(first)).days // 7
            return weeks % every == 0 and day.weekday() in (_weekdays(rule) or {first.weekday()})
        case "monthly":
            months = (day.year - first.year) * 12 + day.month - first.month
            return months % every == 0 and _in_month(rule, day, first)
        case "yearly":
            year = (day.year - first.year) % every == 0
            return year and day.month == _whole(rule, "month", first.month) and _in_month(rule, day, first)
    return False


def _in_month(rule: Mapping[str, Any], day: date, first: date) -> bool:
    """By the days of the month; else by weekdays: every one, the last, or the first to the fifth; else the day of the start."""
    days = {number for item in _list(rule, "days") if (number := _number(item))}
    if days:
        return day.day in days
    weekdays = _weekdays(rule)
    if not weekdays:
        return day.day == first.day
    if day.weekday() not in weekdays:
        return False
    ordinal = rule.get("ordinal", "every")
    if ordinal == "last":
        return (day + timedelta(days=7)).month != day.month
    return ordinal not in _ORDINALS or (day.day - 1) // 7 == _ORDINALS[ordinal]


def _monday(day: date) -> date:
    return day - timedelta(days=day.weekday())


def _weekdays(rule: Mapping[str, Any]) -> set[int]:
    return {_WEEKDAYS[item.lower()] for item in _list(rule, "wdays") if isinstance(item, str) and item.lower() in _WEEKDAYS}


def _date(gregorian_seconds: int, where: tzinfo | None) -> date:
    """The day in that place; the first or the last that there is, for what lies beyond."""
    try:
        return datetime.fromtimestamp(unix(gregorian_seconds), where).date()
    except (OverflowError, ValueError, OSError):
        return date.min if gregorian_seconds < _START else date.max


def _list(rule: Mapping[str, Any], name: str) -> list[Any]:
    found = rule.get(name)
    return found if isinstance(found, list) else []


def _whole(rule: Mapping[str, Any], name: str, default: int) -> int:
    found = rule.get(name)
    return default if found is None else _number(found, default)


def _number(value: Any, default: int = 0) -> int:
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return default


def _true(value: Any) -> bool:
    return value is True or (isinstance(value, str) and value.lower() == "true")
