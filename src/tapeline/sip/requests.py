"""Requests of ours outside of any call: one From, one To, one Call-ID, and a CSeq that grows (RFC 3261 section 8.1).

A `Line` sends one request after the other and gives each one's end to whoever asked: the final answer, or that none came. It logs in
where it is asked to. This module knows nothing of what the requests are for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tapeline.sip.auth import Credentials, DigestClient, sent_again
from tapeline.sip.config import Flow
from tapeline.sip.layer import TransactionLayer
from tapeline.sip.message import Field, Request, Response, whole_lines
from tapeline.sip.transactions import ClientTransaction
from tapeline.sip.uri import parse_uri

__all__ = ["Line", "Outcome"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a request ended. Without `response` nothing came: `status` is 408 for silence, 503 for a connection that failed."""

    status: int
    text: str
    response: Response | None
    took_s: float


class Line:
    """Whence and whither. Raises MalformedUri."""

    __slots__ = ("_auth", "_call_id", "_from", "_layer", "_seq", "_to")

    def __init__(self, layer: TransactionLayer, from_uri: str, to_uri: str, flow: Flow, credentials: Credentials | None = None) -> None:
        for uri in (from_uri, to_uri):
            parse_uri(uri)
        self._layer = layer
        self._from = f"<{from_uri}>;tag={layer.token()}"
        self._to = f"<{to_uri}>"
        self._call_id = f"{layer.token(12)}@{layer.config.address(flow)[0]}"
        self._auth = DigestClient(credentials, layer.token) if credentials is not None else None
        self._seq = 0

    @property
    def call_id(self) -> str:
        return self._call_id

    def next_seq(self) -> int:
        self._seq += 1
        return self._seq

    def send(
        self,
        method: str,
        target: str,
        flow: Flow,
        then: Callable[[Outcome, float], None],
        now: float,
        fields: Sequence[Field] = (),
        body: bytes = b"",
    ) -> None:
        """Ask `target` over `flow`; `then(outcome, now)` follows once. Raises MalformedUri, ValueError."""
        parse_uri(target)
        head = [("Max-Forwards", "70"), ("From", self._from), ("To", self._to), ("Call-ID", self._call_id)]
        head += [("CSeq", f"{self.next_seq()} {method}"), ("User-Agent", self._layer.config.user_agent)]
        login = self._auth.fields(method, target) if self._auth is not None else []
        request = Request(method, target, [*head, *login, *whole_lines(fields)], body)
        self._layer.request(request, flow, _Asked(self, flow, then, now), now)

    def again(self, transaction: ClientTransaction, response: Response) -> Request | None:
        """The request once more with credentials, where those were asked for and there are any."""
        if self._auth is None or response.status not in (401, 407) or not self._auth.take(transaction.request, response):
            return None
        return sent_again(transaction.request, self.next_seq(), self._auth, asked=True)

    def resend(self, request: Request, flow: Flow, asked: _Asked, now: float) -> None:
        self._layer.request(request, flow, asked, now)


class _Asked:
    """One request under way."""

    __slots__ = ("_began", "_flow", "_line", "_then")
    trace = None

    def __init__(self, line: Line, flow: Flow, then: Callable[[Outcome, float], None], now: float) -> None:
        self._line = line
        self._flow = flow
        self._then = then
        self._began = now

    def on_response(self, transaction: ClientTransaction, response: Response, now: float) -> None:
        if response.status < 200:
            return
        again = self._line.again(transaction, response)
        if again is not None:
            self._line.resend(again, self._flow, self, now)
        else:
            self._then(Outcome(response.status, response.reason, response, now - self._began), now)

    def on_failure(self, transaction: ClientTransaction, what: str, now: float) -> None:
        status = 408 if what == "timeout" else 503
        text = "no answer at all" if status == 408 else "the connection failed"
        self._then(Outcome(status, text, None, now - self._began), now)
