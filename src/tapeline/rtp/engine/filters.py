"""The low passes between two rates of a whole ratio, as integers: what is above half of the slower rate must not be heard as something
else. Made once, at import; `samples.convert` has copies of its own in the compiled build.

A kernel is a sinc in a Kaiser window, `HALF` samples of the slower rate to each side, symmetric: it delays nothing, but looks so far
ahead. Flat to 3.2 kHz and 60 dB down from 4.6 kHz on at 8 kHz, and in proportion at other rates. 16384 is 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["DOWN", "HALF", "KERNELS", "UP", "WIDTH"]

HALF = 12
WIDTH = 2 * HALF + 1  # samples that an interpolated one is made of
_BETA = 5.65  # 60 dB
_CUTOFF = 0.488  # of the slower rate


def _kernel(ratio: int) -> NDArray[np.float64]:
    places = np.arange(-HALF * ratio, HALF * ratio + 1) / ratio
    kernel: NDArray[np.float64] = np.sinc(2 * _CUTOFF * places) * np.kaiser(2 * HALF * ratio + 1, _BETA)
    return kernel


def _whole(taps: NDArray[np.float64]) -> NDArray[np.int16]:
    """Integers whose sum is 16384: what is constant stays as it is."""
    rounded = np.round(taps / taps.sum() * 16384).astype(np.int64)
    rounded[np.abs(rounded).argmax()] += 16384 - rounded.sum()
    whole: NDArray[np.int16] = rounded.astype(np.int16)
    return whole


def _down(ratio: int) -> NDArray[np.int16]:
    return _whole(_kernel(ratio))


def _up(ratio: int) -> NDArray[np.int16]:
    """For each of the `ratio` places between two samples the weights of the `WIDTH` samples around it, in their order."""
    kernel = _kernel(ratio)
    phases = []
    for phase in range(ratio):
        at = HALF * ratio + phase - ratio * np.arange(-HALF, HALF + 1)
        inside = (at >= 0) & (at < len(kernel))
        phases.append(_whole(np.where(inside, kernel[np.clip(at, 0, len(kernel) - 1)], 0.0)))
    return np.concatenate(phases)


DOWN = {ratio: _down(ratio) for ratio in (2, 3, 6)}
UP = {ratio: _up(ratio) for ratio in (2, 3, 6)}
KERNELS = np.concatenate([*DOWN.values(), *UP.values()])  # at 0, 49, 122, 267, 317, 392
