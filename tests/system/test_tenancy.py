"""No tenant sees, hears, changes, deletes or learns anything of another's: every route of the server with every kind of token.

The routes come from the server's own description, so none can be forgotten: one that is new must stand the test as it is, or have here the
body that it cannot do without. The server is a real one, with real rows, files, a live call and a live recording.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tapeline.api.kazoo.auth import USER_SCOPES
from tapeline.api.sessions import Sessions
from tapeline.core.clock import SystemClock
from tapeline.core.ids import ZERO_ID, new_id
from tapeline.core.principal import ALL_SCOPES, ROLES, Principal
from tapeline.store import AgentRow, Application, CallRow, Database, FlowRow, RecordingRow, object_key
from tapeline.testing.api import Answer, Api
from tapeline.testing.process import Child, until
from tapeline.testing.server import Server

MARK = "marked-as-ours"  # in every text of the tenant that is spied upon
FLOW = {
    "actions": [
        {"type": "answer"},
        {"type": "recording_start", "option": {"label": MARK}},
        {"type": "sleep", "option": {"duration": 600_000}},
    ]
}
PUBLIC = {"/ping", "/healthz", "/readyz", "/metrics", "/docs", "/auth/login", "/v2/api_auth", "/v2/user_auth"}
NEEDED: dict[str, Any] = {  # what a route cannot do without
    "POST /v1.0/calls": {"destinations": [{"type": "sip", "target": "sip:x@192.0.2.1"}], "actions": []},
    "POST /v1.0/calls/{id}/talk": {"text": "Hello"},
    "POST /v1.0/calls/{id}/transfer": {"destination": "sip:x@192.0.2.1"},
    "POST /v1.0/agents": {"username": "somebody", "password": "long enough", "permission": 16},
    "PUT /v1.0/agents/{id}/permission": {"permission": 16},
    "PUT /v1.0/agents/{id}/password": {"password": "long enough"},
    "POST /v1.0/activeflows": {"actions": []},
    "PUT /v1/calls/{uuid}": {"action": "hangup"},
    "PUT /v1/calls/{uuid}/talk": {"text": "Hello"},
    "PUT /v1/calls/{uuid}/stream": {"stream_url": ["https://example.com/sound.mp3"]},
    "PUT /v1/calls/{uuid}/dtmf": {"digits": "1"},
    "PUT /v1/calls/{uuid}/input/dtmf": {"event_url": ["https://example.com/events"]},
}
LIGHT = "scrypt$2$1$1$c2FsdA==$" + "A" * 86 + "=="  # never compared here


@dataclass
class Tenant:
    """One tenant's things by the beginning of the path at which they are had, and its tokens by their kind."""

    account: str
    things: dict[str, str]
    tokens: dict[str, str]
    revoked: str = ""
    expired: str = ""


@dataclass
class World:
    server: Server
    description: dict[str, Any]
    ours: Tenant
    theirs: Tenant
    forged: str

    def routes(self) -> list[tuple[str, str, str]]:
        """(method, path, scope) of everything that is served."""
        found = []
        for path, methods in self.description["paths"].items():
            for method, operation in methods.items():
                scope = operation.get("x-scope", "")
                found += [(verb, path, scope) for verb in (("GET", "HEAD") if method == "get" else (method.upper(),))]
        return sorted(found)

    def filled(self, path: str) -> str:
        """The path of one of our things."""
        kazoo = path.startswith("/v2/")
        found = self.ours.things[max((key for key in self.ours.things if path.startswith(key)), key=len, default="")]
        for part in [part for part in path.split("/") if part.startswith("{")]:
            account = self.ours.account.replace("-", "") if kazoo else self.ours.account
            path = path.replace(part, account if part == "{account}" else found)
        return path

    def ask(self, method: str, path: str, token: str = "", headers: Mapping[str, str] | None = None) -> Answer:
        body = NEEDED.get(f"{method} {path}", {"data": {}} if path.startswith("/v2/") else {})
        client = Api(*self.server.http, token, timeout_s=60)
        sent = {"X-Request-Id": "the-same"} | dict(headers or {})
        return client.request(method, self.filled(path), None if method in ("GET", "HEAD") else body, sent)


