"""Applications over REST: made, seen, changed and deleted by who may change the account; the SDK's own models read the answers."""

from __future__ import annotations

import base64
from typing import Any

import httpx2
import pytest
from api_world import World
from vonage_application.responses import ApplicationData, ListApplicationsResponse
from vonage_world import key_pair, token

from tapeline.calls.vonage.applications import public_key
from tapeline.core.ids import new_id
from tapeline.store import Application

WEBHOOKS = {
    "answer_url": {"address": "https://app.test/a", "http_method": "POST"},
    "event_url": {"address": "https://app.test/e", "connect_timeout": 500},
}
BODY = {"name": "shop", "capabilities": {"voice": {"webhooks": WEBHOOKS, "region": "eu-west"}, "rtc": {"webhooks": {}}}}


def client_of(world: World, account: str = "default", secret: str = "") -> httpx2.AsyncClient:
    encoded = base64.b64encode(f"{account}:{secret or world.secret}".encode()).decode()
    return world.client("", Authorization=f"Basic {encoded}")


async def test_made_seen_changed_deleted(world: World) -> None:
    async with client_of(world) as client:
        made = await client.post("/v2/applications", json=BODY)
        assert made.status_code == 201
        body = made.json()
        ApplicationData(**body)
        row = world.application_rows[body["id"]]
        assert (row.account, row.name, row.answer_url, row.answer_method) == (world.account, "shop", "https://app.test/a", "POST")
        assert (row.event_url, row.event_method, row.fallback_url) == ("https://app.test/e", "POST", "")
        assert len(row.signature_secret) == 64 and body["tapeline"]["signature_secret"] == row.signature_secret
        assert body["keys"]["private_key"].startswith("-----BEGIN PRIVATE KEY-----")
        public_key(row.public_key)
        path = f"/v2/applications/{row.id}"
        secret = token(row, now=world.clock.wall(), key=body["keys"]["private_key"])
        assert (await world.client(secret).get("/v1/calls")).status_code == 200
        seen = (await client.get(path)).json()
        assert "private_key" not in seen["keys"] and seen["capabilities"]["voice"]["region"] == "eu-west"
        changed = await client.put(path, json={"keys": {"public_key": key_pair(1)[1]}, "tapeline": {"signature_secret": "x" * 32}})
        assert changed.status_code == 200 and changed.json()["name"] == "shop"
        row = world.application_rows[row.id]
        assert (row.public_key, row.signature_secret, row.answer_url) == (key_pair(1)[1], "x" * 32, "https://app.test/a")
        assert (await world.client(secret).get("/v1/calls")).status_code == 401
        listed = (await client.get("/v2/applications")).json()
        ListApplicationsResponse(**listed)
        assert listed["total_items"] == 1 and [each["id"] for each in listed["_embedded"]["applications"]] == [row.id]
        assert (await client.delete(path)).status_code == 204
        assert (await client.get(path)).status_code == 404 and (await client.delete(path)).status_code == 404


async def test_who_may(world: World) -> None:
    row = Application(new_id(), world.other_account)
    world.application_rows[row.id] = row
    async with client_of(world, world.account) as client:
        assert (await client.get("/v2/applications")).status_code == 200
        for method in ("GET", "PUT", "DELETE"):
            assert (await client.request(method, f"/v2/applications/{row.id}")).status_code == 404
    for account, secret in (("other", ""), ("nobody", ""), ("default", "wrong"), ("", "")):
        async with client_of(world, account, secret) as client:
            answer = await client.get("/v2/applications")
            assert answer.status_code == 401 and answer.json()["title"] == "Unauthorized"
    async with client_of(world, secret=world.tokens.issue(world.account, "calls:read")) as client:
        assert (await client.get("/v2/applications")).status_code == 403
    for header in ("Basic", "Basic !!", "Basic " + base64.b64encode(b"\xff\xfe").decode(), f"Bearer {world.secret}"):
        async with world.client("", Authorization=header) as client:
            assert (await client.get("/v2/applications")).status_code == 401


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({}, {"name"}),
        ({"name": 5}, {"name"}),
        ({"name": "x", "keys": {"public_key": "nonsense"}}, {"keys.public_key"}),
        ({"name": "x", "keys": []}, {"keys"}),
        (
            {"name": "x", "capabilities": {"voice": {"webhooks": {"event_url": {"address": "ftp://x"}}}}},
            {"capabilities.voice.webhooks.event_url.address"},
        ),
        (
            {"name": "x", "capabilities": {"voice": {"webhooks": {"answer_url": {"address": "https://x.test", "http_method": "PUT"}}}}},
            {"capabilities.voice.webhooks.answer_url.http_method"},
        ),
    ],
    ids=lambda item: str(item)[:60],
)
async def test_what_cannot_be_one(world: World, body: dict[str, Any], names: set[str]) -> None:
    async with client_of(world) as client:
        answer = await client.post("/v2/applications", json=body)
    assert answer.status_code == 400 and {each["name"] for each in answer.json()["invalid_parameters"]} == names
    assert not world.application_rows.rows
