"""Flows over REST: kept as given, with ids for actions that have none; none is kept that cannot run."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest
from api_world import World

from tapeline.calls.services.flows import MOST_CHARACTERS
from tapeline.core.ids import ZERO_ID, is_id, new_id
from tapeline.flow.dialects.voipbin.actions import TYPES
from voipbin_samples import EXAMPLE

HIDDEN = {"destinations": [{"target": "+1"}], "anonymous": "surely"}
SEED = json.loads(EXAMPLE)


async def test_a_flow_is_kept_as_it_was_given(world: World, client: httpx2.AsyncClient) -> None:
    made = (await client.post("/v1.0/flows", json=SEED)).json()
    assert made["customer_id"] == world.account and made["type"] == "flow" and made["on_complete_flow_id"] == ZERO_ID
    assert [action["type"] for action in made["actions"]] == [action["type"] for action in SEED["actions"]]
    assert made["actions"][1]["option"] == {"format": "wav"} and "option" not in made["actions"][0]
    assert all(is_id(action["id"]) and action["next_id"] == ZERO_ID and action["tm_execute"] is None for action in made["actions"])
    assert made["tm_create"] and made["tm_update"] is None and made["tm_delete"] is None
    assert (await client.get(f"/v1.0/flows/{made['id']}")).json() == made


async def test_ids_that_are_no_uuids_are_kept_with_their_targets(client: httpx2.AsyncClient) -> None:
    actions = [
        {"id": "ask", "type": "digits_receive", "option": {"length": 1, "duration": 5000}},
        {"id": "choose", "type": "branch", "option": {"target_ids": {"1": "record"}, "default_target_id": "end"}},
        {"id": "record", "type": "recording_start", "next_id": "end"},
        {"id": "end", "type": "hangup"},
    ]
    made = (await client.post("/v1.0/flows", json={"name": "Consent", "detail": "asks first", "actions": actions})).json()
    assert [action["id"] for action in made["actions"]] == ["ask", "choose", "record", "end"]
    assert made["actions"][2]["next_id"] == "end" and (made["name"], made["detail"]) == ("Consent", "asks first")


async def test_a_change_leaves_what_it_does_not_name(client: httpx2.AsyncClient) -> None:
    other = new_id()
    made = (await client.post("/v1.0/flows", json=SEED | {"name": "a", "detail": "b", "on_complete_flow_id": other})).json()
    path = f"/v1.0/flows/{made['id']}"
    renamed = (await client.put(path, json={"name": "c"})).json()
    assert renamed["name"] == "c" and renamed["actions"] == made["actions"] and renamed["tm_update"] and renamed["detail"] == "b"
    assert renamed["on_complete_flow_id"] == other
    emptied = (await client.put(path, json={"actions": [], "detail": "", "on_complete_flow_id": ZERO_ID})).json()
    assert "actions" not in emptied and "detail" not in emptied and emptied["on_complete_flow_id"] == ZERO_ID
    assert emptied["tm_create"] == made["tm_create"]


async def test_a_deleted_flow_is_gone(world: World, client: httpx2.AsyncClient) -> None:
    made = (await client.post("/v1.0/flows", json=SEED)).json()
    path = f"/v1.0/flows/{made['id']}"
    assert (await client.delete(path)).json()["tm_delete"]
    for method in ("GET", "PUT", "DELETE"):
        assert (await client.request(method, path)).json()["error"]["reason"] == "RESOURCE_NOT_FOUND"
    assert (await client.get("/v1.0/flows")).json()["result"] == []


async def test_flows_of_other_dialects_are_none_of_these(world: World, client: httpx2.AsyncClient) -> None:
    callflow = world.flows.make(world.account, dialect="kazoo")
    assert (await client.get(f"/v1.0/flows/{callflow}")).json()["error"]["reason"] == "FLOW_NOT_FOUND"
    assert (await client.get("/v1.0/flows")).json()["result"] == []


@pytest.mark.parametrize(
    ("body", "reason", "told"),
    [
        ({"actions": [{"type": "dance"}]}, "INVALID_ACTION_TYPE", "dance"),
        ({"actions": [{}]}, "INVALID_ACTION_TYPE", "type"),
        ({"actions": [{"type": "goto", "option": {"target_id": "nowhere", "loop_count": 1}}]}, "UNKNOWN_TARGET", "nowhere"),
        ({"actions": [{"type": "connect", "option": HIDDEN}]}, "INVALID_ANONYMOUS_VALUE", "surely"),
        ({"actions": ["answer"]}, "INVALID_FLOW", "object"),
        ({"actions": {"type": "answer"}}, "INVALID_JSON_BODY", "list"),
        ({"actions": [{"type": "answer"}] * 1001}, "INVALID_ARGUMENT", "1000"),
        ({"actions": [{"type": "talk", "option": {"text": "x" * MOST_CHARACTERS}}]}, "INVALID_ARGUMENT", "characters"),
        ({"name": 1}, "INVALID_JSON_BODY", "name"),
        ({"name": "x" * 1001}, "INVALID_ARGUMENT", "name"),
        ({"on_complete_flow_id": "soon"}, "INVALID_ARGUMENT", "on_complete_flow_id"),
    ],
)
async def test_what_cannot_run_is_not_kept(world: World, client: httpx2.AsyncClient, body: dict[str, Any], reason: str, told: str) -> None:
    before = (await client.post("/v1.0/flows", json=SEED)).json()
    for method, path in (("POST", "/v1.0/flows"), ("PUT", f"/v1.0/flows/{before['id']}")):
        answer = await client.request(method, path, json=body)
        assert (answer.status_code, answer.json()["error"]["reason"]) == (400, reason)
        assert told in answer.text
    assert [(await client.get(f"/v1.0/flows/{flow_id}")).json() for flow_id in world.flows.rows] == [before]


async def test_every_type_of_action_is_taken(client: httpx2.AsyncClient) -> None:
    needed = {
        "connect": {"destinations": [{"type": "tel", "target": "+15550001"}]}, "call": {"destinations": [{"type": "tel", "target": "+1"}]},
        "conference_join": {"conference_id": new_id()}, "confbridge_join": {"confbridge_id": new_id()},
        "fetch": {"event_url": "https://flows.example/"}, "fetch_flow": {"flow_id": new_id()},
    }  # fmt: skip
    actions = [{"type": kind, "option": needed.get(kind, {})} for kind in TYPES]
    answer = await client.post("/v1.0/flows", json={"actions": actions})
    assert answer.status_code == 200, answer.text
