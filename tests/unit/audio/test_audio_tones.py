"""Tones are judged by what is heard in them: frequencies, level, length."""

from __future__ import annotations

import numpy as np
import pytest

from tapeline.audio import tones


def spectrum(sound: np.ndarray, rate: int) -> dict[int, float]:
    """Level in dB full scale of each frequency that stands out, by the hertz, over the middle of `sound`."""
    middle = sound[len(sound) // 4 : len(sound) * 3 // 4].astype(float) / 32768
    window = np.hanning(len(middle))
    power = np.abs(np.fft.rfft(middle * window, rate)) * 2 / window.sum()
    found = {}
    for at in range(1, len(power) - 1):
        if power[at] > 0.1 * power.max() and power[at] >= power[at - 1] and power[at] > power[at + 1]:
            found[at] = 20 * np.log10(power[at])
    return found


@pytest.mark.parametrize("rate", [8000, 16000, 48000])
def test_a_tone_has_its_frequency_level_and_length(rate: int) -> None:
    sound = tones.tone(440.0, 0.5, rate, -20.0)
    assert sound.dtype == np.int16 and len(sound) == rate // 2
    assert spectrum(sound, rate) == {440: pytest.approx(-20.0, abs=0.1)}


def test_two_frequencies_share_the_level_and_never_clip() -> None:
    sound = tones.tone((697.0, 1209.0), 0.5, 8000, 0.0)
    found = spectrum(sound, 8000)
    assert set(found) == {697, 1209} and all(level == pytest.approx(-6.02, abs=0.1) for level in found.values())
    assert int(np.abs(sound.astype(int)).max()) <= 32767
    assert np.array_equal(sound, tones.tone((697.0, 1209.0), 0.5, 8000, 20.0)), "a level above full scale is full scale"


def test_a_tone_begins_and_ends_softly() -> None:
    sound = np.abs(tones.tone(1000.0, 0.1, 8000, 0.0).astype(int))
    assert sound[:4].max() < 4000 and sound[-4:].max() < 4000 and sound[200:600].max() > 32000


@pytest.mark.parametrize("seconds", [0.0, -1.0, 0.0001, 1 / 8000])
def test_lengths_too_short_for_a_ramp(seconds: float) -> None:
    assert len(tones.tone(440.0, seconds, 8000)) == max(0, round(seconds * 8000))
    assert not tones.tone([], 0.1, 8000).any() and len(tones.tone([], 0.1, 8000)) == 800


@pytest.mark.parametrize(("make", "on", "off"), [(tones.ringback, 1.0, 4.0), (tones.busy, 0.48, 0.48), (tones.congestion, 0.24, 0.24)])
def test_call_progress_tones_follow_itu_e_180(make, on: float, off: float) -> None:
    sound = make(8000)
    assert len(sound) == round((on + off) * 8000)
    assert set(spectrum(sound[: int(on * 8000)], 8000)) == {425}
    assert not sound[round(on * 8000) :].any()


def test_dial_tone_loops_without_a_seam() -> None:
    twice = np.tile(tones.dial(8000), 2).astype(int)
    steps = np.abs(np.diff(twice))
    assert steps[7900:8100].max() <= steps[:7000].max() + 1
    assert set(spectrum(twice.astype(np.int16), 8000)) == {425}


def test_the_beep() -> None:
    assert set(spectrum(tones.beep(8000), 8000)) == {1000} and len(tones.beep(16000)) == 6400


def test_silence() -> None:
    assert not tones.silence(0.25, 8000).any() and len(tones.silence(0.25, 8000)) == 2000 and len(tones.silence(-1, 8000)) == 0


@pytest.mark.parametrize(
    ("key", "pair"), [("1", {697, 1209}), ("5", {770, 1336}), ("0", {941, 1336}), ("#", {941, 1477}), ("d", {941, 1633})]
)
def test_keys_have_their_two_tones(key: str, pair: set[int]) -> None:
    assert set(spectrum(tones.digit(key, 0.5, 8000), 8000)) == pair


@pytest.mark.parametrize("key", ["", "x", "12", "123"])
def test_what_is_no_key_has_no_tone(key: str) -> None:
    with pytest.raises(ValueError, match="not a telephone key"):
        tones.digit(key, 0.1, 8000)
