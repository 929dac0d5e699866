"""Asking an application: a request whose answer may be a document, tried twice, then the fallback address, each try a row.

What is only told, and answered by nothing, is no affair of this module: that goes the way of all messages. Nothing here raises: a call
goes on, or ends, by what its flow says of "no document". What fails is told to the application as an error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import structlog

from tapeline.calls.conference.conference import Conference
from tapeline.core.errors import TapelineError
from tapeline.core.ids import new_id
from tapeline.core.vonage import compact, conversation_uuid, moment, number_of, signature, signed_part, with_query, without_query
from tapeline.store import Application, AttemptRow, DeliveryRow

if TYPE_CHECKING:
    from tapeline.calls.equipment import Equipment
    from tapeline.calls.session import Call

__all__ = ["ANSWER_S", "EVENT_S", "Question", "Reply", "Webhooks", "conversation_of", "event_of"]

log = structlog.get_logger(__name__)

ANSWER_S = 6.0  # one second to connect and five to answer, as the platform gives
EVENT_S = 11.0
MOST_BYTES = 100_000  # of an answer: it is compiled on the event loop
AGAIN = frozenset({429, 502, 503, 504})
TRIES = 2
TOLD_S = 10.0  # how long a flow waits for the file of a recording, and so for its event
Kind = Literal["answer", "event"]


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, and where. `kind` is what the fallback address is told that this was."""

    kind: Kind
    url: str
    method: str
    fields: Mapping[str, Any]
    timeout_s: float = EVENT_S


@dataclass(frozen=True, slots=True)
class Reply:
    """`body` is what came with a 2xx; None where nobody answered so, and `failure` says why."""

    body: bytes | None
    failure: str = ""
    url: str = ""  # who answered


def event_of(call: Call, wall: float) -> dict[str, Any]:
    """What every event of a call says."""
    facts = call.facts
    return {
        "from": number_of(facts.source.kind, facts.source.target),
        "to": number_of(facts.destination.kind, facts.destination.target),
        "uuid": facts.id,
        "conversation_uuid": conversation_of(call),
        "timestamp": moment(wall),
    }


def conversation_of(call: Call) -> str:
    """The name of the conversation that a call is in: that of a conference, or that which began with the first call."""
    return conversation_uuid(call.place.id if isinstance(call.place, Conference) else call.facts.activeflow_id)


