"""Errors of the faces, and the one table from error type to HTTP status.

    core.errors.UsageError
    ├── Unauthenticated           401  no credential, or one that stands for nobody
    ├── RouteNotFound             404  no such path, or not with this method
    ├── TooManyRequests           429  more often than allowed; carries when to come again
    ├── BodyTooLarge              413  the body exceeds the limit
    └── RangeNotSatisfiable       416  the range lies outside of the file

The envelope is VoIPBIN's: `{"error": {"status", "reason", "message", "request_id", "details"}}`, `details` only where there are any.
Nothing of an unexpected failure is told to the client but its request id, by which the log has it in full.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import JSONResponse

from tapeline.core.errors import (
    Exhausted,
    Forbidden,
    InvalidInput,
    InvalidState,
    NotFound,
    TapelineError,
    UsageError,
    WorldError,
)

__all__ = [
    "STATUSES",
    "BodyTooLarge",
    "RangeNotSatisfiable",
    "RouteNotFound",
    "TooManyRequests",
    "Unauthenticated",
    "envelope",
    "error_response",
    "status_of",
]

RETRY_AFTER_S = 5


class Unauthenticated(UsageError):
    """Nobody is known by this credential, or none was given."""

    reason = "AUTHENTICATION_REQUIRED"


class RouteNotFound(UsageError):
    """Nothing answers at this path with this method."""

    reason = "ROUTE_NOT_FOUND"


class TooManyRequests(UsageError):
    """Asked more often than allowed. `limited_by` is what is counted: `ip`, or `customer`."""

    reason = "RATE_LIMIT_EXCEEDED"

    def __init__(self, limited_by: str, retry_after_s: int) -> None:
        super().__init__("too many requests", hint=f"try again in {retry_after_s} s")
        self.limited_by = limited_by
        self.retry_after_s = retry_after_s


class BodyTooLarge(UsageError):
    """The request's body is longer than any request of this API has reason to be."""

    reason = "BODY_TOO_LARGE"


class RangeNotSatisfiable(UsageError):
    """No byte of the file of `size` bytes lies in the range asked for."""

    reason = "RANGE_NOT_SATISFIABLE"

    def __init__(self, size: int) -> None:
        super().__init__(f"the range lies outside of the file, which has {size} bytes")
        self.size = size


# Looked up along the error's class and its bases, so the nearest entry wins. An `Exhausted` is ours (disk, ports), not the
# client's rate: hence 503 and not 429.
STATUSES: Mapping[type[TapelineError], tuple[int, str]] = {
    Unauthenticated: (401, "UNAUTHENTICATED"),
    RouteNotFound: (404, "NOT_FOUND"),
    TooManyRequests: (429, "RESOURCE_EXHAUSTED"),
    BodyTooLarge: (413, "INVALID_ARGUMENT"),
    RangeNotSatisfiable: (416, "INVALID_ARGUMENT"),
    InvalidInput: (400, "INVALID_ARGUMENT"),
    InvalidState: (409, "FAILED_PRECONDITION"),
    NotFound: (404, "NOT_FOUND"),
    Forbidden: (403, "PERMISSION_DENIED"),
    UsageError: (400, "INVALID_ARGUMENT"),
    Exhausted: (503, "UNAVAILABLE"),
    WorldError: (503, "UNAVAILABLE"),
    TapelineError: (500, "INTERNAL"),
}


def status_of(error: TapelineError) -> tuple[int, str]:
    """HTTP status and the platform's word for it."""
    return next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)


def envelope(status: str, reason: str, message: str, request_id: str, details: list[dict[str, Any]]) -> dict[str, Any]:
    """The one error form."""
    body: dict[str, Any] = {"status": status, "reason": reason, "message": message, "request_id": request_id}
    if details:
        body["details"] = details
    return {"error": body}


def error_response(error: TapelineError, request_id: str) -> JSONResponse:
    """`error` as the answer that tells the client of it."""
    code, status = status_of(error)
    if code == 500:
        return JSONResponse(envelope(status, "INTERNAL", "internal error", request_id, []), code)
    details = [{"description": problem} for problem in error.problems] if isinstance(error, InvalidInput) else []
    headers: dict[str, str] = {}
    if code == 401:
        headers["WWW-Authenticate"] = "Bearer"  # RFC 9110 section 11.6.1
    if code == 503:
        headers["Retry-After"] = str(RETRY_AFTER_S)
    if isinstance(error, TooManyRequests):
        details = [{"limited_by": error.limited_by}]
        headers["Retry-After"] = str(error.retry_after_s)
    if isinstance(error, RangeNotSatisfiable):
        headers["Content-Range"] = f"bytes */{error.size}"
        headers["Accept-Ranges"] = "bytes"
    return JSONResponse(envelope(status, error.reason, str(error), request_id, details), code, headers)
