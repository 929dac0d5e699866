"""Where a SIP URI leads: what is asked for, in which order it comes, how long it is remembered, and what is said where nothing comes."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tapeline.core.errors import Unavailable
from tapeline.sip.transports.resolver import Answer, Naptr, NoAnswer, Resolver, Srv, Target, read_hosts
from tapeline.testing.clock import FakeClock

D2U = Naptr(20, 10, "s", "SIP+D2U", "_sip._udp.example.com")
D2T = Naptr(10, 20, "S", "sip+d2t", "_sip._tcp.example.com")
TLS = Naptr(10, 10, "s", "SIPS+D2T", "_sips._tcp.example.com")
OTHER = Naptr(1, 1, "u", "E2U+sip", "x.example.com")


class Zone:
    """Names and their records; counts what is asked."""

    def __init__(self, records: dict[tuple[str, str], Any], ttl: float = 60.0) -> None:
        self.records = records
        self.ttl = ttl
        self.asked: Counter[tuple[str, str]] = Counter()
        self.clock = FakeClock(now=100.0)

    async def __call__(self, name: str, kind: str) -> Answer:
        self.asked[name, kind] += 1
        found = self.records.get((name, kind), ())
        if isinstance(found, Exception):
            raise found
        return Answer(tuple(found), self.ttl if found else 0.0)

    def resolver(self, chance: float = 0.0, **more: Any) -> Resolver:
        return Resolver(self, hosts={}, clock=self.clock.now, chance=lambda: chance, **more)


HOSTS = {("a.example.com", "A"): ["192.0.2.1"], ("b.example.com", "A"): ["192.0.2.2"], ("b.example.com", "AAAA"): ["2001:db8::2"]}


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("sip:x@192.0.2.9", Target("udp", "192.0.2.9", 5060)),
        ("sip:192.0.2.9:5070;transport=TCP", Target("tcp", "192.0.2.9", 5070)),
        ("sips:192.0.2.9", Target("tls", "192.0.2.9", 5061)),
        ("sip:192.0.2.9;transport=tls", Target("tls", "192.0.2.9", 5061)),
        ("sips:x@[2001:db8::1];transport=tcp", Target("tls", "2001:db8::1", 5061)),
    ],
)
async def test_an_address_literal_is_not_asked_for(uri: str, expected: Target) -> None:
    zone = Zone({})
    assert await zone.resolver().resolve(uri) == [expected] and not zone.asked


async def test_a_port_means_no_srv_and_a_transport_no_naptr() -> None:
    zone = Zone({**HOSTS, ("_sip._tcp.example.com", "SRV"): [Srv(1, 1, 5080, "a.example.com")]})
    resolver = zone.resolver()
    assert await resolver.resolve("sip:A.example.com.:5070") == [Target("udp", "192.0.2.1", 5070)]
    assert {kind for _, kind in zone.asked} == {"A", "AAAA"}
    zone.asked.clear()
    assert await resolver.resolve("sip:example.com;transport=tcp") == [Target("tcp", "192.0.2.1", 5080)]
    assert "NAPTR" not in {kind for _, kind in zone.asked}


async def test_naptr_names_transports_srv_places_and_a_addresses() -> None:
    zone = Zone({
        **HOSTS,
        ("example.com", "NAPTR"): [D2U, OTHER, D2T],
        ("_sip._tcp.example.com", "SRV"): [Srv(2, 1, 5061, "b.example.com"), Srv(1, 1, 5060, "a.example.com")],
        ("_sip._udp.example.com", "SRV"): [Srv(1, 1, 5062, "a.example.com"), Srv(1, 0, 0, ".")],
    })  # fmt: skip
    assert await zone.resolver().resolve("sip:bob@example.com") == [
        Target("tcp", "192.0.2.1", 5060),
        Target("tcp", "192.0.2.2", 5061),
        Target("tcp", "2001:db8::2", 5061),
        Target("udp", "192.0.2.1", 5062),
    ]


async def test_sips_takes_nothing_but_tls() -> None:
    zone = Zone({**HOSTS, ("example.com", "NAPTR"): [D2U, D2T, TLS], ("_sips._tcp.example.com", "SRV"): [Srv(1, 1, 443, "a.example.com")]})
    assert await zone.resolver().resolve("sips:example.com") == [Target("tls", "192.0.2.1", 443)]


async def test_without_naptr_every_srv_is_asked_for_and_without_srv_the_name_itself() -> None:
    zone = Zone({**HOSTS, ("_sip._tcp.example.com", "SRV"): [Srv(1, 1, 5060, "b.example.com")]})
    assert [target.transport for target in await zone.resolver().resolve("sip:example.com")] == ["tcp", "tcp"]
    services = {name.removesuffix(".example.com") for name, kind in zone.asked if kind == "SRV"}
    assert services == {"_sip._udp", "_sip._tcp", "_sips._tcp"}
    assert await zone.resolver().resolve("sip:b.example.com") == [Target("udp", "192.0.2.2", 5060), Target("udp", "2001:db8::2", 5060)]
    assert await zone.resolver().resolve("sips:a.example.com") == [Target("tls", "192.0.2.1", 5061)]


@pytest.mark.parametrize(("chance", "expected"), [(0.0, ["192.0.2.1", "192.0.2.2"]), (0.1, ["192.0.2.1", "192.0.2.2"]),
                                                  (0.3, ["192.0.2.2", "192.0.2.1"]), (1.0, ["192.0.2.2", "192.0.2.1"])])  # fmt: skip
async def test_weights_decide_among_equals(chance: float, expected: list[str]) -> None:
    records = [Srv(1, 3, 5060, "192.0.2.2"), Srv(1, 1, 5060, "192.0.2.1"), Srv(2, 99, 5060, "192.0.2.3")]
    zone = Zone({("_sip._udp.example.com", "SRV"): records})
    found = await zone.resolver(chance).resolve("sip:example.com;transport=udp")
    assert [target.host for target in found] == [*expected, "192.0.2.3"]


async def test_answers_are_kept_as_long_as_they_say_and_nothing_for_a_while() -> None:
    zone = Zone(dict(HOSTS), ttl=30.0)
    resolver = zone.resolver()
    for _ in range(3):
        await resolver.resolve("sip:a.example.com:5060")
    assert zone.asked == {("a.example.com", "A"): 1, ("a.example.com", "AAAA"): 1}
    zone.clock.advance(11.0)
    await resolver.resolve("sip:a.example.com:5060")
    assert zone.asked == {("a.example.com", "A"): 1, ("a.example.com", "AAAA"): 2}
    zone.clock.advance(20.0)
    await resolver.resolve("sip:a.example.com:5060")
    assert zone.asked["a.example.com", "A"] == 2


async def test_memory_is_bounded() -> None:
    zone = Zone({(f"h{number}.x", "A"): ["192.0.2.1"] for number in range(2500)})
    resolver = zone.resolver()
    for number in range(2500):
        await resolver.resolve(f"sip:h{number}.x:5060")
    assert len(resolver._cache) == 4096


async def test_there_are_so_many_targets_and_each_once() -> None:
    zone = Zone({("_sip._udp.example.com", "SRV"): [Srv(1, 1, 5060, f"192.0.2.{number % 40}") for number in range(100)]})
    found = await zone.resolver().resolve("sip:example.com;transport=udp")
    assert len(found) == len(set(found)) == 16


async def test_a_server_that_knows_only_addresses_is_enough() -> None:
    away = NoAnswer("refused")
    zone = Zone({**HOSTS, ("a.example.com", "NAPTR"): away, ("_sip._udp.a.example.com", "SRV"): away, ("a.example.com", "AAAA"): away})
    assert await zone.resolver().resolve("sip:a.example.com") == [Target("udp", "192.0.2.1", 5060)]


@pytest.mark.parametrize(
    ("records", "uri", "said"),
    [
        ({}, "sip:nowhere.example", "no address is known"),
        ({("x.example", "A"): NoAnswer("timed out")}, "sip:x.example:5060", "no name server answers .* timed out"),
        ({}, "sip:x.example;transport=ws", "not spoken"),
        ({}, "tel:+1555", "names no host"),
    ],
)
async def test_what_leads_nowhere_says_why(records: dict[tuple[str, str], Any], uri: str, said: str) -> None:
    with pytest.raises(Unavailable, match=said):
        await Zone(records).resolver().resolve(uri)


async def test_looking_up_has_a_time_limit() -> None:
    async def for_ever(name: str, kind: str) -> Answer:
        await asyncio.Event().wait()
        return Answer()

    with pytest.raises(Unavailable, match="took more than"):
        await Resolver(for_ever, hosts={}, timeout_s=0.01).resolve("sip:example.com")


async def test_the_hosts_file_comes_first(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text("# nothing\n::1 localhost\n127.0.0.1\tlocalhost Other # more\nnonsense here\n")
    hosts = read_hosts(path)
    assert hosts == {"localhost": ("127.0.0.1", "::1"), "other": ("127.0.0.1",)} and read_hosts(tmp_path / "absent") == {}
    zone = Zone({})
    resolver = Resolver(zone, hosts=hosts)
    assert await resolver.resolve("sip:LocalHost:5070") == [Target("udp", "127.0.0.1", 5070), Target("udp", "::1", 5070)]
    assert not zone.asked
