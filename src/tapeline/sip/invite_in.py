"""An INVITE of the peer's, first or within the call: its answers, and the 2xx repeated until its ACK comes.

A 2xx is repeated by the session and not by its transaction (RFC 3261 section 13.3.1.4), at T1, doubled up to T2, over any transport; with
no ACK within 64*T1 the session is ended with BYE. This module knows nothing of dialogs or of what an offer means.
"""

from __future__ import annotations

from typing import Protocol

from tapeline.sip.layer import TransactionLayer
from tapeline.sip.message import REASONS, Field, Request, Response, reply_fields
from tapeline.sip.timers import Timer
from tapeline.sip.trace import Trace
from tapeline.sip.transactions import ServerTransaction

__all__ = ["IncomingInvite"]


class Invited(Protocol):
    local_tag: str
    trace: Trace | None

    def on_no_ack(self, invite: IncomingInvite, now: float) -> None: ...


class IncomingInvite:
    """`state`: open (no final answer yet), accepted (2xx sent, no ACK yet), closed."""

    __slots__ = (
        "_data",
        "_end",
        "_interval",
        "_layer",
        "_repeat",
        "_session",
        "base",
        "initial",
        "offered",
        "routes",
        "seq",
        "state",
        "transaction",
    )

    def __init__(
        self, layer: TransactionLayer, session: Invited, transaction: ServerTransaction, request: Request, offered: bool, initial: bool
    ) -> None:
        self._layer = layer
        self._session = session
        self.transaction = transaction
        self.initial = initial
        self.offered = offered  # the INVITE had an offer; else ours goes into the 2xx and the answer comes with the ACK
        self.seq = request.cseq[0]
        self.base = reply_fields(request, session.local_tag)
        self.routes: list[Field] = [("Record-Route", value) for value in request.all("record-route")]
        self.state = "open"
        self._data = b""
        self._interval = 0.0
        self._repeat: Timer | None = None
        self._end: Timer | None = None

    def respond(self, status: int, now: float, fields: list[Field], body: bytes = b"", reason: str = "") -> None:
        """Send a provisional or final answer. A 2xx is repeated until `acknowledged`."""
        shared = self.base + self.routes if status < 300 else self.base
        response = Response(status, reason or REASONS.get(status, ""), shared + fields, body)
        self.transaction.send(response, now)
        if status < 200:
            return
        if status >= 300:
            self.state = "closed"
            return
        self.state = "accepted"
        self._data = self.transaction.data
        self._interval = self._layer.times.t1
        self._repeat = self._layer.timers.start(now + self._interval, self, "2xx")
        self._end = self._layer.timers.start(now + self._layer.times.give_up, self, "no ACK")

    def acknowledged(self) -> bool:
        """The ACK came. False where it came before, or to something else."""
        if self.state != "accepted":
            return False
        self._close()
        return True

    def _close(self) -> None:
        self.state = "closed"
        self._layer.timers.cancel(self._repeat)
        self._layer.timers.cancel(self._end)
        self._repeat = self._end = None
        self._data = self.transaction.data = b""

    def on_timer(self, name: str, now: float) -> None:
        if name == "no ACK":
            self._close()
            self._session.on_no_ack(self, now)
            return
        self._layer.transmit(self._data, self.transaction.flow, self._session, now, again=True)
        self._interval = min(self._interval * 2, self._layer.times.t2)
        self._repeat = self._layer.timers.start(now + self._interval, self, "2xx")
