"""Stored callflows over KAZOO's face: kept, changed and deleted; in force at once; refused field by field where they are wrong."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import httpx2
import pytest
from kazoo_world import KazooWorld

from tapeline.core.ids import new_id
from tapeline.store import FlowRow

HANGUP = {"module": "hangup", "data": {}}


@pytest.fixture
def world(house: KazooWorld) -> KazooWorld:
    return house


async def put(client: httpx2.AsyncClient, house: KazooWorld, **document: Any) -> httpx2.Response:
    house.clock.advance(1)
    return await client.put(house.path("/callflows"), json={"data": {"flow": HANGUP, **document}})


async def stored(client: httpx2.AsyncClient, house: KazooWorld, **document: Any) -> str:
    answer = await put(client, house, **document)
    assert answer.status_code == 201, answer.text
    callflow_id: str = answer.json()["data"]["id"]
    return callflow_id


# --- kept, changed, deleted


async def test_a_callflow_is_created_read_changed_and_deleted(house: KazooWorld, client: httpx2.AsyncClient) -> None:
    callflow_id = await stored(client, house, name="sales", numbers=["+4930123"], _private=1, pvt_account_id="x", id="chosen")
    assert len(callflow_id) == 32
    at = house.path(f"/callflows/{callflow_id}")
    document = {"id": callflow_id, "name": "sales", "numbers": ["+4930123"], "flow": HANGUP}
    assert (await client.get(at)).json()["data"] == document
    patched = await client.patch(at, json={"data": {"flow": {"data": {"skip_module": True}}, "name": None}})
    expected = {"id": callflow_id, "numbers": ["+4930123"], "flow": {"module": "hangup", "data": {"skip_module": True}}}
    assert (patched.status_code, patched.json()["data"]) == (200, expected)
    replaced = await client.post(at, json={"data": {"flow": HANGUP, "patterns": ["^7(.*)$"]}})
    assert replaced.json()["data"] == {"id": callflow_id, "flow": HANGUP, "patterns": ["^7(.*)$"]}
    deleted = await client.delete(at)
    assert deleted.status_code == 200 and deleted.json()["data"]["_read_only"] == {"deleted": True}
    for answer in (await client.get(at), await client.patch(at, json={"data": {}}), await client.delete(at)):
        assert (answer.status_code, answer.json()["message"], answer.json()["data"]["cause"]) == (404, "bad_identifier", callflow_id)


async def test_a_list_is_newest_first_in_pages_and_of_one_account(house: KazooWorld, client: httpx2.AsyncClient) -> None:
    made = [await stored(client, house, numbers=[str(number)], featurecode={"name": "x", "number": "5"}) for number in range(7)]
    await house.database.flows.put(FlowRow(new_id(), house.account, "", "{}", "voipbin", 1.0, 1.0))
    await house.database.flows.put(FlowRow(new_id(), house.other_account, "", json.dumps({"flow": HANGUP}), "kazoo", 1.0, 1.0))
    seen: list[dict[str, Any]] = []
    query: dict[str, Any] = {"page_size": 3}
    while True:
        answer = (await client.get(house.path("/callflows"), params=query)).json()
        seen += answer["data"]
        if "next_start_key" not in answer:
            break
        query["start_key"] = answer["next_start_key"]
    assert [told["id"] for told in seen] == made[::-1]
    assert seen[0] == {
        "id": made[-1], "name": "", "numbers": ["6"], "patterns": [], "flags": [], "featurecode": {"name": "x", "number": "5"}
    }  # fmt: skip


async def test_a_list_may_be_filtered(house: KazooWorld, client: httpx2.AsyncClient) -> None:
    first, _ = await stored(client, house, name="sales", numbers=["1"]), await stored(client, house, name="support", numbers=["2"])
    answer = await client.get(house.path("/callflows"), params={"filter_name": "sales"})
    assert [told["id"] for told in answer.json()["data"]] == [first]


async def test_another_account_and_other_scopes_are_refused(house: KazooWorld, client: httpx2.AsyncClient) -> None:
    callflow_id = await stored(client, house, numbers=["1"])
    foreign = house.path("/callflows", house.other_account)
    assert (await client.get(foreign)).status_code == 403
    assert (await client.put(foreign, json={"data": {"flow": HANGUP}})).status_code == 403
    assert (await client.delete(f"{foreign}/{callflow_id}")).status_code == 403
    async with house.client(house.tokens.issue(house.account, "flows:read")) as reader:
        assert (await reader.get(house.path("/callflows"))).status_code == 200
        assert (await reader.put(house.path("/callflows"), json={"data": {"flow": HANGUP}})).status_code == 403
    async with house.client(house.tokens.issue(house.other_account, "flows:read", "flows:write")) as other:
        assert (await other.get(house.path(f"/callflows/{callflow_id}", house.other_account))).status_code == 404
        assert (await other.put(house.path("/callflows", house.other_account), json={"data": {"flow": HANGUP}})).status_code == 201


# --- in force


async def test_what_is_written_is_in_force_at_once_and_no_longer_once_deleted(house: KazooWorld, client: httpx2.AsyncClient) -> None:
    callflow_id = await stored(client, house, numbers=["+4930123"])
    assert house.stored.find("+4930123", house.account) and house.stored.find("4930123")
    assert house.stored.find("+4930123", house.other_account) is None
    await client.patch(house.path(f"/callflows/{callflow_id}"), json={"data": {"numbers": ["5"]}})
    assert house.stored.find("+4930123") is None and house.stored.find("5")
    await client.delete(house.path(f"/callflows/{callflow_id}"))
    assert house.stored.find("5") is None


async def test_what_another_process_wrote_comes_into_force_at_the_next_look(house: KazooWorld) -> None:
    row = FlowRow(new_id(), house.account, "", json.dumps({"flow": HANGUP, "numbers": ["7"]}), "kazoo", 100.0, 100.0)
    await house.database.flows.put(row)
    await house.database.flows.put(FlowRow(new_id(), house.account, "", '{"flow": {"module": 7}}', "kazoo", 100.0, 100.0))
    await house.database.documents.put(house.account, "user", "anna", {"call_recording": {}}, 100.0)
    await house.refresher.refresh()
    followed: dict[str, float | None] = {}
    house.stored.follow(lambda rows: followed.update((row.name, row.deleted) for row in rows))
    assert house.stored.find("7") and followed == {"anna": None}
    await house.database.flows.delete(row.id, 101.0)
    await house.database.documents.delete(house.account, "user", "anna", 101.0)
    await house.refresher.refresh()
    assert house.stored.find("7") is None and followed == {"anna": 101.0}


async def test_a_number_that_another_callflow_of_the_account_has_is_refused(house: KazooWorld, client: httpx2.AsyncClient) -> None:
    first = await stored(client, house, numbers=["1001", "1002"])
    answer = await put(client, house, numbers=["1002"])
    assert (answer.status_code, answer.json()["message"]) == (400, "invalid request")
    assert answer.json()["data"]["numbers"]["unique"]["cause"] == first
    assert (await client.post(house.path(f"/callflows/{first}"), json={"data": {"flow": HANGUP, "numbers": ["1002"]}})).status_code == 200
    assert (await put(client, house, numbers=["1001"])).status_code == 201


# --- refused


@pytest.mark.parametrize(
    ("document", "field", "rule"),
    [
        ({"flow": None}, "flow", "required"),
        ({"flow": "hangup"}, "flow", "type"),
        ({"flow": {"data": {}}}, "flow.module", "required"),
        ({"flow": {"module": "record_call", "data": {"time_limit": 4}}}, "flow.data.time_limit", "minimum"),
        ({"flow": {"module": "record_call", "data": {"time_limit": "x"}}}, "flow.data.time_limit", "type"),
        ({"flow": {"module": "record_call", "data": {"format": "flac"}}}, "flow.data.format", "enum"),
        ({"flow": {"module": "x" * 65, "data": {}}}, "flow.module", "maxLength"),
        ({"flow": {**HANGUP, "children": []}}, "flow.children", "type"),
        ({"flow": {**HANGUP, "children": {"_": 5}}}, "flow.children._", "type"),
        ({"flow": {**HANGUP, "children": {"_": {**HANGUP, "data": 5}}}}, "flow.children._.data", "type"),
        ({"flow": {**HANGUP, "children": {"module": "tts"}}}, "flow.children._.data", None),
        ({"numbers": ["1", "1"]}, "numbers", "uniqueItems"),
        ({"numbers": [1001]}, "numbers.0", "type"),
        ({"numbers": ["1" * 37]}, "numbers.0", "maxLength"),
        ({"patterns": ["("]}, "patterns.0", "invalid"),
        ({"patterns": ["(?!a)b"]}, "patterns.0", "invalid"),
        ({"name": []}, "name", "type"),
        ({"metaflow": {"binding_digit": "12"}}, "metaflow.binding_digit", "enum"),
        ({"metaflow": {"numbers": {"2": {"module": "record_call", "data": {"action": "x"}}}}}, "metaflow.numbers.2.data.action", "enum"),
    ],
)
async def test_validation_names_the_field_and_the_rule(
    house: KazooWorld, client: httpx2.AsyncClient, document: dict[str, Any], field: str, rule: str | None
) -> None:
    answer = await put(client, house, **document)
    if rule is None:  # a tts without data: its text is not required where there are no data at all
        assert answer.status_code == 201
        return
    body = answer.json()
    assert (answer.status_code, body["error"], body["status"], body["message"]) == (400, "400", "error", "invalid request")
    assert rule in body["data"][field] and body["data"][field][rule]["message"]


@pytest.mark.parametrize(
    "url",
    ["gopher://x/y", "file:///etc/passwd", "http://", "http://localhost/x", "http://127.0.0.1/x", "http://0.0.0.0/x", "http://10.1.2.3:8080/x",
     "http://[::1]/", "https://192.168.0.1", "http://2130706433/", "http://0x7f000001/", "ftp://169.254.169.254/x", "http://[oops/"],
)  # fmt: skip
async def test_urls_to_private_addresses_and_of_other_kinds_are_refused(house: KazooWorld, client: httpx2.AsyncClient, url: str) -> None:
    for module, name in (("record_call", "url"), ("record_caller", "url"), ("pivot", "voice_url"), ("webhook", "uri")):
        answer = await put(client, house, flow={"module": module, "data": {name: url}})
        assert answer.status_code == 400 and "invalid" in answer.json()["data"][f"flow.data.{name}"], (module, url)


async def test_a_self_hosted_receiver_is_taken_where_the_settings_allow_it(house: KazooWorld, client: httpx2.AsyncClient) -> None:
    from tapeline.api.kazoo.rules import Rules
    from tapeline.api.kazoo.schema import check

    document = {"flow": {"module": "record_call", "data": {"url": "http://127.0.0.1:8080/{ACCOUNT_ID}"}}}
    assert check(document, Rules(allow_private=False).callflow) and not check(document, Rules(allow_private=True).callflow)


async def test_an_unknown_module_and_odd_children_are_kept_with_a_warning(house: KazooWorld, client: httpx2.AsyncClient) -> None:
    flow = {"module": "acdc_member", "data": {"id": "x"}, "children": {"module": "say", "data": {"text": "Hello"}}}
    answer = await put(client, house, flow=flow)
    assert answer.status_code == 201
    warnings = " ".join(answer.json()["data"]["_read_only"]["warnings"])
    assert "acdc_member" in warnings and "tts" in warnings and "these children are an action" in warnings


SAMPLES = sorted((Path(__file__).resolve().parents[4] / "shared/seeds").glob("001_*.txt"))


@pytest.mark.skipif(not SAMPLES, reason="the platform's documents are not beside the project")
async def test_the_platform_s_own_samples_are_taken_as_they_are(house: KazooWorld, client: httpx2.AsyncClient) -> None:
    flows = [json.loads(found) for found in re.findall(r"```json\n(.*?)```", SAMPLES[0].read_text("utf-8"), re.DOTALL)]
    assert len(flows) == 4
    for number, flow in enumerate(flows):
        callflow_id = await stored(client, house, flow=flow, numbers=[str(number)], name="sample")
        assert (await client.get(house.path(f"/callflows/{callflow_id}"))).json()["data"]["flow"] == flow
        assert house.stored.find(str(number)) is not None
