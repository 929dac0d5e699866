"""The listening checks accept what is right and refuse each way of being wrong."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tapeline.testing import (
    Heard,
    Plan,
    Report,
    Tolerance,
    anything,
    assert_heard,
    decode,
    listen,
    quiet,
    spoken,
    tone,
    ulaw_decode,
    ulaw_encode,
)

RATE = 8000
PLAN = Plan.of(spoken(1, 5), spoken(2, 5))
Sound = NDArray[np.float64]


def sound(plan: Plan = PLAN) -> Sound:
    return plan.render(RATE) / 32768


def judged(samples: Sound, plan: Plan = PLAN, tolerance: Tolerance | None = None) -> Report:
    return listen(Heard(samples, RATE), plan, tolerance)


def test_accepts_what_was_planned() -> None:
    report = judged(sound())
    assert report.ok, report
    assert report.worst_edge_s < 0.002
    assert len(report.edges) == 8


def test_accepts_what_went_through_mulaw() -> None:
    coded = np.stack([ulaw_decode(ulaw_encode(PLAN.voice(number))) for number in (0, 1)], axis=1) / 32768
    assert judged(coded).ok


@pytest.mark.parametrize("subtype", ["WAV", "MP3", "OGG"])
def test_decodes_each_format(subtype: str) -> None:
    file = io.BytesIO()
    soundfile.write(file, sound(), RATE, format=subtype, subtype="OPUS" if subtype == "OGG" else None)
    # An encoder may shift everything by its own delay; what it may not do is move one part against another.
    assert_heard(file.getvalue(), PLAN, Tolerance(start_s=0.2, duration_s=0.3, residue_db=-12, phase_cycles=0.2, guard_s=0.06))


def test_a_shift_by_30_ms_is_found_and_measured() -> None:
    late = np.vstack([np.zeros((240, 2)), sound()[:-240]])
    report = judged(late)
    assert not report.ok
    assert "+30" in str(report) or "+29" in str(report)
    aligned = judged(late, tolerance=Tolerance(start_s=0.1))
    assert aligned.ok, aligned
    assert aligned.offset == pytest.approx(0.030, abs=0.002)


def test_one_channel_shifted_by_30_ms_is_found_even_where_the_start_is_free() -> None:
    skewed = sound()
    skewed[:, 1] = np.concatenate([np.zeros(240), skewed[:-240, 1]])
    assert "channels are not aligned" in str(judged(skewed, tolerance=Tolerance(start_s=0.1)))


def test_doubled_loudness_is_found() -> None:
    assert "planned -12.0 dB" in str(judged(sound() * 2))


def test_a_voice_heard_twice_is_found() -> None:
    echo = sound()
    echo[4000:] += sound()[:-4000]
    assert "not clean" in str(judged(echo))


def test_time_doubled_is_found() -> None:
    assert "duration is 10.000 s" in str(judged(np.repeat(sound(), 2, axis=0)))


@pytest.mark.parametrize("slip", [80, 160, 240, 320])
def test_a_repeated_packet_within_a_steady_tone_is_found(slip: int) -> None:
    steady = Plan.of([tone(917, 2.0)])
    samples = sound(steady)
    repeated = np.concatenate([samples[:8040], samples[8040 - slip : -slip]])
    assert len(repeated) == len(samples)
    assert not judged(repeated, steady).ok


def test_a_dropped_packet_within_a_steady_tone_is_found() -> None:
    steady = Plan.of([tone(1417, 2.0)])
    samples = sound(steady)
    dropped = np.concatenate([samples[:8040], samples[8200:], np.zeros((160, 1))])
    assert "jumps" in str(judged(dropped, steady))


@pytest.mark.parametrize("frequency", [417, 1217, 2517])
def test_single_samples_may_slip_where_that_is_allowed(frequency: float) -> None:
    steady = Plan.of([tone(frequency, 2.0)])
    places = list(range(6013, 9000, 160))
    slipped = np.concatenate([np.delete(sound(steady), places, axis=0), np.zeros((len(places), 1))])
    report = listen(Heard(slipped, RATE), steady, Tolerance(slip_s=0.00013))
    assert report.ok, report
    if frequency > 1000:  # below, a sample is no step to speak of
        assert not judged(slipped, steady).ok


@pytest.mark.parametrize("much", [80, 160, 240, 1000])
def test_where_single_samples_may_slip_the_edges_tell_of_more(much: int) -> None:
    samples = sound()
    dropped = np.concatenate([samples[:20_040], samples[20_040 + much :], np.zeros((much, 2))])
    assert not judged(dropped, tolerance=Tolerance(slip_s=0.00013, start_s=0.3, edge_s=0.004)).ok


def test_a_missing_second_is_found() -> None:
    holed = sound()
    holed[16000:24000, 0] = 0
    report = judged(holed)
    assert "is missing, heard silence" in str(report)
    assert {problem.channel for problem in report.problems} == {0}


def test_holes_are_allowed_only_as_far_as_said() -> None:
    steady = Plan.of([tone(917, 2.0)])
    holed = sound(steady)
    holed[8000:8320] = 0
    assert not judged(holed, steady).ok
    assert judged(holed, steady, Tolerance(holes_s=0.06)).ok
    holed[8000:9000] = 0
    assert not judged(holed, steady, Tolerance(holes_s=0.06)).ok


def test_swapped_channels_are_found() -> None:
    assert "is missing, heard" in str(judged(sound()[:, ::-1]))


def test_a_missing_channel_is_found() -> None:
    assert "1 channels, planned 2" in str(judged(sound()[:, :1]))


def test_clipping_is_found() -> None:
    plan = Plan.of([tone(717, 2.0)])
    clipped = np.clip(sound(plan) * 4, -0.25, 0.25)
    clipped *= 0.2512 / (4 / np.pi * 0.25)  # the same level again, as a distorted microphone would give
    assert "not clean" in str(judged(clipped, plan))


def test_noise_over_the_tone_is_found() -> None:
    noisy = sound() + np.random.default_rng(1).normal(0, 0.05, (40000, 2))
    assert "not clean" in str(judged(noisy))


def test_sound_where_silence_was_planned_is_found() -> None:
    plan = Plan.of([tone(917, 1.0), quiet(1.0), tone(517, 1.0)])
    leaking = sound(plan)
    assert judged(leaking, plan).ok
    leaking[12000:12400, 0] = 0.02
    assert "silence was planned" in str(judged(leaking, plan))


def test_edges_to_and_from_silence_are_measured() -> None:
    plan = Plan.of([tone(917, 1.0), quiet(1.0), tone(517, 1.0)])
    late = sound(plan)
    late[8000:8320] = late[7680:8000]
    assert "change from 917 Hz to silence is +40" in str(judged(late, plan)).replace("+39.5", "+40").replace("+40.5", "+40")


def test_what_is_not_judged_may_be_anything() -> None:
    plan = Plan.of([tone(917, 1.0), anything(1.0), tone(517, 1.0)])
    wild = sound(plan)
    wild[8000:16000, 0] = np.random.default_rng(2).normal(0, 0.2, 8000)
    assert judged(wild, plan).ok


def test_too_short_and_too_long_are_found() -> None:
    assert "duration is 4.900 s" in str(judged(sound()[:-800]))
    assert judged(sound()[:-240]).ok
    assert "duration is 5.100 s" in str(judged(np.vstack([sound(), np.zeros((800, 2))])))


def test_drift_shows_at_the_far_edges() -> None:
    plan = Plan.of(spoken(7, 60))
    index = np.arange(60 * RATE) * (1 + 1000e-6)
    drifting = np.interp(index, np.arange(60 * RATE), sound(plan)[:, 0])[:, None]
    report = judged(drifting, plan)
    assert not report.ok
    assert report.worst_edge_s == pytest.approx(0.059, abs=0.003)


def test_what_cannot_be_decoded_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").write_bytes(b"")
    with pytest.raises(AssertionError, match="not decodable"):
        decode(tmp_path / "empty.wav")
    with pytest.raises(AssertionError, match="not decodable as sound: 7 bytes"):
        decode(b"RIFFxxx")
    with pytest.raises(AssertionError, match=r"not decodable.*absent\.wav"):
        decode(tmp_path / "absent.wav")


def test_the_report_is_raised_with_the_name_of_the_recording() -> None:
    with pytest.raises(AssertionError, match="call 7 is not as planned"):
        assert_heard(Heard(sound()[:, ::-1], RATE), PLAN, name="call 7")


def test_silence_is_not_taken_for_a_plan() -> None:
    report = judged(np.zeros((40000, 2)))
    assert len([problem for problem in report.problems if "is missing" in problem.what]) == 10


@given(seed=st.integers(0, 10_000), rate=st.sampled_from([8000, 16000, 48000]), each=st.sampled_from([0.5, 1.0]))
def test_whatever_is_planned_is_heard_when_rendered(seed: int, rate: int, each: float) -> None:
    plan = Plan.of(spoken(seed, 3, each=each), [quiet(0.4), *spoken(seed + 1, 2), quiet(0.6)])
    report = listen(Heard(plan.render(rate) / 32768, rate), plan)
    assert report.ok, report


@given(seed=st.integers(0, 10_000), at=st.integers(800, 20_000), length=st.integers(280, 4000), repeat=st.booleans())
def test_whatever_is_cut_out_or_said_twice_is_found(seed: int, at: int, length: int, repeat: bool) -> None:
    plan = Plan.of(spoken(seed, 3))
    samples = sound(plan)
    if repeat:
        wrong = np.concatenate([samples[: at + length], samples[at:]])[: len(samples)]
    else:
        wrong = np.concatenate([samples[:at], samples[at + length :], samples[-length:]])
    assert not listen(Heard(wrong, RATE), plan, Tolerance(start_s=0.005)).ok
