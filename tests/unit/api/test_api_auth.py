"""Credentials: where they are looked for and in which order, how long a principal is remembered, what never reaches a log."""

from __future__ import annotations

import logging

import httpx2
import pytest
import structlog
from api_world import World

from tapeline.api.accesslog import RedactQuery, redact
from tapeline.api.auth import FRESH_S, REMEMBERED, STALE_S, Authenticator
from tapeline.core.errors import Unavailable


async def status(client: httpx2.AsyncClient, path: str = "/v1.0/calls", **headers: str) -> int:
    return (await client.get(path, headers=headers)).status_code


async def test_the_first_place_that_is_not_empty_wins(world: World) -> None:
    good, bad = world.secret, "vb_wrong"
    async with world.client("") as client:
        # Each row: a place and those that come after it; a wrong one in front hides the right one behind.
        assert await status(client, f"/v1.0/calls?token={good}", Cookie=f"token={bad}") == 401
        assert await status(client, f"/v1.0/calls?token={bad}", Cookie=f"token={good}") == 200
        assert await status(client, f"/v1.0/calls?token={bad}", Authorization=f"Bearer {good}") == 401
        assert await status(client, f"/v1.0/calls?token={good}", Authorization=f"Bearer {bad}") == 200
        assert await status(client, Cookie=f"accesskey={bad}", Authorization=f"Bearer {good}") == 200
        assert await status(client, Cookie=f"accesskey={good}", Authorization=f"Bearer {bad}") == 401
        assert await status(client, f"/v1.0/calls?accesskey={bad}", Cookie=f"accesskey={good}") == 200
        assert await status(client, f"/v1.0/calls?accesskey={good}", Cookie=f"accesskey={bad}") == 401
        assert await status(client, f"/v1.0/calls?accesskey={good}&token=", Cookie="token=", Authorization="Bearer ") == 200


@pytest.mark.parametrize("header", ["Bearer", "Basic dXNlcjpwYXNz", "bearer", "Token x", "Bearer\t", "  "])
async def test_an_authorization_that_is_none_counts_as_absent(world: World, header: str) -> None:
    async with world.client("") as client:
        answer = await client.get("/v1.0/calls", headers={"Authorization": header})
    assert answer.json()["error"]["reason"] == "AUTHENTICATION_REQUIRED"


async def test_the_scheme_is_read_in_either_case(world: World) -> None:
    async with world.client("") as client:
        assert await status(client, Authorization=f"bEARER  {world.secret}") == 200


@pytest.mark.parametrize("secret", ["x" * 5000, "ünïcode", "%00", "%ff", "' OR 1=1 --", "vb_" + "0" * 32 + "%0a"])
async def test_a_hostile_secret_is_just_not_valid(world: World, secret: str) -> None:
    async with world.client("") as client:
        answer = await client.get(f"/v1.0/calls?token={secret}")
    assert (answer.status_code, answer.json()["error"]["reason"]) == (401, "INVALID_CREDENTIALS")


async def test_a_cookie_does_not_count_for_what_another_site_makes_a_browser_send(world: World) -> None:
    path = f"/v1.0/calls/{world.service.call(world.account)}/hangup"
    async with world.client("", Cookie=f"token={world.secret}") as browser:
        assert (await browser.post(path, headers={"Sec-Fetch-Site": "cross-site"})).status_code == 401
        assert (await browser.post(path, headers={"Sec-Fetch-Site": "same-site"})).status_code == 401
        assert (await browser.get("/v1.0/calls", headers={"Sec-Fetch-Site": "cross-site"})).status_code == 200
        assert (await browser.post(path, headers={"Sec-Fetch-Site": "same-origin"})).status_code == 200


async def test_a_principal_is_remembered_a_little_and_a_revoked_token_ends(world: World, client: httpx2.AsyncClient) -> None:
    for _ in range(3):
        assert await status(client) == 200
    assert world.tokens.asked == 1
    world.tokens.by_secret.clear()
    world.clock.advance(FRESH_S - 0.1)
    assert await status(client) == 200
    world.clock.advance(0.2)
    assert await status(client) == 401
    world.tokens.away = True
    assert await status(client) == 503  # nothing is left of the one that was refused


