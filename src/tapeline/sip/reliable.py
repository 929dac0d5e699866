"""Provisional answers that are told until they are heard (RFC 3262), as the callee sends them.

Each has a number (RSeq) and is repeated at T1, doubled each time, until a PRACK names that number; 64*T1 without one fail the call. One is
under way at a time, since the second may only follow the PRACK to the first (section 3); the others wait their turn. A 2xx waits too while
one with a session description is not acknowledged (section 3), or the caller would have two answers to choose from. The caller's side is
in `early`. This module knows nothing of dialogs.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

from tapeline.core.errors import InvalidState
from tapeline.sip.errors import MalformedMessage
from tapeline.sip.layer import TransactionLayer
from tapeline.sip.message import Field
from tapeline.sip.timers import Timer

__all__ = ["ReliableAnswers", "parse_rack", "parse_rseq"]

_MOST_WAITING = 8
_Answer = tuple[int, list[Field], bytes]


def parse_rseq(text: str | None) -> int | None:
    """The number of a reliable answer, None where there is none or it is none."""
    if text is None or not (text.isascii() and text.isdigit()) or len(text) > 10:
        return None
    number = int(text)
    return number if 0 < number < 2**32 else None


def parse_rack(text: str) -> tuple[int, int, str]:
    """RSeq, CSeq number and method of what a PRACK acknowledges. Raises MalformedMessage."""
    parts = text.split()
    rseq = parse_rseq(parts[0]) if len(parts) == 3 else None
    if rseq is None or not (parts[1].isascii() and parts[1].isdigit()) or len(parts[1]) > 10:
        raise MalformedMessage(f"a RAck that is none: {text[:60]!r}")
    return rseq, int(parts[1]), parts[2]


class Answering(Protocol):
    """The INVITE that is answered."""

    def provisional(self, status: int, now: float, fields: list[Field], body: bytes) -> None: ...
    def repeat_provisional(self, now: float) -> None: ...
    def unheard(self, now: float) -> None: ...


class ReliableAnswers:
    """`holds`: a 2xx has to wait. `tells`: what is under way has a session description. `stop` when a final answer was sent: then
    nothing is repeated, but a PRACK is still known."""

    __slots__ = ("_end", "_interval", "_invite", "_layer", "_repeat", "_rseq", "_waiting", "tells", "under_way")

    def __init__(self, layer: TransactionLayer, invite: Answering) -> None:
        self._layer = layer
        self._invite = invite
        self._rseq = int(layer.fraction() * 65535)
        self._waiting: deque[_Answer] = deque()
        self.tells = False
        self.under_way = 0  # its RSeq; 0: nothing is
        self._interval = 0.0
        self._repeat: Timer | None = None
        self._end: Timer | None = None

    @property
    def holds(self) -> bool:
        return (self.under_way != 0 and self.tells) or any(body for _, _, body in self._waiting)

    def send(self, status: int, now: float, fields: list[Field], body: bytes) -> None:
        """Send it, now or when those before it are acknowledged. Raises InvalidState where too many wait."""
        if not self.under_way:
            self._send(status, now, fields, body)
        elif len(self._waiting) < _MOST_WAITING:
            self._waiting.append((status, fields, body))
        else:
            raise InvalidState("too many provisional answers wait for their PRACK")

    def _send(self, status: int, now: float, fields: list[Field], body: bytes) -> None:
        self._rseq += 1
        self.under_way = self._rseq
        self.tells = bool(body)
        self._invite.provisional(status, now, [*fields, ("Require", "100rel"), ("RSeq", str(self._rseq))], body)
        times, timers = self._layer.times, self._layer.timers
        self._interval = times.t1
        self._repeat = timers.start(now + times.t1, self, "1xx")
        self._end = timers.start(now + times.give_up, self, "no PRACK")

    def acknowledged(self) -> None:
        """The PRACK to the answer under way has come; `go_on` sends the next."""
        self.under_way = 0
        self._cancel_timers()

    def go_on(self, now: float) -> None:
        if self._waiting and not self.under_way:
            status, fields, body = self._waiting.popleft()
            self._send(status, now, fields, body)

    def stop(self) -> None:
        self._waiting.clear()
        self._cancel_timers()

    def _cancel_timers(self) -> None:
        self._layer.timers.cancel(self._repeat)
        self._layer.timers.cancel(self._end)
        self._repeat = self._end = None

    def on_timer(self, name: str, now: float) -> None:
        if name == "no PRACK":
            self.stop()
            self._invite.unheard(now)
            return
        self._invite.repeat_provisional(now)
        self._interval *= 2
        self._repeat = self._layer.timers.start(now + self._interval, self, "1xx")
