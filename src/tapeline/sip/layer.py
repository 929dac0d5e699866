"""The transaction layer: finds the transaction that a message is of, makes new ones, and decides which way a message goes.

Responses go back the way their request came (RFC 3261 section 18.2.2, RFC 3581); requests go over their flow, or over TCP where they are
too long for a datagram and there is a TCP listener. Whatever leaves is put into `outgoing` in the order it was made. This module knows
nothing of dialogs and sessions: it hands requests to the endpoint and responses to whoever sent the request.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tapeline.sip.config import Address, EndpointConfig, Flow, Outgoing
from tapeline.sip.headers import Via
from tapeline.sip.message import Field, Request, Response, reply_fields
from tapeline.sip.timers import Timers
from tapeline.sip.transactions import (
    ClientTransaction,
    InviteClient,
    InviteServer,
    NonInviteClient,
    NonInviteServer,
    ServerTransaction,
    Transaction,
    TransactionUser,
)
from tapeline.sip.uri import host_port

__all__ = ["Counters", "TransactionLayer", "stateless_tag", "transaction_key"]

Key = tuple[str, ...]
_COOKIE = "z9hG4bK"


@dataclass(slots=True)
class Counters:
    """What went through. `dropped` counts by reason what got no answer."""

    received: int = 0
    sent: int = 0
    retransmitted: int = 0  # sent again by us
    repeated: int = 0  # received again from the peer
    malformed: int = 0
    refused_overload: int = 0  # no room for another call
    refused_rate: int = 0  # too many requests from one source
    challenged: int = 0  # asked for a password
    failed_logins: int = 0  # a wrong one
    refused_logins: int = 0  # not heard, after too many wrong ones
    sessions: int = 0
    dropped: dict[str, int] = field(default_factory=dict)

    def drop(self, reason: str) -> None:
        self.dropped[reason] = self.dropped.get(reason, 0) + 1


def transaction_key(request: Request) -> Key:
    """What tells server transactions apart (RFC 3261 section 17.2.3): branch, sent-by and method, where ACK counts as INVITE. Without the
    magic cookie the rules of RFC 2543 hold; To is left out, since an ACK has a tag there which its INVITE had not."""
    via = request.via
    branch = via.branch
    method = "INVITE" if request.method == "ACK" else request.method
    if len(branch) > 7 and branch[:7].lower() == "z9hg4bk":
        return branch.lower(), via.host.lower(), str(via.port or ""), method
    return request.uri_text, request.call_id, request.from_.tag, str(request.cseq[0]), via.text, method


def merge_key(request: Request) -> Key:
    return request.call_id, request.from_.tag, str(request.cseq[0]), request.method


def stateless_tag(request: Request) -> str:
    """Our To tag in an answer that nothing is kept of: the same for the request, its repetitions and its ACK."""
    number = (request.get("cseq") or "").partition(" ")[0]
    identity = f"{request.get('call-id')} {number}".encode("utf-8", "surrogateescape")
    return f"{zlib.crc32(identity):08x}"


class TransactionLayer:
    """Transactions, timers, and the queue of what is to be sent."""

    def __init__(self, config: EndpointConfig, entropy: Callable[[int], bytes]) -> None:
        self.config = config
        self.abilities: list[Field] = [("Allow", ", ".join(config.allow))]  # made once: nearly every message of ours has them
        if config.supported:
            self.abilities.append(("Supported", ", ".join(config.supported)))
        self.times = config.timers
        self.timers = Timers()
        self.counters = Counters()
        self.outgoing: list[Outgoing] = []
        self.listeners: dict[str, list[Address]] = {}  # by transport: where we can be reached
        self.streams: dict[Flow, set[Transaction]] = {}  # connections that live, and who waits on them
        self.clients: dict[Key, ClientTransaction] = {}
        self.servers: dict[Key, ServerTransaction] = {}
        self.merged: dict[Key, ServerTransaction] = {}
        self._fallback: dict[Key, Flow] = {}  # requests that went over TCP for their length, and the UDP flow they were meant for
        self._entropy = entropy

    def token(self, octets: int = 8) -> str:
        return self._entropy(octets).hex()

    def fraction(self) -> float:
        """A random number from 0 to 1."""
        return int.from_bytes(self._entropy(2), "big") / 65535

    # ---- sending

    def transmit(self, data: bytes, flow: Flow, user: Any, now: float, *, again: bool = False) -> None:
        self.outgoing.append(Outgoing(data, flow))
        self.counters.sent += 1
        if again:
            self.counters.retransmitted += 1
        if user is not None and (trace := user.trace) is not None:
            trace.add(now, "out", data, flow)

    def _over_stream(self, flow: Flow) -> Flow | None:
        """The TCP flow to the same peer, where we listen on TCP in the same address family."""
        for host, port in self.listeners.get("tcp", ()):
            if (":" in host) == (":" in flow.remote[0]):
                local = flow.local[0] if host in ("0.0.0.0", "::") else host
                return Flow("tcp", (local, port), flow.remote, 0)
        return None

    def _with_via(self, request: Request, flow: Flow, branch: str) -> tuple[Request, bytes]:
        sent_by = host_port(*self.config.address(flow))
        via = f"SIP/2.0/{flow.transport.upper()} {sent_by};branch={branch};rport"
        sent = Request(request.method, request.uri_text, [("Via", via), *request.fields], request.body)
        sent.tries = request.tries
        return sent, sent.serialise()

    def prepare(self, request: Request, flow: Flow, branch: str = "") -> tuple[Request, bytes, Flow, str]:
        """The request with its Via, its octets, the flow it goes over, and its branch."""
        branch = branch or _COOKIE + self.token()
        sent, data = self._with_via(request, flow, branch)
        if len(data) > self.config.datagram_limit and flow.transport == "udp":
            stream = self._over_stream(flow)
            if stream is not None:
                sent, data = self._with_via(request, stream, branch)
                flow = stream
        return sent, data, flow, branch

    def request(self, request: Request, flow: Flow, user: TransactionUser, now: float) -> ClientTransaction:
        """Send a request (without Via) in a transaction of its own."""
        sent, data, used, branch = self.prepare(request, flow)
        key = (branch, request.method)
        if used is not flow:
            self._fallback[key] = flow
        return self._begin(key, used, sent, data, user, now)

    def cancel(self, invite: ClientTransaction, fields: list[Field], user: TransactionUser, now: float) -> ClientTransaction:
        """CANCEL has the branch, and goes the way, of the INVITE that it cancels (RFC 3261 section 9.1)."""
        request = Request("CANCEL", invite.request.uri_text, [("Via", invite.request.all("via")[0]), *fields])
        return self._begin((invite.key[0], "CANCEL"), invite.flow, request, request.serialise(), user, now)

    def _begin(self, key: Key, flow: Flow, request: Request, data: bytes, user: TransactionUser, now: float) -> ClientTransaction:
        kind = InviteClient if request.method == "INVITE" else NonInviteClient
        transaction = kind(self, key, flow, request, data, user, now)
        self.clients[key] = transaction
        if flow.transport != "udp":
            self.streams.setdefault(flow, set()).add(transaction)
        return transaction

    # ---- receiving

    def respond_to(self, request: Request, flow: Flow, via: Via) -> Flow:
        """The flow that the answer takes, noting where the request came from in its Via (RFC 3261 section 18.2.1, RFC 3581 section 4).

        A host that differs from where the packet came from is behind a NAT: it gets its answer back through the hole it made, even
        where it did not ask for that with `rport`.
        """
        host, port = flow.remote
        behind_nat = via.host.lower() != host
        wants_port = "rport" in via.parameters and via.parameters["rport"] is None
        if behind_nat or wants_port:
            self._note_source(request, via, host, port if wants_port else None)
        if flow.transport != "udp" or "rport" in via.parameters or behind_nat:
            return flow
        return flow._replace(remote=(host, via.port or 5060))

    @staticmethod
    def _note_source(request: Request, via: Via, host: str, port: int | None) -> None:
        kept = [] if port is None else [("rport", str(port))]
        noted = {**via.parameters, **dict(kept), "received": host}
        shown = "".join(f";{name}" if value is None else f";{name}={value}" for name, value in noted.items())
        text = f"SIP/2.0/{via.transport} {host_port(via.host, via.port)}{shown}"
        vias = request.all("via")
        rest = vias[0][len(via.text) :] if vias[0].startswith(via.text) else ""
        vias[0] = text + rest

    def server_for(self, request: Request) -> ServerTransaction | None:
        return self.servers.get(transaction_key(request))

    def serve(self, request: Request, flow: Flow, now: float, user: Any = None) -> ServerTransaction:
        """A new server transaction. `flow` is where its answers go."""
        key = transaction_key(request)
        transaction: ServerTransaction
        if request.method == "INVITE":
            transaction = InviteServer(self, key, flow, request, now)
        else:
            transaction = NonInviteServer(self, key, flow, request)
        transaction.user = user
        self.servers[key] = transaction
        if not request.to.tag:
            transaction.merge = merge_key(request)
            self.merged.setdefault(transaction.merge, transaction)
        if flow.transport != "udp":
            self.streams.setdefault(flow, set()).add(transaction)
        return transaction

    def is_merged(self, request: Request) -> bool:
        """The same request came by another way and is being, or was just, answered (RFC 3261 section 8.2.2.2)."""
        return not request.to.tag and merge_key(request) in self.merged

    def reply_stateless(self, request: Request, status: int, reason: str, flow: Flow, fields: list[Field], now: float) -> None:
        """An answer without a transaction: a repeated request gets the same one (RFC 3261 section 8.2.7)."""
        response = Response(status, reason, [*reply_fields(request, stateless_tag(request)), *fields])
        self.transmit(response.serialise(), flow, None, now)

    def on_response(self, response: Response, now: float, data: bytes) -> None:
        branch = response.via.branch
        method = response.cseq[1]
        transaction = self.clients.get((branch, method))
        if transaction is None:
            self.counters.drop("response without transaction")
            return
        if (trace := transaction.user.trace) is not None:
            trace.add(now, "in", data, transaction.flow)
        if response.status < 200:
            what = "1xx"
        elif method != "INVITE":
            what = "final"
        else:
            what = "2xx" if response.status < 300 else "failure"
        self._fallback.pop(transaction.key, None)
        transaction.step(what, now, response)

    def lost(self, flow: Flow, now: float) -> None:
        """A connection closed, or could not be made."""
        for transaction in list(self.streams.pop(flow, ())):
            meant = self._fallback.pop(transaction.key, None)
            if meant is not None and isinstance(transaction, ClientTransaction):
                self._fall_back(transaction, meant, now)
            else:
                if isinstance(transaction, ServerTransaction) and transaction.request is not None:
                    # RFC 3261 section 18.2.2: the answer then goes to where the request says it came from.
                    port = transaction.request.via.port or 5060
                    transaction.flow = flow._replace(remote=(flow.remote[0], port), id=0)
                transaction.step("lost", now)

    def _fall_back(self, transaction: ClientTransaction, flow: Flow, now: float) -> None:
        bare = transaction.request
        request = Request(bare.method, bare.uri_text, bare.fields[1:], bare.body)
        sent, data = self._with_via(request, flow, transaction.key[0])
        transaction.restart(flow, sent, data, now)

    def forget(self, transaction: Transaction) -> None:
        """Called by a transaction that is terminated; more than once changes nothing."""
        if isinstance(transaction, ServerTransaction):
            if self.servers.get(transaction.key) is transaction:
                del self.servers[transaction.key]
            if transaction.merge is not None and self.merged.get(transaction.merge) is transaction:
                del self.merged[transaction.merge]
        else:
            if self.clients.get(transaction.key) is transaction:
                del self.clients[transaction.key]
            self._fallback.pop(transaction.key, None)
        waiting = self.streams.get(transaction.flow)
        if waiting is not None:
            waiting.discard(transaction)
