"""Vonage's calls over REST: requests and answers against the platform's own description, and what is wrong with what is sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from api_world import World
from vonage_world import add_application, client_of

from tapeline.core.ids import new_id
from tapeline.flow import Party
from tapeline.store import Application

DESCRIPTION = Path(__file__).resolve().parents[4] / "shared/vectors/openapi/vonage-voice.yml"
NCCO = [{"action": "talk", "text": "hello"}, {"text": "a", "action": "record", "eventUrl": ["https://app.test/rec"]}]
TO = [{"type": "phone", "number": "447700900000"}]
CREATE = {"to": TO, "from": {"type": "phone", "number": "447700900001"}, "ncco": NCCO, "event_url": ["https://app.test/event"]}


class Description:
    """Checks values against a schema of the platform's OpenAPI file."""

    def __init__(self) -> None:
        if not DESCRIPTION.is_file():
            pytest.skip(f"the platform's description is not at {DESCRIPTION}")
        self._document = pytest.importorskip("yaml").safe_load(DESCRIPTION.read_text("utf-8"))
        items = self._document["components"]["schemas"]["CreateCallRequestBase"]["properties"]["to"]["items"]
        items["anyOf"] = items.pop("oneOf")  # as written, a telephone fits two of them
        self._schemas = pytest.importorskip("jsonschema_rs")

    def fits(self, schema: str, value: Any) -> None:
        document = {"$ref": f"#/components/schemas/{schema}", "components": self._document["components"]}
        validator = self._schemas.Draft4Validator(document)
        assert [error.message for error in validator.iter_errors(value)] == []


@pytest.fixture(scope="module")
def description() -> Description:
    return Description()


@pytest.fixture
def application(world: World) -> Application:
    return add_application(world)


@pytest.fixture
async def api(world: World, application: Application) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(world, application) as client:
        yield client


def up(world: World, application: Application, **fields: Any) -> str:
    return world.service.call(application.account, application_id=application.id, activeflow_id=new_id(), **fields)


def wrong(answer: httpx2.Response) -> set[str]:
    """The names of what is wrong."""
    body = answer.json()
    assert answer.status_code == 400 and body["title"] == "Bad Request", answer.text
    return {each["name"] for each in body["invalid_parameters"]}


# --- checklist: POST /v1/calls


async def test_post_v1_calls(world: World, api: httpx2.AsyncClient, description: Description) -> None:
    """201 and four strings; both or neither of ncco and answer_url: 400."""
    description.fits("CreateCallRequestNcco", CREATE)
    answer = await api.post("/v1/calls", json=CREATE)
    assert answer.status_code == 201
    body = answer.json()
    description.fits("CreateCallResponse", body)
    assert set(body) == {"uuid", "status", "direction", "conversation_uuid"} and all(isinstance(value, str) for value in body.values())
    assert (body["status"], body["direction"]) == ("started", "outbound") and body["conversation_uuid"].startswith("CON-")
    (order,) = world.service.voice.orders
    assert (order.to, order.source, order.event_url) == (Party("tel", "447700900000"), "447700900001", "https://app.test/event")
    assert order.program is not None and (order.length_s, order.ring_s, order.detection) == (7200.0, 60.0, False)
    url = {"answer_url": ["https://app.test/answer"], "answer_method": "POST"}
    by_url = {**{name: CREATE[name] for name in CREATE if name != "ncco"}, **url}
    description.fits("CreateCallRequestAnswerUrl", by_url)
    assert (await api.post("/v1/calls", json=by_url)).status_code == 201
    order = world.service.voice.orders[1]
    assert (order.program, order.answer_url, order.answer_method) == (None, "https://app.test/answer", "POST")
    assert wrong(await api.post("/v1/calls", json={**CREATE, **url})) == {"ncco"}
    assert wrong(await api.post("/v1/calls", json={"to": TO, "event_url": ["https://app.test/e"]})) == {"ncco"}


async def test_length_timer_and_ringing_timer(world: World, api: httpx2.AsyncClient) -> None:
    answer = await api.post("/v1/calls", json={**CREATE, "length_timer": "5", "ringing_timer": 7})
    assert answer.status_code == 201
    (order,) = world.service.voice.orders
    assert (order.length_s, order.ring_s) == (5.0, 7.0)


async def test_rate_limits_are_none_and_every_request_has_its_answer(world: World, api: httpx2.AsyncClient) -> None:
    """Three calls a second are the platform's limit; here as many as are asked for, and no connection is dropped."""
    answers = await asyncio.gather(*(api.post("/v1/calls", json=CREATE) for _ in range(30)), *(api.get("/v1/calls") for _ in range(30)))
    assert {answer.status_code for answer in answers} == {200, 201} and len(world.service.voice.orders) == 30


