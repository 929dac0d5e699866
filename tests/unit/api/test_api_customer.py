"""`/v1.0/customer`: the account as its owner sees it, and where its events are sent."""

from __future__ import annotations

from typing import Any

import pytest
from api_world import World


async def test_the_account_tells_its_secret_to_its_administrator_alone(world: World) -> None:
    await world.accounts.amend(world.account, webhook_secret="s" * 32)
    async with world.client() as client:
        answer = await client.get("/v1.0/customer")
    told = answer.json()
    assert (answer.status_code, told["id"], told["name"], told["webhook_secret"]) == (200, world.account, "default", "s" * 32)
    manager = world.tokens.issue(world.account, "recordings:read", "calls:read", "calls:write")
    async with world.client(manager) as client:
        assert (await client.get("/v1.0/customer")).status_code == 403
        assert (await client.put("/v1.0/customer", json={"webhook_uri": "https://a.example"})).status_code == 403


async def test_what_is_put_is_kept_and_what_is_not_named_stays(world: World) -> None:
    body = {
        "name": "Acme", "detail": "d", "email": "a@b", "phone_number": "+1", "address": "x", "webhook_method": "put",
        "webhook_uri": "https://hooks.example/in?key=1",
    }  # fmt: skip
    async with world.client() as client:
        assert (await client.put("/v1.0/customer", json=body)).status_code == 200
        answer = await client.put("/v1.0/customer", json={"detail": "another"})
        told = answer.json()
        assert {name: told[name] for name in body} == body | {"detail": "another", "webhook_method": "PUT"}
        assert (await client.put("/v1.0/customer", json={"webhook_uri": ""})).json()["webhook_uri"] == ""
        assert (await client.get("/v1.0/customer")).json()["name"] == "Acme"
    other = await world.accounts.get(world.other_account)
    assert other is not None and not other.webhook_uri


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"webhook_uri": "ftp://a.example"}, "INVALID_WEBHOOK_URI"),
        ({"webhook_uri": "https://"}, "INVALID_WEBHOOK_URI"),
        ({"webhook_uri": "nowhere"}, "INVALID_WEBHOOK_URI"),
        ({"webhook_uri": "https://a.example:99999/"}, "INVALID_WEBHOOK_URI"),
        ({"webhook_uri": "https://a.example/\n"}, None),  # spaces around it are not its own
        ({"webhook_uri": "https://a.example/a b"}, "INVALID_WEBHOOK_URI"),
        ({"webhook_uri": "https://a.example/" + "x" * 2000}, "INVALID_WEBHOOK_URI"),
        ({"webhook_uri": "https://[::1"}, "INVALID_WEBHOOK_URI"),
        ({"webhook_method": "PATCH"}, "INVALID_WEBHOOK_METHOD"),
        ({"webhook_uri": 7}, "INVALID_JSON_BODY"),
        ({"detail": "x" * 1001}, "INVALID_ARGUMENT"),
    ],
)
async def test_an_address_nothing_can_be_sent_to_is_refused(world: World, body: dict[str, Any], reason: str | None) -> None:
    async with world.client() as client:
        answer = await client.put("/v1.0/customer", json=body)
    if reason is None:
        assert answer.status_code == 200
    else:
        assert (answer.status_code, answer.json()["error"]["reason"]) == (400, reason)
