"""Bodies and queries of Vonage's REST API, read leniently: `null` is absent, numbers may be strings, unknown keys are ignored.

All that is wrong is collected into one BadParameters, by the parameter's name.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from tapeline.api.vonage.words import BadParameters
from tapeline.calls.vonage.voice import Order, endpoint, ncco
from tapeline.core.errors import InvalidInput
from tapeline.core.ids import is_id
from tapeline.core.vonage import conversation_id
from tapeline.core.web import is_web
from tapeline.store import CallFilter
from tapeline.store.statements import OUTCOMES

__all__ = ["Reader", "call_filter", "order", "program"]

MOST_ACTIONS = 1000
LONGEST_NUMBER = 256
KEYS = frozenset("0123456789*#p")
MOST_KEYS = 100
LONGEST_TEXT = 3000


class Reader:
    """Typed parameters of one body. `finish` raises what was wrong with them."""

    def __init__(self, body: Mapping[str, Any], path: str = "") -> None:
        self.body = body
        self.wrong: list[tuple[str, str]] = []
        self._path = path

    def bad(self, name: str, reason: str) -> None:
        self.wrong.append((self._path + name, reason))

    def finish(self) -> None:
        if self.wrong:
            raise BadParameters(self.wrong)

    def inner(self, name: str) -> Reader:
        """The object of that name, or an empty one; what is wrong with it counts as wrong with this body."""
        value = self.body.get(name)
        if value is not None and not isinstance(value, dict):
            self.bad(name, "must be an object")
        made = Reader(value if isinstance(value, dict) else {}, f"{self._path}{name}.")
        made.wrong = self.wrong
        return made

    def has(self, name: str) -> bool:
        return self.body.get(name) is not None

    def text(self, name: str, most: int = 1000) -> str:
        value = self.body.get(name)
        if value is None:
            return ""
        if not isinstance(value, str) or len(value) > most:
            self.bad(name, f"must be a string of at most {most} characters")
            return ""
        return value

    def word(self, name: str, choices: Sequence[str], default: str) -> str:
        value = self.text(name) or default
        found = next((choice for choice in choices if choice.lower() == value.lower()), None)
        if found is None:
            self.bad(name, "must be one of " + ", ".join(choice for choice in choices if choice))
        return default if found is None else found

    def number(self, name: str, default: float, low: float, high: float) -> float:
        value = self.body.get(name)
        if value is None:
            return default
        try:
            found = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError, OverflowError):
            found = math.nan
        if not low <= found <= high:
            self.bad(name, f"must be a number from {low:g} to {high:g}")
            return default
        return found

    def whole(self, name: str, default: int, low: int, high: int) -> int:
        found = self.number(name, default, low, high)
        if found != int(found):
            self.bad(name, "must be a whole number")
        return int(found)

    def flag(self, name: str) -> bool:
        value = self.body.get(name)
        if value in (None, False, "false"):
            return False
        if value not in (True, "true"):
            self.bad(name, "must be true or false")
        return True

    def address(self, name: str) -> str:
        """The URL in an array of one, or by itself."""
        value = self.body.get(name)
        if value is None or value == [] or value == "":
            return ""
        found = value[0] if isinstance(value, list) and len(value) == 1 else value
        if not isinstance(found, str) or not is_web(found):
            self.bad(name, "must be an array of one http(s) URL")
            return ""
        return found

    def keys(self, name: str) -> str:
        value = self.body.get(name)
        found = str(value).lower() if isinstance(value, str | int) and not isinstance(value, bool) else ""
        if not found or set(found) - KEYS or len(found) > MOST_KEYS:
            self.bad(name, f"must be keys of 0-9 * # and p, {MOST_KEYS} at most")
        return found


async def program(document: Any, name: str = "ncco") -> Any:
    """The program of an NCCO in a body. Raises BadParameters."""
    if not isinstance(document, list) or len(document) > MOST_ACTIONS:
        raise BadParameters([(name, f"must be an array of at most {MOST_ACTIONS} actions")])
    try:
        return await asyncio.to_thread(ncco, document)
    except InvalidInput as error:
        raise BadParameters([(name, problem) for problem in error.problems]) from error


async def order(body: Mapping[str, Any], default_event_url: str) -> Order:
    """The call that a body asks for. Raises BadParameters with all that is wrong."""
    read = Reader(body)
    to, options = _to(read)
    source = _from(read)
    anyone = read.flag("random_from_number")
    if source and anyone:
        read.bad("random_from_number", "excludes from")
    answer_url = read.address("answer_url")
    if read.has("ncco") == bool(read.has("answer_url")):
        read.bad("ncco", "give either ncco or answer_url")
    event_url = read.address("event_url")
    if not event_url and not default_event_url and not read.wrong:
        read.bad("event_url", "is needed: the application has none")
    found: dict[str, Any] = {
        "options": options,
        "source": source,
        "any_number": anyone,
        "answer_url": answer_url,
        "answer_method": read.word("answer_method", ("GET", "POST"), "GET"),
        "event_url": event_url,
        "event_method": read.word("event_method", ("POST", "GET"), "POST"),
        "length_s": float(read.whole("length_timer", 7200, 1, 86400)),
        "ring_s": float(read.whole("ringing_timer", 60, 1, 120)),
        "detection": _detection(read),
    }
    made = None
    if read.has("ncco"):
        try:
            made = await program(body["ncco"])
        except BadParameters as error:
            read.wrong += error.wrong
    read.finish()
    assert to is not None
    return Order(to, program=made, **found)


def _to(read: Reader) -> tuple[Any, Mapping[str, Any]]:
    value = read.body.get("to")
    if not isinstance(value, list) or len(value) != 1 or not isinstance(value[0], dict):
        read.bad("to", "must be an array of one endpoint")
        return None, {}
    try:
        return endpoint(value[0])
    except InvalidInput as error:
        read.wrong += [("to", problem) for problem in error.problems]
        return None, {}


def _from(read: Reader) -> str:
    """A number or SIP address, given by itself or as an endpoint."""
    value = read.body.get("from")
    if isinstance(value, dict):
        value = value.get("number") or value.get("uri") or value.get("user") or ""
    if value is None:
        return ""
    if not isinstance(value, str) or not value.strip() or len(value) > LONGEST_NUMBER or not value.isprintable():
        read.bad("from", "must be a number or an endpoint")
        return ""
    return value.strip().removeprefix("+")


def _detection(read: Reader) -> bool:
    asked = bool(read.word("machine_detection", ("", "continue", "hangup"), ""))
    if not read.has("advanced_machine_detection"):
        return asked
    inner = read.inner("advanced_machine_detection")
    inner.word("behavior", ("continue", "hangup"), "continue")
    inner.word("mode", ("default", "detect", "detect_beep"), "detect")
    inner.whole("beep_timeout", 45, 30, 120)
    return True


def call_filter(query: Mapping[str, str]) -> CallFilter:
    """What a list asks for. Raises BadParameters."""
    read = Reader({name: value for name, value in query.items() if value != ""})
    conversation = conversation_id(read.text("conversation_uuid"))
    if conversation and not is_id(conversation):
        conversation = "none"
    found = CallFilter(
        outcome=read.word("status", ("", *OUTCOMES, "machine"), ""),
        since=_time(read, "date_start"),
        until=_time(read, "date_end"),
        activeflow_id=conversation.lower(),
        ascending=read.word("order", ("asc", "desc"), "asc") == "asc",
        offset=read.whole("record_index", 0, 0, 1_000_000_000),
        limit=read.whole("page_size", 10, 1, 100),
    )
    read.finish()
    return found


def _time(read: Reader, name: str) -> float | None:
    text = read.text(name)
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text.replace(" ", "T", 1))
        return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        read.bad(name, "must be a time of ISO 8601")
        return None
