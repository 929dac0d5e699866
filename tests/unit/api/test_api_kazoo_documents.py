"""Documents of accounts, users and devices over KAZOO's face, their metaflows, and channels with what is done to them."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from kazoo_world import KazooWorld

from tapeline.api.kazoo.words import hex_id
from tapeline.core.settings import Settings, User

MASK = {"module": "record_call", "data": {"action": "mask"}}


@pytest.fixture
def world(house: KazooWorld) -> KazooWorld:
    return house


def rows(house: KazooWorld) -> dict[tuple[str, str], Any]:
    """What those who follow the documents were told."""
    found: dict[tuple[str, str], Any] = {}
    house.stored.follow(lambda changed: found.update({(row.kind, row.name): row.body for row in changed}))
    return found


# --- documents


@pytest.mark.parametrize(("path", "kind", "told"), [
    ("", "account", {"name": "default"}),
    ("/users/alice", "user", {"username": "alice"}),
])  # fmt: skip
async def test_a_document_is_there_from_the_start_and_takes_settings(
    house: KazooWorld, client: httpx2.AsyncClient, path: str, kind: str, told: dict[str, str]
) -> None:
    at = house.path(path)
    first = (await client.get(at)).json()["data"]
    assert {key: first[key] for key in told} == told
    setting = {"any": {"any": {"enabled": True, "format": "wav"}}}
    setting = {"account": setting} if kind == "account" else setting
    answer = await client.post(at, json={"data": {"call_recording": setting, "timezone": "UTC", "id": "x", "_read_only": {}}})
    assert answer.status_code == 200 and answer.json()["data"] == {**first, "call_recording": setting, "timezone": "UTC"}
    patched = await client.patch(at, json={"data": {"timezone": None, "language": "en"}})
    assert patched.json()["data"] == {**first, "call_recording": setting, "language": "en"} == (await client.get(at)).json()["data"]
    assert rows(house)[kind, house.account if kind == "account" else "alice"] == {"call_recording": setting, "language": "en"}


async def test_a_device_is_made_listed_changed_and_taken_away(house: KazooWorld, client: httpx2.AsyncClient) -> None:
    made = await client.put(house.path("/devices"), json={"data": {"name": "desk", "sip": {"username": "alice"}}})
    assert made.status_code == 201
    device = made.json()["data"]["id"]
    at = house.path(f"/devices/{device}")
    assert (await client.get(at)).json()["data"] == {"id": device, "name": "desk", "sip": {"username": "alice"}}
    assert (await client.get(house.path("/devices"))).json()["data"] == [{"id": device, "name": "desk"}]
    changed = await client.patch(at, json={"data": {"call_recording": {"inbound": {"onnet": {"enabled": "true"}}}}})
    assert changed.status_code == 200 and rows(house)["device", device]["call_recording"]["inbound"]
    assert (await client.delete(at)).json()["data"]["_read_only"] == {"deleted": True}
    assert (await client.get(at)).status_code == (await client.delete(at)).status_code == 404
    assert (await client.post(at, json={"data": {}})).status_code == 404


async def test_what_is_not_there_or_anothers_is_refused(house: KazooWorld, client: httpx2.AsyncClient) -> None:
    for path in ("/users/nobody", "/users/..%2f", "/devices/none", "/users/nobody/metaflows", "/devices/none/metaflows"):
        answer = await client.get(house.path(path))
        assert answer.status_code == 404, path
    assert (await client.get(house.path("", house.other_account))).status_code == 403
    assert (await client.post(house.path("/metaflows", house.other_account), json={"data": {}})).status_code == 403
    assert (await client.put(house.path("/users"), json={"data": {}})).status_code == 405
    listed = (await client.get(house.path("/users"))).json()["data"]
    assert listed == [{"id": "alice", "username": "alice"}]


@pytest.mark.parametrize(
    ("path", "document", "field", "rule"),
    [
        ("", {"call_recording": {"any": {}}}, "call_recording.any", "additionalProperties"),
        ("", {"call_recording": {"account": {"any": {"any": {"enabled": "maybe"}}}}}, "call_recording.account.any.any.enabled", "type"),
        ("/users/alice", {"call_recording": {"account": {}}}, "call_recording.account", "additionalProperties"),
        ("/users/alice", {"call_recording": {"any": {"any": {"method": "put"}}}}, "call_recording.any.any.method", "additionalProperties"),
        ("/users/alice", {"call_recording": {"any": {"any": {"time_limit": 4}}}}, "call_recording.any.any.time_limit", "minimum"),
        ("/users/alice", {"call_recording": {"any": {"any": {"url": "http://127.0.0.1/"}}}}, "call_recording.any.any.url", "invalid"),
        ("/users/alice", {"record_call": []}, "record_call", "type"),
        ("/users/alice", {"metaflows": {"numbers": {"x": MASK}}}, "metaflows.numbers.x", "additionalProperties"),
        ("/users/alice", {"metaflows": {"patterns": {"(": MASK}}}, "metaflows.patterns", "invalid"),
        ("/users/alice", {"metaflows": {"digit_timeout": -1}}, "metaflows.digit_timeout", "minimum"),
    ],
)
async def test_settings_that_break_the_schema_name_field_and_rule(
    house: KazooWorld, client: httpx2.AsyncClient, path: str, document: dict[str, Any], field: str, rule: str
) -> None:
    answer = await client.patch(house.path(path), json={"data": document})
    assert answer.status_code == 400 and rule in answer.json()["data"][field], answer.text
    assert rows(house) == {}


# --- metaflows


@pytest.mark.parametrize("path", ["", "/users/alice", "/devices/"])
async def test_metaflows_are_a_resource_of_account_user_and_device(house: KazooWorld, client: httpx2.AsyncClient, path: str) -> None:
    if path == "/devices/":
        path += (await client.put(house.path("/devices"), json={"data": {"name": "desk"}})).json()["data"]["id"]
    await client.patch(house.path(path), json={"data": {"language": "en"}})
    at = house.path(f"{path}/metaflows")
    assert (await client.get(at)).json()["data"] == {}
    document = {"binding_digit": "#", "numbers": {"2": MASK}}
    assert (await client.post(at, json={"data": document})).json()["data"] == document
    assert (await client.patch(at, json={"data": {"numbers": {"3": MASK}}})).json()["data"]["numbers"] == {"2": MASK, "3": MASK}
    assert (await client.get(house.path(path))).json()["data"]["metaflows"]["binding_digit"] == "#"
    wrong = await client.post(at, json={"data": {"numbers": {"2": {"data": {}}}}})
    assert wrong.status_code == 400 and "required" in wrong.json()["data"]["numbers.2.module"]
    assert (await client.delete(at)).status_code == 200
    assert (await client.get(at)).json()["data"] == {} and (await client.get(house.path(path))).json()["data"]["language"] == "en"


# --- channels


async def test_channels_are_the_calls_that_are_up(house: KazooWorld, client: httpx2.AsyncClient) -> None:
    ended = house.service.call(house.account, "hangup")
    call = house.service.call(house.account, sip_call_id="a84b4c@pbx")
    house.service.call(house.other_account, sip_call_id="theirs")
    house.service.telephony.users[call] = "alice"
    (told,) = (await client.get(house.path("/channels"))).json()["data"]
    assert (told["uuid"], told["answered"], told["direction"], told["username"], told["owner_id"]) == (
        "a84b4c@pbx", True, "inbound", "alice", "alice"
    )  # fmt: skip
    for identity in ("a84b4c@pbx", hex_id(call), call):
        assert (await client.get(house.path(f"/channels/{identity}"))).json()["data"] == told
    for identity in ("theirs", ended, "none"):
        answer = await client.get(house.path(f"/channels/{identity}"))
        assert (answer.status_code, answer.json()["message"]) == (404, "bad_identifier")
    assert (await client.get(house.path("/users/alice/channels"))).json()["data"] == [told]
    assert (await client.get(house.path("/users/nobody/channels"))).json()["data"] == []
    device = (await client.put(house.path("/devices"), json={"data": {"sip": {"username": "Alice"}}})).json()["data"]["id"]
    assert (await client.get(house.path(f"/devices/{device}/channels"))).json()["data"] == [told]
    assert (await client.get(house.path("/channels", house.other_account))).status_code == 403


@pytest.mark.parametrize(
    "body",
    [
        {"data": {"action": "metaflow", "data": {"module": "record_call", "data": {"action": "start", "format": "mp3"}}}},
        {"action": "metaflow", "data": {"module": "record_call", "data": {"action": "start", "format": "mp3"}}},
    ],
)
async def test_channels_put_metaflow_is_202(house: KazooWorld, client: httpx2.AsyncClient, body: dict[str, Any]) -> None:
    call = house.service.call(house.account, sip_call_id="a84b4c@pbx")
    answer = await client.put(house.path("/channels/a84b4c@pbx"), json=body)
    assert (answer.status_code, answer.json()["status"], answer.json()["message"]) == (202, "success", "metaflow sent")
    assert house.service.telephony.metaflows == [(call, {"module": "record_call", "data": {"action": "start", "format": "mp3"}})]


@pytest.mark.parametrize(
    ("data", "done"),
    [
        ({"action": "transfer", "target": "2002", "moh": None}, {"target": "2002"}),
        ({"action": "hangup"}, {}),
        ({"action": "break"}, {}),
        ({"action": "callflow", "id": "5f" * 16}, {"id": "5f" * 16}),
        ({"action": "intercept", "target_type": "user", "target_id": "bob"}, {"target_type": "user", "target_id": "bob"}),
    ],
)
async def test_channels_post_does_what_a_metaflow_would(
    house: KazooWorld, client: httpx2.AsyncClient, data: dict[str, Any], done: dict[str, Any]
) -> None:
    call = house.service.call(house.account, sip_call_id="a84b4c@pbx")
    house.service.telephony.other_leg = "other@pbx"
    answer = await client.post(house.path("/channels/a84b4c@pbx"), json={"data": data})
    assert (answer.status_code, answer.json()["message"]) == (202, f"{data['action']} initiated"), answer.text
    assert house.service.telephony.metaflows == [(call, {"module": data["action"], "data": done})]


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({"action": "transfer"}, "target"),
        ({"action": "callflow", "id": 5}, "id"),
        ({"action": "intercept", "target_id": "bob"}, "target_type"),
        ({"action": "intercept", "target_type": "pet", "target_id": "bob"}, "data.target_type"),
        ({"action": "transfer", "target": "1", "transfer_type": "soon"}, "data.transfer_type"),
        ({"action": "record_call"}, "message"),
        ({}, "message"),
    ],
)
async def test_a_post_to_a_channel_that_is_wrong_is_refused(
    house: KazooWorld, client: httpx2.AsyncClient, data: dict[str, Any], field: str
) -> None:
    house.service.call(house.account, sip_call_id="a84b4c@pbx")
    house.service.telephony.other_leg = "other@pbx"
    answer = await client.post(house.path("/channels/a84b4c@pbx"), json={"data": data})
    assert answer.status_code == 400 and field in answer.json()["data"], answer.text
    assert (await client.post(house.path("/channels/none"), json={"data": {"action": "hangup"}})).status_code == 404
    house.service.telephony.other_leg = ""
    alone = await client.post(house.path("/channels/a84b4c@pbx"), json={"data": {"action": "transfer", "target": "2002"}})
    assert alone.json()["data"]["other_leg_call_id"]["required"]["message"] == "Channel is not bridged"
    assert not house.service.telephony.metaflows


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"data": {"action": "hangup"}}, 400),
        ({"data": {}}, 400),
        ({}, 400),
        ({"data": {"action": "metaflow"}}, 400),
        ({"data": {"action": "metaflow", "data": {}}}, 400),
        ({"data": {"action": "metaflow", "data": {"module": "record_call", "data": {"action": "pause"}}}}, 400),
        ({"data": {"action": "metaflow", "data": {"module": "record_call", "data": {"url": "http://localhost/x"}}}}, 400),
    ],
)
async def test_a_put_that_is_no_metaflow_is_refused(
    house: KazooWorld, client: httpx2.AsyncClient, body: dict[str, Any], code: int
) -> None:
    house.service.call(house.account, sip_call_id="a84b4c@pbx")
    answer = await client.put(house.path("/channels/a84b4c@pbx"), json=body)
    assert answer.status_code == code and answer.json()["status"] == "error"
    assert (await client.put(house.path("/channels/none"), json={"data": {"action": "metaflow", "data": MASK}})).status_code == 404
    assert not house.service.telephony.metaflows


def test_a_user_is_found_by_id_and_name() -> None:
    from tapeline.calls.kazoo.profiles import user_named

    users = Settings(users=[User(name="anna", id="3f0e6c0a-5a4e-4f0c-9a5e-0c4f6f0d9b1e"), User(name="otto")]).users
    assert [user_named(users, text) for text in ("ANNA", "3f0e6c0a5a4e4f0c9a5e0c4f6f0d9b1e", "otto", "", "x")] == [
        users[0], users[0], users[1], None, None
    ]  # fmt: skip
