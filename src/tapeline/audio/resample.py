"""Change of sampling rate, through soxr: whole arrays at once, or block by block without a seam.

soxr works on floats here, although it takes 16-bit samples too: those it dithers on the way out, and silence would hiss.
"""

from __future__ import annotations

import numpy as np
import soxr
from numpy.typing import NDArray

__all__ = ["Resampler", "resample"]

Samples = NDArray[np.int16]


def resample(pcm: Samples, from_rate: int, to_rate: int) -> Samples:
    """`pcm` (`int16[n]` or `int16[n, channels]`) at another rate; the same array where the rates agree."""
    if from_rate == to_rate or not len(pcm):
        return pcm
    return _rounded(soxr.resample(pcm.astype(np.float32), from_rate, to_rate, quality="HQ"))


def _rounded(wave: NDArray[np.float32]) -> Samples:
    np.rint(wave, out=wave)
    return np.clip(wave, -32768, 32767, out=wave).astype(np.int16)


class Resampler:
    """A running change of rate for `int16[n, channels]` blocks. One thread at a time; call `last=True` once, at the end."""

    def __init__(self, from_rate: int, to_rate: int, channels: int) -> None:
        self._stream = soxr.ResampleStream(from_rate, to_rate, channels, dtype="float32", quality="HQ")
        self._channels = channels

    def feed(self, block: Samples, *, last: bool = False) -> Samples:
        shaped = block[:, 0] if self._channels == 1 else block
        out = self._stream.resample_chunk(np.ascontiguousarray(shaped, np.float32), last=last)
        return _rounded(out).reshape(-1, self._channels)
