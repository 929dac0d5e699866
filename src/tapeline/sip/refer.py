"""REFER in both directions (RFC 3515): somebody asks that the other side call a third party, and is told how that goes.

What is told comes in NOTIFY with the status line of the other call as its body. The subscription behind it is never asked for: the REFER
makes it, the first final status ends it, or time. Refer-To may name a call to be replaced (RFC 3891), Referred-By says who asks (RFC 3892),
and Refer-Sub: false asks for no NOTIFY at all (RFC 4488). One NOTIFY is under way at a time, so that none overtakes another; between
them only the newest status is kept. The subscription that a peer's REFER made outlives the call (RFC 5057 section 4.2), since a peer
commonly says BYE at once; of our own REFER nothing is told after `Ended`. This module makes no calls: the owner of the session does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from tapeline.core.errors import InvalidState
from tapeline.sip.config import EndpointConfig
from tapeline.sip.dialog import Dialog
from tapeline.sip.errors import MalformedMessage
from tapeline.sip.events import Event, ReferProgress, Referred
from tapeline.sip.headers import parse_name_addr, parse_parameters
from tapeline.sip.layer import TransactionLayer
from tapeline.sip.message import REASONS, Field, Request, Response
from tapeline.sip.replaces import Replaces, escaped, parse_replaces, unescaped
from tapeline.sip.timers import Timer
from tapeline.sip.trace import Trace
from tapeline.sip.transactions import ClientTransaction, ServerTransaction, TransactionUser
from tapeline.sip.uri import parse_uri

__all__ = ["Refer", "ReferTo", "Referrals", "parse_refer_to", "parse_sipfrag"]

_SIPFRAG = "message/sipfrag;version=2.0"
_STATUS_LINE = re.compile(rb"\s*SIP/2\.0 ([1-6][0-9]{2})(?: ([^\r\n]*))?(?:\r|\n|\Z)", re.IGNORECASE)
_PATIENCE = 16  # times T1 that a REFER waits for its owner's word; its sender gives up after 64
_SHOWN_REASON = 128


@dataclass(frozen=True, slots=True)
class ReferTo:
    """Where a REFER points: the URI without headers and method, and what is to be replaced there."""

    target: str
    replaces: Replaces | None
    method: str


def parse_refer_to(text: str) -> ReferTo:
    """Read a Refer-To value. Raises MalformedMessage.

    Telephones leave the angle brackets away (RFC 3261 section 20 wants them where there are parameters or headers): all is the URI then.
    """
    uri = parse_name_addr(text if "<" in text else f"<{text.strip()}>").uri
    if not uri.is_sip:
        return ReferTo(uri.text, None, "INVITE")
    replaces = None
    for item in uri.headers.split("&"):
        name, _, value = item.partition("=")
        if name.lower() == "replaces":
            if replaces is not None:
                raise MalformedMessage("a Refer-To with two Replaces")
            replaces = parse_replaces(unescaped(value))
    method = (uri.parameters.get("method") or "INVITE").upper()
    if uri.headers or "method" in uri.parameters:
        kept = {name: value for name, value in uri.parameters.items() if name != "method"}
        uri = replace(uri, parameters=kept, headers="", text="")
    return ReferTo(str(uri), replaces, method)


def parse_sipfrag(body: bytes) -> tuple[int, str] | None:
    """Status and reason of a body that begins with a status line (RFC 3420); None where it does not."""
    found = _STATUS_LINE.match(body)
    if found is None:
        return None
    return int(found[1]), (found[2] or b"").decode("utf-8", "surrogateescape")


def _sipfrag(status: int, reason: str) -> bytes:
    reason = " ".join(reason.split())[:_SHOWN_REASON] or REASONS.get(status, "")
    return f"SIP/2.0 {status} {reason}\r\n".encode("utf-8", "surrogateescape")


class Referring(Protocol):
    """A session, as seen from here."""

    dialog: Dialog
    local_uri: str
    trace: Trace | None

    @property
    def layer(self) -> TransactionLayer: ...
    @property
    def config(self) -> EndpointConfig: ...
    def emit(self, event: Event) -> None: ...
    def reply(
        self, request: Request, transaction: ServerTransaction, status: int, now: float, fields: Sequence[Field] = (), body: bytes = b""
    ) -> None: ...
    def logged_in(self, transaction: ClientTransaction, response: Response, now: float) -> bool: ...
    def send(
        self, method: str, now: float, fields: Sequence[Field] = (), body: bytes = b"", user: TransactionUser | None = None
    ) -> None: ...


class Refer:
    """A REFER of the peer's: `target` to be called, `replaces` (a Replaces value) there where it is not None, `referred_by` as it came.

    `accept` or `reject` is due, then `notify` for each change up to a final status. Who says nothing for 16*T1 has declined. After the call
    is over an accepted one goes on; one that still waits for a word was refused with the end of the call.
    """

    __slots__ = ("_event", "_expires_at", "_newest", "_request", "_session", "_timer", "_transaction", "_under_way", "_why",
                 "referred_by", "replaces", "state", "subscribed", "target")  # fmt: skip

    def __init__(self, session: Referring, request: Request, transaction: ServerTransaction, to: ReferTo, event: str, now: float) -> None:
        self._session = session
        self._request: Request | None = request
        self._transaction = transaction
        self._event = event
        self.target = to.target
        self.replaces = to.replaces.text if to.replaces is not None else None
        self.referred_by = request.get("referred-by") or ""
        self.subscribed = (request.get("refer-sub") or "").partition(";")[0].strip().lower() != "false"
        self.state = "asked"  # then "active" and "over"
        self._newest: tuple[int, str] | None = None  # what is to be told when the NOTIFY under way is answered
        self._under_way = False
        self._why = "noresource"  # the subscription ends (RFC 6665 section 4.1.3)
        self._expires_at = 0.0
        self._timer: Timer | None = session.layer.timers.start(now + _PATIENCE * session.layer.times.t1, self, "declined")

    def accept(self, now: float) -> None:
        """202, and that the call is being tried. Raises InvalidState where it was answered or its call has ended."""
        self._answer(202, now)
        if not self.subscribed:
            self.state = "over"
            return
        self.state = "active"
        expires = self._session.config.refer_expires
        self._expires_at = now + expires
        self._timer = self._session.layer.timers.start(self._expires_at, self, "expired")
        self.notify(100, "", now)

    def reject(self, status: int, now: float) -> None:
        """Refuse it. Raises InvalidState as `accept` does."""
        if not 300 <= status < 700:
            raise ValueError("a refusal has a status from 300 to 699")
        self._answer(status, now)
        self.state = "over"

    def notify(self, status: int, reason: str, now: float) -> None:
        """Tell how the call to the target goes; a final status is the last word. Nothing where nobody listens any more."""
        if not 100 <= status < 700:
            raise ValueError("a status is from 100 to 699")
        if self.state != "active" or (self._newest is not None and self._newest[0] >= 200):
            return
        self._newest = status, reason
        if not self._under_way:
            self._tell(now)

    def _answer(self, status: int, now: float) -> None:
        request = self._request
        if self.state != "asked" or request is None:
            raise InvalidState("this REFER has been answered")
        self._request = None
        self._cancel_timer()
        fields: list[Field] = [self._session.dialog.contact] if status == 202 else []
        if status == 202 and not self.subscribed:
            fields.append(("Refer-Sub", "false"))
        self._session.reply(request, self._transaction, status, now, fields)

    def _tell(self, now: float) -> None:
        assert self._newest is not None  # asked by the callers
        (status, reason), self._newest = self._newest, None
        self._under_way = True
        if status >= 200:
            state = f"terminated;reason={self._why}"
            self.close()
        else:
            state = f"active;expires={max(0, round(self._expires_at - now))}"
        fields = [self._session.dialog.contact, ("Event", self._event), ("Subscription-State", state), ("Content-Type", _SIPFRAG)]
        self._session.send("NOTIFY", now, fields, _sipfrag(status, reason), self)

    @property
    def trace(self) -> Trace | None:
        return self._session.trace

    def on_response(self, transaction: ClientTransaction, response: Response, now: float) -> None:
        if response.status >= 200 and not self._session.logged_in(transaction, response, now):
            self._told(response.status < 300, now)

    def on_failure(self, transaction: ClientTransaction, what: str, now: float) -> None:
        self._told(False, now)

    def _told(self, ok: bool, now: float) -> None:
        """The NOTIFY under way was answered; a peer that does not want it (RFC 6665 section 4.2.2) gets no other."""
        self._under_way = False
        if not ok:
            self.close()
        elif self._newest is not None:
            self._tell(now)

    def close(self) -> None:
        self.state = "over"
        self._newest = None
        self._cancel_timer()

    def _cancel_timer(self) -> None:
        self._session.layer.timers.cancel(self._timer)
        self._timer = None

    def on_timer(self, name: str, now: float) -> None:
        self._timer = None
        if name == "declined":
            self.reject(603, now)
            return
        self._why = "timeout"
        self.notify(408, "", now)


class Referrals:
    """The REFERs of one session: at most one of the peer's and one of ours that are not over."""

    __slots__ = ("_asked", "_seen", "_session", "_theirs", "_timer")

    def __init__(self, session: Referring) -> None:
        self._session = session
        self._theirs: Refer | None = None
        self._seen = False
        self._asked = False  # a REFER of ours is not over
        self._timer: Timer | None = None

    def on_request(self, request: Request, transaction: ServerTransaction, now: float) -> None:
        """REFER or NOTIFY. Raises MalformedMessage where its headers cannot be read."""
        if request.method == "REFER":
            self._on_refer(request, transaction, now)
        elif (request.get("event") or "").partition(";")[0].strip().lower() == "refer":
            self._on_notify(request, transaction, now)
        else:
            self._session.reply(request, transaction, 489, now, [("Allow-Events", "refer")])

    # ---- the peer's

    def _on_refer(self, request: Request, transaction: ServerTransaction, now: float) -> None:
        session = self._session
        values = request.items("refer-to")
        if len(values) != 1:
            raise MalformedMessage("a REFER has one Refer-To (RFC 3515 section 2.4.1)")
        to = parse_refer_to(values[0])
        if to.method != "INVITE":
            session.reply(request, transaction, 403, now)
        elif parse_uri(to.target).scheme not in ("sip", "sips", "tel"):
            session.reply(request, transaction, 416, now)
        elif self._theirs is not None and self._theirs.state != "over":
            session.reply(request, transaction, 491, now)
        else:
            session.dialog.refresh(request)
            # RFC 3515 section 2.4.6: the second and those after it are told apart by an id.
            event = f"refer;id={request.cseq[0]}" if self._seen else "refer"
            self._seen = True
            self._theirs = Refer(session, request, transaction, to, event, now)
            session.emit(Referred(session, self._theirs))  # type: ignore[arg-type]  # the protocol stands for the session

    # ---- ours

    def refer(self, target: str, replaces: str | None, now: float) -> None:
        """Ask the peer to call `target`. Raises MalformedUri, MalformedMessage, InvalidState."""
        if self._asked:
            raise InvalidState("a REFER is under way")
        uri = parse_uri(target)
        if replaces is not None:
            parse_replaces(replaces)
            target = f"{target}{'&' if uri.headers else '?'}Replaces={escaped(replaces)}"
        session = self._session
        fields = [session.dialog.contact, ("Refer-To", f"<{target}>"), ("Referred-By", f"<{session.local_uri}>")]
        session.send("REFER", now, [*fields, ("Supported", "replaces, norefersub")])
        self._asked = True
        self._wait(now, session.config.refer_expires)

    def _wait(self, now: float, seconds: float) -> None:
        timers = self._session.layer.timers
        timers.cancel(self._timer)
        self._timer = timers.start(now + seconds, self, "expired")

    def _progress(self, status: int, final: bool) -> None:
        if final:
            self.close()
        self._session.emit(ReferProgress(self._session, status, final))  # type: ignore[arg-type]  # the protocol stands for the session

    def on_refer_answered(self, response: Response) -> None:
        if self._asked and response.status >= 200:
            unsubscribed = (response.get("refer-sub") or "").strip().lower().startswith("false")
            self._progress(response.status, response.status >= 300 or unsubscribed)

    def on_refer_unanswered(self, status: int) -> None:
        if self._asked:
            self._progress(status, True)

    def _on_notify(self, request: Request, transaction: ServerTransaction, now: float) -> None:
        session = self._session
        fragment = parse_sipfrag(request.body)
        state, semicolon, rest = (request.get("subscription-state") or "").partition(";")
        over = state.strip().lower() == "terminated"
        if not self._asked:
            session.reply(request, transaction, 481, now)
            return
        if not state or (fragment is None and not over):
            session.reply(request, transaction, 400, now)
            return
        parameters = parse_parameters(semicolon + rest)
        session.reply(request, transaction, 200, now)
        status = fragment[0] if fragment is not None else 408
        if status < 200 and not over:
            expires = parameters.get("expires") or ""
            if expires.isascii() and expires.isdigit() and len(expires) < 7:
                # The peer knows how long it will tell; never longer than we would wait ourselves.
                self._wait(now, min(int(expires), session.config.refer_expires) + session.layer.times.give_up)
        self._progress(status, over or status >= 200)

    def close(self) -> None:
        """Nothing more is told of our REFER."""
        self._asked = False
        self._session.layer.timers.cancel(self._timer)
        self._timer = None

    def on_timer(self, name: str, now: float) -> None:
        self._timer = None
        self._progress(408, True)

    def ended(self, now: float) -> None:
        """The call is over; what the peer's REFER subscribed to is not, unless nobody has answered it yet."""
        self.close()
        if self._theirs is not None and self._theirs.state == "asked":
            self._theirs.reject(487, now)
