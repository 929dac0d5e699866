"""VoIPBIN's websocket of events, `/v1.0/ws`: who connects names topics, and is sent what its account's webhooks are sent, as it happens.

    handshake with a token -> {"type": "subscribe", "topics": ["customer_id:<account>:recording", ...]} -> {"type", "data"}, again and again

A topic is the beginning of `customer_id:<account>:<call, conference, recording or activeflow>:<id>`. Nothing is kept for who is not
connected, and nobody waits: who reads too slowly is cut off. What a token may not see over REST is not sent to it here, and once it is
worth nothing the connection ends. All of a client's is bounded: its messages, its topics, what waits for it, how often it may connect.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter, OrderedDict, deque
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import structlog
from starlette.routing import Router, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from tapeline.api.auth import Authenticator, credential
from tapeline.api.errors import TooManyRequests, Unauthenticated, error_response
from tapeline.api.middleware import new_request_id
from tapeline.api.routes import PREFIX
from tapeline.api.voipbin import shapes
from tapeline.api.voipbin.states import RecordingShaper
from tapeline.api.voipbin.webhooks import SENT, message
from tapeline.core.errors import Forbidden, TapelineError
from tapeline.core.happening import LASTING, Happening
from tapeline.core.ids import is_id
from tapeline.core.principal import Principal

__all__ = ["EventSockets", "read_topic"]

log: structlog.stdlib.BoundLogger = structlog.get_logger("tapeline.api")

SCOPES: Final[Mapping[str, str]] = {
    "recording": "recordings:read", "call": "calls:read", "conference": "calls:read", "activeflow": "flows:read",
}  # fmt: skip
OTHER_SCOPES: Final[Mapping[str, str]] = {"recording_export_finished": "recordings:export"}  # it has a link that needs no token
MOST_SOCKETS, MOST_OF_ACCOUNT = 1000, 100
MOST_TOPICS, LONGEST_TOPIC = 100, 200
MOST_WAITING, MOST_CHARACTERS = 1000, 4_000_000  # of one client
LOOK_S = 5.0  # between looks whether its token is still worth something
PAUSE_S = 0.02  # after each message of a client
RETRY_S = 60
REMEMBERED = 1000  # lasting happenings, which may be told again
POLICY, LATER, DEFECT = 1008, 1013, 1011  # codes of RFC 6455 and its registry

GONE: Final = (WebSocketDisconnect, RuntimeError)  # starlette's ways to say that the client left in the middle of a word

End = tuple[int, str]  # code and reason of a connection's end
LEFT: Final[End] = (0, "the client has gone")  # nobody is there to be told


class _Client:
    """One connection: its topics, and what waits to be sent to it."""

    def __init__(self, principal: Principal) -> None:
        self.principal = principal
        self.topics: dict[str, None] = {}
        self.end: End | None = None
        self.sent = 0
        self._waiting: deque[str] = deque()
        self._characters = 0
        self._changed = asyncio.Event()

    def wants(self, topic: str, scope: str) -> bool:
        return topic.startswith(tuple(self.topics)) and (self.principal.admin or scope in self.principal.scopes)

    def put(self, text: str) -> bool:
        """Whether it could be taken; else the connection is over."""
        if self.end is not None:
            return True
        self._waiting.append(text)
        self._characters += len(text)
        if len(self._waiting) > MOST_WAITING or self._characters > MOST_CHARACTERS:
            self.finish((LATER, "events came faster than they were read"))
            return False
        self._changed.set()
        return True

    def finish(self, end: End) -> None:
        """The first end counts."""
        self.end = self.end or end
        self._waiting.clear()
        self._changed.set()

    async def send(self, websocket: WebSocket) -> None:
        """Send what waits, until the end."""
        try:
            while self.end is None:
                await self._changed.wait()
                self._changed.clear()
                while self._waiting:
                    text = self._waiting.popleft()
                    self._characters -= len(text)
                    await websocket.send_text(text)
                    self.sent += 1
        except GONE:
            self.finish(LEFT)


class EventSockets:
    """A listener of happenings, and the endpoint of the connections. Belongs to one event loop."""

    def __init__(self, recording: RecordingShaper = shapes.recording) -> None:
        self._recording = recording
        self._clients: dict[_Client, str] = {}  # and their accounts
        self._of_account: Counter[str] = Counter()
        self._told: OrderedDict[str, None] = OrderedDict()
        self._slow = 0

    def stats(self) -> Mapping[str, float]:
        topics = sum(len(client.topics) for client in self._clients)
        return {"event_sockets": len(self._clients), "event_topics": topics, "event_sockets_slow_total": self._slow}

    # -- what happens --------------------------------------------------------------------------------------------------

    def __call__(self, happening: Happening) -> None:
        if happening.kind not in SENT or not self._clients:
            return
        resource = happening.kind.partition("_")[0]
        topic = f"customer_id:{happening.account}:{resource}:{happening.subject}"
        scope = OTHER_SCOPES.get(happening.kind, SCOPES[resource])
        clients = [client for client in self._clients if client.topics and client.wants(topic, scope)]
        if clients and self._is_new(happening):
            text = message(happening, self._recording)
            self._slow += sum(not client.put(text) for client in clients)

    def _is_new(self, happening: Happening) -> bool:
        if happening.kind not in LASTING:
            return True
        if happening.id in self._told:
            return False
        self._told[happening.id] = None
        if len(self._told) > REMEMBERED:
            self._told.popitem(last=False)
        return True

    # -- connections ---------------------------------------------------------------------------------------------------

    def router(self, authenticator: Authenticator) -> Router:
        return Router([WebSocketRoute(PREFIX + "/ws", partial(self.serve, authenticator=authenticator), name="events")])

    async def serve(self, websocket: WebSocket, authenticator: Authenticator) -> None:
        """One connection, from its handshake to its end."""
        secret = credential(websocket)
        try:
            principal = await authenticator.principal(websocket)
            if len(self._clients) >= MOST_SOCKETS or self._of_account[principal.account] >= MOST_OF_ACCOUNT:
                raise TooManyRequests("customer", RETRY_S)
        except TapelineError as error:
            request_id = new_request_id()
            denied = error_response(error, request_id)
            denied.headers["X-Request-Id"] = request_id
            await websocket.send_denial_response(denied)
            return
        client = _Client(principal)
        self._clients[client] = principal.account
        self._of_account[principal.account] += 1
        try:
            await websocket.accept()
            log.info("a websocket of events is open", account=principal.account)
            await self._run(websocket, client, authenticator, secret)
        except GONE:
            client.finish(LEFT)
        finally:
            del self._clients[client]
            self._of_account[principal.account] -= 1
            if not self._of_account[principal.account]:
                del self._of_account[principal.account]
            log.info("a websocket of events is over", account=principal.account, sent=client.sent, end=client.end[1] if client.end else "")

    async def _run(self, websocket: WebSocket, client: _Client, authenticator: Authenticator, secret: str) -> None:
        sending = asyncio.create_task(client.send(websocket))
        others = [asyncio.create_task(_hear(websocket, client)), asyncio.create_task(_watch(client, authenticator, secret))]
        try:
            await asyncio.wait([sending, *others], return_when=asyncio.FIRST_COMPLETED)
            for task in others:
                if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                    log.error("a websocket of events failed", error=repr(error))
            client.finish((DEFECT, "internal error"))  # unless it has an end already
            # Who does not read holds up the last sending, and with it this place among the account's connections, until the peer is gone.
            await sending
        finally:
            for task in (sending, *others):
                task.cancel()
            await asyncio.gather(sending, *others, return_exceptions=True)
        assert client.end is not None
        code, reason = client.end
        if code:
            await websocket.close(code, reason)


async def _hear(websocket: WebSocket, client: _Client) -> None:
    """Take what the client says, until it is over."""
    while client.end is None:
        try:
            said = await websocket.receive_text()
        except WebSocketDisconnect:
            client.finish(LEFT)
        except KeyError:  # starlette's way to say that it was no text
            client.finish((POLICY, "messages must be text"))
        else:
            _obey(client, said)
            await asyncio.sleep(PAUSE_S)


def _obey(client: _Client, said: str) -> None:
    """Subscribe or unsubscribe. What is neither is passed over, as the platform does."""
    try:
        order = json.loads(said)
    except (ValueError, RecursionError):
        return
    kind, topics = (order.get("type"), order.get("topics")) if isinstance(order, dict) else (None, None)
    if kind not in ("subscribe", "unsubscribe"):
        return
    try:
        if not isinstance(topics, list) or len(topics) > MOST_TOPICS:
            raise Forbidden(f"topics must be a list of at most {MOST_TOPICS}")
        prefixes = dict.fromkeys(read_topic(topic, client.principal) for topic in topics)
        if kind == "unsubscribe":
            client.topics = {topic: None for topic in client.topics if topic not in prefixes}
        elif len(client.topics | prefixes) > MOST_TOPICS:
            raise Forbidden(f"more than {MOST_TOPICS} topics")
        else:
            client.topics |= prefixes
    except Forbidden as error:
        client.finish((POLICY, error.message[:120]))


def read_topic(topic: Any, principal: Principal) -> str:
    """What the names of events begin with that `topic` asks for; a `*` at its end says nothing. Raises Forbidden."""
    if not isinstance(topic, str) or len(topic) > LONGEST_TOPIC or not topic.isascii():
        raise Forbidden("a topic is customer_id:<id>:<resource>:<id>")
    prefix = topic.lower().removesuffix("*")
    kind, owner, resource = (*prefix.split(":"), "", "")[:3]
    if kind not in ("customer_id", "agent_id") or not is_id(owner):
        raise Forbidden("a topic is customer_id:<id>:<resource>:<id>")
    if kind == "agent_id":
        if owner != principal.id:
            raise Forbidden("this agent is another one")
        return prefix  # nothing here belongs to an agent
    if not principal.may_see(owner):
        raise Forbidden("this topic belongs to another account")
    if resource in SCOPES:
        principal.require(SCOPES[resource])
    elif not principal.admin and principal.scopes.isdisjoint(SCOPES.values()):
        raise Forbidden("this token may see no events")
    return prefix


async def _watch(client: _Client, authenticator: Authenticator, secret: str) -> None:
    """Look, again and again, whether the token is still worth something, and what it may see."""
    while client.end is None:
        await asyncio.sleep(LOOK_S)
        try:
            client.principal = await authenticator.identify(secret)
        except Unauthenticated:
            client.finish((POLICY, "the token is not valid any more"))
        except TapelineError:
            client.finish((LATER, "the token cannot be looked up"))
