"""VoIPBIN's webhooks as their receiver sees them: a real server, a real call, a real HTTP server at the other end.

Each test stands for the line of the platform's checklist that it names. The call and its events are made once, for all of them.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import sqlite3
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from tapeline.calls.phone import Phone, PhoneConfig, resolve
from tapeline.testing import decode
from tapeline.testing.process import until
from tapeline.testing.receiver import Received, Receiver
from tapeline.testing.server import Server

HOOK, OWN = "/hook", "/crm"
RECORDED = {
    "actions": [
        {"type": "answer"},
        {"type": "recording_start"},
        {"type": "sleep", "option": {"duration": 1000}},
        {"type": "recording_stop"},
        {"type": "sleep", "option": {"duration": 60000}},
    ]
}
SHORT = {
    "module": "answer",
    "data": {},
    "children": {
        "_": {
            "module": "record_call",
            "data": {"action": "start", "record_min_sec": 60},
            "children": {"_": {"module": "sleep", "data": {"duration": 30}, "children": {}}},
        }
    },
}
WAITING = {"actions": [{"type": "answer"}, {"type": "sleep", "option": {"duration": 60000}}]}


@dataclass
class World:
    server: Server
    receiver: Receiver
    secret: str

    def events(self, path: str = HOOK, subject: str = "") -> list[Mapping[str, Any]]:
        found = [json.loads(request.body) for request in self.receiver.received(path)]
        return [event for event in found if not subject or event["data"]["id"] == subject]

    def kinds(self, subject: str) -> list[str]:
        return [event["type"] for event in self.events(subject=subject)]

    def event(self, kind: str, subject: str = "", timeout_s: float = 30.0) -> Mapping[str, Any]:
        """The first of that kind, of one thing or of any, once it has come."""

        def found() -> Any:
            return next((event for event in self.events(subject=subject) if event["type"] == kind), None)

        return until(found, f"the webhook {kind}", timeout_s)

    def query(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(f"file:{self.server.data / 'tapeline.sqlite'}?mode=ro", uri=True)
        try:
            return connection.execute(statement, values).fetchall()
        finally:
            connection.close()


def set_hook(server: Server, uri: str, method: str = "POST") -> Mapping[str, Any]:
    body = {"webhook_uri": uri, "webhook_method": method}
    told: Mapping[str, Any] = server.api.request("PUT", "/v1.0/customer", body).ok().json()
    return told


async def talk(server: Server, number: str, seconds: float, *, record: Mapping[str, Any] | None = None) -> None:
    """A call of a phone that speaks for so long, and hangs up. `record`: it is recorded over REST, with these wishes."""
    phone = Phone(PhoneConfig(user="caller"))
    await phone.start()
    try:
        placed = phone.call(await resolve(server.uri(number)))
        await placed.answered()
        if record is not None:
            await asyncio.to_thread(start_recording, server, placed.session.call_id, record)
        wave = np.sin(2 * np.pi * 500 * np.arange(round(seconds * placed.rate)) / placed.rate)
        await placed.play((8000 * wave).astype(np.int16))
        placed.hang_up()
        await asyncio.wait_for(placed.over(), 60)
    finally:
        await phone.stop()


def start_recording(server: Server, sip_call_id: str, body: Mapping[str, Any]) -> None:
    def found() -> Any:
        rows = [row for row in server.api.calls() if row["tapeline"]["sip_call_id"] == sip_call_id]
        return rows[0]["id"] if rows and rows[0]["status"] == "progressing" else None

    server.api.post(f"/v1.0/calls/{until(found, 'the call to be up', 20.0)}/recording_start", body).ok()


@dataclass
class Story:
    """What a receiver got while a call was made, recorded and deleted, a recording failed, and a conference lived."""

    requests: list[Received]
    call: str
    room: str
    failed: str
    secret: str
    shown: Mapping[str, Any]  # the recording over REST when `recording_finished` had come
    audio: bytes  # and its file

    def events(self, subject: str) -> list[Mapping[str, Any]]:
        events = [json.loads(request.body) for request in self.requests]
        return [event for event in events if event["data"]["id"] == subject]

    def kinds(self, subject: str) -> list[str]:
        return [event["type"] for event in self.events(subject)]

    def first(self, kind: str, subject: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = next(event["data"] for event in self.events(subject) if event["type"] == kind)
        return found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server"), {"recorded": RECORDED, "short": SHORT}) as running:
        yield running


@pytest.fixture(scope="module")
def story(server: Server) -> Story:
    with Receiver() as receiver:
        world = World(server, receiver, set_hook(server, receiver.url + HOOK)["webhook_secret"])
        asyncio.run(talk(server, "recorded", 2.0))
        finished = world.event("recording_finished")["data"]
        shown, audio = server.api.recording(finished["id"]), server.api.file(finished["id"])
        call = finished["reference_id"]
        world.event("call_hangup", call)
        asyncio.run(talk(server, "short", 1.0))
        failed = world.event("recording_failed")["data"]["id"]
        room = make_room(world)
        server.api.request("PUT", f"/v1.0/conferences/{room}", {"name": "another"}).ok()
        for path in (f"conferences/{room}", f"calls/{call}", f"recordings/{finished['id']}"):
            server.api.request("DELETE", f"/v1.0/{path}").ok()
        for kind, subject in (("conference_deleted", room), ("call_deleted", call), ("recording_deleted", finished["id"])):
            world.event(kind, subject)
        run = world.event("call_hangup", call)["data"]["activeflow_id"]
        until(lambda: [each for each in world.events(subject=run) if each["data"]["status"] == "ended"], "the run to end", 20.0)
        set_hook(server, "")
        return Story(receiver.received(HOOK), call, room, failed, world.secret, shown, audio)


def test_47_started_and_finished_carry_the_recording(story: Story) -> None:
    recording = story.shown["id"]
    started, finished = story.first("recording_started", recording), story.first("recording_finished", recording)
    assert (started["status"], finished["status"]) == ("recording", "available")
    assert started["reference_type"] == "call" and started["reference_id"] == finished["reference_id"] == story.call
    assert started["tm_start"] and "tm_end" not in started and finished["tm_end"] > finished["tm_start"]
    assert story.kinds(recording) == ["recording_started", "recording_finished", "recording_deleted"]


def test_48_finished_means_that_the_file_can_be_had(story: Story) -> None:
    assert story.first("recording_finished", story.shown["id"]) == story.shown
    assert abs(decode(story.audio).seconds - 1.0) < 0.5


def test_49_a_recording_that_failed_is_told_of(server: Server, story: Story) -> None:
    failed = story.first("recording_failed", story.failed)
    assert failed["status"] == "failed" and failed["tapeline"]["reason"] == "too_short"
    assert server.api.get(f"/v1.0/recordings/{story.failed}/file").status == 404
    assert "recording_finished" not in story.kinds(story.failed)


def test_51_the_envelope_is_type_and_data_and_nothing_else(story: Story) -> None:
    for request in story.requests:
        event = json.loads(request.body)
        assert set(event) == {"type", "data"} and event["data"]["customer_id"]
        assert (request.method, request.headers["content-type"]) == ("POST", "application/json")


def signed(request: Received, secret: str) -> bool:
    return request.headers["x-voipbin-signature"] == "sha256=" + hmac.new(secret.encode(), request.body, hashlib.sha256).hexdigest()


def test_52_the_signature_is_an_hmac_of_the_body(story: Story) -> None:
    assert len(story.secret) == 32 and all(signed(request, story.secret) for request in story.requests)


def test_53_three_tries_a_second_apart_and_400_is_final(server: Server) -> None:
    def row(kind: str) -> tuple[Any, ...]:
        """State, tries and last status of what was sent of the conference, once that is over."""
        query = "SELECT state, tries, status FROM deliveries WHERE ref = ? AND body LIKE ? AND state != 'waiting'"
        found = until(lambda: world.query(query, room, f'%"type":"{kind}"%'), f"{kind} to be sent or given up", 30.0)
        assert len(found) == 1
        return found[0]

    with Receiver() as receiver:
        world = World(server, receiver, set_hook(server, receiver.url + HOOK)["webhook_secret"])
        receiver.fail(HOOK, 503, "close", 500)
        room = make_room(world)
        assert row("conference_created") == ("failed", 3, 500)
        tries = receiver.received(HOOK)
        assert len({request.body for request in tries}) == 1 and len(tries) == 3
        assert all(later.at - earlier.at > 0.9 for earlier, later in zip(tries, tries[1:], strict=False))
        receiver.fail(HOOK, 404)
        server.api.request("PUT", f"/v1.0/conferences/{room}", {"name": "another"}).ok()
        assert row("conference_updated") == ("delivered", 1, 404)
        set_hook(server, "")
        server.api.request("DELETE", f"/v1.0/conferences/{room}").ok()


def make_room(world: World) -> str:
    room = str(uuid.uuid4())
    world.server.api.post("/v1.0/conferences", {"id": room, "name": "x"}).ok()
    return room


def test_54_calls_conferences_and_runs_tell_of_themselves_by_the_platforms_names(story: Story) -> None:
    kinds = story.kinds(story.call)
    assert {"call_created", "call_ringing", "call_progressing", "call_updated", "call_hangup", "call_deleted"} <= set(kinds)
    last = story.first("call_hangup", story.call)
    assert (last["status"], last["recording_id"], last["recording_ids"]) == ("hangup", str(uuid.UUID(int=0)), [story.shown["id"]])
    run = last["activeflow_id"]
    ended = [event for event in story.events(run) if event["data"]["status"] == "ended"]
    assert story.kinds(run).count("activeflow_created") == 1 and {event["type"] for event in ended} == {"activeflow_updated"}
    done = [action["type"] for action in ended[0]["data"]["executed_actions"]]
    assert done == [action["type"] for action in RECORDED["actions"]]
    assert {"conference_created", "conference_updated", "conference_deleted"} == set(story.kinds(story.room))
    assert story.first("call_deleted", story.call)["tm_delete"] and story.first("recording_deleted", story.shown["id"])["tm_delete"]


def test_a_run_that_brings_an_address_along_is_told_of_there_as_well(server: Server) -> None:
    with Receiver() as receiver:
        world = World(server, receiver, set_hook(server, receiver.url + HOOK)["webhook_secret"])
        actions = [{"type": "variable_set", "option": {"key": "a", "value": "b"}}, {"type": "sleep", "option": {"duration": 100}}]
        body = {"actions": actions, "webhook_uri": receiver.url + OWN, "webhook_method": "PUT"}
        run = server.api.post("/v1.0/activeflows", body).ok().json()["id"]

        def ended(path: str) -> bool:
            return any(event["data"]["status"] == "ended" for event in world.events(path, run))

        until(lambda: ended(OWN) and ended(HOOK), "the run to end, and both to know", 30.0)
        set_hook(server, "")
        assert sorted(event["type"] for event in world.events(OWN, run)) == sorted(event["type"] for event in world.events(HOOK, run))
        assert all(request.method == "PUT" and signed(request, world.secret) for request in receiver.received(OWN))


def test_a_websocket_is_told_what_webhooks_are_told(server: Server) -> None:
    account = server.api.get("/v1.0/customer").ok().json()["id"]
    address = f"{server.base_url.replace('http', 'ws', 1)}/v1.0/ws?token="
    order = {"type": "subscribe", "topics": [f"customer_id:{account}:conference:*"]}
    with connect(address + server.token) as socket:
        socket.send(json.dumps(order))

        def told() -> Any:
            room = server.api.post("/v1.0/conferences", {"name": "told of"}).ok().json()
            with suppress(TimeoutError):  # nobody says from when on it is subscribed
                return room, json.loads(socket.recv(timeout=1.0))

        room, event = until(told, "an event", 30.0)
        assert event["type"] == "conference_created" and event["data"]["customer_id"] == account
        assert set(event) == {"type", "data"} and set(event["data"]) == set(room)
    with pytest.raises(InvalidStatus) as refused:
        connect(address + "nonsense")
    assert refused.value.response.status_code == 401
    assert json.loads(refused.value.response.body or b"")["error"]["reason"] == "INVALID_CREDENTIALS"
    for said, code in ((json.dumps(order | {"topics": ["customer_id:*"]}), 1008), ("x" * 70_000, 1009)):
        with connect(address + server.token) as socket, pytest.raises(ConnectionClosed) as closed:
            socket.send(said)
            socket.recv(timeout=30.0)
        assert closed.value.rcvd is not None and closed.value.rcvd.code == code
    output = server.child.output()
    assert output.count(server.token) == 1  # where the first start shows it
    assert "a websocket of events is open" in output and "without completing handshake" not in output


def test_killed_between_the_row_and_the_webhook_it_is_sent_after_the_restart(tmp_path: Path) -> None:
    with Receiver() as receiver:
        with Server(tmp_path / "first", {"waiting": WAITING}, environment={"TAPELINE_FAULT": "kill:webhook"}) as server:
            world = World(server, receiver, set_hook(server, receiver.url + HOOK)["webhook_secret"])
            done = {"type": "webhook_send", "option": {"uri": receiver.url + OWN, "method": "POST", "data": "${voipbin.recording.id}"}}
            flow = server.api.post("/v1.0/flows", {"name": "after", "actions": [done]}).ok().json()["id"]
            with suppress(Exception):  # the server may be gone before the phone has said that it is
                asyncio.run(talk(server, "waiting", 2.0, record={"duration": 1, "on_end_flow_id": flow}))
            server.child.wait(60)
            assert [kind for (kind,) in world.query("SELECT kind FROM outbox")] == ["recording_finished"]
            assert "recording_finished" not in [event["type"] for event in world.events()]
        with Server(tmp_path / "second", data=server.data) as server:
            world = World(server, receiver, world.secret)
            finished = world.event("recording_finished", timeout_s=60.0)["data"]
            assert decode(server.api.file(finished["id"])).seconds > 0.5
            (told,) = receiver.wait_for(OWN, 1, 30.0)
            assert told.body.decode() == finished["id"]
            until(lambda: not world.query("SELECT id FROM outbox"), "the outbox to be empty", 30.0)
        assert [event["type"] for event in world.events()].count("recording_finished") == 1
        assert len(receiver.received(OWN)) == 1
