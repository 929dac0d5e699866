"""Calls that are parked: each waits in a slot of its account, with music, until somebody takes it from there.

A slot holds one call. Who parks where one waits already gets the next free number. Nothing of it outlives the calls: they are here only.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Literal

import structlog

from tapeline.calls.bridge import Bridge, until_alone
from tapeline.calls.equipment import Equipment
from tapeline.calls.session import Call

__all__ = ["Parking"]

log = structlog.get_logger(__name__)

FIRST_SLOT = 100  # of those that are given out
MOST = 1000  # of one account

Result = Literal["answered", "empty", "full"]


@dataclass(slots=True)
class _Parked:
    call: Call
    taken: asyncio.Event = field(default_factory=asyncio.Event)


class Parking:
    def __init__(self, equipment: Equipment) -> None:
        self._kit = equipment
        self._slots: dict[tuple[str, str], _Parked] = {}  # by account and slot

    async def visit(self, call: Call, slot: str, action: str) -> Result:
        """`park` the call in `slot` ("" any), `retrieve` who waits there, or what fits of the two (`auto`). Returns when it has been talked
        to and is alone again (`answered`), or when nobody waits there (`empty`), or there is no slot left."""
        key = call.facts.account, slot
        if action == "retrieve" or (action == "auto" and key in self._slots):
            return await self._retrieve(call, key)
        free = self._free(*key)
        if free is None:
            return "full"
        return await self._park(call, free)

    def _free(self, account: str, slot: str) -> tuple[str, str] | None:
        if slot and (account, slot) not in self._slots:
            return account, slot
        return next(((account, str(n)) for n in range(FIRST_SLOT, FIRST_SLOT + MOST) if (account, str(n)) not in self._slots), None)

    async def _park(self, call: Call, key: tuple[str, str]) -> Result:
        parked = self._slots[key] = _Parked(call)
        log.info("call parked", call_id=call.facts.id, slot=key[1])
        call.when_over(parked.taken.set)
        call.controls.music(True)
        try:
            await parked.taken.wait()
        finally:
            if self._slots.get(key) is parked:
                del self._slots[key]
        for other in await until_alone(call):
            other.hang_up("normal")
        return "answered"

    async def _retrieve(self, call: Call, key: tuple[str, str]) -> Result:
        parked = self._slots.pop(key, None)
        if parked is None or parked.call.over or parked.call is call:
            return "empty"
        log.info("call retrieved", call_id=call.facts.id, parked_call_id=parked.call.facts.id, slot=key[1])
        parked.call.controls.music(False)
        Bridge(call, parked.call, self._kit)
        parked.taken.set()
        for other in await until_alone(call):
            other.hang_up("normal")
        return "answered"
