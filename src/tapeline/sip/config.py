"""What an endpoint is told once, and the two words for where messages come from and go to.

A `Flow` is a pair of addresses over one transport, and for streams one connection. An `Outgoing` is bytes for a flow. Nothing here knows
how a flow is made: the shell opens a connection for a stream flow that it does not have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

__all__ = ["Address", "EndpointConfig", "Flow", "Outgoing", "SipTimers", "Transport"]

Transport = Literal["udp", "tcp", "tls", "ws"]
Address = tuple[str, int]


class Flow(NamedTuple):
    """Where a message came from, or is to go. `id` tells connections apart: 0 for UDP and for connections that we open."""

    transport: Transport
    local: Address
    remote: Address
    id: int = 0


class Outgoing(NamedTuple):
    """One message, ready to be sent."""

    data: bytes
    flow: Flow


@dataclass(frozen=True, slots=True)
class SipTimers:
    """RFC 3261 section 17.1.1.1 and table 4. Seconds. All else follows from these."""

    t1: float = 0.5  # estimate of the round trip
    t2: float = 4.0  # longest interval between retransmissions of non-INVITE requests and of answers to INVITE
    t4: float = 5.0  # longest time that a message stays in the network
    refused: float = 32.0  # timer D: how long at least a refusal of our INVITE may be repeated (section 17.1.1.2)
    trying: float = 0.2  # an INVITE not answered by then gets 100 (section 17.2.1)
    ringing: float = 180.0  # an outgoing INVITE that only rings is given up (as timer C, section 16.6)

    @property
    def give_up(self) -> float:
        """64*T1: timers B, F, H, J, L, M, and the time that a 2xx waits for its ACK."""
        return 64 * self.t1


@dataclass(frozen=True, slots=True)
class EndpointConfig:
    """`advertise` is the host that others reach us by, "" where the flow's own local address is right. `contact_ports` gives
    the port others see, by transport, where it differs from the bound one."""

    user_agent: str = "tapeline"
    advertise: str = ""
    contact_ports: Mapping[str, int] = field(default_factory=dict)
    contact_user: str = ""
    timers: SipTimers = SipTimers()
    max_pending: int = 1000  # unanswered INVITEs; above: 503 with Retry-After
    max_pending_per_source: int = 0  # the same for one remote address; 0: no limit of its own
    rate_per_source: float = 0.0  # requests a second outside of calls from one remote address, twice that at once; 0: no limit
    retry_after: int = 5  # seconds, in 503
    allow: tuple[str, ...] = ("INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "INFO", "PRACK", "UPDATE", "REFER", "NOTIFY")
    supported: tuple[str, ...] = ("100rel", "replaces", "norefersub")  # option tags that a peer may require; "timer" comes by itself
    accept: tuple[str, ...] = ("application/sdp", "multipart/mixed")
    session_expires: int = 0  # seconds that a call may last without a sign of its peer (RFC 4028); 0: no session timers
    min_se: int = 90  # the shortest such interval that we agree to
    refer_expires: int = 300  # seconds that we tell, or want to be told, how the call of a REFER goes
    trace: bool = False  # keep every message of a call with its session
    datagram_limit: int = 1300  # octets; longer requests go over TCP where there is a listener (RFC 3261 section 18.1.1)

    def __post_init__(self) -> None:
        if self.session_expires and "timer" not in self.supported:
            object.__setattr__(self, "supported", (*self.supported, "timer"))

    def address(self, flow: Flow) -> Address:
        """The host and port that we write into Via and Contact for messages on `flow`."""
        host = flow.local[0]
        if self.advertise and (":" in self.advertise) == (":" in host):
            host = self.advertise
        return host, self.contact_ports.get(flow.transport, flow.local[1])
