"""The world of the API's tests with real callflows and documents behind it: rows in SQLite, and the index that calls ask."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from api_world import World

from tapeline.api.kazoo.words import hex_id
from tapeline.calls.kazoo.stored import Refresher, Stored
from tapeline.calls.services.callflows import Callflows, Documents
from tapeline.calls.services.deliveries import Deliveries
from tapeline.store import Database
from tapeline.testing.clock import FakeClock


class Kit:
    """As much of a call's equipment as these services use."""

    def __init__(self, clock: FakeClock, stored: Stored, pool: ThreadPoolExecutor) -> None:
        self.clock, self.stored, self.pool = clock, stored, pool

    async def thread(self, work: Callable[..., Any], *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self.pool, lambda: work(*args))


class KazooWorld(World):
    database: Database
    stored: Stored
    refresher: Refresher

    async def open(self, folder: Path) -> None:
        self.database = Database(f"sqlite:///{folder / 'rows.sqlite'}")
        await self.database.open()
        self.pool = ThreadPoolExecutor(2)
        self.stored = Stored()
        self.refresher = Refresher(self.database, self.stored, self.pool)
        kit: Any = Kit(self.clock, self.stored, self.pool)
        service: Any = self.service
        service.callflows = Callflows(self.database, kit, self.refresher.refresh)
        service.deliveries = Deliveries(self.database, self.clock)
        service.documents = Documents(self.database, kit, self.refresher.refresh)

    async def close(self) -> None:
        await self.database.close()
        self.pool.shutdown()

    def path(self, rest: str = "", account: str = "") -> str:
        return f"/v2/accounts/{hex_id(account or self.account)}{rest}"
