"""Proof that a recording holds what was said: its sound is compared with what the parties spoke and heard.

Loudness over time (its envelope) is what codecs, resamplers and levels leave alone, and no two sentences share it. Pure functions on
samples; knows nothing of calls and files.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["envelope", "likeness"]

STEP_S = 0.02


def envelope(samples: NDArray[np.int16], rate: int) -> NDArray[np.float64]:
    """Loudness of each 20 ms of int16[n]: the square root of mean power, compressed so that soft syllables count too."""
    step = round(rate * STEP_S)
    count = len(samples) // step
    power: NDArray[np.float64] = np.square(samples[: count * step].astype(np.float64).reshape(count, step)).mean(axis=1)
    return np.sqrt(np.sqrt(power))


def likeness(said: NDArray[np.int16], heard: NDArray[np.int16], rate: int) -> tuple[float, float]:
    """How well `said` is found in `heard`, -1..1 (1: the same), and where, in seconds. (0, 0) where either is silent."""
    part = envelope(said, rate)
    whole = envelope(heard, rate)
    loud = np.flatnonzero(part > part.max(initial=0.0) / 20)
    if not len(loud):
        return 0.0, 0.0
    first = int(loud[0])
    part = part[first : int(loud[-1]) + 1]
    if len(whole) < len(part):
        whole = np.pad(whole, (0, len(part) - len(whole)))
    places = np.lib.stride_tricks.sliding_window_view(whole, len(part))
    centred = part - part.mean()
    deviations = places.std(axis=1) * len(part)
    scores = np.divide(places @ centred, deviations * part.std(), out=np.zeros(len(places)), where=deviations * part.std() > 1e-9)
    best = int(np.argmax(scores))
    return float(scores[best]), (best - first) * STEP_S
