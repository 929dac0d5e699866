"""An INVITE of ours, first or within the call: its answers, its ACKs, its CANCEL.

Each 2xx gets an ACK along the route set of the dialog it makes, and the same octets again for each repetition; a 2xx of another branch
of a fork, or one that crosses our CANCEL, gets ACK and then BYE (RFC 3261 sections 13.2.2.4 and 9.1). CANCEL waits for a first
provisional answer. What an answer means for the call is told to its session here. This module knows nothing of what offers say.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tapeline.sip.auth import sent_again
from tapeline.sip.config import Flow
from tapeline.sip.dialog import Dialog
from tapeline.sip.early import Branch, EarlyDialogs
from tapeline.sip.events import Accepted, Progress
from tapeline.sip.layer import TransactionLayer
from tapeline.sip.message import Field, Request, Response, contacts_of
from tapeline.sip.offers import session_description, takes_update
from tapeline.sip.reasons import CAUSES, told
from tapeline.sip.timers import Timer
from tapeline.sip.trace import Trace
from tapeline.sip.transactions import ClientTransaction

if TYPE_CHECKING:
    from tapeline.sip.session import Session

__all__ = ["OutgoingInvite"]


class OutgoingInvite:
    """The first 2xx is the session's; any other is ended here. A 2xx with an offer waits for the session's `ack`."""

    __slots__ = (
        "_acks",
        "_cancel_wanted",
        "_cancelled",
        "_flow",
        "_limit",
        "_layer",
        "_session",
        "_why",
        "body",
        "dialog",
        "early",
        "final",
        "initial",
        "seq",
        "transaction",
    )

    def __init__(
        self,
        layer: TransactionLayer,
        session: Session,
        dialog: Dialog,
        initial: bool,
        fields: list[Field],
        body: bytes,
        flow: Flow,
        now: float,
    ) -> None:
        self._layer = layer
        self._session = session
        self.dialog = dialog
        self.initial = initial
        self.body = body
        self.early: EarlyDialogs | None = None  # made by the first reliable provisional answer
        self.final = 0  # the status that ended it
        self._acks: dict[str, tuple[bytes, Flow] | None] = {}  # by remote tag; None: due, but not given yet
        self._cancel_wanted = False
        self._cancelled = False
        self._why: list[Field] = []
        self._limit: Timer | None = layer.timers.start(now + layer.times.ringing, self, "ringing")
        request = dialog.request("INVITE", fields, body)
        self.seq = dialog.local_seq
        self._flow = flow
        self.transaction = layer.request(request, flow, self, now)

    @property
    def trace(self) -> Trace | None:
        return self._session.trace

    def on_response(self, transaction: ClientTransaction, response: Response, now: float) -> None:
        if transaction.request.method != "INVITE":
            return  # the answer to CANCEL says nothing that the INVITE's own answer does not
        if response.status < 200:
            if self._cancel_wanted:
                self._send_cancel(now)
            self._on_provisional(response, now)
        elif response.status < 300:
            self._on_2xx(response, now)
        elif not self._cancel_wanted and (again := self.dialog.retried(transaction.request, response)) is not None:
            self._again(again, now)
        elif response.status == 422 and not self._cancel_wanted and self._session.timer.refused(response):
            self._again(self._with_interval(transaction.request), now)
        else:
            self._finish(response.status)
            self._on_refusal(response, now)

    def _again(self, request: Request, now: float) -> None:
        self.seq = request.cseq[0]
        self.transaction = self._layer.request(request, self._flow, self, now)

    def _with_interval(self, request: Request) -> Request:
        """The same INVITE with another session interval and a CSeq of its own (RFC 4028 section 7.4)."""
        self.dialog.local_seq += 1
        again = sent_again(request, self.dialog.local_seq, self.dialog.auth, asked=False)
        again.fields = [item for item in again.fields if item[0] not in ("Session-Expires", "Min-SE")] + self._session.timer.wish()
        return again

    def on_failure(self, transaction: ClientTransaction, what: str, now: float) -> None:
        if transaction.request.method == "INVITE":
            self._finish(408 if what == "timeout" else 503)
            self._on_no_answer(what, now)

    def _finish(self, status: int) -> None:
        self.final = status
        self._layer.timers.cancel(self._limit)
        self._limit = None

    def _on_2xx(self, response: Response, now: float) -> None:
        tag = response.to.tag
        if tag in self._acks:
            ack = self._acks[tag]
            if ack is not None:
                self._layer.transmit(ack[0], ack[1], self._session, now, again=True)
            return
        self._acks[tag] = None
        self._finish(response.status)
        session = self._session
        if session.state == "terminated" or (self.initial and session.state == "confirmed"):
            self._discard(response, now)
        elif self.initial:
            self._on_answer(response, now)
        else:
            session.dialog.refresh(response)
            session.timer.accepted(response, now)
            if self.body:
                self.ack(session.dialog, b"", now)
            session.offering().accepted(self.body, session_description(response))

    def _on_answer(self, response: Response, now: float) -> None:
        """The first 2xx: the one that counts."""
        session = self._session
        branch = self.early.get(response.to.tag) if self.early is not None else None
        settled = branch is not None and branch.settled
        session.confirmed_by(self._made_by(response))
        session.peer_updates = takes_update(response)
        session.timer.accepted(response, now)
        if self.body or settled:
            self.ack(session.dialog, b"", now)
        body = branch.answer if branch is not None and settled else session_description(response)
        session.remote_sdp = body or session.remote_sdp
        session.emit(Accepted(session, body, response))

    def _made_by(self, response: Response) -> Dialog:
        return self.dialog.confirmed_by(response) if self.early is None else self.early.confirmed(self.dialog, response)

    def _on_provisional(self, response: Response, now: float) -> None:
        session = self._session
        if not self.initial or session.state == "terminated":
            return
        tag = response.to.tag
        if response.status == 100 or not tag:
            session.step("trying")
        else:
            session.step("progress")
            session.heard_early(tag)
        if response.status == 100:
            return
        body = session_description(response)
        offered = False
        if tag and "100rel" in self._layer.config.supported and EarlyDialogs.is_reliable(response):
            branch = self._branch_of(response)
            if branch is None:
                return
            offered = self._on_reliable(branch, response, body, now)
        elif not self.body:
            body = None  # an offer that may get lost is none
        session.emit(Progress(session, response.status, response.reason, body, tag, offered))

    def _branch_of(self, response: Response) -> Branch | None:
        if self.early is not None:
            return self.early.heard(response, self.dialog)
        branch = Branch(self.dialog.confirmed_by(response))
        if not branch.takes(response):
            return None
        self.early = EarlyDialogs(branch)
        return branch

    def _on_reliable(self, branch: Branch, response: Response, body: bytes | None, now: float) -> bool:
        """Acknowledge it; whether that waits for our answer to the offer in it."""
        session = self._session
        session.peer_updates = takes_update(response)
        if body is not None and not branch.settled:
            session.remote_sdp = body
            if not self.body:
                branch.due = True
                return True
            branch.settled = True
            branch.answer = body
        session.prack(branch, now)
        return False

    def _on_refusal(self, response: Response, now: float) -> None:
        session, status = self._session, response.status
        if session.state == "terminated":
            return
        if self.initial:
            contacts = contacts_of(response) if status < 400 else ()
            session.end(now, "failure", "remote", status, CAUSES.get(status, "failed"), response.reason, told(response)[1], contacts)
        elif status in (408, 481):
            session.lose(now, status, response.reason)
        else:
            session.offering().refused(response, now)

    def _on_no_answer(self, what: str, now: float) -> None:
        if self._session.state != "terminated":
            self._session.unanswered(what, now)

    def _discard(self, response: Response, now: float) -> None:
        """RFC 3261 section 13.2.2.4: a dialog that nobody wants is acknowledged and ended."""
        unwanted = self._made_by(response)
        self.ack(unwanted, b"", now)
        if self.initial:
            bye = unwanted.request("BYE")
            self._layer.request(bye, unwanted.next_flow(self._layer.listeners, self._layer.streams), _Unheard(self._session), now)

    @property
    def ack_due(self) -> bool:
        return None in self._acks.values()

    def ack(self, dialog: Dialog, body: bytes, now: float) -> None:
        """Acknowledge the 2xx that made or refreshed `dialog`, with the credentials of the INVITE (RFC 3261 section 22.1)."""
        fields = [item for item in self.transaction.request.fields if item[0] in ("Authorization", "Proxy-Authorization")]
        fields += [("Content-Type", "application/sdp")] if body else []
        request = dialog.request("ACK", fields, body, seq=self.seq)
        _, data, flow, _ = self._layer.prepare(request, dialog.next_flow(self._layer.listeners, self._layer.streams))
        self._acks[dialog.remote_tag] = data, flow
        self._layer.transmit(data, flow, self._session, now)

    def cancel(self, now: float, why: Sequence[Field] = ()) -> None:
        """Give up an INVITE that has no final answer yet. `why`: the headers that tell."""
        if self.final or self._cancel_wanted:
            return
        self._cancel_wanted = True
        self._why = list(why)
        self.abandon(now)
        if self.transaction.state == "proceeding":
            self._send_cancel(now)

    def abandon(self, now: float) -> None:
        """Its answer no longer matters: wait for it 64*T1 (RFC 3261 section 9.1), then forget it."""
        if not self.final:
            self._layer.timers.cancel(self._limit)
            self._limit = self._layer.timers.start(now + self._layer.times.give_up, self, "give up")

    def _send_cancel(self, now: float) -> None:
        if self._cancelled:
            return
        self._cancelled = True
        request = self.transaction.request
        fields = [("Route", value) for value in request.all("route")]
        fields += [("Max-Forwards", "70"), ("From", request.need("from")), ("To", request.need("to")), ("Call-ID", request.call_id)]
        fields += [("CSeq", f"{self.seq} CANCEL")]
        self._layer.cancel(self.transaction, fields + self._why, self, now)

    def on_timer(self, name: str, now: float) -> None:
        self._limit = None
        if name == "give up":
            self.transaction.step("give up", now)
        else:
            self.cancel(now)
            self._on_no_answer(name, now)


class _Unheard:
    """Who sent the BYE to an unwanted branch: its answer matters to nobody."""

    __slots__ = ("trace",)

    def __init__(self, session: Session) -> None:
        self.trace = session.trace

    def on_response(self, transaction: ClientTransaction, response: Response, now: float) -> None:
        """Nothing hangs on it."""

    def on_failure(self, transaction: ClientTransaction, what: str, now: float) -> None:
        """Nothing hangs on it."""
