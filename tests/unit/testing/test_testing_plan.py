"""Plans: what they render, and that no two voices are alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from tapeline.testing import Plan, Segment, anything, offset_between, quiet, spoken, tone
from tapeline.testing.plan import TONES
from tapeline.testing.waveforms import alaw_decode, alaw_encode, clicks, silence, sine, ulaw_decode, ulaw_encode


def test_two_hundred_voices_all_differ_and_change_every_second() -> None:
    voices = [spoken(number, 5) for number in range(200)]
    assert len(set(voices)) == 200
    for voice in voices:
        assert all(first.frequency != second.frequency for first, second in zip(voice, voice[1:], strict=False))


def test_a_voice_is_the_same_every_time() -> None:
    assert spoken(42, 8) == spoken(42, 8)


def test_voices_in_shorter_steps() -> None:
    assert [segment.seconds for segment in spoken(1, 2, each=0.25)] == [0.25] * 8


@pytest.mark.parametrize("milliseconds", [10, 20, 30, 40])
def test_no_tone_hides_a_slip_of_some_packets(milliseconds: int) -> None:
    for frequency in TONES:
        turn = frequency * milliseconds / 1000 % 1
        assert 0.1 < turn < 0.9, frequency


def test_render_places_each_segment() -> None:
    plan = Plan.of([tone(417, 0.5), quiet(0.25)], [quiet(0.5), tone(517, 0.5)])
    samples = plan.render()
    assert samples.shape == (8000, 2)
    assert np.abs(samples[:4000, 0]).max() > 8000
    assert not samples[4000:, 0].any()
    assert not samples[:4000, 1].any()
    assert np.abs(samples[4000:, 1]).max() > 8000


def test_neighbours_that_sound_alike_are_one_stretch() -> None:
    plan = Plan.of([tone(417, 1.0), tone(417, 1.0), quiet(1.0)])
    assert list(plan.spans(0)) == [(0.0, 2.0, Segment(417, 1.0)), (2.0, 3.0, Segment(0.0, 1.0))]
    assert np.array_equal(plan.voice()[:16000], sine(417, 2.0))


def test_a_part_of_a_plan_is_a_plan() -> None:
    plan = Plan.of([tone(417, 1.0), tone(517, 1.0), tone(617, 1.0)])
    part = plan.between(0.5, 2.5)
    assert [(segment.frequency, segment.seconds) for segment in part.channels[0]] == [(417, 0.5), (517, 1.0), (617, 0.5)]


def test_wrong_plans_are_refused() -> None:
    with pytest.raises(ValueError, match="no length"):
        Plan.of([tone(417, 0)])
    with pytest.raises(ValueError, match="does not carry"):
        Plan.of([tone(3900, 1)])


def test_files_hold_what_is_rendered(tmp_path: Path) -> None:
    plan = Plan.of([tone(417, 0.5), anything(0.5)])
    samples, rate = soundfile.read(plan.write_wav(tmp_path / "a.wav", 16000), dtype="int16", always_2d=True)
    assert rate == 16000
    assert np.array_equal(samples, plan.render(16000))
    coded = plan.write_ulaw(tmp_path / "a.ulaw").read_bytes()
    assert len(coded) == 8000
    assert coded[4000:] == b"\xff" * 4000


def test_g711_known_values() -> None:
    assert ulaw_encode(np.array([0, -1, 32767, -32768, 1000], dtype=np.int16)) == bytes((0xFF, 0x7F, 0x80, 0x00, 0xCE))
    assert alaw_encode(np.array([0, -1, 32767, -32768, 1000], dtype=np.int16)) == bytes((0xD5, 0x55, 0xAA, 0x2A, 0xFA))


def test_mulaw_round_trip_is_the_identity_on_its_own_values() -> None:
    codes = bytes(code for code in range(256) if code != 0x7F)  # 0x7f is minus zero
    assert ulaw_encode(ulaw_decode(codes)) == codes
    every = bytes(range(256))
    assert alaw_encode(alaw_decode(every)) == every


@pytest.mark.parametrize("late", [-1200, -3, 0, 1, 160, 3999])
def test_the_offset_between_two_channels_is_measured(late: int) -> None:
    first = clicks([1.0, 1.7, 2.9], 4.0)
    second = np.roll(first, late)
    assert offset_between(first, second, 8000) == late / 8000


def test_channels_with_nothing_in_common_have_no_offset() -> None:
    with pytest.raises(ValueError, match="nothing in common"):
        offset_between(sine(417, 1), sine(917, 1), 8000)
    with pytest.raises(ValueError, match="silent"):
        offset_between(sine(417, 1), silence(1), 8000)
