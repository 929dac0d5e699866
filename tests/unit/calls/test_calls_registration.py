"""Who may register, and where we do: users by their names, trunks by the addresses of theirs."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from tapeline import sip
from tapeline.calls.registration import Registrations, make_registrar
from tapeline.calls.trunks import Trunks
from tapeline.core.errors import InvalidInput
from tapeline.core.settings import ServerSettings, Trunk, User
from tapeline.sip.transports.resolver import Answer, Resolver
from tapeline.sip.transports.shell import Shell
from tapeline.testing import FakeClock

HERE = ("192.0.2.1", 5060)
ONE, OTHER = ("192.0.2.8", 5060), ("192.0.2.9", 5060)


def entropy(count: int) -> bytes:
    return bytes(count)


def test_users_are_known_by_name_and_extension_in_any_case() -> None:
    users = [User(name="Ann", extension="100", password="x"), User(name="bob", password="y"), User(name="silent")]
    registrar = make_registrar(users, ServerSettings(digest=["MD5"], realm="here"), entropy)
    assert registrar is not None
    assert [registrar.knows(name) for name in ("ann", "ANN", "100", "BOB", "silent", "nobody")] == ["Ann", "Ann", "Ann", "bob", None, None]
    (asked,) = registrar.digest.challenges(0.0)
    assert 'realm="here"' in asked and "MD5" in asked


@pytest.mark.parametrize("users", [[], [User(name="silent")]])
def test_without_a_password_there_is_no_registrar(users: list[User]) -> None:
    assert make_registrar(users, ServerSettings(), entropy) is None


def test_two_users_of_one_name_are_refused() -> None:
    with pytest.raises(InvalidInput, match="two users"):
        make_registrar([User(name="a", password="x"), User(name="b", extension="A", password="y")], ServerSettings(), entropy)


class House:
    """Registrations with one trunk, without sockets and in time of its own."""

    def __init__(self, **trunk: Any) -> None:
        self.clock = FakeClock(now=0.0)
        self.endpoint = sip.Endpoint(sip.EndpointConfig(), entropy_counting())
        self.found: list[str] = [ONE[0], OTHER[0]]
        self.shell = Shell(self.endpoint, self.clock, self.on_event, resolver=Resolver(self.lookup, hosts={}, clock=self.clock.now))
        self.shell.listeners.append(("udp", HERE))
        wanted = Trunk(name="carrier", target="carrier.example:5060", username="a b", password="x", registration=True, **trunk)
        self.trunks = Trunks([wanted, Trunk(name="spare", target="192.0.2.7")])
        self.registrations = Registrations(self.endpoint, self.shell, self.clock, self.trunks)

    async def lookup(self, name: str, kind: str) -> Answer:
        return Answer(tuple(self.found) if kind == "A" else (), 1.0)

    def on_event(self, event: sip.Event) -> None:
        self.registrations.on_signal(event)

    async def settle(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    async def until(self, now: float) -> None:
        """Let time pass."""
        while (deadline := self.endpoint.next_deadline()) is not None and deadline <= now:
            self.clock.advance_to(max(deadline, self.clock.now()))
            self.endpoint.tick(self.clock.now())
            self.shell.pump()
            await self.settle()
        self.clock.advance_to(now)

    @property
    def where(self) -> tuple[str, int]:
        return self.endpoint.registrations[0].flow.remote

    def order(self) -> list[str]:
        return [trunk.name for trunk in self.trunks.for_number("1")]


def entropy_counting() -> Any:
    count = 0

    def entropy(octets: int) -> bytes:
        nonlocal count
        count += 1
        return count.to_bytes(octets, "big")

    return entropy


async def test_a_trunk_that_does_not_answer_is_tried_at_its_other_address() -> None:
    house = House()
    house.registrations.start()
    await house.settle()
    (registration,) = house.endpoint.registrations
    assert registration.aor == "sip:a%20b@carrier.example" and house.where == ONE
    assert house.order() == ["spare", "carrier"]
    await house.until(33.0)
    assert house.where == OTHER and registration.state == "failed"
    await house.until(66.0)
    assert house.where == ONE  # for the next try, which is not due yet
    assert not any(transaction.state == "trying" for transaction in house.endpoint.layer.clients.values())
    await house.registrations.close()
    assert house.endpoint.registrations == [] and registration.state == "ended"
    await house.shell.close()


async def test_a_trunk_that_answers_is_tried_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tapeline.calls.registration.FAREWELL_S", 0.0)  # nobody will answer
    house = House(domain="home.example")
    house.registrations.start()
    await house.settle()
    (registration,) = house.endpoint.registrations
    assert registration.aor == "sip:a%20b@home.example"
    house.on_event(sip.RegistrationChanged(registration, "registered", 200, "OK"))
    assert house.order() == ["carrier", "spare"]
    house.on_event(sip.RegistrationChanged(registration, "failed", 403, "Forbidden"))
    assert house.order() == ["spare", "carrier"] and house.where == ONE
    await house.registrations.close()
    await house.shell.close()


async def test_a_name_that_is_not_found_is_looked_up_again_and_given_up_at_the_end() -> None:
    house = House()
    house.found = []
    house.registrations.start()
    await house.settle()
    assert house.endpoint.registrations == []
    await house.registrations.close()
    await house.shell.close()


async def test_a_failed_login_is_in_the_log_with_where_it_came_from() -> None:
    house = House()
    with capture_logs() as told:
        house.on_event(sip.LoginFailed("ann", "REGISTER", "192.0.2.66"))
    assert told == [
        {"event": "wrong password, or no such user", "log_level": "warning", "user": "ann", "method": "REGISTER", "address": "192.0.2.66"}
    ]
    await house.shell.close()