async def test_machine_detection_is_accepted(world: World, api: httpx2.AsyncClient) -> None:
    for more in (
        {"machine_detection": "hangup"},
        {"advanced_machine_detection": {"behavior": "continue", "mode": "detect_beep", "beep_timeout": 50}},
    ):
        assert (await api.post("/v1/calls", json={**CREATE, **more})).status_code == 201
    assert [order.detection for order in world.service.voice.orders] == [True, True]


@pytest.mark.parametrize(
    ("more", "names"),
    [
        ({"to": None}, {"to"}),
        ({"to": []}, {"to"}),
        ({"to": TO * 2}, {"to"}),
        ({"to": ["x"]}, {"to"}),
        ({"to": [{"type": "carrier pigeon"}]}, {"to"}),
        ({"to": [{"type": "sip", "uri": "http://x"}]}, {"to"}),
        ({"to": [{"type": "phone"}]}, {"to"}),
        ({"from": 7}, {"from"}),
        ({"from": {"type": "phone"}}, {"from"}),
        ({"random_from_number": True}, {"random_from_number"}),
        ({"random_from_number": 3}, {"random_from_number"}),
        ({"ncco": {}}, {"ncco"}),
        ({"ncco": [{"action": "pay"}]}, {"ncco"}),
        ({"ncco": [{"action": "record", "endOnSilence": 99}]}, {"ncco"}),
        ({"ncco": [{"action": "talk", "text": "x"}] * 2000}, {"ncco"}),
        ({"ncco": None, "answer_url": ["ftp://x/"]}, {"answer_url"}),
        ({"ncco": None, "answer_url": ["https://a/", "https://b/"]}, {"answer_url"}),
        ({"event_url": ["javascript:1"]}, {"event_url"}),
        ({"event_url": None}, {"event_url"}),
        ({"event_method": "PUT"}, {"event_method"}),
        ({"length_timer": 0}, {"length_timer"}),
        ({"length_timer": 86401}, {"length_timer"}),
        ({"ringing_timer": 1.5}, {"ringing_timer"}),
        ({"ringing_timer": "soon"}, {"ringing_timer"}),
        ({"ringing_timer": True}, {"ringing_timer"}),
        ({"machine_detection": "maybe"}, {"machine_detection"}),
        ({"advanced_machine_detection": {"beep_timeout": 1}}, {"advanced_machine_detection.beep_timeout"}),
        ({"to": [], "ringing_timer": 0, "event_method": 1}, {"to", "ringing_timer", "event_method"}),
    ],
    ids=lambda item: str(sorted(item) if isinstance(item, set) else item)[:60],
)
async def test_what_cannot_be_called(world: World, api: httpx2.AsyncClient, more: dict[str, Any], names: set[str]) -> None:
    assert wrong(await api.post("/v1/calls", json={**CREATE, **more})) == names
    assert not world.service.voice.orders


async def test_an_endpoint_that_cannot_be_reached(api: httpx2.AsyncClient) -> None:
    answer = await api.post("/v1/calls", json={**CREATE, "to": [{"type": "app", "user": "nowhere"}]})
    assert answer.status_code == 400 and "cannot be called" in answer.json()["detail"]


@pytest.mark.parametrize("body", [b"", b"[1]", b"{", b"[[[[" * 10_000, b'"x"', b"null"], ids=lambda body: repr(body[:8]))
async def test_bodies_that_are_none(api: httpx2.AsyncClient, body: bytes) -> None:
    for method, path in (("POST", "/v1/calls"), ("PUT", f"/v1/calls/{new_id()}"), ("PUT", f"/v1/calls/{new_id()}/talk")):
        answer = await api.request(method, path, content=body)
        assert answer.status_code in (400, 404) and {"type", "title", "detail"} <= set(answer.json())
    assert (await api.post("/v1/calls", content=b" " * 1_000_001)).status_code == 413


# --- checklist: GET call(s), PUT actions, stream, talk, dtmf


