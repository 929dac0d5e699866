"""What an endpoint tells whoever drives it. Frozen values; each `SessionEvent` has the session that it is of.

For every session there is exactly one `Ended`, and nothing after it. `body` is the session description, taken out of a multipart body
where it came in one; the whole message is with the session.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from tapeline.sip.message import Response
    from tapeline.sip.refer import Refer
    from tapeline.sip.registrar import Binding
    from tapeline.sip.registration import Registration
    from tapeline.sip.session import Session

__all__ = [
    "Accepted", "Cause", "Ended", "Established", "Event", "Incoming", "InfoReceived", "LoginFailed", "Progress", "ReferProgress",
    "Referred", "Registered", "RegistrationChanged", "ReofferAccepted", "ReofferAcknowledged", "ReofferRefused", "Reoffered", "Replied",
    "SessionEvent", "Unregistered",
]  # fmt: skip

Cause = Literal["normal", "cancel", "busy", "noanswer", "rejected", "timeout", "failed", "unreachable"]


@dataclass(frozen=True, slots=True)
class Incoming:
    """A new call to us. `body` is its offer; None: it wants ours in the 2xx.

    `replaces` is the session that it takes the place of (RFC 3891): who accepts the new one hangs up the old. Whether its caller may do
    that is for the owner to judge. `user`: who of ours has proved by a password to be calling.
    """

    session: Session
    body: bytes | None
    replaces: Session | None = None
    user: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """A provisional answer (101 to 199) to our INVITE. `tag` tells the branches of a fork apart, each with its own early media.

    `offered`: our INVITE had no body, `body` is an offer, and `Session.answer_early` is due.
    """

    session: Session
    status: int
    reason: str
    body: bytes | None
    tag: str = ""
    offered: bool = False


@dataclass(frozen=True, slots=True)
class Accepted:
    """A 2xx to our INVITE. Where our INVITE had no body, `body` is an offer and `Session.ack` is due.

    An answer that came before, in a reliable provisional answer of the same branch, is told again; `body` is None where an UPDATE has taken
    its place, or where it was an offer that `Session.answer_early` has answered: media stay as they are.
    """

    session: Session
    body: bytes | None
    response: Response


@dataclass(frozen=True, slots=True)
class Established:
    """The ACK to our 2xx. `body` is the answer where our 2xx carried the offer."""

    session: Session
    body: bytes | None


@dataclass(frozen=True, slots=True)
class Reoffered:
    """A re-INVITE, or an UPDATE or PRACK with an offer, also before the call is answered. `Session.answer_reoffer` or
    `Session.refuse_reoffer` is due; `body` None: it wants an offer of ours."""

    session: Session
    body: bytes | None


@dataclass(frozen=True, slots=True)
class ReofferAcknowledged:
    """The ACK to our 2xx to a re-INVITE which had no body, or the PRACK to an offer of ours in a provisional answer: `body` answers it."""

    session: Session
    body: bytes | None


@dataclass(frozen=True, slots=True)
class ReofferAccepted:
    """A 2xx to our re-INVITE or UPDATE. Where that had no body, `body` is an offer and `Session.ack` is due.

    Also where a refresh by re-INVITE, which nobody asked for, brought another answer than before. `offer` is what we had sent.
    """

    session: Session
    body: bytes | None
    offer: bytes = field(default=b"", compare=False)


@dataclass(frozen=True, slots=True)
class ReofferRefused:
    """Our re-INVITE or UPDATE was refused; the session goes on as it was."""

    session: Session
    status: int


@dataclass(frozen=True, slots=True)
class InfoReceived:
    """An INFO request within the session, already answered with 200."""

    session: Session
    content_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Referred:
    """The peer asks that somebody else be called. `refer.accept` or `refer.reject` is due; see `tapeline.sip.refer.Refer`."""

    session: Session
    refer: Refer


@dataclass(frozen=True, slots=True)
class ReferProgress:
    """How it goes with our REFER: the status of the call that the peer makes, and 202 when it began. A refusal, or silence (408), is final.

    A final status from 200 to 299 is a success, unless it is the 202 of a peer that tells nothing more; any other final one is none.
    """

    session: Session
    status: int
    final: bool


@dataclass(frozen=True, slots=True)
class Ended:
    """The session is over. `by` says who ended it; `status` the SIP status that tells it best (200 for a normal end).

    `text` is what the peer or we gave as the reason. `contacts` are the URIs that a 3xx names instead, best first. `q850` is the cause that
    the telephone network gave (ITU-T Q.850), 0 where none was told.
    """

    session: Session
    by: Literal["local", "remote"]
    status: int
    cause: Cause
    text: str
    contacts: tuple[str, ...] = ()
    q850: int = 0


@dataclass(frozen=True, slots=True)
class Registered:
    """A user is now reached at this binding, or still is. `fresh`: it was not known before."""

    username: str
    binding: Binding
    fresh: bool


@dataclass(frozen=True, slots=True)
class Unregistered:
    """A user is no longer reached at `uri`.

    removed: by the user. expired. lost: its connection closed. replaced: by the same phone elsewhere, or it had too many.
    """

    username: str
    uri: str
    reason: Literal["removed", "expired", "lost", "replaced"]


@dataclass(frozen=True, slots=True)
class LoginFailed:
    """A request was refused (403): its password is wrong, or its user nobody. `username` is what was claimed, `address` who sent it."""

    username: str
    method: str
    address: str


@dataclass(frozen=True, slots=True)
class RegistrationChanged:
    """How our registration with another server stands now: told when that changes, and at each failure.

    `status` is the last answer's, 408 or 503 where none came, 0 where nothing was asked; `text` its words.
    """

    registration: Registration
    state: Literal["registered", "failed", "ended"]
    status: int
    text: str


@dataclass(frozen=True, slots=True)
class Replied:
    """The end of a request of ours outside of any call: its final answer, or 408 or 503 and no `response` where none came."""

    id: str
    status: int
    text: str
    response: Response | None
    took_s: float


SessionEvent = (
    Incoming | Progress | Accepted | Established | Reoffered | ReofferAcknowledged | ReofferAccepted | ReofferRefused | InfoReceived
    | Referred | ReferProgress | Ended
)  # fmt: skip
Event = SessionEvent | Registered | Unregistered | LoginFailed | RegistrationChanged | Replied
