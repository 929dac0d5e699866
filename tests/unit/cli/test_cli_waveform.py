"""Sound drawn with block characters."""

import math

from hypothesis import given
from hypothesis import strategies as st

from tapeline.cli.waveform import decibels, meter, squeeze, timeline, waveform


def test_a_loud_half_and_a_silent_half_are_drawn_as_such() -> None:
    top, middle, bottom = waveform([1.0] * 50 + [0.0] * 50, width=10, rows=3)
    assert bottom == "█████·····"
    assert top == middle == "█████     "


def test_height_follows_decibels() -> None:
    # -24 dB is half of the 48 dB that are drawn: of two rows the lower one is full, the upper one empty
    top, bottom = waveform([10 ** (-24 / 20)], width=4, rows=2)
    assert bottom == "████" and top == "    "


def test_a_single_loud_peak_survives_squeezing() -> None:
    peaks = [0.0] * 2000
    peaks[1234] = 0.9
    squeezed = squeeze(peaks, 72)
    assert max(squeezed) == 0.9
    assert squeezed.index(0.9) == 1234 * 72 // 2000


def test_no_peaks_are_silence() -> None:
    assert squeeze([], 5) == [0.0] * 5
    assert waveform([], width=5, rows=1) == ["·····"]


@given(st.lists(st.floats(0, 1), max_size=300), st.integers(1, 120), st.integers(1, 6))
def test_a_drawing_has_the_size_asked_for(peaks: list[float], width: int, rows: int) -> None:
    lines = waveform(peaks, width=width, rows=rows)
    assert [len(line) for line in lines] == [width] * rows


@given(st.lists(st.floats(0, 1), min_size=1, max_size=300), st.integers(1, 120))
def test_squeezing_keeps_the_highest_peak(peaks: list[float], width: int) -> None:
    assert max(squeeze(peaks, width)) == max(peaks)


def test_meter() -> None:
    assert meter(1.0, width=4) == "████"
    assert meter(0.0, width=4) == "░░░░"
    assert meter(10 ** (-24 / 20), width=4) == "██░░"


def test_decibels() -> None:
    assert decibels(1.0) == 0
    assert math.isclose(decibels(0.5), -6.02, abs_tol=0.01)
    assert decibels(0.0) == -math.inf


def test_a_ruler_is_as_wide_as_its_waveform() -> None:
    ruler = timeline(75.0, width=60)
    assert len(ruler) == 60
    assert ruler.startswith("0:00.0") and ruler.endswith("1:15.0") and "0:37.5" in ruler
