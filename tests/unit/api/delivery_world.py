"""Deliveries in memory, as the faces use them."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Sequence
from dataclasses import replace

from tapeline.calls.errors import not_yours
from tapeline.core.errors import NotFound
from tapeline.core.ids import new_id
from tapeline.core.principal import Principal
from tapeline.store import AttemptRow, DeliveryRow


class MemoryDeliveries:
    def __init__(self, maybe_broken: Callable[[], None]) -> None:
        self._maybe_broken = maybe_broken
        self.rows: dict[str, DeliveryRow] = {}

    def make(self, account: str, ref: str = "") -> str:
        row = DeliveryRow(new_id(), account, "upload", ref, "https://example.com/in", created=1000.0, until=2000.0, state="failed")
        self.rows[row.id] = row
        return row.id

    async def list(
        self, principal: Principal, before: float | None, limit: int, *, ref: str = "", state: str = "", kind: str = ""
    ) -> builtins.list[DeliveryRow]:
        self._maybe_broken()
        principal.require("recordings:read")
        return [row for row in self.rows.values() if principal.may_see(row.account) and ref in ("", row.ref) and state in ("", row.state)]

    async def troubled(self, account: str, principal: Principal, before: float | None, limit: int) -> builtins.list[DeliveryRow]:
        return []

    async def get(self, delivery_id: str, principal: Principal) -> tuple[DeliveryRow, Sequence[AttemptRow]]:
        self._maybe_broken()
        principal.require("recordings:read")
        if delivery_id not in self.rows:
            raise NotFound("no delivery has this id", reason="DELIVERY_NOT_FOUND")
        if not principal.may_see(self.rows[delivery_id].account):
            raise not_yours("delivery")
        return self.rows[delivery_id], ()

    async def setbacks(self, recording_id: str, principal: Principal) -> Sequence[AttemptRow]:
        self._maybe_broken()
        principal.require("recordings:read")
        return ()

    async def replay(self, delivery_id: str, principal: Principal) -> DeliveryRow:
        principal.require("recordings:write")
        await self.get(delivery_id, Principal(principal.account, principal.scopes | {"recordings:read"}))
        self.rows[delivery_id] = replace(self.rows[delivery_id], state="waiting")
        return self.rows[delivery_id]
