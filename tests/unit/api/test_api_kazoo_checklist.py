"""What a KAZOO operator checks of the API, line by line: sections 8.3 (validation) and 8.4 of the platform's checklist, each as a test."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import httpx2
import pytest
from kazoo_world import KazooWorld

from tapeline.api.kazoo.words import hex_id, month_id
from tapeline.core.ids import new_id
from tapeline.core.kazoo import gregorian
from tapeline.store import DeliveryRow

DAY_S = 86_400


@pytest.fixture
def world(house: KazooWorld) -> KazooWorld:
    return house


def made(house: KazooWorld, **fields: Any) -> str:
    """A recording, by its id as KAZOO has it."""
    recording = house.service.recording(house.account, **fields)
    return month_id(recording, house.service.recordings[recording].created)


async def listed(client: httpx2.AsyncClient, house: KazooWorld, rest: str = "/recordings", **query: Any) -> list[str]:
    answer = await client.get(house.path(rest), params=query)
    assert answer.status_code == 200, answer.text
    return [told["id"] for told in answer.json()["data"]]


async def test_validation_has_the_shape_of_the_schema_and_restricts_urls(house: KazooWorld, client: httpx2.AsyncClient) -> None:
    flow = {"module": "record_call", "data": {"action": "begin", "time_limit": 5, "url": "http://0.0.0.0/in"}}
    answer = await client.put(house.path("/callflows"), json={"data": {"flow": flow}})
    assert (answer.status_code, answer.json()["error"], answer.json()["message"]) == (400, "400", "invalid request")
    told = answer.json()["data"]
    assert told["flow.data.action"]["enum"]["target"] == ["start", "stop"] and set(told["flow.data.url"]) == {"invalid"}
    assert set(told) == {"flow.data.action", "flow.data.url"}


async def test_list_get_audio_delete(house: KazooWorld, client: httpx2.AsyncClient) -> None:
    first, second = made(house, audio=b"RIFFone"), made(house, audio=b"RIFFtwo")
    assert await listed(client, house) == [second, first]
    one = house.path(f"/recordings/{first}")
    answer = await client.get(one)
    envelope = answer.json()
    assert {"data", "status", "revision", "timestamp", "version", "node", "request_id", "auth_token"} <= set(envelope)
    assert (answer.status_code, envelope["status"], envelope["data"]["id"]) == (200, "success", first)
    assert (await client.get(one, headers={"Accept": "audio/mpeg"})).content == b"RIFFone"
    deleted = await client.delete(one)
    assert deleted.status_code == 200 and deleted.json()["data"]["id"] == first
    assert (await client.get(one)).status_code == 404 and await listed(client, house) == [second]
    assert (await client.post(one, json={"data": {}})).status_code == 405


async def test_paging_and_31_day_window(house: KazooWorld, client: httpx2.AsyncClient) -> None:
    old = made(house)
    begun = gregorian(house.clock.wall())
    house.clock.advance(31 * DAY_S + 3700)
    new = [made(house) for _ in range(51)][::-1]
    first = (await client.get(house.path("/recordings"))).json()
    assert [told["id"] for told in first["data"]] == new[:50] and first["page_size"] == 50
    second = (await client.get(house.path("/recordings"), params={"start_key": first["next_start_key"]})).json()
    assert [told["id"] for told in second["data"]] == new[50:] and "next_start_key" not in second
    assert await listed(client, house, created_from=begun - 10, created_to=begun + 10) == [old]
    too_wide = await client.get(house.path("/recordings"), params={"created_from": begun, "created_to": begun + 32 * DAY_S})
    assert too_wide.status_code == 400


async def test_a_window_holds_what_ended_in_it_however_long_before_that_it_began(house: KazooWorld, client: httpx2.AsyncClient) -> None:
    """Who asks every few minutes for what is new misses no recording that took longer than that."""
    begun = house.clock.wall()
    long = made(house, created=begun - 3 * 3600, started=begun - 3 * 3600)
    at = gregorian(house.clock.wall())
    assert await listed(client, house, created_from=at - 300, created_to=at + 300) == [long]
    assert await listed(client, house, created_from=at - 3 * 3600 - 300, created_to=at - 300) == []


async def test_filters(house: KazooWorld, client: httpx2.AsyncClient) -> None:
    one = made(house, sip_call_id="a@b", custom={"owner_id": "u1", "interaction_id": "i-1"})
    made(house, sip_call_id="c@d", custom={"owner_id": "u2", "interaction_id": "i-2"})
    for query in ({"filter_call_id": "a@b"}, {"filter_interaction_id": "i-1"}, {"filter_owner_id": "u1"}, {"filter_not_owner_id": "u2"}):
        assert await listed(client, house, **query) == [one]
    assert await listed(client, house, filter_call_id="a@b", filter_owner_id="u2") == []


async def test_range_requests_and_inline(house: KazooWorld, client: httpx2.AsyncClient) -> None:
    one = house.path(f"/recordings/{made(house, audio=bytes(range(100)))}")
    answer = await client.get(one, params={"accept": "audio/mpeg", "inline": "true"}, headers={"Range": "bytes=10-19"})
    assert (answer.status_code, answer.content) == (206, bytes(range(10, 20)))
    assert answer.headers["content-range"] == "bytes 10-19/100" and answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["content-disposition"].startswith("inline; filename=")
    whole = await client.get(one, headers={"Accept": "audio/mpeg"})
    assert whole.headers["content-disposition"].startswith("attachment; filename=")


async def test_user_metadata_patch_merges(house: KazooWorld, client: httpx2.AsyncClient) -> None:
    one = house.path(f"/recordings/{made(house)}")
    await client.patch(one, json={"data": {"user_metadata": {"case": "17", "agent": "ann"}}})
    await client.patch(one, json={"data": {"user_metadata": {"agent": "otto"}}})
    assert (await client.get(one)).json()["data"]["user_metadata"] == {"case": "17", "agent": "otto"}


async def test_per_user_list(house: KazooWorld, client: httpx2.AsyncClient) -> None:
    one = made(house, custom={"owner_id": "alice"})
    made(house, custom={"owner_id": "somebody"})
    for name in ("alice", "ALICE"):
        assert await listed(client, house, f"/users/{name}/recordings") == [one]
    assert await listed(client, house, "/users/nobody/recordings") == []


async def test_call_recording_settings_and_metaflows_are_kept_for_the_calls(house: KazooWorld, client: httpx2.AsyncClient) -> None:
    followed: dict[str, Any] = {}
    house.stored.follow(lambda rows: followed.update({row.kind: row.body for row in rows}))
    setting = {"inbound": {"offnet": {"enabled": True, "url": "https://example.com/in", "format": "wav"}}}
    assert (await client.patch(house.path("/users/alice"), json={"data": {"call_recording": setting}})).status_code == 200
    keys = {"numbers": {"2": {"module": "record_call", "data": {"action": "toggle"}}}}
    assert (await client.post(house.path("/metaflows"), json={"data": keys})).status_code == 200
    assert followed == {"user": {"call_recording": setting}, "account": {"metaflows": keys}}


@pytest.mark.parametrize("action", ["start", "stop", "toggle", "mask", "unmask"])
async def test_channels_put_metaflow(house: KazooWorld, client: httpx2.AsyncClient, action: str) -> None:
    call = house.service.call(house.account, sip_call_id="a@b")
    wanted = {"module": "record_call", "data": {"action": action}}
    answer = await client.put(house.path("/channels/a@b"), json={"data": {"action": "metaflow", "data": wanted}})
    assert (answer.status_code, answer.json()["message"]) == (202, "metaflow sent")
    assert house.service.telephony.metaflows == [(call, wanted)]


async def test_errors_are_readable(house: KazooWorld, client: httpx2.AsyncClient) -> None:
    row = DeliveryRow(new_id(), house.account, "upload", new_id(), "https://u:p@example.com/in/call_recording_a.mp3", 1000.0, 2000.0)
    fine, theirs = replace(row, id=new_id()), replace(row, id=new_id(), account=house.other_account)
    await house.database.deliveries.add(row, fine, theirs)
    for broken in (row, theirs):
        await house.database.deliveries.note(
            broken, at=1001.0, state="waiting", status=503, reason="answered 503", fault="destination", due=2.0
        )
    (told,) = (await client.get(house.path("/att_handlers_errors"))).json()["data"]
    assert (told["id"], told["attachment_name"], told["state"]) == (hex_id(row.id), "call_recording_a.mp3", "waiting")
    assert told["error"] == {
        "verb": "PUT", "url": "https://***@example.com/in/call_recording_a.mp3", "status": 503, "reason": "answered 503"
    }  # fmt: skip
    whole = (await client.get(house.path(f"/att_handlers_errors/{told['id']}"))).json()["data"]
    assert [one["http_status"] for one in whole["attempts"]] == [503]
    for wrong in (hex_id(fine.id), hex_id(new_id()), "x"):
        assert (await client.get(house.path(f"/att_handlers_errors/{wrong}"))).status_code == 404
    assert (await client.get(house.path(f"/att_handlers_errors/{hex_id(theirs.id)}"))).status_code == 403
    assert (await client.get(house.path("/att_handlers_errors", house.other_account))).status_code == 403


async def test_soft_delete_leaves_what_was_sent_elsewhere(house: KazooWorld, client: httpx2.AsyncClient) -> None:
    one = made(house)
    ref = next(iter(house.service.recordings))
    row = DeliveryRow(new_id(), house.account, "upload", ref, "https://example.com/in", 1000.0, 2000.0, state="delivered", done=1001.0)
    await house.database.deliveries.add(row)
    deleted = await client.delete(house.path(f"/recordings/{one}"), params={"should_soft_delete": "true"})
    assert deleted.json()["data"]["_read_only"]["deleted"] is True
    assert house.service.recordings[ref].deleted is not None
    kept = await house.database.deliveries.get(row.id)
    assert kept is not None and kept.state == "delivered"
