"""Legs, buses and taps of different rates: levels stay, and nothing is heard that was not said."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rtp_peer import World, tone

from tapeline.rtp import COMPILED, Leg, Source
from tapeline.rtp.engine import filters

PAIRS = [(48000, 16000), (48000, 8000), (16000, 8000), (8000, 16000), (8000, 48000), (16000, 48000)]
SLOWEST_HZ = 300


def through(world: World, source: int, target: int, pcm: np.ndarray) -> np.ndarray:
    """What a tap at `target` hears of a bus on which `pcm` is played at `source`."""
    bus = world.engine.open_bus(source)
    bus.play(pcm)
    tap = world.tap([Source("mix", bus)], rate=target, name=(name := f"{world.engine.now()}"))
    world.wait(len(pcm) / source + 0.1)
    tap.stop()
    world.wait(0.3)
    return world.recording(name=name)[:, 0].astype(float)


def levels(heard: np.ndarray, rate: int, hz: float) -> tuple[float, float]:
    """The level of the tone `hz`, and of the loudest thing that is not it; in dB against amplitude 10000."""
    part = heard[rate // 10 : rate // 10 + rate // 2]
    power = np.abs(np.fft.rfft(part * np.kaiser(len(part), 14))) / np.kaiser(len(part), 14).sum() * 2
    places = np.arange(len(power)) * rate / len(part)
    near = np.abs(places - hz) < 30
    return tuple(20 * np.log10(max(float(power[chosen].max(initial=0.0)), 1e-3) / 10000) for chosen in (near, ~near))  # type: ignore[return-value]


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_tone_keeps_its_level_and_has_no_ghosts(world: World, source: int, target: int) -> None:
    slower = min(source, target)
    for hz in (SLOWEST_HZ, 1004, round(0.39 * slower)):
        heard = through(world, source, target, tone(0.8, hz, 10000, source))
        level, ghost = levels(heard, target, hz)
        assert abs(level) < 0.3, f"{hz} Hz"
        assert ghost < -55, f"{hz} Hz"


@pytest.mark.parametrize(("source", "target"), PAIRS[:3])
def test_what_the_slower_cannot_say_is_left_out(world: World, source: int, target: int) -> None:
    for hz in (0.58 * target, 0.7 * target, 0.99 * target, 0.49 * source):
        heard = through(world, source, target, tone(0.8, hz, 10000, source))
        assert max(levels(heard, target, hz)) < -55, f"{hz} Hz"


def test_what_is_constant_stays_so() -> None:
    for ratio in (2, 3, 6):
        assert filters.DOWN[ratio].sum() == 16384
        assert (filters.UP[ratio].reshape(ratio, filters.WIDTH).sum(axis=1) == 16384).all()
    assert len(filters.KERNELS) == 542


def test_a_conference_of_all_rates(world: World) -> None:
    """Eight legs of three kinds: each hears the seven others, as loud as they are, and not itself; one leaves and comes back."""
    specs = [{}, {"codec": "PCMA", "payload_type": 8}, {"codec": "L16", "rate": 16000, "payload_type": 97}, {"ptime": 30}]
    legs = [world.leg(**specs[number % 4]) for number in range(8)]
    bus = world.engine.open_bus(16000)
    for leg in legs:
        bus.add(leg)
    pitches = {leg: 350 + 317 * number for number, leg in enumerate(legs)}
    level = 3000

    def talk() -> dict[Leg, np.ndarray]:
        world.speak(*((leg, tone(1.0, pitches[leg], level, leg.rate)) for leg in legs))
        world.wait(0.02)
        return {leg: decoded(world, leg) for leg in legs}

    def decoded(world: World, leg: Leg) -> np.ndarray:
        from rtp_peer import decode

        assert leg.spec
        count = 700 // leg.spec.ptime
        packets = world.sent(leg)[-count - 100 // leg.spec.ptime : -100 // leg.spec.ptime]
        return np.concatenate([decode(packet.payload, leg.spec.codec, leg.rate) for packet in packets]).astype(float)

    def voices(heard: np.ndarray, rate: int) -> dict[Leg, float]:
        window = np.kaiser(len(heard), 9)
        time = np.arange(len(heard)) * (2j * np.pi / rate)
        return {leg: float(np.abs((heard * window * np.exp(time * hz)).sum()) / window.sum() * 2) for leg, hz in pitches.items()}

    tap = world.tap([Source("mix", bus)], rate=16000)
    for gone in (None, legs[2], None):
        if gone:
            bus.remove(gone)
        else:
            bus.add(legs[2])
        for leg, heard in talk().items():
            for other, found in voices(heard, leg.rate).items():
                silent = other is leg or gone in (leg, other)
                assert found == pytest.approx(0, abs=60) if silent else found == pytest.approx(level, rel=0.06), (leg, other)
    tap.stop()
    world.wait(0.3)
    recording = world.recording()[:, 0].astype(float)
    for second, gone in enumerate((None, legs[2], None)):
        for leg, found in voices(recording[second * 16000 + 1600 : second * 16000 + 14400], 16000).items():
            assert found == pytest.approx(0 if leg is gone else level, abs=150)
    assert np.abs(np.diff(recording[1000:])).max() < 14500, "no step steeper than the eight tones together"


SCRIPT = """
import hashlib, sys
from pathlib import Path
import numpy as np
from rtp_peer import World
from test_rtp_rates import PAIRS, noise, through
world = World(Path(sys.argv[1]))
for source, target in PAIRS:
    print(hashlib.sha256(through(world, source, target, noise(source)).tobytes()).hexdigest())
"""


def noise(rate: int) -> np.ndarray:
    return np.random.default_rng(1).integers(-32768, 32767, rate // 2).astype(np.int16)


@pytest.mark.skipif(not COMPILED, reason="compares the compiled build with the other")
def test_both_builds_hear_the_same(world: World, tmp_path: Path) -> None:
    folder = Path(__file__).parent
    environ = os.environ | {"TAPELINE_COMPILED": "0", "PYTHONPATH": os.pathsep.join([str(folder), *filter(None, sys.path)])}
    (tmp_path / "plain").mkdir()
    said = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "plain")], env=environ, capture_output=True, text=True, check=True
    ).stdout.split()
    assert said == [hashlib.sha256(through(world, *pair, noise(pair[0])).tobytes()).hexdigest() for pair in PAIRS]
