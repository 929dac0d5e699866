"""The endpoint: datagrams and stream messages in, events and messages out. No socket, clock or random source inside.

    message -> transaction -> (checks) -> session -> event

`receive`, `connection_lost` and `tick` are inputs; after each, `events()` and `outgoing()` are to be drained, or the next input raises
NotDrained. Commands (`invite`, and those of `Session`) may be given at any time, also while events are being handled; what they cause is
drained likewise. Every request that is not ACK gets a final answer; what may not be answered is counted in `counters.dropped`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from tapeline.sip.auth import Credentials, DigestClient
from tapeline.sip.checks import Refusal, check_request
from tapeline.sip.config import Address, EndpointConfig, Flow, Outgoing
from tapeline.sip.dialog import Dialog, contact_field, flow_towards
from tapeline.sip.errors import MalformedMessage, NotDrained
from tapeline.sip.events import Event, Incoming, Replied
from tapeline.sip.headers import quote
from tapeline.sip.layer import Counters, TransactionLayer, stateless_tag, transaction_key
from tapeline.sip.limits import RateLimit, Refused
from tapeline.sip.message import REASONS, Field, Request, Response, parse_message, reply_fields, whole_lines
from tapeline.sip.registrar import Admission, Registrar
from tapeline.sip.registration import Registration
from tapeline.sip.replaces import Replaces, parse_replaces
from tapeline.sip.requests import Line, Outcome
from tapeline.sip.session import Session
from tapeline.sip.session_timer import smallest_interval
from tapeline.sip.timers import Timers
from tapeline.sip.transactions import InviteServer, ServerTransaction
from tapeline.sip.uri import parse_uri

__all__ = ["Endpoint"]

_SHORTEST = 16  # octets; what is shorter is no message, but may keep a NAT's hole open
_WITHIN = frozenset(("BYE", "INFO", "NOTIFY", "PRACK", "UPDATE"))  # methods that mean nothing outside a dialog
DialogKey = tuple[str, str, str]


class Endpoint:
    """One SIP element: all its listeners, transactions and sessions."""

    def __init__(self, config: EndpointConfig, entropy: Callable[[int], bytes], registrar: Registrar | None = None) -> None:
        """`entropy(n)` gives n random octets. With a `registrar`, users register here and prove who they are when they call."""
        if registrar is not None:
            config = replace(config, allow=(*config.allow, "REGISTER"))
            registrar.owner = self
        self.config = config
        self.registrar = registrar
        self.registrations: list[Registration] = []  # ours with others
        self.standing = Timers()  # of what goes on without any call: bindings, registrations
        self.layer = TransactionLayer(config, entropy)
        self.accepting = True  # False: no new calls (503), and OPTIONS says so too
        self.sessions: dict[str, Session] = {}
        self._dialogs: dict[DialogKey, Session] = {}
        self._events: list[Event] = []
        self._pending: dict[str, int] = {}  # unanswered INVITEs by source address
        self._pending_total = 0
        self._rate = RateLimit(config.rate_per_source)
        self._refused = Refused(config.timers.give_up)

    # ---- inputs

    def receive(self, data: bytes, flow: Flow, now: float) -> None:
        """One datagram, or one message that the framing of a stream has cut out."""
        self._drained()
        layer = self.layer
        layer.counters.received += 1
        if flow.transport != "udp":
            layer.streams.setdefault(flow, set())
        if len(data) < _SHORTEST and not data.strip(b"\r\n\0"):
            layer.counters.drop("keep-alive")
            return
        try:
            message = parse_message(data)
            if isinstance(message, Response):
                layer.on_response(message, now, data)
            else:
                self._on_request(message, flow, now, data)
        except MalformedMessage as error:
            self._on_malformed(error, flow, now)

    def connection_lost(self, flow: Flow, now: float) -> None:
        """A connection closed or could not be opened."""
        self._drained()
        self.layer.lost(flow, now)
        if self.registrar is not None:
            self.registrar.lost(flow)
        for registration in list(self.registrations):
            registration.lost(flow, now)

    def tick(self, now: float) -> None:
        """Let the timers fire that are due."""
        self._drained()
        self.layer.timers.fire(now)
        self.standing.fire(now)

    # ---- outputs

    def next_deadline(self) -> float | None:
        deadline, standing = self.layer.timers.next_deadline(), self.standing.next_deadline()
        return standing if deadline is None or (standing is not None and standing < deadline) else deadline

    def events(self) -> list[Event]:
        """Take the events, in the order they happened."""
        taken, self._events = self._events, []
        return taken

    def outgoing(self) -> list[Outgoing]:
        """Take the messages to send, in the order they were made."""
        taken, self.layer.outgoing = self.layer.outgoing, []
        return taken

    def _drained(self) -> None:
        if self._events or self.layer.outgoing:
            raise NotDrained("events() and outgoing() must be taken before the next input")

    # ---- commands and what there is to see

    def add_listener(self, transport: str, address: Address) -> None:
        """Tell where we can be reached; a TCP listener is what long requests go over."""
        self.layer.listeners.setdefault(transport, []).append(address)

    def invite(
        self,
        target: str,
        *,
        local: Flow,
        remote: Address | None = None,
        from_uri: str,
        from_name: str = "",
        to_uri: str | None = None,
        body: bytes | None = None,
        headers: Sequence[Field] = (),
        max_forwards: int = 70,
        credentials: Credentials | None = None,
        now: float,
    ) -> Session:
        """Call `target`. `local` is a flow of the listener to send from; `remote` the resolved address, that of `local` where None.
        `max_forwards` is one less than that of a call which this one is made for (RFC 3261 section 16.6), so that loops end.

        A binding of the registrar is called at its `uri` and over its `flow`, which its call then keeps to. `credentials` answer whoever
        asks for a password, at the INVITE and at each later request. Without `body` the 2xx brings the offer (`Accepted.body`), and
        `Session.ack` the answer. Raises MalformedUri, ValueError.
        """
        for uri in (target, from_uri, to_uri or target):
            parse_uri(uri)
        headers = whole_lines(headers)
        flow = local if remote is None else local._replace(remote=remote, id=0)
        tag = self.layer.token()
        display = f"{quote(from_name)} " if from_name else ""
        route = [value for name, value in headers if name.lower() == "route"]
        rest = [item for item in headers if item[0].lower() != "route"]
        to = to_uri or target
        call_id = f"{self.layer.token(12)}@{self.config.address(flow)[0]}"
        contact = contact_field(self.config, flow)
        dialog = Dialog(call_id, f"{display}<{from_uri}>;tag={tag}", tag, f"<{to}>", "", target, flow, contact)
        dialog.route = route
        dialog.max_forwards = max_forwards
        dialog.pinned = self.registrar is not None and self.registrar.reaches(flow, target)
        dialog.auth = DigestClient(credentials, self.layer.token) if credentials is not None else None
        session = Session(self, dialog, None, local_uri=from_uri, remote_uri=to, remote_name="")
        self.sessions[session.id] = session
        self.layer.counters.sessions += 1
        session.begin(rest, body or b"", now)
        return session

    def request(
        self,
        method: str,
        target: str,
        *,
        local: Flow,
        from_uri: str,
        to_uri: str | None = None,
        headers: Sequence[Field] = (),
        body: bytes = b"",
        credentials: Credentials | None = None,
        now: float,
    ) -> str:
        """Send a request outside of any call over the flow `local`: OPTIONS, MESSAGE and the like, not INVITE. `Replied` with the id that
        is returned follows once. Raises MalformedUri, ValueError."""
        line = Line(self.layer, from_uri, to_uri or target, local, credentials)

        def ended(outcome: Outcome, now: float) -> None:
            self.emit(Replied(line.call_id, outcome.status, outcome.text, outcome.response, outcome.took_s))

        line.send(method, target, local, ended, now, headers, body)
        return line.call_id

    def register(
        self,
        aor: str,
        target: str,
        *,
        local: Flow,
        credentials: Credentials | None = None,
        contact_user: str = "",
        expires: int = 600,
        now: float,
    ) -> Registration:
        """Register `aor` with the server `target`, reached over the flow `local`, and keep it registered until `Registration.stop`.

        `contact_user` is the user that the server calls us by. `RegistrationChanged` tells how it stands. Raises MalformedUri.
        """
        registration = Registration(self, aor, target, local, credentials, contact_user, expires, now)
        registration.on_ended = self.registrations.remove
        self.registrations.append(registration)
        return registration

    def flow_to(self, uri: str, like: Flow) -> Flow:
        """A flow to the address literal in `uri`, over the transport that it names, from a listener of ours that fits, else `like`'s."""
        return flow_towards(parse_uri(uri), like, self.layer.listeners)

    @property
    def counters(self) -> Counters:
        return self.layer.counters

    @property
    def pending(self) -> int:
        """Incoming INVITEs without a final answer."""
        return self._pending_total

    @property
    def transactions(self) -> int:
        return len(self.layer.clients) + len(self.layer.servers)

    @property
    def idle(self) -> bool:
        """Nothing under way and nothing to wait for."""
        return not (self.sessions or self._dialogs or self.transactions or len(self.layer.timers))

    # ---- for sessions

    def emit(self, event: Event) -> None:
        self._events.append(event)

    def attach(self, session: Session, remote_tag: str) -> None:
        session.tags.add(remote_tag)
        self._dialogs[session.call_id, session.local_tag, remote_tag] = session

    def keep_only(self, session: Session, remote_tag: str) -> None:
        """The call is answered by this one: requests of other branches are no longer of it."""
        for tag in session.tags - {remote_tag}:
            self._dialogs.pop((session.call_id, session.local_tag, tag), None)
        session.tags &= {remote_tag}

    def release(self, session: Session) -> None:
        """The session has ended, and nothing is left to be said in its dialogs."""
        for tag in session.tags:
            self._dialogs.pop((session.call_id, session.local_tag, tag), None)
        session.tags.clear()
        self.sessions.pop(session.id, None)

    def answered(self, session: Session) -> None:
        """An incoming INVITE no longer waits."""
        self._pending_total -= 1
        left = self._pending[session.source] - 1
        if left:
            self._pending[session.source] = left
        else:
            del self._pending[session.source]

    # ---- requests

    def _on_malformed(self, error: MalformedMessage, flow: Flow, now: float) -> None:
        """No request stays without an answer where it can be answered (RFC 3261 section 8.2); RFC 4475 section 3 says which."""
        layer = self.layer
        layer.counters.malformed += 1
        request = error.partial
        if error.status == 0 or not isinstance(request, Request) or request.method == "ACK":
            layer.counters.drop("malformed")
            return
        try:
            back = layer.respond_to(request, flow, request.via)
        except MalformedMessage:
            back = flow
        layer.reply_stateless(
            request, error.status, REASONS[error.status], back, [("Warning", f"399 tapeline {quote(error.message)}")], now
        )

    def _on_request(self, request: Request, flow: Flow, now: float, data: bytes) -> None:
        layer = self.layer
        transaction = layer.server_for(request)
        if request.method == "ACK":
            self._on_ack(request, transaction, flow, now, data)
            return
        if transaction is not None:
            layer.counters.repeated += 1
            transaction.step("request", now, request)
            return
        try:
            back = layer.respond_to(request, flow, request.via)
            if request.method == "CANCEL":
                self._on_cancel(request, back, now, data)
            elif request.to.tag:
                self._on_request_within(request, flow, back, now, data)
            else:
                self._on_request_outside(request, flow, back, now, data)
        except MalformedMessage as error:
            error.partial = request
            raise

    def _answer(self, request: Request, back: Flow, now: float, status: int, fields: Sequence[Field] = (), body: bytes = b"") -> None:
        """A final answer that no session gives."""
        transaction = self.layer.serve(request, back, now)
        response = Response(status, REASONS[status], [*reply_fields(request, self.layer.token(4)), *fields], body)
        transaction.send(response, now)

    def _refuse(self, request: Request, back: Flow, now: float, refusal: Refusal) -> None:
        self._answer(request, back, now, refusal.status, refusal.fields)

    def _on_request_outside(self, request: Request, flow: Flow, back: Flow, now: float, data: bytes) -> None:
        """RFC 3261 section 8.2, in its order."""
        if self.layer.is_merged(request):
            self._answer(request, back, now, 482)
            return
        refusal = check_request(request, self.config)
        if refusal is not None:
            self._refuse(request, back, now, refusal)
        elif request.method in _WITHIN:
            self._answer(request, back, now, 481)
        elif request.method == "REFER":
            self._answer(request, back, now, 403)  # whoever wants a call moved is in it
        elif self._too_much(request, flow, now):
            self._turn_away(request, back, now)
        elif request.method == "OPTIONS":
            self._answer(request, back, now, 200, self._capabilities())
        else:
            self._on_claim(request, flow, back, now, data)

    def _on_claim(self, request: Request, flow: Flow, back: Flow, now: float, data: bytes) -> None:
        """A request that may have to be from one of our users."""
        registrar = self.registrar
        admission = registrar.admit(request, flow, now) if registrar is not None else Admission()
        if admission.status and admission.stateless:
            self.layer.reply_stateless(request, admission.status, REASONS[admission.status], back, list(admission.fields), now)
        elif admission.status:
            self._answer(request, back, now, admission.status)
        elif request.method == "REGISTER" and registrar is not None:
            status, fields = registrar.register(request, admission.user, flow, now)
            self._answer(request, back, now, status, fields)
        else:
            self._on_invite(request, flow, back, now, data, admission.user)

    def _too_much(self, request: Request, flow: Flow, now: float) -> bool:
        """Whether the request is one too many; also where it was, and is now repeated: the peer has its 503 already."""
        self._refused.forget(now)
        if transaction_key(request) in self._refused:
            self.counters.repeated += 1
            return True
        if not self._rate.allows(flow.remote[0], now):
            self.counters.refused_rate += 1
            return True
        if request.method != "REGISTER" and self._overloaded(flow):
            self.counters.refused_overload += 1
            return True
        return False

    def _turn_away(self, request: Request, back: Flow, now: float) -> None:
        if request.method == "INVITE":
            self._refused.add(transaction_key(request), now)
        retry = [("Retry-After", str(self.config.retry_after))]
        self.layer.reply_stateless(request, 503, REASONS[503], back, retry, now)

    def _overloaded(self, flow: Flow) -> bool:
        config = self.config
        each = config.max_pending_per_source
        return (
            not self.accepting or self._pending_total >= config.max_pending or bool(each and self._pending.get(flow.remote[0], 0) >= each)
        )

    def _capabilities(self) -> list[Field]:
        config = self.config
        fields = [("Allow", ", ".join(config.allow)), ("Accept", ", ".join(config.accept)), ("Accept-Encoding", "identity")]
        return [*fields, ("Supported", ", ".join(config.supported)), ("Server", config.user_agent)]

    def _on_invite(self, request: Request, flow: Flow, back: Flow, now: float, data: bytes, user: str) -> None:
        replaced: Session | None = None
        if request.get("replaces") is not None:
            replaced, status = self._replaced_by(request)
            if replaced is None:
                self._answer(request, back, now, status)
                return
        least = smallest_interval(request, self.config)
        if least:
            self._answer(request, back, now, 422, [("Min-SE", str(least))])
            return
        tag = self.layer.token()
        dialog = Dialog.of_invite(request, tag, flow, contact_field(self.config, flow))
        sender = request.from_
        session = Session(self, dialog, request, local_uri=request.to.uri_text, remote_uri=sender.uri_text, remote_name=sender.name)
        if session.trace is not None:
            session.trace.add(now, "in", data, flow)
        transaction = self.layer.serve(request, back, now, session)
        transaction.tag = tag
        self.sessions[session.id] = session
        self.attach(session, dialog.remote_tag)
        self._pending_total += 1
        self._pending[session.source] = self._pending.get(session.source, 0) + 1
        self.counters.sessions += 1
        self.emit(Incoming(session, session.invited(transaction, request), replaced, user))

    def replaced(self, replaces: str) -> Session | None:
        """The session of ours that a Replaces value names, None where there is none. Raises MalformedMessage."""
        return self._named(parse_replaces(replaces))

    def _named(self, replaces: Replaces) -> Session | None:
        found = self._dialogs.get((replaces.call_id, replaces.to_tag, replaces.from_tag))
        if found is None and replaces.from_tag == "0":
            found = self._dialogs.get((replaces.call_id, replaces.to_tag, ""))  # a peer of RFC 2543 has no tag
        return found

    def _replaced_by(self, request: Request) -> tuple[Session | None, int]:
        """RFC 3891 section 3: the session that an INVITE replaces, or None and the status that refuses it. Raises MalformedMessage."""
        values = request.items("replaces")
        if len(values) != 1:
            raise MalformedMessage("an INVITE has one Replaces at most")
        replaces = parse_replaces(values[0])
        found = self._named(replaces)
        if found is None:
            return None, 481
        if found.state == "terminated":
            return None, 603
        if found.state == "confirmed":
            return (None, 486) if replaces.early_only else (found, 200)
        return (None, 481) if found.incoming else (found, 200)  # an early dialog is its caller's alone to give away

    def _session_of(self, request: Request) -> Session | None:
        """RFC 3261 section 12.2.2: by Call-ID and both tags."""
        return self._dialogs.get((request.call_id, request.to.tag, request.from_.tag))

    def _on_request_within(self, request: Request, flow: Flow, back: Flow, now: float, data: bytes) -> None:
        session = self._session_of(request)
        if session is None:
            refusal = check_request(request, self.config)
            self._refuse(request, back, now, refusal if refusal is not None and refusal.status in (405, 501) else Refusal(481))
            return
        if session.trace is not None:
            session.trace.add(now, "in", data, flow)
        refusal = check_request(request, self.config) if session.dialog_of(request).in_order(request) else Refusal(500)
        if refusal is not None:
            self._refuse(request, back, now, refusal)
            return
        session.dialog.follow(flow)
        if request.method == "OPTIONS":
            self._answer(request, back, now, 200, self._capabilities())
        else:
            transaction = self.layer.serve(request, back, now, session)
            transaction.tag = session.local_tag
            session.on_request(request, transaction, now)
            if request.method != "INVITE" and session.trace is None:
                transaction.user = None

    def _on_cancel(self, request: Request, back: Flow, now: float, data: bytes) -> None:
        """RFC 3261 section 9.2: the CANCEL itself gets 200, what it cancels 487; after a final answer it changes nothing."""
        key = transaction_key(request)
        invite = self.layer.servers.get((*key[:-1], "INVITE"))
        if not isinstance(invite, InviteServer):
            self._answer(request, back, now, 481)
            return
        session: Session | None = invite.user
        own = self.layer.serve(request, back, now, session)
        if session is not None and session.trace is not None:
            session.trace.add(now, "in", data, back)
        own.send(Response(200, REASONS[200], reply_fields(request, invite.tag or self.layer.token(4))), now)
        own.user = None
        if session is not None and invite.state == "proceeding":
            session.on_cancel(request, now)

    def _on_ack(self, request: Request, transaction: ServerTransaction | None, flow: Flow, now: float, data: bytes) -> None:
        """The ACK to a failure is the transaction's, that to a 2xx the session's, even where it wrongly has the INVITE's branch."""
        if isinstance(transaction, InviteServer) and transaction.state != "accepted":
            transaction.step("ack", now, request)
            return
        session = self._session_of(request)
        if session is None:
            if request.to.tag != stateless_tag(request):
                self.counters.drop("ACK without dialog")
            return
        if session.trace is not None:
            session.trace.add(now, "in", data, flow)
        session.dialog.follow(flow)
        session.on_ack(request, now)
