"""The server's own pages: liveness, readiness, numbers, description, and what holds for every answer."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import httpx2
import pytest
from api_world import World
from prometheus_client import Gauge
from prometheus_client.parser import text_string_to_metric_families


@pytest.fixture
def world() -> World:
    """Not one that others have used: what the application counts and tells of itself is looked at here."""
    return World()


async def test_ping(client: httpx2.AsyncClient) -> None:
    assert (await client.get("/ping")).json() == {"message": "pong"}


async def test_healthz_says_that_the_process_answers_whatever_else_is_wrong(world: World) -> None:
    world.service.checks["database"] = "away"
    async with world.client("") as nobody:
        assert ((await nobody.get("/healthz")).status_code, (await nobody.get("/readyz")).status_code) == (200, 503)


async def test_readyz_names_what_is_wrong(world: World, client: httpx2.AsyncClient) -> None:
    assert (await client.get("/readyz")).json() == {"status": "ready", "failing": [], "checks": {"database": "ok", "disk": "ok"}}
    world.service.checks["disk"] = "12 MB free"
    answer = await client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == {"status": "not ready", "failing": ["disk"], "checks": {"database": "ok", "disk": "12 MB free"}}


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_metrics_show_the_services_numbers_and_our_requests(world: World, client: httpx2.AsyncClient) -> None:
    Gauge("tapeline_others", "of another part", registry=world.metrics.registry).set(7)
    world.service.numbers = {"calls": 3.0, "calls_total": 12.0, "rtp.lost-packets_total": 1.0}
    recording_id = world.service.recording(world.account)
    for _ in range(2):
        await client.get(f"/v1.0/recordings/{recording_id}?token=secret")
    await client.get("/no/such/path")
    await client.request("BREW", "/ping")
    answer = await client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    found = samples(answer.text)
    assert found["tapeline_calls", frozenset()] == 3
    assert found["tapeline_calls_total", frozenset()] == 12
    assert found["tapeline_rtp_lost_packets_total", frozenset()] == 1
    assert found["tapeline_others", frozenset()] == 7
    seen = {"method": "GET", "route": "/v1.0/recordings/{id}", "status": "401"}
    assert found["tapeline_http_requests_total", frozenset(seen.items())] == 2
    for labels in ({"method": "GET", "route": "unmatched", "status": "404"}, {"method": "other", "route": "/ping", "status": "404"}):
        assert any(name == "tapeline_http_requests_total" and labels["status"] in dict(tags).values() for name, tags in found), labels
    routes = {dict(tags)["route"] for name, tags in found if name == "tapeline_http_requests_total"}
    assert not any(recording_id in route for route in routes)
    assert recording_id not in answer.text and "secret" not in answer.text
    assert found["tapeline_http_request_seconds_count", frozenset({"method": "GET", "route": "/v1.0/recordings/{id}"}.items())] == 2


async def test_two_applications_do_not_share_numbers(world: World, client: httpx2.AsyncClient) -> None:
    await client.get("/ping")
    async with World().client() as other:
        assert 'route="/ping"' not in (await other.get("/metrics")).text


class Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.outside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.outside += [value for name, value in attrs if name in {"src", "href"} and value and not value.startswith("/")]


async def test_the_docs_page_needs_nothing_from_elsewhere(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/docs")
    assert answer.headers["content-type"].startswith("text/html")
    links = Links()
    links.feed(answer.text)
    assert links.outside == [] and "//" not in re.sub(r"^\s*//.*$", "", answer.text, flags=re.M).replace("/* not JSON: as it came */", "")
    assert "connect-src 'self'" in answer.headers["content-security-policy"]
    assert "innerHTML" not in answer.text and "fetch(\"/openapi.json\")" in answer.text


async def test_who_asks_for_nothing_gets_the_docs(client: httpx2.AsyncClient) -> None:
    for method in ("GET", "HEAD"):
        answer = await client.request(method, "/", follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (307, "/docs")


async def test_the_description_tells_shapes_scopes_and_credentials(client: httpx2.AsyncClient) -> None:
    api = (await client.get("/openapi.json")).json()
    start = api["paths"]["/v1.0/calls/{id}/recording_start"]["post"]
    assert start["x-scope"] == "recordings:write"
    assert set(start["requestBody"]["content"]["application/json"]["schema"]["properties"]) >= {"format", "duration", "split"}
    assert start["responses"]["200"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/CallShape"}
    assert set(api["components"]["securitySchemes"]) == {"bearer", "token"}
    text = (await client.get("/openapi.json")).text
    for name in set(re.findall(r"#/components/schemas/(\w+)", text)):
        assert name in api["components"]["schemas"]
    assert "422" not in start["responses"] and "default" in start["responses"]


@pytest.mark.parametrize("method", ["POST", "GET", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"])
async def test_any_origin_may_ask_with_any_of_the_methods(client: httpx2.AsyncClient, method: str) -> None:
    origin = {"Origin": "https://page.example"}
    ask = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": "authorization, x-request-id"}
    preflight = await client.options("/v1.0/calls", headers=origin | ask)
    assert preflight.status_code == 200 and method in preflight.headers["access-control-allow-methods"]
    assert preflight.headers["access-control-allow-origin"] == "*" and preflight.headers["x-request-id"]
    answer = await client.get("/v1.0/calls", headers=origin)
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in answer.headers
    assert "X-Request-Id" in answer.headers["access-control-expose-headers"]


async def test_answers_are_neither_kept_nor_guessed_at(world: World, client: httpx2.AsyncClient) -> None:
    recording_id = world.service.recording(world.account)
    kept = {"/v1.0/recordings": "no-store", "/v1.0/recordings/x": "no-store", f"/v1.0/recordings/{recording_id}/file": "private, no-cache"}
    for path, control in kept.items():
        answer = await client.get(path)
        assert (answer.headers["cache-control"], answer.headers["x-content-type-options"]) == (control, "nosniff")
