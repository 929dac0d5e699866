"""Ports that are handed out for one test, and for the tests of several workers, do not overlap."""

from __future__ import annotations

import pytest

from tapeline.testing import process
from tapeline.testing.process import free_port_range


def test_the_ranges_of_one_test_are_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_given", [])  # what earlier tests of this worker were given
    ranges = sorted(free_port_range(size) for size in (2000, 400, 400))
    assert all(last < first for (_, last), (first, _) in zip(ranges, ranges[1:], strict=False))
    assert all(first % 2 == 0 for first, _ in ranges)


@pytest.mark.parametrize("workers", [2, 4])
def test_workers_have_ports_of_their_own(monkeypatch: pytest.MonkeyPatch, workers: int) -> None:
    monkeypatch.setenv("PYTEST_XDIST_WORKER_COUNT", str(workers))
    ranges = []
    for number in range(workers):
        monkeypatch.setenv("PYTEST_XDIST_WORKER", f"gw{number}")
        ranges.append([free_port_range(500) for _ in range(3)])
    for earlier, later in zip(ranges, ranges[1:], strict=False):
        assert max(last for _, last in earlier) < min(first for first, _ in later)
