from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
from api_world import World
from kazoo_world import KazooWorld
from renewal import fresh_house, fresh_world


@pytest.fixture
def world() -> World:
    return fresh_world()


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx2.AsyncClient]:
    async with world.client() as opened:
        yield opened


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[KazooWorld]:
    """A world whose documents, callflows and deliveries are rows of a database."""
    made = fresh_house()
    await made.open(tmp_path)
    yield made
    await made.close()
