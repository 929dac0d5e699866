"""An INVITE of the peer's, first or within the call: its answers, and the 2xx repeated until its ACK comes.

A 2xx is repeated by the session and not by its transaction (RFC 3261 section 13.3.1.4), at T1, doubled up to T2, over any transport; with
no ACK within 64*T1 the session is ended with BYE. This module knows nothing of dialogs or of what an offer means.
"""

from __future__ import annotations

from typing import Protocol

from tapeline.core.errors import InvalidState
from tapeline.sip.layer import TransactionLayer
from tapeline.sip.message import REASONS, Field, Request, Response, reply_fields
from tapeline.sip.reliable import ReliableAnswers
from tapeline.sip.timers import Timer
from tapeline.sip.trace import Trace
from tapeline.sip.transactions import ServerTransaction

__all__ = ["IncomingInvite"]


class Invited(Protocol):
    local_tag: str
    trace: Trace | None

    def on_no_ack(self, invite: IncomingInvite, now: float) -> None: ...
    def on_no_prack(self, invite: IncomingInvite, now: float) -> None: ...


class IncomingInvite:
    """`state`: open (no final answer yet), accepted (2xx sent, no ACK yet), closed."""

    __slots__ = (
        "_data",
        "_end",
        "_interval",
        "_layer",
        "_repeat",
        "_session",
        "answered",
        "base",
        "initial",
        "offered",
        "reliable",
        "request",
        "routes",
        "seq",
        "settled",
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
        self.answered = False  # our description went out in a reliable provisional answer
        self.settled = False  # and was acknowledged
        self.reliable: ReliableAnswers | None = None
        self.request = request
        self.seq = request.cseq[0]
        self.base = reply_fields(request, session.local_tag)
        self.routes: list[Field] = [("Record-Route", value) for value in request.all("record-route")]
        self.state = "open"
        self._data = b""
        self._interval = 0.0
        self._repeat: Timer | None = None
        self._end: Timer | None = None

    @property
    def holds(self) -> bool:
        """A 2xx has to wait for a PRACK."""
        return self.reliable is not None and self.reliable.holds

    def is_sure(self, wanted: bool | None, body: bytes) -> bool:
        """Whether a provisional answer is to be reliable. Raises InvalidState where it cannot be and is wanted to."""
        asked = self.request
        if not wanted and not body and asked.get("require") is None:
            return False
        required = "100rel" in asked.tokens("require")
        able = "100rel" in self._layer.config.supported and (required or "100rel" in asked.tokens("supported"))
        if wanted and not able:
            raise InvalidState("the caller does not know reliable provisional answers")
        return required or (able and (bool(body) if wanted is None else wanted))

    def ring(self, status: int, now: float, fields: list[Field], body: bytes) -> None:
        """Answer provisionally until it is heard. Raises InvalidState where too many wait."""
        if self.reliable is None:
            self.reliable = ReliableAnswers(self._layer, self)
        self.reliable.send(status, now, fields, body)

    def provisional(self, status: int, now: float, fields: list[Field], body: bytes) -> None:
        self.respond(status, now, fields, body)

    def repeat_provisional(self, now: float) -> None:
        self._layer.transmit(self.transaction.data, self.transaction.flow, self._session, now, again=True)

    def unheard(self, now: float) -> None:
        self._session.on_no_prack(self, now)

    def respond(self, status: int, now: float, fields: list[Field], body: bytes = b"", reason: str = "") -> None:
        """Send a provisional or final answer. A 2xx is repeated until `acknowledged`."""
        shared = self.base + self.routes if status < 300 else self.base
        response = Response(status, reason or REASONS.get(status, ""), shared + fields, body)
        self.transaction.send(response, now)
        if status < 200:
            return
        if self.reliable is not None:
            self.reliable.stop()
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
