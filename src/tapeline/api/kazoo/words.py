"""KAZOO's ids and envelope.

An id of ours is a UUID; KAZOO's is its 32 hex digits, and a recording's has the month of its making before it (`202611-...`), which makes
the two one-to-one. Every answer, also that of an error, has the one envelope.
"""

from __future__ import annotations

import platform
import re
from typing import Any
from uuid import UUID

from starlette.requests import Request
from starlette.responses import JSONResponse

from tapeline import __version__
from tapeline.api.errors import RETRY_AFTER_S, RangeNotSatisfiable, Unauthenticated, status_of
from tapeline.api.middleware import request_id_of
from tapeline.core.clock import SystemClock, utc
from tapeline.core.errors import Forbidden, InvalidInput, InvalidState, NotFound, TapelineError
from tapeline.core.kazoo import hex_id, month_id

__all__ = [
    "BadIdentifier",
    "FieldErrors",
    "TooMuch",
    "failure",
    "hex_id",
    "month_id",
    "recording_uuid",
    "refusal",
    "success",
    "uuid_of",
]

_RECORDING = re.compile(r"[0-9]{6}-([0-9a-fA-F]{32})", re.ASCII)
_CLOCK = SystemClock()


class TooMuch(RangeNotSatisfiable):
    """A list without pages that has more than `most` entries."""

    def __init__(self, most: int) -> None:
        super().__init__(most)
        self.message = f"range is too large: more than {most} entries"


class BadIdentifier(NotFound):
    """Nothing has this id."""

    reason = "BAD_IDENTIFIER"

    def __init__(self, given: str) -> None:
        super().__init__("bad identifier")
        self.given = given[:128]


def uuid_of(text: str) -> str:
    """Our id of 32 hex digits, or of a UUID as it is. Raises BadIdentifier."""
    try:
        return str(UUID(text)) if len(text) in (32, 36) else _bad(text)
    except ValueError:
        return _bad(text)


def _bad(text: str) -> str:
    raise BadIdentifier(text)


def recording_uuid(text: str) -> str:
    """The UUID in a recording's id. Raises BadIdentifier."""
    found = _RECORDING.fullmatch(text)
    return uuid_of(found.group(1) if found else text)


def _frame(request: Request, **more: Any) -> dict[str, Any]:
    frame = {
        "timestamp": f"{utc(_CLOCK.wall()):%Y-%m-%dT%H:%M:%SZ}",
        "version": __version__,
        "node": platform.node(),
        "request_id": request_id_of(request.scope),
        "auth_token": getattr(request.state, "auth_token", "undefined"),
    }
    return {**more, **frame}


def success(request: Request, data: Any, status: int = 200, **more: Any) -> JSONResponse:
    """`more` stands beside the data: page_size, next_start_key ..."""
    return JSONResponse(_frame(request, data=data, status="success", revision="automatic", **more), status)


_WORDS: tuple[tuple[type[TapelineError], str], ...] = (
    (Unauthenticated, "invalid_credentials"),
    (Forbidden, "forbidden"),
    (NotFound, "bad_identifier"),
    (InvalidInput, "invalid_data"),
    (InvalidState, "conflict"),
)


def failure(error: TapelineError, request: Request) -> JSONResponse:
    """The error in KAZOO's form: its number is a string, and `data` says what is wrong, for a bad document field by field."""
    code, _ = status_of(error)
    word = next((word for kind, word in _WORDS if isinstance(error, kind)), "datastore_unreachable" if code == 503 else "internal_error")
    data: dict[str, Any] = {"message": error.message}
    if isinstance(error, BadIdentifier):
        data = {"message": "bad identifier", "cause": error.given}
    elif isinstance(error, NotFound):
        data = {"message": "bad identifier", "cause": error.message}
    elif isinstance(error, FieldErrors):
        data, word = dict(error.fields), "invalid request"
    elif error.hint:
        data["cause"] = error.hint
    if code == 500:
        data = {"message": "internal error"}
    headers = {"Retry-After": str(RETRY_AFTER_S)} if code == 503 else {}
    body = _frame(request, data=data, error=str(code), message=word, status="error")
    return JSONResponse(body, code, headers)


def refusal(status: int, request: Request) -> JSONResponse:
    """The router's own: no such path, or not with this method."""
    word = {404: "not_found", 405: "method_not_allowed"}.get(status, "bad_request")
    body = _frame(request, data={"message": word.replace("_", " ")}, error=str(status), message=word, status="error")
    return JSONResponse(body, status)


class FieldErrors(InvalidInput):
    """A document that is wrong: `{field: {rule: {"message": ...}}}`."""

    def __init__(self, fields: dict[str, dict[str, dict[str, Any]]]) -> None:
        super().__init__("validation error", problems=[f"{field}: {rule}" for field, rules in fields.items() for rule in rules])
        self.fields = fields
