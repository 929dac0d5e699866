"""KAZOO's modules that a document of the account tells what to do: menus, and rules of time."""

from __future__ import annotations

from typing import Any

import pytest

from tapeline import flow

VARIABLES = {"kazoo.dollar": "$", "kazoo.language": "en-US"}


def action(module: str, data: dict[str, Any] | None = None, **children: Any) -> dict[str, Any]:
    return {"module": module, "data": data or {}, "children": children}


def say(text: str) -> dict[str, Any]:
    return action("tts", {"text": text})


def looked(document: Any) -> dict[type, Any]:
    return {flow.LookUp: lambda command: flow.LookedUp(command.token, document)}


def number(document: Any) -> dict[type, Any]:
    return {flow.LoadFlow: lambda command: flow.FlowLoaded(command.token, document, "" if document else "none")}


MENU = {"name": "main", "retries": 2, "timeout": 3000, "media": {"greeting": "hello.wav", "invalid_media": "wrong.wav"}}


def menu(**data: Any) -> dict[str, Any]:
    return action("menu", {"id": "m1"} | data, **{"1": say("one"), "_": say("none")})


def test_a_menu_is_as_its_document_says(phone: Any) -> None:
    call = phone(menu(), variables=VARIABLES, replies=looked(MENU) | number(None)).start()
    assert call.last(flow.LookUp).document == "menu" and call.last(flow.LookUp).name == "m1"
    call.press("7")
    call.wait(2)  # a number that nobody has
    call.wait(3)
    assert [command.urls for command in call.issued if isinstance(command, flow.Play)] == [("hello.wav",), ("hello.wav",)]
    assert call.said == ["none"]
    pressed = phone(menu(), variables=VARIABLES, replies=looked(MENU)).start()
    pressed.press("1")
    pressed.wait(2)
    assert pressed.said == ["one"]


def test_a_menus_document_hunts_unless_it_says_no_and_by_its_patterns(phone: Any) -> None:
    there = flow.compile(say("there")).program
    for document, pressed, reached in (
        (MENU, "2002", True),
        (MENU | {"hunt": False}, "2002", False),
        (MENU | {"hunt_allow": "^2"}, "2002", True),
        (MENU | {"hunt_allow": "^3"}, "2002", False),
        (MENU | {"hunt_deny": "2$"}, "2002", False),
        (MENU | {"hunt_deny": "("}, "2002", False),
        (MENU, "1", False),
    ):
        call = phone(menu(), variables=VARIABLES, replies=looked(document) | number(there)).start()
        call.press(pressed)
        call.wait(2.5)
        assert ("there" in call.said) is reached, document


def test_a_menu_without_its_document_is_what_the_data_say(phone: Any) -> None:
    call = phone(menu(text="choose", timeout=1000, retries=1), variables=VARIABLES, replies=looked(None)).start()
    call.wait(2)
    assert call.said == ["choose", "none"] and "there is no such document" in call.messages


def test_a_menus_document_that_is_odd_does_not_end_the_call(phone: Any) -> None:
    odd = {"retries": "many", "timeout": -5, "media": [1], "hunt": {}, "max_extension_length": 99, "hunt_allow": 7}
    call = phone(menu(), variables=VARIABLES, replies=looked(odd) | number(None)).start()
    call.wait(60)
    assert call.said == ["none"]


# --- rules of time


def ruled(rule: str, error: str = "") -> dict[type, Any]:
    return {flow.FindRule: lambda command: flow.RuleFound(command.token, rule, error)}


def test_temporal_route_takes_the_child_of_the_rule_that_holds(phone: Any) -> None:
    data = {"rules": ["r2", "r1"], "rule_set": "s1", "timezone": "Europe/Berlin"}
    document = action("temporal_route", data, r1=say("one"), r2=say("two"), r3=say("three"), rule_set=say("set"), _=say("closed"))
    for rule, said in (("r1", "one"), ("r3", "three"), ("rule_set", "set"), ("", "closed"), ("gone", "closed")):
        call = phone(document, variables=VARIABLES, replies=ruled(rule)).start()
        assert call.said == [said], rule
    asked = call.last(flow.FindRule)
    assert (asked.rules, asked.rule_set, asked.timezone) == (("r2", "r1", "r3"), "s1", "Europe/Berlin")
    inherited = phone(action("temporal_route", {"timezone": "inherit"}, r1=say("one"), _=say("closed")), replies=ruled("")).start()
    assert inherited.last(flow.FindRule).timezone == ""
    assert flow.compile(action("temporal_route", {}, _=say("closed"))).warnings


@pytest.mark.parametrize("change", ["enable", "disable", "reset"])
def test_temporal_route_switches_rules_and_says_so(phone: Any, change: str) -> None:
    document = action("temporal_route", {"rules": ["r1"], "action": change}, _=say("never"))
    call = phone(document, variables=VARIABLES, replies=ruled("")).start()
    assert call.last(flow.FindRule) == flow.FindRule(call.last(flow.FindRule).token, ("r1",), change=change)
    assert len(call.said) == 1 and "never" not in call.said and call.run.finished
    failed = phone(document, variables=VARIABLES, replies=ruled("", "gone")).start()
    assert failed.said == ["That could not be done."]


def test_temporal_route_asks_by_a_menu_which_way_to_switch(phone: Any) -> None:
    document = action("temporal_route", {"rules": ["r1"], "action": "menu"})
    call = phone(document, variables=VARIABLES, replies=ruled("")).start()
    call.press("9")
    call.press("2")
    assert call.last(flow.FindRule).change == "disable" and call.run.finished
    silent = phone(document, variables=VARIABLES, replies=ruled("")).start()
    silent.wait(30)
    assert flow.FindRule not in [type(command) for command in silent.issued] and silent.run.finished
