"""Where a tone sounds in a recording, whatever else sounds with it: for mixes, whose plan nobody can write in single tones.

The tones of a plan are orthogonal over a frame of 20 ms, so one is measured undisturbed by the others; speech leaves too little in one
of them, and for too short a time, to be taken for it. Knows nothing of plans but their levels.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tapeline.testing.frames import FRAME_S, Frames
from tapeline.testing.listening import Heard, decode
from tapeline.testing.plan import DEFAULT_LEVEL_DB

__all__ = ["Stretch", "sounding", "stretches"]

Stretch = tuple[float, float]
_SHORTEST = 3  # frames


def stretches(
    source: Path | bytes | Heard, frequency: float, *, channel: int = 0, level_db: float = DEFAULT_LEVEL_DB, within_db: float = 4.0
) -> list[Stretch]:
    """[from, to) in seconds of each stretch of 60 ms or more in which `frequency` sounds at `level_db`, give or take `within_db`."""
    heard = decode(source)
    at, wave, _ = Frames(heard.samples[:, channel], heard.rate).within(0.0, heard.seconds, frequency)
    level = 20 * np.log10(np.maximum(np.abs(wave), 1e-9))
    there = np.concatenate([[False], np.abs(level - level_db) <= within_db, [False]])
    begins, ends = (np.flatnonzero(there[1:] & ~there[:-1]), np.flatnonzero(~there[1:] & there[:-1]))
    pairs = zip(begins, ends, strict=True)
    return [(float(at[begin]), float(at[end - 1]) + FRAME_S) for begin, end in pairs if end - begin >= _SHORTEST]


def sounding(source: Path | bytes | Heard, frequency: float, *, channel: int = 0, level_db: float = DEFAULT_LEVEL_DB) -> float:
    """For how many seconds in all `frequency` sounds."""
    return sum(end - begin for begin, end in stretches(source, frequency, channel=channel, level_db=level_db))
