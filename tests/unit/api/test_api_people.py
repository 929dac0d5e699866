"""Logins, agents, access keys: sessions end when they should, and nobody gives away more than they have."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import httpx2
import pytest
from api_world import World

from tapeline.api.auth import FRESH_S
from tapeline.api.logins import LOCK_S
from tapeline.api.sessions import AGENT_SESSION_S
from tapeline.core.principal import ALL_SCOPES, ROLES, role_of
from tapeline.core.settings import ServerSettings
from tapeline.store import passwords

PASSWORD = "correct horse"


async def log_in(client: httpx2.AsyncClient, username: str = "ann", password: str = PASSWORD) -> httpx2.Response:
    return await client.post("/auth/login", json={"username": username, "password": password})


@pytest.fixture
def ann(world: World) -> str:
    return world.agents.make(world.account, "manager", "ann", PASSWORD)


async def test_a_login_gives_a_session_and_a_cookie(world: World, ann: str) -> None:
    async with world.client("") as client:
        answer = await log_in(client, " Ann ")
        assert answer.status_code == 200 and set(answer.json()) == {"username", "token"} and answer.json()["username"] == "ann"
        cookie = answer.headers["set-cookie"].lower()
        assert cookie.startswith("token=") and "httponly" in cookie and "samesite=lax" in cookie and "max-age=604800" in cookie
        token = answer.json()["token"]
        assert (await client.get("/v1.0/recordings")).status_code == 200  # by the cookie
    async with world.client(token) as client:
        me = (await client.get("/v1.0/me")).json()
        assert (me["id"], me["customer_id"], me["username"], me["permission"]) == (ann, world.account, "ann", 64)
        assert me["tapeline"] == {"role": "manager", "scopes": sorted(ROLES["manager"])}


@pytest.mark.parametrize(
    "body",
    [
        {"username": "ann", "password": "wrong"}, {"username": "bob", "password": PASSWORD}, {"username": "ann"}, {"password": PASSWORD},
        {"username": "", "password": ""}, {"username": "ann", "password": ""}, {"username": 1, "password": PASSWORD}, {}, [], "x",
        {"username": "ann", "password": "x" * 100_000}, {"username": "x" * 100_000, "password": PASSWORD},
    ],
)  # fmt: skip
async def test_every_failed_login_is_a_bare_400(world: World, ann: str, body: Any) -> None:
    async with world.client("") as client:
        answer = await client.post("/auth/login", json=body)
    assert (answer.status_code, answer.content) == (400, b"") and "set-cookie" not in answer.headers


async def test_who_fails_too_often_waits(world: World, ann: str) -> None:
    most = ServerSettings().max_failed_logins
    async with world.client("") as client:
        for _ in range(most):
            assert (await log_in(client, password="wrong")).status_code == 400
        refused = await log_in(client)
        assert refused.status_code == 429 and refused.json()["error"]["reason"] == "RATE_LIMIT_EXCEEDED"
        assert refused.json()["error"]["details"] == [{"limited_by": "ip"}] and 0 < int(refused.headers["retry-after"]) <= LOCK_S + 1
        world.clock.advance(LOCK_S)
        assert (await log_in(client)).status_code == 200


@pytest.mark.parametrize("ended_by", ["another password", "deleted", "seven days"])
async def test_a_session_ends(world: World, ann: str, ended_by: str) -> None:
    async with world.client("") as client:
        token = (await log_in(client)).json()["token"]
    async with world.client(token) as client:
        assert (await client.get("/v1.0/me")).status_code == 200
        if ended_by == "another password":
            world.agents.rows[ann] = replace(world.agents.rows[ann], password=passwords.hashed("battery staple"))
        elif ended_by == "deleted":
            await world.agents.delete(ann)
        world.clock.advance(AGENT_SESSION_S if ended_by == "seven days" else FRESH_S)
        answer = await client.get("/v1.0/me")
        assert answer.status_code == 401 and answer.json()["error"]["reason"] == "INVALID_CREDENTIALS"


async def test_another_role_counts_for_a_session_that_exists(world: World, ann: str) -> None:
    async with world.client("") as client:
        token = (await log_in(client)).json()["token"]
    async with world.client(token) as client:
        assert (await client.get("/v1.0/recordings")).status_code == 200
        world.agents.rows[ann] = replace(world.agents.rows[ann], role="agent")
        world.clock.advance(FRESH_S)
        assert (await client.get("/v1.0/recordings")).status_code == 403
        assert (await client.get("/v1.0/me")).json()["permission"] == 16


async def test_a_session_signed_with_another_key_is_worth_nothing(world: World, ann: str) -> None:
    forged = type(world.sessions)("another key, long enough for the hash", world.clock).issue_agent(ann, world.agents.rows[ann].password)
    async with world.client(forged) as client:
        assert (await client.get("/v1.0/me")).status_code == 401


async def test_an_access_key_ends_at_its_time_even_while_the_store_is_away(world: World, client: httpx2.AsyncClient) -> None:
    made = (await client.post("/v1.0/accesskeys", json={"name": "till", "expire": 86400})).json()
    assert made["token"].startswith("vb_") and made["token"].startswith(made["token_prefix"]) and len(made["token_prefix"]) == 11
    async with world.client(made["token"]) as key:
        world.clock.advance(86399)
        assert (await key.get("/v1.0/me")).json()["permission"] == 32
        world.tokens.away = True
        world.clock.advance(2)
        assert (await key.get("/v1.0/me")).status_code == 503  # not known any more, and nobody to ask
        world.tokens.away = False
        assert (await key.get("/v1.0/me")).status_code == 401


async def test_access_keys_are_listed_renamed_and_ended(world: World, client: httpx2.AsyncClient) -> None:
    made = (await client.post("/v1.0/accesskeys", json={"name": "a", "detail": "b"})).json()
    path = f"/v1.0/accesskeys/{made['id']}"
    assert made["tm_expire"] is None and set(made["tapeline"]["scopes"]) == ROLES["admin"]
    listed = (await client.get("/v1.0/accesskeys")).json()["result"]
    assert [key["id"] for key in listed][0] == made["id"] and not any("token" in key for key in listed)
    assert (await client.put(path, json={"name": "c"})).json()["name"] == "c"
    assert "token" not in (await client.get(path)).json()
    assert (await client.delete(path)).status_code == 200
    assert (await client.get(path)).json()["error"]["reason"] == "ACCESSKEY_NOT_FOUND"
    async with world.client(made["token"]) as ended:
        assert (await ended.get("/v1.0/me")).status_code == 401


@pytest.mark.parametrize(
    "body",
    [
        {"expire": 86399}, {"expire": -1}, {"expire": 1e300}, {"expire": "x"}, {"tapeline": {"scopes": []}},
        {"tapeline": {"scopes": ["nonsense"]}}, {"tapeline": {"scopes": "calls:read"}}, {"name": "x" * 1001},
    ],
)  # fmt: skip
async def test_a_wrong_access_key_is_refused(world: World, client: httpx2.AsyncClient, body: dict[str, Any]) -> None:
    before = len(world.tokens.by_secret)
    assert (await client.post("/v1.0/accesskeys", json=body)).status_code == 400
    assert len(world.tokens.by_secret) == before


async def test_nobody_gives_away_more_than_they_have(world: World) -> None:
    administrator = world.agents.make(world.account, "admin")
    async with world.client(world.tokens.issue(world.account, "account:write", "storage:read")) as client:
        key = await client.post("/v1.0/accesskeys", json={"tapeline": {"scopes": ["recordings:listen"]}})
        assert key.status_code == 403
        assert (await client.post("/v1.0/accesskeys")).json()["tapeline"]["scopes"] == ["account:write", "storage:read"]
        new = {"username": "eve", "password": PASSWORD}
        assert (await client.post("/v1.0/agents", json=new | {"permission": 32})).status_code == 403
        mine = (await client.post("/v1.0/agents", json=new | {"permission": 16})).json()
        assert (await client.put(f"/v1.0/agents/{mine['id']}/permission", json={"permission": 32})).status_code == 403
        assert (await client.put(f"/v1.0/agents/{administrator}/password", json={"password": PASSWORD})).status_code == 403
        assert (await client.delete(f"/v1.0/agents/{administrator}")).status_code == 403
    async with world.client(world.secret) as client:  # of the account, not of the server
        assert (await client.post("/v1.0/accesskeys", json={"tapeline": {"scopes": ["admin"]}})).status_code == 403


async def test_keys_of_the_whole_server_are_not_an_account_s(world: World, client: httpx2.AsyncClient) -> None:
    secret = world.tokens.issue(world.account, *ALL_SCOPES)
    key_id = world.tokens.by_secret[secret].id
    assert key_id not in [key["id"] for key in (await client.get("/v1.0/accesskeys")).json()["result"]]
    assert (await client.delete(f"/v1.0/accesskeys/{key_id}")).status_code == 403
    async with world.client(secret) as administrator:
        assert key_id in [key["id"] for key in (await administrator.get("/v1.0/accesskeys")).json()["result"]]


async def test_agents_are_made_changed_and_deleted(world: World, client: httpx2.AsyncClient) -> None:
    body = {"username": "Bob@Shop.example", "password": PASSWORD, "name": "Bob", "permission": 64}
    made = (await client.post("/v1.0/agents", json=body)).json()
    path = f"/v1.0/agents/{made['id']}"
    assert (made["username"], made["permission"], made["tapeline"]["role"]) == ("bob@shop.example", 64, "manager")
    assert PASSWORD not in str(world.agents.rows) and "password" not in made
    again = await client.post("/v1.0/agents", json=body)
    assert (again.status_code, again.json()["error"]["reason"]) == (409, "USERNAME_ALREADY_EXISTS")
    assert (await client.put(path, json={"name": "Robert"})).json()["name"] == "Robert"
    assert (await client.put(f"{path}/permission", json={"permission": 16})).json()["permission"] == 16
    assert [agent["id"] for agent in (await client.get("/v1.0/agents")).json()["result"]] == [made["id"]]
    assert (await client.delete(path)).json()["tm_delete"]
    assert (await client.get(path)).json()["error"]["reason"] == "RESOURCE_NOT_FOUND"
    assert (await client.post("/v1.0/agents", json=body)).status_code == 200  # the name is free again


@pytest.mark.parametrize(
    "body",
    [
        {"username": "x", "password": "short"}, {"username": "x", "password": "y" * 257}, {"password": PASSWORD},
        {"username": "a\nb", "password": PASSWORD}, {"username": "x", "password": PASSWORD, "permission": 1},
    ],
)  # fmt: skip
async def test_a_wrong_agent_is_refused(world: World, client: httpx2.AsyncClient, body: dict[str, Any]) -> None:
    assert (await client.post("/v1.0/agents", json=body)).status_code == 400
    assert not world.agents.rows


def test_the_roles_are_the_platform_s() -> None:
    recordings = {scope for scope in ALL_SCOPES if scope.startswith("recordings:")}
    assert recordings <= ROLES["admin"] and recordings <= ROLES["manager"] and not recordings & ROLES["agent"]
    assert all("admin" not in scopes for scopes in ROLES.values())
    assert [role_of(ROLES[role]) for role in ROLES] == list(ROLES) and role_of(frozenset()) == ""
