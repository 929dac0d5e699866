"""A dialog: what both sides must remember to address each other, and the requests made from it (RFC 3261 section 12).

The route set of a UAS is Record-Route as it came, that of a UAC is the same reversed. A first route without `lr` is a strict router: it
becomes the Request-URI and the target goes to the end of Route (section 12.2.1.1). `next_flow` finds where a request goes without asking
a name server: to an address literal, else back the way the dialog's messages came, as it does for a peer behind a NAT. This module knows
nothing of transactions or of what the dialog is used for.
"""

from __future__ import annotations

import contextlib
import functools
import ipaddress
from collections.abc import Container, Mapping, Sequence

from tapeline.sip.auth import DigestClient, sent_again
from tapeline.sip.config import Address, EndpointConfig, Flow, Transport
from tapeline.sip.errors import MalformedMessage
from tapeline.sip.headers import NameAddr, parse_name_addr
from tapeline.sip.message import Field, Message, Request, Response
from tapeline.sip.uri import Uri, host_port, parse_uri

__all__ = ["Dialog", "contact_field", "flow_towards"]

_Literal = ipaddress.IPv4Address | ipaddress.IPv6Address


def _hidden(address: _Literal | None, peer: _Literal | None) -> bool:
    """Whether a Contact's address is one that only the peer's own network knows."""
    return address is not None and peer is not None and address != peer and address.is_private and not peer.is_private


@functools.lru_cache(maxsize=4096)
def _literal(host: str) -> _Literal | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _routes(message: Message) -> list[str]:
    """Record-Route, each value of it an address that can be read. Raises MalformedMessage."""
    values = message.items("record-route")
    for value in values:
        if not parse_name_addr(value).uri.is_sip:
            raise MalformedMessage("a Record-Route that is no SIP URI")
    return values


def contact_field(config: EndpointConfig, flow: Flow) -> Field:
    """Our Contact for a dialog over `flow`."""
    user = f"{config.contact_user}@" if config.contact_user else ""
    transport = "" if flow.transport == "udp" else f";transport={flow.transport}"
    return "Contact", f"<sip:{user}{host_port(*config.address(flow))}{transport}>"


