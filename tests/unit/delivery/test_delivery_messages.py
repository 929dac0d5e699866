"""Messages to receivers: what each platform's rule makes of an answer, order in a lane, signatures, and nobody waits for who is slow."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from tapeline.core.ids import new_id
from tapeline.delivery.carry import Carrier
from tapeline.delivery.dispatch import Dispatcher
from tapeline.delivery.http import GuardedClient
from tapeline.delivery.policies import POLICIES, policy_of
from tapeline.delivery.send import Sender
from tapeline.delivery.signing import Signer
from tapeline.store import Database, DeliveryRow, ObjectStore
from tapeline.testing.receiver import Receiver

PAST = 1_000.0


@dataclass
class Post:
    """A database, a sender whose pauses can be passed at once, and one receiver."""

    database: Database
    sender: Sender
    receiver: Receiver
    now: list[float] = field(default_factory=lambda: [PAST])

    async def message(self, path: str = "/hook", policy: str = "voipbin", **fields: Any) -> DeliveryRow:
        given = {"method": "POST", "body": '{"a": 1}', "content_type": "application/json"} | fields
        created = given.pop("created", self.now[0])
        row = DeliveryRow(
            new_id(), new_id(), "webhook", new_id(), self.receiver.url + path, created, created + 9e5, policy=policy, **given
        )
        await self.database.deliveries.add(row)
        return row

    async def run(self, row: DeliveryRow) -> list[float]:
        """Try until it is over; the pauses."""
        pauses = []
        while (pause := await self.sender.attempt(row.id, 0)) is not None:
            pauses.append(pause)
            self.now[0] += pause
        return pauses

    async def row(self, row: DeliveryRow) -> DeliveryRow:
        found = await self.database.deliveries.get(row.id)
        assert found is not None
        return found


@pytest.fixture
async def post(tmp_path: Path, database: Database) -> AsyncIterator[Post]:
    now = [PAST]
    with Receiver() as receiver:
        async with GuardedClient(allow_private_addresses=True) as client:
            sender = Sender(database, Carrier(ObjectStore(str(tmp_path / "objects")), client), lambda said: None, wall=lambda: now[0])
            yield Post(database, sender, receiver, now)


async def test_voipbin_three_tries_a_second_apart_and_no_fourth(post: Post) -> None:
    row = await post.message()
    post.receiver.fail("/hook", 500, "close", 503, 500)
    assert await post.run(row) == [1.0, 1.0]
    assert ((await post.row(row)).state, len(post.receiver.received("/hook"))) == ("failed", 3)
    assert [attempt.status for attempt in await post.database.attempts.list(row.id)] == [500, 0, 503]


@pytest.mark.parametrize("status", [204, 301, 404, 410, 429])
async def test_voipbin_whatever_is_answered_below_500_is_delivered(post: Post, status: int) -> None:
    row = await post.message()
    post.receiver.fail("/hook", status)
    assert await post.run(row) == []
    assert ((await post.row(row)).state, (await post.row(row)).status) == ("delivered", status)


async def test_vonage_tries_once_more_where_that_may_help(post: Post) -> None:
    for status in (429, 502, 503, 504, "close"):
        row = await post.message(f"/{status}", "vonage")
        post.receiver.fail(f"/{status}", status, status, status)  # type: ignore[arg-type]
        assert await post.run(row) == [1.0]
        assert len(post.receiver.received(f"/{status}")) == 2
    row = await post.message("/500", "vonage")
    post.receiver.fail("/500", 500)
    assert await post.run(row) == [] and (await post.row(row)).state == "failed"


async def test_a_receiver_that_answers_nothing_is_given_up_in_time(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(POLICIES, "voipbin", replace(POLICIES["voipbin"], timeout_s=0.2, most=1))
    row = await post.message()
    post.receiver.fail("/hook", "hang")
    assert await post.run(row) == []
    assert "gave up" in (await post.row(row)).reason


async def test_redirects_are_followed_three_times(post: Post) -> None:
    for number in range(5):
        post.receiver.redirect(f"/{number}", f"/{number + 1}", 307)
    near, far = await post.message("/2"), await post.message("/1")
    assert await post.run(near) == [] and (await post.row(near)).state == "delivered"
    assert post.receiver.received("/5")[0].body == b'{"a": 1}'
    await post.run(far)
    assert "redirects" in (await post.row(far)).reason


async def test_the_account_that_signs_is_read_once_a_second(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    account, now, read = await post.database.accounts.ensure("somebody"), [0.0], []
    get = post.database.accounts.get

    async def counted(account_id: str) -> Any:
        read.append(account_id)
        return await get(account_id)

    monkeypatch.setattr(post.database.accounts, "get", counted)
    signer, row = Signer(post.database, now=lambda: now[0]), await post.message(signing=f"voipbin:{account.id}")
    first = await signer.headers(row, b"x")
    for now[0] in (0.0, 0.5, 0.99):
        assert await signer.headers(row, b"x") == first
    assert read == [account.id]
    now[0] = 1.0
    assert await signer.headers(row, b"x") == first and len(read) == 2
    for number in range(1100):
        await signer.headers(replace(row, signing=f"voipbin:{number}"), b"")
    assert len(read) == 1102 and len(signer._owners._accounts) <= 1000


async def test_the_signature_is_that_of_the_accounts_secret_when_it_is_sent(post: Post) -> None:
    account = await post.database.accounts.ensure("somebody")
    assert len(account.webhook_secret) == 32 and account.webhook_secret not in repr(account)
    row = await post.message(signing=f"voipbin:{account.id}", body='{"ü": 1}')
    post.receiver.fail("/hook", 500)
    await post.sender.attempt(row.id, 0)
    await post.database.accounts.amend(account.id, webhook_secret="another")
    post.now[0] += 1.0
    await post.sender.attempt(row.id, 0)
    for request, secret in zip(post.receiver.received("/hook"), (account.webhook_secret, "another"), strict=True):
        expected = hmac.new(secret.encode(), request.body, hashlib.sha256).hexdigest()
        assert request.headers["x-voipbin-signature"] == f"sha256={expected}"
    await post.database.accounts.amend(account.id, webhook_secret="")
    unsigned, nobody = await post.message("/u", signing=f"voipbin:{account.id}"), await post.message("/u", signing="voipbin:gone")
    assert await post.run(unsigned) == await post.run(nobody) == []
    assert all("x-voipbin-signature" not in request.headers for request in post.receiver.received("/u"))
    columns = await post.database.deliveries.get(row.id)
    assert account.webhook_secret not in repr(columns)


def test_a_rule_that_is_not_known_is_the_one_that_gives_up_last() -> None:
    assert policy_of("any") is POLICIES["upload"]


# -- which are sent when -----------------------------------------------------------------------------------------------


class Desk:
    """A dispatcher over a sender that does as it is told."""

    def __init__(self, database: Database, **limits: int) -> None:
        given = {"most": 100, "for_each": 4} | limits
        self.sent: list[str] = []
        self.done = asyncio.Event()  # one has been sent
        self.gates: dict[str, asyncio.Future[None]] = {}
        self.database = database
        self.dispatcher = Dispatcher(database, "", self._send, wall=lambda: PAST, **given)

    async def _send(self, due: DeliveryRow) -> float | None:
        self.sent.append(due.id)
        gate = self.gates.get(due.id)
        if gate is not None:
            await gate
        row = await self.database.deliveries.get(due.id)
        assert row is not None
        await self.database.deliveries.note(row, at=PAST, state="delivered", status=200, reason="", fault="", due=None)
        self.done.set()
        return None

    def hold(self, row: DeliveryRow) -> DeliveryRow:
        self.gates[row.id] = asyncio.get_running_loop().create_future()
        return row

    async def settle(self) -> None:
        """Look until all that may be sent has been."""
        while True:
            await self.dispatcher.look()
            under_way = self.dispatcher.under_way
            moving = [task for name, task in under_way.items() if name not in self.gates or self.gates[name].done()]
            if not moving:
                return
            await asyncio.wait(moving)

    def free(self) -> None:
        for gate in self.gates.values():
            if not gate.done():
                gate.set_result(None)


async def test_a_lane_keeps_its_order_and_another_lane_does_not_wait(post: Post) -> None:
    desk = Desk(post.database)
    first = desk.hold(await post.message(lane="a", created=1.0))
    second, third = await post.message(lane="a", created=2.0), await post.message(lane="a", created=2.0)
    other, free = await post.message(lane="b", created=3.0), await post.message(created=4.0)
    await desk.settle()
    assert desk.sent == [first.id, other.id, free.id]
    desk.free()
    await desk.settle()
    assert desk.sent[3:] == sorted((second.id, third.id))


async def test_one_that_pauses_holds_up_its_lane_and_no_other(post: Post) -> None:
    desk = Desk(post.database)
    first = await post.message(lane="a", created=1.0)
    behind, other = await post.message(lane="a", created=2.0), await post.message(lane="b", created=3.0)
    await post.database.deliveries.note(first, at=1.0, state="waiting", status=500, reason="x", fault="destination", due=PAST + 60.0)
    await desk.settle()
    assert desk.sent == [other.id]
    found = await post.row(first)
    await post.database.deliveries.note(found, at=1.0, state="failed", status=500, reason="x", fault="destination", due=None)
    await desk.settle()
    assert desk.sent == [other.id, behind.id]


async def test_a_thousand_messages_to_one_who_hangs_delay_nobody_else(post: Post) -> None:
    desk = Desk(post.database, most=10)
    crowd = [DeliveryRow(new_id(), "a", "webhook", "r", f"http://dead.example/{n}", float(n), 9e9) for n in range(1000)]
    await post.database.deliveries.add(*crowd)
    for row in crowd:
        desk.hold(row)
    last = await post.message(created=5000.0)
    await desk.settle()
    assert last.id in desk.sent and len(desk.sent) == 5
    desk.free()


async def test_a_sender_that_breaks_stops_nothing(post: Post) -> None:
    row = await post.message()
    calls = 0

    async def broken(due: DeliveryRow) -> float | None:
        nonlocal calls
        calls += 1
        raise RuntimeError("on purpose")

    dispatcher = Dispatcher(post.database, "", broken, most=1, for_each=1, wall=lambda: PAST)
    for _ in range(2):
        await dispatcher.look()
        await asyncio.wait(dispatcher.under_way.values())
    assert calls == 2 and (await post.row(row)).state == "waiting"


async def test_a_database_that_is_away_is_asked_again(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    row = await post.message()
    desk, stop = Desk(post.database), asyncio.Event()
    real, failed = post.database.deliveries.due, asyncio.Event()

    async def due(*args: Any, **kwargs: Any) -> list[DeliveryRow]:
        if not failed.is_set():
            failed.set()
            raise OSError("away")
        return await real(*args, **kwargs)

    monkeypatch.setattr(post.database.deliveries, "due", due)
    running = asyncio.create_task(desk.dispatcher.run(stop))
    await failed.wait()
    desk.dispatcher.wake()
    await desk.done.wait()
    stop.set()
    await running
    assert desk.sent == [row.id]