async def tenant(rows: Database, objects: Path, sessions: Sessions, name: str, mark: str) -> Tenant:
    account = (await rows.accounts.ensure(name)).id
    now = SystemClock().wall()
    caller = {"kind": "tel", "target": mark, "name": mark}
    call = CallRow(new_id(), account, "incoming", "hangup", now - 90, source=caller, hungup=now - 60)
    await rows.calls.upsert(call)
    recording_id = new_id()
    key = object_key(account, recording_id, "wav")
    audio = b"RIFF" + mark.encode() * 100
    (objects / key).parent.mkdir(parents=True)
    (objects / key).write_bytes(audio)
    await rows.recordings.upsert(
        RecordingRow(
            recording_id, account, "available", now - 80, call_id=call.id, object_key=key, size=len(audio), label=mark,
            sha256=hashlib.sha256(audio).hexdigest(), content_type="audio/wav", ended=now - 60, started=now - 79, source=mark,
        )
    )  # fmt: skip
    flow = FlowRow(new_id(), account, mark, json.dumps({"name": mark, "actions": []}), "voipbin", now)
    callflow = FlowRow(new_id(), account, mark, json.dumps({"numbers": ["4711"], "name": mark, "flow": {"module": "answer"}}), "kazoo", now)
    await rows.flows.put(flow)
    await rows.flows.put(callflow)
    token, secret = await rows.tokens.add(account, mark, ALL_SCOPES - {"admin"})
    _, narrow = await rows.tokens.add(account, "narrow", ["calls:read"])
    revoked, worthless = await rows.tokens.add(account, "revoked", ALL_SCOPES - {"admin"})
    await rows.tokens.revoke(revoked.id)
    _, expired = await rows.tokens.add(account, "expired", ALL_SCOPES - {"admin"}, expires=now - 1)
    tokens = {"key": secret, "narrow key": narrow}
    agent = AgentRow("", account, "", mark, "", LIGHT, now)
    for role in ROLES:
        agent = AgentRow(new_id(), account, f"{name}-{role}", mark, role, LIGHT, now)
        await rows.agents.add(agent)
        tokens[f"session of {role}"] = sessions.issue_agent(agent.id, LIGHT)
    tokens["KAZOO session"] = sessions.issue(Principal(account, USER_SCOPES, "user"))
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = private.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
    application = Application(new_id(), account, mark, now, public)
    await rows.applications.put(application)
    tokens["application"] = jwt.encode({"application_id": application.id, "iat": int(now), "jti": new_id()}, private, algorithm="RS256")
    things = {
        "": recording_id, "/v1.0/calls": call.id, "/v1.0/flows": flow.id, "/v1.0/accesskeys": token.id, "/v1.0/agents": agent.id,
        "/v2/accounts/{account}/callflows": callflow.id, "/v2/applications": application.id,
    }  # fmt: skip
    return Tenant(account, things, tokens, worthless, expired)


def live(server: Server, tenant: Tenant) -> None:
    """Make what only a running server has."""
    api = Api(*server.http, tenant.tokens["key"])
    tenant.things["/v1.0/conferences"] = api.post("/v1.0/conferences", {"name": MARK, "detail": MARK}).ok().json()["id"]

    def recorded() -> Any:
        calls = [call for call in api.calls() if call["status"] == "progressing" and call["recording_id"] != ZERO_ID]
        found = api.get(f"/v1.0/recordings/{calls[0]['recording_id']}").json() if calls else {}
        return (calls[0]["id"], found["id"]) if found.get("status") == "recording" else None

    call_id, recording_id = until(recorded, "a live recording", 30)
    tenant.things["live recording"] = recording_id
    for path in ("hold", "mute", "hangup", "recording_start", "recording_stop", "transfer", "talk", "moh", "silence", "trace"):
        tenant.things[f"/v1.0/calls/{{id}}/{path}"] = call_id
    for path in ("pause", "resume", "mask", "unmask"):
        tenant.things[f"/v1.0/recordings/{{id}}/{path}"] = recording_id


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("tenancy")
    with Server(folder, {"1000": FLOW}, {"server": {"sip_trace": True}}) as server:
        sessions = Sessions((server.data / "session-key").read_text(), SystemClock())

        async def populate() -> tuple[Tenant, Tenant]:
            rows = Database(f"sqlite:///{server.data / 'tapeline.sqlite'}")
            await rows.open()
            objects = server.data / "objects"
            try:
                return await tenant(rows, objects, sessions, "default", MARK), await tenant(rows, objects, sessions, "theirs", "of-others")
            finally:
                await rows.close()

        ours, theirs = asyncio.run(populate())
        description = Api(*server.http).get("/openapi.json").ok().json()
        command = [sys.executable, "-m", "tapeline", "call", server.uri("1000"), "--say", "hello", "--seconds", "300"]
        caller = Child("caller", command, folder)
        caller.start()
        try:
            live(server, ours)
            forged = Sessions("a key that is not the server's, and long", SystemClock()).issue_agent(ours.things["/v1.0/agents"], LIGHT)
            yield World(server, description, ours, theirs, forged)
        finally:
            caller.end()


