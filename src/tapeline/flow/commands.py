"""What a running flow asks of the call: plain frozen values, carried out by whoever owns the call.

A command whose end the flow may wait for carries a `token`; the event that tells of the end names the same token. Tokens are
unique within one run. Nothing here knows of SIP, RTP, files or rows. Times are in seconds, except where a name says `_ms`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tapeline.core.recordspec import RecordSpec
from tapeline.core.roomspec import JoinSpec

__all__ = [
    "Answer",
    "Ask",
    "Command",
    "Complain",
    "Dial",
    "Echo",
    "Fetch",
    "FindRule",
    "Hangup",
    "JoinRoom",
    "Linger",
    "LoadFlow",
    "Log",
    "LookUp",
    "Mailbox",
    "Park",
    "Party",
    "PlaceCall",
    "Play",
    "ReportDigits",
    "Ring",
    "Say",
    "Send",
    "SendDigits",
    "StartRecording",
    "StopPlay",
    "StopRecording",
    "Tone",
]


@dataclass(frozen=True, slots=True)
class Party:
    """Somebody who can be called. `kind` is `tel`, `sip`, `extension`, `agent`, `user`, `device` ...; `target` number, URI or id.

    Where several are called: it begins to ring after `delay_s`, for `limit_s` (0: as long as all of them). Among those that are tried by
    chance, one of twice the `weight` comes first twice as often.
    """

    kind: str = ""
    target: str = ""
    name: str = ""
    delay_s: float = 0.0
    limit_s: float = 0.0
    weight: int = 1


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer the call. Ends with `Answered`."""

    token: int


@dataclass(frozen=True, slots=True)
class Ring:
    """Tell the caller that it rings (180)."""


@dataclass(frozen=True, slots=True)
class Say:
    """Speak `text` (plain, or SSML inside `<speak>`). Ends with `PlayEnded`."""

    token: int
    text: str
    language: str = "en-US"
    voice: str = ""
    level: float = 0.0  # -1 (softest) to 1 (loudest)


@dataclass(frozen=True, slots=True)
class Play:
    """Play `urls`, one after the other. Ends with `PlayEnded`.

    A url is `http(s)://...`, or `recording:<recording id>`: audio of a recording of this call that has just ended.
    """

    token: int
    urls: tuple[str, ...]
    level: float = 0.0  # -1 (softest) to 1 (loudest)


@dataclass(frozen=True, slots=True)
class Tone:
    """Play a named tone once. Ends with `PlayEnded`."""

    token: int
    kind: str = "beep"


@dataclass(frozen=True, slots=True)
class StopPlay:
    """Cut what the command with this token plays."""

    token: int


@dataclass(frozen=True, slots=True)
class Echo:
    """Send the caller its own audio back, or no longer."""

    on: bool


@dataclass(frozen=True, slots=True)
class StartRecording:
    """Start a recording. Answered by `RecordingStarted` or `RecordingRefused`, and at its end by `RecordingEnded`.

    With `wait` the flow stands still until the end; else it goes on as soon as the start is answered.
    """

    token: int
    spec: RecordSpec
    wait: bool = False


@dataclass(frozen=True, slots=True)
class StopRecording:
    """Stop the active recording, the newest one, or the one that was started with this token."""

    which: Literal["active", "newest"] | int = "active"


@dataclass(frozen=True, slots=True)
class SendDigits:
    """Send telephone events. Ends with `DigitsSent`."""

    token: int
    digits: str
    duration_ms: int = 100
    gap_ms: int = 100


@dataclass(frozen=True, slots=True)
class Fetch:
    """An HTTP request whose answer the flow waits for. Ends with `Fetched`."""

    token: int
    url: str
    method: str = "GET"
    body: bytes = b""
    content_type: str = ""
    timeout_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Send:
    """An HTTP request that tells somebody something. With a token it ends with `Fetched`; with None nobody waits."""

    url: str
    method: str
    content_type: str
    body: bytes
    token: int | None = None
    retries: int = 0  # how often it is tried again


@dataclass(frozen=True, slots=True)
class Park:
    """Let the call wait in a slot, or take who waits there (`action` park, retrieve, auto). Ends with `Unparked`."""

    token: int
    slot: str
    action: str


@dataclass(frozen=True, slots=True)
class Ask:
    """Tell the application of the call what happened, and wait for the document that it may answer with. Ends with `Asked`.

    `kind` is input, notify or connect; `url` "" is where the call's events go; `fields` are the event's own, the call adds those that
    every event has.
    """

    token: int
    kind: str
    url: str
    method: str = "POST"
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ReportDigits:
    """Tell the application of the call of each key from now on, one by one. Nobody waits."""

    url: str
    method: str = "POST"


