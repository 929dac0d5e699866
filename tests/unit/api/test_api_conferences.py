"""Conferences over REST: bodies, shapes, states, and the platform's own description of them."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest
from api_world import World
from test_api_platform_shapes import answer_schema, needs_description, problems

from tapeline.api.voipbin.conference_bodies import LONGEST_DATA, conference_draft, conference_spec
from tapeline.calls.views import ConferenceDraft
from tapeline.core.errors import InvalidInput
from tapeline.core.ids import ZERO_ID, new_id
from tapeline.core.recordspec import RecordSpec

FLOW = "6b7a7c1e-9a58-4f0e-8f0c-0d7a3c0b1a11"
NULL_TIMES = {"tm_end", "tm_create", "tm_update", "tm_delete"}  # the platform's code sends null where its description has a time


def misfits(value: Any, path: str, method: str) -> list[str]:
    found = problems(value, answer_schema(path, method))
    return [text for text in found if not (": None " in text and text.partition(":")[0].rpartition(".")[2] in NULL_TIMES)]


@pytest.mark.parametrize(
    ("body", "draft"),
    [
        ({}, ConferenceDraft()),
        ({"type": "conference", "id": "", "name": "a", "detail": "b", "timeout": 0, "data": {}, "pre_flow_id": "", "post_flow_id": ""},
         ConferenceDraft(kind="conference", name="a", detail="b", timeout=0, data={}, pre_flow_id="", post_flow_id="")),
        ({"id": FLOW.upper(), "timeout": "30", "pre_flow_id": FLOW.upper()}, ConferenceDraft(id=FLOW, timeout=30, pre_flow_id=FLOW)),
        ({"id": ZERO_ID, "pre_flow_id": ZERO_ID, "name": None}, ConferenceDraft(pre_flow_id="")),
        ({"tapeline": {"moderated": "true", "music": " default ", "max_members": 5, "join_tone": "tone:600/150"}},
         ConferenceDraft(options={"moderated": True, "music": "default", "max_members": 5, "join_tone": "tone:600/150"})),
    ],
)  # fmt: skip
def test_a_draft_is_what_the_body_says(body: dict[str, Any], draft: ConferenceDraft) -> None:
    assert conference_draft(body) == draft


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"type": "party"}, "type must be one of"),
        ({"id": "x"}, "id must be a UUID"),
        ({"pre_flow_id": "x"}, "pre_flow_id must be a UUID"),
        ({"timeout": -1}, "timeout must not be negative"),
        ({"timeout": 2**31}, "timeout must be a whole number"),
        ({"timeout": 1.5}, "timeout must be a whole number"),
        ({"data": [1]}, "data must be an object"),
        ({"data": {"x": "y" * LONGEST_DATA}}, "data must have at most"),
        ({"data": {"x": json.loads("[" * 40 + "]" * 40)}}, "data must not be nested"),
        ({"name": "x" * 1001}, "name must have at most"),
        ({"tapeline": "x"}, "tapeline must be an object"),
        ({"tapeline": {"moderated": "perhaps"}}, "moderated must be true or false"),
        ({"tapeline": {"music": "recording:" + FLOW}}, "music must be an address"),
        ({"tapeline": {"max_members": 1001}}, "max_members must be a whole number"),
    ],
)  # fmt: skip
def test_a_draft_that_is_wrong_says_why(body: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        conference_draft(body)


def test_all_problems_of_a_draft_are_told_at_once() -> None:
    with pytest.raises(InvalidInput) as caught:
        conference_draft({"id": "x", "timeout": -1, "tapeline": {"moderated": []}})
    assert len(caught.value.problems) == 3 and caught.value.reason == "INVALID_JSON_BODY"


@pytest.mark.parametrize(
    ("body", "spec"),
    [
        ({}, RecordSpec(heard="mix")),
        ({"format": "wav", "duration": 60, "on_end_flow_id": FLOW}, RecordSpec(heard="mix", max_s=60, on_end_flow_id=FLOW)),
        ({"end_of_silence": "nonsense", "end_of_key": "?"}, RecordSpec(heard="mix")),
        ({"split": True}, RecordSpec(heard="participants", channels=8)),
        ({"split": 1, "channels": 4, "rate": 16000}, RecordSpec(heard="participants", channels=4, rate=16000)),
    ],
)  # fmt: skip
def test_the_recording_of_a_conference_is_what_the_body_says(body: dict[str, Any], spec: RecordSpec) -> None:
    assert conference_spec(body) == spec


@pytest.mark.parametrize("body", [{"channels": 33}, {"channels": -1}, {"format": "flac"}, {"duration": "long"}, {"split": 7}])
def test_a_recording_that_is_wrong_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        conference_spec(body)


async def test_a_conference_is_made_changed_and_deleted(world: World, client: httpx2.AsyncClient) -> None:
    body = {"type": "conference", "name": "standup", "detail": "", "timeout": 3600, "data": {"a": 1}, "pre_flow_id": "", "post_flow_id": ""}
    made = (await client.post("/v1.0/conferences", json=body)).json()
    assert (made["status"], made["name"], made["timeout"], made["data"]) == ("progressing", "standup", 3600, {"a": 1})
    assert made["recording_id"] == made["pre_flow_id"] == ZERO_ID and made["tm_end"] is None and made["tm_delete"] is None
    assert "detail" not in made and "conferencecall_ids" not in made and "recording_ids" not in made
    path = f"/v1.0/conferences/{made['id']}"
    changed = (await client.put(path, json={"detail": "daily"})).json()
    assert (changed["name"], changed["detail"]) == ("standup", "daily")
    gone = (await client.delete(path)).json()
    assert gone["tm_delete"] and gone["tm_end"]
    for method in ("GET", "PUT", "DELETE"):
        answer = await client.request(method, path)
        assert (answer.status_code, answer.json()["error"]["reason"]) == (404, "RESOURCE_NOT_FOUND")


async def test_data_come_back_as_they_were_and_nesting_without_end_is_refused(client: httpx2.AsyncClient) -> None:
    data = {"a": [1, 2.5, None, True, {"b": "\u00fc"}], "deep": json.loads("[" * 30 + "]" * 30)}
    assert (await client.post("/v1.0/conferences", json={"data": data})).json()["data"] == data
    for depth in (33, 400, 900):
        answer = await client.post("/v1.0/conferences", content=b'{"data":{"x":' + b"[" * depth + b"]" * depth + b"}}")
        assert answer.status_code == 400


async def test_an_id_of_ones_own_is_taken_once(client: httpx2.AsyncClient) -> None:
    wanted = new_id()
    assert (await client.post("/v1.0/conferences", json={"id": wanted})).json()["id"] == wanted
    again = await client.post("/v1.0/conferences", json={"id": wanted})
    assert (again.status_code, again.json()["error"]["reason"]) == (409, "CONFERENCE_ALREADY_EXISTS")


async def test_one_recording_at_a_time_and_only_of_somebody(world: World, client: httpx2.AsyncClient) -> None:
    path = f"/v1.0/conferences/{world.service.conferences.conference(world.account)}"
    started = (await client.post(f"{path}/recording_start?token={world.secret}", content=b'{ "format": "wav" }')).json()
    assert started["recording_id"] == started["recording_ids"][-1] != ZERO_ID
    again = await client.post(f"{path}/recording_start", json={"format": "wav"})
    assert (again.status_code, again.json()["error"]["reason"]) == (409, "RECORDING_ALREADY_ACTIVE")
    stopped = (await client.post(f"{path}/recording_stop")).json()
    assert stopped["recording_id"] == ZERO_ID and stopped["recording_ids"] == started["recording_ids"]
    idle = await client.post(f"{path}/recording_stop")
    assert (idle.status_code, idle.json()["error"]["reason"]) == (409, "RECORDING_NOT_ACTIVE")
    empty = f"/v1.0/conferences/{world.service.conferences.conference(world.account, members=0)}"
    nobody = await client.post(f"{empty}/recording_start", json={"format": "wav"})
    assert (nobody.status_code, nobody.json()["error"]["reason"]) == (409, "STATE_INVALID")


async def test_a_call_in_a_conference_is_muted_deafened_and_put_out(world: World, client: httpx2.AsyncClient) -> None:
    conferences = world.service.conferences
    (stay,) = conferences.conferences[conferences.conference(world.account)].member_ids
    path = f"/v1.0/conferencecalls/{stay}"
    for method, kind, mute, deaf in (("POST", "mute", True, False), ("POST", "deaf", True, True), ("DELETE", "mute", False, True)):
        extra = (await client.request(method, f"{path}/{kind}")).json()["tapeline"]
        assert (extra["mute"], extra["deaf"]) == (mute, deaf)
    gone = (await client.delete(path)).json()
    assert (gone["status"], gone["tapeline"]["reason"]) == ("leaved", "kicked")
    assert (await client.post(f"{path}/mute")).status_code == 409


@needs_description
async def test_conferences_fit_the_platform(world: World, client: httpx2.AsyncClient) -> None:
    made = world.service.conferences.conference(world.account, name="x", data={"a": 1}, timeout=60, recording_ids=(FLOW,))
    path = f"/v1.0/conferences/{made}"
    stay = world.service.conferences.conferences[made].member_ids[0]
    for ours, method, theirs in (
        ("/v1.0/conferences", "get", "/conferences"),
        ("/v1.0/conferences", "post", "/conferences"),
        (path, "get", "/conferences/{id}"),
        (path, "put", "/conferences/{id}"),
        ("/v1.0/conferencecalls", "get", "/conferencecalls"),
        (f"/v1.0/conferencecalls/{stay}", "get", "/conferencecalls/{id}"),
        (f"/v1.0/conferencecalls/{stay}", "delete", "/conferencecalls/{id}"),
    ):
        answer = await client.request(method.upper(), ours)
        assert answer.status_code == 200
        assert misfits(answer.json(), theirs, method) == [], f"{method} {ours}"
