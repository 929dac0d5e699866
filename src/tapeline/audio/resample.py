"""Change of sampling rate, through soxr: whole arrays at once, or block by block without a seam."""

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
    out: Samples = soxr.resample(pcm, from_rate, to_rate, quality="HQ")
    return out


class Resampler:
    """A running change of rate for `int16[n, channels]` blocks. One thread at a time; call `last=True` once, at the end."""

    def __init__(self, from_rate: int, to_rate: int, channels: int) -> None:
        self._stream = soxr.ResampleStream(from_rate, to_rate, channels, dtype="int16", quality="HQ")
        self._channels = channels

    def feed(self, block: Samples, *, last: bool = False) -> Samples:
        shaped = block[:, 0] if self._channels == 1 else block
        out: Samples = self._stream.resample_chunk(np.ascontiguousarray(shaped), last=last)
        return out.reshape(-1, self._channels)
