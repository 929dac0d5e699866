"""From a SIP URI to the addresses that it stands for (RFC 3263): NAPTR names transports, SRV hosts and ports, A and AAAA addresses.

What the URI says itself is not asked for: an address literal needs no lookup, a port no SRV, a transport no NAPTR; `sips` is TLS. Among
SRV records of one priority chance decides by their weight (RFC 2782). Answers are kept as long as they say, within bounds, and that there
is none for a few seconds. Names in the system's hosts file are not asked for either. Where nobody answers for NAPTR or SRV, the plain
address is tried. The whole has a time limit.
"""

from __future__ import annotations

import asyncio
import ipaddress
import random
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dns.asyncresolver
import dns.exception
import dns.rdatatype
import dns.resolver

from tapeline.core.errors import Unavailable
from tapeline.sip.config import Transport
from tapeline.sip.uri import Uri, parse_uri

__all__ = ["Answer", "Lookup", "Naptr", "NoAnswer", "Resolver", "Srv", "Target", "read_hosts", "system_lookup"]

_PORTS = {"udp": 5060, "tcp": 5060, "tls": 5061}
_SRV_NAMES: dict[str, str] = {"udp": "_sip._udp.", "tcp": "_sip._tcp.", "tls": "_sips._tcp."}
_SERVICES: dict[str, Transport] = {"SIP+D2U": "udp", "SIP+D2T": "tcp", "SIPS+D2T": "tls"}
_SHORTEST_TTL, _LONGEST_TTL, _NOTHING_TTL = 1.0, 3600.0, 10.0
_MOST_NAMES = 4096
_MOST_RECORDS = 32  # of one kind for one name
_MOST_TARGETS = 16


@dataclass(frozen=True, slots=True)
class Target:
    """One place to try."""

    transport: Transport
    host: str  # an address literal
    port: int


@dataclass(frozen=True, slots=True)
class Srv:
    priority: int
    weight: int
    port: int
    host: str


@dataclass(frozen=True, slots=True)
class Naptr:
    order: int
    preference: int
    flags: str
    service: str
    replacement: str


@dataclass(frozen=True, slots=True)
class Answer:
    """Records of one kind: `str` addresses for A and AAAA, `Srv`, `Naptr`. None at all is an answer, too."""

    records: tuple[Any, ...] = ()
    ttl: float = 0.0


class NoAnswer(Exception):
    """No server could be asked, or none answered."""


Lookup = Callable[[str, str], Awaitable[Answer]]  # (name, "A" | "AAAA" | "SRV" | "NAPTR"); raises NoAnswer


class Resolver:
    """`await resolve(uri)`. `lookup` asks the network; `chance()` gives numbers from 0 to 1; `hosts` are names that need no asking."""

    def __init__(
        self,
        lookup: Lookup | None = None,
        *,
        hosts: dict[str, tuple[str, ...]] | None = None,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
        timeout_s: float = 8.0,
    ) -> None:
        self._lookup = lookup or system_lookup()
        self._hosts = read_hosts() if hosts is None else hosts
        self._clock = clock
        self._chance = chance
        self._timeout_s = timeout_s
        self._cache: OrderedDict[tuple[str, str], tuple[float, tuple[Any, ...]]] = OrderedDict()

    async def resolve(self, uri: Uri | str) -> list[Target]:
        """Where `uri` leads, best first. Raises Unavailable, which says why; MalformedUri."""
        parsed = parse_uri(uri) if isinstance(uri, str) else uri
        if not parsed.is_sip or not parsed.host:
            raise Unavailable(f"a {parsed.scheme} address names no host")
        try:
            async with asyncio.timeout(self._timeout_s):
                found = await self._resolve(parsed)
        except TimeoutError as error:
            said = f"looking up {parsed.host!r} took more than {self._timeout_s:g} s"
            raise Unavailable(said, hint="are the name servers of /etc/resolv.conf reached?") from error
        except NoAnswer as error:
            raise Unavailable(f"no name server answers for {parsed.host!r}: {error}") from error
        if not found:
            raise Unavailable(f"no address is known for the host {parsed.host!r}", hint="check its name, or give its IP address")
        return list(dict.fromkeys(found))[:_MOST_TARGETS]

    async def _resolve(self, uri: Uri) -> list[Target]:
        transport = _stated(uri)
        default: Transport = transport or ("tls" if uri.scheme == "sips" else "udp")
        host = uri.host.rstrip(".").lower()
        if _is_literal(host) or uri.port is not None:
            return await self._at(default, host, uri.port or _PORTS[default])
        if transport is not None:
            return await self._by_srv([(transport, _SRV_NAMES[transport] + host)]) or await self._at(default, host, _PORTS[default])
        services = await self._services(host, secure=uri.scheme == "sips")
        if not services:
            kinds: tuple[Transport, ...] = ("tls",) if uri.scheme == "sips" else ("udp", "tcp", "tls")
            services = [(kind, _SRV_NAMES[kind] + host) for kind in kinds]
        return await self._by_srv(services) or await self._at(default, host, _PORTS[default])

    async def _services(self, host: str, *, secure: bool) -> list[tuple[Transport, str]]:
        """What NAPTR offers that we speak: the transport, and the name to ask SRV for."""
        records = sorted(await self._ask_perhaps(host, "NAPTR"), key=lambda record: (record.order, record.preference))
        fitting = [record for record in records if record.flags.lower() == "s" and record.service.upper() in _SERVICES]
        found = [(_SERVICES[record.service.upper()], record.replacement) for record in fitting]
        return [item for item in found if item[0] == "tls" or not secure]

    async def _by_srv(self, services: Sequence[tuple[Transport, str]]) -> list[Target]:
        """All targets of these services, one service after the other."""
        answers = await asyncio.gather(*(self._ask_perhaps(name, "SRV") for _, name in services))
        wanted = [
            (transport, record)
            for (transport, _), records in zip(services, answers, strict=True)
            for record in self._ordered(records)
            if record.host not in ("", ".")
        ]
        found = await asyncio.gather(*(self._at(transport, record.host, record.port) for transport, record in wanted[:_MOST_TARGETS]))
        return [target for several in found for target in several]

    def _ordered(self, records: Iterable[Srv]) -> list[Srv]:
        """By priority, and among equals by chance and weight (RFC 2782)."""
        ordered: list[Srv] = []
        waiting = sorted(records, key=lambda record: (record.priority, record.weight))
        while waiting:
            equals = [record for record in waiting if record.priority == waiting[0].priority]
            left = self._chance() * sum(record.weight for record in equals)
            chosen = equals[-1]
            for record in equals:
                left -= record.weight
                if left < 0:
                    chosen = record
                    break
            ordered.append(chosen)
            waiting.remove(chosen)
        return ordered

    async def _at(self, transport: Transport, host: str, port: int) -> list[Target]:
        host = host.rstrip(".").lower()
        if _is_literal(host):
            return [Target(transport, host, port)]
        if host in self._hosts:
            return [Target(transport, address, port) for address in self._hosts[host]]
        answers = await asyncio.gather(self._ask(host, "A"), self._ask(host, "AAAA"), return_exceptions=True)
        addresses = [address for answer in answers if not isinstance(answer, BaseException) for address in answer]
        if not addresses:  # one of the two is enough; without any, a server that is away is the reason
            for answer in answers:
                if isinstance(answer, BaseException):
                    raise answer
        return [Target(transport, address, port) for address in addresses]

    async def _ask_perhaps(self, name: str, kind: str) -> tuple[Any, ...]:
        """The records, none where nobody answers: what knows only addresses drops other questions."""
        try:
            return await self._ask(name, kind)
        except NoAnswer:
            return ()

    async def _ask(self, name: str, kind: str) -> tuple[Any, ...]:
        """The records, from memory while they are good. A name server that is away fails only what is not known."""
        now = self._clock()
        kept = self._cache.get((name, kind))
        if kept is not None and kept[0] > now:
            return kept[1]
        answer = await self._lookup(name, kind)
        records = answer.records[:_MOST_RECORDS]
        ttl = min(max(answer.ttl, _SHORTEST_TTL), _LONGEST_TTL) if records else _NOTHING_TTL
        self._cache[name, kind] = now + ttl, records
        self._cache.move_to_end((name, kind))
        if len(self._cache) > _MOST_NAMES:
            self._cache.popitem(last=False)
        return records


