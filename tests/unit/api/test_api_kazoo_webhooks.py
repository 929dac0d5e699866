"""KAZOO's object webhooks: kept over the API, and told of recordings and messages once each, in the form that was asked for."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx2
import pytest
from kazoo_world import KazooWorld

from tapeline.api.kazoo.webhooks import KazooWebhooks
from tapeline.api.kazoo.words import hex_id, month_id
from tapeline.core.happening import Happening
from tapeline.core.ids import new_id
from tapeline.delivery.policies import policy_of
from tapeline.store import DeliveryRow

HOOK = {"name": "told", "uri": "https://example.com/hook?x=1", "hook": "object"}


@pytest.fixture
def world(house: KazooWorld) -> KazooWorld:
    return house


@pytest.fixture
def rows(house: KazooWorld) -> list[DeliveryRow]:
    return []


@pytest.fixture
def notifier(house: KazooWorld, rows: list[DeliveryRow]) -> KazooWebhooks:
    async def add(*more: DeliveryRow) -> None:
        rows.extend(more)

    made = KazooWebhooks("node", rows.append, add)
    house.stored.follow(made.take)
    return made


async def happen(house: KazooWorld, notifier: KazooWebhooks, kind: str, happening_id: str = "", **fields: Any) -> str:
    recording = house.service.recording(house.account, **fields)
    view = house.service.recordings[recording]
    work = notifier(Happening(kind, house.account, recording, 100.0, view, happening_id or new_id()))
    if work is not None:
        await work
    return month_id(recording, view.created)


async def test_a_webhook_is_made_listed_changed_and_deleted(house: KazooWorld, client: httpx2.AsyncClient) -> None:
    made = await client.put(house.path("/webhooks"), json={"data": HOOK})
    assert made.status_code == 201
    at = house.path(f"/webhooks/{made.json()['data']['id']}")
    assert (await client.get(at)).json()["data"] == {**HOOK, "id": made.json()["data"]["id"]}
    assert (await client.patch(at, json={"data": {"enabled": False}})).json()["data"]["enabled"] is False
    assert [one["enabled"] for one in (await client.get(house.path("/webhooks"))).json()["data"]] == [False]
    assert (await client.post(at, json={"data": HOOK})).json()["data"] == {**HOOK, "id": made.json()["data"]["id"]}
    assert (await client.delete(at)).status_code == 200
    for answer in (await client.get(at), await client.delete(at), await client.get(house.path("/webhooks/x"))):
        assert answer.status_code == 404
    assert (await client.put(house.path("/webhooks", house.other_account), json={"data": HOOK})).status_code == 403


@pytest.mark.parametrize(
    ("change", "field", "rule"),
    [
        ({"uri": None}, "uri", "required"), ({"uri": ""}, "uri", "minLength"), ({"uri": "http://127.0.0.1/"}, "uri", "invalid"),
        ({"uri": "ftp://example.com"}, "uri", "invalid"), ({"hook": "channel_create"}, "hook", "enum"),
        ({"custom_data": {"action": "read"}}, "custom_data.action", "enum"), ({"http_verb": "delete"}, "http_verb", "enum"),
    ],
)  # fmt: skip
async def test_a_wrong_webhook_is_refused(
    house: KazooWorld, client: httpx2.AsyncClient, change: dict[str, Any], field: str, rule: str
) -> None:
    answer = await client.put(house.path("/webhooks"), json={"data": HOOK | change})
    assert answer.status_code == 400 and rule in answer.json()["data"][field]


async def test_object_events_created_edited_deleted(
    house: KazooWorld, client: httpx2.AsyncClient, notifier: KazooWebhooks, rows: list[DeliveryRow]
) -> None:
    custom = {"action": "all", "type": "call_recording", "shop": "17", "id": "forged"}
    await client.put(house.path("/webhooks"), json={"data": HOOK | {"custom_data": custom}})
    kinds = ("recording_finished", "recording_changed", "recording_deleted", "recording_started", "call_hangup")
    ids = [await happen(house, notifier, kind) for kind in kinds]
    told = [dict(parse_qsl(row.body)) for row in rows]
    assert [(one["action"], one["id"]) for one in told] == list(zip(("doc_created", "doc_edited", "doc_deleted"), ids, strict=False))
    assert all(one["account_id"] == hex_id(house.account) and one["shop"] == "17" and one["type"] == "call_recording" for one in told)
    assert {(row.url, row.method, row.content_type, row.policy) for row in rows} == {
        (HOOK["uri"], "POST", "application/x-www-form-urlencoded", "kazoo-2")
    }


async def test_verb_form_and_choice_are_the_webhook_s(
    house: KazooWorld, client: httpx2.AsyncClient, notifier: KazooWebhooks, rows: list[DeliveryRow]
) -> None:
    for more in ({"http_verb": "get"}, {"format": "json"}, {"enabled": False}, {"custom_data": {"action": "doc_deleted"}}):
        house.clock.advance(1)
        await client.put(house.path("/webhooks"), json={"data": HOOK | more})
    await happen(house, notifier, "recording_finished")
    asked, posted = sorted(rows, key=lambda row: row.method)
    assert dict(parse_qsl(urlsplit(asked.url).query))["action"] == "doc_created" and asked.body == "" and "x=1&" in asked.url
    assert json.loads(posted.body)["type"] == "call_recording" and posted.content_type == "application/json"


async def test_a_message_in_a_box_is_one_of_its_own_type_and_told_once(
    house: KazooWorld, client: httpx2.AsyncClient, notifier: KazooWebhooks, rows: list[DeliveryRow]
) -> None:
    await client.put(house.path("/webhooks"), json={"data": HOOK | {"custom_data": {"type": "mailbox_message"}}})
    for kind in ("recording_finished", "voicemail_left"):
        await happen(house, notifier, kind, origin="voicemail")
    await happen(house, notifier, "recording_finished")
    assert [dict(parse_qsl(row.body))["type"] for row in rows] == ["mailbox_message"]


async def test_what_is_told_twice_is_one_row_and_another_account_is_told_nothing(
    house: KazooWorld, client: httpx2.AsyncClient, notifier: KazooWebhooks, rows: list[DeliveryRow]
) -> None:
    await client.put(house.path("/webhooks"), json={"data": HOOK})
    same = new_id()
    for _ in range(2):
        await happen(house, notifier, "recording_finished", same)
    assert len(rows) == 2 and len({row.id for row in rows}) == 1
    strange = Happening("recording_finished", house.other_account, new_id(), 1.0, {}, new_id())
    assert notifier(strange) is None


@pytest.mark.parametrize(("given", "policy"), [(None, "kazoo-2"), (0, "kazoo-0"), ("4", "kazoo-4"), (5, "kazoo-5")])
async def test_a_webhook_is_tried_as_often_as_it_says(
    house: KazooWorld, client: httpx2.AsyncClient, notifier: KazooWebhooks, rows: list[DeliveryRow], given: object, policy: str
) -> None:
    made = await client.put(house.path("/webhooks"), json={"data": HOOK | {"retries": given}})
    assert made.status_code == 201, made.text
    await happen(house, notifier, "recording_finished")
    assert [row.policy for row in rows] == [policy] and policy_of(policy).most == int(policy[-1]) + 1
    assert (await client.put(house.path("/webhooks"), json={"data": HOOK | {"retries": 6}})).status_code == 400
