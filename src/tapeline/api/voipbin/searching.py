"""What a search for recordings asks for, as parameters of a list or as the `filter` of an export: text in, a Search out.

Every problem is collected into one InvalidInput. Knows nothing of rows.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from typing import Any

from tapeline.api.times import moment
from tapeline.api.voipbin.states import STATES_OF
from tapeline.core.errors import InvalidInput
from tapeline.core.ids import is_id
from tapeline.store import Search

__all__ = ["FILTERS", "asks", "read_search", "search_place", "search_token"]

STATES = ("starting", "recording", "stopping", "available", "failed")
LONGEST = 200
LEAST_NOTE = 3
_PREFIX = "at-"

_TEXT = {"type": "string"}
_TIME = {"type": "string", "format": "date-time"}
_NUMBER = {"type": "number", "minimum": 0}
_KNOWN: Mapping[str, tuple[dict[str, Any], str]] = {
    "since": (_TIME, "Created at this time or later."),
    "until": (_TIME, "Created at this time or earlier."),
    "number": (_TEXT, "Part of the caller's or the callee's number or address."),
    "direction": ({"type": "string", "enum": ["incoming", "outgoing"]}, "Of the call."),
    "status": (_TEXT, "One state, or several with commas between them."),
    "min_duration": (_NUMBER, "Seconds of audio at least."),
    "max_duration": (_NUMBER, "Seconds of audio at most."),
    "flow_id": (_TEXT, "The flow that the call ran."),
    "activeflow_id": (_TEXT, "The run of a flow."),
    "call_id": (_TEXT, "The call or conference."),
    "tag": (_TEXT, "One tag, whole."),
    "note": (_TEXT, "Part of the note, three characters at least."),
    "customer_id": (_TEXT, "The account; an administrator's alone."),
}
FILTERS: tuple[dict[str, Any], ...] = tuple(
    {"name": name, "in": "query", "schema": schema, "description": words} for name, (schema, words) in _KNOWN.items()
)


def asks(given: Mapping[str, Any]) -> bool:
    """Whether anything of a search is there."""
    return any(given.get(name) not in (None, "") for name in _KNOWN)


def read_search(given: Mapping[str, Any]) -> Search:
    """Raises InvalidInput with all problems. Unknown names are ignored; null and empty are absent."""
    problems: list[str] = []
    texts = {name: _text(name, given.get(name), problems) for name in _KNOWN}
    equal: dict[str, tuple[str, ...]] = {name: (texts[name].lower(),) for name in ("flow_id", "activeflow_id", "call_id") if texts[name]}
    problems += [f"{name} must be a UUID" for name in (*equal, "customer_id") if texts[name] and not is_id(texts[name])]
    if texts["direction"]:
        if texts["direction"] not in ("incoming", "outgoing"):
            problems.append("direction must be incoming or outgoing")
        equal["direction"] = (texts["direction"],)
    if texts["status"]:
        named = [state.strip() for state in texts["status"].split(",")]
        states = tuple(dict.fromkeys(state for name in named for state in STATES_OF.get(name, (name,))))
        problems += [f"status must be of {', '.join(STATES)}" for state in states if state not in STATES][:1]
        equal["state"] = states
    if 0 < len(texts["note"]) < LEAST_NOTE:
        problems.append(f"note must have {LEAST_NOTE} characters at least")
    search = Search(
        account=texts["customer_id"].lower() or None,
        since=_time("since", texts, problems),
        until=_time("until", texts, problems),
        number=texts["number"],
        note=texts["note"],
        tag=texts["tag"],
        shortest=_number("min_duration", texts, problems),
        longest=_number("max_duration", texts, problems),
        equal=equal,
    )
    if problems:
        raise InvalidInput("; ".join(problems), problems=problems, reason="INVALID_REQUEST_PARAMETER")
    return search


def search_token(place: tuple[float, str] | None) -> str:
    """Where the next page begins; "" where nothing is left."""
    if place is None:
        return ""
    return _PREFIX + base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")


def search_place(token: str) -> tuple[float, str] | None:
    """What `search_token` made. Raises InvalidInput."""
    if not token:
        return None
    try:
        if not token.startswith(_PREFIX) or len(token) > LONGEST:
            raise ValueError
        text = token.removeprefix(_PREFIX)
        created, row_id = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        if not isinstance(created, float) or not math.isfinite(created) or not is_id(row_id):
            raise ValueError
        return created, row_id
    except (ValueError, TypeError) as error:
        raise InvalidInput(
            "page_token is none of this search", hint="pass next_page_token as it was given", reason="INVALID_REQUEST_PARAMETER"
        ) from error


def _text(name: str, value: Any, problems: list[str]) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if value is None or (isinstance(value, str) and len(value) <= LONGEST and "\0" not in value):
        return (value or "").strip()
    problems.append(f"{name} must be a text of at most {LONGEST} characters")
    return ""


def _time(name: str, texts: Mapping[str, str], problems: list[str]) -> float | None:
    if texts[name]:
        try:
            return moment(texts[name], name)
        except InvalidInput as error:
            problems.append(error.message)
    return None


def _number(name: str, texts: Mapping[str, str], problems: list[str]) -> float | None:
    if not texts[name]:
        return None
    try:
        number = float(texts[name])
        if math.isfinite(number) and number >= 0:
            return number
    except ValueError:
        pass
    problems.append(f"{name} must be a number of seconds")
    return None
