"""A thousand calls leave nothing behind: no task, descriptor, port, thread, transaction, leg, tap, spool folder or memory."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest
from house_inside import Caller, Target, apart, serving, settings, settled, tell

from tapeline.rtp import COMPILED

FLOW = """{"actions": [
    {"type": "answer"}, {"type": "recording_start"}, {"type": "sleep", "option": {"duration": 100}}, {"type": "hangup"}
]}"""
AT_ONCE = 40
FIRST = CALLS = 500 if COMPILED else 250  # the interpreted engine shows a leak as well, and takes its time
# What makes up one call is some 20 kB, so five hundred kept would be 10 MB. As many go before: what waits to be written while so many
# come at once is memory that the allocator keeps. An interpreted leg is ten times that, and its numpy buffers come back in lumps.
MOST_KB = 5_000 if COMPILED else 40_000


async def place(caller: Caller, target: Target, count: int) -> list[str]:
    """Calls, each of which the flow ends."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> str:
        async with gate:
            _, ended = caller.invite(target, "1000", number)
            return await asyncio.wait_for(ended, 20)

    return await asyncio.gather(*(one(number) for number in range(count)))


@pytest.mark.timeout(240)
def test_a_thousand_calls_leave_nothing_behind(tmp_path: Path) -> None:
    before, after = apart(__file__, tmp_path)
    after.no_more_than(before, MOST_KB)
    assert not [path for path in (tmp_path / "data" / "spool").iterdir() if path.is_dir()]
    finished = list((tmp_path / "data" / "objects").rglob("*.wav"))
    assert len(finished) == FIRST + CALLS


async def thousand_calls(folder: Path) -> None:
    caller = Caller()
    async with serving(settings(folder, {"/.*/": FLOW}), folder, caller) as (server, target):
        # The first half fills what is kept for good: caches, pools, the allocator's arenas.
        assert await place(caller, target, FIRST) == ["normal"] * FIRST
        before = await settled(server, caller)
        assert await place(caller, target, CALLS) == ["normal"] * CALLS
        after = await settled(server, caller)
    tell(before, after)


if __name__ == "__main__":
    asyncio.run(thousand_calls(Path(sys.argv[1])))
