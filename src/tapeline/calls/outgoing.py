"""How a call of ours begins: a leg, an offer, an INVITE. Whom to call, and what to do with it, is decided elsewhere.

The switch makes one of these and hands it out; each call placed is known to the switch from its first message on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import structlog

from tapeline import rtp, sip
from tapeline.calls.equipment import Equipment
from tapeline.calls.identity import Identity
from tapeline.calls.media import Media, own_media, usable
from tapeline.calls.session import Call, Facts, Listener
from tapeline.calls.views import Address
from tapeline.core.ids import new_id
from tapeline.core.settings import Srtp, Trunk
from tapeline.sip.transports.shell import Shell

__all__ = ["Hop", "Order", "Outgoing"]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Hop:
    """One way to somebody: the URI to ask for, and the flow that leads there."""

    uri: str
    flow: sip.Flow
    to_uri: str = ""  # what the To header says; "" the same as `uri`
    trunk: Trunk | None = None
    srtp: Srtp | None = None  # None: as the server does
    user: str = ""  # whose phone it leads to, where it is one of our users'


@dataclass(frozen=True, slots=True)
class Order:
    """A call to be placed. `beside`: the leg that it will be bridged with, which its own leg shares a thread with."""

    hop: Hop
    account: str
    source: Address
    destination: Address
    identity: Identity
    max_forwards: int = 70
    activeflow_id: str = ""
    flow_id: str = ""
    application_id: str = ""
    event_url: str = ""
    event_method: str = ""
    event_asked: bool = False
    master: Call | None = None
    beside: rtp.Leg | None = None
    prefer: str = ""  # the codec that is offered first


class Outgoing:
    """Places calls. `add` and `remove` are the switch's."""

    def __init__(
        self,
        equipment: Equipment,
        endpoint: sip.Endpoint,
        shell: Shell,
        advertise: str,
        add: Callable[[Call], None],
        remove: Callable[[Call], None],
    ) -> None:
        self._kit = equipment
        self._endpoint = endpoint
        self._shell = shell
        self._advertise = advertise
        self._add = add
        self._remove = remove

    def place(self, order: Order, listener: Listener) -> Call:
        """Send the INVITE. Raises Exhausted where there is no media port, ProtocolError or ValueError where the target is none."""
        kit, flow = self._kit, order.hop.flow
        local = self._advertise or flow.local[0]
        leg = kit.engine.open_leg("::" if ":" in local else None, beside=order.beside)
        created = round(kit.clock.wall(), 6)
        codecs = preferring(kit.settings.server.codecs, order.prefer)
        own = own_media(order.hop.srtp or kit.settings.server.srtp, codecs, local, leg.port, round(created * 1000))
        media = Media(leg, own, kit)
        headers = [*order.identity.headers, *(order.hop.trunk.headers.items() if order.hop.trunk is not None else ())]
        try:
            session = self._endpoint.invite(
                order.hop.uri,
                local=flow,
                from_uri=order.identity.uri,
                from_name=order.identity.name,
                to_uri=order.hop.to_uri or None,
                body=media.offer(),
                headers=headers,
                credentials=_credentials(order.hop.trunk),
                max_forwards=order.max_forwards,
                now=kit.clock.now(),
            )
        except BaseException:
            leg.close()
            raise
        facts = Facts(
            id=new_id(),
            account=order.account,
            activeflow_id=order.activeflow_id,
            source=order.source,
            destination=order.destination,
            created=created,
            flow_id=order.flow_id,
            application_id=order.application_id,
            event_url=order.event_url,
            event_method=order.event_method,
            event_asked=order.event_asked,
            master_call_id=order.master.facts.id if order.master is not None else "",
            user=order.hop.user,
        )
        call = Call(facts, session, media, kit, self._shell.pump, self._remove)
        self._add(call)
        if order.master is not None:
            order.master.chain(call)
        log.info("call out", call_id=facts.id, sip_call_id=session.call_id, master_call_id=facts.master_call_id)
        call.follow(listener)
        self._shell.pump()
        return call


def _credentials(trunk: Trunk | None) -> sip.Credentials | None:
    return sip.Credentials(trunk.username, trunk.password) if trunk is not None and trunk.username else None


def preferring(codecs: list[str], first: str) -> list[str]:
    """The codecs that can be offered, `first` before the others: two legs that speak the same are relayed."""
    return sorted(usable(codecs), key=lambda name: name != first)
