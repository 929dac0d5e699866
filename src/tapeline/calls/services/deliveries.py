"""What the faces use of deliveries: which there are, each try of one, and sending one again. Sending itself is the worker's."""

from __future__ import annotations

import builtins
from collections.abc import Sequence

from tapeline.calls.services.sight import account_seen, seen
from tapeline.core.clock import Clock
from tapeline.core.errors import NotFound
from tapeline.core.principal import Principal
from tapeline.store import AttemptRow, Database, DeliveryRow

__all__ = ["Deliveries"]

MOST_SETBACKS = 100


class Deliveries:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def list(
        self, principal: Principal, before: float | None, limit: int, *, ref: str = "", state: str = "", kind: str = ""
    ) -> list[DeliveryRow]:
        """A page, newest first, of the principal's account (of all, for an administrator). `ref` is the id of what they tell of."""
        principal.require("recordings:read")
        account = None if principal.admin else principal.account
        return await self._database.deliveries.list(account, before, limit, ref=ref, state=state, kind=kind)

    async def troubled(self, account: str, principal: Principal, before: float | None, limit: int) -> builtins.list[DeliveryRow]:
        """A page of an account's uploads whose last try failed, newest first. Raises Forbidden."""
        principal.require("recordings:read")
        account_seen(account, principal)
        return await self._database.deliveries.list(account, before, limit, kind="upload", troubled=True)

    async def get(self, delivery_id: str, principal: Principal) -> tuple[DeliveryRow, Sequence[AttemptRow]]:
        """One, and its tries, oldest first. Raises NotFound, Forbidden."""
        principal.require("recordings:read")
        row = await self._row(delivery_id, principal)
        return row, await self._database.attempts.list(delivery_id)

    async def setbacks(self, recording_id: str, principal: Principal) -> Sequence[AttemptRow]:
        """Tries at finishing a recording that came to nothing, oldest first, the last hundred. Who asks may see the recording."""
        principal.require("recordings:read")
        return await self._database.attempts.list(recording_id, MOST_SETBACKS)

    async def replay(self, delivery_id: str, principal: Principal) -> DeliveryRow:
        """Send it again, whatever became of it. Raises NotFound, Forbidden."""
        principal.require("recordings:write")
        await self._row(delivery_id, principal)
        row = await self._database.deliveries.replay(delivery_id, self._clock.wall())
        if row is None:
            raise _unknown(delivery_id)
        return row

    async def _row(self, delivery_id: str, principal: Principal) -> DeliveryRow:
        row = await self._database.deliveries.get(delivery_id)
        if row is None:
            raise _unknown(delivery_id)
        return seen(row, principal, "delivery")


def _unknown(delivery_id: str) -> NotFound:
    return NotFound(f"no delivery has the id {delivery_id}", reason="DELIVERY_NOT_FOUND")
