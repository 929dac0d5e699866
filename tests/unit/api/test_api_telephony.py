"""Calls that are placed over REST, and what is done to them."""

from __future__ import annotations

from typing import Any

import pytest
from api_world import World

from tapeline.calls.views import Address
from tapeline.core.ids import new_id


async def test_calls_are_placed(world: World) -> None:
    body = {
        "source": {"type": "tel", "target": "+15550001", "target_name": "Us"},
        "destinations": [{"type": "tel", "target": "+15550002"}, {"type": "extension", "target": "100"}],
        "actions": [{"type": "answer"}],
        "variables": {"a": "b", "voipbin.call.id": "forged"},
        "anonymous": "yes",
    }
    async with world.client() as client:
        answer = (await client.post("/v1.0/calls", json=body)).json()
    assert [call["status"] for call in answer["calls"]] == ["dialing", "dialing"]
    (group,) = answer["groupcalls"]
    assert group["call_ids"] == [answer["calls"][1]["id"]]
    assert group["destinations"] == [{"type": "extension", "target": "100"}]
    (order,) = world.service.telephony.orders
    assert order.source == Address("tel", "+15550001", "Us")
    assert (order.destinations[1], order.anonymous, dict(order.variables)) == (Address("extension", "100"), "yes", {"a": "b"})
    assert order.actions == [{"type": "answer"}]


MANY = {str(number): "" for number in range(101)}


@pytest.mark.parametrize(
    ("body", "said", "reason"),
    [
        ({}, "destinations", "INVALID_ARGUMENT"),
        ({"destinations": []}, "at least one", "INVALID_ARGUMENT"),
        ({"destinations": "x", "actions": []}, "destinations", "INVALID_JSON_BODY"),
        ({"destinations": [{"type": "tel"}], "actions": []}, "needs a target", "INVALID_ARGUMENT"),
        ({"destinations": [7], "actions": []}, "must be an object", "INVALID_JSON_BODY"),
        ({"destinations": [{"target": 7}], "actions": []}, "must be strings", "INVALID_JSON_BODY"),
        ({"destinations": [{"target": "1"}] * 51, "actions": []}, "at most 50", "INVALID_ARGUMENT"),
        ({"destinations": [{"target": "1"}]}, "flow_id or actions", "INVALID_ARGUMENT"),
        ({"destinations": [{"target": "1"}], "actions": {}}, "actions must be a list", "INVALID_JSON_BODY"),
        ({"destinations": [{"target": "1"}], "flow_id": "x"}, "UUID", "INVALID_ARGUMENT"),
        ({"destinations": [{"target": "1"}], "actions": [], "source": "me"}, "source", "INVALID_JSON_BODY"),
        ({"destinations": [{"target": "1"}], "actions": [], "anonymous": "perhaps"}, "anonymous", "INVALID_ANONYMOUS_VALUE"),
        ({"destinations": [{"target": "1"}], "actions": [], "variables": {"a": 1}}, "variables", "INVALID_JSON_BODY"),
        ({"destinations": [{"target": "1"}], "actions": [], "variables": MANY}, "variables", "INVALID_VARIABLES"),
        ({"destinations": [{"target": "1"}], "actions": [], "variables": {"a": 33_000 * "x"}}, "", "INVALID_VARIABLES"),
        ({"destinations": [{"target": "1"}], "actions": [{}] * 1001}, "at most 1000", "INVALID_ARGUMENT"),
    ],
)
async def test_an_order_that_is_wrong(world: World, body: dict[str, Any], said: str, reason: str) -> None:
    async with world.client() as client:
        answer = await client.post("/v1.0/calls", json=body)
    assert (answer.status_code, answer.json()["error"]["reason"]) == (400, reason)
    assert said in answer.text
    assert not world.service.telephony.orders


async def test_a_call_that_was_deleted(world: World) -> None:
    call = world.service.call(world.account)
    async with world.client() as client:
        assert (await client.delete(f"/v1.0/calls/{call}")).json()["tm_delete"]
        for method in ("GET", "DELETE"):
            answer = await client.request(method, f"/v1.0/calls/{call}")
            assert (answer.status_code, answer.json()["error"]["reason"]) == (404, "RESOURCE_NOT_FOUND")
        answer = await client.post(f"/v1.0/calls/{call}/recording_start", json={"format": "wav"})
    assert (answer.status_code, answer.json()["error"]["reason"]) == (409, "STATE_INVALID")


async def test_nobody_can_be_called(world: World) -> None:
    world.service.telephony.unreachable = True
    async with world.client() as client:
        answer = await client.post("/v1.0/calls", json={"destinations": [{"target": "1"}], "flow_id": new_id()})
    assert (answer.status_code, answer.json()["error"]["reason"]) == (409, "DESTINATION_UNREACHABLE")


async def test_what_is_done_to_a_call(world: World) -> None:
    call = world.service.call(world.account)
    async with world.client() as client:
        for what in ("hold", "moh", "silence"):
            for method in ("POST", "DELETE"):
                answer = await client.request(method, f"/v1.0/calls/{call}/{what}")
                assert (answer.status_code, answer.content) == (200, b"")
        assert (await client.post(f"/v1.0/calls/{call}/mute", json={"direction": "in"})).status_code == 200
        assert (await client.get(f"/v1.0/calls/{call}")).json()["mute_direction"] == "in"
        assert (await client.delete(f"/v1.0/calls/{call}/mute")).status_code == 200
        assert "mute_direction" not in (await client.get(f"/v1.0/calls/{call}")).json()
        assert (await client.post(f"/v1.0/calls/{call}/mute", json={"direction": "up"})).status_code == 400
        assert (await client.post(f"/v1.0/calls/{call}/talk", json={"text": "Hello"})).status_code == 200
        assert (await client.post(f"/v1.0/calls/{call}/talk", json={})).status_code == 400
    switched = [("hold", True), ("hold", False), ("music", True), ("music", False), ("silence", True), ("silence", False)]
    assert world.service.telephony.done == [*switched, ("talk", "Hello", "en-US")]


async def test_a_call_that_is_not_up(world: World) -> None:
    call = world.service.call(world.account, "ringing")
    async with world.client() as client:
        answer = await client.post(f"/v1.0/calls/{call}/hold")
    assert (answer.status_code, answer.json()["error"]["reason"]) == (409, "CALL_STATE_INVALID")


async def test_the_messages_of_a_call(world: World) -> None:
    call = world.service.call(world.account)
    async with world.client() as client:
        missing = await client.get(f"/v1.0/calls/{call}/trace")
        assert (missing.status_code, missing.json()["error"]["reason"]) == (404, "TRACE_NOT_FOUND")
        await client.post(f"/v1.0/calls/{call}/trace")
        kept = await client.get(f"/v1.0/calls/{call}/trace")
        assert (kept.headers["content-type"], kept.text) == ("text/plain; charset=utf-8", "--- INVITE")
        await client.delete(f"/v1.0/calls/{call}/trace")
        assert (await client.get(f"/v1.0/calls/{call}/trace")).status_code == 404
