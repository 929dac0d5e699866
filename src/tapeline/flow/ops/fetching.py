"""Going on in another document (fetched, or stored here), and telling others over HTTP.

A fetched document is compiled when it comes. It is pushed (when it ends, the flow goes on after this step) or replaces the rest
of the program. If it does not come, or cannot run, a `required` one ends the flow, and any other takes the edge `failed`. The requests
themselves are the caller's: this module only words them.
"""

from __future__ import annotations

import json
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal
from urllib.parse import urlencode

from tapeline.flow import commands
from tapeline.flow.events import Event, Fetched, FlowLoaded, Unsupported
from tapeline.flow.ops.waiting import reply
from tapeline.flow.program import DEFAULT, Context, Enter, Fail, Op, Outcome, Performance, Program

__all__ = ["FetchProgram", "LoadProgram", "Notify"]

MAX_FETCHED = 1_048_576  # bytes of a document that comes during a call: compiling it holds up whoever drives the run
PATIENCE_S = 30.0  # beyond the request's own limit: the caller's guard failed to answer


def _enter(context: Context, document: Any, mode: Literal["push", "replace"], required: bool) -> Outcome:
    """Compile what came and go on there."""
    if isinstance(document, Program):
        return Enter(document, mode)
    compilation = context.compile(document)
    if compilation.program is not None:
        if compilation.problems:
            context.log("warning", "the document that came is odd", problems=[str(found) for found in compilation.problems[:5]])
        return Enter(compilation.program, mode)
    return _failed(context, required, "the document that came cannot run", problems=[str(found) for found in compilation.errors[:5]])


def _failed(context: Context, required: bool, reason: str, **fields: Any) -> Outcome:
    if required:
        return Fail(reason, fields)
    context.log("warning", reason, **fields)
    return "failed"


@dataclass(frozen=True, slots=True)
class FetchProgram(Op):
    """Ask `url` for a document. `fields` are sent as JSON or as a form (in the query, where the method is GET)."""

    kind: ClassVar[str] = "fetch_program"

    url: str
    method: str = "POST"
    fields: tuple[tuple[str, str], ...] = ()
    encoding: Literal["json", "form"] = "json"
    timeout_s: float = 10.0
    mode: Literal["push", "replace"] = "push"
    required: bool = False
    empty_continues: bool = False  # an empty answer means: go on here

    def perform(self, context: Context) -> Performance:
        token = context.token()
        context.issue(self._request(context, token))
        event = yield from reply(token, context.now + self.timeout_s + PATIENCE_S)
        if isinstance(event, Unsupported):
            return DEFAULT
        if not isinstance(event, Fetched):
            return _failed(context, self.required, "no answer to a request for a document")
        if event.error or not 200 <= event.status < 300:
            return _failed(context, self.required, "a request for a document failed", status=event.status, error=event.error)
        if len(event.body) > MAX_FETCHED:
            return _failed(context, self.required, "the document that came is too large", size=len(event.body))
        if self.empty_continues and not event.body.strip():
            return DEFAULT
        return _enter(context, event.body, self.mode, self.required)

    def _request(self, context: Context, token: int) -> commands.Fetch:
        url, values = context.text(self.url), {name: context.text(value) for name, value in self.fields}
        if self.encoding == "json":
            return commands.Fetch(token, url, self.method, json.dumps(values).encode(), "application/json", self.timeout_s)
        form = urlencode(values)
        if self.method == "GET":
            return commands.Fetch(token, url + ("&" if "?" in url else "?") + form if form else url, "GET", timeout_s=self.timeout_s)
        return commands.Fetch(token, url, self.method, form.encode(), "application/x-www-form-urlencoded", self.timeout_s)


@dataclass(frozen=True, slots=True)
class LoadProgram(Op):
    """Go on in a flow that is stored here, or without an id in the one that answers `number`."""

    kind: ClassVar[str] = "load_program"

    flow_id: str
    mode: Literal["push", "replace"] = "push"
    required: bool = False
    number: str = ""

    def perform(self, context: Context) -> Performance:
        token = context.token()
        context.issue(commands.LoadFlow(token, context.text(self.flow_id), context.text(self.number)))
        event = yield from reply(token, context.now + PATIENCE_S)
        if isinstance(event, Unsupported):
            return DEFAULT
        if not isinstance(event, FlowLoaded) or event.document is None:
            error = event.error if isinstance(event, FlowLoaded) else "no answer"
            return _failed(context, self.required, "a stored flow could not be loaded", error=error)
        return _enter(context, event.document, self.mode, self.required)


@dataclass(frozen=True, slots=True)
class Notify(Op):
    """Tell `url` something. Whether it arrives changes nothing; `wait` holds the flow until the answer.

    Where there are `fields` they are sent instead of the body, as JSON, or in the query where the method is GET, and with them `custom`
    (JSON) as `custom_data`.
    """

    kind: ClassVar[str] = "notify"

    url: str
    method: str = "POST"
    content_type: str = "application/json"
    body: str = ""
    wait: bool = False
    fields: tuple[tuple[str, str], ...] = ()
    custom: str = "{}"
    retries: int = 0

    def perform(self, context: Context) -> Performance:
        token = context.token() if self.wait else None
        url, body = context.text(self.url), context.text(self.body)
        if self.fields:
            values = {name: context.text(value) for name, value in self.fields}
            if self.method == "GET":
                url += ("&" if "?" in url else "?") + urlencode(values | {"custom_data": self.custom})
            else:
                body = json.dumps(values | {"custom_data": json.loads(self.custom)})
        context.issue(commands.Send(url, self.method, self.content_type, body.encode("utf-8", "replace"), token, self.retries))
        if token is not None:
            yield from _settled(token, context)
        return DEFAULT


def _settled(token: int, context: Context) -> Generator[float | None, Event, None]:
    event = yield from reply(token, context.now + PATIENCE_S)
    if isinstance(event, Fetched) and (event.error or event.status >= 400):
        context.log("warning", "a notification was not accepted", status=event.status, error=event.error)
