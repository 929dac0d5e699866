"""Client and server transactions: matching, retransmission, and the same answer to whatever is repeated.

The states are in `tables`; here is what the actions do. A transaction sends through its `Wire`, tells its user of responses and failures,
and removes itself when it is terminated. Server transactions keep the octets of their last answer, not the request, once they have
answered. This module knows nothing of dialogs, and not where a request is to go.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Protocol

from tapeline.sip.config import Flow, SipTimers
from tapeline.sip.errors import ImpossibleInput
from tapeline.sip.message import REASONS, Request, Response, reply_fields
from tapeline.sip.tables import INVITE_CLIENT, INVITE_SERVER, NON_INVITE_CLIENT, NON_INVITE_SERVER, Table
from tapeline.sip.timers import Timer, Timers

__all__ = [
    "ClientTransaction", "InviteClient", "InviteServer", "NonInviteClient", "NonInviteServer", "ServerTransaction", "Transaction",
    "TransactionUser", "Wire",
]  # fmt: skip

Key = tuple[str, ...]
Bound = dict[tuple[str, str], tuple[str, tuple[Callable[..., None], ...]]]


class Wire(Protocol):
    """What a transaction needs of the layer around it."""

    timers: Timers
    times: SipTimers

    def transmit(self, data: bytes, flow: Flow, user: Any, now: float, *, again: bool = False) -> None: ...
    def forget(self, transaction: Transaction) -> None: ...


class TransactionUser(Protocol):
    """Who sent a request."""

    def on_response(self, transaction: ClientTransaction, response: Response, now: float) -> None: ...
    def on_failure(self, transaction: ClientTransaction, what: str, now: float) -> None: ...


class Transaction:
    """The running of a table. Subclasses name the table; its actions are methods `do_<action>(now, message)`."""

    __slots__ = ("_end", "_interval", "_retry", "data", "flow", "key", "state", "user", "wire")
    table: ClassVar[Table]
    bound: ClassVar[Bound]

    def __init_subclass__(cls) -> None:
        if hasattr(cls, "table"):
            cls.bound = {
                cell: (after, tuple(getattr(cls, f"do_{action}") for action in actions)) for cell, (after, actions) in cls.table.items()
            }

    def __init__(self, wire: Wire, key: Key, flow: Flow, state: str) -> None:
        self.wire = wire
        self.key = key
        self.flow = flow
        self.state = state
        self.data = b""
        self.user: Any = None
        self._interval = 0.0
        self._retry: Timer | None = None
        self._end: Timer | None = None

    def step(self, what: str, now: float, message: Any = None) -> None:
        """Raises ImpossibleInput where the table has no such cell."""
        cell = self.bound.get((self.state, what))
        if cell is None:
            raise ImpossibleInput(f"{type(self).__name__}: {what!r} while {self.state}")
        self.state, actions = cell
        for action in actions:
            action(self, now, message)
        if self.state == "terminated":
            self.wire.forget(self)

    def on_timer(self, name: str, now: float) -> None:
        self.step(name, now)

    def stop_timers(self) -> None:
        timers = self.wire.timers
        timers.cancel(self._retry)
        timers.cancel(self._end)
        self._retry = self._end = None

    def do_stop(self, now: float, message: Any) -> None:
        self.stop_timers()

    def do_resend(self, now: float, message: Any) -> None:
        self.wire.transmit(self.data, self.flow, self.user, now, again=True)

    def _again(self, name: str, now: float, interval: float) -> None:
        self._interval = interval
        self._retry = self.wire.timers.start(now + interval, self, name)

    def _linger(self, name: str, now: float, seconds: float) -> None:
        """Stay for so long to absorb what is repeated; over a reliable transport nothing is (RFC 3261 table 4)."""
        if self.flow.transport != "udp" and name not in ("timer L", "timer M"):
            self.step(name, now)
        else:
            self._end = self.wire.timers.start(now + seconds, self, name)


class ClientTransaction(Transaction):
    """A request of ours. `request` holds all its headers, Via included."""

    __slots__ = ("request",)
    first: ClassVar[tuple[str, str]]  # the timers that repeat and that give up

    def __init__(self, wire: Wire, key: Key, flow: Flow, request: Request, data: bytes, user: TransactionUser, now: float) -> None:
        super().__init__(wire, key, flow, "calling" if request.method == "INVITE" else "trying")
        self.request = request
        self.data = data
        self.user = user
        self.begin(now)

    def begin(self, now: float) -> None:
        times = self.wire.times
        repeat, give_up = self.first
        if self.flow.transport == "udp":
            self._again(repeat, now, times.t1)
        self._end = self.wire.timers.start(now + times.give_up, self, give_up)
        self.wire.transmit(self.data, self.flow, self.user, now)

    def restart(self, flow: Flow, request: Request, data: bytes, now: float) -> None:
        """Begin again over another transport (RFC 3261 section 18.1.1), as if nothing had been sent."""
        self.stop_timers()
        self.flow, self.request, self.data = flow, request, data
        self.begin(now)

    def do_deliver(self, now: float, message: Response) -> None:
        self.user.on_response(self, message, now)

    def do_report_timeout(self, now: float, message: Any) -> None:
        self.stop_timers()
        self.user.on_failure(self, "timeout", now)

    def do_report_lost(self, now: float, message: Any) -> None:
        self.stop_timers()
        self.user.on_failure(self, "lost", now)


class InviteClient(ClientTransaction):
    """RFC 3261 section 17.1.1 with RFC 6026 section 7.2."""

    __slots__ = ()
    table = INVITE_CLIENT
    first = ("timer A", "timer B")

    def do_restart_a(self, now: float, message: Any) -> None:
        self._again("timer A", now, self._interval * 2)

    def do_start_d(self, now: float, message: Any) -> None:
        self._linger("timer D", now, max(self.wire.times.refused, self.wire.times.give_up))

    def do_start_m(self, now: float, message: Any) -> None:
        self._linger("timer M", now, self.wire.times.give_up)

    def do_acknowledge(self, now: float, response: Response) -> None:
        """RFC 3261 section 17.1.1.3: the ACK to a failure has the INVITE's Request-URI, top Via and Route, and the answer's To."""
        request = self.request
        fields = [("Via", request.all("via")[0])]
        fields += [("Route", value) for value in request.all("route")]
        fields += [
            ("Max-Forwards", "70"),
            ("From", request.need("from")),
            ("To", response.need("to")),
            ("Call-ID", request.call_id),
            ("CSeq", f"{request.cseq[0]} ACK"),
        ]
        ack = Request("ACK", request.uri_text, fields)
        self.wire.transmit(ack.serialise(), self.flow, self.user, now)


class NonInviteClient(ClientTransaction):
    """RFC 3261 section 17.1.2."""

    __slots__ = ()
    table = NON_INVITE_CLIENT
    first = ("timer E", "timer F")

    def do_restart_e(self, now: float, message: Any) -> None:
        self._again("timer E", now, min(self._interval * 2, self.wire.times.t2))

    def do_restart_e_slowly(self, now: float, message: Any) -> None:
        self._again("timer E", now, self.wire.times.t2)

    def do_start_k(self, now: float, message: Any) -> None:
        self._linger("timer K", now, self.wire.times.t4)


class ServerTransaction(Transaction):
    """A request of the peer's. `merge` is its identity as seen by whoever forked it (RFC 3261 section 8.2.2.2); `tag` our To tag."""

    __slots__ = ("merge", "request", "tag")

    def __init__(self, wire: Wire, key: Key, flow: Flow, request: Request, state: str) -> None:
        super().__init__(wire, key, flow, state)
        self.request: Request | None = request
        self.merge: Key | None = None
        self.tag = ""

    def send(self, response: Response, now: float) -> None:
        self.step(_SENDING[response.status // 100] if isinstance(self, InviteServer) else "send final", now, response)

    def do_transmit(self, now: float, response: Response) -> None:
        self.data = response.serialise()
        if response.status >= 200:
            self.request = None  # the answer's octets are enough from here on
        self.wire.transmit(self.data, self.flow, self.user, now)


_SENDING = ("", "send 1xx", "send 2xx", "send failure", "send failure", "send failure", "send failure")


class InviteServer(ServerTransaction):
    """RFC 3261 section 17.2.1 with RFC 6026 section 7.1."""

    __slots__ = ()
    table = INVITE_SERVER

    def __init__(self, wire: Wire, key: Key, flow: Flow, request: Request, now: float) -> None:
        super().__init__(wire, key, flow, request, "proceeding")
        self._retry = wire.timers.start(now + wire.times.trying, self, "timer trying")

    def do_send_trying(self, now: float, message: Any) -> None:
        request = self.request
        assert request is not None  # it is kept while nothing final was sent
        self.step("send 1xx", now, Response(100, REASONS[100], reply_fields(request)))

    def do_resend_or_trying(self, now: float, message: Any) -> None:
        if self.data:
            self.do_resend(now, message)
        else:
            self.do_send_trying(now, message)

    def do_start_g(self, now: float, message: Any) -> None:
        if self.flow.transport == "udp":
            self._again("timer G", now, self.wire.times.t1)

    def do_restart_g(self, now: float, message: Any) -> None:
        self._again("timer G", now, min(self._interval * 2, self.wire.times.t2))

    def do_start_h(self, now: float, message: Any) -> None:
        self._end = self.wire.timers.start(now + self.wire.times.give_up, self, "timer H")

    def do_start_i(self, now: float, message: Any) -> None:
        self._linger("timer I", now, self.wire.times.t4)

    def do_start_l(self, now: float, message: Any) -> None:
        self.user = None  # the session has all that is left to do; it must not live on in here for 32 s
        self._linger("timer L", now, self.wire.times.give_up)


class NonInviteServer(ServerTransaction):
    """RFC 3261 section 17.2.2. We answer at once, so there is no provisional answer and no Proceeding state."""

    __slots__ = ()
    table = NON_INVITE_SERVER

    def __init__(self, wire: Wire, key: Key, flow: Flow, request: Request) -> None:
        super().__init__(wire, key, flow, request, "trying")

    def do_start_j(self, now: float, message: Any) -> None:
        self._linger("timer J", now, self.wire.times.give_up)
