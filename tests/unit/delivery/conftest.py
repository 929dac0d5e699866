"""What the tests of deliveries share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sending_bench import Bench

from tapeline.delivery.http import GuardedClient
from tapeline.store import Database, ObjectStore
from tapeline.testing.receiver import Receiver


@pytest.fixture
async def bench(tmp_path: Path, database: Database) -> AsyncIterator[Bench]:
    with Receiver() as receiver:
        async with GuardedClient(allow_private_addresses=True) as client:
            yield Bench(database, ObjectStore(str(tmp_path / "objects")), receiver, client, tmp_path)
