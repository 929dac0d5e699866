"""Deliveries over REST: listed, with every try, of one recording, sent again; and nobody sees another's."""

from __future__ import annotations

from dataclasses import replace

import httpx2
import pytest
from kazoo_world import KazooWorld

from tapeline.core.ids import new_id
from tapeline.store import DeliveryRow


@pytest.fixture
def world(house: KazooWorld) -> KazooWorld:
    return house


async def sending(house: KazooWorld, ref: str = "", created: float = 1000.0, account: str = "", **fields: object) -> DeliveryRow:
    url = "https://anna:secret@example.com/in"
    row = DeliveryRow(new_id(), account or house.account, "upload", ref or new_id(), url, created, created + 100.0)
    row = replace(row, **fields)  # type: ignore[arg-type]
    await house.database.deliveries.add(row)
    return row


async def test_deliveries_are_listed_in_pages_and_by_state(house: KazooWorld, client: httpx2.AsyncClient) -> None:
    made = [await sending(house, created=1000.0 + n // 2) for n in range(7)]  # two at a time share a moment
    await sending(house, account=house.other_account)
    done = await sending(house, created=2000.0, state="delivered", done=2001.0)
    seen: list[str] = []
    token = ""
    while True:
        page = (await client.get("/v1.0/deliveries", params={"page_size": 3, "page_token": token})).json()
        if not page["result"]:
            break
        seen += [told["id"] for told in page["result"]]
        token = page["next_page_token"]
    assert sorted(seen) == sorted([done.id, *(row.id for row in made)]) and seen[0] == done.id
    (told,) = (await client.get("/v1.0/deliveries", params={"state": "delivered"})).json()["result"]
    assert (told["id"], told["state"], told["url"], told["tm_done"]) == (
        done.id, "delivered", "https://***@example.com/in", "1970-01-01T00:33:21Z"
    )  # fmt: skip
    assert (await client.get("/v1.0/deliveries", params={"state": "lost"})).status_code == 400


async def test_one_delivery_is_told_with_every_try_and_is_sent_again(house: KazooWorld, client: httpx2.AsyncClient) -> None:
    recording = house.service.recording(house.account)
    row = await sending(house, recording)
    note = house.database.deliveries.note
    await note(row, at=1001.0, state="waiting", status=500, reason="HTTP 500", fault="destination", due=1002.0)
    await note(replace(row, tries=1), at=1002.0, state="failed", status=0, reason="no route", fault="network", due=None)
    told = (await client.get(f"/v1.0/deliveries/{row.id}")).json()
    assert (told["state"], told["tries"], told["http_status"], told["reason"]) == ("failed", 2, 0, "no route")
    assert [(one["outcome"], one["http_status"], one["fault"]) for one in told["attempts"]] == [
        ("failed", 500, "destination"), ("failed", 0, "network")
    ]  # fmt: skip
    assert "secret" not in str(told)
    again = await client.post(f"/v1.0/deliveries/{row.id}/replay")
    assert (again.status_code, again.json()["state"], again.json()["round"], again.json()["tries"]) == (200, "waiting", 1, 0)
    of_recording = (await client.get(f"/v1.0/recordings/{recording}/deliveries")).json()["result"]
    assert [one["id"] for one in of_recording] == [row.id]
    other = house.service.recording(house.account)
    assert (await client.get(f"/v1.0/recordings/{other}/deliveries")).json() == {"result": [], "next_page_token": ""}


async def test_why_a_recording_is_not_finished_is_told_to_who_may_see_it(house: KazooWorld, client: httpx2.AsyncClient) -> None:
    recording, foreign = house.service.recording(house.account), house.service.recording(house.other_account)
    for number in range(102):
        reason = f"the bucket is away ({number})"
        await house.database.attempts.add(
            "finish", recording, "store", outcome="failed", reason=reason, fault="destination", time=1000.0 + number
        )
    told = (await client.get(f"/v1.0/recordings/{recording}/attempts")).json()["result"]
    assert len(told) == 100 and told[0]["reason"] == "the bucket is away (2)"
    assert told[-1] == {"tm": "1970-01-01T00:18:21Z", "step": "store", "fault": "destination", "reason": "the bucket is away (101)"}
    fine = house.service.recording(house.account)
    assert (await client.get(f"/v1.0/recordings/{fine}/attempts")).json() == {"result": []}
    assert (await client.get(f"/v1.0/recordings/{foreign}/attempts")).status_code in (403, 404)


async def test_webhooks_are_found_by_kind_and_by_what_they_tell_of(house: KazooWorld, client: httpx2.AsyncClient) -> None:
    call = new_id()
    hook = await sending(house, call, kind="webhook", policy="voipbin", body='{"type":"call_hangup","data":{"id":"x"}}')
    await sending(house, kind="webhook", policy="kazoo", body='{"type":"call_recording"}', created=999.0)
    await sending(house)
    (told,) = (await client.get("/v1.0/deliveries", params={"kind": "webhook", "reference_id": call.upper()})).json()["result"]
    assert (told["id"], told["kind"], told["event"]) == (hook.id, "webhook", "call_hangup")
    hooks = (await client.get("/v1.0/deliveries", params={"kind": "webhook"})).json()["result"]
    assert [one.get("event") for one in hooks] == ["call_hangup", None]
    for wrong in ({"kind": "letter"}, {"reference_id": "x"}):
        answer = await client.get("/v1.0/deliveries", params=wrong)
        assert (answer.status_code, answer.json()["error"]["reason"]) == (400, "INVALID_REQUEST_PARAMETER")


async def test_a_secret_within_an_address_is_told_to_who_may_set_it_alone(house: KazooWorld, client: httpx2.AsyncClient) -> None:
    row = await sending(house, url="https://example.com/in?key=1234")
    await house.database.deliveries.note(
        row, at=1001.0, state="waiting", status=500, reason="HTTP 500", fault="destination", due=1002.0, target=row.url
    )
    assert "key=1234" in (await client.get(f"/v1.0/deliveries/{row.id}")).text
    async with house.client(house.tokens.issue(house.account, "recordings:read", "recordings:write")) as reader:
        for method, path in (("GET", ""), ("GET", f"/{row.id}"), ("POST", f"/{row.id}/replay")):
            text = (await reader.request(method, f"/v1.0/deliveries{path}")).text
            assert "1234" not in text and "https://example.com/in?***" in text


async def test_another_account_s_deliveries_are_not_told(house: KazooWorld, client: httpx2.AsyncClient) -> None:
    theirs = await sending(house, account=house.other_account)
    for answer in (
        await client.get(f"/v1.0/deliveries/{theirs.id}"),
        await client.post(f"/v1.0/deliveries/{theirs.id}/replay"),
        await client.get(f"/v1.0/recordings/{house.service.recording(house.other_account)}/deliveries"),
    ):
        assert answer.status_code == 403
    missing = await client.get(f"/v1.0/deliveries/{new_id()}")
    assert (missing.status_code, missing.json()["error"]["reason"]) == (404, "DELIVERY_NOT_FOUND")
    assert (await client.post("/v1.0/deliveries/x/replay")).status_code == 400
    async with house.client(house.tokens.issue(house.account, "recordings:read")) as reader:
        own = await sending(house)
        assert (await reader.get(f"/v1.0/deliveries/{own.id}")).status_code == 200
        assert (await reader.post(f"/v1.0/deliveries/{own.id}/replay")).status_code == 403
