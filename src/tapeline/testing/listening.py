"""Judge a recording by what can be heard in it: decode the file, hold every stretch of every channel against its plan.

Each planned stretch is cut into frames of 20 ms, clear of its edges. A frame must carry its tone, at its level, and nothing else (so a
second voice, a clipped or a doubled one fails), and its phase must go on from the frame before (so a slip of 10 ms fails in the
middle of a steady tone). Edges between tones are found to the millisecond and must lie where they were planned. Tolerances have
names and are in one place, `Tolerance`. Knows nothing of how the file came about.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from tapeline.testing.frames import FRAME_S, Frames, edge_between
from tapeline.testing.plan import ANYTHING, SILENCE, Plan, Segment

__all__ = ["LIVE", "Heard", "Problem", "Report", "Tolerance", "assert_heard", "decode", "listen"]

Audio = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far a good recording may be from its plan. Seconds, or dB."""

    duration_s: float = 0.04
    edge_s: float = 0.02  # an edge between two tones, against its planned place
    level_db: float = 3.0  # of a tone, against its planned level
    residue_db: float = -18.0  # all that is not the tone, against the tone
    silence_db: float = -50.0  # the loudest that silence may be, full scale sine = 0
    guard_s: float = 0.03  # kept clear at each edge of a stretch
    phase_cycles: float = 0.08  # from one frame to the next
    holes_s: float = 0.0  # how much of a stretch may be damaged (packets truly lost), counted in whole frames
    skew_s: float = 0.01  # one channel against another
    slip_s: float = 0.0  # the largest step in time within a steady tone, once in a frame: a drift is corrected by single samples
    start_s: float = 0.0  # how far the whole plan may be shifted to fit; 0: not at all


# For a voice that came over a call: it begins when its party has the answer, which is about when the recording does.
LIVE = Tolerance(start_s=0.3, edge_s=0.008)


@dataclass(frozen=True, slots=True)
class Heard:
    """Decoded sound: float64[frames, channels] in -1..1."""

    samples: Audio
    rate: int

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.rate

    @property
    def channels(self) -> int:
        return int(self.samples.shape[1])


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is not as planned. `channel` is None where the whole file is meant."""

    at: float
    channel: int | None
    what: str

    def __str__(self) -> str:
        where = "" if self.channel is None else f" channel {self.channel}"
        return f"{self.at:9.3f} s{where}: {self.what}"


@dataclass(slots=True)
class Report:
    """What was found. `offset` is the place of the plan's zero in the file; `edges` are (channel, planned, heard) in seconds."""

    seconds: float
    offset: float = 0.0
    problems: list[Problem] = field(default_factory=list)
    edges: list[tuple[int, float, float]] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.problems

    @property
    def worst_edge_s(self) -> float:
        """The largest distance of an edge from its planned place."""
        return max((abs(heard - planned) for _, planned, heard in self.edges), default=0.0)

    def __str__(self) -> str:
        if self.ok:
            return f"as planned: {self.seconds:.3f} s, plan begins at {self.offset:.3f} s, worst edge {self.worst_edge_s * 1000:.1f} ms"
        shown = [str(problem) for problem in sorted(self.problems, key=lambda problem: (problem.at, problem.channel or 0))]
        more = [f"... and {len(shown) - 20} more"] if len(shown) > 20 else []
        return "\n".join([f"not as planned ({self.seconds:.3f} s, plan begins at {self.offset:.3f} s):", *shown[:20], *more])


