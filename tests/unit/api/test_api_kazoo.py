"""KAZOO's face: tokens, lists by window, page and filter, metadata and audio, deletion, notes; the envelope and its errors."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import httpx2
import pytest
from api_world import World

from tapeline.api.kazoo import recordings as kazoo_recordings
from tapeline.api.kazoo.words import hex_id, month_id
from tapeline.core.ids import new_id
from tapeline.core.kazoo import gregorian, unix

HASH = hashlib.md5(b"alice:secret").hexdigest()


def path(world: World, rest: str = "") -> str:
    return f"/v2/accounts/{hex_id(world.account)}/recordings{rest}"


def kid(world: World, recording_id: str) -> str:
    return month_id(recording_id, world.service.recordings[recording_id].created)


# --- tokens


async def test_an_api_key_is_exchanged_for_a_token_that_ends(world: World) -> None:
    async with world.client("") as client:
        answer = await client.put("/v2/api_auth", json={"data": {"api_key": world.secret}})
        assert answer.status_code == 201 and answer.json()["data"]["account_id"] == hex_id(world.account)
        token = answer.json()["auth_token"]
        assert (await client.get(path(world), headers={"X-Auth-Token": token})).status_code == 200
        assert (await client.get(path(world), params={"auth_token": token})).status_code == 200
        assert (await client.get(path(world), headers={"X-Auth-Token": token[:-3] + "abc"})).status_code == 401
        world.clock.advance(3601)
        assert (await client.get(path(world), headers={"X-Auth-Token": token})).status_code == 401


@pytest.mark.parametrize(("method", "digest"), [("md5", hashlib.md5), ("sha", hashlib.sha1)])
async def test_a_user_logs_in_with_the_hash_of_name_and_password(world: World, method: str, digest: Any) -> None:
    credentials = digest(b"alice:secret").hexdigest()
    async with world.client("") as client:
        answer = await client.put("/v2/user_auth", json={"data": {"credentials": credentials, "account_name": "default", "method": method}})
        assert answer.status_code == 201 and answer.json()["data"]["owner_id"] == "alice"
        listed = await client.get(path(world), headers={"Authorization": f"Bearer {answer.json()['auth_token']}"})
        assert listed.status_code == 200


@pytest.mark.parametrize(
    "data",
    [
        {"credentials": "0" * 32, "account_name": "default"},
        {"credentials": HASH, "account_name": "nobody"},
        {"credentials": HASH, "account_name": "default", "method": "sha"},
    ],
)
async def test_a_wrong_login_is_invalid_credentials(world: World, data: dict[str, str]) -> None:
    async with world.client("") as client:
        answer = await client.put("/v2/user_auth", json={"data": data})
    assert answer.status_code == 401
    assert (answer.json()["message"], answer.json()["error"], answer.json()["status"]) == ("invalid_credentials", "401", "error")


async def test_basic_is_the_account_and_the_hash(world: World) -> None:
    basic = base64.b64encode(f"{hex_id(world.account)}:{HASH}".encode()).decode()
    async with world.client("") as client:
        assert (await client.get(path(world), headers={"Authorization": f"Basic {basic}"})).status_code == 200
        assert (await client.get(path(world), headers={"Authorization": "Basic !!"})).status_code == 401
        assert (await client.get(path(world))).status_code == 401


@pytest.mark.parametrize(
    "body", [{}, {"data": 5}, {"data": {}}, {"data": {"api_key": 5}}, {"data": {"credentials": HASH, "method": "rot13"}}]
)
async def test_a_login_that_lacks_something_says_which_field(world: World, body: dict[str, Any]) -> None:
    async with world.client("") as client:
        for route in ("/v2/api_auth", "/v2/user_auth"):
            answer = await client.put(route, json=body)
            assert answer.status_code == 400 and answer.json()["error"] == "400"
            assert all(isinstance(rules, dict) for rules in answer.json()["data"].values())


# --- lists


async def test_a_list_has_the_envelope_and_the_metadata(world: World, client: httpx2.AsyncClient) -> None:
    fields = {"sip_call_id": "a84b4c@pbx", "source": "1001", "destination": "2002", "format": "mp3", "label": "sales"}
    recording = world.service.recording(world.account, custom={"media_name": "x.mp3", "from": "1001@acme"}, **fields)
    world.service.recording(world.account, "recording")
    world.service.recording(world.account, "failed", reason="too_short")
    world.service.recording(world.other_account)
    answer = (await client.get(path(world))).json()
    assert (answer["status"], answer["page_size"], "next_start_key" in answer) == ("success", 1, False)
    (told,) = answer["data"]
    created = world.service.recordings[recording].created
    expected = {
        "id": month_id(recording, created), "name": "x.mp3", "content_type": "audio/mpeg", "media_type": "mp3", "media_source": "recorded",
        "call_id": "a84b4c@pbx", "from": "1001@acme", "to": "2002", "direction": "inbound", "origin": "callflow : sales",
        "duration": 1, "duration_ms": 1500, "start": gregorian(created), "_read_only": {"content_types": ["audio/mpeg"]},
    }  # fmt: skip
    assert {name: told[name] for name in expected} == expected
    assert told["id"].startswith(told["cdr_id"][:6])


async def test_pages_go_on_at_the_start_key_in_both_orders(world: World, client: httpx2.AsyncClient) -> None:
    made = [kid(world, world.service.recording(world.account)) for _ in range(7)]
    for ascending in (False, True):
        seen: list[str] = []
        query: dict[str, Any] = {"page_size": 3, "ascending": str(ascending).lower()}
        while True:
            answer = (await client.get(path(world), params=query)).json()
            seen += [told["id"] for told in answer["data"]]
            if "next_start_key" not in answer:
                break
            query["start_key"] = answer["next_start_key"]
        assert seen == (made if ascending else made[::-1])
    assert len((await client.get(path(world), params={"paginate": "false"})).json()["data"]) == 7
    assert (await client.get(path(world), params={"start_key": "%%%"})).status_code == 400


async def test_a_filter_that_passes_over_too_much_goes_on_in_the_next_page(
    world: World, client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kazoo_recordings, "LOOKED_AT", 4)
    monkeypatch.setattr(kazoo_recordings, "AT_ONCE", 2)
    wanted = [kid(world, world.service.recording(world.account, sip_call_id="wanted")) for _ in range(2)]
    for _ in range(9):
        world.service.recording(world.account)
    wanted.append(kid(world, world.service.recording(world.account, sip_call_id="wanted")))
    seen: list[str] = []
    query = {"filter_media_type": "wav", "filter_cdr_id": f"{wanted[0][:6]}-wanted"}
    pages = 0
    while True:
        answer = (await client.get(path(world), params=query)).json()
        seen += [told["id"] for told in answer["data"]]
        pages += 1
        if "next_start_key" not in answer:
            break
        query["start_key"] = answer["next_start_key"]
    assert seen == wanted[::-1] and pages > 2


async def test_a_list_without_pages_that_is_too_long_is_416(
    world: World, client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kazoo_recordings, "MOST_UNPAGED", 3)
    for _ in range(4):
        world.service.recording(world.account)
    answer = await client.get(path(world), params={"paginate": "false"})
    assert (answer.status_code, answer.json()["error"], answer.json()["status"]) == (416, "416", "error")


async def test_a_list_may_be_of_what_changed_lately(world: World, client: httpx2.AsyncClient) -> None:
    old = world.service.recording(world.account)
    new = world.service.recording(world.account, updated=world.clock.wall() + 1000)
    moment = gregorian(world.clock.wall() + 500)
    for name, expected in (("modified_from", new), ("modified_to", old)):
        answer = await client.get(path(world), params={name: moment})
        assert [told["id"] for told in answer.json()["data"]] == [kid(world, expected)]


@pytest.mark.parametrize(
    "query",
    [
        {"start_key": base64.urlsafe_b64encode(b"[" * 5000).decode()},
        {"start_key": base64.urlsafe_b64encode(b'[NaN, "x"]').decode()},
        {"start_key": base64.urlsafe_b64encode(b'[1e999, "\\u0000"]').decode()},
        {"start_key": "A"},
        {"filter_call_id": "[" * 5000},
        {"filter_" + "a." * 5000: "x"},
        {"filter_call_id": "\0"},
        {"page_size": "9" * 5000},
        {"created_from": "-1"},
        {"has_key": "[{}]"},
        {f"filter_{n}": "x" for n in range(500)},
    ],
)
async def test_no_query_is_too_strange(world: World, client: httpx2.AsyncClient, query: dict[str, str]) -> None:
    world.service.recording(world.account)
    answer = await client.get(path(world), params=query)
    assert answer.status_code in (200, 400) and answer.json()["status"] in ("success", "error")


async def test_the_token_may_stand_in_the_body(world: World) -> None:
    where = path(world, "/" + kid(world, world.service.recording(world.account)))
    async with world.client("") as client:
        noted = await client.patch(where, json={"auth_token": world.secret, "data": {"user_metadata": {"case": "17"}}})
        assert noted.status_code == 200 and noted.json()["data"]["user_metadata"] == {"case": "17"}
        assert (await client.patch(where, json={"auth_token": 5, "data": {"user_metadata": {}}})).status_code == 401
        assert (await client.patch(where, content=b"[" * 100_000)).status_code == 400


async def test_a_user_logs_in_to_its_own_account_only(world: World) -> None:
    async with world.client("") as client:
        answer = await client.put("/v2/user_auth", json={"data": {"credentials": HASH, "account_name": "other"}})
        assert answer.status_code == 401
        basic = base64.b64encode(f"{hex_id(world.other_account)}:{HASH}".encode()).decode()
        assert (await client.get(path(world), headers={"Authorization": f"Basic {basic}"})).status_code == 401


async def test_the_window_is_31_days_and_may_be_moved_but_not_widened(world: World, client: httpx2.AsyncClient) -> None:
    old = kid(world, world.service.recording(world.account))
    begun = gregorian(world.clock.wall())
    world.clock.advance(40 * 86_400)
    new = kid(world, world.service.recording(world.account))
    assert [told["id"] for told in (await client.get(path(world))).json()["data"]] == [new]
    moved = await client.get(path(world), params={"created_from": begun - 100, "created_to": begun + 100})
    assert [told["id"] for told in moved.json()["data"]] == [old]
    wide = await client.get(path(world), params={"created_from": begun, "created_to": begun + 33 * 86_400})
    assert wide.status_code == 400 and "created_from" in wide.json()["data"]
    assert (await client.get(path(world), params={"created_from": begun, "created_to": begun - 1})).status_code == 400
    assert (await client.get(path(world), params={"created_from": "soon"})).status_code == 400


async def test_filters_compare_with_what_is_told(world: World, client: httpx2.AsyncClient) -> None:
    first = kid(world, world.service.recording(world.account, sip_call_id="one", custom={"owner_id": "u1", "notes": {"a": {"b": "c"}}}))
    second = kid(world, world.service.recording(world.account, sip_call_id="two", direction="outgoing"))

    async def ids(**query: str) -> list[str]:
        return sorted(told["id"] for told in (await client.get(path(world), params=query)).json()["data"])

    assert await ids(filter_call_id="one") == [first]
    assert await ids(filter_call_id='["one","two"]') == sorted([first, second])
    assert await ids(filter_not_call_id="one") == [second]
    assert await ids(filter_direction="outbound") == [second]
    assert await ids(has_key="user_metadata") == [first] and await ids(key_missing="user_metadata") == [second]
    assert await ids(value_missing="owner_id") == [second] and await ids(has_value="owner_id") == [first]
    assert await ids(**{"filter_user_metadata.a.b": "c"}) == [first]
    of_user = await client.get(f"/v2/accounts/{hex_id(world.account)}/users/u1/recordings")
    assert [told["id"] for told in of_user.json()["data"]] == [first]


# --- one recording


async def test_metadata_or_audio_as_the_client_accepts(world: World, client: httpx2.AsyncClient) -> None:
    recording = world.service.recording(world.account, audio=bytes(range(200)), custom={"media_name": "../../my file.wav"})
    where = path(world, "/" + kid(world, recording))
    assert (await client.get(where)).json()["data"]["id"] == kid(world, recording)
    for accept in ("audio/mpeg", "audio/wav", "audio/*;q=0.9, */*"):
        answer = await client.get(where, headers={"Accept": accept})
        assert (answer.status_code, answer.content) == (200, bytes(range(200)))
        assert answer.headers["content-disposition"] == 'attachment; filename="my_file.wav"'
    inline = await client.get(where, params={"accept": "audio/mp3", "inline": "true"}, headers={"Range": "bytes=10-19"})
    assert (inline.status_code, inline.content, inline.headers["content-range"]) == (206, bytes(range(10, 20)), "bytes 10-19/200")
    assert inline.headers["content-disposition"].startswith("inline")


async def test_what_is_not_there_is_a_bad_identifier(world: World, client: httpx2.AsyncClient) -> None:
    running = kid(world, world.service.recording(world.account, "recording"))
    for wrong in (month_id(new_id(), 1e9), "nonsense", "202611-xyz", running):
        answer = await client.get(path(world, "/" + wrong))
        assert answer.status_code == 404
        told = answer.json()
        assert (told["message"], told["error"], told["data"]["message"]) == ("bad_identifier", "404", "bad identifier")
    assert (await client.get("/v2/accounts/nobody/recordings")).status_code == 404
    strange = kid(world, world.service.recording(world.other_account))
    assert (await client.get(path(world, "/" + strange))).status_code in (403, 404)
    assert (await client.get(f"/v2/accounts/{hex_id(world.other_account)}/recordings")).status_code == 403


async def test_a_media_id_names_its_recording(world: World, client: httpx2.AsyncClient) -> None:
    for media_id in ("my-own-id", "202611-" + "a" * 32, "b" * 32):
        recording = world.service.recording(world.account, custom={"media_id": media_id})
        told = (await client.get(path(world, "/" + media_id))).json()["data"]
        assert told["id"] == told["media_id"] == media_id
        assert (await client.get(path(world, "/" + kid(world, recording)))).json()["data"] == told
    odd = world.service.recording(world.account, custom={"media_id": "../x y"})
    assert (await client.get(path(world, "/" + kid(world, odd)))).json()["data"]["id"] == kid(world, odd)
    foreign = world.service.recording(world.other_account, custom={"media_id": "theirs"})
    assert foreign and (await client.get(path(world, "/theirs"))).status_code == 404


async def test_deletion_and_notes(world: World, client: httpx2.AsyncClient) -> None:
    recording = world.service.recording(world.account)
    where = path(world, "/" + kid(world, recording))
    noted = await client.patch(where, json={"data": {"user_metadata": {"case": "17"}}})
    assert noted.json()["data"]["user_metadata"] == {"case": "17"}
    assert (await client.patch(where, json={"data": {"user_metadata": {"by": "ann"}}})).json()["data"]["user_metadata"] == {
        "case": "17",
        "by": "ann",
    }
    assert (await client.patch(where, json={"data": {}})).status_code == 400
    gone = await client.delete(where)
    assert gone.status_code == 200 and gone.json()["data"]["_read_only"]["deleted"] is True
    assert (await client.get(where)).status_code == 404


async def test_a_token_without_the_scope_is_forbidden(world: World) -> None:
    reader = world.tokens.issue(world.account, "recordings:read")
    recording = kid(world, world.service.recording(world.account))
    async with world.client(reader) as client:
        assert (await client.get(path(world))).status_code == 200
        answer = await client.delete(path(world, "/" + recording))
        assert answer.status_code == 403 and answer.json()["message"] == "forbidden"


@pytest.mark.parametrize(("method", "where", "status"), [("PUT", "/v2/accounts/x/recordings", 405), ("GET", "/v2/nothing", 404)])
async def test_the_routers_own_refusals_have_the_envelope(client: httpx2.AsyncClient, method: str, where: str, status: int) -> None:
    answer = await client.request(method, where)
    assert (answer.status_code, answer.json()["error"], answer.json()["status"]) == (status, str(status), "error")


def test_gregorian_seconds_and_back() -> None:
    assert gregorian(0) == 62167219200 and unix(62167219200.0) == 0.0
