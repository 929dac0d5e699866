"""What can go wrong between a finished recording and those who want it.

    TapelineError
    ├── UsageError
    │   └── InvalidInput
    │       └── Refused            an address we do not talk to: not http(s), private, loopback, malformed
    └── WorldError
        └── Unavailable
            ├── DeliveryFailed     a try at something outside went wrong; `fault` says whose it is
            └── NotVerified        what was read back from the object store is not what was put there

`fault` is "destination" (they answered wrongly, too slowly or too much), "network" (no answer at all), or "us".
"""

from __future__ import annotations

from typing import Literal

from tapeline.core.errors import InvalidInput, Unavailable

__all__ = ["DeliveryFailed", "Fault", "NotVerified", "Refused"]

Fault = Literal["destination", "network", "us"]


class Refused(InvalidInput):
    """We do not send anything there, now or later."""

    reason = "DESTINATION_REFUSED"
    fault: Fault = "destination"


class DeliveryFailed(Unavailable):
    """One try failed; `fault` says whose fault it is, and with it who has to act. Its reason is NO_ANSWER where none came, or only part of
    one: the next try may be better. `status` of the answer, 0 for none."""

    reason = "DELIVERY_FAILED"

    def __init__(self, message: str, *, fault: Fault, hint: str = "", reason: str = "", status: int = 0) -> None:
        super().__init__(message, hint=hint, reason=reason)
        self.fault: Fault = fault
        self.status = status


class NotVerified(Unavailable):
    """The stored object's checksum is not the file's."""

    reason = "OBJECT_NOT_VERIFIED"
