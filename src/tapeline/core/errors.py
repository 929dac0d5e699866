"""The base of every error tapeline raises on purpose.

    TapelineError
    ├── UsageError            the caller misused us
    │   ├── InvalidInput      a document, body or option is wrong; carries every problem found
    │   ├── InvalidState      right request, wrong moment (409)
    │   ├── NotFound          no such thing, or not yours to know of (404)
    │   └── Forbidden         known, but not allowed (403)
    ├── ProtocolError         the peer broke the protocol; carries the status to answer with
    └── WorldError            disk, network or database failed
        ├── Unavailable       it may work later; try again
        └── Exhausted         no port, no space, no capacity

Each package draws its own tree below these in its `errors.py`. A message says what is wrong and where; `hint` says what to do.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = [
    "Exhausted",
    "Forbidden",
    "InvalidInput",
    "InvalidState",
    "NotFound",
    "ProtocolError",
    "TapelineError",
    "Unavailable",
    "UsageError",
    "WorldError",
]


class TapelineError(Exception):
    """An error with a stable `reason` (UPPER_SNAKE, fit for an API) and a `hint` on what to do."""

    reason = "INTERNAL"

    def __init__(self, message: str, *, hint: str = "", reason: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if reason:
            self.reason = reason

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class UsageError(TapelineError):
    """The caller asked for something that cannot be done as asked."""

    reason = "INVALID_ARGUMENT"


class InvalidInput(UsageError):
    """Input was wrong. `problems` lists every fault found, each a sentence."""

    def __init__(self, message: str, *, problems: Sequence[str] = (), hint: str = "", reason: str = "") -> None:
        super().__init__(message, hint=hint, reason=reason)
        self.problems = tuple(problems)


class InvalidState(UsageError):
    """The request is right but does not fit the state that the thing is in."""

    reason = "STATE_INVALID"


class NotFound(UsageError):
    """No such thing."""

    reason = "RESOURCE_NOT_FOUND"


class Forbidden(UsageError):
    """The principal may not do this."""

    reason = "PERMISSION_DENIED"


class ProtocolError(TapelineError):
    """The peer broke the protocol. `status` is the answer that tells it so; 0 where silence is right."""

    reason = "PROTOCOL_ERROR"

    def __init__(self, message: str, *, status: int = 400, hint: str = "", reason: str = "") -> None:
        super().__init__(message, hint=hint, reason=reason)
        self.status = status


class WorldError(TapelineError):
    """Something outside this program failed: a disk, a network, a database."""

    reason = "UNAVAILABLE"


class Unavailable(WorldError):
    """It failed now and may work later."""


class Exhausted(WorldError):
    """A resource is used up: ports, disk space, capacity."""

    reason = "RESOURCE_EXHAUSTED"
