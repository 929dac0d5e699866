"""What a callflow finds in its account's documents: which rule of time holds, and switching it for all calls that follow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from talking_calls import ACCOUNT, Exchange

from tapeline import flow
from tapeline.calls.kazoo.temporal import zone
from tapeline.store import DocumentRow
from tapeline.store.documents import document_id

OFFICE = {"cycle": "weekly", "wdays": ["monday"], "time_window_start": 9 * 3600, "time_window_stop": 17 * 3600}


def keep(exchange: Exchange, kind: str, name: str, /, **body: Any) -> None:
    row = DocumentRow(document_id(ACCOUNT, kind, name), ACCOUNT, kind, name, body, 1.0, 1.0)
    exchange.kit.stored.take_documents([row])


def at(exchange: Exchange, text: str, where: str) -> None:
    """Let it be that time."""
    moment = datetime.fromisoformat(text).replace(tzinfo=zone(where)).timestamp()
    exchange.kit.clock.wall = lambda: moment  # type: ignore[method-assign]


async def way(exchange: Exchange, data: dict[str, Any], *children: str) -> str:
    """Which child a call is led to."""
    ends = {key: {"module": "set_variable", "data": {"variable": "way", "value": key}, "children": {"_": REST}} for key in (*children, "_")}
    script = await exchange.follow(exchange.caller(), {"module": "temporal_route", "data": data, "children": ends})
    await exchange.settle()
    return str(script._run.variables.get("kazoo.var.way"))


REST = {"module": "sleep", "data": {"duration": 600}}


async def test_the_rule_that_holds_leads_the_call_in_the_accounts_time_zone(tmp_path: Path) -> None:
    async with Exchange(tmp_path) as exchange:
        keep(exchange, "temporal_rule", "r1", **OFFICE)
        keep(exchange, "account", ACCOUNT, timezone="Asia/Tokyo")
        at(exchange, "2026-11-02T10:00", "Asia/Tokyo")  # 01:00 UTC
        assert await way(exchange, {"rules": ["r1"]}, "r1") == "r1"
        assert await way(exchange, {}, "r1") == "r1"  # by the child's key
        assert await way(exchange, {"rules": ["r1"], "timezone": "UTC"}, "r1") == "_"
        assert await way(exchange, {"rules": ["r1"], "timezone": "No/Where"}, "r1") == "r1"
        at(exchange, "2026-11-03T10:00", "Asia/Tokyo")
        assert await way(exchange, {"rules": ["r1", "gone"]}, "r1", "gone") == "_"


async def test_rules_of_a_set_lead_to_the_sets_child(tmp_path: Path) -> None:
    async with Exchange(tmp_path) as exchange:
        keep(exchange, "temporal_rule", "r1", **OFFICE)
        keep(exchange, "temporal_rules_set", "s1", temporal_rules=["gone", "r1"])
        at(exchange, "2026-11-02T10:00", "UTC")
        assert await way(exchange, {"rule_set": "s1"}, "rule_set") == "rule_set"
        assert await way(exchange, {"rules": ["s1"]}, "s1") == "s1"
        assert await way(exchange, {"rules": ["s1"]}) == "_"


async def test_a_rule_that_is_switched_holds_or_not_for_the_calls_that_follow(tmp_path: Path) -> None:
    async with Exchange(tmp_path) as exchange:
        keep(exchange, "temporal_rule", "r1", **OFFICE)
        at(exchange, "2026-11-03T10:00", "UTC")  # no day of it

        async def change(account: str, kind: str, name: str, how: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> None:
            keep(exchange, kind, name, **how(exchange.kit.stored.document(account, kind, name)))

        exchange.kit.change_document = change
        for action, led in (("enable", "r1"), ("disable", "_"), ("reset", "_"), ("enable", "r1")):
            switching = exchange.caller()
            await exchange.follow(switching, {"module": "temporal_route", "data": {"rules": ["r1"], "action": action}, "children": {}})
            await exchange.wait(5.0)
            assert await way(exchange, {"rules": ["r1"]}, "r1") == led, action
            assert switching.status == "hangup"
        assert exchange.kit.stored.document(ACCOUNT, "temporal_rule", "r1") == OFFICE | {"enabled": True}


async def test_what_cannot_be_switched_is_said_and_the_call_ends(tmp_path: Path) -> None:
    async with Exchange(tmp_path) as exchange:
        for rules in ([], ["gone"]):
            call = exchange.caller()
            script = await exchange.follow(call, {"module": "temporal_route", "data": {"rules": rules, "action": "enable"}})
            await exchange.wait(5.0)
            assert script.done.is_set() and call.status == "hangup"
        assert flow.compile({"module": "temporal_route", "data": {"action": "enable"}}).program is not None
