"""Workers that share a database: what a node without one has left is sent by another, once, and nobody takes from who is there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from tapeline.core.ids import new_id
from tapeline.delivery.carry import Carrier
from tapeline.delivery.dispatch import Dispatcher
from tapeline.delivery.http import GuardedClient
from tapeline.delivery.send import Sender
from tapeline.delivery.share import SETTLE_S, Share
from tapeline.store import Database, DatabaseUnavailable, DeliveryRow, ObjectStore, tables
from tapeline.store.workers import LOST_S


@dataclass
class Site:
    """One database, and as many workers' shares over it as a test needs."""

    database: Database
    folder: Path
    now: list[float] = field(default_factory=lambda: [0.0])
    adopted: list[str] = field(default_factory=list)

    def share(self, node: str) -> Share:
        objects = ObjectStore(str(self.folder / node))
        return Share(self.database, node, objects, lambda: self.adopted.append(node), now=lambda: self.now[0])

    async def wait(self, node: str, count: int = 1, **fields: Any) -> list[DeliveryRow]:
        """Deliveries that wait at `node`."""
        rows = [
            DeliveryRow(new_id(), "a", "webhook", "r", "http://x.example/", float(number), 9e9, node=node, **fields)
            for number in range(count)
        ]
        await self.database.deliveries.add(*rows)
        return rows

    async def at(self, node: str) -> set[str]:
        return {row.id for row in await self.database.deliveries.list(limit=1000) if row.node == node}

    async def last_seen(self, node: str, ago: float) -> None:
        """`node`'s worker was seen so long ago."""
        await self.database.workers.beat(node)
        async with self.database.writing() as connection:
            await connection.execute(
                update(tables.workers).where(tables.workers.c.node == node).values(seen=tables.workers.c.seen - ago)
            )


@pytest.fixture
async def site(tmp_path: Path, database: Database) -> AsyncIterator[Site]:
    yield Site(database, tmp_path)


async def test_messages_of_a_node_without_a_worker_are_taken_over_and_those_of_others_are_not(site: Site) -> None:
    (left,), (theirs,) = await site.wait("api"), await site.wait("busy")
    (sent,) = await site.wait("api")
    await site.database.deliveries.note(sent, at=1.0, state="delivered", status=200, reason="", fault="", due=None)
    await site.last_seen("busy", LOST_S / 2)
    share = site.share("here")
    assert await share.look() == 1 and site.adopted == ["here"]
    assert (await site.at("here"), await site.at("busy"), await site.at("api")) == ({left.id}, {theirs.id}, {sent.id})
    assert await share.look() == 0 and site.adopted == ["here"]


async def test_of_two_workers_one_gets_each(site: Site) -> None:
    rows = await site.wait("api", 450)
    shares = [site.share("one"), site.share("two")]
    assert all([await share.look() for share in shares])  # at once, the same one may be the first each time
    while sum(await asyncio.gather(*(share.look() for share in shares))):
        pass
    one, two = await site.at("one"), await site.at("two")
    assert one | two == {row.id for row in rows} and not one & two and one and two


async def test_who_is_missed_is_waited_for_before_it_is_taken_for_dead(site: Site) -> None:
    (row,) = await site.wait("gone")
    await site.last_seen("gone", LOST_S + 5.0)
    share = site.share("here")
    assert await share.look() == 0  # the database may have been away for both
    site.now[0] += SETTLE_S / 2
    assert await share.look() == 0
    site.now[0] += SETTLE_S
    assert await share.look() == 1 and await site.at("here") == {row.id}
    other = site.share("there")
    await other.look()
    await share.leave()  # a worker that ends leaves what it has at once
    assert await other.look() == 1 and await site.at("there") == {row.id}


async def test_files_are_taken_over_where_they_can_be_read(site: Site) -> None:
    here, elsewhere = await site.wait("api", object_key="a/here.wav"), await site.wait("api", object_key="a/elsewhere.wav")
    path = site.folder / "file"
    path.write_bytes(b"x")
    await ObjectStore(str(site.folder / "here")).put_file("a/here.wav", path, "audio/wav")
    share = site.share("here")
    assert await share.look() == 1 and await site.at("here") == {here[0].id}
    bucket = Share(site.database, "cloud", ObjectStore("s3://bucket"), lambda: None, now=lambda: site.now[0])
    assert await bucket.look() == 1 and await site.at("cloud") == {elsewhere[0].id}


async def test_who_was_not_heard_from_sends_nothing_until_it_is(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, sent = await site.wait("here", 2), []
    share = site.share("here")

    async def send(row: DeliveryRow) -> None:
        sent.append(row.id)

    dispatcher = Dispatcher(site.database, "here", send, most=1, for_each=1, ours=share.ours)
    await dispatcher.look()
    assert sent == []
    await share.look()
    assert site.adopted == ["here"]  # the dispatcher is woken
    await dispatcher.look()
    await asyncio.wait(dispatcher.under_way.values())
    assert sent == [rows[0].id]
    site.now[0] += LOST_S / 2  # the other one is at hand; the database has not heard from us meanwhile
    await dispatcher.look()
    assert len(sent) == 1 and not dispatcher.under_way

    async def away(node: str) -> None:
        raise DatabaseUnavailable("away")

    with monkeypatch.context() as broken:
        broken.setattr(site.database.workers, "beat", away)
        with pytest.raises(DatabaseUnavailable):
            await share.look()
    assert not share.ours()
    stop = asyncio.Event()
    stop.set()
    await share.run(stop)
    await share.look()
    assert share.ours()


async def test_a_file_that_belongs_to_another_node_by_now_is_not_sent(site: Site) -> None:
    (row,) = await site.wait("other", object_key="a/b.wav")
    async with GuardedClient() as client:
        carrier = Carrier(ObjectStore(str(site.folder)), client)
        sender = Sender(site.database, carrier, lambda said: None, node="here")
        assert await sender.attempt(row.id, 0) is None and not await sender.holds(row.id, 0)
        assert await Sender(site.database, carrier, lambda said: None, node="other").holds(row.id, 0)
    assert await site.database.attempts.list(row.id) == []
