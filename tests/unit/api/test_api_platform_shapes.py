"""Our answers against the platform's own API description, where that stands beside the project."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import httpx2
import pytest
from api_world import World

from tapeline.api.voipbin.activeflow_shapes import activeflow
from tapeline.core.ids import is_id, new_id
from tapeline.store import ActiveflowRow

DESCRIPTION = Path(__file__).resolve().parents[4] / "shared/vectors/openapi/voipbin.json"
needs_description = pytest.mark.skipif(not DESCRIPTION.is_file(), reason=f"the platform's API description is missing: {DESCRIPTION}")

# What we answer on purpose although the description says otherwise, with the reason.
ALLOWED = {
    "status": {"starting", "available", "failed"},  # the seed's names of the states; failed is ours
    "format": {"mp3", "ogg"},  # ours
    "tm_execute": {None},  # the platform's code sends null here
}
OURS = {"tapeline"}
KINDS: dict[str, Any] = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool, "number": (int, float)}


@cache
def description() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(DESCRIPTION.read_text())
    return loaded


def problems(value: Any, schema: dict[str, Any], name: str = "") -> list[str]:
    """What of `value` does not fit `schema` (the subset of JSON Schema that the description uses)."""
    while "$ref" in schema:
        found: Any = description()
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        schema = found
    if "allOf" in schema:
        known = {key for one in schema["allOf"] for key in flat(one)}
        elsewhere = {f"{name}.{key} is not described" for key in known}  # one part need not know the keys of another
        mismatches = {text for one in schema["allOf"] for text in problems(value, one, name)}
        return sorted(mismatches - elsewhere)
    if (value is None and schema.get("nullable")) or (isinstance(value, str | None) and value in ALLOWED.get(name.rpartition(".")[2], ())):
        return []
    if "type" in schema and not isinstance(value, KINDS[schema["type"]]):
        return [f"{name}: {value!r} is not of type {schema['type']}"]
    if "enum" in schema and value not in schema["enum"]:
        return [f"{name}: {value!r} is none of {schema['enum']}"]
    if schema.get("format") == "uuid" and not is_id(value):
        return [f"{name}: {value!r} is not a UUID"]
    if schema.get("format") == "date-time" and not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", value):
        return [f"{name}: {value!r} is not a time"]
    if isinstance(value, list):
        return [text for item in value for text in problems(item, schema["items"], name + "[]")]
    if isinstance(value, dict) and "properties" in schema:
        missing = [f"{name}.{key} is missing" for key in schema.get("required", []) if key not in value]
        unknown = [f"{name}.{key} is not described" for key in value if key not in schema["properties"] and key not in OURS]
        known = {key: one for key, one in schema["properties"].items() if key in value}
        return missing + unknown + [text for key, one in known.items() for text in problems(value[key], one, f"{name}.{key}")]
    return []


def flat(schema: dict[str, Any]) -> set[str]:
    if "$ref" in schema:
        return flat(description()["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    return set(schema.get("properties", {}))


def answer_schema(path: str, method: str, code: str = "200") -> dict[str, Any]:
    answer = description()["paths"][path][method]["responses"][code]
    if "$ref" in answer:
        answer = description()["components"]["responses"][answer["$ref"].rpartition("/")[2]]
    schema: dict[str, Any] = answer["content"]["application/json"]["schema"]
    return schema


@needs_description
def test_the_comparison_finds_what_does_not_fit() -> None:
    schema = answer_schema("/recordings", "get")
    assert problems({"result": [], "next_page_token": 7}, schema) == [".next_page_token: 7 is not of type string"]
    wrong = {"result": [{"id": "x", "status": "ended?", "tm_start": "2021-01-29 05:31:47", "surprise": 1}], "next_page_token": ""}
    assert len(problems(wrong, schema)) == 4


@needs_description
async def test_calls_fit(world: World, client: httpx2.AsyncClient) -> None:
    action = {"id": "6b7a7c1e-9a58-4f0e-8f0c-0d7a3c0b1a11", "type": "talk", "option": {"text": "hello"}}
    call_id = world.service.call(world.account, action=action, chained_call_ids=("6b7a7c1e-9a58-4f0e-8f0c-0d7a3c0b1a11",))
    path = f"/v1.0/calls/{call_id}"
    for ours, method, theirs in (
        (path, "get", "/calls/{id}"),
        ("/v1.0/calls", "get", "/calls"),
        (f"{path}/recording_start", "post", "/calls/{id}/recording_start"),
        (f"{path}/recording_stop", "post", "/calls/{id}/recording_stop"),
        (f"{path}/hangup", "post", "/calls/{id}/hangup"),
        (path, "delete", "/calls/{id}"),
    ):
        answer = await client.request(method.upper(), ours)
        assert answer.status_code == 200
        assert problems(answer.json(), answer_schema(theirs, method)) == [], f"{method} {ours}"


@needs_description
@pytest.mark.parametrize("state", ["starting", "recording", "stopping", "available", "failed"])
async def test_recordings_fit(world: World, client: httpx2.AsyncClient, state: str) -> None:
    recording_id = world.service.recording(world.account, state, reason="stopped")
    one = (await client.get(f"/v1.0/recordings/{recording_id}")).json()
    assert problems(one, answer_schema("/recordings/{id}", "get")) == []
    assert problems((await client.get("/v1.0/recordings")).json(), answer_schema("/recordings", "get")) == []
    if state in ("available", "failed"):
        world.service.audio.setdefault(recording_id, b"")
        gone = (await client.delete(f"/v1.0/recordings/{recording_id}")).json()
        assert problems(gone, answer_schema("/recordings/{id}", "delete")) == []


@needs_description
async def test_errors_fit(world: World, client: httpx2.AsyncClient) -> None:
    path = "/calls/{id}/recording_start"
    asked = {
        "400": "/v1.0/calls/x/recording_start",
        "403": f"/v1.0/calls/{world.service.call(world.other_account)}/recording_start",
        "404": "/v1.0/calls/6b7a7c1e-9a58-4f0e-8f0c-0d7a3c0b1a11/recording_start",
        "409": f"/v1.0/calls/{world.service.call(world.account, 'ringing')}/recording_start",
    }
    for code, ours in asked.items():
        answer = await client.post(ours)
        assert str(answer.status_code) == code
        assert problems(answer.json(), answer_schema(path, "post", code)) == []


@needs_description
async def test_the_customer_fits(world: World, client: httpx2.AsyncClient) -> None:
    body = {"webhook_uri": "https://hooks.example", "webhook_method": "POST", "email": "me@example.com"}
    for answer in (await client.put("/v1.0/customer", json=body), await client.get("/v1.0/customer")):
        come = {name: value for name, value in answer.json().items() if value is not None}  # the platform's code sends null for times, too
        assert problems(come, answer_schema("/customer", "get")) == [".webhook_secret is not described"]  # which its code sends


@needs_description
@pytest.mark.parametrize("status", ["running", "ended"])
def test_runs_of_flows_fit_as_events_show_them(status: str) -> None:
    action = {"id": new_id(), "type": "talk", "option": {"text": "hello"}, "tm_execute": 1000.0}
    row = ActiveflowRow(
        new_id(), new_id(), status, 1000.0, new_id(), "call", new_id(), webhook_uri="https://a.example", webhook_method="POST",
        current_action=action, executed_actions=(action,), updated=1001.5,
    )  # fmt: skip
    come = {name: value for name, value in activeflow(row).items() if value is not None}
    assert problems(come, description()["components"]["schemas"]["FlowManagerActiveflow"]) == []
