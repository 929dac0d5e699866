"""An endpoint under a microscope: what a test sends it, and what comes back, without any network."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from tapeline.sip import Endpoint, EndpointConfig, Event, Flow, Registrar, Request, Response, Session, parse_message

US = ("192.0.2.1", 5060)
PEER = ("192.0.2.9", 5060)
FLOW = Flow("udp", US, PEER)
TCP = Flow("tcp", US, (PEER[0], 40001), 1)
OFFER = b"v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\nm=audio 6000 RTP/AVP 0\r\n"
ANSWER = OFFER.replace(b"192.0.2.9", b"192.0.2.1")
SDP = "Content-Type: application/sdp\r\n"


def counting_entropy(seed: str = "") -> Callable[[int], bytes]:
    """Random enough to be unique, the same in every run."""
    count = 0

    def entropy(octets: int) -> bytes:
        nonlocal count
        count += 1
        return hashlib.sha256(f"{seed}{count}".encode()).digest()[:octets]

    return entropy


def request(
    method: str,
    *,
    seq: int = 1,
    branch: str = "",
    to_tag: str = "",
    from_tag: str = "theirs",
    call_id: str = "call-1",
    uri: str = "sip:1000@192.0.2.1",
    via: str = "",
    contact: str = "<sip:peer@192.0.2.9:5060>",
    extra: str = "",
    body: bytes = b"",
) -> bytes:
    """A request as a plain peer sends it."""
    via = via or f"SIP/2.0/UDP 192.0.2.9:5060;branch={branch or f'z9hG4bK-{method}-{seq}'}"
    tag = f";tag={to_tag}" if to_tag else ""
    head = (
        f"{method} {uri} SIP/2.0\r\nVia: {via}\r\nMax-Forwards: 70\r\n"
        f"From: <sip:peer@192.0.2.9>;tag={from_tag}\r\nTo: <sip:1000@192.0.2.1>{tag}\r\n"
        f"Call-ID: {call_id}\r\nCSeq: {seq} {method}\r\nContact: {contact}\r\n{extra}Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode("utf-8", "surrogateescape") + body


def invite(**changes: object) -> bytes:
    changes.setdefault("body", OFFER)
    changes["extra"] = SDP + str(changes.get("extra", ""))
    return request("INVITE", **changes)  # type: ignore[arg-type]  # passed on as given


def response_to(sent: Request, status: int, *, tag: str = "theirs", extra: str = "", body: bytes = b"", reason: str = "Reason") -> bytes:
    """A peer's answer to a request of ours."""
    vias = "".join(f"Via: {value}\r\n" for value in sent.all("via"))
    to = sent.need("to")
    to_tag = f";tag={tag}" if tag and "tag=" not in to else ""
    head = (
        f"SIP/2.0 {status} {reason}\r\n{vias}From: {sent.need('from')}\r\nTo: {to}{to_tag}\r\nCall-ID: {sent.call_id}\r\n"
        f"CSeq: {sent.need('cseq')}\r\n{extra}Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


CONTACT = "Contact: <sip:peer@192.0.2.9:5060>\r\n"


class Rig:
    """One endpoint. `give` is an input; `sent` and `events` hold what it caused."""

    def __init__(self, config: EndpointConfig | None = None, registrar: Registrar | None = None) -> None:
        self.endpoint = Endpoint(config or EndpointConfig(), counting_entropy(), registrar)
        self.flows: list[Flow] = []
        self.raw: list[bytes] = []
        self.events: list[Event] = []
        self.now = 0.0

    def drain(self) -> None:
        outgoing = self.endpoint.outgoing()
        self.raw = [item.data for item in outgoing]
        self.flows = [item.flow for item in outgoing]
        self.events = self.endpoint.events()

    def give(self, data: bytes, flow: Flow = FLOW) -> list[int]:
        """Receive; returns the statuses of the answers."""
        self.endpoint.receive(data, flow, self.now)
        self.drain()
        return self.statuses

    def at(self, now: float) -> None:
        """Let time pass, timer by timer; gathers all that is sent and all events on the way."""
        raw, events, flows = [], [], []
        while (deadline := self.endpoint.next_deadline()) is not None and deadline <= now:
            self.now = max(self.now, deadline)
            self.endpoint.tick(self.now)
            self.drain()
            raw += self.raw
            flows += self.flows
            events += self.events
        self.now = now
        self.raw, self.flows, self.events = raw, flows, events

    @property
    def sent(self) -> list[Request | Response]:
        return [parse_message(data) for data in self.raw]

    @property
    def statuses(self) -> list[int]:
        return [int(data[8:11]) for data in self.raw if data.startswith(b"SIP/2.0 ")]

    @property
    def methods(self) -> list[str]:
        return [item.method for item in self.sent if isinstance(item, Request)]

    @property
    def names(self) -> list[str]:
        return [type(event).__name__ for event in self.events]

    @property
    def response(self) -> Response:
        (found,) = [item for item in self.sent if isinstance(item, Response)]
        return found

    @property
    def requests(self) -> list[Request]:
        return [item for item in self.sent if isinstance(item, Request)]

    @property
    def request(self) -> Request:
        (found,) = self.requests
        return found

    def incoming(self, **changes: object) -> Session:
        """A call comes in; nothing is answered yet."""
        self.give(invite(**changes))
        (event,) = self.events
        return event.session

    def established(self, **changes: object) -> Session:
        """A call comes in, is accepted and acknowledged."""
        session = self.incoming(**changes)
        session.accept(ANSWER, self.now)
        self.drain()
        self.give(request("ACK", to_tag=session.local_tag, branch="z9hG4bK-ack-1"))
        return session

    def within(self, session: Session, method: str, seq: int, **changes: object) -> list[int]:
        """A request of the peer's within the dialog of an incoming call."""
        return self.give(request(method, seq=seq, to_tag=session.local_tag, **changes))  # type: ignore[arg-type]  # passed on as given

    def call(
        self, body: bytes | None = OFFER, target: str = "sip:bob@192.0.2.9", flow: Flow = FLOW, **more: object
    ) -> tuple[Session, Request]:
        """Call out; returns the session and the INVITE that was sent."""
        session = self.endpoint.invite(target, local=flow, from_uri="sip:us@192.0.2.1", body=body, now=self.now, **more)  # type: ignore[arg-type]
        self.drain()
        return session, self.request

    def answered(self, **more: object) -> tuple[Session, Request]:
        """Call out, and the peer accepts."""
        session, sent = self.call(**more)  # type: ignore[arg-type]  # passed on as given
        self.give(response_to(sent, 200, extra=CONTACT + SDP, body=ANSWER))
        return session, sent
