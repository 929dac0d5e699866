from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
import pytest
from api_world import World


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx2.AsyncClient]:
    async with world.client() as opened:
        yield opened
