"""When a rule of time holds: every cycle, windows of the day, time zones with their summer time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tapeline.calls.kazoo.temporal import find, zone
from tapeline.core.kazoo import gregorian

BERLIN = "Europe/Berlin"


def at(text: str, where: str = "UTC") -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone(where)).timestamp()


def start(text: str, where: str = "UTC") -> int:
    return gregorian(at(text, where))


def true_on(rule: dict[str, Any], first: str, days: int) -> list[str]:
    """The days, of so many from `first` on, at whose noon the rule holds."""
    noon = datetime.fromisoformat(first + "T12:00").replace(tzinfo=UTC)
    all_days = [noon + timedelta(days=number) for number in range(days)]
    return [f"{day:%m-%d}" for day in all_days if find([("x", rule)], day.timestamp(), UTC)]


@pytest.mark.parametrize(
    ("rule", "first", "days", "wanted"),
    [
        ({"cycle": "date", "start_date": start("2026-12-24")}, "2026-12-22", 5, ["12-24"]),
        ({"cycle": "daily", "interval": 3, "start_date": start("2026-11-02")}, "2026-10-30", 10, ["11-02", "11-05", "11-08"]),
        ({"cycle": "weekly", "wdays": ["monday", "wensday"]}, "2026-11-02", 7, ["11-02", "11-04"]),
        ({"cycle": "weekly", "interval": 2, "wdays": ["friday"], "start_date": start("2026-11-02")}, "2026-11-01", 21, ["11-06", "11-20"]),
        ({"cycle": "weekly", "start_date": start("2026-11-03")}, "2026-11-01", 14, ["11-03", "11-10"]),
        ({"cycle": "monthly", "days": [1, "15", 31]}, "2026-11-01", 31, ["11-01", "11-15", "12-01"]),
        ({"cycle": "monthly", "ordinal": "first", "wdays": ["monday"]}, "2026-11-01", 40, ["11-02", "12-07"]),
        ({"cycle": "monthly", "ordinal": "last", "wdays": ["friday"]}, "2026-11-01", 61, ["11-27", "12-25"]),
        ({"cycle": "monthly", "ordinal": "fifth", "wdays": ["sunday"]}, "2026-11-01", 61, ["11-29"]),
        ({"cycle": "monthly", "ordinal": "every", "wdays": ["sunday"]}, "2026-11-01", 10, ["11-01", "11-08"]),
        ({"cycle": "monthly", "interval": 2, "days": [5], "start_date": start("2026-10-01")}, "2026-10-01", 92, ["10-05", "12-05"]),
        ({"cycle": "yearly", "month": 12, "days": [25, 26]}, "2026-12-20", 14, ["12-25", "12-26"]),
        ({"cycle": "yearly", "month": 11, "ordinal": "fourth", "wdays": ["thursday"]}, "2026-11-01", 30, ["11-26"]),
        ({"cycle": "yearly", "interval": 2, "month": 11, "days": [3], "start_date": start("2025-01-01")}, "2026-11-01", 5, []),
        ({"cycle": "daily", "end_date": start("2026-11-02")}, "2026-11-01", 5, ["11-01", "11-02"]),
        ({"cycle": "sometimes"}, "2026-11-01", 5, []),
        ({"cycle": "daily", "interval": "x", "start_date": "y", "end_date": [], "wdays": 5}, "2026-11-01", 2, ["11-01", "11-02"]),
    ],
)
def test_the_days_of_a_cycle(rule: dict[str, Any], first: str, days: int, wanted: list[str]) -> None:
    assert true_on(rule, first, days) == wanted


@pytest.mark.parametrize(
    ("moment", "window", "holds"),
    [
        ("2026-11-02T08:59:59", (32_400, 61_200), False),
        ("2026-11-02T09:00", (32_400, 61_200), True),
        ("2026-11-02T17:00", (32_400, 61_200), True),
        ("2026-11-02T17:00:01", (32_400, 61_200), False),
        ("2026-11-02T23:30", (79_200, 21_600), True),  # from Monday 22:00 over midnight
        ("2026-11-03T05:59", (79_200, 21_600), True),
        ("2026-11-03T23:30", (79_200, 21_600), False),  # Tuesday is no day of it
        ("2026-11-02T05:59", (79_200, 21_600), False),
    ],
)
def test_the_window_of_a_day(moment: str, window: tuple[int, int], holds: bool) -> None:
    rule = {"cycle": "weekly", "wdays": ["monday"], "time_window_start": window[0], "time_window_stop": window[1]}
    assert bool(find([("x", rule)], at(moment), UTC)) is holds


def test_a_rule_goes_by_the_clock_on_the_wall_of_its_zone() -> None:
    rule = {"cycle": "daily", "time_window_start": 9 * 3600, "time_window_stop": 17 * 3600}
    winter, summer = at("2026-01-15T08:30"), at("2026-07-15T07:30")  # 09:30 in Berlin, both
    assert find([("x", rule)], winter, zone(BERLIN)) == find([("x", rule)], summer, zone(BERLIN)) == "x"
    assert not find([("x", rule)], winter, UTC) and not find([("x", rule)], at("2026-07-15T15:30"), zone(BERLIN))
    one_day = {"cycle": "date", "start_date": start("2026-03-29", BERLIN)}  # of 23 hours
    hours = [at("2026-03-28T00:00", BERLIN) + 3600 * number for number in range(72)]
    assert sum(bool(find([("x", one_day)], hour, zone(BERLIN))) for hour in hours) == 23


def test_the_first_that_holds_wins_and_one_that_is_switched_does_not_ask_the_time() -> None:
    never, always = {"cycle": "date", "start_date": 0}, {"cycle": "daily"}
    assert find([("a", never), ("b", always), ("c", always)], 0.0, UTC) == ""  # before the rules began
    now = at("2026-11-02T12:00")
    assert find([("a", never), ("b", always), ("c", always)], now, UTC) == "b"
    assert find([("a", never | {"enabled": True}), ("b", always)], now, UTC) == "a"
    assert find([("b", always | {"enabled": False}), ("c", always)], now, UTC) == "c"


def test_a_zone_that_is_none_is_said_to_be_none() -> None:
    for name in ("Nowhere/Here", "../../etc/passwd", "", "\0"):
        with pytest.raises(ValueError, match="no time zone"):
            zone(name)
