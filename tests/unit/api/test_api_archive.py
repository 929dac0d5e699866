"""Holds, tags, notes, retention and storage over REST: what is answered, and what is refused."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from api_world import World

from tapeline.core.ids import ZERO_ID
from tapeline.core.principal import ROLES


async def test_a_hold_is_placed_shown_and_taken_off(world: World, client: httpx2.AsyncClient) -> None:
    made = world.service.recording(world.account)
    held = (await client.post(f"/v1.0/recordings/{made}/hold", json={"reason": "case 7"})).json()["tapeline"]["hold"]
    assert (held["reason"], held["by"]) == ("case 7", "test") and held["tm_hold"].endswith("Z")
    assert (await client.delete(f"/v1.0/recordings/{made}/hold")).json()["tapeline"]["hold"] is None
    assert [deed.action for deed in world.trail.deeds] == ["held", "released"]


async def test_tags_note_and_days_are_set_each_alone(world: World, client: httpx2.AsyncClient) -> None:
    path = f"/v1.0/recordings/{world.service.recording(world.account)}"
    await client.put(path, json={"tags": ["vip", " vip ", "claim"], "note": "said yes"})
    told = (await client.put(path, json={"retention_days": 7})).json()["tapeline"]
    assert (told["tags"], told["note"], told["retention_days"]) == (["vip", "claim"], "said yes", 7)
    told = (await client.put(path, json={"note": None, "tags": None, "retention_days": None})).json()["tapeline"]
    assert (told["tags"], told["note"], told["retention_days"]) == ([], "", None)


@pytest.mark.parametrize(
    "body",
    [
        {"tags": "vip"}, {"tags": [1]}, {"tags": [""]}, {"tags": ["x" * 65]}, {"tags": ["a\u0000"]}, {"tags": [f"t{n}" for n in range(33)]},
        {"note": "x" * 2001}, {"note": "\u0000"}, {"note": 1}, {"retention_days": -1}, {"retention_days": 1e9}, {"retention_days": "x"},
    ],
)  # fmt: skip
async def test_what_cannot_be_noted_is_refused(world: World, client: httpx2.AsyncClient, body: Any) -> None:
    answer = await client.put(f"/v1.0/recordings/{world.service.recording(world.account)}", json=body)
    assert answer.status_code == 400 and answer.json()["error"]["details"]


async def test_to_shorten_its_life_needs_the_right_to_delete(world: World) -> None:
    path = f"/v1.0/recordings/{world.service.recording(world.account)}"
    async with world.client(world.tokens.issue(world.account, "recordings:write")) as writer:
        assert (await writer.put(path, json={"note": "x"})).status_code == 200
        assert (await writer.put(path, json={"retention_days": 1})).status_code == 403


async def test_an_account_sets_its_own_days(world: World, client: httpx2.AsyncClient) -> None:
    assert (await client.get("/v1.0/retention")).json() == {"retention_days": None, "default_days": 30.0}
    assert (await client.put("/v1.0/retention", json={"retention_days": "90"})).json()["retention_days"] == 90
    assert (await client.get("/v1.0/retention")).json()["retention_days"] == 90
    assert (await client.put("/v1.0/retention", json={"retention_days": -1})).status_code == 400


async def test_storage_is_that_of_the_platform(world: World, client: httpx2.AsyncClient) -> None:
    world.service.recording(world.account)
    world.service.recording(world.other_account)
    told = (await client.get("/v1.0/storage_account")).json()
    assert told["total_file_count"] == 1 and told["total_file_size"] > 0
    assert told["id"] == told["customer_id"] == world.account and told["tm_create"]


async def test_stored_files_are_those_of_recordings(world: World, client: httpx2.AsyncClient) -> None:
    made, other = world.service.recording(world.account), world.service.recording(world.other_account)
    world.service.recording(world.account, "recording")
    one = (await client.get(f"/v1.0/storage_files/{made}")).json()
    assert (await client.get("/v1.0/storage_files?page_size=5")).json()["result"] == [one]
    assert (one["id"], one["reference_type"], one["reference_id"], one["type"]) == (made, "recording", made, "recording")
    assert (one["customer_id"], one["filesize"], one["filename"]) == (world.account, len(world.service.audio[made]), f"{made}.wav")
    assert one["name"] == "recording file" and one["tm_delete"] is None and one["owner_id"] == ZERO_ID
    audio = await client.get(one["uri_download"].removeprefix("http://127.0.0.1:8080"), headers={"Range": "bytes=0-3"})
    assert (audio.status_code, audio.content) == (206, world.service.audio[made][:4])
    assert (await client.get(f"/v1.0/storage_files/{other}/file")).status_code == 403
    gone = (await client.delete(f"/v1.0/storage_files/{made}")).json()
    assert gone["id"] == made and gone["tm_delete"]
    for path in ("", "/file"):
        answer = await client.get(f"/v1.0/storage_files/{made}{path}")
        assert (answer.status_code, answer.json()["error"]["reason"]) == (404, "RESOURCE_NOT_FOUND")
    assert [deed.action for deed in world.trail.deeds] == ["seen", "listed", "listened", "listened", "deleted", "seen", "listened"]


async def test_a_recording_without_a_file_is_no_stored_file(world: World, client: httpx2.AsyncClient) -> None:
    for state in ("starting", "recording", "stopping", "failed"):
        made = world.service.recording(world.account, state)
        for method, path in (("GET", ""), ("GET", "/file"), ("DELETE", "")):
            answer = await client.request(method, f"/v1.0/storage_files/{made}{path}")
            assert (answer.status_code, answer.json()["error"]["reason"]) == (404, "FILE_NOT_FOUND")


async def test_an_agent_sees_which_files_there_are_and_hears_none(world: World) -> None:
    made = world.service.recording(world.account)
    async with world.client(world.tokens.issue(world.account, *ROLES["agent"])) as agent:
        assert (await agent.get("/v1.0/storage_files")).json()["result"][0]["id"] == made
        assert (await agent.get(f"/v1.0/storage_files/{made}/file")).status_code == 403
        assert (await agent.delete(f"/v1.0/storage_files/{made}")).status_code == 403


async def test_an_export_is_asked_for_by_ids_or_by_a_filter(world: World, client: httpx2.AsyncClient) -> None:
    ids = [world.service.recording(world.account) for _ in range(2)]
    made = (await client.post("/v1.0/recordings/export", json={"recording_ids": ids})).json()
    assert (made["status"], made["recording_count"], made["customer_id"]) == ("progressing", 2, world.account)
    assert (await client.get(f"/v1.0/recordings/exports/{made['id']}")).json() == made
    asked = {"number": "4930", "since": "2026-01-01T00:00:00Z", "direction": "incoming", "min_duration": "5", "tag": None}
    found = (await client.post("/v1.0/recordings/export", json={"filter": asked})).json()["filter"]
    assert found == {
        "number": "4930", "since": 1767225600.0, "shortest": 5.0, "equal": {"direction": ["incoming"], "state": ["available"]},
    }  # fmt: skip
    assert [deed.subject for deed in world.trail.deeds if deed.action == "exported"][0] == made["id"]


@pytest.mark.parametrize(
    ("body", "code", "reason"),
    [
        ({}, 400, "INVALID_JSON_BODY"), ({"recording_ids": []}, 400, "INVALID_JSON_BODY"),
        ({"recording_ids": "x"}, 400, "INVALID_JSON_BODY"),
        ({"recording_ids": ["x"]}, 400, "INVALID_ID"), ({"recording_ids": [1]}, 400, "INVALID_ID"),
        ({"recording_ids": ["6b7a7c1e-9a58-4f0e-8f0c-0d7a3c0b1a11"]}, 404, "RECORDING_NOT_FOUND"),
        ({"recording_ids": ["6b7a7c1e-9a58-4f0e-8f0c-0d7a3c0b1a11"], "filter": {}}, 404, "RECORDING_NOT_FOUND"),
        ({"filter": {"direction": "up"}}, 400, "INVALID_REQUEST_PARAMETER"), ({"filter": {"since": "x"}}, 400, "INVALID_REQUEST_PARAMETER"),
        ({"filter": {"status": "gone"}}, 400, "INVALID_REQUEST_PARAMETER"), ({"filter": {"note": "ab"}}, 400, "INVALID_REQUEST_PARAMETER"),
        ({"filter": {"min_duration": "-1"}}, 400, "INVALID_REQUEST_PARAMETER"),
        ({"filter": {"call_id": "x"}}, 400, "INVALID_REQUEST_PARAMETER"),
        ({"filter": {"number": ["x"]}}, 400, "INVALID_REQUEST_PARAMETER"), ({"filter": {"tag": "\0"}}, 400, "INVALID_REQUEST_PARAMETER"),
    ],
)  # fmt: skip
async def test_what_cannot_be_exported_is_refused(client: httpx2.AsyncClient, body: Any, code: int, reason: str) -> None:
    answer = await client.post("/v1.0/recordings/export", json=body)
    assert (answer.status_code, answer.json()["error"]["reason"]) == (code, reason)


async def test_a_foreign_recording_stops_the_whole_export(world: World, client: httpx2.AsyncClient) -> None:
    ids = [world.service.recording(world.account), world.service.recording(world.other_account)]
    assert (await client.post("/v1.0/recordings/export", json={"recording_ids": ids})).status_code == 403
    body = {"filter": {"customer_id": world.other_account}}
    assert (await client.post("/v1.0/recordings/export", json=body)).status_code == 403


async def test_a_link_needs_no_token_but_its_signature(world: World) -> None:
    made = world.service.exports.make(world.account, status="finished")
    path, late = f"/exports/{made}/file", int(world.clock.wall()) + 60
    async with world.client("") as nobody:
        answer = await nobody.get(f"{path}?expires={late}&signature={made}")
        assert answer.status_code == 200 and answer.headers["content-type"] == "application/zip"
        ranged = await nobody.get(f"{path}?expires={late}&signature={made}", headers={"Range": "bytes=0-1"})
        assert (ranged.status_code, ranged.content) == (206, b"PK")
        assert (await nobody.get(f"{path}?expires={late}&signature=x")).status_code == 403
        assert (await nobody.get(path)).status_code == 403
        assert (await nobody.get(f"/exports/x/file?expires={late}&signature=x")).status_code == 403
        assert (await nobody.get(f"{path}?expires={int(world.clock.wall()) - 1}&signature={made}")).status_code == 404
    assert {(deed.action, deed.actor, deed.account) for deed in world.trail.deeds} == {("export_downloaded", "link", world.account)}
    assert all("signature" not in deed.detail["query"] for deed in world.trail.deeds)


async def test_recordings_are_searched_page_by_page(world: World, client: httpx2.AsyncClient) -> None:
    mine = [world.service.recording(world.account, direction="incoming") for _ in range(5)]
    world.service.recording(world.account, direction="outgoing")
    world.service.recording(world.other_account, direction="incoming")
    found: list[str] = []
    token = ""
    while True:
        query = f"direction=incoming&page_size=2&page_token={token}"
        page = (await client.get(f"/v1.0/recordings?{query}")).json()
        found += [item["id"] for item in page["result"]]
        token = page["next_page_token"]
        if not token:
            break
    assert found == mine[::-1]
    assert world.trail.deeds[0].detail["query"]["direction"] == "incoming"


@pytest.mark.parametrize(
    "query",
    [
        "direction=up", "status=gone", "since=yesterday", "until=1", "min_duration=x", "max_duration=-1", "min_duration=nan", "flow_id=x",
        "call_id=1", "note=ab", "number=" + "1" * 201, "number=%00", "tag=x&page_token=at-", "tag=x&page_token=2026-01-15T09:30:02Z",
        "tag=x&page_token=at-WzEsMl0", "tag=x&page_size=x", "customer_id=x",
    ],
)  # fmt: skip
async def test_a_search_that_is_none_is_refused(client: httpx2.AsyncClient, query: str) -> None:
    answer = await client.get(f"/v1.0/recordings?{query}")
    assert (answer.status_code, answer.json()["error"]["reason"]) == (400, "INVALID_REQUEST_PARAMETER")


async def test_another_account_is_not_searched(world: World, client: httpx2.AsyncClient) -> None:
    assert (await client.get(f"/v1.0/recordings?customer_id={world.other_account}")).status_code == 403


async def test_use_is_shown_among_the_metrics(world: World, client: httpx2.AsyncClient) -> None:
    world.service.recording(world.account)
    assert "tapeline_storage_bytes" not in (await client.get("/metrics")).text
    async with world.client(world.tokens.issue(world.account, "admin")) as administrator:
        page = (await administrator.get("/metrics")).text
    assert f'tapeline_storage_files{{account="{world.account}"}} 1.0' in page
    assert f'tapeline_storage_bytes{{account="{world.account}"}}' in page
