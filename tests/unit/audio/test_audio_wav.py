"""WAV masters: their header, how it is mended from the size alone, and how they grow beyond 4 GB."""

from __future__ import annotations

import os
import struct
import wave
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from tapeline.audio import wav
from tapeline.audio.errors import DamagedWave


def samples(frames: int, channels: int = 1) -> np.ndarray:
    return np.arange(frames * channels, dtype=np.int16).reshape(frames, channels) * 7


def test_the_header_is_80_bytes_whatever_it_says() -> None:
    for frames in (None, 0, 1, 1 << 20, 1 << 33):
        assert len(wav.header(8000, 2, frames)) == wav.HEADER_SIZE
    assert len(wav.plain_header(8000, 1, 5)) == wav.PLAIN_HEADER_SIZE


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (16000, 2), (48000, 32)])
def test_what_is_written_is_read_by_us_and_by_others(tmp_path: Path, rate: int, channels: int) -> None:
    path, sound = tmp_path / "a.wav", samples(1000, channels)
    wav.write(path, sound, rate)
    assert wav.info(path) == wav.WavInfo(rate, channels, 1000, 80)
    assert wav.info(path).duration_s == 1000 / rate
    read, read_rate = wav.read(path)
    assert read_rate == rate and np.array_equal(read, sound)
    others, others_rate = soundfile.read(path, dtype="int16", always_2d=True)
    assert others_rate == rate and np.array_equal(others, sound)
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getnframes()) == (rate, channels, 1000)


def test_a_plain_header_is_read_by_us(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav.plain_header(8000, 1, 3) + samples(3).tobytes())
    assert wav.info(path) == wav.WavInfo(8000, 1, 3, 44)
    with pytest.raises(ValueError, match="too long"):
        wav.plain_header(8000, 1, 1 << 31)


def test_a_growing_master_can_be_heard_before_it_is_complete(tmp_path: Path) -> None:
    path, sound = tmp_path / "a.wav", samples(500, 2)
    path.write_bytes(wav.header(8000, 2, None) + sound.tobytes())
    assert wav.info(path).frames == 500
    others, _ = soundfile.read(path, dtype="int16")
    assert np.array_equal(others, sound)


@pytest.mark.parametrize(("rate", "channels"), [(0, 1), (8000, 0), (1_000_000, 1), (8000, 2000)])
def test_a_shape_that_no_header_holds_is_refused(rate: int, channels: int) -> None:
    with pytest.raises(ValueError):
        wav.header(rate, channels, 0)


@pytest.mark.parametrize("left", [0, 1, 2, 3])
def test_complete_cuts_off_part_of_a_frame_and_nothing_else(tmp_path: Path, left: int) -> None:
    path, sound = tmp_path / "a.wav", samples(400, 2)
    path.write_bytes(wav.header(16000, 2, None) + sound.tobytes() + b"x" * left)
    for _ in range(2):  # safe to repeat
        assert wav.complete(path) == wav.WavInfo(16000, 2, 400, 80)
        assert path.stat().st_size == 80 + 1600
        assert np.array_equal(wav.read(path)[0], sound)
    assert struct.unpack_from("<I", path.read_bytes(), 76)[0] == 1600


def test_a_lost_header_is_written_anew_and_no_sample_is_lost(tmp_path: Path) -> None:
    path, sound = tmp_path / "a.wav", samples(400, 2)
    path.write_bytes(bytes(80) + sound.tobytes())
    assert wav.complete(path, rate=16000, channels=2) == wav.WavInfo(16000, 2, 400, 80)
    assert np.array_equal(wav.read(path)[0], sound)


@given(st.integers(0, 79), st.sampled_from([(8000, 1), (16000, 2)]))
def test_a_file_cut_within_its_header_becomes_an_empty_one(
    tmp_path_factory: pytest.TempPathFactory, size: int, shape: tuple[int, int]
) -> None:
    path = tmp_path_factory.mktemp("cut") / "a.wav"
    path.write_bytes(wav.header(*shape, None)[:size])
    assert wav.complete(path, rate=shape[0], channels=shape[1]) == wav.WavInfo(*shape, 0, 80)
    assert wav.read(path)[0].shape == (0, shape[1])


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_a_wave_or_damaged_and_can_be_completed(tmp_path_factory: pytest.TempPathFactory, data: bytes, riff: bool) -> None:
    path = tmp_path_factory.mktemp("any") / "a.wav"
    path.write_bytes(b"RIFF\x24\x00\x00\x00WAVE" + data if riff else data)
    tail = path.read_bytes()[80:]
    try:
        found = wav.info(path)
        assert found.frames >= 0 and sum(map(len, wav.blocks(path))) == found.frames
    except DamagedWave:
        pass
    found = wav.complete(path)
    assert wav.info(path) == found
    kept = len(tail) - len(tail) % (2 * found.channels)
    assert path.read_bytes()[80:] == tail[:kept]


def test_beyond_4_gb_it_is_rf64_and_still_exact(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    frames = 24 * 3600 * 16000
    path.write_bytes(wav.header(16000, 2, None))
    with path.open("r+b") as file:
        file.seek(80 + frames * 4 - 4)
        file.write(b"\x01\x00\x02\x00\xff")  # the last frame, and a byte too many; all before it is a hole
    assert wav.complete(path) == wav.WavInfo(16000, 2, frames, 80) == wav.info(path)
    assert path.stat().st_size == 80 + frames * 4
    with path.open("rb") as file:
        assert file.read(4) == b"RF64"
    with soundfile.SoundFile(path) as others:
        assert (others.frames, others.samplerate) == (frames, 16000)
        others.seek(frames - 1)
        assert others.read(1, dtype="int16").tolist() == [[1, 2]]
    assert os.stat(path).st_blocks * 512 < 1 << 20, "nothing was written but the header"


@pytest.mark.parametrize("block", [1, 7, 1000, 1 << 20])
def test_blocks_give_every_sample_once(tmp_path: Path, block: int) -> None:
    path, sound = tmp_path / "a.wav", samples(999, 3)
    wav.write(path, sound, 8000)
    found = list(wav.blocks(path, block))
    assert max(map(len, found)) <= block and np.array_equal(np.concatenate(found), sound)


def test_a_header_that_promises_more_than_the_file_holds_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav.header(8000, 1, 1000) + bytes(20))
    assert wav.info(path).frames == 10


def test_other_kinds_of_wave_are_not_masters(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    for subtype in ("PCM_24", "FLOAT", "ULAW"):
        soundfile.write(path, np.zeros(10), 8000, subtype=subtype)
        with pytest.raises(DamagedWave):
            wav.info(path)
