"""When a packet arrived is what the kernel says, also where the engine was held up in the middle of a tick."""

from __future__ import annotations

from pathlib import Path

import pytest
from rtp_peer import World

from tapeline.rtp.engine import loop, state
from tapeline.rtp.engine.build import COMPILED
from tapeline.rtp.engine.transit import home

MS = 1_000_000


@pytest.mark.skipif(COMPILED, reason="looks into a function that only the uncompiled build can be looked into")
@pytest.mark.parametrize(("stamped", "taken"), [(-5, -5), (60, 60), (90, 70)])
def test_a_packet_that_comes_during_a_tick_came_when_it_came(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stamped: int, taken: int
) -> None:
    """The tick began at 0 ms and now it is 70: nothing is dated back to 0, and nothing lies ahead (a wall clock may be set)."""
    world = World(tmp_path)
    leg = world.leg()
    world.wait(0.1)
    shard, inner = state.objects[home(leg).handle], state.leg_of(leg.handle)
    arrivals: list[int] = []

    def receive_batch(shard: state.Shard, fd: int, limit: int) -> int:
        shard.at[0] = shard.now + stamped * MS
        return 0 if arrivals else 1

    monkeypatch.setattr(loop, "receive_batch", receive_batch)
    monkeypatch.setattr(loop, "clock", lambda: shard.now + 70 * MS)
    monkeypatch.setattr(loop, "receive", lambda shard, leg, buf, n, high, low, port, at: arrivals.append((at - shard.now) // MS))
    inner.read_at = 0
    loop.read_leg(shard, inner)
    assert arrivals == [taken]
