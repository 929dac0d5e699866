"""Storage plans over KAZOO's face: kept as given, tried before they are kept, refused field by field."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from kazoo_world import KazooWorld

from tapeline.delivery.errors import DeliveryFailed
from tapeline.delivery.plans import Handler

ONE, TWO = "a" * 32, "b" * 32


def document(handler: str = "http", **settings: Any) -> dict[str, Any]:
    usual = {"url": "https://files.example/in"} if handler == "http" else {"bucket": "calls-1", "key": "AK", "secret": "SK"}
    settings = settings or usual
    return {
        "attachments": {ONE: {"handler": handler, "name": "mine", "settings": settings}},
        "plan": {"modb": {"types": {"call_recording": {"attachments": {"handler": ONE}}}}},
    }


class Tried:
    """What was probed, and what the next probe says."""

    def __init__(self) -> None:
        self.handlers: list[Handler] = []
        self.wrong = ""

    async def __call__(self, handler: Handler, account: str) -> None:
        self.handlers.append(handler)
        if self.wrong:
            raise DeliveryFailed(self.wrong, fault="destination")


@pytest.fixture
def tried() -> Tried:
    return Tried()


@pytest.fixture
async def house(tmp_path: Path, tried: Tried) -> AsyncIterator[KazooWorld]:
    world = KazooWorld(tried)
    await world.open(tmp_path)
    yield world
    await world.close()


@pytest.fixture
async def client(house: KazooWorld) -> AsyncIterator[httpx2.AsyncClient]:
    async with house.client() as opened:
        yield opened


async def test_plans_are_made_read_changed_and_taken_away(house: KazooWorld, client: httpx2.AsyncClient, tried: Tried) -> None:
    at = house.path("/storage")
    assert (await client.get(at)).status_code == 404
    made = await client.put(at, json={"data": document()})
    assert made.status_code == 201
    told = made.json()["data"]
    assert {key: told[key] for key in ("attachments", "plan")} == document() == {key: told[key] for key in ("attachments", "plan")}
    assert (await client.get(at)).json()["data"] == told
    assert house.stored.document(house.account, "storage", house.account) == document()
    renamed = await client.patch(at, json={"data": {"attachments": {TWO: document("s3")["attachments"][ONE]}}})
    assert renamed.status_code == 200 and set(renamed.json()["data"]["attachments"]) == {ONE, TWO}
    assert [handler.id for handler in tried.handlers] == [ONE, TWO], "only what is new is tried"
    replaced = await client.post(at, json={"data": document("s3")})
    assert replaced.status_code == 200 and len(tried.handlers) == 3
    gone = await client.delete(at)
    assert gone.json()["data"]["_read_only"] == {"deleted": True}
    assert (await client.get(at)).status_code == (await client.delete(at)).status_code == 404
    assert house.stored.document(house.account, "storage", house.account) == {}


async def test_a_handler_that_does_not_work_is_not_kept(house: KazooWorld, client: httpx2.AsyncClient, tried: Tried) -> None:
    tried.wrong = "storing a test file was answered 403"
    answer = await client.put(house.path("/storage"), json={"data": document("s3")})
    assert answer.status_code == 400
    assert answer.json()["data"] == {f"attachments.{ONE}": {"invalid": {"message": tried.wrong, "target": ONE}}}
    assert (await client.get(house.path("/storage"))).status_code == 404
    unheard = await client.put(house.path("/storage"), params={"validate_settings": "false"}, json={"data": document("s3")})
    assert unheard.status_code == 400 and "validate_settings" in unheard.json()["data"]


async def test_it_may_be_left_out_where_the_settings_say_so(tmp_path: Path, tried: Tried) -> None:
    world = KazooWorld(tried, unvalidated_storage=True)
    await world.open(tmp_path)
    async with world.client() as client:
        tried.wrong = "no"
        answer = await client.put(world.path("/storage"), params={"validate_settings": "false"}, json={"data": document()})
        assert answer.status_code == 201 and tried.handlers == []
    await world.close()


@pytest.mark.parametrize(
    ("given", "field"),
    [
        (document("azure"), f"attachments.{ONE}.handler"),
        (document("http", url="ftp://x"), f"attachments.{ONE}.settings.url"),
        (document("http", url="http://127.0.0.1/"), f"attachments.{ONE}.settings.url"),
        (document("http", verb="put"), f"attachments.{ONE}.settings.url"),
        (document("s3", bucket="calls-1", key="A"), f"attachments.{ONE}.settings.secret"),
        (document("s3", bucket="a b", key="A", secret="S"), f"attachments.{ONE}.settings.bucket"),
        (document("s3", bucket="calls-1", key="A", secret="S", host="a/b"), f"attachments.{ONE}.settings.host"),
        ({"attachments": {"../x": document()["attachments"][ONE]}}, "attachments.../x"),
        ({"attachments": {ONE: {"handler": "s3"}}}, f"attachments.{ONE}.settings"),
        ({"attachments": [], "plan": {}}, "attachments"),
        ({"plan": document()["plan"]}, "plan.modb.types.call_recording.attachments.handler"),
        ({"plan": {"elsewhere": {}}}, "plan.elsewhere"),
    ],
)
async def test_what_is_wrong_is_told_field_by_field_and_nothing_is_tried(
    house: KazooWorld, client: httpx2.AsyncClient, tried: Tried, given: dict[str, Any], field: str
) -> None:
    answer = await client.put(house.path("/storage"), json={"data": given})
    assert answer.status_code == 400 and field in answer.json()["data"], answer.json()["data"]
    assert tried.handlers == []


async def test_secrets_are_for_those_who_may_write(house: KazooWorld) -> None:
    async with house.client(house.tokens.issue(house.account, "calls:read")) as reader:
        assert (await reader.get(house.path("/storage"))).status_code == 403
