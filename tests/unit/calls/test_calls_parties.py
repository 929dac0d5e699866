"""From parties to the ways that lead there, without a network."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tapeline import sip
from tapeline.calls.parties import Branch, NoWay, Parties
from tapeline.calls.trunks import Trunks
from tapeline.core.settings import Trunk, User
from tapeline.flow import Party
from tapeline.sip.transports.resolver import Answer, Resolver
from tapeline.sip.transports.shell import Shell
from tapeline.testing import FakeClock

HERE = ("192.0.2.1", 5060)
USERS = [User(name="ann", extension="100", id="u-1"), User(name="bob", extension="101"), User(name="100x", extension="ann")]
TRUNKS = [Trunk(name="a", target="192.0.2.8"), Trunk(name="b", target="192.0.2.9:5070;transport=tcp", match="+49", strip=1, prefix="00")]


async def nobody(name: str, kind: str) -> Answer:
    """A network without names."""
    return Answer()


def listening() -> Shell:
    """Listens on UDP and TCP, as far as anybody can tell."""
    endpoint = sip.Endpoint(sip.EndpointConfig(), lambda count: bytes(count))
    shell = Shell(endpoint, FakeClock(), lambda event: None, resolver=Resolver(nobody, hosts={}))
    shell.listeners += [("udp", HERE), ("tcp", HERE)]
    return shell


@dataclass(frozen=True)
class Phone:
    uri: str
    flow: sip.Flow


PHONES = [Phone(f"sip:ann@192.0.2.{n}:40000", sip.Flow("udp", HERE, (f"192.0.2.{n}", 40000))) for n in (20, 21)]


@pytest.fixture
def parties() -> Parties:
    return Parties(listening(), FakeClock(), USERS, Trunks(TRUNKS), lambda name, now: PHONES if name == "ann" else (), "")


def hops(branches: list[Branch]) -> list[list[str]]:
    return [[f"{hop.uri} {hop.flow.transport} {hop.flow.remote[0]}:{hop.flow.remote[1]}" for hop in branch.hops] for branch in branches]


@pytest.mark.parametrize("kind", ["user", "extension", "agent", "device", ""])
@pytest.mark.parametrize("name", ["ann", "ANN", "100", "u-1"])
async def test_all_phones_of_a_user_ring(parties: Parties, kind: str, name: str) -> None:
    found = await parties.find(Party(kind, name))
    assert hops(found) == [["sip:ann@192.0.2.20:40000 udp 192.0.2.20:40000"], ["sip:ann@192.0.2.21:40000 udp 192.0.2.21:40000"]]
    assert found[0].hops[0].to_uri == "sip:ann@192.0.2.1"
    assert found[0].party.target == name


async def test_an_address_of_ours_is_its_user(parties: Parties) -> None:
    assert len(await parties.find(Party("sip", "ann@192.0.2.1"))) == 2
    with pytest.raises(NoWay) as raised:
        await parties.find(Party("sip", "sip:1000@192.0.2.1:5060"))
    assert (raised.value.cause, raised.value.status) == ("LOOP", 482)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("sip:bob@192.0.2.7", "sip:bob@192.0.2.7 udp 192.0.2.7:5060"),
        ("bob@192.0.2.7:5080;transport=tcp", "sip:bob@192.0.2.7:5080;transport=tcp tcp 192.0.2.7:5080"),
        ("192.0.2.7", "sip:192.0.2.7 udp 192.0.2.7:5060"),
    ],
)
async def test_an_address(parties: Parties, target: str, expected: str) -> None:
    assert hops(await parties.find(Party("sip", target))) == [[expected]]


async def test_a_number_goes_over_the_trunks_that_take_it(parties: Parties) -> None:
    first, second = "192.0.2.8 udp 192.0.2.8:5060", "192.0.2.9:5070;transport=tcp tcp 192.0.2.9:5070"
    assert hops(await parties.find(Party("tel", "+4930"))) == [[f"sip:+4930@{first}", f"sip:004930@{second}"]]
    assert hops(await parties.find(Party("", "1555"))) == [[f"sip:1555@{first}"]]


@pytest.mark.parametrize(
    ("kind", "target", "cause", "status"),
    [
        ("user", "nobody", "NOT_FOUND", 404),
        ("user", "bob", "NOT_REGISTERED", 480),
        ("sip", "sip:", "NOT_FOUND", 404),
        ("sip", "sip:a@[2001:db8::1]", "UNREACHABLE", 503),
        ("sip", "a@no.such.name.invalid", "UNREACHABLE", 503),
        ("email", "a@b", "NOT_FOUND", 404),
        ("tel", "+1 555", "NOT_FOUND", 404),
    ],
)
async def test_nobody_can_be_reached(parties: Parties, kind: str, target: str, cause: str, status: int) -> None:
    with pytest.raises(NoWay) as raised:
        await parties.find(Party(kind, target))
    assert (raised.value.cause, raised.value.status) == (cause, status)


async def test_where_a_redirection_leads(parties: Parties) -> None:
    (hop,) = await parties.redirected("sip:else@192.0.2.7")
    assert hop.flow.remote == ("192.0.2.7", 5060)
    assert len(await parties.redirected("tel:+4930")) == 2
    for uri, cause in (("sip:x@192.0.2.1", "LOOP"), ("http://x", "NOT_FOUND"), ("nonsense", "NOT_FOUND")):
        with pytest.raises(NoWay) as raised:
            await parties.redirected(uri)
        assert raised.value.cause == cause


@pytest.mark.parametrize("number", ["", "+", "1 2 x", "1@192.0.2.66", "1\r\nX: y", "1;x", "٣", "sip:1"])
async def test_what_is_no_number_is_not_dialled(parties: Parties, number: str) -> None:
    if number == "1;x":  # what follows is a parameter
        assert len(await parties.find(Party("tel", number))) == 1
        return
    with pytest.raises(NoWay):
        await parties.find(Party("tel", number))


async def test_what_makes_a_number_legible_is_left_out(parties: Parties) -> None:
    (branch,) = await parties.find(Party("tel", "tel:+1-(555)01.00"))
    assert branch.hops[0].uri == "sip:+15550100@192.0.2.8"
