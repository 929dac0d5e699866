
"""The worker as a real process sends finished recordings to a real receiver: once, whatever happens to either of them."""

from __future__ import annotations

import hashlib
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from worker_house import Sent, until, working

from tapeline.core.ids import new_id
from tapeline.store import Database, DeliveryRow
from tapeline.testing.receiver import Receiver


@pytest.fixture
def house(nursery: None, tmp_path: Path) -> Sent:
    return Sent(tmp_path / "data")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


SECONDS = Sent.SECONDS
NAME = "call_recording_.wav"  # there was no call


async def test_a_finished_recording_is_sent_within_a_second_and_is_available_before(house: Sent, receiver: Receiver) -> None:
    async with working(house) as worker:
        await worker.hears(lambda line: bool(line.get("ready")))
        recording = house.send(receiver.url + "/kzr/")
        started = time.monotonic()
        worker.poke(recording)
        await worker.state(recording)
        await house.delivered(recording)
        assert time.monotonic() - started < 3.0
        await house.over(recording)
    house.check_finished_once(recording, SECONDS)
    (request,) = receiver.received("/kzr/" + NAME)
    assert (request.method, request.headers["content-type"]) == ("PUT", "audio/x-wav")
    assert hashlib.sha256(request.body).hexdigest() == house.row(recording)["sha256"]
    assert house.deliveries(recording) == [("delivered", 1, 200, "")]


@pytest.mark.parametrize("point", ["send", "send.done"])
async def test_killed_while_sending_it_sends_again_under_the_same_name(house: Sent, receiver: Receiver, point: str) -> None:
    recording = house.send(receiver.url + "/kzr")
    async with working(house, f"kill:{point}") as worker:
        assert await worker.ends() == -signal.SIGKILL
    async with working(house):
        await house.delivered(recording)
    requests = receiver.received("/kzr/" + NAME)
    assert len(requests) == (1 if point == "send" else 2)  # at least once: what was taken and not yet noted is sent again
    assert len({request.body for request in requests}) == 1


async def test_a_receiver_that_fails_is_tried_across_a_restart_and_each_try_is_visible(house: Sent, receiver: Receiver) -> None:
    recording, path = house.send(receiver.url + "/kzr"), "/kzr/" + NAME
    receiver.fail(path, 500, "close")
    async with working(house) as worker:
        await worker.state(recording)
        await until(lambda: len(house.tries(recording)) >= 1)
    async with working(house):
        await house.delivered(recording)
    assert house.tries(recording) == [("failed", 500), ("failed", 0), ("ok", 200)]
    assert len(receiver.received(path)) == 3


async def test_without_the_jobs_database_of_before_the_table_of_deliveries_is_enough(house: Sent, receiver: Receiver) -> None:
    recording = house.send(receiver.url + "/kzr")
    async with working(house, "kill:send") as worker:
        await worker.ends()
    for file in house.root.glob("dbos.sqlite*"):
        file.unlink()
    async with working(house):
        await house.delivered(recording)
    assert len(receiver.received("/kzr/" + NAME)) == 1


async def test_receivers_that_hang_hold_up_neither_other_receivers_nor_recordings(house: Sent, receiver: Receiver) -> None:
    with Receiver() as dead:
        stuck = [house.send(dead.url + "/kzr") for _ in range(8)]
        dead.fail("/kzr/" + NAME, *["hang"] * 100)
        async with working(house) as worker:
            for recording in stuck:
                await worker.state(recording)
            await until(lambda: len(dead.requests) == 4)  # no more at once to one receiver
            recording = house.send(receiver.url + "/kzr")
            worker.poke(recording)
            await house.delivered(recording)
            assert all(state == "waiting" for other in stuck for state, *_ in house.deliveries(other))
            worker.process.kill()  # which asked to end would let them hang for a while


@pytest.mark.parametrize("point", ["send", "send.done"])
async def test_a_message_outlives_a_kill_and_keeps_its_order(house: Sent, receiver: Receiver, point: str) -> None:
    database = Database(f"sqlite:///{house.rows}")
    await database.open()
    account = await database.accounts.ensure("default")
    now = time.time()
    rows = [
        DeliveryRow(
            new_id(), account.id, "webhook", "call", receiver.url + "/hook", now + number, now + 3600, "POST", body=str(number),
            policy="voipbin", lane="call", node="test", signing=f"voipbin:{account.id}",
        )
        for number in range(3)
    ]  # fmt: skip
    await database.deliveries.add(*rows)
    await database.close()
    receiver.fail("/hook", *([500] if point == "send" else []))
    async with working(house, f"kill:{point}") as worker:
        assert await worker.ends() == -signal.SIGKILL
    async with working(house):
        await house.delivered("call")
    bodies = [request.body for request in receiver.received("/hook")]
    assert bodies == [b"0", b"0", b"1", b"2"], "one more try of the first, and none overtaken"
    assert all("x-voipbin-signature" in request.headers for request in receiver.received("/hook"))


async def test_two_workers_on_one_database_send_what_a_node_without_one_has_left_once(house: Sent, receiver: Receiver) -> None:
    other = Sent(house.root)
    other.config = replace(house.config, node="second", jobs=f"sqlite:///{house.root / 'second.sqlite'}")
    async with working(house) as first, working(other) as second:
        for worker in (first, second):
            await worker.hears(lambda line: bool(line.get("ready")))
        database = Database(house.config.database)
        await database.open()
        now = time.time()
        rows = [
            DeliveryRow(
                new_id(), "a", "webhook", "r", f"{receiver.url}/{number}", now + number / 1000, now + 900, "POST", body=str(number),
                policy="voipbin", node="api", lane="abc"[number % 3] if number < 30 else "",
            )
            for number in range(120)
        ]  # fmt: skip
        await database.deliveries.add(*rows)
        await database.close()
        await until(lambda: house.query(house.rows, "SELECT count(*) FROM deliveries WHERE state = 'delivered'")[0][0] == len(rows))
    got = [int(request.body) for request in receiver.requests]
    assert sorted(got) == list(range(120)), "each once"
    for lane in range(3):
        in_lane = [number for number in got if number < 30 and number % 3 == lane]
        assert in_lane == sorted(in_lane)
    nodes = house.query(house.rows, "SELECT DISTINCT node FROM deliveries")
    assert {node for (node,) in nodes} <= {"test", "second"}
    assert house.query(house.rows, "SELECT count(*) FROM attempts WHERE kind = 'webhook'") == [(120,)]
    assert house.query(house.rows, "SELECT node FROM workers") == []  # both have said that they end
