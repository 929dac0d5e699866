"""The watch sees what is left behind, and only that."""

from __future__ import annotations

import asyncio
import socket
import threading
from pathlib import Path

import pytest

from tapeline.testing.leaks import Snapshot


def test_nothing_is_found_where_nothing_is_left() -> None:
    before = Snapshot.take()
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()
    assert before.left_behind() == []


def test_a_thread_is_found() -> None:
    before = Snapshot.take()
    go = threading.Event()
    thread = threading.Thread(target=go.wait, name="forgotten")
    thread.start()
    try:
        assert before.left_behind(grace_s=0) == ["thread forgotten"]
    finally:
        go.set()
        thread.join()


def test_a_descriptor_is_found(tmp_path: Path) -> None:
    before = Snapshot.take()
    with (tmp_path / "open").open("w"), socket.socket():
        left = before.left_behind(grace_s=0)
    assert len(left) == 2
    assert any(what.endswith("/open") for what in left)
    assert any("socket:" in what for what in left)


async def test_a_task_is_found() -> None:
    before = Snapshot.take()
    task = asyncio.create_task(asyncio.Event().wait(), name="forgotten")
    assert [what.split(":")[0] for what in before.left_behind(grace_s=0)] == ["task forgotten"]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.leakless
async def test_the_watch_lets_a_clean_test_with_a_loop_pass() -> None:
    await asyncio.to_thread(lambda: None)
