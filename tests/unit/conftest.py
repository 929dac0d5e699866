"""What tests of several packages share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tapeline.store import Database


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    """An empty database in a file of its own, with all its tables."""
    opened = Database(f"sqlite:///{tmp_path / 'rows.sqlite'}")
    await opened.open()
    yield opened
    await opened.close()
