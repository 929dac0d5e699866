"""Legs of several engine threads that come together: they move with their players and taps, and nothing is lost. Virtual time."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from rtp_peer import World, tone

from tapeline.rtp import EngineConfig, Leg, PlayerEnded, Source, TapEnded, TooManyLegs, Voice
from tapeline.rtp.engine import state
from tapeline.rtp.engine.transit import home
from tapeline.rtp.engine.virtual import VirtualEngine

L16 = {"codec": "L16", "rate": 8000, "payload_type": 96}


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.engine.stop()
    world.engine = VirtualEngine(EngineConfig(threads=3), start=1000.0)
    return world


def say(world: World, *voices: tuple[Leg, np.ndarray]) -> None:
    world.speak(*voices)
    world.wait(0.02)


def two(world: World) -> tuple[Leg, Leg]:
    one, other = world.leg(**L16), world.leg(**L16)
    assert home(one) is not home(other)
    return one, other


def test_a_leg_moves_to_its_bus_with_players_and_taps(world: World) -> None:
    one, other = two(world)
    bus = world.engine.open_bus(beside=one)
    bus.add(one)
    tap = world.tap([Source("in", other)], [Source("out", other)])
    said, prompt = tone(3.0, 500, 6000), tone(1.0, 500, 4000)
    player = other.play(prompt)
    packets = world.spoken(other, said)
    for at, data in packets[:25]:
        world.engine.inject(other, data, at)
    old = home(other)
    bus.add(other)
    assert home(other) is home(tap) is home(one) is not old
    other.watch_voice(500)  # kept, as everything, until the leg has arrived
    for at, data in packets[25:]:
        world.engine.inject(other, data, at)
    world.wait(0.02)
    tap.stop()
    world.wait(0.5)
    recording = world.recording(2)
    assert np.array_equal(recording[:23800, 0], said[:23800]), "nothing is lost on the way"
    assert np.abs(recording[:8000, 1]).max() == pytest.approx(4000, rel=0.01) and not recording[9000:, 1].any()
    assert [event.player for event in world.events(PlayerEnded)][0] is player
    (ended,) = world.events(TapEnded)
    assert ended.frames == len(recording)
    sent = world.sent(other)
    for before, after in itertools.pairwise(sent):
        assert (after.sequence - before.sequence) & 0xFFFF == 1
    heard = np.concatenate([np.frombuffer(packet.payload, ">i2") for packet in world.sent(one)[-75:]])
    assert np.abs(heard.astype(int)).max() == pytest.approx(6000, rel=0.01)
    assert other.counters().placed == 150 and [event.leg for event in world.events(Voice)][0] is other
    assert (old.legs, old.kept) == (0, {})


def test_what_belongs_together_goes_together(world: World) -> None:
    """A tap hears a leg that moves: the tap goes, and so does what else it hears, a conference with all its members."""
    one, other = two(world)
    mine = world.engine.open_bus(beside=one)
    theirs = world.engine.open_bus(beside=other)
    guests = []
    for _ in range(3):
        guest = world.engine.open_leg(beside=other)
        guest.configure(one.spec)  # type: ignore[arg-type]
        theirs.add(guest)
        guests.append(guest)
    tap = world.tap([Source("in", other)], [Source("mix", theirs)])
    say(world, (other, tone(1.0, 400)), (guests[0], tone(1.0, 600)))
    mine.add(one)
    mine.add(other)
    assert {home(part) for part in (one, other, mine, theirs, tap, *guests)} == {home(one)}
    say(world, (other, tone(1.0, 400)), (guests[0], tone(1.0, 600)))
    tap.stop()
    world.wait(0.5)
    recording = world.recording(2).astype(int)
    for channel in range(2):
        assert np.abs(np.diff(recording[:15900, channel])).max() < 5500
        assert (np.abs(recording[:15900, channel]).reshape(-1, 100).max(axis=1) > 6000).mean() > 0.98
    for part in (mine, theirs, one, other, *guests):
        part.close()
    world.wait(2.0)
    assert world.engine.leg_count == 0 and world.engine.counters().buses == 0
    assert [shard.legs for shard in world.engine._shards] == [0, 0, 0]


def test_a_transfer_between_threads(world: World) -> None:
    """A leg leaves one bridge, whose taps go on, for another on another thread."""
    one, other = two(world)
    third = world.engine.open_leg(beside=other)
    third.configure(one.spec)  # type: ignore[arg-type]
    first, second = world.engine.open_bus(beside=other), world.engine.open_bus(beside=one)
    first.add(other)
    first.add(third)
    second.add(one)
    taps = [world.tap([Source("out", leg)], name=str(leg.id)) for leg in (other, third)]
    voices = lambda: [(leg, tone(1.0, 400 + 200 * k, 5000)) for k, leg in enumerate((one, other, third))]  # noqa: E731
    say(world, *voices())
    second.add(other)
    assert home(taps[0]) is home(one) and home(taps[1]) is home(third)
    say(world, *voices())
    for tap in taps:
        tap.stop()
    world.wait(0.5)

    def pitch(leg: Leg, at: float) -> int:
        part = world.recording(name=str(leg.id))[round(at * 8000) :][:6400, 0].astype(float)
        power = np.abs(np.fft.rfft(part * np.hanning(6400)))
        return round(power.argmax() * 8000 / 6400 / 20) * 20 if power.max() > 1000 else 0

    assert [pitch(other, 0.1), pitch(other, 1.1)] == [800, 400]
    assert [pitch(third, 0.1), pitch(third, 1.1)] == [600, 0]


def test_orders_on_the_way_are_kept_in_order(world: World) -> None:
    """All in one moment: joins, leaves, other buses, closings; the last word counts."""
    one, other = two(world)
    third = world.leg(**L16)
    here, there = world.engine.open_bus(beside=one), world.engine.open_bus(beside=third)
    here.add(one)
    there.add(third)
    here.add(other)
    here.remove(other)
    there.add(other)
    here.add(other)
    there.add(other, hear=0.5)
    say(world, (third, tone(1.0, 600, 8000)), (one, tone(1.0, 400, 8000)), (other, tone(1.0, 800, 8000)))
    assert home(other) is home(third) and set(there.members) == {third, other}
    heard = {
        leg: np.concatenate([np.frombuffer(packet.payload, ">i2") for packet in world.sent(leg)[-30:]]).astype(int)
        for leg in (one, other, third)
    }
    assert not heard[one].any()
    assert np.abs(heard[other]).max() == pytest.approx(4000, rel=0.02)
    assert np.abs(heard[third]).max() == pytest.approx(7608, rel=0.02), "ten samples to a wave"
    here.add(other)
    other.close()
    here.close()
    there.close()
    world.wait(1.0)
    assert world.engine.leg_count == 2


def test_taps_over_several_threads(world: World) -> None:
    """Their sources come to one; a closed one among them is silent."""
    legs = [world.leg(**L16) for _ in range(4)]
    assert len({home(leg) for leg in legs}) == 3
    tap = world.tap(*([Source("in", leg)] for leg in legs[:3]))
    legs[1].close()
    tap.hear(1, [Source("in", legs[3])])
    tap.hear(2, [Source("in", legs[2]), Source("in", legs[3])])
    assert tap.frames == 0
    say(world, (legs[0], tone(1.0, 400)), (legs[2], tone(1.0, 600)), (legs[3], tone(1.0, 800)))
    assert len({home(part) for part in (tap, legs[0], legs[2], legs[3])}) == 1
    tap.stop()
    world.wait(0.5)
    recording = world.recording(3).astype(int)
    assert [int(np.abs(recording[1000:7000, channel]).max()) > 7000 for channel in range(3)] == [True] * 3
    assert np.abs(recording[1000:7000, 2]).max() > 12000


def test_a_full_thread_takes_no_more(tmp_path: Path) -> None:
    engine = VirtualEngine(EngineConfig(threads=2, max_legs=2))
    legs = [engine.open_leg() for _ in range(4)]
    bus = engine.open_bus(beside=legs[0])
    bus.add(legs[0])
    with pytest.raises(TooManyLegs):
        bus.add(legs[1])
    assert legs[1] not in bus.members and legs[1].bus is None
    engine.stop()


def test_moving_leaves_nothing_behind(world: World) -> None:
    def kept() -> tuple[int, int]:
        return sum(len(shard.kept) for shard in world.engine._shards), len(state.objects)

    before = kept()
    for _ in range(50):
        one, other = world.leg(), world.leg()
        bus = world.engine.open_bus(beside=one)
        world.tap([Source("in", other)], [Source("out", other)]).stop()
        other.play(tone(0.02))
        for leg in (one, other):
            bus.add(leg)
        bus.close()
        for leg in (one, other):
            leg.close()
        world.wait(0.1)
    world.wait(2.0)
    assert kept() == before and world.engine.leg_count == 0


def test_stopping_in_the_midst_of_a_move(world: World) -> None:
    one, other = two(world)
    bus = world.engine.open_bus(beside=one)
    tap = world.tap([Source("in", other)])
    bus.add(other)
    world.engine.stop()
    (ended,) = world.events(TapEnded)
    assert ended.tap is tap and other.gone


def test_a_leg_that_is_sent_on_while_it_is_on_its_way(world: World) -> None:
    """Three threads, three buses, one moment: commands follow the leg to where it ends, and so does what hears it."""
    legs = [world.leg(**L16) for _ in range(3)]
    assert len({home(leg) for leg in legs}) == 3
    buses = [world.engine.open_bus(beside=leg) for leg in legs]
    tap = world.tap([Source("in", legs[0])])
    for bus, leg in zip(buses, legs, strict=True):
        bus.add(leg)
    buses[1].add(legs[0])
    legs[0].watch_voice(500)
    late = world.tap([Source("in", legs[0])], [Source("out", legs[2])], name="late")
    player = legs[0].play(tone(0.3))
    buses[2].add(legs[0])
    legs[0].echo(False)
    tap.hear(0, [Source("in", legs[0]), Source("mix", buses[2])])
    player.stop()
    say(world, (legs[0], tone(1.0, 400)), (legs[2], tone(1.0, 600)))
    assert home(legs[0]) is home(legs[2]) is home(tap) is home(late)
    assert [event.leg for event in world.events(Voice)][0] is legs[0]
    for each in (tap, late):
        each.stop()
    world.wait(0.5)
    assert len(world.events(TapEnded)) == 2 and [event.player for event in world.events(PlayerEnded)] == [player]
    heard = world.recording(2, name="late").astype(int)
    assert np.abs(heard[2000:7000]).max(axis=0).min() > 7000
    for part in (*buses, *legs):
        part.close()
    world.wait(1.0)
    assert world.engine.leg_count == 0 and world.engine.counters().buses == 0
    assert [shard.legs for shard in world.engine._shards] == [0, 0, 0]
