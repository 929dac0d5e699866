"""What all tests share: hypothesis' profiles and the watch over what a test leaves behind.

Every test under tests/system is watched; others ask for it with `@pytest.mark.leakless`. A watched test that leaves a thread, a descriptor
or a task behind fails.
"""

from __future__ import annotations

import inspect
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tapeline.testing.leaks import Snapshot

# One failure is one failure: the same examples on every machine and in every run, unless someone goes looking for new ones.
settings.register_profile("ci", derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("explore", deadline=None, max_examples=2000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

SYSTEM = Path(__file__).parent / "system"


def pytest_configure(config: pytest.Config) -> None:
    # A run in the background starts with SIGINT ignored, and so would every child that is to be ended by Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line("markers", "leakless: fails where it leaves threads, descriptors or tasks behind (always on in tests/system)")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        watched = SYSTEM in item.path.parents or item.get_closest_marker("leakless") is not None
        if watched and isinstance(item, pytest.Function):
            # First in the row: set up before all other fixtures, and so judging after they are gone.
            item.fixturenames.insert(0, "nothing_left_behind")
            if inspect.iscoroutinefunction(item.obj):
                item.fixturenames.append("no_task_left_behind")


@pytest.fixture
def nothing_left_behind() -> Iterator[None]:
    """Threads and descriptors."""
    before = Snapshot.take()
    yield
    left = before.left_behind()
    assert not left, "the test left behind: " + "; ".join(left)


@pytest.fixture
async def no_task_left_behind() -> AsyncIterator[None]:
    """Tasks on the test's own loop."""
    before = Snapshot.take()
    yield
    left = [what for what in before.left_behind(grace_s=0.0) if what.startswith("task ")]
    assert not left, "the test left behind: " + "; ".join(left)
