"""A database on a real SQLite file, for all tests of the store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tapeline.store import Database


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = Database(f"sqlite:///{tmp_path / 'rows.sqlite'}")
    await opened.open()
    yield opened
    await opened.close()
