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


SHOP = {"name": "shop", "email": "shop@a.example", "webhook_uri": "https://shop.example/in"}


async def test_an_administrator_makes_an_account_and_who_looks_after_it(world: World) -> None:
    async with world.client(world.tokens.issue(world.account, "admin")) as admin:
        made = (await admin.post("/v1.0/customers", json=SHOP)).json()
        assert {name: made[name] for name in SHOP} == SHOP and made["webhook_secret"]
        assert (await admin.get(f"/v1.0/customers/{made['id']}")).json() == made
        again = await admin.post("/v1.0/customers", json=SHOP)
        assert (again.status_code, again.json()["error"]["reason"]) == (409, "CUSTOMER_ALREADY_EXISTS")
        changed = (await admin.put(f"/v1.0/customers/{made['id']}", json={"detail": "open"})).json()
        assert (changed["detail"], changed["name"], changed["webhook_uri"]) == ("open", "shop", SHOP["webhook_uri"])
        listed = (await admin.get("/v1.0/customers", params={"page_size": 1})).json()
        assert [one["id"] for one in listed["result"]] == [made["id"]]
        older = (await admin.get("/v1.0/customers", params={"page_token": listed["next_page_token"]})).json()["result"]
        assert made["id"] not in [one["id"] for one in older] and older
        ours = {"customer_id": made["id"].upper()}
        key = (await admin.post("/v1.0/accesskeys", json={"tapeline": ours})).json()
        agent = {"username": "shop@a.example", "password": "long enough", "permission": 32, "tapeline": ours}
        assert (await admin.post("/v1.0/agents", json=agent)).json()["customer_id"] == made["id"]
    async with world.client(key["token"]) as owner:
        assert (await owner.get("/v1.0/customer")).json()["id"] == made["id"]
        assert [one["id"] for one in (await owner.get("/v1.0/customers")).json()["result"]] == [made["id"]]
        assert (await owner.get(f"/v1.0/customers/{world.account}")).status_code == 403


@pytest.mark.parametrize("body", [{}, {"name": ""}, {"name": "x" * 101}, {"name": "a\u0000"}, {"name": "a", "webhook_uri": "x"}])
async def test_an_account_that_cannot_be_is_not_made(world: World, body: dict[str, Any]) -> None:
    async with world.client(world.tokens.issue(world.account, "admin")) as admin:
        assert (await admin.post("/v1.0/customers", json=body)).status_code == 400
        assert len((await admin.get("/v1.0/customers")).json()["result"]) == 2


async def test_only_an_administrator_of_the_server_makes_accounts_and_what_is_theirs(world: World) -> None:
    other = {"tapeline": {"customer_id": world.other_account}}
    async with world.client() as client:
        assert (await client.post("/v1.0/customers", json=SHOP)).status_code == 403
        assert (await client.post("/v1.0/accesskeys", json=other)).status_code == 403
        assert (await client.post("/v1.0/agents", json=other | {"username": "x", "password": "long enough"})).status_code == 403
        assert (await client.put(f"/v1.0/customers/{world.other_account}", json={"name": "x"})).status_code == 403
        assert (await client.put(f"/v1.0/customers/{world.account}", json={"name": "Mine"})).json()["name"] == "Mine"
    async with world.client(world.tokens.issue(world.account, "admin")) as admin:
        nobody = {"tapeline": {"customer_id": "6b7a7c1e-9a58-4f0e-8f0c-0d7a3c0b1a11"}}
        answer = await admin.post("/v1.0/accesskeys", json=nobody)
        assert (answer.status_code, answer.json()["error"]["reason"]) == (404, "CUSTOMER_NOT_FOUND")
        assert (await admin.post("/v1.0/accesskeys", json={"tapeline": {"customer_id": "x"}})).status_code == 400
