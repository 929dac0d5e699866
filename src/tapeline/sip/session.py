"""A session: one INVITE usage from its INVITE to its end, as UAS or UAC (RFC 3261 sections 13 to 15).

The session holds the state (the table `tables.DIALOG`), the one dialog that was confirmed, and at most one INVITE under way in each
direction. Commands are plain calls with `now`; what they cause is taken from the endpoint as events and outgoing messages. Whatever
leads to "terminated" makes the one `Ended` at once: what is left to do on the wire (CANCEL, ACK, BYE and their repetitions) goes on
without the session's owner. This module knows nothing of media: offers and answers are bytes to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from tapeline.core.errors import InvalidState
from tapeline.sip.config import EndpointConfig
from tapeline.sip.dialog import Dialog
from tapeline.sip.errors import ImpossibleInput, MalformedMessage, MalformedMultipart
from tapeline.sip.events import (
    Accepted,
    Cause,
    Ended,
    Established,
    Event,
    InfoReceived,
    Progress,
    ReofferAccepted,
    ReofferAcknowledged,
    Reoffered,
    ReofferRefused,
)
from tapeline.sip.invite_in import IncomingInvite
from tapeline.sip.invite_out import OutgoingInvite
from tapeline.sip.layer import TransactionLayer
from tapeline.sip.message import REASONS, Field, Message, Request, Response, contacts_of, reply_fields, whole_lines
from tapeline.sip.multipart import part_of_type
from tapeline.sip.reasons import Reason, reason_fields, reasons_of
from tapeline.sip.refer import Referrals
from tapeline.sip.tables import DIALOG
from tapeline.sip.timers import Timer
from tapeline.sip.trace import Trace
from tapeline.sip.transactions import ClientTransaction, ServerTransaction, TransactionUser

__all__ = ["CAUSES", "Session", "session_description"]

State = Literal["calling", "proceeding", "early", "confirmed", "terminated"]
Side = Literal["local", "remote"]

CAUSES: dict[int, Cause] = {
    401: "rejected", 403: "rejected", 407: "rejected", 408: "noanswer", 433: "rejected", 480: "noanswer", 486: "busy", 487: "cancel",
    600: "busy", 603: "rejected", 607: "rejected", 608: "rejected",
}  # fmt: skip
_MOST_RETRIES = 4  # of a re-INVITE that met the peer's
_SDP = ("Content-Type", "application/sdp")


def session_description(message: Message) -> bytes | None:
    """The SDP body, taken out of a multipart body where it is in one; None where there is none."""
    if not message.body:
        return None
    kind = message.content_type
    if kind.startswith("multipart/"):
        try:
            return part_of_type(message.need("content-type"), message.body, "application/sdp")
        except MalformedMultipart:
            return None
    return message.body if kind in ("application/sdp", "") else None


class Owner(Protocol):
    """The endpoint, as its sessions see it."""

    layer: TransactionLayer
    config: EndpointConfig

    def emit(self, event: Event) -> None: ...
    def attach(self, session: Session, remote_tag: str) -> None: ...
    def release(self, session: Session) -> None: ...
    def answered(self, session: Session) -> None: ...
    def keep_only(self, session: Session, remote_tag: str) -> None: ...


class Session:
    """One call leg's signalling. Made by the endpoint. Attributes are for reading; commands raise InvalidState where they do not fit."""

    __slots__ = (
        "_bye_wanted", "_incoming", "_outgoing", "_owner", "_referrals", "_retries", "_retry", "_why", "call_id", "dialog", "id",
        "incoming", "local_tag", "local_uri", "remote_name", "remote_tag", "remote_uri", "request", "request_uri", "source", "state",
        "tags", "trace",
    )  # fmt: skip

    def __init__(self, owner: Owner, dialog: Dialog, request: Request | None, *, local_uri: str, remote_uri: str, remote_name: str) -> None:
        self._owner = owner
        self.dialog = dialog
        self.incoming = request is not None
        self.id = dialog.local_tag
        self.call_id = dialog.call_id
        self.local_tag = dialog.local_tag
        self.remote_tag = dialog.remote_tag
        self.local_uri = local_uri
        self.remote_uri = remote_uri
        self.remote_name = remote_name
        self.request_uri = dialog.target if request is None else request.uri_text
        self.state: State = "calling" if request is None else "proceeding"
        self.source = dialog.flow.remote[0]
        self.tags: set[str] = set()  # remote tags under which the endpoint knows this session
        self.trace = Trace() if owner.config.trace else None
        self._incoming: IncomingInvite | None = None
        self._outgoing: OutgoingInvite | None = None
        self._retry: Timer | None = None
        self._retries = 0
        self._referrals: Referrals | None = None
        self._bye_wanted = False
        self._why: Sequence[Field] = ()  # what a BYE that has to wait will tell
        if request is not None:
            self.request = request

    @property
    def keep_trace(self) -> bool:
        """Whether `trace` holds the messages from some time on; can be turned on at any time, and off, which forgets them."""
        return self.trace is not None

    @keep_trace.setter
    def keep_trace(self, wanted: bool) -> None:
        if wanted != self.keep_trace:
            self.trace = Trace() if wanted else None

    # ---- how it begins

    def begin(self, fields: list[Field], body: bytes, now: float) -> None:
        """Send the INVITE. For the endpoint."""
        layer = self._owner.layer
        flow = self.dialog.next_flow(layer.listeners, layer.streams) if self.dialog.route else self.dialog.flow
        self._outgoing = OutgoingInvite(layer, self, self.dialog, True, self._offer_fields(body) + fields, body, flow, now)
        self.request = self._outgoing.transaction.request

    def invited(self, transaction: ServerTransaction, request: Request) -> bytes | None:
        """Take the INVITE that made this session. For the endpoint. Returns its offer."""
        body = session_description(request)
        self._incoming = IncomingInvite(self._owner.layer, self, transaction, request, body is not None, True)
        return body

    # ---- commands

    def ring(self, now: float, status: int = 180, body: bytes | None = None, headers: Sequence[Field] = ()) -> None:
        """Answer provisionally (101 to 199)."""
        if not 100 < status < 200:
            raise ValueError("a provisional status is from 101 to 199")
        invite = self._open_invite(initial=True)
        fields = [*self._offer_fields(body or b""), *whole_lines(headers)]
        self._step("progress")
        invite.respond(status, now, fields, body or b"")

    def accept(self, body: bytes, now: float, headers: Sequence[Field] = ()) -> None:
        """Answer with 200 and `body`: the answer to the offer, or the offer where the INVITE had none."""
        fields = whole_lines(headers)
        invite = self._open_invite(initial=True)
        self._step("success")
        self._owner.answered(self)
        invite.respond(200, now, [*self._offer_fields(body), *fields], body)

    def reject(self, status: int, now: float, reason: str = "", headers: Sequence[Field] = ()) -> None:
        """Refuse with a final status from 300 on; the session ends."""
        if not 300 <= status < 700:
            raise ValueError("a refusal has a status from 300 to 699")
        fields = whole_lines(headers)
        invite = self._open_invite(initial=True)
        invite.respond(status, now, fields, b"", " ".join(reason.split()))
        self._end(now, "failure", "local", status, CAUSES.get(status, "rejected"), reason)

    def hangup(self, now: float, reason: str = "", status: int = 0, q850: int = 0) -> None:
        """End it, whatever the state asks for: CANCEL, a refusal (480), or BYE. Nothing where it has ended.

        `reason`, `status` and `q850` are told the peer in Reason. A CANCEL with status 200 says that the call was taken elsewhere.
        """
        if self.state == "terminated":
            return
        why = reason_fields((Reason("sip", status or (200 if reason else 0), reason), Reason("q.850", q850, "")))
        if self.state != "confirmed":
            if self._outgoing is not None:
                self._outgoing.cancel(now, why)
                self._end(now, "abandon", "local", 487, "cancel", reason)
            else:
                self.reject(480, now, reason, why)
            return
        self._leave(now, why)
        self._end(now, "abandon", "local", 200, "normal", reason)

    def reoffer(self, body: bytes | None, now: float) -> None:
        """Send a re-INVITE with an offer, or without: then `ReofferAccepted` brings the peer's, and `ack` is due."""
        if self.state != "confirmed" or self._busy() or self._retry is not None:
            raise InvalidState("a re-INVITE needs a confirmed session with no other INVITE under way")
        self._retries = 0
        self._send_reinvite(body or b"", now)

    def answer_reoffer(self, body: bytes, now: float) -> None:
        self._open_invite(initial=False).respond(200, now, self._offer_fields(body), body)

    def refuse_reoffer(self, status: int, now: float) -> None:
        if not 300 <= status < 700:
            raise ValueError("a refusal has a status from 300 to 699")
        self._open_invite(initial=False).respond(status, now, [])

    def ack(self, body: bytes, now: float) -> None:
        """Acknowledge a 2xx that carried an offer, with the answer to it."""
        invite = self._outgoing
        if invite is None or not invite.ack_due or self.state != "confirmed":
            raise InvalidState("no 2xx waits for its ACK")
        invite.ack(self.dialog, body, now)

    def info(self, content_type: str, body: bytes, now: float) -> None:
        """Send INFO within the session."""
        if self.state != "confirmed":
            raise InvalidState("INFO needs a confirmed session")
        self.send("INFO", now, whole_lines([("Content-Type", content_type)]), body)

    def refer(self, target: str, now: float, replaces: str | None = None) -> None:
        """Ask the peer to call `target`, there in the place of the call that `replaces` (a Replaces value) names. `ReferProgress` follows.

        Raises InvalidState where the session is not confirmed or another REFER of ours is not over, MalformedUri, MalformedMessage.
        """
        if self.state != "confirmed":
            raise InvalidState("REFER needs a confirmed session")
        self._refers().refer(target, replaces, now)

    # ---- what the commands share

    @property
    def layer(self) -> TransactionLayer:
        return self._owner.layer

    @property
    def config(self) -> EndpointConfig:
        return self._owner.config

    def emit(self, event: Event) -> None:
        self._owner.emit(event)

    def _refers(self) -> Referrals:
        if self._referrals is None:
            self._referrals = Referrals(self)
        return self._referrals

    def _open_invite(self, *, initial: bool) -> IncomingInvite:
        invite = self._incoming
        if invite is None or invite.state != "open" or invite.initial is not initial or self.state == "terminated":
            raise InvalidState("no INVITE waits for an answer")
        return invite

    def _busy(self) -> bool:
        """Whether an INVITE is under way in either direction (RFC 3261 section 14.1)."""
        coming, going = self._incoming, self._outgoing
        return (coming is not None and coming.state != "closed") or (going is not None and (not going.final or going.ack_due))

    def _dialog_fields(self) -> list[Field]:
        config = self._owner.config
        product = "Server" if self.incoming else "User-Agent"
        return [self.dialog.contact, ("Allow", ", ".join(config.allow)), (product, config.user_agent)]

    def _offer_fields(self, body: bytes) -> list[Field]:
        return [*self._dialog_fields(), _SDP] if body else self._dialog_fields()

    def send(self, method: str, now: float, fields: Sequence[Field] = (), body: bytes = b"", user: TransactionUser | None = None) -> None:
        """Send a request within the dialog; its answer goes to `user`, here where None. For the parts of the session."""
        layer = self._owner.layer
        request = self.dialog.request(method, fields, body)
        layer.request(request, self.dialog.next_flow(layer.listeners, layer.streams), user or self, now)

    def logged_in(self, transaction: ClientTransaction, response: Response, now: float) -> bool:
        """Whether the request asked for a password that we have, and was sent again with it. For the parts of the session."""
        again = self.dialog.retried(transaction.request, response)
        if again is not None:
            layer = self._owner.layer
            layer.request(again, self.dialog.next_flow(layer.listeners, layer.streams), transaction.user, now)
        return again is not None

    def _send_reinvite(self, body: bytes, now: float) -> None:
        layer = self._owner.layer
        flow = self.dialog.next_flow(layer.listeners, layer.streams)
        self._outgoing = OutgoingInvite(layer, self, self.dialog, False, self._offer_fields(body), body, flow, now)

    def _step(self, what: str) -> tuple[str, ...]:
        cell = DIALOG.get((self.state, what))
        if cell is None:
            raise ImpossibleInput(f"session: {what!r} while {self.state}")
        self.state = cell[0]  # type: ignore[assignment]  # the table holds no other states
        return cell[1]

    def _end(
        self, now: float, what: str, by: Side, status: int, cause: Cause, text: str = "", q850: int = 0,
        contacts: tuple[str, ...] = ()
    ) -> None:
        """Enter "terminated" and say so once."""
        waiting = self.incoming and self.state in ("proceeding", "early")
        if "end" not in self._step(what):
            return
        self._owner.layer.timers.cancel(self._retry)
        self._retry = None
        if self._referrals is not None:
            self._referrals.ended(now)
        if waiting:
            self._owner.answered(self)
        self._owner.emit(Ended(self, by, status, cause, text or REASONS.get(status, ""), contacts, q850))
        if not self._bye_wanted:
            self._owner.release(self)

    def _lose(self, now: float, status: int, text: str) -> None:
        """Say BYE to a peer that may be gone, and why."""
        self._leave(now, reason_fields([Reason("sip", status, text)]))

    def _leave(self, now: float, why: Sequence[Field] = ()) -> None:
        """Say BYE, or as soon as RFC 3261 section 15 allows: a UAS waits for the ACK to its first 2xx."""
        coming, going = self._incoming, self._outgoing
        if coming is not None and coming.state == "open":
            coming.respond(487, now, [])
        if going is not None:
            if going.ack_due:
                going.ack(self.dialog, b"", now)
            going.abandon(now)
        self._bye_wanted = True
        if coming is not None and coming.state == "accepted" and coming.initial:
            self._why = why
            return
        self._say_bye(now, why)

    def _say_bye(self, now: float, why: Sequence[Field]) -> None:
        self.send("BYE", now, why)

    # ---- requests of the peer within the dialog; the endpoint has checked them

    def on_request(self, request: Request, transaction: ServerTransaction, now: float) -> None:
        if request.method == "BYE":
            self._on_bye(request, transaction, now)
        elif request.method == "INVITE":
            self._on_reinvite(request, transaction, now)
        elif self.state == "terminated":
            self.reply(request, transaction, 481, now)
        elif request.method in ("REFER", "NOTIFY"):
            try:
                self._on_referral(request, transaction, now)
            except MalformedMessage as error:
                self.reply(request, transaction, error.status, now)
        else:
            self.reply(request, transaction, 200, now)
            self._owner.emit(InfoReceived(self, request.get("content-type") or "", request.body))

    def reply(self, request: Request, transaction: ServerTransaction, status: int, now: float, fields: Sequence[Field] = ()) -> None:
        """Answer a request within the dialog. For the parts of the session."""
        transaction.send(Response(status, REASONS[status], [*reply_fields(request, self.local_tag), *fields]), now)

    def _on_referral(self, request: Request, transaction: ServerTransaction, now: float) -> None:
        if request.method == "REFER":
            if self.state == "confirmed":
                self._refers().on_refer(request, transaction, now)
            else:
                self.reply(request, transaction, 491, now)
        elif (request.get("event") or "").partition(";")[0].strip().lower() == "refer":
            self._refers().on_notify(request, transaction, now)
        else:
            self.reply(request, transaction, 489, now, [("Allow-Events", "refer")])

    def _on_bye(self, request: Request, transaction: ServerTransaction, now: float) -> None:
        self.reply(request, transaction, 200, now)
        coming = self._incoming
        if coming is not None:
            if coming.state == "open":
                coming.respond(487, now, [])
            coming.acknowledged()  # a peer that says BYE has seen the 2xx
        if self._outgoing is not None:
            self._outgoing.abandon(now)
        if self.state == "terminated":
            self._bye_wanted = False
            self._owner.release(self)
        else:
            self._end(now, "bye", "remote", 200, "normal", *_told(request))

    def _on_reinvite(self, request: Request, transaction: ServerTransaction, now: float) -> None:
        coming = self._incoming
        if self.state != "confirmed":
            self.reply(request, transaction, 481 if self.state == "terminated" else 491, now)
        elif coming is not None and coming.state == "open":
            # RFC 3261 section 14.2: the earlier one first.
            self.reply(request, transaction, 500, now, [("Retry-After", str(int(self._owner.layer.fraction() * 10)))])
        elif self._busy():
            self.reply(request, transaction, 491, now)
        else:
            self.dialog.refresh(request)
            body = session_description(request)
            self._incoming = IncomingInvite(self._owner.layer, self, transaction, request, body is not None, False)
            self._owner.emit(Reoffered(self, body))

    def on_ack(self, request: Request, now: float) -> None:
        invite = self._incoming
        if invite is None or request.cseq[0] != invite.seq or not invite.acknowledged():
            return
        if self.state == "terminated":
            if self._bye_wanted and invite.initial:
                self._say_bye(now, self._why)
            return
        body = None if invite.offered else session_description(request)
        if invite.initial:
            self._owner.emit(Established(self, body))
        elif not invite.offered:
            self._owner.emit(ReofferAcknowledged(self, body))

    def on_cancel(self, request: Request, now: float) -> None:
        """The peer took back the INVITE that it still waits on. The endpoint has answered the CANCEL itself."""
        invite = self._incoming
        if invite is None or invite.state != "open":
            return
        invite.respond(487, now, [])
        if invite.initial:
            self._end(now, "cancel", "remote", 487, "cancel", *_told(request))

    def on_no_ack(self, invite: IncomingInvite, now: float) -> None:
        """64*T1 without ACK to our 2xx: BYE (RFC 3261 section 13.3.1.4)."""
        if self.state == "terminated":
            if invite.initial and self._bye_wanted:
                self._say_bye(now, self._why)
            return
        self._lose(now, 408, "no ACK")
        self._end(now, "timeout", "local", 408, "timeout", "no ACK")

    # ---- answers to our INVITEs

    def on_provisional(self, invite: OutgoingInvite, response: Response, now: float) -> None:
        if not invite.initial or self.state == "terminated":
            return
        tag = response.to.tag
        if response.status == 100 or not tag:
            self._step("trying")
        else:
            self._step("progress")
            if len(self.tags) < 16:
                self._owner.attach(self, tag)
        if response.status > 100:
            self._owner.emit(Progress(self, response.status, response.reason, session_description(response), tag))

    def on_success(self, invite: OutgoingInvite, response: Response, now: float) -> bool:
        """Whether this 2xx is the one that counts."""
        if self.state == "terminated" or (invite.initial and self.state == "confirmed"):
            return False
        if invite.initial:
            self.dialog = self.dialog.confirmed_by(response)
            self.remote_tag = self.dialog.remote_tag
            self._owner.attach(self, self.remote_tag)
            self._owner.keep_only(self, self.remote_tag)
            self._step("success")
        else:
            self.dialog.refresh(response)
        if invite.body:
            invite.ack(self.dialog, b"", now)
        body = session_description(response)
        self._owner.emit(Accepted(self, body, response) if invite.initial else ReofferAccepted(self, body))
        return True

    def on_refusal(self, invite: OutgoingInvite, response: Response, now: float) -> None:
        status = response.status
        if self.state == "terminated":
            return
        if invite.initial:
            contacts = contacts_of(response) if status < 400 else ()
            self._end(now, "failure", "remote", status, CAUSES.get(status, "failed"), response.reason, _told(response)[1], contacts)
        elif status in (408, 481):
            # RFC 5057 section 5.1: these end the dialog, not the re-INVITE alone.
            self._lose(now, status, "the peer has lost the dialog")
            self._end(now, "failure", "remote", status, "failed", response.reason)
        elif status == 491 and self._retries < _MOST_RETRIES:
            self._retries += 1
            # RFC 3261 section 14.1: whoever made the Call-ID waits longer.
            wait = self._owner.layer.fraction() * 2 + (0.0 if self.incoming else 2.1)
            self._retry = self._owner.layer.timers.start(now + wait, self, "reoffer")
        else:
            self._owner.emit(ReofferRefused(self, status))

    def on_no_answer(self, invite: OutgoingInvite, what: str, now: float) -> None:
        if self.state == "terminated":
            return
        if not invite.initial:
            self._lose(now, 408, "no answer to re-INVITE")
        if what == "timeout":
            self._end(now, "timeout", "local", 408, "timeout", "no answer at all")
        elif what == "ringing":
            self._end(now, "timeout", "local", 408, "noanswer", "nobody answered")
        else:
            self._end(now, "lost", "local", 503, "unreachable", "the connection failed")

    # ---- answers to BYE and INFO

    def on_response(self, transaction: ClientTransaction, response: Response, now: float) -> None:
        if response.status < 200:
            return
        method = transaction.request.method
        if self.logged_in(transaction, response, now):
            return
        if method == "BYE":
            self._gone()
            return
        if method == "REFER" and self._referrals is not None:
            self._referrals.on_refer_answered(response)
        if response.status in (408, 481) and self.state == "confirmed":
            self._lose(now, response.status, "the peer has lost the dialog")
            self._end(now, "failure", "remote", response.status, "failed", response.reason)

    def on_failure(self, transaction: ClientTransaction, what: str, now: float) -> None:
        method = transaction.request.method
        if method == "BYE":
            self._gone()
        elif method == "REFER" and self._referrals is not None:
            self._referrals.on_refer_unanswered(408 if what == "timeout" else 503)

    def _gone(self) -> None:
        self._bye_wanted = False
        self._owner.release(self)

    def on_timer(self, name: str, now: float) -> None:
        """The re-INVITE that met the peer's, again."""
        self._retry = None
        if self._busy():
            self._owner.emit(ReofferRefused(self, 491))  # the peer's own offer came first; ours is out of date
        elif self._outgoing is not None:
            self._send_reinvite(self._outgoing.body, now)


def _told(message: Message) -> tuple[str, int]:
    """What the peer says of why: the text of Reason, and its Q.850 cause."""
    if message.get("reason") is None:
        return "", 0
    reasons = reasons_of(message)
    text = next((reason.text for reason in reasons if reason.text), "")
    return text, next((reason.cause for reason in reasons if reason.protocol == "q.850"), 0)
