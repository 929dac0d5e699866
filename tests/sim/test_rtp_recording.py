"""A recording keeps real time, whatever the network and the sender's clock do to it. Virtual time, seeded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from rtp_sender import CLICK, SILENT, Network, Sender, clicks, deliver, onsets

from tapeline.rtp import COMPILED, Leg, Source, SourceChanged, StreamSpec, TapEnded, codecs
from tapeline.rtp.engine.parts import DROPS
from tapeline.rtp.engine.virtual import PEER, VirtualEngine

START = 1000.0


class Recorder:
    """An engine with one leg that is recorded, from START on."""

    def __init__(self, path: Path, **spec: object) -> None:
        self.engine = VirtualEngine(start=START)
        self.leg: Leg = self.engine.open_leg()
        self.leg.configure(StreamSpec(direction="recvonly", **spec))  # type: ignore[arg-type]
        self.path = path
        path.touch()
        self.tap = self.engine.open_tap(path, [[Source("in", self.leg)]], rate=8000)

    def hear(self, packets: list[tuple[float, bytes]]) -> None:
        for at, data in packets:
            self.engine.inject(self.leg, data, at)

    def finish(self, at: float) -> NDArray[np.int16]:
        """Stop at `at`; the recording, which must be exactly as long as it lasted, with every packet accounted for."""
        self.engine.advance(at)
        self.tap.stop()
        self.engine.advance(at + 1)
        ended = [event for event in self.engine.events if isinstance(event, TapEnded)]
        assert len(ended) == 1 and ended[0].reason == "stopped"
        samples = np.fromfile(self.path, np.int16)
        assert len(samples) == ended[0].frames == round((at - START) * 8000)
        counters = self.leg.counters()
        assert counters.packets == sum(getattr(counters, name) for name in DROPS)
        return samples

    def stop(self) -> None:
        self.engine.stop()


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    return Recorder(tmp_path / "audio.raw")


def errors(samples: NDArray[np.int16], sender: Sender, delay: float) -> NDArray[np.float64]:
    """For each click in the file: how many samples it lies from the second of the sender that is nearest."""
    found = onsets(samples)
    expected = np.array([(sender.real(at) + delay - START) * 8000 for at in range(0, len(sender.audio), 8000)])
    nearest = expected[np.abs(expected[None, :] - found[:, None]).argmin(axis=1)]
    assert len(found) <= len(expected), "something was doubled"
    return found - nearest


def test_a_good_line_is_recorded_to_the_sample(recorder: Recorder) -> None:
    sender = Sender(clicks(8000 * 10), START + 0.5)
    recorder.hear(deliver(sender.packets(), Network(jitter=0)))
    samples = recorder.finish(START + 11)
    assert len(onsets(samples)) == 10
    assert np.abs(errors(samples, sender, 0.02)).max() <= 1
    assert np.count_nonzero(samples) == 10 * CLICK
    recorder.stop()


@pytest.mark.parametrize("ptime", [10, 20, 30, 40, 60])
def test_every_packet_length_is_recorded(recorder: Recorder, ptime: int) -> None:
    sender = Sender(clicks(8000 * 6), START + 0.1, ptime=ptime)
    recorder.hear(deliver(sender.packets(), Network()))
    samples = recorder.finish(START + 7)
    assert len(onsets(samples)) == 6
    assert np.abs(errors(samples, sender, 0.02)).max() < 80
    recorder.stop()


def test_loss_reordering_and_duplicates(recorder: Recorder) -> None:
    sender = Sender(clicks(8000 * 60), START + 0.3)
    packets = deliver(sender.packets(), Network(loss=0.05, late=0.2, double=0.05, jitter=0.01))
    recorder.hear(packets)
    samples = recorder.finish(START + 61)
    counters = recorder.leg.counters()
    assert counters.duplicate > 50 and counters.late == 0
    assert counters.placed + counters.duplicate == len(packets)
    assert 50 <= len(onsets(samples)) <= 60
    assert np.abs(errors(samples, sender, 0.02)).max() < 160
    lost = 60 - len(onsets(samples))
    assert np.count_nonzero(samples) <= (60 - lost) * CLICK + 2, "nothing is doubled"
    recorder.stop()


def test_every_packet_anywhere_within_400_ms(recorder: Recorder) -> None:
    sender = Sender(clicks(8000 * 30), START + 0.3)
    recorder.hear(deliver(sender.packets(), Network(late=1.0, jitter=0.0)))
    samples = recorder.finish(START + 31)
    assert recorder.leg.counters().late == 0
    assert 29 <= len(onsets(samples)) <= 30
    assert np.abs(errors(samples, sender, 0.02)).max() < 160
    recorder.stop()


@pytest.mark.parametrize("stamps_go_on", [True, False], ids=["timestamps count on", "timestamps stand still"])
def test_a_gap_is_silence_of_its_length(recorder: Recorder, stamps_go_on: bool) -> None:
    first = Sender(clicks(8000 * 5), START + 0.1)
    stamp = first.stamp + 5 * 8000 + (8000 if stamps_go_on else 0)
    second = Sender(clicks(8000 * 5), START + 6.1, sequence=first.sequence + 250, stamp=stamp)
    recorder.hear(deliver(first.packets(), Network(jitter=0.002)))
    recorder.hear(deliver(second.packets(), Network(jitter=0.002)))
    samples = recorder.finish(START + 12)
    found = onsets(samples)
    expected = np.array([(START + 0.12 + at - START) * 8000 for at in (0, 1, 2, 3, 4, 6, 7, 8, 9, 10)])
    assert len(found) == 10
    assert np.abs(found - expected).max() < 40
    assert not samples[round(5.2 * 8000) : round(6.05 * 8000)].any()
    recorder.stop()


def test_a_hold_up_on_the_way_is_no_jump(recorder: Recorder) -> None:
    """For 300 ms the network delivers nothing, then all at once."""
    sender = Sender(clicks(8000 * 10), START + 0.1)
    packets = [(max(at, START + 5.4) if START + 5.1 < at < START + 5.4 else at, data) for at, data in deliver(sender.packets(), Network())]
    recorder.hear(packets)
    samples = recorder.finish(START + 11)
    assert len(onsets(samples)) == 10
    assert np.abs(errors(samples, sender, 0.02)).max() < 80
    assert recorder.leg.counters().jumps == 0
    recorder.stop()


@pytest.mark.parametrize("jump", [8000 * 3600, -8000 * 3600, 400_000_000, 4000, -4000])
def test_a_jump_of_timestamps_is_clamped_to_the_clock(recorder: Recorder, jump: int) -> None:
    first = Sender(clicks(8000 * 5), START + 0.1)
    second = Sender(clicks(8000 * 5), START + 5.1, sequence=first.sequence + 250, stamp=first.stamp + 40000 + jump)
    recorder.hear(deliver(first.packets(), Network(jitter=0.002)))
    recorder.hear(deliver(second.packets(), Network(jitter=0.002)))
    samples = recorder.finish(START + 11)
    found = onsets(samples)
    assert len(found) == 10
    assert np.abs(found - np.array([(0.12 + at) * 8000 for at in range(10)])).max() < 160
    assert recorder.leg.counters().jumps >= 1
    recorder.stop()


def test_another_ssrc_takes_over(recorder: Recorder) -> None:
    first = Sender(clicks(8000 * 5), START + 0.1)
    second = Sender(clicks(8000 * 5), START + 5.1, ssrc=0x9999, sequence=17, stamp=99)
    recorder.hear(deliver(first.packets(), Network(jitter=0.002)))
    recorder.hear(deliver(second.packets(), Network(jitter=0.002)))
    samples = recorder.finish(START + 11)
    found = onsets(samples)
    assert len(found) == 10
    assert np.abs(found - np.array([(0.12 + at) * 8000 for at in range(10)])).max() < 80
    assert [event.ssrc for event in recorder.engine.events if isinstance(event, SourceChanged)] == [0x9999]
    recorder.stop()


@pytest.mark.parametrize("ppm", [200, -200])
def test_a_wrong_clock_is_followed(tmp_path: Path, ppm: float) -> None:
    """An hour compiled, four minutes uncompiled."""
    seconds = 3600 if COMPILED else 240
    recorder = Recorder(tmp_path / "audio.raw")
    sender = Sender(clicks(8000 * seconds), START + 0.1, ppm=ppm)
    recorder.hear(deliver(sender.packets(), Network(jitter=0.02, loss=0.01)))
    samples = recorder.finish(sender.real(len(sender.audio)) + 0.5)
    wrong = errors(samples, sender, 0.02)
    assert len(wrong) > seconds * 0.97
    assert np.abs(wrong).max() < 160, "20 ms"
    assert np.abs(wrong[30:]).max() < 16, "2 ms, once the clock is known"
    assert recorder.leg.counters().jumps == 0
    recorder.stop()


def test_two_channels_stay_together(tmp_path: Path) -> None:
    """Two phones, 100 ppm apart, for ten minutes: less than 1 ms between them."""
    seconds = 600 if COMPILED else 120
    engine = VirtualEngine(start=START)
    legs = [engine.open_leg(), engine.open_leg()]
    for leg in legs:
        leg.configure(StreamSpec(direction="recvonly"))
    path = tmp_path / "audio.raw"
    path.touch()
    tap = engine.open_tap(path, [[Source("in", leg)] for leg in legs], rate=8000)
    senders = [Sender(clicks(8000 * seconds), START + 0.1, ppm=ppm) for ppm in (50, -50)]
    lines = [
        [(at, leg, data) for at, data in deliver(sender.packets(), Network(seed=leg.id, jitter=0.004))]
        for leg, sender in zip(legs, senders, strict=True)
    ]
    for at, leg, data in sorted(lines[0] + lines[1], key=lambda item: item[0]):
        engine.inject(leg, data, at)
    tap.stop()
    engine.advance(engine.now() + 1)
    samples = np.fromfile(path, np.int16).reshape(-1, 2)
    for channel, sender in enumerate(senders):
        wrong = errors(samples[:, channel], sender, 0.02)
        assert len(wrong) >= seconds - 1
        assert np.abs(wrong).max() < 4, "half a millisecond from real time, each"
    engine.stop()


@pytest.mark.parametrize("codec", [0, 8], ids=["relayed", "transcoded"])
def test_both_sides_of_a_bridge_stay_together(tmp_path: Path, codec: int) -> None:
    """A click through both legs at one moment, one phone's clock 100 ppm wrong: less than 1 ms apart in a split recording of one leg,
    for ten minutes. Another recording, begun later, of the other leg, is as good."""
    seconds = 600 if COMPILED else 60
    engine = VirtualEngine(start=START)
    legs = [engine.open_leg(), engine.open_leg()]
    bus = engine.open_bus(beside=legs[0])
    for leg, kind in zip(legs, (0, codec), strict=True):
        leg.configure(StreamSpec(codec="PCMA" if kind else "PCMU", payload_type=kind, remote=PEER))
        bus.add(leg)
    paths = [tmp_path / "one", tmp_path / "two"]
    taps = []
    senders = [
        Sender(clicks(8000 * seconds, a_law=kind == 8), START + 0.1, ppm=ppm, payload_type=kind) for ppm, kind in ((0, 0), (100, codec))
    ]
    lines = [
        [(at, leg, data) for at, data in deliver(sender.packets(), Network(seed=leg.id, jitter=0.004))]
        for leg, sender in zip(legs, senders, strict=True)
    ]
    for at, leg, data in sorted(lines[0] + lines[1], key=lambda item: item[0]):
        if len(taps) < 2 and at > START + 10.5 * len(taps):
            paths[len(taps)].touch()
            taps.append(engine.open_tap(paths[len(taps)], [[Source(kind, legs[len(taps)])] for kind in ("in", "out")], rate=8000))
        engine.inject(leg, data, at)
        engine.sent.clear()
    for tap in taps:
        tap.stop()
    engine.advance(engine.now() + 1)
    for number, (path, tap) in enumerate(zip(paths, taps, strict=True)):
        samples = np.fromfile(path, np.int16).reshape(-1, 2)
        for channel, which in enumerate((number, 1 - number)):
            found = onsets(samples[:, channel]) + (tap.started_at / 1e9 - START) * 8000
            expected = np.array([(senders[which].real(at) + 0.02 - START) * 8000 for at in range(0, 8000 * seconds, 8000)])
            wrong = found - expected[np.abs(expected[None, :] - found[:, None]).argmin(axis=1)]
            assert len(found) >= seconds - 12
            assert np.abs(wrong).max() < 4, "half a millisecond from real time, each"
    engine.stop()


@pytest.mark.parametrize("jitter", [0.0002, 0.003, 0.01])
def test_a_right_clock_is_not_corrected(tmp_path: Path, jitter: float) -> None:
    """Loud all the time, so that no step would go unheard: of a sender without drift not one sample is doubled or left out."""
    for seed in range(20 if COMPILED else 3):
        recorder = Recorder(tmp_path / f"{seed}.raw")
        audio = np.random.default_rng(seed).integers(0x80, 0x90, 8000 * 7).astype(np.uint8)
        recorder.hear(deliver(Sender(audio, START + 0.1 + seed * 0.0137).packets(), Network(seed=seed, jitter=jitter)))
        heard = recorder.finish(START + 8)
        begin = int(np.flatnonzero(heard)[0])
        said = codecs.find("PCMU", 8000).expand
        assert said is not None and np.array_equal(heard[begin : begin + len(audio)], said[audio]), f"call {seed}"
        recorder.stop()


def test_a_wrong_clock_is_followed_where_it_is_never_silent(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "audio.raw")
    seconds = 120
    audio = np.random.default_rng(7).integers(0x88, 0x90, 8000 * seconds).astype(np.uint8)
    for at in range(0, len(audio), 8000):
        audio[at : at + 400] = SILENT
        audio[at + 400 : at + 400 + CLICK] = 0x80
    sender = Sender(audio, START + 0.1, ppm=100)
    recorder.hear(deliver(sender.packets(), Network(jitter=0.004)))
    heard = recorder.finish(sender.real(len(audio)) + 0.5)
    found = np.flatnonzero(heard > 32000)
    found = found[np.concatenate(([True], np.diff(found) > 4000))]
    expected = np.array([(sender.real(at + 400) + 0.02 - START) * 8000 for at in range(0, len(audio), 8000)])
    assert len(found) == seconds
    assert np.abs(found - expected).max() < 8, "1 ms"
    assert np.abs(found - expected)[20:].max() < 4
    recorder.stop()
