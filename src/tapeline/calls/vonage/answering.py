"""Calls that an application answers: its answer address is asked, and what comes back is run. Also what takes the place of a document
that runs.

A first document that cannot be had, or cannot run, ends the call, and the application is told why. One that shall replace another and
cannot run changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import structlog

from tapeline import flow
from tapeline.calls.equipment import Equipment
from tapeline.calls.script import scripted
from tapeline.calls.session import Call
from tapeline.calls.vonage.webhooks import ANSWER_S, Question, Reply, conversation_of, event_of
from tapeline.core.vonage import without_query
from tapeline.flow.program import Program

__all__ = ["answer", "ask_on", "compiled_ncco", "lead_on", "question_of", "run"]

log = structlog.get_logger(__name__)

MOST_HEADERS = 20
LONGEST_HEADER = 1000


class _Asking:
    """Follows a call while its document is asked for."""

    def __init__(self) -> None:
        self.task: asyncio.Task[None] | None = None

    def progressed(self, status: int) -> None:
        """Nobody is dialled."""

    def established(self) -> None:
        """A call is answered by its document."""

    def digit(self, digit: str) -> None:
        """There is nobody yet to be told."""

    def hung_up(self, cause: str, by: str) -> None:
        if self.task is not None:
            self.task.cancel()

    @property
    def action(self) -> dict[str, Any]:
        return {}


def question_of(call: Call, url: str, method: str, kit: Equipment) -> Question:
    """What an answer address is asked."""
    common = event_of(call, kit.clock.wall())
    fields = {name: common[name] for name in ("to", "from", "uuid", "conversation_uuid")}
    return Question("answer", url, method or "GET", {**fields, **_headers(call)}, ANSWER_S)


def _headers(call: Call) -> dict[str, str]:
    """The caller's own headers, as `SipHeader_X-Name`."""
    if not call.incoming:
        return {}
    found: dict[str, str] = {}
    for name, value in call.session.request.fields:
        plain = name.lower()
        own = plain.startswith("x-") and not plain.startswith("x-nexmo") or plain == "user-to-user"
        if own and len(value) <= LONGEST_HEADER and len(found) < MOST_HEADERS:
            found[f"SipHeader_{name}"] = value
    return found


def answer(call: Call, url: str, method: str, kit: Equipment, *, leading: bool = False) -> None:
    """Ask `url` for the document of `call`, and run it. Nobody waits. `leading`: who followed the call before is done with it."""
    asking = _Asking()
    call.led = True
    if leading:
        call.lead(asking)
    else:
        call.follow(asking)
    asking.task = kit.spawn(_answered(call, question_of(call, url, method, kit), kit))


async def _answered(call: Call, question: Question, kit: Equipment) -> None:
    program = await _document(call, question, kit)
    if call.over:
        return
    if program is None:
        call.hang_up("failed", "there is no document for the call")
    else:
        run(program, call, kit)


async def _document(call: Call, question: Question, kit: Equipment) -> Program | None:
    """The program that an address answers with, or else the fallback address. None where neither has one; the application knows why."""
    webhooks = kit.webhooks
    reply = await webhooks.ask(call, question)
    program, wrong = await kit.thread(_program, reply)
    if program is None and reply.body is not None and not call.over:
        webhooks.complain(call, f"the answer of {without_query(reply.url)} is no NCCO that can run: {wrong}")
        if reply.url == question.url:
            reply = await webhooks.fall_back(call, question, wrong)
            program, wrong = await kit.thread(_program, reply)
            if program is None and reply.body is not None:
                webhooks.complain(call, f"the answer of {without_query(reply.url)} is no NCCO that can run: {wrong}")
    return program


def _program(reply: Reply) -> tuple[Program | None, str]:
    return (None, reply.failure) if reply.body is None else compiled_ncco(reply.body)


def compiled_ncco(document: Any) -> tuple[Program | None, str]:
    """The program of an NCCO (bytes, or parsed JSON), or None and what is wrong with it. May take a second: for a thread."""
    found = flow.compile(document, dialect="vonage")
    if found.program is not None:
        return found.program, ""
    return None, "; ".join(str(problem) for problem in found.errors[:5])


def run(program: Program, call: Call, kit: Equipment, variables: Mapping[str, str] | None = None) -> None:
    """Let a program run on a call that has none yet."""
    script = scripted(program, call, kit, variables)
    call.follow(script)
    script.start()


def lead_on(program: Program, call: Call, kit: Equipment) -> None:
    """Let `program` take the place of what runs on the call, in a conversation of its own: it leaves whom it talks with."""
    before = conversation_of(call)
    for recorder in call.recordings:
        if recorder.spec.blocking:
            recorder.stop("transfer")
    call.begin_anew()
    script = scripted(program, call, kit)
    call.lead(script)
    if call.place is not None:
        call.place.leave(call)
    kit.webhooks.moved(call, before)
    script.start()


async def ask_on(call: Call, url: str, kit: Equipment) -> None:
    """Let what `url` answers with take the place of what runs. Where there is nothing that can run, it goes on."""
    program = await _document(call, question_of(call, url, "GET", kit), kit)
    if program is not None and call.status == "progressing":
        lead_on(program, call, kit)
