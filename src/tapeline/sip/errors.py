"""What can go wrong in signalling, drawn as a tree.

    TapelineError
    ├── UsageError
    │   ├── NotDrained            the endpoint got input while events or datagrams of the last input still wait
    │   ├── ImpossibleInput       a state machine got an input that its table has no cell for: a defect of ours
    │   └── (InvalidState)        a command that the session's state does not allow
    └── ProtocolError             the peer broke the protocol; `status` is the answer that tells it so
        ├── MalformedMessage      not a SIP message, or one without what each message needs
        │   └── MalformedUri      a URI that RFC 3261 section 25.1 does not allow where it stands
        ├── MalformedSdp          a session description that cannot be read
        ├── MalformedMultipart    a body whose parts cannot be told apart
        └── NoCommonMedia         an offer or answer that leaves nothing to talk with (488)

Errors in parentheses are those of `tapeline.core.errors`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tapeline.core.errors import ProtocolError, UsageError

if TYPE_CHECKING:
    from tapeline.sip.message import Message

__all__ = [
    "ImpossibleInput",
    "MalformedMessage",
    "MalformedMultipart",
    "MalformedSdp",
    "MalformedUri",
    "NoCommonMedia",
    "NotDrained",
]


class NotDrained(UsageError):
    """Events or outgoing messages of the last input were not taken before the next input."""

    reason = "NOT_DRAINED"


class ImpossibleInput(UsageError):
    """A state machine has no cell for this input in this state."""

    reason = "IMPOSSIBLE_INPUT"


class MalformedMessage(ProtocolError):
    """Not a SIP message, or a broken one. `partial` is as much of it as could be read, to answer with; None where nothing could."""

    reason = "MALFORMED_MESSAGE"

    def __init__(self, message: str, *, status: int = 400, partial: Message | None = None) -> None:
        super().__init__(message, status=status)
        self.partial = partial


class MalformedUri(MalformedMessage):
    """Not a URI, or not one that may stand in that place."""

    reason = "MALFORMED_URI"


class MalformedSdp(ProtocolError):
    """A session description that cannot be read."""

    reason = "MALFORMED_SDP"


class MalformedMultipart(ProtocolError):
    """A multipart body whose parts cannot be told apart."""

    reason = "MALFORMED_MULTIPART"


class NoCommonMedia(ProtocolError):
    """The two sides share no codec, transport or address type (RFC 3261 section 21.4.26: 488)."""

    reason = "NO_COMMON_MEDIA"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message, status=488, hint=hint)
