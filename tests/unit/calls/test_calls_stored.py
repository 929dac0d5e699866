"""Which stored callflow answers a number, and how the dial plan of the settings, users and stored callflows stand to each other."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tapeline import flow
from tapeline.calls.kazoo.stored import CallflowBroken, Stored, ready
from tapeline.calls.routing import Routes
from tapeline.core.errors import InvalidInput
from tapeline.core.ids import new_id
from tapeline.core.settings import Number, User
from tapeline.store import FlowRow

ACCOUNT, OTHER = new_id(), new_id()


def row(created: float = 1.0, account: str = ACCOUNT, **document: Any) -> FlowRow:
    text = json.dumps({"flow": {"module": "hangup", "data": {}}, **document})
    return FlowRow(new_id(), account, str(document.get("name", "")), text, "kazoo", created, created)


def having(*rows: FlowRow) -> Stored:
    stored = Stored()
    stored.take(stored.planned([ready(one) for one in rows], ()))
    return stored


def name(found: Any) -> str:
    return found.callflow.name if found is not None else ""


def test_exact_numbers_come_before_patterns_and_the_older_callflow_has_a_number() -> None:
    stored = having(
        row(2.0, name="younger", numbers=["100"]), row(1.0, name="older", numbers=["100"]), row(0.5, name="pattern", patterns=["^1(.*)$"])
    )
    assert name(stored.find("100")) == "older"
    assert name(stored.find("101")) == "pattern"
    assert name(stored.find("2")) == ""


def test_of_all_patterns_the_one_with_the_longest_capture_wins() -> None:
    stored = having(
        row(1.0, name="short", patterns=[r"^\*5(\d)"]),
        row(2.0, name="long", patterns=[r"^\*5(?P<slot>\d+)$"]),
        row(3.0, name="none", patterns=[r"^\*5"]),
    )
    found = stored.find("*5123")
    assert name(found) == "long" and found is not None
    assert found.captures == {"kazoo.capture_group": "123", "kazoo.capture.slot": "123"}
    assert name(stored.find("*5")) == "none"


def test_no_match_answers_numbers_of_digits_only_and_says_so() -> None:
    stored = having(row(name="out", numbers=["no_match"]))
    found = stored.otherwise("+4930123")
    assert name(found) == "out" and found is not None and found.no_match
    assert stored.otherwise("anna") is None and stored.otherwise("*98") is None and stored.find("no_match") is None


def test_a_feature_code_without_numbers_is_reached_by_its_star() -> None:
    code, both = row(name="code", featurecode={"number": "11"}), row(name="both", numbers=["7"], featurecode={"number": "12"})
    stored = having(code, both)
    assert name(stored.find("*11")) == "code"
    assert name(stored.find("*12")) == ""


def test_a_caller_of_one_account_reaches_no_callflow_of_another() -> None:
    stored = having(row(1.0, account=OTHER, name="theirs", numbers=["100", "200"]), row(2.0, name="ours", numbers=["100"]))
    assert name(stored.find("100", ACCOUNT)) == "ours" and name(stored.find("200", ACCOUNT)) == ""
    assert name(stored.find("100")) == "theirs"  # from outside: the older one
    assert stored.find("100", new_id()) is None


def test_a_pattern_that_would_take_for_ever_takes_no_time() -> None:
    stored = having(row(patterns=["^(a+)+$", "(x+x+)+y"]))
    began = time.process_time()
    assert stored.find("a" * 5000 + "b") is None and stored.find("x" * 5000) is None
    assert time.process_time() - began < 1.0


@pytest.mark.parametrize("pattern", ["(", "(?=x)", r"(a)\1", "a{1000}{1000}"])
def test_a_pattern_that_is_none_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidInput, match="regular expression"):
        ready(row(patterns=[pattern]))


def test_a_program_is_found_by_its_id_with_and_without_dashes() -> None:
    one = row()
    stored = having(one)
    assert stored.program(one.id, ACCOUNT) is stored.program(one.id.replace("-", "").upper(), ACCOUNT) is not None
    assert stored.program(one.id, OTHER) is stored.program(new_id(), ACCOUNT) is stored.program("", ACCOUNT) is None


def test_a_document_that_cannot_run_says_where() -> None:
    with pytest.raises(CallflowBroken) as caught:
        ready(row(flow={"module": "hangup", "children": {"_": 5}}))
    assert caught.value.found[0][0] == "flow.children._"


def test_settings_come_first_then_stored_numbers_then_users_then_no_match(tmp_path: Path) -> None:
    (tmp_path / "flow.json").write_text('{"module": "hangup"}')
    first, rest = row(name="stored", numbers=["1", "2", "anna"]), row(name="rest", numbers=["no_match"])
    stored = having(first, rest)
    routes = Routes([Number(match="1", flow="flow.json")], tmp_path, [User(name="anna", extension="3"), User(name="otto")], stored)

    def source(number: str, account: str = "") -> str:
        found = routes.find(number, account)
        return found.source if found is not None else ""

    assert source("1").endswith("flow.json")
    assert source("2") == source("anna") == f"callflow {first.id}"
    assert source("3") == "user anna" and source("otto") == "user otto"
    assert source("4") == f"callflow {rest.id}" and source("nobody") == ""
    assert source("4", OTHER) == ""
    route = routes.find("4")
    assert route is not None and (route.flow_id, route.account_id, route.no_match) == (rest.id, ACCOUNT, True)


def test_without_numbers_the_built_in_flow_answers_what_nothing_stored_does(tmp_path: Path) -> None:
    routes = Routes([], tmp_path, stored=having(row(name="stored", numbers=["2"])))
    assert [route.source[:8] for route in (routes.find("2"), routes.find("3")) if route] == ["callflow", "built-in"]


@pytest.mark.parametrize("children", [{}, {"_": {"module": "callflow", "data": {"id": "itself"}}}])
def test_callflows_that_lead_to_each_other_for_ever_come_to_an_end(children: dict[str, Any]) -> None:
    document = json.dumps({"flow": {"module": "callflow", "data": {"id": "itself"}, "children": children}})
    run = flow.Run(ready(row(flow=json.loads(document)["flow"])).program, flow.Variables(), compile=flow.compile, wall=lambda: 0.0)
    commands, loaded = run.start(0.0), 0
    while not run.finished and loaded < 20_000:
        asked = [command for command in commands if isinstance(command, flow.LoadFlow)]
        assert len(asked) == 1
        loaded += 1
        commands = run.handle(flow.FlowLoaded(asked[0].token, document), float(loaded))
    assert run.finished and any(isinstance(command, flow.Hangup) for command in commands)