async def test_get_calls(world: World, application: Application, api: httpx2.AsyncClient, description: Description) -> None:
    ids = [up(world, application) for _ in range(3)]
    up(world, add_application(world, 1))
    answer = await api.get("/v1/calls", params={"page_size": "2", "record_index": "1", "order": "desc", "status": "answered"})
    body = answer.json()
    description.fits("GetCallsResponse", body)
    assert (body["count"], body["page_size"], body["record_index"]) == (3, 2, 1)
    assert [call["uuid"] for call in body["_embedded"]["calls"]] == ids[1:]
    assert set(body["_links"]) == {"self", "first", "last", "prev"} and "record_index=1" in body["_links"]["self"]["href"]
    assert "next" in (await api.get("/v1/calls", params={"page_size": "1"})).json()["_links"]
    wanted = world.service.voice.filters[0]
    assert (wanted.outcome, wanted.ascending, wanted.offset, wanted.limit) == ("answered", False, 1, 2)
    dates = {"date_start": "2016-11-14T07:45:14Z", "date_end": "2016-11-14 07:45:15", "conversation_uuid": f"CON-{ids[0]}"}
    assert (await api.get("/v1/calls", params=dates)).status_code == 200
    wanted = world.service.voice.filters[-1]
    assert (wanted.since, wanted.until, wanted.activeflow_id) == (1479109514.0, 1479109515.0, ids[0])


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ({"page_size": "0"}, "page_size"), ({"page_size": "101"}, "page_size"), ({"page_size": "x"}, "page_size"),
        ({"record_index": "-1"}, "record_index"), ({"order": "up"}, "order"), ({"status": "fine"}, "status"),
        ({"date_start": "soon"}, "date_start"),
    ],
)  # fmt: skip
async def test_lists_that_cannot_be(api: httpx2.AsyncClient, query: dict[str, str], name: str) -> None:
    assert wrong(await api.get("/v1/calls", params=query)) == {name}


async def test_get_a_call(world: World, application: Application, api: httpx2.AsyncClient, description: Description) -> None:
    call_id = up(world, application)
    body = (await api.get(f"/v1/calls/{call_id}")).json()
    description.fits("GetCallResponse", body)
    assert body["_links"]["self"]["href"] == f"/v1/calls/{call_id}" and body["status"] == "answered" and body["direction"] == "inbound"
    assert body["from"] == {"type": "phone", "number": "15551234567"} and "duration" not in body
    await api.put(f"/v1/calls/{call_id}", json={"action": "hangup"})
    ended = (await api.get(f"/v1/calls/{call_id}")).json()
    description.fits("GetCallResponse", ended)
    assert ended["status"] == "completed"
    assert all(isinstance(ended[name], str) for name in ("rate", "price", "duration", "start_time", "end_time", "network"))


async def test_put_actions(world: World, application: Application, api: httpx2.AsyncClient) -> None:
    call_id = up(world, application)
    for action in ("mute", "unmute", "earmuff", "unearmuff"):
        answer = await api.put(f"/v1/calls/{call_id}", json={"action": action})
        assert (answer.status_code, answer.content) == (204, b"")
    assert world.service.voice.done == [("mute", False, None), ("mute", True, None), ("mute", None, False), ("mute", None, True)]
    for destination in ({"type": "ncco", "url": ["https://app.test/n"]}, {"type": "ncco", "ncco": NCCO}):
        assert (await api.put(f"/v1/calls/{call_id}", json={"action": "transfer", "destination": destination})).status_code == 204
    assert world.service.voice.done[4:] == [("transfer", False, "https://app.test/n"), ("transfer", True, "")]
    assert (await api.put(f"/v1/calls/{call_id}", json={"action": "hangup"})).status_code == 204
    assert (await api.put(f"/v1/calls/{call_id}", json={"action": "hangup"})).status_code == 400
    assert (await api.put(f"/v1/calls/{call_id}", json={"action": "mute"})).status_code == 400


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"action": "explode"},
        {"action": "transfer"},
        {"action": "transfer", "destination": {"type": "url", "url": ["https://x/"]}},
        {"action": "transfer", "destination": {"type": "ncco"}},
        {"action": "transfer", "destination": {"type": "ncco", "ncco": [], "url": ["https://x/"]}},
        {"action": "transfer", "destination": {"type": "ncco", "ncco": [{"action": "x"}]}},
    ],
    ids=lambda item: str(item)[:60],
)
async def test_changes_that_cannot_be(world: World, application: Application, api: httpx2.AsyncClient, body: dict[str, Any]) -> None:
    assert wrong(await api.put(f"/v1/calls/{up(world, application)}", json=body))
    assert not world.service.voice.done


