from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
import pytest
from api_world import World
from renewal import fresh_world


@pytest.fixture
def world() -> World:
    return fresh_world()


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx2.AsyncClient]:
    async with world.client() as opened:
        yield opened
