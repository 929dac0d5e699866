"""Whom groups and devices mean, as their documents say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tapeline.calls.kazoo.members import MOST, resolved
from tapeline.flow import Party

DOCUMENTS: dict[tuple[str, str], dict[str, Any]] = {
    ("group", "sales"): {"endpoints": {"alice": {"type": "user", "weight": 7}, "d1": {"type": "device"}, "inner": {"type": "group"}}},
    ("group", "inner"): {"endpoints": {"bob": {"type": "user"}, "sales": {"type": "group"}}},
    ("group", "empty"): {"endpoints": {}},
    ("group", "odd"): {"endpoints": {"alice": 5, "bob": {"type": 7, "weight": "x"}}},
    ("group", "odder"): {"endpoints": ["alice"]},
    ("group", "many"): {"endpoints": {f"u{number}": {"type": "user"} for number in range(MOST + 5)}},
    ("device", "d1"): {"sip": {"username": "carol"}, "owner_id": "dave"},
    ("device", "d2"): {"sip": {}, "owner_id": "dave"},
    ("device", "d3"): {"sip": "x"},
}


def documents(account: str, kind: str, name: str) -> Mapping[str, Any]:
    return DOCUMENTS.get((kind, name), {}) if account == "acme" else {}


@pytest.mark.parametrize(
    ("party", "meant"),
    [
        (Party("group", "Sales"), [("user", "alice"), ("user", "carol"), ("user", "bob")]),
        (Party("group", "empty"), []),
        (Party("group", "gone"), []),
        (Party("group", "odder"), []),
        (Party("endpoint", "inner"), [("user", "bob"), ("user", "alice"), ("user", "carol")]),
        (Party("endpoint", "d1"), [("user", "carol")]),
        (Party("endpoint", "alice"), [("endpoint", "alice")]),
        (Party("group", "odd"), [("endpoint", "alice"), ("7", "bob")]),
        (Party("device", "d2"), [("user", "dave")]),
        (Party("device", "d3"), [("device", "d3")]),
        (Party("device", "alice"), [("device", "alice")]),
        (Party("user", "d1"), [("user", "d1")]),
        (Party("tel", "+4930"), [("tel", "+4930")]),
    ],
)
def test_who_is_meant(party: Party, meant: list[tuple[str, str]]) -> None:
    assert [(one.kind, one.target) for one in resolved([party], "acme", documents)] == meant


def test_members_ring_in_the_time_of_their_group_and_by_their_own_weight() -> None:
    found = resolved([Party("group", "sales", "Sales", delay_s=2.0, limit_s=9.0, weight=3)], "acme", documents)
    assert [(one.delay_s, one.limit_s, one.weight, one.name) for one in found][:2] == [(2.0, 9.0, 7, ""), (2.0, 9.0, 3, "")]


def test_groups_of_others_are_nobody_and_there_is_an_end() -> None:
    assert resolved([Party("group", "sales")], "other", documents) == ()
    assert len(resolved([Party("group", "many"), Party("user", "x")], "acme", documents)) == MOST
