"""Voicemail boxes over KAZOO's API: messages listed, heard, filed, deleted; nobody's but the box's."""

from __future__ import annotations

import httpx2
import pytest
from api_world import World

from tapeline.api.kazoo.words import hex_id, month_id
from tapeline.core.kazoo import gregorian


def path(world: World, box: str, rest: str = "") -> str:
    return f"/v2/accounts/{hex_id(world.account)}/vmboxes/{box}/messages{rest}"


def left(world: World, box: str = "b1", account: str = "") -> str:
    custom = {"dialect": "kazoo", "voicemail_box": box, "from": "ann@here", "to": "bob@here", "caller_id_number": "1001"}
    return world.service.recording(account or world.account, origin="voicemail", custom=custom)


def kid(world: World, recording_id: str) -> str:
    return month_id(recording_id, world.service.recordings[recording_id].created)


async def test_messages_of_a_box_are_listed_newest_first_with_who_when_and_how_long(world: World, client: httpx2.AsyncClient) -> None:
    first, second = left(world), left(world)
    left(world, "other")
    world.service.recording(world.account)
    answer = (await client.get(path(world, "b1"))).json()
    assert [message["media_id"] for message in answer["data"]] == [kid(world, second), kid(world, first)]
    message = answer["data"][0]
    assert (message["from"], message["to"], message["caller_id_number"], message["folder"]) == ("ann@here", "bob@here", "1001", "new")
    assert message["length"] == 1500 and message["timestamp"] == gregorian(world.service.recordings[second].created)
    assert (await client.get(path(world, "b1"), params={"page_size": "1"})).json()["next_start_key"]
    listed = (await client.get(f"/v2/accounts/{hex_id(world.account)}/recordings")).json()["data"]
    assert len(listed) == 1, "messages are in their boxes, not among the recordings"


async def test_a_page_goes_on_at_its_key(world: World, client: httpx2.AsyncClient) -> None:
    wanted = [kid(world, left(world)) for _ in range(5)][::-1]
    seen: list[str] = []
    key = ""
    while True:
        page = (await client.get(path(world, "b1"), params={"page_size": "2", **({"start_key": key} if key else {})})).json()
        seen += [message["media_id"] for message in page["data"]]
        key = page.get("next_start_key", "")
        if not key:
            break
    assert seen == wanted


async def test_a_message_is_read_heard_filed_and_deleted(world: World, client: httpx2.AsyncClient) -> None:
    message = kid(world, left(world))
    assert (await client.get(path(world, "b1", f"/{message}"))).json()["data"]["media_id"] == message
    sound = await client.get(path(world, "b1", f"/{message}/raw"))
    assert sound.status_code == 200 and sound.content.startswith(b"RIFF") and "attachment" in sound.headers["content-disposition"]
    filed = await client.post(path(world, "b1", f"/{message}"), json={"data": {"folder": "saved"}})
    assert filed.json()["data"]["folder"] == "saved"
    assert (await client.get(path(world, "b1", f"/{message}"))).json()["data"]["folder"] == "saved"
    assert (await client.post(path(world, "b1", f"/{message}"), json={"data": {"folder": "lost"}})).status_code == 400
    gone = await client.delete(path(world, "b1", f"/{message}"))
    assert gone.status_code == 200 and gone.json()["data"]["folder"] == "deleted"
    assert (await client.get(path(world, "b1"))).json()["data"] == []


@pytest.mark.parametrize("rest", ["", "/raw"])
async def test_a_message_of_another_box_or_account_is_none(world: World, client: httpx2.AsyncClient, rest: str) -> None:
    other = kid(world, left(world, "other"))
    recording = kid(world, world.service.recording(world.account))
    for message in (other, recording, "202611-" + "0" * 32, "x"):
        answer = await client.get(path(world, "b1", f"/{message}{rest}"))
        assert (answer.status_code, answer.json()["error"]) == (404, "404")


async def test_the_box_of_a_user_has_each_of_its_names(world: World, client: httpx2.AsyncClient) -> None:
    left(world, "alice")
    assert len((await client.get(path(world, "ALICE"))).json()["data"]) == 1
