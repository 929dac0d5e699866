"""An INVITE of ours, first or within the call: its answers, its ACKs, its CANCEL.

Each 2xx gets an ACK along the route set of the dialog it makes, and the same octets again for each repetition; a 2xx of another branch
of a fork, or one that crosses our CANCEL, gets ACK and then BYE (RFC 3261 sections 13.2.2.4 and 9.1). CANCEL waits for a first
provisional answer. This module knows nothing of offers, and leaves what an answer means for the call to its session.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tapeline.sip.config import Flow
from tapeline.sip.dialog import Dialog
from tapeline.sip.layer import TransactionLayer
from tapeline.sip.message import Field, Response
from tapeline.sip.timers import Timer
from tapeline.sip.trace import Trace
from tapeline.sip.transactions import ClientTransaction

__all__ = ["OutgoingInvite"]


class Inviting(Protocol):
    trace: Trace | None

    def on_provisional(self, invite: OutgoingInvite, response: Response, now: float) -> None: ...
    def on_success(self, invite: OutgoingInvite, response: Response, now: float) -> bool: ...
    def on_refusal(self, invite: OutgoingInvite, response: Response, now: float) -> None: ...
    def on_no_answer(self, invite: OutgoingInvite, what: str, now: float) -> None: ...


class OutgoingInvite:
    """`session.on_success` says whether a 2xx is wanted; what is not wanted is ended here. It is the session that calls `ack`."""

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
        "final",
        "initial",
        "seq",
        "transaction",
    )

    def __init__(
        self,
        layer: TransactionLayer,
        session: Inviting,
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
            self._session.on_provisional(self, response, now)
        elif response.status < 300:
            self._on_2xx(response, now)
        elif not self._cancel_wanted and (again := self.dialog.retried(transaction.request, response)) is not None:
            self.seq = again.cseq[0]
            self.transaction = self._layer.request(again, self._flow, self, now)
        else:
            self._finish(response.status)
            self._session.on_refusal(self, response, now)

    def on_failure(self, transaction: ClientTransaction, what: str, now: float) -> None:
        if transaction.request.method == "INVITE":
            self._finish(408 if what == "timeout" else 503)
            self._session.on_no_answer(self, what, now)

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
        if not self._session.on_success(self, response, now):
            self._discard(response, now)

    def _discard(self, response: Response, now: float) -> None:
        """RFC 3261 section 13.2.2.4: a dialog that nobody wants is acknowledged and ended."""
        unwanted = self.dialog.confirmed_by(response)
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
            self._session.on_no_answer(self, name, now)


class _Unheard:
    """Who sent the BYE to an unwanted branch: its answer matters to nobody."""

    __slots__ = ("trace",)

    def __init__(self, session: Inviting) -> None:
        self.trace = session.trace

    def on_response(self, transaction: ClientTransaction, response: Response, now: float) -> None:
        """Nothing hangs on it."""

    def on_failure(self, transaction: ClientTransaction, what: str, now: float) -> None:
        """Nothing hangs on it."""