async def test_stream_talk_dtmf(world: World, application: Application, api: httpx2.AsyncClient, description: Description) -> None:
    call_id = up(world, application)
    stream = {"stream_url": ["https://app.test/a.mp3"], "loop": 0, "level": "0.4"}
    talk = {"text": "hi", "language": "de-DE", "loop": "2", "level": -1, "style": 3, "voice_name": "Amy"}
    asked: list[tuple[str, str, Any, str, str, str]] = [
        ("PUT", "stream", stream, "Stream started", "StartStreamRequest", "StartStreamResponse"),
        ("DELETE", "stream", None, "Stream stopped", "", "StopStreamResponse"),
        ("PUT", "talk", talk, "Talk started", "", "StartTalkResponse"),
        ("DELETE", "talk", None, "Talk stopped", "", "StopTalkResponse"),
        ("PUT", "dtmf", {"digits": "12#p*"}, "DTMF sent", "DTMFRequest", "DTMFResponse"),
        ("PUT", "input/dtmf", {"event_url": ["https://app.test/keys"]}, "DTMF listener started", "", ""),
        ("PUT", "input/dtmf", {"event_url": "https://app.test/keys"}, "DTMF listener started", "", ""),
        ("DELETE", "input/dtmf", None, "DTMF listener stopped", "", ""),
    ]
    for method, rest, body, message, given, got in asked:
        if given:
            description.fits(given, body)
        answer = await api.request(method, f"/v1/calls/{call_id}/{rest}", **({"json": body} if body is not None else {}))
        assert (answer.status_code, answer.json()) == (200, {"message": message, "uuid": call_id})
        if got:
            description.fits(got, answer.json())
    address = ("https://app.test/keys", "POST")
    assert world.service.voice.done == [
        ("stream", "https://app.test/a.mp3", 0, 0.4), ("hush", "stream"), ("talk", "hi", "de-DE", 2, -1.0), ("hush", "talk"),
        ("press", "12#p*"), ("tell_keys", address), ("tell_keys", address), ("tell_keys", None),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("rest", "body", "name"),
    [
        ("talk", {}, "text"),
        ("talk", {"text": "x" * 4000}, "text"),
        ("talk", {"text": "x", "level": 2}, "level"),
        ("talk", {"text": "x", "loop": -1}, "loop"),
        ("stream", {}, "stream_url"),
        ("stream", {"stream_url": ["file:///etc/passwd"]}, "stream_url"),
        ("dtmf", {}, "digits"),
        ("dtmf", {"digits": "12a"}, "digits"),
        ("dtmf", {"digits": "1" * 101}, "digits"),
        ("input/dtmf", {}, "event_url"),
    ],
    ids=lambda item: str(item)[:60],
)
async def test_what_cannot_be_heard(
    world: World, application: Application, api: httpx2.AsyncClient, rest: str, body: dict[str, Any], name: str
) -> None:
    assert wrong(await api.put(f"/v1/calls/{up(world, application)}/{rest}", json=body)) == {name}
    assert not world.service.voice.done


async def test_calls_of_others_are_not_there(world: World, application: Application, api: httpx2.AsyncClient) -> None:
    other = up(world, add_application(world, 1))
    asked = [
        ("GET", ""), ("PUT", ""), ("PUT", "/talk"), ("DELETE", "/talk"), ("PUT", "/stream"), ("DELETE", "/stream"),
        ("PUT", "/dtmf"), ("PUT", "/input/dtmf"), ("DELETE", "/input/dtmf"),
    ]  # fmt: skip
    body = {
        "action": "mute", "text": "x", "stream_url": ["https://x.test/"], "digits": "1", "event_url": ["https://x.test/"]
    }  # fmt: skip
    for call_id in (other, new_id(), "63f61863"):
        for method, rest in asked:
            answer = await api.request(method, f"/v1/calls/{call_id}{rest}", **({"json": body} if method == "PUT" else {}))
            assert answer.status_code == 404, (method, rest)
    async with world.client("") as nobody:
        for method, rest in asked:
            assert (await nobody.request(method, f"/v1/calls/{other}{rest}")).status_code == 401
    async with world.client() as by_token:  # an API token is no application's
        assert (await by_token.get("/v1/calls")).status_code == 401


async def test_an_application_with_an_event_url_need_not_name_one(world: World) -> None:
    application = add_application(world, event_url="https://app.test/e")
    async with client_of(world, application) as client:
        assert (await client.post("/v1/calls", json={"to": TO, "ncco": NCCO})).status_code == 201


async def test_what_to_do_is_told_with_what_is_wrong(world: World, application: Application) -> None:
    async with client_of(world, application) as client:
        refused = await client.post("/v1/calls", content=b"[1]")
    assert refused.status_code == 400 and refused.json()["detail"] == "the body is not a JSON object (send a JSON object or nothing)"
