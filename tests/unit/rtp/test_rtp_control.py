"""The queues between Python and the engine, the ports, and what an engine leaves behind: nothing."""

from __future__ import annotations

import os

import numpy as np
import pytest
from rtp_peer import World, tone

from tapeline.rtp import LegCounters, NoPorts, PlayerEnded, Source, TapEnded, TooManyLegs
from tapeline.rtp.engine import state
from tapeline.rtp.engine.constants import EVENTS
from tapeline.rtp.engine.parts import DROPS
from tapeline.rtp.engine.ports import Ports
from tapeline.rtp.engine.virtual import VirtualEngine
from tapeline.rtp.spec import EngineConfig


def test_ends_are_told_however_long_nobody_listens(world: World) -> None:
    """More events than pipe and queue hold; then all ends arrive, each once."""
    legs = [world.leg() for _ in range(EVENTS // 2)]
    taps = [world.tap([Source("in", legs[0])], name=str(number)) for number in range(40)]
    world.wait(0.02)
    read, world.engine._read = world.engine._read, lambda shard: None  # type: ignore[method-assign]
    players = []
    for leg in legs:
        players += [leg.play(np.zeros(8, np.int16)) for _ in range(8)]
    for _ in range(40):
        world.wait(0.02)
        world.engine._shard.flush()
    for tap in taps:
        tap.stop()
    world.wait(1.0)
    world.engine._read = read  # type: ignore[method-assign]
    assert world.events(PlayerEnded) == []
    world.wait(1.0)
    assert sorted(event.player.id for event in world.events(PlayerEnded)) == [player.id for player in players]
    assert sorted(event.tap.id for event in world.events(TapEnded)) == [tap.id for tap in taps]


def test_commands_wait_in_order_for_a_slow_engine(world: World) -> None:
    """More commands than the pipe holds, before the engine looks once."""
    leg = world.leg()
    for number in range(6000):
        leg.echo(number % 2 == 0)
    assert world.engine._shard.stalled
    leg.close()
    for _ in range(200):
        world.wait(0.02)
        world.engine._shard.busy = True
    assert world.engine.leg_count == 0


def test_drops_and_other_counters_are_told_apart() -> None:
    assert DROPS[0] == "placed" and DROPS[-1] == "reports"
    assert set(DROPS) < set(LegCounters.__dataclass_fields__)


def test_ports_are_pairs_and_cool_down() -> None:
    ports = Ports(41001, 41007, 2.0)
    taken = [ports.take("127.0.0.1", 0.0) for _ in range(3)]
    assert [port for *_, port in taken] == [41002, 41004, 41006][: len(taken)]
    for rtp, rtcp, port in taken:
        assert (rtp.getsockname()[1], rtcp.getsockname()[1]) == (port, port + 1)
    with pytest.raises(NoPorts):
        ports.take("127.0.0.1", 0.0)
    for rtp, rtcp, port in taken:
        rtp.close()
        rtcp.close()
        ports.give_back(port, 10.0)
    with pytest.raises(NoPorts):
        ports.take("127.0.0.1", 11.9)
    rtp, rtcp, port = ports.take("127.0.0.1", 12.0)
    assert port == 41002
    rtp.close()
    rtcp.close()


def test_a_port_that_somebody_else_has_is_passed_over() -> None:
    first = Ports(41012, 41016, 2.0)
    rtp, rtcp, port = first.take("127.0.0.1", 0.0)
    other = Ports(41012, 41016, 2.0).take("127.0.0.1", 0.0)
    assert (port, other[2]) == (41012, 41014)
    for sock in (rtp, rtcp, *other[:2]):
        sock.close()


def test_a_full_engine_refuses() -> None:
    engine = VirtualEngine(EngineConfig(max_legs=3))
    legs = [engine.open_leg() for _ in range(3)]
    with pytest.raises(TooManyLegs):
        engine.open_leg()
    legs[0].close()
    engine.advance(engine.now() + 0.5)
    engine.open_leg()
    engine.stop()


def test_a_thousand_calls_leave_nothing_behind(world: World) -> None:
    def resources() -> tuple[int, int, int]:
        kept = sum(len(shard.kept) for shard in world.engine._shards)
        return len(os.listdir("/proc/self/fd")), kept, len(state.objects)

    before = resources()
    for _ in range(1000):
        legs = [world.leg(), world.leg()]
        bus = world.engine.open_bus()
        for leg in legs:
            bus.add(leg)
        world.tap([Source("in", legs[0])], [Source("mix", bus)]).stop()
        legs[0].play(tone(0.02))
        bus.close()
        for leg in legs:
            leg.close()
        world.wait(0.1)
    world.wait(2.0)
    assert world.engine.leg_count == 0
    assert resources() == before
