"""Applications are asked: by GET or JSON, twice, then at the fallback; errors are told; the platform's own SDK verifies the signatures."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import jwt
import pytest
from vonage_jwt import verify_jwt

from tapeline.calls.session import Facts
from tapeline.calls.views import Address
from tapeline.calls.vonage import answering
from tapeline.calls.vonage.applications import Applications
from tapeline.calls.vonage.webhooks import Question, Webhooks
from tapeline.core.errors import InvalidInput, Unavailable
from tapeline.core.ids import new_id
from tapeline.core.vonage import number_of, signature, signed_part, with_query, without_query
from tapeline.delivery import http as guarded
from tapeline.delivery.http import GuardedClient
from tapeline.store import Application, AttemptRow, DeliveryRow
from tapeline.testing.process import free_port
from tapeline.testing.receiver import Receiver

SHORT_S = 0.5  # in place of the six seconds that one try may take
ID = new_id()
NCCO = b'[{"action": "talk", "text": "hello"}]'
ANSWER = "https://app.test/answer"
FALLBACK = "https://app.test/fallback"
FOUR = {"to", "from", "uuid", "conversation_uuid"}


def lost(message: str = "gave up") -> Unavailable:
    return Unavailable(message, reason="NO_ANSWER")


class Http:
    """Answers by path, each answer once, the last one for ever."""

    def __init__(self, **answers: list[Any]) -> None:
        self.answers = answers
        self.requests: list[SimpleNamespace] = []

    async def request(self, method: str, url: str, *, body: bytes = b"", headers: Any = (), timeout_s: float, max_bytes: int) -> Any:
        limits = {"timeout_s": timeout_s, "max_bytes": max_bytes}
        self.requests.append(SimpleNamespace(method=method, url=url, body=body, headers=dict(headers), **limits))
        waiting = self.answers[urlsplit(url).path.strip("/")]
        found = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        if isinstance(found, Exception):
            raise found
        status, content = found if isinstance(found, tuple) else (200, found)
        return SimpleNamespace(status=status, body=content)

    def paths(self) -> list[str]:
        return [urlsplit(request.url).path.strip("/") for request in self.requests]


class Caller:
    def __init__(self, **headers: str) -> None:
        self.facts = Facts(new_id(), "account", new_id(), Address("sip", "4471@carrier.test"), Address("sip", "1000@here.test:5060"), 1.0,
                           application_id=ID)  # fmt: skip
        self.incoming, self.over, self.place, self.led = True, False, None, False
        self.session = SimpleNamespace(request=SimpleNamespace(fields=list(headers.items())))
        self.ended: list[tuple[str, str]] = []
        self.listener: Any = None

    def follow(self, listener: Any) -> None:
        self.listener = listener

    def hang_up(self, reason: str, text: str = "") -> None:
        self.over = True
        self.ended.append((reason, text))

    def view(self) -> str:
        return self.facts.id


class Kit:
    def __init__(self, http: Any, **fields: Any) -> None:
        made = Application(**{"id": ID, "account": "account", "answer_url": ANSWER, "fallback_url": FALLBACK, **fields})
        self.applications = Applications([made])
        self.http = http
        self.clock = SimpleNamespace(wall=lambda: 1_700_000_000.25, now=lambda: 0.0)
        self.settings = None
        self.node = "here"
        self.rows: list[Any] = []
        self.writer = SimpleNamespace(put=self.rows.append)
        self.events: list[dict[str, Any]] = []
        self.webhooks = Webhooks(self)  # type: ignore[arg-type]

    def happened(self, kind: str, account: str, subject: str, data: Any) -> None:
        assert kind == "call_event"
        self.events.append(data["event"])

    async def thread(self, work: Any, *args: Any) -> Any:
        return work(*args)

    @property
    def tries(self) -> list[AttemptRow]:
        return [row for row in self.rows if isinstance(row, AttemptRow)]

    @property
    def asked(self) -> list[DeliveryRow]:
        return [row for row in self.rows if isinstance(row, DeliveryRow)]

    @property
    def errors(self) -> list[str]:
        assert all(set(event) == {"reason", "conversation_uuid", "timestamp"} for event in self.events)
        return [event["reason"] for event in self.events]


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    programs: list[Any] = []
    monkeypatch.setattr(answering, "run", lambda program, call, kit: programs.append(program))
    return programs


async def asked(kit: Kit, call: Caller, method: str = "GET") -> None:
    await answering._answered(call, answering.question_of(call, ANSWER, method, kit), kit)  # type: ignore[arg-type]


# --- checklist: answer webhook, fallback URL, error event


async def test_answer_webhook(ran: list[Any]) -> None:
    """GET with the four keys by default, or POST with the same as JSON; the NCCO is the answer."""
    http = Http(answer=[NCCO])
    kit, call = Kit(http), Caller(**{"X-Shop": "7", "X-Nexmo-Trace": "1", "User-Agent": "x", "User-to-User": "u"})
    await asked(kit, call)
    await asked(kit, call, "POST")
    got, posted = http.requests
    query = dict(parse_qsl(urlsplit(got.url).query))
    assert (got.method, got.body) == ("GET", b"") and query == json.loads(posted.body)
    assert set(query) == FOUR | {"SipHeader_X-Shop", "SipHeader_User-to-User"}
    assert (query["from"], query["to"], query["uuid"]) == ("4471", "1000", call.facts.id)
    assert query["conversation_uuid"] == f"CON-{call.facts.activeflow_id}"
    assert posted.headers["Content-Type"] == "application/json" and len(ran) == 2 and not call.ended
    assert [(row.kind, row.target, row.outcome) for row in kit.tries] == [("answer", ANSWER, "ok")] * 2
    assert [(row.kind, row.ref, row.state, row.tries) for row in kit.asked] == [("answer", call.facts.id, "delivered", 1)] * 2
    assert [row.ref for row in kit.tries] == [row.id for row in kit.asked]


async def test_exactly_the_four_keys_where_there_is_no_more_to_say(ran: list[Any]) -> None:
    http = Http(answer=[NCCO])
    await asked(Kit(http), Caller())
    assert set(dict(parse_qsl(urlsplit(http.requests[0].url).query))) == FOUR


async def test_fallback_url(ran: list[Any]) -> None:
    """Asked after two failed tries, and told why and what was asked before."""
    http = Http(answer=[(503, b"")], fallback=[NCCO])
    kit, call = Kit(http), Caller()
    await asked(kit, call)
    assert http.paths() == ["answer", "answer", "fallback"] and len(ran) == 1 and not call.ended
    query = dict(parse_qsl(urlsplit(http.requests[2].url).query))
    assert query["reason"] == "answered 503" and set(query) == FOUR | {"reason", "original_request"}
    assert json.loads(query["original_request"]) == {"url": ANSWER, "type": "answer"}
    assert kit.errors == [f"answer_url {ANSWER} failed: answered 503"]
    assert [row.outcome for row in kit.tries] == ["failed", "failed", "ok"] and kit.tries[0].status == 503
    assert [(row.state, row.tries, row.status, row.reason) for row in kit.asked] == [
        ("failed", 2, 503, "answered 503"), ("delivered", 1, 200, "")
    ]  # fmt: skip


WRONG = [
    *(b"", b"no JSON", b"[{]", b"{}", b'{"action": "talk"}', b'[{"action": "pay"}]'),
    *(b'[{"action": "record", "endOnSilence": "99"}]', b"[[[[" * 10_000),
]


@pytest.mark.parametrize("body", WRONG, ids=[repr(body[:20]) for body in WRONG])
async def test_error_event(ran: list[Any], body: bytes) -> None:
    """A document that cannot run is told with its reason, and the call ends; it is not asked for twice."""
    http = Http(answer=[body])
    kit, call = Kit(http, fallback_url=""), Caller()
    await asked(kit, call)
    assert http.paths() == ["answer"] and not ran and [reason for reason, _ in call.ended] == ["failed"]
    (told,) = kit.errors
    assert "no NCCO that can run" in told


async def test_a_document_that_cannot_run_leads_to_the_fallback(ran: list[Any]) -> None:
    http = Http(answer=[b"{"], fallback=[b"{", NCCO])
    kit, call = Kit(http), Caller()
    await asked(kit, call)
    assert http.paths() == ["answer", "fallback"] and call.ended and len(kit.errors) == 2
    kit, call = Kit(http), Caller()
    await asked(kit, call)
    assert len(ran) == 1 and not call.ended


BAD = {
    "slow": (lost("gave up after 6 s"), 2),
    "down": (lost("no connection"), 2),
    "busy": ((429, b""), 2),
    "gateway": ((502, b""), 2),
    "refuses": ((404, b""), 1),
    "defect": ((500, b""), 1),
    "distrusted": (Unavailable("no connection: certificate"), 1),
    "private": (InvalidInput("'x' is not a public address", reason="DESTINATION_REFUSED"), 1),
    "too long": (Unavailable("the answer is longer than 100000 bytes"), 1),
}


@pytest.mark.parametrize("name", BAD)
async def test_an_answer_url_that_fails_ends_the_call(ran: list[Any], name: str) -> None:
    failure, tries = BAD[name]
    http = Http(answer=[failure], fallback=[failure])
    kit, call = Kit(http), Caller()
    await asked(kit, call)
    assert http.paths() == ["answer"] * tries + ["fallback"] * tries and len(kit.errors) == 2 and not ran
    assert [reason for reason, _ in call.ended] == ["failed"]
    assert all(request.max_bytes == 100_000 and request.timeout_s <= 6.0 for request in http.requests)


async def test_a_second_try_may_do(ran: list[Any]) -> None:
    http = Http(answer=[lost(), NCCO])
    kit, call = Kit(http), Caller()
    await asked(kit, call)
    assert http.paths() == ["answer", "answer"] and len(ran) == 1 and not kit.events


async def test_a_caller_who_leaves_meanwhile_is_no_error(ran: list[Any]) -> None:
    call = Caller()

    class Leaving(Http):
        async def request(self, *args: Any, **more: Any) -> Any:
            call.over = True
            return await super().request(*args, **more)

    kit = Kit(Leaving(answer=[b"{"]))
    await asked(kit, call)
    assert not ran and not call.ended and not kit.events


async def test_an_address_that_leads_to_a_private_one_is_not_followed() -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return ["10.0.0.7"]

    async with GuardedClient(resolve=resolve) as client:
        kit, call = Kit(client, fallback_url=""), Caller()
        reply = await kit.webhooks.ask(call, Question("answer", ANSWER, "GET", {}))  # type: ignore[arg-type]
    assert reply.body is None and "not a public address" in reply.failure and len(kit.tries) == 1


# --- over the client that a server has, to a receiver that misbehaves


@dataclass
class Town:
    """A receiver that is called app.test, and taken for public; the call; who asks."""

    receiver: Receiver
    kit: Kit
    call: Caller

    def url(self, path: str) -> str:
        return self.receiver.url.replace("127.0.0.1", "app.test") + path

    async def asked(self) -> None:
        question = answering.question_of(self.call, self.url("/answer"), "GET", self.kit)  # type: ignore[arg-type]
        await answering._answered(self.call, question, self.kit)  # type: ignore[arg-type]

    def tried(self) -> list[int]:
        return [len(self.receiver.received(path)) for path in ("/answer", "/fallback")]


@pytest.fixture
async def town(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Town]:
    async def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.1"] if host == "app.test" else ["10.0.0.7"] if host == "inside.test" else [host]

    guard = guarded.public_address
    monkeypatch.setattr(guarded, "public_address", lambda text: text == "127.0.0.1" or guard(text))
    async with GuardedClient(resolve=resolve) as client:
        with Receiver() as receiver:
            made = Town(receiver, Kit(client), Caller())
            known = replace(made.kit.applications.get(ID), fallback_url=made.url("/fallback"))  # type: ignore[type-var]
            made.kit.applications = Applications([known])  # type: ignore[list-item]
            receiver.serve("/fallback", NCCO)
            yield made


PRIVATE = ["http://inside.test/", "http://10.0.0.7/", "http://[::1]/", "http://169.254.169.254/latest/meta-data/", "http://192.168.1.1:8080/"]


@pytest.mark.parametrize("target", PRIVATE)
async def test_a_redirect_to_a_private_address_is_not_followed(town: Town, ran: list[Any], target: str) -> None:
    """One try, an error, the fallback; without one the call ends."""
    town.receiver.redirect("/answer", target)
    await town.asked()
    assert town.tried() == [1, 1] and len(ran) == 1 and not town.call.ended
    (told,) = town.kit.errors
    assert "not a public address" in told and told.startswith("answer_url http://app.test")
    town.receiver.redirect("/fallback", target)
    await town.asked()
    assert town.tried() == [2, 2] and len(ran) == 1 and [reason for reason, _ in town.call.ended] == ["failed"]


async def test_a_redirect_within_the_internet_is_followed(town: Town, ran: list[Any]) -> None:
    town.receiver.redirect("/answer", town.url("/moved"))
    town.receiver.serve("/moved", NCCO)
    await town.asked()
    assert len(ran) == 1 and not town.kit.events and town.tried() == [1, 0]


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        (b'[{"action": "talk", "text": "' + b"x" * 10_000_000 + b'"}]', "longer than"),
        (b"[{", "no NCCO that can run"),
        (b"<html>", "no NCCO that can run"),
    ],
    ids=["10 MB", "invalid JSON", "HTML"],
)
async def test_an_answer_of_no_use_leads_to_the_fallback(town: Town, ran: list[Any], body: bytes, wrong: str) -> None:
    town.receiver.serve("/answer", body)
    await town.asked()
    assert town.tried() == [1, 1] and len(ran) == 1 and not town.call.ended
    assert [wrong in told for told in town.kit.errors] == [True]
    town.receiver.serve("/fallback", body)
    await town.asked()
    assert len(ran) == 1 and town.call.ended and len(town.kit.errors) == 3


@pytest.mark.parametrize("fault", ["hang", "close"])
async def test_a_slow_answer_is_asked_for_twice_and_then_the_fallback(
    town: Town, ran: list[Any], fault: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answering, "ANSWER_S", SHORT_S)
    town.receiver.fail("/answer", fault, fault)
    await town.asked()
    assert [(row.state, row.tries) for row in town.kit.asked] == [("failed", 2), ("delivered", 1)]
    assert len(ran) == 1 and not town.call.ended and len(town.kit.errors) == 1


async def test_where_the_fallback_does_not_answer_either_the_call_ends(town: Town, ran: list[Any]) -> None:
    for path in ("/answer", "/fallback"):
        town.receiver.fail(path, "close", "half")
    await town.asked()
    assert town.tried() == [2, 2] and not ran and [reason for reason, _ in town.call.ended] == ["failed"]
    assert [told.partition(" ")[0] for told in town.kit.errors] == ["answer_url", "fallback_url"]


async def test_an_answer_url_that_is_down_is_asked_twice(town: Town, ran: list[Any]) -> None:
    question = answering.question_of(town.call, f"http://app.test:{free_port()}/answer", "GET", town.kit)  # type: ignore[arg-type]
    await answering._answered(town.call, question, town.kit)  # type: ignore[arg-type]
    assert [(row.state, row.tries) for row in town.kit.asked] == [("failed", 2), ("delivered", 1)] and len(ran) == 1


async def test_an_event_whose_answer_is_wanted_falls_back_too() -> None:
    http = Http(event=[(503, b"")], fallback=[NCCO])
    kit, call = Kit(http), Caller()
    reply = await kit.webhooks.ask(call, Question("event", "https://app.test/event?a=b", "POST", {"dtmf": {"digits": "1"}}))  # type: ignore[arg-type]
    assert reply.body == NCCO
    query = dict(parse_qsl(urlsplit(http.requests[2].url).query))
    assert json.loads(query["original_request"])["type"] == "event" and json.loads(query["dtmf"]) == {"digits": "1"}
    assert "a=b" not in kit.errors[0]


# --- checklist: signed webhooks


async def test_signed_webhooks(ran: list[Any]) -> None:
    """A token whose payload_hash is that of the very bytes; the SDK's own function verifies it."""
    secret = "s" * 32
    http = Http(answer=[NCCO])
    kit, call = Kit(http, signature_secret=secret), Caller()
    kit.clock.wall = time.time
    await asked(kit, call)
    await asked(kit, call, "POST")
    got, posted = http.requests
    for request in (got, posted):
        token = request.headers["Authorization"].removeprefix("Bearer ")
        assert verify_jwt.verify_signature(token, secret) is True
        assert verify_jwt.verify_signature(token, "t" * 32) is False
        claims = _claims(token)
        assert set(claims) == {"iat", "jti", "iss", "payload_hash", "api_key", "application_id"} and claims["iss"] == "Vonage"
        payload = request.body or json.dumps(dict(parse_qsl(urlsplit(request.url).query)), separators=(",", ":")).encode()
        assert claims["payload_hash"] == hashlib.sha256(payload).hexdigest() and claims["application_id"] == ID
    assert "Authorization" not in (await _unsigned(NCCO)).headers


