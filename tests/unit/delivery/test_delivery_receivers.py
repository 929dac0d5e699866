"""Receivers that are down for a day, each in its own way, with restarts and crashes in between: each file is delivered in the end, each try
is to be seen, and nobody waits for a receiver that is not its own."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import replace
from typing import Any

import pytest
from sending_bench import Bench

from tapeline.core.ids import new_id
from tapeline.delivery.jobs import Sending, sending_key
from tapeline.delivery.policies import POLICIES
from tapeline.store import DeliveryRow
from tapeline.testing.process import free_port
from tapeline.testing.receiver import Fault, Receiver

DAY_S = 86_400.0
PATH = "/in/file.mp3"
SMALL = bytes(range(256)) * 100


PATIENT = POLICIES["upload"]
IMPATIENT = replace(PATIENT, idle_s=0.1, answer_s=0.1)  # only while nobody answers: a busy machine may take longer for an answer


@pytest.mark.parametrize(
    ("fault", "status", "words"),
    [
        (500, 500, "answered 500"),
        (404, 404, "answered 404"),
        (301, 301, "answered 301"),  # without saying where to
        ("hang", 0, "nothing was answered"),
        ("half", 0, "is not HTTP"),
        ("stall", 0, "for too long"),
        ("close", 0, "is not HTTP"),
        ("cut", 0, ""),
    ],
)
async def test_down_for_a_day_with_restarts_it_is_delivered_once_and_each_try_is_a_row(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, fault: Fault, status: int, words: str
) -> None:
    bench.audio = SMALL
    monkeypatch.setitem(POLICIES, "upload", IMPATIENT if fault in ("hang", "stall") else PATIENT)
    delivery = await bench.upload(PATH)
    up, tries = bench.now + DAY_S, 0
    while bench.now < up:
        bench.receiver.fail(PATH, fault)
        pause = await bench.sender.attempt(delivery.id, 0)
        assert pause is not None and 0 < pause <= 3600
        tries += 1
        if tries % 7 == 0:
            bench.restart()
            assert await bench.sender.attempt(delivery.id, 0) == pytest.approx(pause) or pause <= 1.0, "a restart is no reason to try"
        bench.now += pause
    monkeypatch.setitem(POLICIES, "upload", PATIENT)
    assert await bench.run(delivery) == 1
    *failed, last = await bench.attempts(delivery)
    assert len(failed) == tries and 30 < tries < 60
    assert all((found.outcome, found.status) == ("failed", status) and words in found.reason for found in failed)
    assert all(found.fault == "destination" for found in failed)
    assert (last.outcome, last.status) == ("ok", 200)
    assert [found.time for found in failed] == sorted(found.time for found in failed)
    assert bench.receiver.received(PATH)[-1].body == SMALL
    assert await bench.sender.attempt(delivery.id, 0) is None, "what is delivered is not sent again"


async def test_nobody_at_the_address_for_a_day(bench: Bench) -> None:
    bench.audio = SMALL
    port = free_port()
    delivery = await bench.upload(url=f"http://127.0.0.1:{port}{PATH}")
    up = bench.now + DAY_S
    while bench.now < up:
        bench.now += await bench.sender.attempt(delivery.id, 0) or 0.0
    assert all("no connection" in found.reason for found in await bench.attempts(delivery))
    with Receiver(port=port) as receiver:
        assert await bench.run(delivery) == 1
        assert [request.body for request in receiver.received(PATH)] == [SMALL]


async def test_one_who_takes_it_as_a_trickle_gets_it_in_one_try(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(POLICIES, "upload", replace(POLICIES["upload"], idle_s=1.5, answer_s=10.0))
    delivery = await bench.upload(PATH)
    bench.receiver.fail(PATH, "trickle")
    assert await bench.run(delivery) == 1, "slow is not silent"
    (request,) = bench.receiver.received(PATH)
    assert request.body == bench.audio


@pytest.mark.parametrize("seed", range(6))
async def test_killed_at_any_moment_it_is_delivered_and_sent_again_under_the_same_name_at_most_once_for_each_kill(
    bench: Bench, seed: int
) -> None:
    source = random.Random(seed)
    bench.audio = SMALL
    delivery = await bench.upload(PATH)
    faults: list[Fault] = source.choices([500, "close", "cut", "half"], k=8)
    kills = 0
    for _ in range(200):
        if faults and source.random() < 0.5:
            bench.receiver.fail(PATH, faults.pop())
        try:
            pause = await asyncio.wait_for(bench.sender.attempt(delivery.id, 0), source.uniform(0.001, 0.05) if kills < 25 else 30.0)
        except TimeoutError:
            kills += 1
            bench.restart()
            continue
        if pause is None:
            break
        bench.now += pause
    row = await bench.row(delivery)
    assert row.state == "delivered"
    whole = [request for request in bench.receiver.requests if request.body == SMALL]
    assert {request.path for request in whole} == {PATH}
    rows = await bench.attempts(delivery)
    assert [found.outcome for found in rows].count("ok") == 1
    assert len(bench.receiver.requests) - kills <= len(rows) <= len(bench.receiver.requests)


class Kind:
    """Steps as `durable.Kind` takes them, nothing written down: the turn first, then one of few slots."""

    def __init__(self, slots: int) -> None:
        self._slots = asyncio.Semaphore(slots)

    async def step(
        self, key: str, name: str, act: Callable[[], Awaitable[Any]], turn: AbstractAsyncContextManager[None] | None = None
    ) -> Any:
        async with turn or nullcontext(), self._slots:
            return await act()

    async def pause(self, key: str, seconds: float) -> None:
        await asyncio.Event().wait()


async def test_however_much_waits_for_one_that_hangs_another_gets_its_file_at_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(POLICIES, "upload", replace(POLICIES["upload"], answer_s=60.0))
    bench.audio = SMALL
    first = await bench.upload(PATH)
    kind: Any = Kind(slots=6)
    sending = Sending(bench.sender)
    with Receiver() as dead:
        dead.fail(PATH, *["hang"] * 100)
        stuck = [replace(first, id=new_id(), url=dead.url + PATH) for _ in range(40)]
        await bench.database.deliveries.add(*stuck)
        tasks = [asyncio.create_task(sending.run(sending_key(row.id, 0), kind)) for row in stuck]
        await _until(lambda: len(dead.requests) == 4)
        async with asyncio.timeout(10):
            assert await sending.run(sending_key(first.id, 0), kind) == "over"
        assert (await bench.row(first)).state == "delivered" and len(dead.requests) == 4
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def test_who_did_not_answer_is_asked_by_one_until_it_does(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.audio = SMALL
    first = await bench.upload(PATH)
    rows: list[DeliveryRow] = [replace(first, id=new_id()) for _ in range(30)]
    await bench.database.deliveries.add(*rows)
    bench.receiver.fail(PATH, *["hang"] * 8)
    sending, kind = Sending(bench.sender), Kind(slots=100)
    keys = [sending_key(row.id, 0) for row in rows]
    most: list[int] = []
    real = bench.sender.attempt
    under_way = 0

    async def attempt(delivery_id: str, round: int) -> float | None:
        nonlocal under_way
        under_way += 1
        most.append(under_way)
        monkeypatch.setitem(POLICIES, "upload", IMPATIENT if len(most) <= 8 else PATIENT)
        try:
            return await real(delivery_id, round)
        finally:
            under_way -= 1

    bench.sender.attempt = attempt  # type: ignore[method-assign]
    tasks = [asyncio.create_task(sending.run(key, kind)) for key in keys]  # type: ignore[arg-type]
    await _until(lambda: len(most) == 30 and under_way == 0)
    assert most[:4] == [1, 2, 3, 4]
    assert set(most[8:10]) == {1}, "after the first four, one at a time"
    assert max(most[14:]) > 1, "it answers again: side by side"
    states = [(await bench.row(row)).state for row in rows]
    assert (states.count("waiting"), states.count("delivered")) == (8, 22)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def _until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():
            await asyncio.to_thread(threading.Event().wait, 0.02)
