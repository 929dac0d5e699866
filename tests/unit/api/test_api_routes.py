"""Every route, taken from the application itself: who may use it, and what bad input is answered with."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import httpx2
import pytest
import structlog
from api_world import World
from starlette.exceptions import HTTPException
from starlette.types import Message

from tapeline.api.bodies import MAX_BODY
from tapeline.api.routes import PREFIX, Route
from tapeline.core.errors import Exhausted, ProtocolError, Unavailable
from tapeline.core.principal import ALL_SCOPES

ROUTES = {f"{route.method} {route.path}": route for route in World().routes}
WITH_ID = [name for name in ROUTES if "{id}" in name]
WITH_BODY = [name for name, route in ROUTES.items() if route.body]
LISTS = [name for name, route in ROUTES.items() if route.parameters]
NEEDED: dict[str, dict[str, Any]] = {  # what a route cannot do without
    "POST /calls": {"destinations": [{"type": "tel", "target": "+15550001"}], "actions": []},
    "POST /recordings/export": {"filter": {}},
    "POST /calls/{id}/talk": {"text": "Hello"},
    "POST /calls/{id}/transfer": {"destination": "sip:somebody@192.0.2.1"},
    "POST /activeflows": {"actions": [{"type": "webhook_send", "option": {"uri": "https://x.example/"}}]},
    "POST /customers": {"name": "shop"},
    "POST /agents": {"username": "ann@shop.example", "password": "long enough"},
    "PUT /agents/{id}/permission": {"permission": 16},
    "PUT /agents/{id}/password": {"password": "long enough"},
}
ALSO: dict[str, set[str]] = {  # an agent's own scopes: nobody gives away more than what they have
    name: {"storage:read"} for name in ("POST /agents", "PUT /agents/{id}/permission", "PUT /agents/{id}/password", "DELETE /agents/{id}")
} | {"POST /customers": {"admin"}}
UNKNOWN = "6b7a7c1e-9a58-4f0e-8f0c-0d7a3c0b1a11"


def asking(world: World, name: str) -> httpx2.AsyncClient:
    """A client that may use the route: an administrator of the server where it needs one."""
    return world.client(world.tokens.issue(world.account, "admin") if "admin" in ALSO.get(name, ()) else world.secret)


def prepared(world: World, route: Route, account: str = "") -> str:
    """A path at which `route` answers 200 to who is allowed."""
    account = account or world.account
    if route.path.startswith("/customers"):
        return PREFIX + route.path.replace("{id}", account)
    if route.path.startswith("/recordings/exports"):
        return PREFIX + route.path.replace("{id}", world.service.exports.make(account))
    if route.path.startswith("/conference"):
        return PREFIX + route.path.replace("{id}", prepared_conference(world, route, account))
    if route.path.startswith(("/me", "/accesskeys")):
        world.tokens.issue(account, "calls:read")
        return PREFIX + route.path.replace("{id}", list(world.tokens.by_secret.values())[-1].id)
    if route.path.startswith("/activeflows"):
        return PREFIX + route.path.replace("{id}", world.service.activeflows.run(account))
    if route.path.startswith("/deliveries"):
        return PREFIX + route.path.replace("{id}", world.service.deliveries.make(account))
    if route.path.startswith("/flows"):
        return PREFIX + route.path.replace("{id}", world.flows.make(account))
    if route.path.startswith("/agents"):
        return PREFIX + route.path.replace("{id}", world.agents.make(account))
    live = route.path.endswith(("pause", "resume", "mask", "unmask"))
    if route.path.startswith("/calls"):
        made = world.service.call(account)
        if route.path.endswith("trace"):
            world.service.telephony.traces[made] = "--- INVITE"
        if route.path.endswith("recording_stop"):
            recording_id = world.service.recording(account, "recording", call_id=made)
            world.service.calls[made] = replace(world.service.calls[made], recording_id=recording_id, recording_ids=(recording_id,))
    else:
        made = world.service.recording(account, "recording" if live else "available")
    return PREFIX + route.path.replace("{id}", made)


def prepared_conference(world: World, route: Route, account: str) -> str:
    made = world.service.conferences.conference(account)
    if route.path.startswith("/conferencecalls"):
        return world.service.conferences.conferences[made].member_ids[0]
    if route.path.endswith("recording_stop"):
        world.service.conferences.record(made)
    return made


def assert_envelope(answer: httpx2.Response, code: int, status: str, reason: str) -> dict[str, Any]:
    body = answer.json()
    assert answer.status_code == code, answer.text
    assert list(body) == ["error"]
    error: dict[str, Any] = body["error"]
    assert set(error) - {"details"} == {"status", "reason", "message", "request_id"}
    assert (error["status"], error["reason"]) == (status, reason)
    assert error["message"] and error["request_id"] == answer.headers["x-request-id"]
    assert all(isinstance(detail, dict) for detail in error.get("details", []))
    assert "details" not in error or error["details"]
    assert "Traceback" not in answer.text
    return error


def test_the_table_is_what_the_application_serves(world: World) -> None:
    described = {
        f"{method.upper()} {path.removeprefix(PREFIX)}"
        for path, methods in world.app.openapi()["paths"].items()
        for method in methods
        if path.startswith(PREFIX + "/")
    }
    assert described == set(ROUTES)
    assert {route.scope for route in ROUTES.values()} - {""} <= ALL_SCOPES - {"admin"}


@pytest.mark.parametrize("name", ROUTES)
async def test_with_exactly_its_scope_a_route_answers(world: World, name: str) -> None:
    route = ROUTES[name]
    async with world.client(world.tokens.issue(world.account, *ALSO.get(name, ()), *filter(None, [route.scope]))) as client:
        answer = await client.request(route.method, prepared(world, route), json=NEEDED.get(name))
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("name", ROUTES)
async def test_without_a_token_nothing_is_told(world: World, name: str) -> None:
    async with world.client("") as nobody:
        answer = await nobody.request(ROUTES[name].method, prepared(world, ROUTES[name]))
        assert_envelope(answer, 401, "UNAUTHENTICATED", "AUTHENTICATION_REQUIRED")
        assert answer.headers["www-authenticate"] == "Bearer"
        garbage = await nobody.request(ROUTES[name].method, prepared(world, ROUTES[name]), headers={"Authorization": "Bearer nonsense"})
        assert_envelope(garbage, 401, "UNAUTHENTICATED", "INVALID_CREDENTIALS")


@pytest.mark.parametrize("name", [name for name, route in ROUTES.items() if route.scope])
async def test_with_every_other_scope_a_route_is_forbidden(world: World, name: str) -> None:
    route = ROUTES[name]
    async with world.client(world.tokens.issue(world.account, *(ALL_SCOPES - {route.scope, "admin"}))) as client:
        answer = await client.request(route.method, prepared(world, route), json=NEEDED.get(name))
    error = assert_envelope(answer, 403, "PERMISSION_DENIED", "PERMISSION_DENIED")
    assert route.scope in error["message"]


@pytest.mark.parametrize("name", WITH_ID)
async def test_another_account_is_forbidden(world: World, client: httpx2.AsyncClient, name: str) -> None:
    answer = await client.request(ROUTES[name].method, prepared(world, ROUTES[name], world.other_account), json=NEEDED.get(name))
    assert_envelope(answer, 403, "PERMISSION_DENIED", "PERMISSION_DENIED")


@pytest.mark.parametrize("name", WITH_ID)
async def test_an_id_that_is_none_is_refused(client: httpx2.AsyncClient, name: str) -> None:
    for bad in ("x", "123", "%00", "%ff%fe", "%F0%9F%93%9E", "{id}", UNKNOWN.replace("-", ""), UNKNOWN + "x", "%20", "a" * 5000):
        answer = await client.request(ROUTES[name].method, PREFIX + ROUTES[name].path.replace("{id}", bad))
        assert_envelope(answer, 400, "INVALID_ARGUMENT", "INVALID_ID")


@pytest.mark.parametrize("name", WITH_ID)
async def test_an_unknown_id_is_not_found(client: httpx2.AsyncClient, name: str) -> None:
    answer = await client.request(
        ROUTES[name].method, PREFIX + ROUTES[name].path.replace("{id}", UNKNOWN.upper()), json=NEEDED.get(name)
    )
    kind = "EXPORT" if "/exports/" in name else name.partition("/")[2].partition("/")[0].replace("ies", "ys").removesuffix("s").upper()
    kind = {"RECORDINGFILE": "RECORDING", "STORAGE_FILE": "FILE"}.get(kind, kind)
    assert_envelope(answer, 404, "NOT_FOUND", f"{kind}_NOT_FOUND")


NO_OBJECTS = (
    b"{", b"[]", b"1", b'"wav"', b"null", b"\xff\xfe", b"{'a': 1}", b'{"a": NaN}', b'{"a": Infinity}', b"[" * 100_000, b'{"a":' * 50_000,
    b'{"mode": 1, "format": 1, "name": 1, "flow_id": 1, "direction": 1, "text": 1, "permission": "x", "password": 1, "note": 1,'
    b' "reason": 1, "retention_days": "x"}',
    b'{"mode": [], "format": {}, "name": [], "flow_id": [], "direction": {}, "text": [], "permission": [], "password": [], "note": {},'
    b' "reason": [], "retention_days": []}',
    b'{"a": "\\ud800"}', b'{"a": ' + b"9" * 5000 + b"}", b"\x00",
)  # fmt: skip
NOTHING_KNOWN = (b"", b"  \r\n", b"{}", b'{"mode": null, "format": null, "unknown": [1]}', b'\xef\xbb\xbf{"x": 1}')


@pytest.mark.parametrize("name", WITH_BODY)
async def test_a_body_that_is_no_json_object_is_refused(world: World, client: httpx2.AsyncClient, name: str) -> None:
    path = prepared(world, ROUTES[name])
    for body in NO_OBJECTS:
        answer = await client.request(ROUTES[name].method, path, content=body)
        assert_envelope(answer, 400, "INVALID_ARGUMENT", "INVALID_JSON_BODY")
    assert not world.service.specs


@pytest.mark.parametrize("name", [name for name in WITH_BODY if name not in NEEDED])
async def test_a_body_without_anything_known_means_the_defaults(world: World, client: httpx2.AsyncClient, name: str) -> None:
    for body in NOTHING_KNOWN:
        path = prepared(world, ROUTES[name])
        answer = await client.request(ROUTES[name].method, path, content=body, headers={"Content-Type": "text/x-odd"})
        assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("name", WITH_BODY)
async def test_a_body_over_the_limit_is_refused_whether_or_not_it_says_its_length(world: World, name: str) -> None:
    async def pieces() -> Any:
        for _ in range(MAX_BODY // 50_000 + 1):
            yield b" " * 50_000

    async with asking(world, name) as client:
        for content in (b" " * (MAX_BODY + 1), pieces()):
            answer = await client.request(ROUTES[name].method, prepared(world, ROUTES[name]), content=content)
            assert_envelope(answer, 413, "INVALID_ARGUMENT", "BODY_TOO_LARGE")
        least = json.dumps(NEEDED.get(name, {})).encode()
        fits = await client.request(ROUTES[name].method, prepared(world, ROUTES[name]), content=least + b" " * (MAX_BODY - len(least)))
        assert fits.status_code == 200


NO_PAGING = (
    "page_size=abc", "page_size=1.5", "page_size=1e2", "page_size=%C2%B2", "page_token=yesterday", "page_token=1768469402",
    "page_token=2026-02-31T00:00:00Z", "page_token=2026-01-15T25:00:00Z", "page_token=0001-01-01T00:00:00%2B99:99",
    "page_token=2026-01-15T09:30:00.Z", "page_token=%00", "page_token=" + "9" * 5000,
)  # fmt: skip


@pytest.mark.parametrize("name", LISTS)
async def test_paging_that_is_none_is_refused(world: World, client: httpx2.AsyncClient, name: str) -> None:
    path = prepared(world, ROUTES[name])
    for query in NO_PAGING:
        answer = await client.get(f"{path}?{query}")
        assert_envelope(answer, 400, "INVALID_ARGUMENT", "INVALID_REQUEST_PARAMETER")


@pytest.mark.parametrize("name", [name for name in ROUTES if name.startswith("GET")])
async def test_every_get_answers_head(world: World, client: httpx2.AsyncClient, name: str) -> None:
    path = prepared(world, ROUTES[name])
    assert (await client.head(path)).status_code == 200
    async with world.client("") as nobody:
        assert (await nobody.head(path)).status_code == 401


@pytest.mark.parametrize("name", ROUTES)
async def test_another_method_is_a_route_that_is_not_there(world: World, client: httpx2.AsyncClient, name: str) -> None:
    path = prepared(world, ROUTES[name])
    known = {route.method for route in ROUTES.values() if re.fullmatch(route.path.replace("{id}", "[^/]+"), ROUTES[name].path)}
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"} - known:
        answer = await client.request(method, path)
        assert_envelope(answer, 404, "NOT_FOUND", "ROUTE_NOT_FOUND")
        assert "allow" not in answer.headers


@pytest.mark.parametrize("path", ["/nowhere", "/v1.0", "/v1.0/", "/v1.0/calls/", "//", "/v1.0/calls/a/b/c", "/v1.0/calls/export", "/%00"])
async def test_an_unknown_path_is_a_route_that_is_not_there(client: httpx2.AsyncClient, path: str) -> None:
    answer = await client.request("POST", path)
    assert_envelope(answer, 404, "NOT_FOUND", "ROUTE_NOT_FOUND")


@pytest.mark.parametrize("name", ROUTES)
async def test_a_defect_of_ours_is_told_without_anything_of_it(world: World, name: str) -> None:
    path = prepared(world, ROUTES[name])
    for defect in (RuntimeError("secret detail"), ProtocolError("secret detail"), KeyError("secret detail")):
        world.service.broken = defect
        async with asking(world, name) as client:
            answer = await client.request(ROUTES[name].method, path, json=NEEDED.get(name), headers={"Origin": "https://page.example"})
        assert_envelope(answer, 500, "INTERNAL", "INTERNAL")
        assert "secret detail" not in answer.text
        assert answer.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("name", ROUTES)
async def test_what_may_work_later_is_a_503_with_retry_after(world: World, name: str) -> None:
    path = prepared(world, ROUTES[name])
    for error in (Unavailable("database away", reason="DATABASE_UNAVAILABLE"), Exhausted("none", reason="NO_PORTS")):
        world.service.broken = error
        async with asking(world, name) as client:
            answer = await client.request(ROUTES[name].method, path, json=NEEDED.get(name))
        assert_envelope(answer, 503, "UNAVAILABLE", error.reason)
        assert int(answer.headers["retry-after"]) > 0


async def test_routes_of_others_in_the_same_application_are_answered_in_the_same_form() -> None:
    async def probe(number: int) -> None:
        raise HTTPException(409 if number else 410, "not now")

    world = World()  # a route more is not for the other tests
    world.app.add_api_route("/probe", probe)
    async with world.client() as client:
        error = assert_envelope(await client.get("/probe?number=x"), 400, "INVALID_ARGUMENT", "INVALID_REQUEST_PARAMETER")
        assert "number" in error["details"][0]["description"]
        assert_envelope(await client.get("/probe?number=1"), 409, "FAILED_PRECONDITION", "FAILED_PRECONDITION")
        assert_envelope(await client.get("/probe?number=0"), 410, "INVALID_ARGUMENT", "INVALID_ARGUMENT")


async def test_a_client_that_leaves_while_it_sends_is_no_defect(world: World, client: httpx2.AsyncClient) -> None:
    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        raise AssertionError("nobody is there to be answered")

    path = prepared(world, ROUTES["POST /calls/{id}/recording_start"])
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http", "path": path,
        "raw_path": path.encode(), "query_string": f"token={world.secret}".encode(), "root_path": "", "headers": [], "server": ("t", 80),
    }  # fmt: skip
    with structlog.testing.capture_logs() as lines:
        await world.app(scope, receive, send)
    assert [(line["event"], line["status"]) for line in lines] == [("request", 499)]


async def test_the_application_starts_and_stops_with_its_server(world: World) -> None:
    events = ["lifespan.shutdown", "lifespan.startup"]
    sent: list[str] = []

    async def receive() -> Message:
        return {"type": events.pop()}

    async def send(message: Message) -> None:
        sent.append(message["type"])

    await world.app({"type": "lifespan", "asgi": {"version": "3.0"}}, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
