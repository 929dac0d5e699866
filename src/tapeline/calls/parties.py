"""From a party that a flow or an API names to the ways that lead there.

    user, extension, agent, device, line    the phones that the user has registered, each a branch of its own
    sip                                     a URI, its host looked up
    tel                                     the trunks that take the number, tried in order

A party may be in several places at once, each of which rings by itself: its branches. A branch may have several hops, which are tried
one after the other until one can be reached. Who is asked first, and for how long, is the dialer's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from tapeline import sip
from tapeline.calls.outgoing import Hop
from tapeline.calls.trunks import Trunks
from tapeline.calls.views import Address
from tapeline.core.clock import Clock
from tapeline.core.errors import TapelineError, Unavailable
from tapeline.core.settings import User
from tapeline.flow import Party
from tapeline.sip.transports.shell import Shell
from tapeline.sip.uri import host_port

__all__ = ["Binding", "Branch", "NoWay", "Parties"]

USERS = ("user", "extension", "agent", "device", "line", "endpoint")
_NUMBER = re.compile(r"\+?[0-9*#]+")
_SEPARATORS = re.compile(r"[-.()]")  # RFC 3966 section 3: for the eye only


class NoWay(TapelineError):
    """Nothing leads to the party. `cause` and `status` say it as the answer of a peer would have."""

    def __init__(self, message: str, cause: str, status: int) -> None:
        super().__init__(message)
        self.cause = cause
        self.status = status


class Binding(Protocol):
    """A phone that is registered."""

    @property
    def uri(self) -> str: ...

    @property
    def flow(self) -> sip.Flow: ...


@dataclass(frozen=True, slots=True)
class Branch:
    """One place that a party may be in, and the hops that lead there, best first."""

    party: Address
    hops: tuple[Hop, ...]
    delay_s: float = 0.0  # before it rings
    limit_s: float = 0.0  # how long; 0: as long as all


class Parties:
    """`registered(username, now)` gives the phones of a user, best first."""

    def __init__(
        self,
        shell: Shell,
        clock: Clock,
        users: Sequence[User],
        trunks: Trunks,
        registered: Callable[[str, float], Sequence[Binding]],
        advertise: str,
    ) -> None:
        self._shell = shell
        self._clock = clock
        self._trunks = trunks
        self._registered = registered
        self._advertise = advertise
        self._users: dict[str, User] = {}
        for key in ("id", "extension", "name"):  # a name wins over an extension, an extension over an id
            self._users |= {getattr(user, key).lower(): user for user in users if getattr(user, key)}
        for user in users:
            self._users.setdefault(user.id.lower().replace("-", ""), user)  # as KAZOO's API shows it

    def user(self, name: str) -> User | None:
        """The user of that name, extension or id."""
        return self._users.get(name.lower())

    async def find(self, party: Party) -> list[Branch]:
        """Where `party` is. Raises NoWay."""
        kind, target = party.kind.lower(), party.target.strip()
        if kind == "tel" or (kind == "" and _NUMBER.fullmatch(target) and self.user(target) is None):
            return [await self._number(party, target.removeprefix("tel:").partition(";")[0])]
        if kind in USERS or (kind == "" and "@" not in target and self.user(target) is not None):
            return self._phones(party, target)
        if kind in ("sip", ""):
            return await self._uri(party, target)
        raise NoWay(f"nobody can be dialled as {party.kind!r}", "NOT_FOUND", 404)

    # -- users ---------------------------------------------------------------------------------------------------------

    def _phones(self, party: Party, name: str) -> list[Branch]:
        user = self.user(name.removeprefix("sip:").partition("@")[0])
        if user is None:
            raise NoWay(f"there is no user {name!r}", "NOT_FOUND", 404)
        bindings = self._registered(user.name, self._clock.now())
        if not bindings:
            raise NoWay(f"no phone of {user.name!r} is registered", "NOT_REGISTERED", 480)
        shown = Address(party.kind or "extension", party.target, party.name or user.name)
        return [Branch(shown, (self._phone(user, binding),)) for binding in bindings]

    def _phone(self, user: User, binding: Binding) -> Hop:
        own = host_port(self._advertise or binding.flow.local[0])
        return Hop(binding.uri, binding.flow, to_uri=f"sip:{user.name}@{own}", srtp=user.srtp, user=user.name)

    # -- URIs ----------------------------------------------------------------------------------------------------------

    async def _uri(self, party: Party, target: str) -> list[Branch]:
        uri = target if target.lower().startswith(("sip:", "sips:")) else f"sip:{target}"
        try:
            parsed = sip.parse_uri(uri)
        except sip.MalformedUri as error:
            raise NoWay(f"{target!r} is no SIP address: {error.message}", "NOT_FOUND", 404) from error
        flows = await self._flows(parsed)
        if any(self._ours(flow) for flow in flows):
            if self.user(parsed.plain_user) is not None:
                return self._phones(party, parsed.plain_user)
            raise NoWay(f"{target!r} leads back to this server", "LOOP", 482)
        return [Branch(Address(party.kind or "sip", party.target, party.name), tuple(Hop(uri, flow) for flow in flows))]

    async def redirected(self, uri: str) -> tuple[Hop, ...]:
        """The hops to a Contact of a 3xx. Raises NoWay."""
        try:
            parsed = sip.parse_uri(uri)
        except sip.MalformedUri as error:
            raise NoWay(f"redirected to what is no SIP address: {error.message}", "NOT_FOUND", 404) from error
        if parsed.scheme == "tel":
            return (await self._number(Party("tel", parsed.user), parsed.user)).hops
        flows = await self._flows(parsed)
        if any(self._ours(flow) for flow in flows):
            raise NoWay("redirected back to this server", "LOOP", 482)
        return tuple(Hop(uri, flow) for flow in flows)

    def _ours(self, flow: sip.Flow) -> bool:
        """Whether it leads to a listener of ours."""
        host, port = flow.remote
        local = {flow.local[0], self._advertise}
        return any(transport == flow.transport and port == bound[1] and host in local for transport, bound in self._shell.listeners)

    async def _flows(self, uri: sip.Uri) -> list[sip.Flow]:
        """Flows to each address of the URI's host, best first."""
        if not uri.is_sip or not uri.host:
            raise NoWay(f"a {uri.scheme} address cannot be dialled", "NOT_FOUND", 404)
        try:
            return await self._shell.flows_to(uri)
        except Unavailable as error:
            raise NoWay(f"no way leads to {uri.host!r}: {error.message}", "UNREACHABLE", 503) from error

    # -- numbers -------------------------------------------------------------------------------------------------------

    async def _number(self, party: Party, number: str) -> Branch:
        number = _SEPARATORS.sub("", number)
        if not _NUMBER.fullmatch(number):
            raise NoWay(f"{number!r} is no number", "NOT_FOUND", 404)
        hops: list[Hop] = []
        failure = NoWay(f"no trunk takes {number!r}", "NOT_FOUND", 404)
        for trunk in self._trunks.for_number(number):
            uri = self._trunks.dialled(number, trunk)
            try:
                flows = await self._flows(sip.parse_uri(uri))
            except (NoWay, sip.MalformedUri) as error:
                failure = error if isinstance(error, NoWay) else NoWay(f"{number!r} is no number", "NOT_FOUND", 404)
                continue
            hops += [Hop(uri, flow, trunk=trunk, srtp=trunk.srtp) for flow in flows]
        if not hops:
            raise failure
        return Branch(Address(party.kind or "tel", party.target, party.name), tuple(hops))

