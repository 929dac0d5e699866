"""What the tests of the whole system share."""

from __future__ import annotations

import pytest
from worker_house import NURSERY


@pytest.fixture
def nursery() -> None:
    """For tests whose workers come from `worker_house.working`."""


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if "nursery" in getattr(item, "fixturenames", ()):
        NURSERY.start()  # before anybody looks at what the test leaves behind: it stays until the end


def pytest_sessionfinish() -> None:
    NURSERY.stop()
