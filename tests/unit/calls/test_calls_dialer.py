"""Dialling as a table of what the called do: who wins, who is cancelled, where it goes on, and what is told of failure."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from tapeline import sip
from tapeline.calls import dialer as module
from tapeline.calls.dialer import Dialer, DialResult, Wish
from tapeline.calls.kazoo.stored import Stored
from tapeline.calls.outgoing import Hop, Order
from tapeline.calls.parties import Branch, NoWay
from tapeline.calls.session import Call, Listener
from tapeline.calls.trunks import Trunks
from tapeline.calls.views import Address
from tapeline.core.errors import Exhausted
from tapeline.core.settings import Trunk
from tapeline.flow import Party

FLOW = sip.Flow("udp", ("192.0.2.1", 5060), ("192.0.2.9", 5060))
CARRIER = Trunk(name="carrier", target="192.0.2.9", caller_id="+4930", domain="us.example", headers={"X-Key": "1"})


async def a_moment() -> None:
    """Long enough for everybody to have taken note of what happened."""
    for _ in range(10):
        await asyncio.sleep(0)


@dataclass
class Called:
    """A call as the dialer sees it. `script` are the things that happen to it, each a moment after the one before."""

    order: Order
    listener: Listener
    script: tuple[Any, ...]
    hung_up: tuple[str, str, int] | None = None
    progressing: float | None = None
    final: Any = None
    after: list[Callable[[], None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.facts = SimpleNamespace(id=self.order.hop.uri)
        self.session = SimpleNamespace(state="calling")
        self.life = asyncio.get_running_loop().create_task(self.live())

    async def live(self) -> None:
        for step in self.script:
            await a_moment()
            if self.over:
                return
            if step == "answer":
                self.progressing = 1.0
                self.listener.established()
            elif step == "vanish":
                self.end(503, "unreachable", by="local")
            elif step == "silence":
                await asyncio.Event().wait()
            elif step == "trying":
                self.session.state = "proceeding"
            elif step >= 200:
                self.end(step, "failed", contacts=(self.contact(),) if step == 302 else ())
            else:
                self.session.state = "early"
                self.listener.progressed(step)

    def contact(self) -> str:
        """Another one each time; of a caller who goes in a circle the same."""
        return "sip:circle@h" if "circle" in self.script else f"sip:{id(self)}@h"

    @property
    def over(self) -> bool:
        return self.hung_up is not None or self.final is not None

    def end(self, status: int, cause: str, by: str = "remote", contacts: tuple[str, ...] = ()) -> None:
        self.final = SimpleNamespace(by=by, status=status, cause=cause, contacts=contacts)
        for then in self.after:
            then()
        self.listener.hung_up("failed", by)

    def hang_up(self, reason: str, text: str, status: int = 0) -> None:
        if not self.over:
            self.hung_up = (reason, text, status)
            self.end(487, "cancel", by="local")

    def when_over(self, then: Callable[[], None]) -> None:
        self.after.append(then)


class World:
    """Parties are named by what those who are called do: `180 answer`, and several hops of one divided by `|`."""

    def __init__(self) -> None:
        self.calls: list[Called] = []
        self.trunks = Trunks([CARRIER])
        self.progress: list[int] = []

    def place(self, order: Order, listener: Listener) -> Call:
        script = order.hop.uri.removeprefix("sip:").partition("@")[0].replace("%20", " ")
        if script == "full":
            raise Exhausted("no port")
        if script == "wrong":
            raise ValueError("no URI")
        steps = tuple(int(word) if word.isdigit() else word for word in script.split())
        self.calls.append(Called(order, listener, steps))
        return self.calls[-1]  # type: ignore[return-value]

    async def find(self, party: Party) -> list[Branch]:
        if party.target == "nobody":
            raise NoWay("nobody", "NOT_REGISTERED", 480)
        trunk = CARRIER if party.kind == "tel" else None
        hops = (Hop(f"sip:{way}@h", FLOW, trunk=trunk, user=self.user) for way in party.target.split("|"))
        return [Branch(Address(party.kind, party.target), tuple(hops))]

    async def redirected(self, uri: str) -> tuple[Hop, ...]:
        if self.redirect == "nowhere":
            raise NoWay("nowhere", "NOT_FOUND", 404)
        return (Hop(f"sip:{self.redirect}@{uri}", FLOW),)

    redirect = "302"
    user = ""  # whose phones they are
    stored = Stored()

    async def dial(self, *targets: str, kind: str = "sip", **wish: Any) -> DialResult:
        dialer = Dialer(SimpleNamespace(stored=self.stored), self, self, self.trunks, "")  # type: ignore[arg-type]
        parties = tuple(Party(kind, target) for target in targets)
        return await dialer.dial(Wish(parties, "account", **wish), lambda call, status: self.progress.append(status))

    @property
    def ends(self) -> list[str]:
        return [call.hung_up[0] if call.hung_up else "" for call in self.calls]


async def test_the_first_to_answer_wins() -> None:
    world = World()
    result = await world.dial("180 180 180 180 answer", "180 answer", "180 silence")
    assert result.call is world.calls[1]  # type: ignore[comparison-overlap]
    assert world.calls[0].hung_up == world.calls[2].hung_up == ("cancel", "Call completed elsewhere", 200)
    assert world.progress[:3] == [180, 180, 180]


async def test_two_that_answer_in_one_moment() -> None:
    world = World()
    result = await world.dial("answer", "answer")
    assert result.call is world.calls[0]  # type: ignore[comparison-overlap]
    assert world.ends == ["", "cancel"]


@pytest.mark.parametrize(
    ("targets", "causes", "reason"),
    [
        (["486"], ("BUSY", "sip:486"), "busy"),
        (["183 600"], ("BUSY", "sip:600"), "busy"),
        (["180 480"], ("NO_ANSWER", "sip:480"), "noanswer"),
        (["603"], ("REJECTED", "sip:603"), "failed"),
        (["404"], ("NOT_FOUND", "sip:404"), "failed"),
        (["488"], ("NO_MEDIA", "sip:488"), "failed"),
        (["500"], ("FAILED", "sip:500"), "failed"),
        (["vanish"], ("UNREACHABLE", "sip:503"), "failed"),
        (["full"], ("UNREACHABLE", "sip:503"), "failed"),
        (["wrong"], ("NOT_FOUND", "sip:404"), "failed"),
        (["nobody"], ("NOT_REGISTERED", "sip:480"), "failed"),
        (["404", "486", "480", "nobody"], ("BUSY", "NO_ANSWER", "NOT_REGISTERED", "NOT_FOUND", "sip:486", "sip:480", "sip:404"), "busy"),
    ],
)
async def test_how_it_did_not_come_about(targets: list[str], causes: tuple[str, ...], reason: str) -> None:
    result = await World().dial(*targets)
    assert (result.call, result.causes, result.reason) == (None, causes, reason)


@pytest.mark.parametrize(
    ("targets", "status"), [(["486"], 486), (["480", "603"], 603), (["nobody"], 480), (["407"], 0), (["500"], 0), (["vanish"], 0)]
)
async def test_what_a_caller_may_be_told(targets: list[str], status: int) -> None:
    assert (await World().dial(*targets)).status == status


async def test_a_hop_that_cannot_be_reached_gives_way_to_the_next() -> None:
    world = World()
    result = await world.dial("503|vanish|500|180 answer|answer")
    assert result.call is world.calls[3] and len(world.calls) == 4  # type: ignore[comparison-overlap]
    world = World()
    assert (await world.dial("503|486|answer")).causes[0] == "BUSY"
    assert len(world.calls) == 2


async def test_a_hop_that_says_nothing_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SILENT_S", 0.02)
    world = World()
    result = await world.dial("silence|trying silence 180|answer", timeout_s=0.2)
    assert result.causes == ("NO_ANSWER",), "one that is trying is waited for"
    assert [call.hung_up and call.hung_up[0] for call in world.calls] == ["failed", "dialout"]


async def test_time_is_over() -> None:
    world = World()
    result = await world.dial("180 silence", "silence", timeout_s=0.05)
    assert result == DialResult(None, ("NO_ANSWER",), "noanswer")
    assert world.ends == ["dialout", "dialout"]


async def test_one_after_another() -> None:
    world = World()
    result = await world.dial("180 silence", "486", "nobody", "answer", together=False, each_s=0.05)
    assert result.call is world.calls[2]  # type: ignore[comparison-overlap]
    assert world.ends == ["dialout", "", ""]
    world = World()
    assert (await world.dial("180 silence", "180 silence", together=False, timeout_s=0.1)).reason == "noanswer"
    assert world.ends == ["dialout", "dialout"], "each has its share of the time"


async def test_redirections_end() -> None:
    world = World()
    assert await world.dial("302") == DialResult(None, ("LOOP", "sip:482"), "failed")
    assert len(world.calls) == 6
    world = World()
    world.redirect = "answer"
    assert (await world.dial("302")).call is world.calls[1]  # type: ignore[comparison-overlap]
    world = World()
    world.redirect = "302 circle"
    assert (await world.dial("302 circle")).causes == ("LOOP", "sip:482")
    assert len(world.calls) == 2
    world = World()
    world.redirect = "nowhere"
    assert (await world.dial("302")).causes == ("FAILED", "sip:302")


async def test_who_waits_no_longer_leaves_nobody_ringing() -> None:
    world = World()
    task = asyncio.create_task(world.dial("180 silence", "180 silence"))
    await a_moment()
    await a_moment()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert world.ends == ["cancel", "cancel"]


async def test_a_trunk_shows_its_own_number_and_is_free_again_afterwards() -> None:
    world = World()
    await world.dial("486", kind="tel")
    (order,) = [call.order for call in world.calls]
    assert (order.identity.uri, order.max_forwards, order.master) == ("sip:+4930@us.example", 70, None)
    assert world.trunks._calls["carrier"] == 0
    await world.dial("486", kind="tel", source=Address("tel", "+4940"), anonymous="yes")
    identity = world.calls[1].order.identity
    assert identity.uri == "sip:anonymous@anonymous.invalid"
    assert ("P-Asserted-Identity", "<sip:+4940@us.example>") in identity.headers


async def test_a_defect_in_a_branch_is_a_failure_and_not_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()

    def place(order: Order, listener: Listener) -> Call:
        raise RuntimeError("a defect")

    monkeypatch.setattr(world, "place", place)
    assert await world.dial("answer") == DialResult(None, ("FAILED", "sip:500"), "failed")


async def test_each_of_several_rings_in_its_own_time() -> None:
    world = World()
    dialer = Dialer(SimpleNamespace(stored=world.stored), world, world, world.trunks, "")  # type: ignore[arg-type]
    parties = (Party("sip", "180 silence", limit_s=0.02), Party("sip", "180 180 answer", delay_s=0.05))
    result = await dialer.dial(Wish(parties, "account"))
    assert result.call is world.calls[1]  # type: ignore[comparison-overlap]
    assert world.calls[0].hung_up == ("dialout", "no answer in time", 0)


async def test_who_rejects_does_so_for_all_where_that_is_wanted() -> None:
    world = World()
    result = await world.dial("603", "180 silence", single_reject=True)
    assert (result.call, result.causes[0], world.ends[1]) == (None, "REJECTED", "cancel")
    one_by_one = World()
    result = await one_by_one.dial("486", "answer", together=False, single_reject=True)
    assert result.call is None and len(one_by_one.calls) == 1
    assert (await World().dial("480", "answer", together=False, single_reject=True)).call is not None


async def test_redirections_are_not_followed_where_that_is_not_wanted() -> None:
    world = World()
    result = await world.dial("302", redirects=False)
    assert (result.call, len(world.calls)) == (None, 1)


async def test_the_phones_of_one_user_may_be_left_out() -> None:
    world = World()
    world.user = "alice"
    assert (await world.dial("answer", without="alice")).call is None
    assert (await world.dial("answer", without="bob")).call is not None


def test_twice_the_weight_comes_first_about_twice_as_often() -> None:
    parties = (Party("user", "light", weight=1), Party("user", "heavy", weight=9))
    first = [module.by_chance(parties)[0].target for _ in range(500)]
    assert first.count("heavy") > 350 and "light" in first


async def test_who_answers_is_told_with_whose_phone_it_is() -> None:
    world = World()
    world.user = "bob"
    told: list[Any] = []
    dialer = Dialer(SimpleNamespace(stored=world.stored), world, world, world.trunks, "", lambda *facts: told.append(facts[1:]))  # type: ignore[arg-type]
    await dialer.dial(Wish((Party("sip", "180 answer"),), "account"))
    await dialer.dial(Wish((Party("tel", "answer"),), "account"))
    assert told == [(None, "bob", False), (None, "bob", True)]