def decode(source: Path | bytes | Heard) -> Heard:
    """Decode a WAV, MP3 or Ogg file, or its bytes. Raises AssertionError where it cannot be decoded: such a recording is a failed one."""
    if isinstance(source, Heard):
        return source
    try:
        samples, rate = soundfile.read(io.BytesIO(source) if isinstance(source, bytes) else str(source), dtype="float64", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        name = f"{len(source)} bytes" if isinstance(source, bytes) else str(source)
        raise AssertionError(f"not decodable as sound: {name}: {error}") from error
    return Heard(samples, int(rate))


def listen(source: Path | bytes | Heard, plan: Plan, tolerance: Tolerance | None = None, *, seconds: float | None = None) -> Report:
    """Hold a recording against `plan`. `seconds` is the duration wanted, where it is not the plan's own.

    A recording shorter than the plan is judged as far as it goes, and its duration is a problem by itself.
    """
    tolerance = tolerance or Tolerance()
    heard = decode(source)
    report = Report(heard.seconds)
    wanted = plan.seconds if seconds is None else seconds
    if abs(heard.seconds - wanted) > tolerance.duration_s:
        report.problems.append(Problem(heard.seconds, None, f"duration is {heard.seconds:.3f} s, planned {wanted:.3f} s"))
    if heard.channels != len(plan.channels):
        report.problems.append(Problem(0.0, None, f"{heard.channels} channels, planned {len(plan.channels)}"))
        return report
    frames = [Frames(heard.samples[:, number], heard.rate) for number in range(heard.channels)]
    if tolerance.start_s > 0:
        report.offset = _find_offset(frames, plan, tolerance)
    for number, channel in enumerate(frames):
        _judge_edges(channel, plan, number, tolerance, report)
        for begin, end, segment in plan.spans(number):
            _judge_stretch(channel, number, (begin + report.offset, end + report.offset), segment, tolerance, report)
    _judge_skew(tolerance, report)
    return report


def assert_heard(
    source: Path | bytes | Heard, plan: Plan, tolerance: Tolerance | None = None, *, seconds: float | None = None, name: str = ""
) -> Report:
    """As `listen`; raises AssertionError with the readable report where anything is not as planned."""
    report = listen(source, plan, tolerance, seconds=seconds)
    assert report.ok, f"{name or 'the recording'} is {report}"
    return report


def _edges(plan: Plan, number: int) -> list[tuple[float, Segment, Segment]]:
    """Where one judged stretch meets another that sounds different."""
    spans = list(plan.spans(number))
    met = [(begin, before, after) for (_, _, before), (begin, _, after) in zip(spans, spans[1:], strict=False)]
    return [item for item in met if ANYTHING not in (item[1].frequency, item[2].frequency) and item[1].frequency != item[2].frequency]


def _find_offset(frames: Sequence[Frames], plan: Plan, tolerance: Tolerance) -> float:
    """The shift, within `start_s`, that most edges agree on: their median, each sought within `start_s` of its place."""
    shifts = []
    for number, channel in enumerate(frames):
        for at, before, after in _edges(plan, number):
            if (found := edge_between(channel, at, before, after, tolerance.start_s + tolerance.edge_s)) is not None:
                shifts.append(found - at)
    if not shifts:
        return 0.0
    return float(np.clip(np.median(shifts), -tolerance.start_s, tolerance.start_s))


def _judge_edges(channel: Frames, plan: Plan, number: int, tolerance: Tolerance, report: Report) -> None:
    for planned, before, after in _edges(plan, number):
        at = planned + report.offset
        if not FRAME_S * 2 < at < report.seconds - FRAME_S * 2:
            continue
        found = edge_between(channel, at, before, after, 0.15)
        if found is None:
            report.problems.append(Problem(at, number, f"no change from {_name(before)} to {_name(after)} within 150 ms"))
            continue
        report.edges.append((number, at, found))
        if abs(found - at) > tolerance.edge_s:
            late = (found - at) * 1000
            report.problems.append(Problem(at, number, f"change from {_name(before)} to {_name(after)} is {late:+.1f} ms off"))


def _judge_skew(tolerance: Tolerance, report: Report) -> None:
    """All channels stand on one clock: their edges may be off together, not apart."""
    late = {number: [heard - planned for channel, planned, heard in report.edges if channel == number] for number, _, _ in report.edges}
    medians = {number: float(np.median(values)) for number, values in late.items()}
    if len(medians) > 1 and max(medians.values()) - min(medians.values()) > tolerance.skew_s:
        shown = ", ".join(f"channel {number} {value * 1000:+.1f} ms" for number, value in sorted(medians.items()))
        report.problems.append(Problem(0.0, None, f"the channels are not aligned: {shown}"))


def _judge_stretch(
    channel: Frames, number: int, span: tuple[float, float], segment: Segment, tolerance: Tolerance, report: Report
) -> None:
    if segment.frequency == ANYTHING:
        return
    begin, end = max(span[0], 0.0) + tolerance.guard_s, min(span[1], report.seconds) - tolerance.guard_s
    at, wave, residue = channel.within(begin, end, max(segment.frequency, SILENCE))
    if not len(at):
        return
    if segment.frequency == SILENCE:
        wrong = residue > tolerance.silence_db
        if np.any(wrong):
            loud = float(residue[wrong].max())
            _blame(report, number, at[wrong], f"silence was planned, heard {channel.name_at(at[wrong][0])} (up to {loud:.1f} dB)")
        return
    _judge_tone(number, at, wave, residue, segment, channel, tolerance, report)


def _judge_tone(
    number: int,
    at: NDArray[np.float64],
    wave: NDArray[np.complex128],
    residue: NDArray[np.float64],
    segment: Segment,
    channel: Frames,
    tolerance: Tolerance,
    report: Report,
) -> None:
    level = 20 * np.log10(np.maximum(np.abs(wave), 1e-9))
    missing = level < segment.level_db - 20
    dirty = ~missing & (residue - level > tolerance.residue_db)
    allowed = tolerance.phase_cycles
    if tolerance.slip_s > 0:
        allowed += segment.frequency * tolerance.slip_s
        for index in np.flatnonzero(dirty):
            rest, slip = channel.mended(at[index], segment.frequency)
            # At 20 ms a packet a frame may hold the ends of two slips; what the second leaves is small.
            if rest <= tolerance.residue_db + 8 and slip <= allowed:
                dirty[index] = False
                level[index] = segment.level_db
    off = ~missing & (np.abs(level - segment.level_db) > tolerance.level_db)
    phase = np.angle(wave) / (2 * np.pi)
    step = np.abs((np.diff(phase) + 0.5) % 1.0 - 0.5)
    jumps = np.concatenate([[False], (step > allowed) & ~missing[1:] & ~missing[:-1]])
    if np.count_nonzero(missing | off | dirty | jumps) * FRAME_S <= tolerance.holes_s + 1e-9:
        return
    name = f"{segment.frequency:.0f} Hz"
    if np.any(missing):
        _blame(report, number, at[missing], f"{name} is missing, heard {channel.name_at(at[missing][0])}")
    if np.any(off):
        _blame(report, number, at[off], f"{name} at {level[off].mean():.1f} dB, planned {segment.level_db:.1f} dB")
    if np.any(dirty):
        _blame(report, number, at[dirty], f"{name} is not clean: the rest is at {(residue - level)[dirty].max():.1f} dB of it")
    if np.any(jumps):
        _blame(report, number, at[jumps], f"{name} jumps: something was dropped, repeated or shifted")


def _blame(report: Report, number: int, at: NDArray[np.float64], what: str) -> None:
    """One problem for a stretch, with how much of it is concerned."""
    length = f" for {len(at) * FRAME_S * 1000:.0f} ms" if len(at) > 1 else ""
    report.problems.append(Problem(float(at[0]), number, what + length))


def _name(segment: Segment) -> str:
    return "silence" if segment.frequency == SILENCE else f"{segment.frequency:.0f} Hz"
