"""Holds, tags, notes, retention and storage over REST: what is answered, and what is refused."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from api_world import World


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