class Webhooks:
    """Of one node."""

    def __init__(self, equipment: Equipment) -> None:
        self._kit = equipment
        self._recordings: dict[str, asyncio.Event] = {}  # whose events a flow waits for
        self.totals = {"webhooks_asked_total": 0, "webhooks_unanswered_total": 0}

    async def recording_told(self, recording_id: str) -> None:
        """Wait until the event of a recording that has just ended is on its way; not for ever."""
        told = self._recordings.setdefault(recording_id, asyncio.Event())
        try:
            async with asyncio.timeout(TOLD_S):
                await told.wait()
        except TimeoutError:
            log.warning("a flow goes on before the event of its recording is on its way", recording_id=recording_id)
        finally:
            self._recordings.pop(recording_id, None)

    def recorded(self, recording_id: str) -> None:
        """The event of a recording is on its way."""
        if recording_id in self._recordings:
            self._recordings[recording_id].set()

    def application(self, call: Call) -> Application | None:
        return self._kit.applications.get(call.facts.application_id) if call.facts.application_id else None

    def event_address(self, call: Call) -> tuple[str, str]:
        """Where the events of a call go, and by which method; "" nowhere."""
        if call.facts.event_url:
            return call.facts.event_url, call.facts.event_method or "POST"
        application = self.application(call)
        return (application.event_url, application.event_method) if application is not None else ("", "POST")

    async def ask(self, call: Call, question: Question) -> Reply:
        """Ask; where nobody answers, tell the application so and ask its fallback address."""
        reply = await self._tried(call, question)
        if reply.body is None:
            self.complain(call, f"{question.kind}_url {without_query(question.url)} failed: {reply.failure}")
            reply = await self.fall_back(call, question, reply.failure)
        return reply

    async def fall_back(self, call: Call, question: Question, reason: str) -> Reply:
        """Ask the application's fallback address, which is told what was asked before and why that came to nothing."""
        application = self.application(call)
        if application is None or not application.fallback_url or application.fallback_url == question.url:
            return Reply(None, reason)
        original = {"url": question.url, "type": question.kind}
        fields = {**question.fields, "reason": reason, "original_request": original}
        again = Question(question.kind, application.fallback_url, application.fallback_method, fields, ANSWER_S)
        reply = await self._tried(call, again)
        if reply.body is None:
            self.complain(call, f"fallback_url {without_query(again.url)} failed: {reply.failure}")
        return reply

    def complain(self, call: Call, reason: str) -> None:
        """Tell the application that something of the call cannot be done."""
        facts = call.facts
        log.warning("an application is told of an error", call_id=facts.id, application_id=facts.application_id, reason=reason)
        wall = self._kit.clock.wall()
        event = {"reason": reason[:1000], "conversation_uuid": conversation_of(call), "timestamp": moment(wall)}
        self.tell(call, event)

    def tell(self, call: Call, event: Mapping[str, Any], url: str = "", method: str = "") -> None:
        """Send an event that nobody waits for, to `url` or where the call's events go."""
        facts = call.facts
        self._kit.happened("call_event", facts.account, facts.id, {"call": call.view(), "event": dict(event), "url": url, "method": method})

    def moved(self, call: Call, before: str) -> None:
        """Tell that a call is in another conversation than `before`."""
        event = event_of(call, self._kit.clock.wall())
        told = {"type": "transfer", "uuid": event["uuid"], "conversation_uuid_from": before}
        self.tell(call, told | {"conversation_uuid_to": event["conversation_uuid"], "timestamp": event["timestamp"]})

    # -- one address ---------------------------------------------------------------------------------------------------

    async def _tried(self, call: Call, question: Question) -> Reply:
        """Ask one address, a second time where the first try may have been bad luck; kept as a delivery, with its tries."""
        self.totals["webhooks_asked_total"] += 1
        asked, began, tries = new_id(), self._kit.clock.wall(), 0
        url, body, headers = self._request(call, question)
        reply, status = Reply(None, "the call is over"), 0
        while tries < TRIES and not (tries and call.over):
            tries += 1
            reply, status, again = await self._once(asked, question, url, body, headers)
            if reply.body is not None or not again:
                break
        if reply.body is None:
            self.totals["webhooks_unanswered_total"] += 1
        self._kit.writer.put(
            DeliveryRow(
                id=asked,
                account=call.facts.account,
                kind=question.kind,
                ref=call.facts.id,
                url=url,
                created=began,
                until=began,
                method=question.method,
                body=body.decode(),
                content_type="application/json" if body else "",
                policy="vonage",
                node=self._kit.node,
                state="failed" if reply.body is None else "delivered",
                tries=tries,
                status=status,
                reason=reply.failure,
                done=self._kit.clock.wall(),
            )
        )
        return reply

    async def _once(self, asked: str, question: Question, url: str, body: bytes, headers: list[tuple[str, str]]) -> tuple[Reply, int, bool]:
        """One try: what came of it, its HTTP status (0: none), and whether another is worth it."""
        status, failure, again, found = 0, "", False, None
        try:
            response = await self._kit.http.request(
                question.method, url, body=body, headers=headers, timeout_s=question.timeout_s, max_bytes=MOST_BYTES
            )
        except TapelineError as error:
            failure, again = error.message, error.reason == "NO_ANSWER"
        else:
            status = response.status
            if 200 <= status < 300:
                found = response.body
            else:
                failure, again = f"answered {status}", status in AGAIN
        outcome, fault = ("failed", "destination") if failure else ("ok", "")
        target, now = without_query(question.url), self._kit.clock.wall()
        self._kit.writer.put(AttemptRow(new_id(), question.kind, asked, target, status, now, outcome, failure, fault))
        return Reply(found, failure, question.url), status, again

    def _request(self, call: Call, question: Question) -> tuple[str, bytes, list[tuple[str, str]]]:
        """URL, body and headers: the fields as query or JSON, signed where the application has a secret."""
        url, body, headers = question.url, b"", []
        if question.method == "GET":
            url = with_query(url, question.fields)
        else:
            body, headers = compact(question.fields), [("Content-Type", "application/json")]
        application = self.application(call)
        if application is not None and application.signature_secret:
            token = signature(application, signed_part(question.method, url, body), self._kit.clock.wall(), new_id())
            headers.append(("Authorization", f"Bearer {token}"))
        return url, body, headers
