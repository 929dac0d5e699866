"""Calls that wait in slots, and who takes them from there."""

from __future__ import annotations

import asyncio
from pathlib import Path

from talking_calls import Exchange

from tapeline.calls.kazoo.parking import Parking
from tapeline.calls.session import Call


async def visit(exchange: Exchange, call: Call, slot: str, action: str) -> asyncio.Task[str]:
    task = asyncio.ensure_future(exchange.kit.parking.visit(call, slot, action))
    await exchange.settle()
    return task


def people(exchange: Exchange, count: int) -> list[Call]:
    exchange.kit.parking = Parking(exchange.kit)
    calls = [exchange.caller() for _ in range(count)]
    for call in calls:
        call.led = True
    return calls


async def test_who_waits_in_a_slot_hears_music_and_talks_with_who_comes(tmp_path: Path) -> None:
    async with Exchange(tmp_path) as exchange:
        waiting, coming = people(exchange, 2)
        parked = await visit(exchange, waiting, "7", "park")
        assert waiting.media.playing == 1 and not parked.done()
        taken = await visit(exchange, coming, "7", "auto")
        await exchange.wait(0.5)
        assert waiting.media.playing == 0 and waiting.place is coming.place is not None
        exchange.bye(coming)
        await exchange.wait(0.5)
        assert await parked == await taken == "answered"


async def test_a_slot_that_is_taken_gives_way_to_the_next_free_one(tmp_path: Path) -> None:
    async with Exchange(tmp_path) as exchange:
        first, second, third = people(exchange, 3)
        await visit(exchange, first, "7", "park")
        await visit(exchange, second, "7", "park")
        assert await (await visit(exchange, third, "8", "retrieve")) == "empty"
        task = await visit(exchange, third, "100", "retrieve")
        assert third.place is second.place is not None
        exchange.bye(second)
        await task


async def test_who_hangs_up_leaves_its_slot(tmp_path: Path) -> None:
    async with Exchange(tmp_path) as exchange:
        waiting, coming = people(exchange, 2)
        await visit(exchange, waiting, "7", "auto")
        exchange.bye(waiting)
        await exchange.settle()
        assert await (await visit(exchange, coming, "7", "retrieve")) == "empty"
