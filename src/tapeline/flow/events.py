"""What a running flow is told: the ends of its commands, and what happens on the call by itself.

An event with a `token` answers the command that carried it; once the flow has gone on from there the event is stale and is
ignored. `Elapsed` is the interpreter's own: it tells a waiting operation that its deadline has passed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "Answered",
    "Asked",
    "CallStatus",
    "DialEnded",
    "DialRoom",
    "Digit",
    "DigitsSent",
    "Elapsed",
    "Event",
    "Fetched",
    "FlowLoaded",
    "HungUp",
    "LookedUp",
    "MailboxTold",
    "Message",
    "Parted",
    "PlayEnded",
    "RecordingEnded",
    "RecordingRefused",
    "RecordingStarted",
    "Replaced",
    "RoomLeft",
    "RoomPrelude",
    "RuleFound",
    "Unparked",
    "Unsupported",
]


@dataclass(frozen=True, slots=True)
class Answered:
    """The call is up (2xx acknowledged, or media may flow)."""

    token: int


@dataclass(frozen=True, slots=True)
class PlayEnded:
    """Speech, files or tone have ended: to the end, cut (`interrupted`), or unplayable (`error` says why)."""

    token: int
    interrupted: bool = False
    error: str = ""


@dataclass(frozen=True, slots=True)
class Digit:
    """The caller pressed a key: one of 0-9, *, #, A-D."""

    digit: str


@dataclass(frozen=True, slots=True)
class RecordingStarted:
    """It records. `variables` are set on the call, each as `tapeline.recording.<name>`: id, reference_type, format ..."""

    token: int
    recording_id: str
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RecordingRefused:
    """It does not record: the call is not up, another one is active, the disk is full."""

    token: int
    reason: str


@dataclass(frozen=True, slots=True)
class RecordingEnded:
    """It has ended. `reason`: stopped, silence, key, max_seconds, hangup, disk_full, absent ..."""

    token: int
    reason: str


@dataclass(frozen=True, slots=True)
class Fetched:
    """The answer to `Fetch` or `Send`. `status` is 0 and `error` set where there was none."""

    token: int
    status: int
    body: bytes = b""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the application answered to `Ask`: what its document was compiled to (`program.Compilation`), or None where there is none."""

    token: int
    found: Any = None


@dataclass(frozen=True, slots=True)
class Parted:
    """The call is with nobody. `was_together`: it was with somebody when that was asked for."""

    token: int
    was_together: bool = False


@dataclass(frozen=True, slots=True)
class FlowLoaded:
    """A flow: its document (text, bytes, parsed JSON) or its program, or None and why."""

    token: int
    document: Any
    error: str = ""


@dataclass(frozen=True, slots=True)
class DigitsSent:
    token: int


@dataclass(frozen=True, slots=True)
class DialEnded:
    """Nobody was reached, or the conversation is over. `causes` most telling first: `("NO_ANSWER", "sip:480")`; `reason` is the
    hangup_reason of the call that was dialled (normal, busy, noanswer, failed), `status` the SIP status that a caller may be told, or 0."""

    token: int
    answered: bool
    causes: tuple[str, ...] = ()
    reason: str = "normal"
    status: int = 0


@dataclass(frozen=True, slots=True)
class DialRoom:
    """Who answers a `Dial` is the conference of the id `room`: to be joined."""

    token: int
    room: str


@dataclass(frozen=True, slots=True)
class RoomLeft:
    """The caller left the conference, or it ended, or it could not be joined.

    `reason`: `left`, `kicked`, `ended`, `moderator_left`, `timeout`; `not_found`, `full`, `failed`. Where it has been in it, and that
    has a flow that comes afterwards, the stored flow `flow_id` is run next.
    """

    token: int
    reason: str = ""
    flow_id: str = ""


@dataclass(frozen=True, slots=True)
class RoomPrelude:
    """Before the conference is joined, the stored flow `flow_id` is to be run; then ask again, without `prelude`."""

    token: int
    flow_id: str


@dataclass(frozen=True, slots=True)
class Unparked:
    """The caller was parked, or took somebody who was, and they have talked (`answered`); or nobody was there (`empty`), or no slot was
    left (`full`)."""

    token: int
    result: str


@dataclass(frozen=True, slots=True)
class LookedUp:
    """The document that was asked for; None: there is no such one."""

    token: int
    document: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class RuleFound:
    """The rule that holds now, "" none of them; or whether they were changed ("", or why not in `error`)."""

    token: int
    rule: str
    error: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """One in a voicemail box: from whom, when it was left (to be spoken), and the address to play it by."""

    id: str
    caller: str
    when: str
    folder: str
    url: str


@dataclass(frozen=True, slots=True)
class MailboxTold:
    token: int
    result: str
    messages: tuple[Message, ...] = ()


@dataclass(frozen=True, slots=True)
class Unsupported:
    """This system cannot carry out the command with this token. The flow goes on with the next step."""

    token: int


@dataclass(frozen=True, slots=True)
class HungUp:
    """The call is over, and with it the run. `by` is `remote` or `local`."""

    cause: str = "normal"
    by: str = "remote"


@dataclass(frozen=True, slots=True)
class CallStatus:
    """The call's status changed: dialing, ringing, progressing, terminating, canceling, hangup."""

    status: str


@dataclass(frozen=True, slots=True)
class Replaced:
    """Another program (`program.Program`) takes the place of all that was still to be done, whatever the flow waits for."""

    program: Any


@dataclass(frozen=True, slots=True)
class Elapsed:
    """The deadline that the operation asked for has passed."""


Event = (
    Answered | Asked | Parted | PlayEnded | Digit | RecordingStarted | RecordingRefused | RecordingEnded | Fetched | FlowLoaded | DigitsSent
    | DialEnded | DialRoom | RoomLeft | RoomPrelude | Unparked | LookedUp | RuleFound | Unsupported | HungUp | CallStatus | Replaced
    | MailboxTold | Elapsed
)  # fmt: skip
