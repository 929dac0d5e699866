"""From a party that a flow or an API names to the ways that lead there.

A party may be in several places at once (a user's phones), each of which is a branch and rings by itself; and each branch may have
several hops that are tried one after the other until one can be reached. Who is asked first, and for how long, is the dialer's.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from tapeline import sip
from tapeline.calls.outgoing import Hop
from tapeline.calls.views import Address
from tapeline.core.errors import TapelineError
from tapeline.flow import Party
from tapeline.sip.transports.shell import Shell

__all__ = ["Branch", "NoWay", "Parties"]


class NoWay(TapelineError):
    """Nothing leads to the party. `cause` and `status` say it as the answer of a peer would have."""

    def __init__(self, message: str, cause: str, status: int) -> None:
        super().__init__(message)
        self.cause = cause
        self.status = status


@dataclass(frozen=True, slots=True)
class Branch:
    """One place that a party may be in, and the hops that lead there, best first."""

    party: Address
    hops: tuple[Hop, ...]


class Parties:
    def __init__(self, shell: Shell) -> None:
        self._shell = shell

    async def find(self, party: Party) -> list[Branch]:
        """Where `party` is. Raises NoWay."""
        if party.kind in ("sip", ""):
            return [self._sip(party)]
        raise NoWay(f"nobody can be dialled as {party.kind!r}", "NOT_FOUND", 404)

    def _sip(self, party: Party) -> Branch:
        uri = party.target if party.target.lower().startswith(("sip:", "sips:")) else f"sip:{party.target}"
        try:
            parsed = sip.parse_uri(uri)
            ipaddress.ip_address(parsed.host)
            flow = self._shell.flow_to("tcp" if parsed.transport == "tcp" else "udp", (parsed.host, parsed.port or 5060))
        except (sip.MalformedUri, ValueError, LookupError) as error:
            raise NoWay(f"{party.target!r} cannot be dialled: {error}", "NOT_FOUND", 404) from error
        return Branch(Address(party.kind or "sip", party.target, party.name), (Hop(uri, flow),))
