"""Taps: what is in the file, how long it is, what masks leave out, and what a failing disk does."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from rtp_peer import World, encode, rtp, tone

from tapeline.core.errors import InvalidInput
from tapeline.rtp import Closed, Source, TapEnded, TapProgress
from tapeline.rtp.engine.constants import CHANGES, RING


def peaks(samples: np.ndarray, begin: float, end: float) -> list[int]:
    """The greatest magnitude in each channel between two times in seconds."""
    part = samples[round(begin * 8000) : round(end * 8000)].astype(int)
    return [int(value) for value in np.abs(part).max(axis=0)]


def ended(world: World) -> TapEnded:
    (event,) = world.events(TapEnded)
    return event


@pytest.mark.parametrize("rate", [8000, 16000, 11000])
@pytest.mark.parametrize("seconds", [0.0, 0.001, 0.0123, 0.5, 1.0, 2.34567])
def test_a_file_is_as_long_as_its_time(world: World, seconds: float, rate: int) -> None:
    leg = world.leg()
    world.wait(0.0137)
    tap = world.tap([Source("in", leg)], rate=rate)
    start = world.engine.now()
    world.wait(seconds)
    tap.stop()
    stop = world.engine.now()
    world.wait(0.5)
    event = ended(world)
    assert event.tap is tap and event.reason == "stopped" and event.detail == ""
    assert (event.started_at, event.at) == (start, stop)
    assert event.frames == len(world.recording()) == round((stop - start) * rate)
    assert tap.frames == event.frames


def test_in_and_out_are_channels_of_one_time(world: World) -> None:
    leg = world.leg()
    world.wait(0.1)
    tap = world.tap([Source("in", leg)], [Source("out", leg)])
    leg.play(np.concatenate([np.zeros(4000, np.int16), tone(0.5)]))
    world.speak((leg, tone(0.5)))
    world.wait(1.0)
    tap.stop()
    world.wait(0.5)
    heard = world.recording(2)
    assert peaks(heard, 0.03, 0.48) == [pytest.approx(8000, rel=0.05), 0]
    assert peaks(heard, 0.53, 0.98) == [0, pytest.approx(8000, rel=0.05)]
    assert peaks(heard, 1.04, 1.4) == [0, 0]


def test_sources_of_a_channel_are_summed(world: World) -> None:
    legs = [world.leg(codec="L16", rate=8000, payload_type=96) for _ in range(2)]
    tap = world.tap([Source("in", leg) for leg in legs], [Source("in", legs[1])])
    world.speak(*((leg, np.full(8000, 20000, np.int16)) for leg in legs))
    tap.stop()
    world.wait(0.5)
    heard = world.recording(2)
    assert np.all(heard[200:7600] == [32767, 20000])


def test_a_bus_is_recorded(world: World) -> None:
    legs = [world.leg() for _ in range(2)]
    bus = world.engine.open_bus()
    for leg in legs:
        bus.add(leg)
    tap = world.tap([Source("mix", bus)])
    world.speak((legs[0], tone(1.0, 400)), (legs[1], tone(1.0, 600)))
    tap.stop()
    bus.close()
    world.wait(1.0)
    heard = world.recording()[800:7200, 0].astype(float)
    power = np.abs(np.fft.rfft(heard * np.hanning(len(heard))))
    assert {round(k * 8000 / len(heard) / 20) * 20 for k in np.argsort(power)[-4:]} == {400, 600}
    assert world.engine.counters().buses == 0


@pytest.mark.parametrize("mode", ["silence", "tone", "cut"])
def test_a_mask_acts_at_the_time_of_its_command(world: World, mode: str) -> None:
    leg = world.leg()
    tap = world.tap([Source("in", leg)])
    world.speak((leg, tone(1.0)))
    tap.mask(mode)  # type: ignore[arg-type]
    masked = world.engine.now()
    world.speak((leg, tone(2.0)))
    tap.unmask()
    length = round((world.engine.now() - masked) * 8000)
    world.speak((leg, tone(1.0)))
    tap.stop()
    stopped = world.engine.now()
    world.wait(0.5)
    heard = world.recording()
    begin = round((masked - 1000.0) * 8000)
    total = round((stopped - 1000.0) * 8000)
    if mode == "cut":
        assert len(heard) == ended(world).frames == total - length
        assert np.abs(heard[begin - 400 : begin + 400]).max() > 7000
        return
    assert len(heard) == total
    inside = heard[begin : begin + length].astype(int)
    if mode == "silence":
        assert not inside.any()
    else:
        assert 1900 < np.abs(inside).max() < 2100, "the tone is quiet, and nothing shines through"
    for part in (heard[:begin], heard[begin + length :]):
        assert np.abs(part[-200:]).max() > 7000 and np.abs(part[200:400]).max() > 7000


def test_more_masks_than_can_wait_are_all_kept(world: World) -> None:
    leg = world.leg()
    tap = world.tap([Source("in", leg)])
    modes = []
    for k in range(3 * CHANGES):
        world.speak((leg, np.full(160, 8000, np.int16)))
        if k % 2:
            tap.unmask()
        else:
            tap.mask("silence")
        modes.append((round((world.engine.now() - 1000.0) * 8000), k % 2 == 0))
    tap.stop()
    world.wait(0.5)
    heard = world.recording()[:, 0]
    for (begin, masked), (end, _) in zip(modes, modes[1:], strict=False):
        if masked:
            assert not heard[begin:end].any()


def test_progress_tells_frames_and_peaks(world: World) -> None:
    leg = world.leg()
    tap = world.tap([Source("in", leg)], [Source("out", leg)])
    world.speak((leg, tone(5.0, level=16384)))
    told = world.events(TapProgress)
    assert 3 <= len(told) <= 7 and {event.tap for event in told} == {tap}
    assert [event.frames for event in told] == sorted(event.frames for event in told)
    assert told[-1].peaks == (pytest.approx(0.5, rel=0.05), 0.0)
    tap.stop()


def test_a_closed_leg_is_recorded_to_its_end(world: World) -> None:
    """One leg goes, the tap goes on with the other."""
    legs = [world.leg(), world.leg()]
    tap = world.tap(*([Source("in", leg)] for leg in legs))
    world.speak(*((leg, tone(1.0)) for leg in legs))
    legs[0].close()
    world.wait(0.1)
    assert world.engine.leg_count == 2, "its rings are still needed"
    world.speak((legs[1], tone(1.0)))
    world.wait(2.0)
    assert world.engine.leg_count == 1
    tap.stop()
    world.wait(0.5)
    heard = world.recording(2)
    assert peaks(heard, 0.9, 0.97) == [pytest.approx(8000, rel=0.1)] * 2
    assert peaks(heard, 1.15, 1.9) == [0, pytest.approx(8000, rel=0.1)]
    with pytest.raises(Closed):
        world.tap([Source("in", legs[0])])


def test_what_is_older_than_a_ring_does_not_come_round_again(world: World) -> None:
    """Of this leg only what is sent to it is recorded: nobody reads its own ring, and yet two seconds are too late."""
    leg = world.leg()
    world.tap([Source("out", leg)])
    world.speak((leg, np.full(8000 * 4, 1000, np.int16)))
    sequence, stamp = world.streams[leg.id]
    for back in range(105, 140):
        data = rtp(sequence - back - 300, stamp - back * 160, encode(np.full(160, -9000, np.int16)), ssrc=leg.id)
        world.engine.inject(leg, data, world.engine.now())
    assert leg.counters().late == 35


def test_a_tap_appends_to_what_is_there(world: World) -> None:
    leg = world.leg()
    (world.folder / "audio").write_bytes(b"header")
    tap = world.engine.open_tap(world.folder / "audio", [[Source("in", leg)]], rate=8000)
    world.wait(0.5)
    tap.stop()
    world.wait(0.5)
    data = (world.folder / "audio").read_bytes()
    assert data[:6] == b"header" and len(data) == 6 + 2 * 4000


def test_a_full_disk_ends_its_tap_and_no_other(world: World) -> None:
    leg = world.leg()
    tap = world.engine.open_tap("/dev/full", [[Source("in", leg)]], rate=8000)
    other = world.tap([Source("in", leg)])
    world.speak((leg, tone(3.0)))
    event = ended(world)
    assert event.tap is tap and event.reason == "disk_full" and event.detail == os.strerror(28) and event.frames == 0
    tap.stop()
    other.stop()
    world.wait(0.5)
    assert [event.tap for event in world.events(TapEnded)] == [tap, other]
    assert len(world.recording()) == 24000 - 160


def test_a_file_that_may_grow_no_further_keeps_whole_frames(world: World, tmp_path: Path) -> None:
    """A limit on the file's size stands for a disk that fills in the middle of a frame."""
    import resource
    import signal

    leg = world.leg()
    world.tap([Source("in", leg)], [Source("out", leg)])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20001, before[1]))
        world.speak((leg, tone(4.0)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    event = ended(world)
    assert event.reason == "io_error" and event.frames == 5000
    assert (world.folder / "audio").stat().st_size == 20000


def test_taps_that_make_no_sense_are_refused(world: World) -> None:
    leg = world.leg()
    (world.folder / "audio").touch()
    for channels, rate in (([], 8000), ([[]], 8000), ([[Source("in", leg)]] * 33, 8000), ([[Source("in", leg)]], 8001)):
        with pytest.raises(InvalidInput):
            world.engine.open_tap(world.folder / "audio", channels, rate=rate)
    with pytest.raises(OSError):
        world.engine.open_tap(world.folder / "missing" / "audio", [[Source("in", leg)]], rate=8000)


def test_stopping_the_engine_writes_out_every_tap(world: World) -> None:
    leg = world.leg()
    tap = world.tap([Source("in", leg)])
    player = leg.play(tone(9.0))
    world.speak((leg, tone(1.0)))
    world.engine.stop()
    assert ended(world).tap is tap
    assert len(world.recording()) == ended(world).frames >= 7800
    assert np.abs(world.recording()[-400:]).max() > 7000
    from tapeline.rtp import PlayerEnded

    assert [event.player for event in world.events(PlayerEnded)] == [player]


def test_a_stall_of_the_machine_loses_nothing_that_was_heard(world: World) -> None:
    """Nothing runs for 1.5 s; then ticks go on with the clock."""
    leg = world.leg()
    tap = world.tap([Source("in", leg)])
    world.speak((leg, tone(2.0)))
    world.engine._next += 1_500_000_000  # the ticks of that time never happen
    world.wait(1.52)
    world.speak((leg, tone(2.0)))
    tap.stop()
    world.wait(0.5)
    heard = world.recording()
    loud = np.abs(heard[:, 0].astype(int)) > 100
    assert loud[:15600].mean() > 0.9
    assert loud[30000:].mean() > 0.9
    assert len(heard) < RING * 2


def test_a_prompt_that_a_late_tick_sends_is_recorded_whole(world: World) -> None:
    """The tick comes 100 ms late; what it sends began when it was asked for, not when the packets were due."""
    leg = world.leg(codec="L16", rate=8000, payload_type=96)
    world.wait(0.1)
    world.engine._next += 100_000_000
    world.engine.advance(world.engine.now() + 0.047)
    tap = world.tap([Source("out", leg)])
    leg.play(np.full(800, 9000, np.int16))
    world.wait(0.5)
    tap.stop()
    world.wait(0.5)
    heard = world.recording()[:, 0]
    assert (heard == 9000).sum() == 800 and heard[:800].min() == 9000


def test_both_sides_of_a_slow_rate(world: World) -> None:
    """A leg of 8 kHz in a file of 16 kHz, and the other way round, keep pitch and level."""
    narrow, wide = world.leg(), world.leg(codec="L16", rate=16000, payload_type=97)
    taps = [
        world.tap([Source("in", leg)], rate=rate, name=f"{leg.id}-{rate}") for leg, rate in ((narrow, 16000), (wide, 8000), (narrow, 12000))
    ]
    world.speak((narrow, tone(1.0, 500)), (wide, tone(1.0, 500, rate=16000)))
    for tap in taps:
        tap.stop()
    world.wait(0.5)
    for leg, rate in ((narrow, 16000), (wide, 8000), (narrow, 12000)):
        heard = world.recording(name=f"{leg.id}-{rate}")[rate // 10 : rate * 9 // 10, 0].astype(float)
        power = np.abs(np.fft.rfft(heard * np.hanning(len(heard))))
        assert power.argmax() * rate / len(heard) == pytest.approx(500, abs=3)
        assert np.abs(heard).max() == pytest.approx(8000, rel=0.06)
