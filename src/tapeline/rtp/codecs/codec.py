"""What the engine must know of a codec. Each codec is a file beside this one and ends in one `Codec`.

Codecs of one or two bytes a sample are expanded and compressed by table, or taken as they are, on the engine's own threads. A codec
that works on frames (G.722, Opus) will carry a decoder and an encoder that are called in batches, off the tick; nothing else here
depends on which of the two a codec is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Codec", "companding"]

Expand = NDArray[np.int16]
Compress = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Codec:
    """`number` is the codec's place in the engine; `expand` int16[256] and `compress` uint8[16384], by the upper 14 bits of a sample,
    are there for codecs of one byte a sample."""

    name: str
    number: int
    rates: tuple[int, ...]
    payload_type: int | None
    sample_size: int
    expand: Expand | None = None
    compress: Compress | None = None


def companding(expand: Expand, zero: int) -> Compress:
    """The table that undoes `expand`: for each sample the code that comes nearest, `zero` for silence."""
    order = np.argsort(expand, kind="stable")
    levels = expand[order].astype(np.int64)
    samples = np.arange(-8192, 8192) * 4 + 2
    upper = np.clip(np.searchsorted(levels, samples), 1, 255)
    nearer = samples - levels[upper - 1] <= levels[upper] - samples
    codes = order[np.where(nearer, upper - 1, upper)].astype(np.uint8)
    table = np.empty(16384, np.uint8)
    table[np.arange(-8192, 8192) & 0x3FFF] = codes
    table[0] = zero
    return table
