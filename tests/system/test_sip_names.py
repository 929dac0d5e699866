"""A call to a name: NAPTR, SRV and A from a real name server, over real sockets to a real listener."""

from __future__ import annotations

import pytest

from tapeline.core.clock import SystemClock
from tapeline.core.errors import Unavailable
from tapeline.sip import Endpoint, EndpointConfig, parse_uri
from tapeline.sip.transports.resolver import Resolver, Target, system_lookup
from tapeline.sip.transports.shell import Shell
from tapeline.testing.nameserver import NameServer

ZONE = {
    ("example.com.", "NAPTR"): ['10 10 "s" "SIP+D2T" "" _sip._tcp.example.com.', '20 10 "s" "SIP+D2U" "" _sip._udp.example.com.'],
    ("_sip._tcp.example.com.", "SRV"): ["10 5 5070 one.example.com.", "20 5 5071 two.example.com."],
    ("_sip._udp.example.com.", "SRV"): ["10 5 5072 one.example.com."],
    ("one.example.com.", "A"): ["127.0.0.2"],
    ("two.example.com.", "A"): ["127.0.0.3"],
    ("two.example.com.", "AAAA"): ["::1"],
}


async def test_names_are_looked_up_and_remembered() -> None:
    async with NameServer(ZONE) as server:
        resolver = Resolver(system_lookup([server.address]), hosts={})
        found = await resolver.resolve("sip:bob@example.com")
        assert found == [
            Target("tcp", "127.0.0.2", 5070),
            Target("tcp", "127.0.0.3", 5071),
            Target("tcp", "::1", 5071),
            Target("udp", "127.0.0.2", 5072),
        ]
        asked = server.asked
        assert await resolver.resolve("sip:bob@example.com") == found and server.asked == asked
        with pytest.raises(Unavailable, match="no address is known"):
            await resolver.resolve("sip:nowhere.example")


async def test_flows_lead_as_far_as_there_are_listeners() -> None:
    async with NameServer(ZONE) as server:
        endpoint = Endpoint(EndpointConfig(), lambda count: bytes(count))
        shell = Shell(endpoint, SystemClock(), lambda event: None, resolver=Resolver(system_lookup([server.address]), hosts={}))
        await shell.listen("udp:127.0.0.1:0")
        (flow,) = await shell.flows_to(parse_uri("sip:bob@example.com"))
        assert (flow.transport, flow.remote) == ("udp", ("127.0.0.2", 5072))
        with pytest.raises(Unavailable, match="no tcp listener"):
            await shell.flows_to(parse_uri("sip:bob@example.com;transport=tcp"))
        await shell.close()


async def test_a_name_server_that_is_away_is_named() -> None:
    async with NameServer({}) as server:
        nobody = server.address
    with pytest.raises(Unavailable, match="no name server answers"):
        await Resolver(system_lookup([nobody]), hosts={}).resolve("sip:x.example:5060")
