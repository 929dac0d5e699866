"""How far one channel stands behind another, to a fraction of a millisecond, by correlating what both carry.

For plans whose channels hold the same clicks: two parties' channels of one recording must stay aligned for hours, and a constant offset
is as bad as a drift. Knows nothing of plans; takes float or int16 samples.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["offset_between"]


def offset_between(first: NDArray[Any], second: NDArray[Any], rate: int, *, within_s: float = 0.5) -> float:
    """Seconds by which `second` is later than `first`, at most `within_s` either way.

    Raises ValueError where one of them is silent or they have nothing in common: then there is no offset to speak of.
    """
    length = min(len(first), len(second))
    left, right = first[:length].astype(np.float64), second[:length].astype(np.float64)
    power = float(np.sqrt(np.sum(left**2) * np.sum(right**2)))
    if power == 0:
        raise ValueError("a silent channel has no offset")
    size = 1 << (2 * length - 1).bit_length()
    match = np.fft.irfft(np.fft.rfft(right, size) * np.conj(np.fft.rfft(left, size)), size)
    reach = min(round(within_s * rate), length - 1)
    around = np.concatenate([match[-reach:], match[: reach + 1]]) if reach else match[:1]
    best = int(np.argmax(around))
    if around[best] < 0.3 * power:
        raise ValueError(f"the channels have nothing in common (correlation {around[best] / power:.2f})")
    return (best - reach) / rate
