"""A session: one INVITE usage from its INVITE to its end, as UAS or UAC (RFC 3261 sections 13 to 15).

The session holds the state (the table `tables.DIALOG`), the one dialog that was confirmed, and at most one INVITE under way in each
direction. Commands are plain calls with `now`; what they cause is taken from the endpoint as events and outgoing messages. Whatever
leads to "terminated" makes the one `Ended` at once: what is left to do on the wire (CANCEL, ACK, BYE and their repetitions) goes on
without the session's owner. Its parts are made when they are needed: early dialogs, offers by UPDATE, session timer, REFER. This module
knows nothing of media: offers and answers are bytes to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from tapeline.core.errors import InvalidState
from tapeline.sip.config import EndpointConfig
from tapeline.sip.dialog import Dialog
from tapeline.sip.early import Branch, EarlyDialogs
from tapeline.sip.errors import ImpossibleInput, MalformedMessage
from tapeline.sip.events import Cause, Ended, Established, Event, InfoReceived, ReofferAcknowledged, Reoffered
from tapeline.sip.invite_in import IncomingInvite
from tapeline.sip.invite_out import OutgoingInvite
from tapeline.sip.layer import TransactionLayer
from tapeline.sip.message import REASONS, Field, Request, Response, reply_fields, whole_lines
from tapeline.sip.offers import Offers, retry_after, session_description, takes_update
from tapeline.sip.parting import Parting
from tapeline.sip.reasons import CAUSES, Reason, reason_fields, told
from tapeline.sip.refer import Referrals
from tapeline.sip.session_timer import SessionTimer, smallest_interval
from tapeline.sip.tables import DIALOG
from tapeline.sip.trace import Trace
from tapeline.sip.transactions import ClientTransaction, ServerTransaction, TransactionUser

__all__ = ["Session"]

State = Literal["calling", "proceeding", "early", "confirmed", "terminated"]
Side = Literal["local", "remote"]

_SDP = ("Content-Type", "application/sdp")
_MOST_BRANCHES = 16  # of a fork


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
        "_held", "_offers", "_owner", "_parting", "_referrals", "call_id", "coming", "dialog", "going", "id",
        "incoming", "local_sdp", "local_tag", "local_uri", "peer_updates", "remote_name", "remote_sdp", "remote_tag", "remote_uri",
        "request", "request_uri", "source", "state", "tags", "timer", "trace",
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
        self.local_sdp = b""  # what both sides agreed on last, ours and the peer's, so that a refresh can repeat it
        self.remote_sdp = b""
        self.peer_updates = False  # the peer takes UPDATE
        self.coming: IncomingInvite | None = None
        self.going: OutgoingInvite | None = None
        self._offers: Offers | None = None
        self._referrals: Referrals | None = None
        self.timer = SessionTimer(self)
        self._held: tuple[bytes, list[Field]] | None = None  # a 2xx that waits for a PRACK
        self._parting = Parting(self)
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
        self.local_sdp = body
        self.going = OutgoingInvite(layer, self, self.dialog, True, self.offer_fields(body, asking=True) + fields, body, flow, now)
        self.request = self.going.transaction.request

    def invited(self, transaction: ServerTransaction, request: Request) -> bytes | None:
        """Take the INVITE that made this session. For the endpoint. Returns its offer."""
        body = session_description(request)
        self.remote_sdp = body or b""
        self.peer_updates = takes_update(request)
        self.coming = IncomingInvite(self._owner.layer, self, transaction, request, body is not None, True)
        return body

    # ---- commands

    def ring(
        self, now: float, status: int = 180, body: bytes | None = None, headers: Sequence[Field] = (), reliable: bool | None = None
    ) -> None:
        """Answer provisionally (101 to 199), with `body` as the answer, or the offer where the INVITE had none.

        `reliable` (RFC 3262): None: where the caller demands it, and where it can and there is a body. A body that went out reliably is
        the answer; that of `accept` is then left out. Raises InvalidState also where the caller cannot what is wanted.
        """
        if not 100 < status < 200:
            raise ValueError("a provisional status is from 101 to 199")
        invite = self._open_invite(initial=True)
        rest = whole_lines(headers)
        body = body or b""
        sure = invite.is_sure(reliable, body)
        if self._held is not None or (body and not sure and not invite.offered):
            raise InvalidState("the call has been accepted, or this would be an offer that may get lost")
        if sure and invite.answered:
            body = b""
        fields = [*self.offer_fields(body), *rest]
        if sure:
            invite.ring(status, now, fields, body)
            invite.answered = invite.answered or bool(body)
            self.local_sdp = body or self.local_sdp
        else:
            invite.respond(status, now, fields, body)
        self.step("progress")

    def accept(self, body: bytes, now: float, headers: Sequence[Field] = ()) -> None:
        """Answer with 200 and `body`: the answer to the offer, or the offer where the INVITE had none.

        Where a provisional answer with a body is not acknowledged yet it goes out when it is; the session is confirmed from then on.
        """
        fields = whole_lines(headers)
        self._open_invite(initial=True)
        if self._held is not None:
            raise InvalidState("the call has been accepted")
        self._held = body, fields
        self.go_on(now)

    def go_on(self, now: float) -> None:
        """What waited for a PRACK, or for an answer of ours, may have its turn. For the parts of the session."""
        invite = self.coming
        if invite is None or invite.state != "open" or not invite.initial or self.state == "terminated":
            return
        if invite.reliable is not None:
            invite.reliable.go_on(now)
        if self._held is None or invite.holds or (self._offers is not None and self._offers.asked):
            return
        (body, fields), self._held = self._held, None
        self.step("success")
        self._owner.answered(self)
        if invite.answered:
            body = b""
        self.local_sdp = body or self.local_sdp
        invite.respond(200, now, [*self.offer_fields(body), *self.timer.answer(invite.request, now), *fields], body)

    def reject(self, status: int, now: float, reason: str = "", headers: Sequence[Field] = ()) -> None:
        """Refuse with a final status from 300 on; the session ends."""
        if not 300 <= status < 700:
            raise ValueError("a refusal has a status from 300 to 699")
        fields = whole_lines(headers)
        invite = self._open_invite(initial=True)
        invite.respond(status, now, fields, b"", " ".join(reason.split()))
        self.end(now, "failure", "local", status, CAUSES.get(status, "rejected"), reason)

    def hangup(self, now: float, reason: str = "", status: int = 0, q850: int = 0) -> None:
        """End it, whatever the state asks for: CANCEL, a refusal (480), or BYE. Nothing where it has ended.

        `reason`, `status` and `q850` are told the peer in Reason. A CANCEL with status 200 says that the call was taken elsewhere.
        """
        if self.state == "terminated":
            return
        why = reason_fields((Reason("sip", status or (200 if reason else 0), reason), Reason("q.850", q850, "")))
        if self.state != "confirmed":
            if self.going is not None:
                self.going.cancel(now, why)
                self.end(now, "abandon", "local", 487, "cancel", reason)
            else:
                self.reject(480, now, reason, why)
            return
        self._parting.leave(now, why)
        self.end(now, "abandon", "local", 200, "normal", reason)

    def reoffer(self, body: bytes | None, now: float) -> None:
        """Send a re-INVITE with an offer, or without: then `ReofferAccepted` brings the peer's, and `ack` is due.

        Before the call is answered it goes by UPDATE (RFC 3311), which needs a body, a peer that takes it, and a reliable provisional
        answer that has settled the first offer.
        """
        if self.state == "confirmed":
            self.offering().send(body or b"", now, by_update=False)
            return
        early = self.early
        settled = early.newest.settled if early is not None else self.coming is not None and self.coming.settled
        if self.state != "early" or not (body and settled and self.peer_updates):
            raise InvalidState("an offer needs a confirmed session, or one that UPDATE can change")
        self.offering().send(body, now, by_update=True)

    def answer_reoffer(self, body: bytes, now: float) -> None:
        """Answer the offer of `Reoffered`, or make one where it has none."""
        if self._offers is not None and self._offers.asked:
            self._offers.answer(body, now)
            self.go_on(now)
            return
        invite = self._open_invite(initial=False)
        self.local_sdp = body
        invite.respond(200, now, [*self.offer_fields(body), *self.timer.answer(invite.request, now)], body)

    def refuse_reoffer(self, status: int, now: float) -> None:
        """Leave everything as it is."""
        if not 300 <= status < 700:
            raise ValueError("a refusal has a status from 300 to 699")
        if self._offers is not None and self._offers.asked:
            self._offers.refuse(status, now)
            self.go_on(now)
        else:
            self._open_invite(initial=False).respond(status, now, [])

    def answer_early(self, body: bytes, now: float) -> None:
        """Answer the offer of a provisional answer (`Progress.offered`), with its PRACK."""
        early = self.early
        if early is None or not early.newest.due:
            raise InvalidState("no offer in a provisional answer waits for ours")
        early.newest.settled = True
        self.local_sdp = body
        self.prack(early.newest, now, body)

    def ack(self, body: bytes, now: float) -> None:
        """Acknowledge a 2xx that carried an offer, with the answer to it."""
        invite = self.going
        if invite is None or not invite.ack_due or self.state != "confirmed":
            raise InvalidState("no 2xx waits for its ACK")
        self.local_sdp = body or self.local_sdp
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

    # ---- what the commands and the parts share

    @property
    def layer(self) -> TransactionLayer:
        return self._owner.layer

    @property
    def config(self) -> EndpointConfig:
        return self._owner.config

    def emit(self, event: Event) -> None:
        self._owner.emit(event)

    def offering(self) -> Offers:
        if self._offers is None:
            self._offers = Offers(self)
        return self._offers

    def _refers(self) -> Referrals:
        if self._referrals is None:
            self._referrals = Referrals(self)
        return self._referrals

    def _open_invite(self, *, initial: bool) -> IncomingInvite:
        invite = self.coming
        if invite is None or invite.state != "open" or invite.initial is not initial or self.state == "terminated":
            raise InvalidState("no INVITE waits for an answer")
        return invite

    def busy(self) -> bool:
        """Whether an INVITE is under way in either direction (RFC 3261 section 14.1), or an offer by UPDATE."""
        coming, going = self.coming, self.going
        if self._offers is not None and self._offers.open:
            return True
        if self.state == "early":
            return False  # the first INVITE is; what may be sent all the same is UPDATE
        return (coming is not None and coming.state != "closed") or (going is not None and (not going.final or going.ack_due))

    @property
    def early(self) -> EarlyDialogs | None:
        """Those of a call of ours that is not answered yet and has reliable provisional answers."""
        return self.going.early if self.going is not None and self.state == "early" else None

    def dialog_fields(self) -> list[Field]:
        owner = self._owner
        return [self.dialog.contact, *owner.layer.abilities, ("Server" if self.incoming else "User-Agent", owner.config.user_agent)]

    def offer_fields(self, body: bytes, *, asking: bool = False) -> list[Field]:
        """`asking`: of a request, which says how long the call may last without another."""
        fields = self.dialog_fields()
        if asking and self.state != "early":
            fields += self.timer.wish()
        if body:
            fields.append(_SDP)
        return fields

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

    def reply(
        self, request: Request, transaction: ServerTransaction, status: int, now: float, fields: Sequence[Field] = (), body: bytes = b""
    ) -> None:
        """Answer a request within the dialog. For the parts of the session."""
        transaction.send(Response(status, REASONS.get(status, ""), [*reply_fields(request, self.local_tag), *fields], body), now)

    def send_reinvite(self, body: bytes, now: float) -> None:
        layer = self._owner.layer
        flow = self.dialog.next_flow(layer.listeners, layer.streams)
        self.going = OutgoingInvite(layer, self, self.dialog, False, self.offer_fields(body, asking=True), body, flow, now)

    def prack(self, branch: Branch, now: float, body: bytes = b"") -> None:
        """Acknowledge the newest reliable provisional answer of a branch (RFC 3262 section 4)."""
        branch.due = False
        self.dialog = branch.dialog
        fields = [self.dialog.contact, ("RAck", f"{branch.rseq} {branch.seq} INVITE")]
        self.send("PRACK", now, [*fields, _SDP] if body else fields, body)

    # ---- the session timer

    def refresh(self, now: float) -> bool:
        """Say that we are there; False where that has to wait."""
        return self.offering().refresh(now)

    def on_expired(self, now: float) -> None:
        """For too long the peer has not said that it is there."""
        self._parting.lose(now, 408, "session expired")
        self.end(now, "timeout", "local", 408, "timeout", "session expired")

    # ---- how it ends

    def step(self, what: str) -> tuple[str, ...]:
        cell = DIALOG.get((self.state, what))
        if cell is None:
            raise ImpossibleInput(f"session: {what!r} while {self.state}")
        self.state = cell[0]  # type: ignore[assignment]  # the table holds no other states
        return cell[1]

    def end(
        self, now: float, what: str, by: Side, status: int, cause: Cause, text: str = "", q850: int = 0,
        contacts: tuple[str, ...] = ()
    ) -> None:  # fmt: skip
        """Enter "terminated" and say so once."""
        waiting = self.incoming and self.state in ("proceeding", "early")
        if "end" not in self.step(what):
            return
        self._held = None
        self.timer.stop()
        if self._offers is not None:
            self._offers.ended(now)
        if self._referrals is not None:
            self._referrals.ended(now)
        if waiting:
            self._owner.answered(self)
        self._owner.emit(Ended(self, by, status, cause, text or REASONS.get(status, ""), contacts, q850))
        if not self._parting.unfinished:
            self._owner.release(self)

    # ---- requests of the peer within the dialog; the endpoint has checked them

    def dialog_of(self, request: Request) -> Dialog:
        """The dialog that a request is within: its branch's, while there may be several."""
        branch = early.get(request.from_.tag) if (early := self.early) is not None else None
        return branch.dialog if branch is not None else self.dialog

    def on_request(self, request: Request, transaction: ServerTransaction, now: float) -> None:
        try:
            self._on_request(request, transaction, now)
        except MalformedMessage as error:  # each reads what it needs before it answers
            self.reply(request, transaction, error.status, now)

    def _on_request(self, request: Request, transaction: ServerTransaction, now: float) -> None:
        method = request.method
        if method == "BYE":
            self._on_bye(request, transaction, now)
        elif self.state == "terminated":
            self.reply(request, transaction, 481, now)
        elif method in ("INVITE", "UPDATE") and (least := smallest_interval(request, self.config)):
            self.reply(request, transaction, 422, now, [("Min-SE", str(least))])
        elif method == "INVITE":
            self._on_reinvite(request, transaction, now)
        elif method == "UPDATE":
            self.offering().on_update(request, transaction, now)
        elif method == "PRACK":
            self.offering().on_prack(request, transaction, now)
        elif method == "INFO":
            self.reply(request, transaction, 200, now)
            self._owner.emit(InfoReceived(self, request.get("content-type") or "", request.body))
        elif method == "REFER" and self.state != "confirmed":
            self.reply(request, transaction, 491, now)
        else:
            self._refers().on_request(request, transaction, now)

    def _on_bye(self, request: Request, transaction: ServerTransaction, now: float) -> None:
        self.reply(request, transaction, 200, now)
        coming = self.coming
        if coming is not None:
            if coming.state == "open":
                coming.respond(487, now, [])
            coming.acknowledged()  # a peer that says BYE has seen the 2xx
        if self.going is not None:
            self.going.abandon(now)
        if self.state == "terminated":
            self._parted()
        else:
            self.end(now, "bye", "remote", 200, "normal", *told(request))

    def _on_reinvite(self, request: Request, transaction: ServerTransaction, now: float) -> None:
        coming = self.coming
        if self.state != "confirmed":
            self.reply(request, transaction, 491, now)
        elif (coming is not None and coming.state == "open") or (self._offers is not None and self._offers.asked):
            # RFC 3261 section 14.2: the earlier one first.
            self.reply(request, transaction, 500, now, retry_after(self.layer.fraction()))
        elif self.busy():
            self.reply(request, transaction, 491, now)
        else:
            self.dialog.refresh(request)
            body = session_description(request)
            self.remote_sdp = body or self.remote_sdp
            self.coming = IncomingInvite(self._owner.layer, self, transaction, request, body is not None, False)
            self._owner.emit(Reoffered(self, body))

    def on_ack(self, request: Request, now: float) -> None:
        invite = self.coming
        if invite is None or request.cseq[0] != invite.seq or not invite.acknowledged():
            return
        if self.state == "terminated":
            self._parting.go_on(invite, now)
            return
        body = None if invite.offered or invite.answered else session_description(request)
        self.remote_sdp = body or self.remote_sdp
        if invite.initial:
            self._owner.emit(Established(self, body))
        elif not invite.offered:
            self._owner.emit(ReofferAcknowledged(self, body))

    def on_cancel(self, request: Request, now: float) -> None:
        """The peer took back the INVITE that it still waits on. The endpoint has answered the CANCEL itself."""
        invite = self.coming
        if invite is None or invite.state != "open":
            return
        invite.respond(487, now, [])
        if invite.initial:
            self.end(now, "cancel", "remote", 487, "cancel", *told(request))

    def on_no_ack(self, invite: IncomingInvite, now: float) -> None:
        """64*T1 without ACK to our 2xx: BYE (RFC 3261 section 13.3.1.4)."""
        if self.state == "terminated":
            self._parting.go_on(invite, now)
            return
        self._parting.lose(now, 408, "no ACK")
        self.end(now, "timeout", "local", 408, "timeout", "no ACK")

    def on_no_prack(self, invite: IncomingInvite, now: float) -> None:
        """64*T1 without PRACK to a reliable provisional answer of ours: the call fails (RFC 3262 section 3)."""
        invite.respond(504, now, [])
        self.end(now, "timeout", "local", 504, "timeout", "no PRACK")

    # ---- what came of our INVITEs

    def lose(self, now: float, status: int, shown: str) -> None:
        """The peer has lost the dialog: 408 and 481 end it, and not their request alone (RFC 5057 section 5.1)."""
        self._parting.lose(now, status, "the peer has lost the dialog")
        self.end(now, "failure", "remote", status, "failed", shown)

    def unanswered(self, what: str, now: float) -> None:
        """Nothing came back for a request without which the call cannot go on."""
        self._parting.lose(now, 408, "no answer")
        if what == "timeout":
            self.end(now, "timeout", "local", 408, "timeout", "no answer at all")
        elif what == "ringing":
            self.end(now, "timeout", "local", 408, "noanswer", "nobody answered")
        else:
            self.end(now, "lost", "local", 503, "unreachable", "the connection failed")

    def confirmed_by(self, dialog: Dialog) -> None:
        """The 2xx that counts has made this dialog."""
        self.dialog = dialog
        self.remote_tag = dialog.remote_tag
        self._owner.attach(self, self.remote_tag)
        self._owner.keep_only(self, self.remote_tag)
        self.step("success")

    def heard_early(self, tag: str) -> None:
        """A branch has answered provisionally: requests may come within its early dialog."""
        if len(self.tags) < _MOST_BRANCHES:
            self._owner.attach(self, tag)

    # ---- answers to other requests of ours

    def on_response(self, transaction: ClientTransaction, response: Response, now: float) -> None:
        if response.status < 200 or self.logged_in(transaction, response, now):
            return
        method = transaction.request.method
        if method == "BYE":
            self._parted()
        elif method == "UPDATE":
            self.offering().on_update_answered(response, now)
        else:
            if method == "REFER":
                self._refers().on_refer_answered(response)
            if response.status in (408, 481) and self.state == "confirmed":
                self.lose(now, response.status, response.reason)

    def on_failure(self, transaction: ClientTransaction, what: str, now: float) -> None:
        method = transaction.request.method
        if method == "BYE":
            self._parted()
        elif method == "UPDATE":
            self.offering().on_update_unanswered(what, now)
        elif method == "REFER":
            self._refers().on_refer_unanswered(408 if what == "timeout" else 503)

    def _parted(self) -> None:
        """The last word is said, on either side."""
        self._parting.unfinished = False
        self._owner.release(self)
