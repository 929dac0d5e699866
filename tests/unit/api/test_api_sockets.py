"""VoIPBIN's websocket of events: what is sent to whom, who is let in, and what a hostile client can do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from api_world import World

from tapeline.api.voipbin import sockets
from tapeline.api.voipbin.webhooks import shaped
from tapeline.calls.views import ConferenceView
from tapeline.core.happening import Happening
from tapeline.core.ids import new_id
from tapeline.core.principal import ROLES

WAIT_S = 30.0


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not condition():
            await asyncio.sleep(0)


class Peer:
    """A client of the websocket, on this side of any network. While `reading` is not set it takes nothing."""

    def __init__(self, world: World, token: str | None = None, headers: Mapping[str, str] | None = None) -> None:
        self._world = world
        self._token = world.secret if token is None else token
        self._headers = {"host": "rec.example"} | dict(headers or {})
        self._in: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._out: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self.reading = asyncio.Event()
        self.reading.set()

    async def __aenter__(self) -> Peer:
        scope = {
            "type": "websocket", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "ws", "path": "/v1.0/ws", "root_path": "",
            "raw_path": b"/v1.0/ws", "query_string": f"token={self._token}".encode(), "subprotocols": [], "state": {},
            "headers": [(name.encode(), value.encode()) for name, value in self._headers.items()], "client": ("192.0.2.7", 1),
            "server": ("rec.example", 80), "extensions": {"websocket.http.response": {}},
        }  # fmt: skip
        self._in.put_nowait({"type": "websocket.connect"})
        self._task = asyncio.create_task(self._world.app(scope, self._in.get, self._send))
        return self

    async def _send(self, message: Any) -> None:
        await self.reading.wait()
        self._out.put_nowait(message)

    async def __aexit__(self, *exception: object) -> None:
        self.leave()
        assert self._task is not None
        async with asyncio.timeout(WAIT_S):
            await self._task
        assert self._world.events.stats()["event_sockets"] == 0

    def leave(self) -> None:
        self.reading.set()
        self._in.put_nowait({"type": "websocket.disconnect", "code": 1001})

    async def took(self) -> dict[str, Any]:
        async with asyncio.timeout(WAIT_S):
            return await self._out.get()

    async def accepted(self) -> Peer:
        assert (await self.took())["type"] == "websocket.accept"
        return self

    async def denied(self) -> tuple[int, dict[str, Any]]:
        """Status and body."""
        start, body = await self.took(), await self.took()
        assert start["type"] == "websocket.http.response.start"
        error: dict[str, Any] = json.loads(body["body"])["error"]
        assert dict(start["headers"])[b"x-request-id"].decode() == error["request_id"]
        return start["status"], error

    async def event(self) -> dict[str, Any]:
        message = await self.took()
        assert message["type"] == "websocket.send", message
        event: dict[str, Any] = json.loads(message["text"])
        return event

    async def closed(self) -> tuple[int, str]:
        message = await self.took()
        assert message["type"] == "websocket.close", message
        return message["code"], message["reason"]

    def say(self, said: Any) -> None:
        self._in.put_nowait({"type": "websocket.receive", **({"bytes": said} if isinstance(said, bytes) else {"text": said})})

    def order(self, kind: str, *topics: Any) -> None:
        self.say(json.dumps({"type": kind, "topics": topics}))

    async def subscribe(self, *topics: str) -> None:
        wanted = self._world.events.stats()["event_topics"] + len(topics)
        self.order("subscribe", *topics)
        await until(lambda: self._world.events.stats()["event_topics"] == wanted)


def tell(world: World, kind: str, account: str = "", happening_id: str = "") -> str:
    """Let something happen; the id of what it happened to."""
    account = account or world.account
    data: Any = {"id": new_id()}
    if kind.startswith("recording_") and "export" not in kind:
        data = world.service.recordings[world.service.recording(account)]
    elif kind.startswith("call_"):
        data = world.service.calls[world.service.call(account)]
    elif kind.startswith("conference_"):
        data = ConferenceView(new_id(), account, "progressing", 1000.0)
    subject: str = data["id"] if isinstance(data, dict) else data.id
    world.events(Happening(kind, account, subject, 1000.0, data, happening_id or new_id()))
    return subject


async def test_what_is_subscribed_to_is_sent_in_the_envelope_of_webhooks(world: World) -> None:
    async with Peer(world) as peer:
        await peer.accepted()
        await peer.subscribe(f"customer_id:{world.account}:recording")
        for kind, account in (("call_ringing", ""), ("recording_started", world.other_account), ("recording_paused", "")):
            tell(world, kind, account)
        recording = tell(world, "recording_started")
        event = await peer.event()
        assert event == {"type": "recording_started", "data": json.loads(json.dumps(shaped(world.service.recordings[recording])))}


@pytest.mark.parametrize("topic", ["", ":call:*", ":Call:{call}", ":call:{call}*", ":call:{call}"])
async def test_a_topic_is_the_beginning_of_names(world: World, topic: str) -> None:
    call = world.service.call(world.account)
    async with Peer(world) as peer:
        await peer.accepted()
        await peer.subscribe(f"customer_id:{world.account}{topic.format(call=call)}")
        world.events(Happening("call_hangup", world.account, call, 1.0, world.service.calls[call], new_id()))
        assert (await peer.event())["data"]["id"] == call


async def test_what_is_not_wanted_any_more_is_not_sent(world: World) -> None:
    calls, recordings = (f"customer_id:{world.account}:{kind}" for kind in ("call", "recording"))
    async with Peer(world) as peer:
        await peer.accepted()
        await peer.subscribe(calls, recordings)
        peer.order("unsubscribe", calls + "*")
        await until(lambda: world.events.stats()["event_topics"] == 1)
        tell(world, "call_hangup")
        tell(world, "recording_finished")
        assert (await peer.event())["type"] == "recording_finished"


async def test_a_lasting_event_that_is_told_again_is_sent_once(world: World) -> None:
    async with Peer(world) as peer:
        await peer.accepted()
        await peer.subscribe(f"customer_id:{world.account}")
        for _ in range(2):
            tell(world, "recording_deleted", happening_id="the same")
        tell(world, "conference_created")
        assert [(await peer.event())["type"] for _ in range(2)] == ["recording_deleted", "conference_created"]


async def test_events_are_for_who_may_see_their_things_over_rest(world: World) -> None:
    async with Peer(world, world.tokens.issue(world.account, "calls:read", "recordings:read")) as peer:
        await peer.accepted()
        await peer.subscribe(f"customer_id:{world.account}")
        tell(world, "recording_export_finished")  # it has a link that plays what this token may not hear
        tell(world, "recording_finished")
        assert (await peer.event())["type"] == "recording_finished"
        peer.order("subscribe", f"customer_id:{world.account}:activeflow")
        assert (await peer.closed())[0] == 1008


async def test_the_server_s_administrator_may_follow_any_account(world: World) -> None:
    async with Peer(world, world.tokens.issue(world.account, "admin")) as peer:
        await peer.accepted()
        await peer.subscribe(f"customer_id:{world.other_account}:")
        tell(world, "call_hangup")
        theirs = tell(world, "call_hangup", world.other_account)
        assert (await peer.event())["data"]["id"] == theirs


@pytest.mark.parametrize(("token", "reason"), [("", "AUTHENTICATION_REQUIRED"), ("vb_nonsense", "INVALID_CREDENTIALS")])
async def test_without_a_token_nobody_is_let_in(world: World, token: str, reason: str) -> None:
    async with Peer(world, token) as peer:
        status, error = await peer.denied()
    assert (status, error["reason"]) == (401, reason)


@pytest.mark.parametrize("headers", [{"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}])
async def test_another_site_cannot_use_a_browser_s_cookie(world: World, headers: dict[str, str]) -> None:
    cookie = {"cookie": f"token={world.secret}"}
    async with Peer(world, "", cookie | headers) as peer:
        assert (await peer.denied())[0] == 401
    async with Peer(world, "", cookie | {"origin": "https://rec.example"}) as peer:
        await peer.accepted()


@pytest.mark.parametrize(
    "topic",
    [
        "customer_id:{other}", "customer_id:{other}:recording:*", "customer_id:*", "customer_id", "", "*", "account:{account}",
        "agent_id:{account}", "customer_id:{account}:" + "x" * 200, 7, None, "customer_id:{account}\u0000", "customer_id:ü",
    ],
)  # fmt: skip
async def test_a_topic_that_is_none_of_its_own_ends_the_connection(world: World, topic: Any) -> None:
    async with Peer(world) as peer:
        await peer.accepted()
        peer.order("subscribe", topic.format(other=world.other_account, account=world.account) if isinstance(topic, str) else topic)
        if topic == "customer_id:{account}\u0000":
            await peer.closed()
        else:
            assert (await peer.closed())[0] == 1008


async def test_an_agent_follows_itself_alone(world: World) -> None:
    agent = world.agents.make(world.account, role="agent")
    token = world.tokens.issue(world.account, *ROLES["agent"])
    for topic in (f"agent_id:{agent}:call", f"customer_id:{world.account}", f"customer_id:{world.account}:recording"):
        async with Peer(world, token) as peer:
            await peer.accepted()
            peer.order("subscribe", topic)
            assert (await peer.closed())[0] == 1008
    async with Peer(world, token) as peer:
        await peer.accepted()
        await peer.subscribe(f"agent_id:{world.tokens.by_secret[token].id}:call:*")


async def test_no_more_topics_than_are_allowed(world: World) -> None:
    topics = [f"customer_id:{world.account}:call:{number}" for number in range(sockets.MOST_TOPICS)]
    async with Peer(world) as peer:
        await peer.accepted()
        await peer.subscribe(*topics)
        peer.order("subscribe", f"customer_id:{world.account}:call:more")
        assert (await peer.closed())[0] == 1008
    twice = json.dumps({"type": "subscribe", "topics": topics * 2})
    for said in (twice, '{"type": "subscribe", "topics": "x"}', '{"type": "subscribe"}', b"x"):
        async with Peer(world) as peer:
            await peer.accepted()
            peer.say(said)
            assert (await peer.closed())[0] == 1008


async def test_what_is_no_order_is_passed_over(world: World) -> None:
    async with Peer(world) as peer:
        await peer.accepted()
        for said in ("", "ping", "[]", "7", "null", '{"type": 7}', '{"type": "ping"}', "[" * 60_000, '{"type": ["subscribe"]}', "\ud800"):
            peer.say(said)
        await peer.subscribe(f"customer_id:{world.account}")


async def test_who_does_not_read_is_cut_off_and_holds_up_nobody(world: World) -> None:
    cut_off = world.events.stats()["event_sockets_slow_total"]
    async with Peer(world) as slow:
        await slow.accepted()
        await slow.subscribe(f"customer_id:{world.account}:conference")
        slow.reading.clear()
        for _ in range(sockets.MOST_WAITING + 10):
            tell(world, "conference_updated")
        assert world.events.stats()["event_sockets_slow_total"] == cut_off + 1
        slow.reading.set()
        while (message := await slow.took())["type"] == "websocket.send":
            pass  # what was under way
        assert message["code"] == 1013


async def test_what_waits_for_one_client_is_bounded_in_characters(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "MOST_CHARACTERS", 2000)
    cut_off = world.events.stats()["event_sockets_slow_total"]
    async with Peer(world) as slow:
        await slow.accepted()
        await slow.subscribe(f"customer_id:{world.account}")
        slow.reading.clear()
        for _ in range(10):
            tell(world, "conference_updated")
        slow.reading.set()
        assert (await slow.closed())[0] == 1013
    assert world.events.stats()["event_sockets_slow_total"] == cut_off + 1


async def test_a_connection_ends_with_its_token(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "LOOK_S", 0.01)
    async with Peer(world) as peer:
        await peer.accepted()
        await peer.subscribe(f"customer_id:{world.account}")
        del world.tokens.by_secret[world.secret]
        world.clock.advance(6)
        assert await peer.closed() == (1008, "the token is not valid any more")


async def test_an_account_has_so_many_connections_and_no_more(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "MOST_OF_ACCOUNT", 1)
    async with Peer(world) as first:
        await first.accepted()
        second = Peer(world)
        await second.__aenter__()
        status, error = await second.denied()
        assert (status, error["reason"], error["details"]) == (429, "RATE_LIMIT_EXCEEDED", [{"limited_by": "customer"}])
        other = Peer(world, world.tokens.issue(world.other_account, "calls:read"))
        await other.__aenter__()
        await other.accepted()
        other.leave()
        await until(lambda: world.events.stats()["event_sockets"] == 1)
    async with Peer(world) as again:
        await again.accepted()


async def test_it_is_no_path_for_other_requests(world: World) -> None:
    async with world.client() as client:
        answer = await client.get("/v1.0/ws")
    assert (answer.status_code, answer.json()["error"]["reason"]) == (404, "ROUTE_NOT_FOUND")
