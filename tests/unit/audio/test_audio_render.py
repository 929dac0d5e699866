"""Renditions are decoded and listened to: each second of each channel against its plan, in every format, rate and shape."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tapeline.audio import mp3, wav
from tapeline.audio.errors import DamagedWave, UnsuitableFormat
from tapeline.audio.measure import measure
from tapeline.audio.render import CONTENT_TYPES, remix, render
from tapeline.testing.listening import Tolerance, assert_heard, decode, listen
from tapeline.testing.plan import Plan, quiet, spoken, tone

LEFT, RIGHT = spoken(1, 6), spoken(2, 6)
# A coder's quantisation is heard as residue, and a little of it before and after what it stems from.
CODED = Tolerance(duration_s=0.001, residue_db=-10.0, phase_cycles=0.12, guard_s=0.06, silence_db=-40.0, skew_s=0.02, edge_s=0.025)
EXACT = Tolerance(duration_s=0.0, edge_s=0.01, level_db=0.2)


def master(folder: Path, plan: Plan, rate: int = 8000, *, cut: int = 0) -> Path:
    """The plan as a master; `cut` frames are missing at its end, so that no length comes out even."""
    path = folder / "master.wav"
    sound = plan.render(rate)
    wav.write(path, sound[: len(sound) - cut], rate)
    return path


@pytest.mark.parametrize("rate", [8000, 16000, 48000])
@pytest.mark.parametrize("channels", [(LEFT,), (LEFT, RIGHT)], ids=["mono", "stereo"])
@pytest.mark.parametrize("form", ["wav", "mp3", "ogg"])
def test_each_second_of_each_channel_is_heard(tmp_path: Path, form: str, channels: tuple, rate: int) -> None:
    plan, out = Plan(channels), tmp_path / "out"
    source = master(tmp_path, plan, rate, cut=777)
    made = render(source, out, format=form)
    assert (made.content_type, made.extension, made.size) == (CONTENT_TYPES[form], form, out.stat().st_size)
    seconds = plan.seconds - 777 / rate
    assert made.duration_s == seconds and (made.rate, made.channels) == (rate, len(channels))
    assert decode(out).samples.shape == (round(seconds * rate), len(channels)), "to the sample, encoder delay and padding cut off"
    assert_heard(out, plan, EXACT if form == "wav" else CODED, seconds=seconds)


@pytest.mark.parametrize("form", ["mp3", "ogg"])
def test_who_is_silent_on_one_channel_stays_silent_beside_the_other(tmp_path: Path, form: str) -> None:
    turns = Plan(((tone(617.0, 2), quiet(2), tone(817.0, 2)), (quiet(2), tone(1217.0, 2), quiet(2))))
    render(master(tmp_path, turns), tmp_path / "out", format=form)
    assert_heard(tmp_path / "out", turns, CODED)


def test_a_swapped_pair_of_channels_would_be_noticed(tmp_path: Path) -> None:
    render(master(tmp_path, Plan((LEFT, RIGHT))), tmp_path / "out", format="mp3")
    assert not listen(tmp_path / "out", Plan((RIGHT, LEFT)), CODED).ok


@pytest.mark.parametrize(("form", "rate", "carried"), [
    ("wav", 16000, 16000), ("wav", 11000, 11000), ("mp3", 16000, 16000), ("mp3", 10000, 11025), ("mp3", 96000, 48000),
    ("ogg", 16000, 16000), ("ogg", 44100, 48000), ("ogg", 22050, 24000), ("mp3", 44100, 44100), ("mp3", 32000, 32000),
])  # fmt: skip
def test_another_rate(tmp_path: Path, form: str, rate: int, carried: int) -> None:
    plan = Plan((LEFT, RIGHT))
    made = render(master(tmp_path, plan), tmp_path / "out", format=form, rate=rate)
    heard = decode(tmp_path / "out")
    assert (made.rate, heard.rate) == (carried, carried) and abs(made.duration_s - plan.seconds) <= 1 / carried
    assert_heard(heard, plan, CODED)


def test_two_channels_into_one_are_added_and_one_into_two_is_doubled(tmp_path: Path) -> None:
    apart = Plan(((tone(617.0, 2), quiet(2)), (quiet(2), tone(1217.0, 2))))
    made = render(master(tmp_path, apart), tmp_path / "one.wav", format="wav", channels=1)
    assert made.channels == 1
    together = Plan(((tone(617.0, 2), tone(1217.0, 2)),))
    assert_heard(tmp_path / "one.wav", together, EXACT)
    render(tmp_path / "one.wav", tmp_path / "two.wav", format="wav", channels=2)
    assert_heard(tmp_path / "two.wav", Plan(together.channels * 2), EXACT)


def test_remix_saturates_keeps_order_and_fills_with_silence() -> None:
    block = np.array([[30000, 20000, -30000], [1, 2, 3]], np.int16)
    assert remix(block, 3) is block
    assert remix(block, 2).tolist() == [[30000, -10000], [1, 5]]
    assert remix(block[:, :2], 1).tolist() == [[32767], [3]]
    assert remix(-block[:, :2], 1).tolist() == [[-32768], [-3]]
    assert remix(block[:, :1], 3).tolist() == [[30000] * 3, [1] * 3]
    assert remix(block[:, :2], 4).tolist() == [[30000, 20000, 0, 0], [1, 2, 0, 0]]


def test_many_channels_in_wav_and_ogg_but_not_in_mp3(tmp_path: Path) -> None:
    plan = Plan(tuple((tone(417.0 + 100 * number, 2),) for number in range(8)))
    source = master(tmp_path, plan)
    render(source, tmp_path / "out", format="wav")
    assert_heard(tmp_path / "out", plan, EXACT)
    with pytest.raises(UnsuitableFormat, match="two channels, not 8"):
        render(source, tmp_path / "out", format="mp3")
    with pytest.raises(UnsuitableFormat, match="not a format of ours"):
        render(source, tmp_path / "out", format="flac")  # type: ignore[arg-type]


@pytest.mark.parametrize("form", ["wav", "mp3", "ogg"])
@pytest.mark.parametrize("frames", [0, 1, 100, 8000])
def test_short_and_empty_masters_give_files_that_open(tmp_path: Path, form: str, frames: int) -> None:
    source, out = tmp_path / "master.wav", tmp_path / "out"
    wav.write(source, np.full(frames, 1000, np.int16), 8000)
    made = render(source, out, format=form)
    assert made.duration_s == frames / 8000 and made.size == out.stat().st_size > 0
    least = 0 if form == "wav" else 1  # decoders refuse an MP3 or Opus stream that holds nothing at all
    assert len(decode(out).samples) == max(frames, least)


def test_a_wav_rendition_has_the_classic_header(tmp_path: Path) -> None:
    source = master(tmp_path, Plan((LEFT,)))
    render(source, tmp_path / "out", format="wav")
    found = wav.info(tmp_path / "out")
    assert found.data_offset == 44 and (tmp_path / "out").stat().st_size == 44 + found.frames * 2


def test_rendering_again_overwrites_and_gives_the_same(tmp_path: Path) -> None:
    source = master(tmp_path, Plan((LEFT,)))
    for form in ("wav", "mp3", "ogg"):
        out = tmp_path / f"out.{form}"
        out.write_bytes(b"x" * 1_000_000)
        sizes = [render(source, out, format=form).size for _ in range(2)]
        assert sizes[0] == sizes[1] == out.stat().st_size < 1_000_000
        assert_heard(out, Plan((LEFT,)), CODED)


def test_progress_grows_to_one(tmp_path: Path) -> None:
    source, told = tmp_path / "master.wav", []
    wav.write(source, np.zeros(8000 * 120, np.int16), 8000)
    render(source, tmp_path / "out", format="mp3", rate=16000, progress=told.append)
    assert told == sorted(told) and told[-1] == 1.0 and len(told) > 3


def test_a_damaged_master_is_told(tmp_path: Path) -> None:
    (tmp_path / "master.wav").write_bytes(bytes(500))
    with pytest.raises(DamagedWave):
        render(tmp_path / "master.wav", tmp_path / "out", format="mp3")
    with pytest.raises(FileNotFoundError):
        render(tmp_path / "none.wav", tmp_path / "out", format="mp3")


@pytest.mark.parametrize("rate", mp3.RATES)
@pytest.mark.parametrize("channels", [1, 2])
def test_the_mp3_tag_fits_every_rate_and_tells_length_and_bytes(tmp_path: Path, rate: int, channels: int) -> None:
    source, out = tmp_path / "master.wav", tmp_path / "out.mp3"
    wav.write(source, (np.random.default_rng(1).normal(0, 3000, (rate * 2 + 321, channels))).astype(np.int16), rate)
    render(source, out, format="mp3")
    data = out.read_bytes()
    at = data.index(b"Info")
    frames, size = int.from_bytes(data[at + 8 : at + 12], "big"), int.from_bytes(data[at + 12 : at + 16], "big")
    delays = int.from_bytes(data[at + 120 + 21 : at + 120 + 24], "big")
    per_frame = 1152 if rate >= 32000 else 576
    assert size == len(data) and frames * per_frame - (delays >> 12) - (delays & 0xFFF) == rate * 2 + 321
    with soundfile.SoundFile(out) as file:
        assert (file.frames, file.samplerate, file.channels) == (rate * 2 + 321, rate, channels)


def test_memory_stays_flat_however_long_the_master_is(tmp_path: Path) -> None:
    """Five minutes and an hour take the same; the hour alone, held whole, would take 115 MB."""

    def peak(seconds: int) -> int:
        source = tmp_path / f"{seconds}.wav"
        source.write_bytes(wav.header(16000, 1, None))
        with source.open("r+b") as file:
            file.truncate(80 + seconds * 32000)
        tracemalloc.start()
        try:
            measure(source)
            render(source, tmp_path / "out.mp3", format="mp3", rate=8000)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    short, long = peak(300), peak(3600)
    assert long < short + 500_000 and long < 10_000_000, (short, long)
