"""Measures, against values known beforehand and against the standard's own filters run sample by sample."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import numpy as np
import pytest
import soxr
from hypothesis import given
from hypothesis import strategies as st

from tapeline.audio import wav
from tapeline.audio.loudness import LoudnessMeter, weighting
from tapeline.audio.measure import MAX_PEAKS, Measures, measure, sha256_file


def sine(frequency: float, level_db: float, seconds: float, rate: int) -> np.ndarray:
    return np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate) * 10 ** (level_db / 20)


def loudness(sound: np.ndarray, rate: int, block: int = 12345) -> float | None:
    shaped = sound.astype(np.float32).reshape(len(sound), -1)
    meter = LoudnessMeter(rate, shaped.shape[1])
    for at in range(0, len(shaped), block):
        meter.feed(shaped[at : at + block])
    return meter.integrated()


def by_the_book(sounds: np.ndarray) -> list[float]:
    """BS.1770-4 as it stands: both filters in the time domain at 48 kHz, blocks of 400 ms every 100 ms, both gates. One sound a row."""
    weighted = sounds
    for (b0, b1, b2), (a1, a2) in (
        ((1.53512485958697, -2.69169618940638, 1.19839281085285), (-1.69065929318241, 0.73248077421585)),
        ((1.0, -2.0, 1.0), (-1.99004745483398, 0.99007225036621)),
    ):
        out = np.zeros_like(weighted)
        x1 = x2 = y1 = y2 = np.zeros(len(weighted))
        for index in range(weighted.shape[1]):
            x0 = weighted[:, index]
            y0 = b0 * x0 + b1 * x1 + b2 * x2 - a1 * y1 - a2 * y2
            out[:, index] = y0
            x1, x2, y1, y2 = x0, x1, y0, y1
        weighted = out
    return [gated(power) for power in weighted**2]


def gated(power: np.ndarray) -> float:
    blocks = np.array([power[at : at + 19200].mean() for at in range(0, len(power) - 19199, 4800)])
    loud = blocks[blocks > 10 ** ((-70 + 0.691) / 10)]
    kept = loud[loud > loud.mean() * 0.1]
    return float(-0.691 + 10 * np.log10(kept.mean()))


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 44100, 48000])
def test_997_hz_at_full_scale_is_minus_3_01_lufs(rate: int) -> None:
    """BS.1770-4, annex 1: a 0 dB, 997 Hz sine on one channel reads -3.01; EBU Tech 3341, case 1: stereo -23 dB reads -23."""
    assert loudness(sine(997.0, 0.0, 5, rate), rate) == pytest.approx(-3.01, abs=0.05)
    both = np.column_stack([sine(1000.0, -23.0, 20, rate)] * 2)
    assert loudness(both, rate) == pytest.approx(-23.0, abs=0.1)


def test_the_gates_of_ebu_tech_3341_cases_3_to_5() -> None:
    def stereo(*parts: tuple[float, float]) -> np.ndarray:
        return np.column_stack([np.concatenate([sine(1000.0, level, seconds, 8000) for level, seconds in parts])] * 2)

    assert loudness(stereo((-36.0, 10), (-23.0, 60), (-36.0, 10)), 8000) == pytest.approx(-23.0, abs=0.1)
    assert loudness(stereo((-72, 10), (-36, 10), (-23, 60), (-36, 10), (-72, 10)), 8000) == pytest.approx(-23.0, abs=0.1)
    assert loudness(stereo((-26.0, 20), (-20.0, 20.1), (-26.0, 20)), 8000) == pytest.approx(-23.0, abs=0.1)


def test_at_8_khz_the_telephone_band_weighs_what_it_weighs_at_48() -> None:
    frequencies = [40.0, 100.0, 300.0, 1000.0, 2000.0, 3000.0, 3400.0]
    low, high = ([loudness(sine(each, -20, 2, rate), rate) for each in frequencies] for rate in (8000, 48000))
    assert low == pytest.approx(high, abs=0.05)
    assert low == pytest.approx(by_the_book(np.array([sine(each, -20, 2, 48000) for each in frequencies])), abs=0.1)


def test_speech_like_sound_reads_as_by_the_book() -> None:
    source = np.random.default_rng(7)
    envelope = np.repeat(source.uniform(0, 1, 20) ** 3, 900)
    sound = source.normal(0, 0.2, 18000) * envelope  # at 6 kHz, so that neither change of rate cuts off what the other keeps
    at_8, at_48 = (soxr.resample(sound, 6000, rate, quality="VHQ") for rate in (8000, 48000))
    assert loudness(at_8, 8000) == pytest.approx(by_the_book(at_48[None])[0], abs=0.1)


def test_the_weighting_is_the_standards() -> None:
    found = 10 * np.log10(weighting(np.array([38.0, 100.0, 997.0, 1681.97, 10000.0])))
    assert found == pytest.approx([-5.98, -1.13, 0.691, 2.45, 4.03], abs=0.08)
    assert weighting(np.array([0.0]))[0] == pytest.approx(0.0, abs=1e-12)


def test_constant_offset_is_not_loud() -> None:
    assert loudness(np.full(16000, 0.5), 8000) is None


@given(st.lists(st.integers(1, 3000), min_size=1, max_size=30))
def test_loudness_does_not_depend_on_how_it_is_fed(sizes: list[int]) -> None:
    sound = np.random.default_rng(len(sizes)).normal(0, 0.1, (sum(sizes), 1)).astype(np.float32)
    meter, at = LoudnessMeter(8000, 1), 0
    for size in sizes:
        meter.feed(sound[at : at + size])
        at += size
    whole = LoudnessMeter(8000, 1)
    whole.feed(sound)
    assert meter.integrated() == pytest.approx(whole.integrated(), abs=1e-3)


def measured(folder: Path, sound: np.ndarray, rate: int = 8000) -> Measures:
    path = folder / "master.wav"
    wav.write(path, sound, rate)
    return measure(path)


def test_a_conversation_is_measured(tmp_path: Path) -> None:
    voice = np.round(sine(600.0, -6.0, 1, 8000) * 32767).astype(np.int16)
    quiet = np.full(8000, 20, np.int16)
    sound = np.column_stack([np.concatenate([voice, quiet, quiet]), np.concatenate([quiet, quiet, voice // 2])])
    found = measured(tmp_path, sound)
    assert found.duration_s == 3.0 and found.peak_db == pytest.approx(-6.0, abs=0.05)
    assert (found.silent_s, found.silent_ratio) == (1.0, pytest.approx(1 / 3))
    assert len(found.peaks) == 2 and len(found.peaks[0]) == MAX_PEAKS
    left, right = (np.array(row) for row in found.peaks)
    third = MAX_PEAKS // 3
    assert left[5 : third - 5].min() > 0.3 and left[third + 5 :].max() < 0.001
    assert right[: 2 * third - 5].max() < 0.001 and 0.2 < right[2 * third + 5 :].max() < 0.26


@pytest.mark.parametrize("frames", [1, 2, 399, MAX_PEAKS - 1, MAX_PEAKS, MAX_PEAKS + 1, 2 * MAX_PEAKS, 300_001])
def test_peaks_are_the_largest_of_each_stretch(tmp_path: Path, frames: int) -> None:
    sound = np.random.default_rng(frames).integers(-32768, 32768, (frames, 2)).astype(np.int16)
    found = measured(tmp_path, sound)
    size = math.ceil(frames / MAX_PEAKS)
    for channel, row in enumerate(found.peaks):
        levels = np.abs(sound[:, channel].astype(int))
        wanted = [round(levels[at : at + size].max() / 32768, 4) for at in range(0, frames, size)]
        assert list(row) == wanted and len(row) <= MAX_PEAKS


def test_the_lowest_sample_is_full_scale(tmp_path: Path) -> None:
    found = measured(tmp_path, np.array([-32768, 0], np.int16))
    assert found.peaks == ((1.0, 0.0),) and found.peak_db == 0.0


def test_silence_and_nothing_have_no_level(tmp_path: Path) -> None:
    silent = measured(tmp_path, np.zeros(8000, np.int16))
    assert (silent.peak_db, silent.loudness_lufs, silent.silent_s, silent.silent_ratio) == (None, None, 1.0, 1.0)
    empty = measured(tmp_path, np.zeros((0, 2), np.int16))
    assert empty == Measures(0.0, ((), ()), None, None, 0.0) and empty.silent_ratio == 0.0


@pytest.mark.parametrize(("level", "silent"), [(199, True), (200, False)])
def test_the_threshold_of_silence_is_a_mean_level(tmp_path: Path, level: int, silent: bool) -> None:
    sound = np.tile(np.array([level, -level], np.int16), 4000)
    assert measured(tmp_path, sound).silent_s == (1.0 if silent else 0.0)


def test_a_last_step_that_is_not_whole_counts_with_its_own_length(tmp_path: Path) -> None:
    assert measured(tmp_path, np.zeros(8000 + 37, np.int16)).silent_s == 8037 / 8000


def test_sha256(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc" * 100_000)
    assert sha256_file(tmp_path / "a") == hashlib.sha256(b"abc" * 100_000).hexdigest()