def everything(world: World) -> dict[str, Any]:
    """All that we see of our own, but what time alone changes."""
    found: dict[str, Any] = {}
    for method, path, _ in world.routes():
        if method == "GET" and path.startswith("/v1.0/") and not path.endswith(("/audit", "/trace", "/timeline")):
            answer = world.ask(method, path, world.ours.tokens["key"])
            found[path] = answer.status, answer.headers.get("etag", ""), answer.body
    return found


def leak(world: World, answer: Answer, asked: str) -> list[str]:
    told = answer.body.decode("utf-8", "replace") + str(answer.headers)
    secrets = {MARK, world.ours.account}
    if not asked.endswith("/audit"):  # where everybody finds what they asked for themselves
        secrets.update(world.ours.things.values())
    return [secret for secret in secrets if secret in told and secret not in asked]


def test_no_token_of_others_gets_at_anything_of_ours(world: World) -> None:
    before = everything(world)
    assert MARK in str(before)
    kinds = world.theirs.tokens | {
        "none": "", "garbage": "vb_" + "x" * 32, "revoked": world.ours.revoked, "expired": world.ours.expired, "forged": world.forged,
    }  # fmt: skip
    problems: list[str] = []

    def try_all(kind: str, token: str) -> None:
        for method, path, _ in world.routes():
            if method == "HEAD" and kind != "key":
                continue  # the same guard and the same endpoint as GET: once is enough
            answer = world.ask(method, path, token)
            name, valid = f"{kind}: {method} {path}: {answer.status}", kind in world.theirs.tokens
            if not (path in PUBLIC or (valid and "{" not in path)) and answer.status not in (401, 403, 404):
                problems.append(f"{name} {answer.body[:100]!r}")
            if not valid and path.startswith("/v1.0/") and answer.status != 401:
                problems.append(f"{name}, not 401")
            if answer.status >= 500:
                problems.append(f"{name} {answer.body[:100]!r}")
            if found := leak(world, answer, world.filled(path)):
                problems.append(f"{name} tells {found}")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(try_all, kinds, kinds.values()))
    assert not problems, "\n".join(problems)
    after = everything(world)
    assert [path for path in before if before[path] != after.get(path)] == []


def test_a_refusal_tells_nothing_of_the_state_of_what_is_refused(world: World) -> None:
    """Two of our recordings, one live and one stored, with and without a range: the same words."""
    token = world.theirs.tokens["key"]
    stored, running = world.ours.things[""], world.ours.things["live recording"]
    for method, path, _ in world.routes():
        if not path.startswith("/v1.0/recording") or path.count("{") != 1:
            continue
        told = set()
        for thing in (stored, running):
            for headers in ({}, {"Range": "bytes=0-3"}, {"Range": "bytes=999999999-"}, {"If-None-Match": "*"}):
                answer = world.ask(method, path.replace("{id}", thing), token, headers)
                told.add((answer.status, answer.body, answer.headers.get("content-length")))
        assert len(told) == 1, (method, path, told)


@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_do_what_its_scopes_say_and_no_more(world: World, role: str) -> None:
    """Only what changes nothing is asked for; the rest is refused before anything of it is looked at."""
    problems = []
    for method, path, scope in world.routes():
        if not path.startswith("/v1.0/"):
            continue
        permitted = not scope or scope in ROLES[role]
        if permitted and method not in ("GET", "HEAD"):
            continue
        answer = world.ask(method, path, world.ours.tokens[f"session of {role}"])
        refused = answer.status == 403 and (method == "HEAD" or b"scope" in answer.body)
        if refused == permitted or answer.status in (401, 500):
            problems.append(f"{method} {path} ({scope}): {answer.status} {answer.body[:100]!r}")
    assert not problems, "\n".join(problems)


def test_the_server_s_administrator_sees_both(world: World) -> None:
    for thing in (world.ours.things[""], world.theirs.things[""]):
        assert world.ask("GET", f"/v1.0/recordings/{thing}/file", world.server.token).status == 200
