"""What taps hear of others: a leg's `out` and a bus's `mix` are the members' own voices at their own times, with gains as they were."""

from __future__ import annotations

import numpy as np
import pytest
from rtp_peer import World, tone

from tapeline.core.errors import InvalidInput
from tapeline.rtp import Bus, Leg, PlayerEnded, Source, Tap, TooManyPlayers
from tapeline.rtp.engine.constants import DEAF, STAYS

L16 = {"codec": "L16", "rate": 8000, "payload_type": 96}


def pitches(samples: np.ndarray, begin: float, end: float, rate: int = 8000) -> dict[int, float]:
    """The pitches heard between two times in s, to 20 Hz, with their levels."""
    part = samples[round(begin * rate) : round(end * rate)].astype(float)
    power = np.abs(np.fft.rfft(part * np.hanning(len(part)))) * 4 / len(part)
    loud = [k for k in np.flatnonzero(power > 200) if power[k] == power[max(0, k - 3) : k + 4].max()]
    return {round(k * rate / len(part) / 20) * 20: power[k] for k in loud}


def click(rate: int = 8000) -> np.ndarray:
    """A second with a click in the middle."""
    pcm = np.zeros(rate, np.int16)
    pcm[rate // 2 : rate // 2 + 8] = 20000
    return pcm


def onset(samples: np.ndarray) -> int:
    return int(np.flatnonzero(np.abs(samples.astype(int)) > 10000)[0])


def smooth(samples: np.ndarray, hz: float, level: int) -> bool:
    """No step between two samples that is greater than a tone's own."""
    return bool(np.abs(np.diff(samples.astype(int))).max() < 2 * np.pi * hz / 8000 * level * 1.3 + 50)


def bridged(world: World, count: int = 2, **spec: object) -> tuple[list[Leg], Bus]:
    legs = [world.leg(**(L16 | spec)) for _ in range(count)]
    bus = world.engine.open_bus()
    for leg in legs:
        bus.add(leg)
    world.wait(0.1)
    return legs, bus


def say(world: World, *voices: tuple[Leg, np.ndarray]) -> None:
    """As `World.speak`, to the end of the last packet."""
    world.speak(*voices)
    world.wait(0.02)


def finish(world: World, *taps: Tap) -> None:
    world.wait(0.1)
    for tap in taps:
        tap.stop()
    world.wait(0.5)


@pytest.mark.parametrize("members", [2, 5])
def test_a_click_through_both_sides_stands_at_one_time(world: World, members: int) -> None:
    legs, bus = bridged(world, members)
    tap = world.tap([Source("in", legs[0])], [Source("out", legs[0])], [Source("mix", bus)])
    say(world, *((leg, click()) for leg in legs[:2]))
    finish(world, tap)
    heard = world.recording(3)
    own, other, mix = (onset(heard[:, channel]) for channel in range(3))
    assert own == other == mix
    assert heard[own, 1] == 20000 and heard[own, 2] == 32767


def test_out_is_own_prompts_and_the_others_but_not_oneself(world: World) -> None:
    legs, bus = bridged(world, 3)
    tap = world.tap([Source("out", legs[0])], [Source("out", legs[1])])
    legs[0].play(tone(1.0, 1000, 3000))
    bus.play(tone(1.0, 1400, 2000))
    say(world, *((leg, tone(1.0, 400 + 200 * k, 3000)) for k, leg in enumerate(legs)))
    finish(world, tap)
    heard = world.recording(2)
    first, second = (pitches(heard[:, channel], 0.3, 0.8) for channel in range(2))
    assert first == pytest.approx({600: 3000, 800: 3000, 1000: 3000, 1400: 2000}, rel=0.05)
    assert second == pytest.approx({400: 3000, 800: 3000, 1400: 2000}, rel=0.05)


def test_gains_are_those_of_the_time(world: World) -> None:
    legs, bus = bridged(world)
    taps = [world.tap([Source("out", legs[1])]), world.tap([Source("mix", bus)], name="mix")]  # type: ignore[arg-type]
    for hear, speak in ((1.0, 1.0), (1.0, 0.5), (0.5, 1.0), (0.0, 1.0), (2.0, 1.0)):
        bus.set_gain(legs[0], speak=speak)
        bus.set_gain(legs[1], hear=hear)
        say(world, (legs[0], tone(1.0, 500, 8000)))
    finish(world, *taps)
    for name, wanted in (("audio", (1, 0.5, 0.5, 0, 2)), ("mix", (1, 0.5, 1, 1, 1))):
        heard = world.recording(name=name)[:, 0]
        for number, gain in enumerate(wanted):
            assert np.abs(heard[number * 8000 + 1000 : number * 8000 + 7000].astype(int)).max() == pytest.approx(8000 * gain, rel=0.02)
        assert smooth(heard, 500, 16000)


def test_joins_and_leaves_do_not_click(world: World) -> None:
    """In the recording and on the line; what is not changed goes on to the sample."""
    legs, bus = bridged(world, 3)
    tap = world.tap([Source("out", legs[0])], [Source("mix", bus)])  # type: ignore[arg-type]
    world.engine.sent.clear()
    for step in range(4):
        if step % 2:
            bus.remove(legs[1])
        else:
            bus.add(legs[1])
        voices = [(leg, tone(0.51, hz, 6000)[: 25 * 160]) for leg, hz in ((legs[1], 320), (legs[2], 480))]
        say(world, *voices)
    finish(world, tap)
    for samples in (*world.recording(2).T, np.concatenate([np.frombuffer(p.payload, ">i2") for p in world.sent(legs[0])])):
        assert smooth(samples[:15500], 480, 13000)


def test_what_comes_late_is_recorded_on_the_other_side(world: World) -> None:
    legs, bus = bridged(world)
    taps = [world.tap([Source("out", legs[1])]), world.tap([Source("mix", bus)], name="mix")]
    packets = world.spoken(legs[0], tone(1.6, 500, 8000))
    late = [(at + (0.7 if number % 2 else 0.0), data) for number, (at, data) in enumerate(packets)]
    for at, data in sorted(late):
        world.engine.inject(legs[0], data, at)
    finish(world, *taps)
    assert legs[0].counters().late == 0
    for name in ("audio", "mix"):
        assert pitches(world.recording(name=name)[:, 0], 0.1, 1.5) == pytest.approx({500: 8000}, rel=0.02)


def test_a_channel_may_hear_another(world: World) -> None:
    """The recorder follows a transfer: from now on the channel is another leg's, and what it hears goes with it."""
    legs, bus = bridged(world, 3)
    tap = world.tap([Source("in", legs[0])], [Source("in", legs[2])])
    other = world.tap([Source("in", legs[0])], name="other")
    voices = lambda: [(leg, tone(1.0, 400 + 200 * k, 5000)) for k, leg in enumerate(legs)]  # noqa: E731
    say(world, *voices())
    tap.hear(0, [Source("in", legs[1]), Source("in", legs[2])])
    say(world, *voices())
    tap.hear(0, [Source("in", legs[2])])
    tap.hear(1, [])
    say(world, *voices())
    tap.hear(1, [Source("mix", bus)])
    say(world, *voices())
    finish(world, tap, other)
    heard = world.recording(2)
    found = [[set(pitches(heard[:, channel], at + 0.1, at + 0.9)) for at in range(4)] for channel in range(2)]
    assert found == [[{400}, {600, 800}, {800}, {800}], [{800}, {800}, set(), {400, 600, 800}]]
    assert smooth(heard[8200:31000, 0], 800, 10000) and smooth(heard[:16000, 1], 800, 5000)
    assert set(pitches(world.recording(name="other")[:, 0], 0.1, 3.9)) == {400}
    with pytest.raises(InvalidInput):
        tap.hear(2, [])


def test_a_tap_outlives_its_legs_and_finds_new_ones(world: World) -> None:
    legs, bus = bridged(world, 3)
    tap = world.tap([Source("in", legs[0])], [Source("out", legs[0])])
    say(world, (legs[0], tone(1.0, 400)), (legs[1], tone(1.0, 600)))
    for leg in legs[:2]:
        leg.close()
    world.wait(3.0)
    assert world.engine.leg_count == 1
    tap.hear(0, [Source("in", legs[0]), Source("in", legs[2])])
    say(world, (legs[2], tone(1.0, 800)))
    finish(world, tap)
    heard = world.recording(2)
    assert [set(pitches(heard[:, 0], at + 0.1, at + 0.9)) for at in range(5)] == [{400}, set(), set(), set(), {800}]
    assert set(pitches(heard[:, 1], 0.1, 0.9)) == {600} and not heard[8200:, 1].any()
    assert tap.frames == len(heard)


def test_many_sources_grow(world: World) -> None:
    """A conference of 120, each on its channel as far as they go, the surplus in the last."""
    legs = [world.leg(direction="recvonly", **L16) for _ in range(120)]
    bus = world.engine.open_bus()
    tap = world.tap([Source("mix", bus)], [])
    for number, leg in enumerate(legs):
        bus.add(leg)
        tap.hear(1, [Source("in", leg) for leg in legs[: number + 1]])
    say(world, *((leg, np.full(8000, 100, np.int16)) for leg in legs))
    finish(world, tap)
    heard = world.recording(2)
    assert np.all(heard[1000:7000] == 12000)
    for leg in legs:
        leg.close()
    world.wait(0.5)
    assert world.engine.leg_count == 0


def test_more_changes_than_can_wait_are_all_heard(world: World) -> None:
    legs, bus = bridged(world)
    tap = world.tap([Source("out", legs[1])])
    for step in range(6 * STAYS):
        bus.set_gain(legs[1], hear=1 - step % 2)
        say(world, (legs[0], tone(0.1, 500, 8000)))
    finish(world, tap)
    heard = world.recording()[:, 0].astype(int)
    for step in range(6 * STAYS):
        loud = np.abs(heard[step * 800 + 200 : step * 800 + 600]).max()
        assert (loud > 7000) if step % 2 == 0 else (loud == 0)


def test_who_is_not_sent_to_hears_nothing(world: World) -> None:
    """A leg that the peer holds hears neither its bus nor its prompts."""
    legs, _ = bridged(world)
    tap = world.tap([Source("out", legs[1])])
    for direction in ("sendrecv", "recvonly", "sendrecv"):
        spec = legs[1].spec
        assert spec
        legs[1].configure(type(spec)(**(L16 | {"remote": spec.remote, "direction": direction})))  # type: ignore[arg-type]
        say(world, (legs[0], tone(1.0)))
    finish(world, tap)
    heard = world.recording()[:, 0]
    assert [bool(heard[at * 8000 + 800 : at * 8000 + 7200].any()) for at in range(3)] == [True, False, True]


def test_players_of_a_bus(world: World) -> None:
    legs, bus = bridged(world, 2, ptime=30)
    other = world.leg(codec="L16", rate=16000, payload_type=97)
    bus.add(other)
    world.wait(0.2)
    world.engine.sent.clear()
    start = world.engine.now()
    short, loop = bus.play(tone(0.5, 600)), bus.play(tone(0.1, 1000), loop=True)
    world.wait(1.0)
    (ended,) = world.events(PlayerEnded)
    assert ended.player is short and not ended.stopped and ended.at == pytest.approx(start + 0.5, abs=0.03)
    for leg, rate in ((legs[0], 8000), (other, 16000)):
        said = np.concatenate([np.frombuffer(packet.payload, ">i2") for packet in world.sent(leg)])
        assert set(pitches(said, 0.1, 0.45, rate)) == {600, 1000}
        assert set(pitches(said, 0.6, 0.95, rate)) == {1000}
        assert np.abs(said[: rate // 50]).max() > 2000 or np.abs(said[rate // 50 : rate // 25]).max() > 2000
    with pytest.raises(TooManyPlayers):
        for _ in range(8):
            bus.play(tone(0.1))
    bus.close()
    world.wait(0.2)
    assert len(world.events(PlayerEnded)) == 9 and {event.player for event in world.events(PlayerEnded) if event.stopped} >= {loop}
    assert world.engine.counters().buses == 0 and world.engine.counters().players == 0


def test_whom_a_member_ignores_it_does_not_hear_nor_is_that_relayed(world: World) -> None:
    legs = [world.leg(codec="L16", rate=8000, payload_type=96) for _ in range(5)]
    for many in (2, 3, 5):
        bus = world.engine.open_bus()
        for leg in legs[:many]:
            bus.add(leg)
        bus.ignore(legs[1], legs[0])
        assert many > 2 or not bus.passes_digits(legs[0])
        mix = world.tap([Source("out", legs[1])], [Source("out", legs[0])], [Source("mix", bus)])
        world.wait(0.1)
        world.engine.sent.clear()
        world.speak(*((leg, tone(0.5, 500 + 200 * number, 3000)) for number, leg in enumerate(legs[:many])))
        world.wait(0.2)
        for number in range(2):
            heard = np.concatenate([np.frombuffer(packet.payload, ">i2") for packet in world.sent(legs[number])]).astype(float)
            present = [amplitude(heard, 500 + 200 * each) > 1000 for each in range(many)]
            assert present == [each != number and (number, each) != (1, 0) for each in range(many)]
        mix.stop()
        world.wait(0.5)
        recording = world.recording(3).astype(float)
        for channel, missing in enumerate(({0, 1}, {0}, set())):
            assert [amplitude(recording[:, channel], 500 + 200 * each) > 1000 for each in range(many)] == [
                each not in missing for each in range(many)
            ]
        bus.close()
        world.wait(2.0)


def test_who_ignores_many_that_come_and_go_does_not_run_out_of_room(world: World) -> None:
    one, two = (world.leg(codec="L16", rate=8000, payload_type=96) for _ in range(2))
    bus = world.engine.open_bus()
    bus.add(one)
    for _ in range(DEAF + 3):
        bus.add(two)
        bus.ignore(one, two)
        bus.remove(two)
        world.wait(0.02)
        two.close()
        two = world.leg(codec="L16", rate=8000, payload_type=96)
    bus.add(two)
    bus.ignore(one, two)
    world.engine.sent.clear()
    world.speak((two, tone(0.4, 700, 3000)))
    world.wait(0.2)
    assert not np.concatenate([np.frombuffer(packet.payload, ">i2") for packet in world.sent(one)]).any()


def amplitude(samples: np.ndarray, hertz: float) -> float:
    """Of a tone of 8000 samples a second, where it is loudest for 0.2 s."""
    wave = np.exp(-2j * np.pi * hertz * np.arange(1600) / 8000)
    return max((2 * abs(np.mean(samples[at : at + 1600] * wave)) for at in range(0, len(samples) - 1600, 800)), default=0.0)