class Dialog:
    """One dialog. `local` and `remote` are the From and To of our requests, tags included; `target` the peer's Contact."""

    __slots__ = (
        "auth", "behind_nat", "call_id", "contact", "flow", "local", "local_seq", "local_tag", "max_forwards", "pinned", "remote",
        "remote_seq", "remote_tag", "route", "target",
    )  # fmt: skip

    def __init__(
        self, call_id: str, local: str, local_tag: str, remote: str, remote_tag: str, target: str, flow: Flow, contact: Field
    ) -> None:
        self.call_id = call_id
        self.local = local
        self.local_tag = local_tag
        self.remote = remote
        self.remote_tag = remote_tag
        self.target = target
        self.route: list[str] = []
        self.local_seq = 0
        self.remote_seq = -1
        self.flow = flow
        self.contact = contact
        self.behind_nat = False
        self.max_forwards = 70  # of the next requests
        self.pinned = False  # the peer is reached over the flow it registered by, wherever its Contact may point
        self.auth: DigestClient | None = None  # answers whoever asks us for a password

    @classmethod
    def of_invite(cls, request: Request, local_tag: str, flow: Flow, contact: Field) -> Dialog:
        """The dialog of a UAS (RFC 3261 section 12.1.1). Raises MalformedMessage where it could not be spoken to."""
        to, sender, theirs = request.to, request.from_, request.contact
        target = theirs.uri_text if theirs is not None else sender.uri_text
        dialog = cls(request.call_id, f"{to.text};tag={local_tag}", local_tag, sender.text, sender.tag, target, flow, contact)
        parse_uri(target)
        dialog.route = _routes(request)
        dialog.remote_seq = request.cseq[0]
        via = request.via
        alone = len(request.items("via")) == 1 and not dialog.route
        dialog.behind_nat = alone and via.host.lower() != flow.remote[0]
        return dialog

    def confirmed_by(self, response: Response) -> Dialog:
        """The dialog of a UAC that a response to its INVITE makes (section 12.1.2): a copy, since a fork makes several.

        What cannot be read of its Contact or Record-Route is passed over, so that the peer still gets ACK and BYE where the INVITE went.
        """
        to, target = response.to, self._moved_to(response)
        dialog = Dialog(self.call_id, self.local, self.local_tag, to.text, to.tag, target, self.flow, self.contact)
        with contextlib.suppress(MalformedMessage):
            dialog.route = _routes(response)[::-1]
        dialog.local_seq = self.local_seq
        address = _literal(parse_uri(target).host)
        peer = _literal(self.flow.remote[0])
        dialog.pinned, dialog.auth = self.pinned, self.auth
        dialog.behind_nat = not dialog.route and (self.pinned or _hidden(address, peer))
        return dialog

    def refresh(self, message: Message) -> None:
        """A new Contact in a re-INVITE or its 2xx moves the target (section 12.2)."""
        self.target = self._moved_to(message)

    def _moved_to(self, message: Message) -> str:
        with contextlib.suppress(MalformedMessage):
            theirs = message.contact
            if theirs is not None and theirs.uri.is_sip:
                return theirs.uri_text
        return self.target

    def in_order(self, request: Request) -> bool:
        """Whether the peer's request is not older than one before it (section 12.2.2)."""
        seq = request.cseq[0]
        if seq < self.remote_seq:
            return False
        self.remote_seq = seq
        return True

    def follow(self, flow: Flow) -> None:
        """The peer's requests come over `flow` now: a NAT made another hole, or another connection was opened."""
        if flow.transport == self.flow.transport:
            self.flow = flow

    def request(self, method: str, fields: Sequence[Field] = (), body: bytes = b"", seq: int | None = None) -> Request:
        """A request within the dialog, without its Via. `seq` for ACK and CANCEL, which have that of their INVITE."""
        if seq is None:
            self.local_seq += 1
            seq = self.local_seq
        uri, routes = self.target, self.route
        if routes:
            first = parse_name_addr(routes[0])
            if not first.uri.loose:
                uri = first.uri_text
                routes = [*routes[1:], f"<{self.target}>"]
        head = [("Route", route) for route in routes]
        head += [("Max-Forwards", str(self.max_forwards)), ("From", self.local), ("To", self.remote), ("Call-ID", self.call_id)]
        head.append(("CSeq", f"{seq} {method}"))
        login = self.auth.fields(method, uri) if self.auth is not None and method not in ("ACK", "CANCEL") else []
        return Request(method, uri, [*head, *login, *fields], body)

    def retried(self, request: Request, response: Response) -> Request | None:
        """`request`, which got a 401 or 407, with credentials and a CSeq of its own (RFC 3261 section 22.2); None where none will help."""
        if response.status not in (401, 407) or self.auth is None or not self.auth.take(request, response):
            return None
        self.local_seq += 1
        return sent_again(request, self.local_seq, self.auth, asked=True)

    def next_flow(self, listeners: Mapping[str, Sequence[Address]], living: Container[Flow]) -> Flow:
        """Where the next request goes."""
        first: NameAddr | None = parse_name_addr(self.route[0]) if self.route else None
        uri = first.uri if first is not None else parse_uri(self.target)
        flow = self.flow
        unresolved = not uri.is_sip or _literal(uri.host) is None
        wanted = _transport(uri)
        if flow.transport != "udp" and flow in living and wanted in ("", flow.transport) and uri.host == flow.remote[0]:
            return flow  # RFC 3261 section 18.1.1: the connection that is there is used again
        if unresolved or self.behind_nat:
            if flow.id and flow not in living:
                return flow._replace(remote=(flow.remote[0], uri.port or _default_port(flow.transport)), id=0)
            return flow
        return flow_towards(uri, flow, listeners)


def _default_port(transport: str) -> int:
    return 5061 if transport == "tls" else 5060


def _transport(uri: Uri) -> str:
    return uri.transport or ("tls" if uri.scheme == "sips" else "")


def flow_towards(uri: Uri, flow: Flow, listeners: Mapping[str, Sequence[Address]]) -> Flow:
    """A flow to the address that `uri` holds, from a listener of ours that fits; over that of `flow` where no other is named."""
    transport: Transport = flow.transport
    local = flow.local
    kinds: tuple[Transport, ...] = ("udp", "tcp", "tls")
    wanted = _transport(uri)
    if wanted not in kinds:
        wanted = transport
    same_family = (":" in local[0]) == (":" in uri.host)
    if wanted != transport or not same_family:
        for kind in kinds:
            fitting = [address for address in listeners.get(kind, ()) if (":" in address[0]) == (":" in uri.host)]
            if kind == wanted and fitting:
                host, port = fitting[0]
                transport = kind
                local = (local[0] if same_family and host in ("0.0.0.0", "::") else host, port)
    port = uri.port or _default_port(transport)
    return Flow(transport, local, (uri.host, port), 0)
