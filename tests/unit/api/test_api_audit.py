"""What requests leave in the audit, over every face, and what they do not."""

from __future__ import annotations

import httpx2
import pytest
from api_world import World

UNHEARD = ("/verify", "/exports", "/exports/{id}")  # they tell of no recording what its own list does not
ROUTES = [route for route in World().routes if "recording" in route.path]


async def test_who_lists_sees_listens_and_deletes_is_noted(world: World, client: httpx2.AsyncClient) -> None:
    made = world.service.recording(world.account)
    base = f"/v1.0/recordings/{made}"
    await client.get("/v1.0/recordings?page_size=5&accesskey=secret")
    await client.get(base)
    await client.get(base + "/file")
    await client.get(base + "/file", headers={"Range": "bytes=0-99"})
    await client.delete(base)
    assert [(deed.action, deed.subject, deed.status) for deed in world.trail.deeds] == [
        ("listed", "", 200), ("seen", made, 200), ("downloaded", made, 200), ("listened", made, 206), ("deleted", made, 200),
    ]  # fmt: skip
    first, ranged = world.trail.deeds[0], world.trail.deeds[3]
    assert first.detail == {"route": "GET /v1.0/recordings", "query": {"page_size": "5"}}
    assert ranged.detail["range"] == "bytes=0-99"
    assert {deed.account for deed in world.trail.deeds} == {world.account} and first.actor == "test"
    assert first.request_id.startswith("req_") and first.address


async def test_a_refusal_is_noted_with_its_status(world: World, client: httpx2.AsyncClient) -> None:
    foreign = world.service.recording(world.other_account)
    await client.get(f"/v1.0/recordings/{foreign}/file")
    async with world.client(world.tokens.issue(world.account, "calls:read")) as weak:
        await weak.delete(f"/v1.0/recordings/{foreign}")
    assert [(deed.action, deed.status) for deed in world.trail.deeds] == [("listened", 403), ("deleted", 403)]


async def test_what_gives_nothing_away_is_not_noted(world: World, client: httpx2.AsyncClient) -> None:
    made = f"/v1.0/recordings/{world.service.recording(world.account)}/file"
    etag = (await client.head(made)).headers["etag"]
    assert (await client.get(made, headers={"If-None-Match": etag})).status_code == 304
    async with world.client("") as nobody:
        await nobody.get(made)
    await client.get("/v1.0/calls")
    assert world.trail.deeds == []


async def test_kazoo_s_face_is_audited_too(world: World, client: httpx2.AsyncClient) -> None:
    made = world.service.recording(world.account)
    base = f"/v2/accounts/{world.account.replace('-', '')}/recordings"
    await client.get(base)
    await client.get(f"{base}/{made}")
    await client.get(f"{base}/{made}", headers={"Accept": "audio/mpeg"})
    await client.delete(f"{base}/{made}")
    assert [(deed.action, deed.subject) for deed in world.trail.deeds] == [
        ("listed", ""), ("seen", made), ("downloaded", made), ("deleted", made),
    ]  # fmt: skip


async def test_hostile_text_becomes_plain_text(world: World, client: httpx2.AsyncClient) -> None:
    await client.get("/v1.0/recordings/%00%ff" + "x" * 1000)
    await client.get("/v1.0/recordings?" + "&".join(f"k{n}={'%00' * 300}" for n in range(50)))
    subject, query = world.trail.deeds[0].subject, world.trail.deeds[1].detail["query"]
    assert "\0" not in subject and len(subject) <= 200 and len(query) == 20
    assert all("\0" not in value and len(value) <= 200 for value in query.values())


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_every_route_of_recordings_says_what_it_is_called(route: object) -> None:
    assert route.audit or route.path.endswith(UNHEARD)  # type: ignore[attr-defined]
