"""Documents that callflows name, over KAZOO's face: menus, groups, rules of time and sets of them, voicemail boxes."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from kazoo_world import KazooWorld

from tapeline.api.kazoo.collections import COLLECTIONS

ID = "5f" * 16
GOOD: dict[str, dict[str, Any]] = {
    "/menus": {"name": "main", "hunt": False, "media": {"greeting": "https://example.com/hello.wav"}, "retries": "3"},
    "/groups": {"name": "sales", "endpoints": {"alice": {"type": "user", "weight": 1}, ID: {"type": "device"}}},
    "/lists": {"name": "rude", "entries": {"a": {"number": "+4930"}, "b": {"prefix": "49"}, "c": {"pattern": "^0900"}}},
    "/temporal_rules": {"name": "open", "cycle": "weekly", "wdays": ["monday"], "time_window_start": 0, "time_window_stop": 86_400},
    "/temporal_rules_sets": {"name": "all", "temporal_rules": [ID]},
    "/vmboxes": {"name": "Alice", "mailbox": "1001", "pin": "1234", "owner_id": "alice", "timezone": "Europe/Berlin"},
}


@pytest.fixture
def world(house: KazooWorld) -> KazooWorld:
    return house


@pytest.mark.parametrize("path", GOOD)
async def test_a_document_is_made_listed_changed_and_taken_away(house: KazooWorld, client: httpx2.AsyncClient, path: str) -> None:
    kind = next(one for one in COLLECTIONS if one.path == path)
    made = await client.put(house.path(path), json={"data": {**GOOD[path], "ui_metadata": {"origin": "x"}, "pvt_type": "y"}})
    assert made.status_code == 201, made.text
    whole = made.json()["data"]
    assert whole == {"id": whole["id"], **GOOD[path], "ui_metadata": {"origin": "x"}} and len(whole["id"]) == 32
    at = house.path(f"{path}/{whole['id']}")
    assert (await client.get(at)).json()["data"] == whole
    listed = (await client.get(house.path(path))).json()
    assert [one["id"] for one in listed["data"]] == [whole["id"]] and set(listed["data"][0]) <= {"id", *kind.shown}
    assert (await client.get(house.path(path + "?filter_name=other"))).json()["data"] == []
    patched = await client.patch(at, json={"data": {"name": "new", "ui_metadata": None}})
    assert patched.json()["data"] == {"id": whole["id"], **GOOD[path], "name": "new"}
    assert house.stored.document(house.account, kind.kind, whole["id"])["name"] == "new"
    replaced = await client.post(at, json={"data": GOOD[path]})
    assert replaced.json()["data"] == {"id": whole["id"], **GOOD[path]}
    assert (await client.delete(at)).json()["data"]["_read_only"] == {"deleted": True}
    assert (await client.get(at)).status_code == (await client.delete(at)).status_code == 404
    assert (await client.patch(at, json={"data": {}})).status_code == 404
    assert not house.stored.document(house.account, kind.kind, whole["id"])


@pytest.mark.parametrize("path", [*GOOD, "/devices", "/callflows"])
async def test_an_id_that_callflows_name_is_kept_and_given_once(house: KazooWorld, client: httpx2.AsyncClient, path: str) -> None:
    document = GOOD.get(path, {"flow": {"module": "hangup", "data": {}}})
    for status in (201, 400):
        answer = await client.put(house.path(path), json={"data": {**document, "id": ID}})
        assert answer.status_code == status, answer.text
    assert "unique" in answer.json()["data"]["id"]
    assert (await client.get(house.path(f"{path}/{ID}"))).json()["data"]["id"] == ID
    assert (await client.delete(house.path(f"{path}/{ID}"))).status_code == 200
    assert (await client.put(house.path(path), json={"data": {**document, "id": ID}})).status_code == 201
    if path == "/callflows":
        return
    wrong = await client.put(house.path(path), json={"data": {**document, "id": "../x"}})
    assert wrong.status_code == 400 and "pattern" in wrong.json()["data"]["id"]


@pytest.mark.parametrize(
    ("path", "change", "field", "rule"),
    [
        ("/menus", {"name": None}, "name", "required"),
        ("/menus", {"retries": 11}, "retries", "maximum"),
        ("/menus", {"hunt_allow": "("}, "hunt_allow", "invalid"),
        ("/menus", {"media": {"greeting": 5}}, "media.greeting", "type"),
        ("/groups", {"endpoints": None}, "endpoints", "required"),
        ("/groups", {"endpoints": {"a": {"type": "pet"}}}, "endpoints.a.type", "enum"),
        ("/lists", {"entries": {"a": {"pattern": "("}}}, "entries.a.pattern", "invalid"),
        ("/lists", {"entries": []}, "entries", "type"),
        ("/temporal_rules", {"cycle": "often"}, "cycle", "enum"),
        ("/temporal_rules", {"cycle": None}, "cycle", "required"),
        ("/temporal_rules", {"wdays": ["moonday"]}, "wdays.0", "enum"),
        ("/temporal_rules", {"time_window_stop": 86_401}, "time_window_stop", "maximum"),
        ("/temporal_rules", {"days": [32]}, "days.0", "maximum"),
        ("/temporal_rules_sets", {"temporal_rules": []}, "temporal_rules", "minItems"),
        ("/vmboxes", {"mailbox": None}, "mailbox", "required"),
        ("/vmboxes", {"pin": "12"}, "pin", "minLength"),
        ("/vmboxes", {"pin": "abcd"}, "pin", "pattern"),
        ("/vmboxes", {"timezone": "Nowhere/Here"}, "timezone", "invalid"),
    ],
)
async def test_what_breaks_the_schema_names_field_and_rule(
    house: KazooWorld, client: httpx2.AsyncClient, path: str, change: dict[str, Any], field: str, rule: str
) -> None:
    document = {key: value for key, value in {**GOOD[path], **change}.items() if value is not None}
    answer = await client.put(house.path(path), json={"data": document})
    assert answer.status_code == 400 and rule in answer.json()["data"][field], answer.text
    assert (await client.get(house.path(path))).json()["data"] == []


async def test_what_is_not_there_or_anothers_is_refused(house: KazooWorld, client: httpx2.AsyncClient) -> None:
    for path in GOOD:
        assert (await client.get(house.path(f"{path}/none"))).status_code == 404
        assert (await client.get(house.path(path, house.other_account))).status_code == 403
        assert (await client.put(house.path(path, house.other_account), json={"data": GOOD[path]})).status_code == 403
        assert (await client.put(house.path(path), json={})).status_code == 400


async def test_a_pin_is_told_only_to_who_may_set_it(house: KazooWorld, client: httpx2.AsyncClient) -> None:
    assert (await client.put(house.path("/vmboxes"), json={"data": {**GOOD["/vmboxes"], "id": ID}})).json()["data"]["pin"] == "1234"
    reader = house.tokens.issue(house.account, "calls:read")
    told = await client.get(house.path(f"/vmboxes/{ID}"), headers={"Authorization": f"Bearer {reader}"})
    assert told.status_code == 200 and "pin" not in told.json()["data"] and told.json()["data"]["mailbox"] == "1001"
    assert (await client.get(house.path(f"/vmboxes/{ID}"))).json()["data"]["pin"] == "1234"


async def test_lists_go_on_page_by_page(house: KazooWorld, client: httpx2.AsyncClient) -> None:
    for path in ("/menus", "/devices"):
        for number in range(5):
            house.clock.advance(1)
            assert (await client.put(house.path(path), json={"data": {"name": f"n{number}"}})).status_code == 201
        seen: list[str] = []
        query = {"page_size": "2"}
        while True:
            page = (await client.get(house.path(path), params=query)).json()
            seen += [one["name"] for one in page["data"]]
            assert page["page_size"] == len(page["data"]) and page.get("start_key") == query.get("start_key")
            if "next_start_key" not in page:
                break
            query["start_key"] = page["next_start_key"]
        assert seen == ["n4", "n3", "n2", "n1", "n0"]
        assert (await client.get(house.path(path), params={"start_key": "none of ours"})).status_code == 400


@pytest.mark.parametrize("where", ["query", "body"])
async def test_a_post_may_say_which_method_it_means(house: KazooWorld, client: httpx2.AsyncClient, where: str) -> None:
    async def post(path: str, verb: str, data: Any) -> httpx2.Response:
        body = {"data": data, **({"verb": verb} if where == "body" else {})}
        return await client.post(house.path(path), json=body, params={"verb": verb} if where == "query" else {})

    made = await post("/menus", "put", {"name": "main"})
    assert made.status_code == 201, made.text
    at = f"/menus/{made.json()['data']['id']}"
    assert (await post(at, "PATCH", {"retries": 2})).json()["data"]["retries"] == 2
    assert (await post(at, "delete", {})).json()["data"]["_read_only"] == {"deleted": True}
    assert (await post("/menus", "get", {})).status_code == (await post("/menus", "trace", {})).status_code == 405


async def test_a_method_that_is_meant_needs_the_scope_of_that_method(house: KazooWorld, client: httpx2.AsyncClient) -> None:
    reader = house.tokens.issue(house.account, "calls:read")
    answer = await client.post(
        house.path("/menus"), params={"verb": "put"}, json={"data": {"name": "x"}}, headers={"Authorization": f"Bearer {reader}"}
    )
    assert answer.status_code == 403


NO_VERB = [b"", b'{"verb"', b'["verb"]', b'{"verb": 5}', b'{"data": {"verb": "delete"}}', b'{"verb": "' + b"x" * 100_000]


@pytest.mark.parametrize("body", NO_VERB, ids=range(len(NO_VERB)))
async def test_a_body_that_names_no_method_is_what_it_is(house: KazooWorld, client: httpx2.AsyncClient, body: bytes) -> None:
    made = (await client.put(house.path("/menus"), json={"data": {"name": "main"}})).json()["data"]["id"]
    answer = await client.post(house.path(f"/menus/{made}"), content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert (await client.get(house.path(f"/menus/{made}"))).status_code == 200


async def test_a_body_too_large_to_be_looked_into_comes_through_whole(house: KazooWorld, client: httpx2.AsyncClient) -> None:
    made = (await client.put(house.path("/menus"), json={"data": {"name": "main"}})).json()["data"]["id"]
    body = {"data": {"name": "main", "notes": "x" * 200_000}, "verb": "delete"}
    answer = await client.post(house.path(f"/menus/{made}"), json=body)
    assert answer.status_code == 200 and len(answer.json()["data"]["notes"]) == 200_000
