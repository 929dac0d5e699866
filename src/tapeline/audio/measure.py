"""What can be said of a finished master: length, peaks for drawing, loudness, silence. One pass, in blocks.

Memory does not grow with the length of the recording, but for 3.5 MB a day of loudness steps.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tapeline.audio import wav
from tapeline.audio.loudness import LoudnessMeter

__all__ = ["MAX_PEAKS", "SILENCE_THRESHOLD", "Measures", "measure", "sha256_file"]

MAX_PEAKS = 2000
SILENCE_THRESHOLD = 200  # mean absolute 16-bit sample, the same measure by which a recording ends on silence
_SILENCE_STEP_S = 0.02
_BLOCK_SAMPLES = 1 << 18  # with larger ones the system spends more on fresh pages than we on arithmetic


@dataclass(frozen=True, slots=True)
class Measures:
    """`peaks`: for each channel at most 2000 values 0..1, evenly spaced. `None` where there is no level: all is digital silence."""

    duration_s: float
    peaks: tuple[tuple[float, ...], ...]
    peak_db: float | None  # dB below full scale
    loudness_lufs: float | None  # BS.1770-4 integrated; None also below 400 ms
    silent_s: float  # time in which every channel was silent

    @property
    def silent_ratio(self) -> float:
        return self.silent_s / self.duration_s if self.duration_s else 0.0


class _Peaks:
    """The largest absolute sample of each bucket; blocks may end inside a bucket."""

    def __init__(self, frames: int, channels: int) -> None:
        self._size = max(1, math.ceil(frames / MAX_PEAKS))
        self._values = np.zeros((math.ceil(frames / self._size), channels), np.int32)
        self._at = 0

    def feed(self, levels: NDArray[np.uint16]) -> None:
        starts = np.arange(-(self._at % self._size), len(levels), self._size)
        first = self._at // self._size
        found = np.maximum.reduceat(levels, np.maximum(starts, 0), axis=0)
        window = self._values[first : first + len(starts)]
        np.maximum(window, found, out=window)
        self._at += len(levels)

    def values(self) -> tuple[tuple[float, ...], ...]:
        return tuple(tuple(np.round(column / 32768.0, 4).tolist()) for column in self._values.T)

    def highest(self) -> int:
        return int(self._values.max(initial=0))


def measure(master: Path, *, silence_threshold: int = SILENCE_THRESHOLD) -> Measures:
    """Measure the WAV file at `master`. Raises DamagedWave or OSError."""
    found = wav.info(master)
    step = max(1, round(found.rate * _SILENCE_STEP_S))
    peaks = _Peaks(found.frames, found.channels)
    meter = LoudnessMeter(found.rate, found.channels)
    silent = 0
    size = 5 * step * max(1, _BLOCK_SAMPLES // (5 * step * found.channels))  # whole 100 ms: the meter keeps no rest
    scaled = np.zeros((size, found.channels), np.float32)
    for block in wav.blocks(master, size):
        levels = np.abs(block).view(np.uint16)  # two's complement: |-32768| is right once it is read as unsigned
        peaks.feed(levels)
        silent += _silent_frames(levels, step, silence_threshold)
        meter.feed(np.multiply(block, np.float32(1 / 32768), out=scaled[: len(block)]))
    highest = peaks.highest()
    return Measures(
        duration_s=found.frames / found.rate,
        peaks=peaks.values(),
        peak_db=round(20 * math.log10(highest / 32768), 2) if highest else None,
        loudness_lufs=meter.integrated(),
        silent_s=silent / found.rate,
    )


def _silent_frames(levels: NDArray[np.uint16], step: int, threshold: int) -> int:
    """How many frames lie in steps of 20 ms in which no channel's mean level reaches `threshold`."""
    starts = np.arange(0, len(levels), step)
    lengths = np.diff(np.append(starts, len(levels)))
    sums = np.add.reduceat(levels, starts, axis=0, dtype=np.uint32)
    quiet = (sums < threshold * lengths[:, None]).all(axis=1)
    return int(lengths[quiet].sum())


def sha256_file(path: Path) -> str:
    """The SHA-256 of the file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