async def test_while_the_store_is_away_those_known_lately_may_go_on(world: World, client: httpx2.AsyncClient) -> None:
    assert await status(client) == 200
    world.tokens.away = True
    world.clock.advance(STALE_S - 1)
    assert await status(client) == 200
    async with world.client(world.tokens.issue(world.account, "calls:read")) as unseen:
        assert await status(unseen) == 503
    world.clock.advance(2)
    assert await status(client) == 503


async def test_memory_of_principals_is_bounded_and_keeps_the_newest(world: World) -> None:
    authenticator = Authenticator(world.tokens, world.agents, world.sessions, world.clock)
    secrets = [world.tokens.issue(world.account) for _ in range(REMEMBERED + 1)]
    for secret in secrets:
        await authenticator.identify(secret)
    world.tokens.away = True
    world.clock.advance(FRESH_S)
    assert (await authenticator.identify(secrets[-1])).account == world.account
    with pytest.raises(Unavailable):
        await authenticator.identify(secrets[0])


async def test_no_secret_reaches_our_log_even_with_a_defect(world: World) -> None:
    world.service.broken = RuntimeError(f"cannot GET /x?token={world.secret}")
    with structlog.testing.capture_logs() as lines:
        async with world.client("", Cookie=f"accesskey={world.secret}") as client:
            await client.get(f"/v1.0/calls?token={world.secret}&accesskey={world.secret}", headers={"X-Request-Id": "one"})
    assert {line["event"] for line in lines} == {"request", "request failed"}
    assert world.secret not in str(lines)
    request = next(line for line in lines if line["event"] == "request")
    assert (request["path"], request["status"], request["request_id"], request["account"]) == ("/v1.0/calls", 500, "one", world.account)


async def test_the_log_names_the_account_that_is_turned_away(world: World) -> None:
    with structlog.testing.capture_logs() as lines:
        async with world.client(world.tokens.issue(world.account)) as client:
            assert await status(client) == 403
    assert [(line["account"], line["status"]) for line in lines] == [(world.account, 403)]


async def test_no_tracer_is_given_the_query(world: World, client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    trace = pytest.importorskip("opentelemetry.trace")
    asked: list[str] = []

    class Recording(trace.TracerProvider):  # type: ignore[misc, name-defined]
        def get_tracer(self, name: str, *args: object, **kwargs: object) -> object:
            asked.append(name)
            return trace.NoOpTracer()

    monkeypatch.setattr(trace, "_TRACER_PROVIDER", Recording())
    assert await status(client) == 200
    assert asked == []


async def test_uvicorns_access_log_is_redacted(world: World, caplog: pytest.LogCaptureFixture) -> None:
    assert sum(isinstance(one, RedactQuery) for one in logging.getLogger("uvicorn.access").filters) == 1  # however many apps were made
    with caplog.at_level(logging.INFO, logger="uvicorn.access"):
        logging.getLogger("uvicorn.access").info(
            '%s - "%s %s HTTP/%s" %d', "127.0.0.1:5", "GET", f"/v1.0/calls?page_size=2&token={world.secret}", "1.1", 200
        )
        logging.getLogger("uvicorn.access").info(f"/?accesskey={world.secret}")
        logging.getLogger("uvicorn.access").info({"what": "is no text"})
        logging.getLogger("uvicorn.access").info("%(kept)s", {"kept": "named arguments"})
    assert world.secret not in caplog.text
    assert "is no text" in caplog.text and "named arguments" in caplog.text
    assert '"GET /v1.0/calls?page_size=2&token=*** HTTP/1.1" 200' in caplog.text


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("/a?token=abc", "/a?token=***"),
        ("/a?x=1&ACCESSKEY=abc&y=2", "/a?x=1&ACCESSKEY=***&y=2"),
        ("token=abc; accesskey=def", "token=***; accesskey=***"),
        ("/a?page_token=2026-01-01", "/a?page_token=2026-01-01"),
        ("/token/abc", "/token/abc"),
    ],
)
def test_redact(text: str, clean: str) -> None:
    assert redact(text) == clean
