"""Sound from outside: every format is decoded and listened to; whatever is not sound is refused; rates change without a seam."""

from __future__ import annotations

import io
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from tapeline.audio import files
from tapeline.audio.errors import UnreadableAudio
from tapeline.audio.resample import Resampler, resample
from tapeline.testing.listening import Heard, Tolerance, assert_heard
from tapeline.testing.plan import Plan, spoken

PLAN = Plan((spoken(3, 4),))


def heard(sound: np.ndarray, rate: int) -> Heard:
    assert sound.dtype == np.int16 and sound.ndim == 1
    return Heard(sound[:, None] / 32768.0, rate)


def encoded(form: str, subtype: str, rate: int = 16000, channels: int = 1) -> bytes:
    out = io.BytesIO()
    sound = PLAN.render(rate) / 32768.0
    soundfile.write(out, np.repeat(sound, channels, axis=1), rate, format=form, subtype=subtype)
    return out.getvalue()


FORMATS = [
    ("WAV", "PCM_16"), ("WAV", "PCM_U8"), ("WAV", "PCM_24"), ("WAV", "FLOAT"), ("WAV", "ULAW"), ("WAV", "ALAW"), ("WAV", "IMA_ADPCM"),
    ("AU", "ULAW"), ("AIFF", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"),
]  # fmt: skip


@pytest.mark.parametrize(("form", "subtype"), FORMATS)
@pytest.mark.parametrize("rate", [8000, 16000])
def test_every_format_is_heard_as_it_was_said(form: str, subtype: str, rate: int) -> None:
    loose = Tolerance(residue_db=-12.0, silence_db=-40.0, phase_cycles=0.12)
    assert_heard(heard(files.load(encoded(form, subtype), rate), rate), PLAN, loose)


def test_gsm_too() -> None:
    out = io.BytesIO()
    soundfile.write(out, PLAN.render(8000), 8000, format="WAV", subtype="GSM610")
    loose = Tolerance(residue_db=-6.0, phase_cycles=0.2, level_db=4.0, edge_s=0.03, guard_s=0.1)
    assert_heard(heard(files.load(out.getvalue(), 8000), 8000), PLAN, loose)


def test_channels_are_averaged() -> None:
    both = files.load(encoded("WAV", "PCM_16", channels=2), 16000)
    assert np.array_equal(both, files.load(encoded("WAV", "PCM_16"), 16000))


def test_a_path_as_well_as_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    path.write_bytes(encoded("FLAC", "PCM_16"))
    assert np.array_equal(files.load(path, 8000), files.load(path.read_bytes(), 8000))
    assert np.array_equal(files.load(str(path), 8000), files.load(path, 8000))


def test_it_is_cut_at_the_longest_that_is_wanted() -> None:
    assert len(files.load(encoded("WAV", "PCM_16"), 16000, max_seconds=1.5)) == 24000
    assert len(files.load(encoded("WAV", "PCM_16"), 8000, max_seconds=1.5)) == 12000


def test_a_file_without_samples_is_silence_of_no_length() -> None:
    out = io.BytesIO()
    soundfile.write(out, np.zeros((0, 1)), 8000, format="WAV", subtype="PCM_16")
    assert len(files.load(out.getvalue(), 8000)) == 0 == len(files.load(out.getvalue(), 16000))


@pytest.mark.parametrize(
    "data", [b"", b"hello", b"RIFF", b"RIFF\x00\x00\x00\x00WAVE", b"ID3" + bytes(50), b"OggS" + bytes(100), bytes(5000)]
)
def test_what_is_no_sound_is_refused(data: bytes) -> None:
    with pytest.raises(UnreadableAudio):
        files.load(data, 8000)


def test_a_missing_file_or_a_folder_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.wav", tmp_path):
        with pytest.raises(UnreadableAudio, match=str(path)):
            files.load(path, 8000)


@given(st.sampled_from(FORMATS), st.integers(0, 400), st.binary(min_size=1, max_size=8))
def test_broken_files_are_read_or_refused(form: tuple[str, str], at: int, damage: bytes) -> None:
    whole = encoded(*form, rate=8000)[:6000]
    broken = whole[:at] + damage + whole[at + len(damage) :]
    try:
        sound = files.load(broken, 8000, max_seconds=5.0)
        assert sound.dtype == np.int16
    except UnreadableAudio:
        pass


@pytest.mark.parametrize(("before", "after"), [(8000, 16000), (16000, 8000), (44100, 8000), (8000, 48000), (22050, 8000)])
def test_a_changed_rate_keeps_the_plan(before: int, after: int) -> None:
    assert_heard(heard(resample(PLAN.voice(0, before), before, after), after), PLAN)


@pytest.mark.parametrize("block", [37, 160, 4096])
def test_block_by_block_is_the_same_as_all_at_once(block: int) -> None:
    sound = np.random.default_rng(1).integers(-20000, 20000, (10000, 2)).astype(np.int16)
    change = Resampler(8000, 16000, 2)
    parts = [change.feed(sound[at : at + block]) for at in range(0, len(sound), block)]
    joined = np.concatenate([*parts, change.feed(np.zeros((0, 2), np.int16), last=True)])
    whole = resample(sound, 8000, 16000)
    assert len(joined) == len(whole) == 20000
    assert np.abs(joined.astype(int) - whole.astype(int)).max() <= 1


def test_the_same_rate_is_the_same_array() -> None:
    sound = np.arange(10, dtype=np.int16)
    assert resample(sound, 8000, 8000) is sound and len(resample(sound[:0], 8000, 16000)) == 0


@pytest.mark.parametrize(("before", "after"), [(8000, 16000), (16000, 8000), (44100, 8000)])
def test_silence_stays_silence(before: int, after: int) -> None:
    assert not resample(np.zeros(before, np.int16), before, after).any()
    assert not Resampler(before, after, 2).feed(np.zeros((before, 2), np.int16), last=True).any()


def test_full_scale_does_not_wrap_around() -> None:
    square = np.tile(np.repeat(np.array([32767, -32768], np.int16), 20), 100)
    louder = resample(square, 8000, 16000).astype(int)
    assert louder.max() == 32767 and louder.min() == -32768
    assert np.abs(np.diff(louder)).max() < 60000, "overshoot is clipped"


@given(
    st.sampled_from([8000, 11025, 16000, 22050, 44100, 48000]),
    st.sampled_from([8000, 12000, 16000, 24000, 48000]),
    st.lists(st.integers(1, 3000), max_size=8),
)
def test_a_changed_rate_keeps_the_length_to_the_sample(before: int, after: int, sizes: list[int]) -> None:
    change = Resampler(before, after, 1)
    got = sum(len(change.feed(np.zeros((size, 1), np.int16))) for size in sizes)
    got += len(change.feed(np.zeros((0, 1), np.int16), last=True))
    assert abs(got - sum(sizes) * after / before) <= 1


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30])
def test_samples_that_are_no_numbers_or_too_large_do_no_harm(bad: float) -> None:
    out, sound = io.BytesIO(), PLAN.voice(0, 8000) / 32768.0
    sound[:4000] = bad
    soundfile.write(out, sound, 8000, format="WAV", subtype="FLOAT")
    assert np.array_equal(files.load(out.getvalue(), 8000)[4000:], PLAN.voice(0, 8000)[4000:])


@pytest.mark.parametrize("rate", [1, 999, 2**31 - 1])
def test_a_header_with_an_absurd_rate_is_refused(rate: int) -> None:
    out = io.BytesIO()
    soundfile.write(out, np.zeros(1000), rate, format="WAV", subtype="PCM_16")
    with pytest.raises(UnreadableAudio, match="samples a second"):
        files.load(out.getvalue(), 8000)


def test_many_channels_cost_no_more_memory_than_two() -> None:
    out = io.BytesIO()
    soundfile.write(out, np.zeros((16000, 500), np.int16), 8000, format="WAV", subtype="PCM_16")
    data = out.getvalue()
    tracemalloc.start()
    try:
        assert len(files.load(data, 8000)) == 16000
        assert tracemalloc.get_traced_memory()[1] < 8_000_000, "held whole as floats it is 32 MB"
    finally:
        tracemalloc.stop()