@dataclass(frozen=True, slots=True)
class Complain:
    """Tell the application of the call that something of its flow cannot be done. `reason` is for people, and so are `problems`."""

    reason: str
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Linger:
    """Let the call be with whom it is connected, until it is with nobody. Ends with `Parted`, at once where it is alone."""

    token: int


@dataclass(frozen=True, slots=True)
class LoadFlow:
    """Find a stored flow document of this account, or without an id the flow that answers `number`. Ends with `FlowLoaded`."""

    token: int
    flow_id: str
    number: str = ""


@dataclass(frozen=True, slots=True)
class LookUp:
    """A document of the call's account by its kind and name. Ends with `LookedUp`."""

    token: int
    document: str
    name: str


@dataclass(frozen=True, slots=True)
class FindRule:
    """Which of the account's `rules` holds at this time, in `timezone` ("" the account's); those of `rule_set` count as "rule_set".

    With `change` (enable, disable, reset) they are told whether they hold, whatever the time. Ends with `RuleFound`.
    """

    token: int
    rules: tuple[str, ...]
    rule_set: str = ""
    timezone: str = ""
    change: str = ""


@dataclass(frozen=True, slots=True)
class Mailbox:
    """Something about voicemail boxes, one of which the run has open from the time on that it was let in. Ends with `MailboxTold`.

    `whose`     is `value`, a box, the caller's own: `own`, or ``
    `open`      the box `value`; "": the caller's only one (`single`), or the one with the caller's number (`by_caller`)
    `number`    the box that has the number `value`
    `pin`       let in with `value`
    `list`      its messages
    `file`      the message `value` into `folder`

    What opens one answers `in`, `pin` (ask for it), `closed` (nobody is let in), `missing`; a PIN answers `in`, `wrong`, or `locked`: too
    many were wrong.
    """

    token: int
    action: str
    value: str = ""
    folder: str = ""
    single: bool = False
    by_caller: bool = False


@dataclass(frozen=True, slots=True)
class Dial:
    """Call `destinations` and connect the caller with who answers first. Ends with `DialEnded`, or `DialRoom` for a conference."""

    token: int
    destinations: tuple[Party, ...]
    source: Party | None = None
    timeout_s: float = 60.0
    early_media: bool = False
    anonymous: Literal["yes", "no", "auto"] = "auto"
    options: Mapping[str, Any] = field(default_factory=dict)  # what one dialect only has


@dataclass(frozen=True, slots=True)
class JoinRoom:
    """Put the caller into a conference: `room` is its id, or for a `conversation` its name. Ends with `RoomLeft`.

    With `prelude` the answer is `RoomPrelude` where the conference has a flow that comes first. A `scoped` name belongs to the call's
    application. With `everyone` all who are connected with the caller go there too, and `room` is the id of a conversation.
    """

    token: int
    room: str
    kind: Literal["conference", "confbridge", "conversation"] = "conference"
    spec: JoinSpec = JoinSpec()
    prelude: bool = True
    scoped: bool = False
    everyone: bool = False


@dataclass(frozen=True, slots=True)
class PlaceCall:
    """Place a call of its own, which runs its own flow (`flow_id`, or the document `flow`). Nobody waits for it."""

    token: int
    destinations: tuple[Party, ...]
    source: Party | None = None
    flow_id: str = ""
    flow: str = ""  # JSON
    chained: bool = False  # it ends with this call
    anonymous: Literal["yes", "no", "auto"] = "auto"
    early: bool = False  # its flow begins when it rings, not when it is answered
    program: Any = None  # a `program.Program`, in place of a flow
    timeout_s: float = 60.0
    headers: tuple[tuple[str, str], ...] = ()  # of the INVITE
    not_self: bool = False  # the caller's own phones do not ring


@dataclass(frozen=True, slots=True)
class Hangup:
    """End the call. `cause` is normal, busy, noanswer, rejected, failed, timeout ...; or that of the call `like_call_id`.

    A call that is not answered yet is refused with `status` where there is one, and `text` in its words.
    """

    cause: str = "normal"
    like_call_id: str = ""
    status: int = 0
    text: str = ""


@dataclass(frozen=True, slots=True)
class Log:
    """Something worth a line in the log. `message` holds no personal data; `fields` may."""

    level: Literal["info", "warning", "error"]
    message: str
    fields: Mapping[str, Any] = field(default_factory=dict)


Command = (
    Answer | Ring | Say | Play | Tone | StopPlay | Echo | StartRecording | StopRecording | SendDigits
    | Ask | ReportDigits | Complain | Fetch | Send | LoadFlow | Dial | JoinRoom | Linger | PlaceCall | Hangup | Log | Park
    | LookUp | FindRule | Mailbox
)  # fmt: skip
