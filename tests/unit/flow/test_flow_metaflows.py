"""Metaflows: the keys that name an action, in virtual time, and documents that are wrong."""

from __future__ import annotations

from typing import Any

import pytest

from tapeline import flow


def compiled(document: dict[str, Any]) -> flow.Metaflows:
    problems = flow.Problems()
    found = flow.metaflows(document, problems)
    assert found is not None, problems.sorted()
    return found


def start(**data: Any) -> dict[str, Any]:
    return {"module": "record_call", "data": data}


def pressed(document: dict[str, Any], keys: str, gap_s: float = 0.1) -> Any:
    """What comes of these keys, one every `gap_s`; a space is a second of nothing."""
    collector = flow.Collector(compiled(document))
    now, found = 100.0, None
    for key in keys:
        if key == " ":
            now += 1.0
        else:
            collector.press(key, now)
            now += gap_s
        found = found or collector.tick(now)
    return found or collector.tick(now + 60.0)


def test_the_binding_digit_then_a_number() -> None:
    document = {"numbers": {"1": start(action="start"), "12": start(action="stop")}}
    assert pressed(document, "*1").action.data == {"action": "start"}
    assert pressed(document, "*12").action.data == {"action": "stop"}
    assert pressed(document, "12") is None
    assert pressed(document, "#1") is None
    assert pressed({"binding_digit": "#", **document}, "#1").collected == "1"


def test_the_timeout_is_800_ms_and_restarts_on_each_key() -> None:
    document = {"numbers": {"123": start()}}
    assert pressed(document, "*123", gap_s=0.7) is not None
    assert pressed(document, "*123", gap_s=0.9) is None
    assert pressed(document | {"digit_timeout": 2000}, "*123", gap_s=0.9) is not None
    assert compiled(document).digit_timeout_s == 0.8


def test_keys_that_mean_nothing_are_forgotten_and_the_next_ones_count() -> None:
    document = {"numbers": {"2": start()}}
    assert pressed(document, "*9") is None
    assert pressed(document, "*9 *2").collected == "2"


def test_an_exact_number_wins_over_patterns_which_tell_what_they_captured() -> None:
    document = {"numbers": {"41": start(action="stop")}, "patterns": {"^4([0-9]+)$": {"module": "transfer"}}}
    assert pressed(document, "*41").action.module == "record_call"
    found = pressed(document, "*4321")
    assert (found.action.module, found.collected, found.captures) == ("transfer", "4321", ("4321", "321"))


def test_actions_go_on_with_their_child() -> None:
    document = {"numbers": {"1": start(action="stop") | {"children": {"_": {"module": "hangup", "children": {}}}}}}
    found = pressed(document, "*1").action
    assert (found.module, found.next.module, found.next.next) == ("record_call", "hangup", None)


@pytest.mark.parametrize("listen", ["self", "peer", "both"])
def test_whose_keys_count(listen: str) -> None:
    assert compiled({"listen_on": listen}).listen_on == listen
    assert compiled({}).listen_on == "self" and compiled({"listen_on": "all"}).listen_on == "self"


@pytest.mark.parametrize("document", [
    {"binding_digit": "12"},
    {"binding_digit": "A"},
    {"numbers": [1]},
    {"numbers": {"1": 5}},
    {"numbers": {"1": {"module": ""}}},
    {"numbers": {"1": {"module": "hangup", "data": []}}},
    {"patterns": {"(": {"module": "hangup"}}},
    {"patterns": {"(?=x)": {"module": "hangup"}}},
    {"digit_timeout": "soon"},
])  # fmt: skip
def test_what_cannot_be_used_is_told(document: dict[str, Any]) -> None:
    problems = flow.Problems()
    assert flow.metaflows(document, problems) is None and problems.sorted()


def test_a_pattern_made_to_take_for_ever_does_not() -> None:
    assert pressed({"patterns": {"^(0*)*(0*)*(0*)*1$": start()}}, "*" + "0" * 63) is None


def test_a_callflow_s_metaflow_is_kept_and_a_broken_one_is_a_warning() -> None:
    tree = {"module": "answer", "data": {}, "children": {}}
    good = flow.compile({"flow": tree, "metaflow": {"numbers": {"1": start()}}})
    assert good.program is not None and good.program.metaflow == {"numbers": {"1": start()}} and not good.problems
    bad = flow.compile({"flow": tree, "metaflow": {"binding_digit": "x"}})
    assert bad.program is not None and bad.program.metaflow == {}
    assert [found.message for found in bad.warnings] == ["the metaflow cannot be used"]
