"""Vonage's ids, times and errors.

A recording's file has an id of its own, one-to-one with the recording's. A call's conversation is named after what its legs have in
common.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from starlette.requests import Request
from starlette.responses import JSONResponse

from tapeline.api.errors import RETRY_AFTER_S, RangeNotSatisfiable, status_of
from tapeline.api.middleware import request_id_of
from tapeline.core.clock import utc
from tapeline.core.errors import InvalidInput, InvalidState, NotFound, TapelineError

__all__ = ["BadParameters", "conversation_uuid", "failure", "file_id", "recording_of", "refusal", "stamp", "whole_stamp"]

_OTHER = 0x5F0E_91C4_7B2D_0A36_0C81_E35A_9D17_46B2  # leaves a UUID's version and variant as they are
_TYPES = "https://developer.vonage.com/api-errors#"
_TITLES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    409: "Conflict",
    413: "Payload Too Large",
    415: "Unsupported Media Type",
    416: "Range Not Satisfiable",
    429: "Too Many Requests",
    503: "Service Unavailable",
}


def file_id(recording_id: str) -> str:
    """The id under which a recording's file is downloaded."""
    return str(UUID(int=UUID(recording_id).int ^ _OTHER))


def recording_of(file: str) -> str:
    """The recording whose file has this id. Raises NotFound where it is no id at all."""
    try:
        return file_id(file)
    except ValueError:
        raise NotFound("no file has this id") from None


def conversation_uuid(activeflow_id: str) -> str:
    """`CON-` and a UUID: the same for all legs of one call."""
    return f"CON-{activeflow_id}"


def stamp(wall: float) -> str:
    """ISO 8601 in UTC with milliseconds."""
    return f"{utc(int(wall * 1000) / 1000).isoformat(timespec='milliseconds').removesuffix('+00:00')}Z"


def whole_stamp(wall: float) -> str:
    """ISO 8601 in UTC, whole seconds."""
    return f"{utc(int(wall)):%Y-%m-%dT%H:%M:%SZ}"


class BadParameters(InvalidInput):
    """A body or query that is wrong: pairs of a parameter's name and what is wrong with it."""

    def __init__(self, wrong: Sequence[tuple[str, str]]) -> None:
        super().__init__("the request has invalid parameters", problems=[f"{name}: {reason}" for name, reason in wrong])
        self.wrong = tuple(wrong)


def failure(error: TapelineError, request: Request) -> JSONResponse:
    """`error` as RFC 7807 has it, with the platform's older names beside."""
    code, _ = status_of(error)
    if isinstance(error, InvalidState):
        code = 400  # the platform knows no other word for a right request at the wrong time
    headers = {"Retry-After": str(RETRY_AFTER_S)} if code == 503 else {"WWW-Authenticate": "Bearer"} if code == 401 else {}
    if isinstance(error, RangeNotSatisfiable):
        headers["Content-Range"] = f"bytes */{error.size}"
    more: dict[str, Any] = {}
    if isinstance(error, BadParameters):
        more["invalid_parameters"] = [{"name": name, "reason": reason} for name, reason in error.wrong]
    elif isinstance(error, InvalidInput) and error.problems:
        more["invalid_parameters"] = [{"name": "body", "reason": problem} for problem in error.problems]
    return refusal(code, request, "internal error" if code == 500 else str(error), headers, **more)


def refusal(code: int, request: Request, detail: str = "", headers: dict[str, str] | None = None, **more: Any) -> JSONResponse:
    """An error of this status. Without `detail` its title must do."""
    title = _TITLES.get(code, "Internal Server Error" if code >= 500 else "Bad Request")
    body = {
        "type": _TYPES + title.lower().replace(" ", "-"),
        "title": title,
        "error_title": title,
        "detail": detail or title,
        "instance": request_id_of(request.scope),
        **more,
    }
    return JSONResponse(body, code, headers)