def _stated(uri: Uri) -> Transport | None:
    """The transport that the URI itself names. Raises Unavailable for one that we do not speak."""
    if uri.transport in ("", "udp", "tcp", "tls"):
        if uri.scheme == "sips" and uri.transport:
            return "tls"
        return uri.transport or None  # type: ignore[return-value]  # one of those just named
    raise Unavailable(f"the transport {uri.transport!r} is not spoken here", hint="udp, tcp and tls are")


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def read_hosts(path: Path = Path("/etc/hosts")) -> dict[str, tuple[str, ...]]:
    """Names and their addresses, IPv4 first; nothing where the file cannot be read."""
    found: dict[str, list[str]] = {}
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        address, *names = line.partition("#")[0].split() or [""]
        if _is_literal(address):
            for name in names:
                found.setdefault(name.lower(), []).append(address)
    return {name: tuple(sorted(dict.fromkeys(several), key=lambda address: ":" in address)) for name, several in found.items()}


@dataclass(slots=True)
class _System:
    """The name servers of this machine, or those given as (host, port)."""

    servers: Sequence[tuple[str, int]] = ()
    resolver: dns.asyncresolver.Resolver | None = field(default=None)

    async def __call__(self, name: str, kind: str) -> Answer:
        try:
            if self.resolver is None:
                self.resolver = self._make()
            found = await self.resolver.resolve(name, kind, search=kind in ("A", "AAAA"), raise_on_no_answer=False)
        except dns.resolver.NXDOMAIN:
            return Answer()
        except dns.exception.DNSException as error:
            raise NoAnswer(str(error)) from error
        if found.rrset is None:
            return Answer()
        return Answer(tuple(_record(record) for record in found.rrset), float(found.rrset.ttl))

    def _make(self) -> dns.asyncresolver.Resolver:
        resolver = dns.asyncresolver.Resolver(configure=not self.servers)
        if self.servers:
            resolver.nameservers = [host for host, _ in self.servers]
            resolver.port = self.servers[0][1]
        resolver.timeout, resolver.lifetime = 1.0, 2.5
        return resolver


def system_lookup(servers: Sequence[tuple[str, int]] = ()) -> Lookup:
    """Asks the name servers of this machine, or `servers`, which share one port."""
    return _System(servers)


def _record(record: Any) -> Any:
    match record.rdtype:
        case dns.rdatatype.SRV:
            return Srv(record.priority, record.weight, record.port, record.target.to_text(omit_final_dot=True))
        case dns.rdatatype.NAPTR:
            flags, service = record.flags.decode("latin-1"), record.service.decode("latin-1")
            return Naptr(record.order, record.preference, flags, service, record.replacement.to_text(omit_final_dot=True))
        case _:
            return record.address