def _claims(token: str) -> dict[str, Any]:
    found: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return found


async def _unsigned(body: bytes) -> SimpleNamespace:
    http = Http(answer=[body])
    kit = Kit(http)
    await kit.webhooks.ask(Caller(), Question("answer", ANSWER, "GET", {}))  # type: ignore[arg-type]
    return http.requests[0]


def test_what_is_signed_of_a_get_is_its_query() -> None:
    url = with_query("https://app.test/e?own=1", {"a": "b c", "n": {"x": 1}})
    assert signed_part("GET", url, b"") == b'{"own":"1","a":"b c","n":"{\\"x\\":1}"}'
    assert signed_part("POST", url, b"body") == b"body"
    application = Application(ID, "account", signature_secret="x" * 32)
    assert signature(application, b"1", 5.0, "j") != signature(replace(application, signature_secret="y" * 32), b"1", 5.0, "j")


@pytest.mark.parametrize(
    ("kind", "target", "said"),
    [
        ("tel", "+4471", "4471"),
        ("sip", "4471@carrier.test", "4471"),
        ("sip", "alice@here.test", "sip:alice@here.test"),
        ("user", "alice", "alice"),
        ("", "sip:bob@x", "sip:bob@x"),
        ("", "", ""),
    ],
)
def test_how_a_party_is_written(kind: str, target: str, said: str) -> None:
    assert number_of(kind, target) == said


def test_no_credentials_in_rows() -> None:
    assert without_query("https://user:pw@app.test:8443/a?token=1#x") == "https://app.test:8443/a"


async def test_a_flow_waits_for_the_event_of_its_recording() -> None:
    kit = Kit(None)
    kit.webhooks.recorded("other")
    waiting = asyncio.create_task(kit.webhooks.recording_told("r"))
    await asyncio.sleep(0)
    kit.webhooks.recorded("r")
    await waiting
