"""A name server for tests: a zone of a few records, on a free UDP port of the loopback, on the running event loop.

It knows nothing of SIP. What is not in the zone does not exist.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

__all__ = ["NameServer"]

TTL = 60


class NameServer(asyncio.DatagramProtocol):
    """`zone` maps (name, kind) to records as they stand in a zone file: `{("x.example.", "A"): ["192.0.2.1"]}`."""

    def __init__(self, zone: Mapping[tuple[str, str], Sequence[str]]) -> None:
        self._zone = {(name.lower(), kind): list(records) for (name, kind), records in zone.items()}
        self._names = {name for name, _ in self._zone}
        self._transport: asyncio.DatagramTransport
        self.asked = 0
        self.address = ("127.0.0.1", 0)

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=self.address)
        self.address = self._transport.get_extra_info("sockname")
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._transport.close()
        await asyncio.sleep(0)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.asked += 1
        query = dns.message.from_wire(data)
        (question,) = query.question
        name, kind = question.name.to_text().lower(), dns.rdatatype.to_text(question.rdtype)
        response = dns.message.make_response(query, recursion_available=True)
        records = self._zone.get((name, kind), ())
        if records:
            response.answer.append(dns.rrset.from_text(question.name, TTL, "IN", kind, *records))
        elif name not in self._names:
            response.set_rcode(dns.rcode.NXDOMAIN)
        self._transport.sendto(response.to_wire(), addr)
