"""Tones that telephones know, as arrays of 16-bit samples.

A tone is a sum of sines with short ramps at both ends, so that it neither clicks nor clips. Levels are dB below full scale,
for the whole tone and not for each of its frequencies. The call progress tones are the European ones of ITU-T E.180.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["beep", "busy", "congestion", "dial", "digit", "music", "ringback", "silence", "tone"]

Samples = NDArray[np.int16]

_ROWS = (697.0, 770.0, 852.0, 941.0)
_COLUMNS = (1209.0, 1336.0, 1477.0, 1633.0)
_KEYS = ("123A", "456B", "789C", "*0#D")
_RAMP_S = 0.005


def tone(frequencies: float | Sequence[float], seconds: float, rate: int, level_db: float = -12.0) -> Samples:
    """`seconds` of all `frequencies` (hertz) together, peaking at most `level_db` below full scale."""
    wanted = [float(frequencies)] if isinstance(frequencies, (int, float)) else [float(each) for each in frequencies]
    count = max(0, round(seconds * rate))
    if not wanted or not count:
        return np.zeros(count, np.int16)
    moments = np.arange(count) / rate
    wave: NDArray[np.float64] = np.sin(2 * np.pi * np.outer(wanted, moments)).mean(axis=0)
    ramp = min(round(_RAMP_S * rate), count // 2)
    if ramp:
        rise = np.linspace(0.0, 1.0, ramp, endpoint=False)
        wave[:ramp] *= rise
        wave[count - ramp :] *= rise[::-1]
    return _scaled(wave, level_db)


def _scaled(wave: NDArray[np.float64], level_db: float) -> Samples:
    return np.round(wave * (32767.0 * 10 ** (min(level_db, 0.0) / 20))).astype(np.int16)


def louder(samples: Samples, level_db: float) -> Samples:
    """`samples` at another level, cut at full scale where that is too much."""
    return np.clip(np.round(samples.astype(np.float64) * 10 ** (level_db / 20)), -32768, 32767).astype(np.int16)


def silence(seconds: float, rate: int) -> Samples:
    """`seconds` of digital silence."""
    return np.zeros(max(0, round(seconds * rate)), np.int16)


def beep(rate: int) -> Samples:
    """The short tone that tells both parties that a recording begins: 0.4 s of 1000 Hz."""
    return tone(1000.0, 0.4, rate, -10.0)


def ringback(rate: int) -> Samples:
    """One period of "it rings over there": 1 s of 425 Hz, 4 s of silence. Play it in a loop."""
    return np.concatenate([tone(425.0, 1.0, rate), silence(4.0, rate)])


def busy(rate: int) -> Samples:
    """One period of "engaged": 0.48 s of 425 Hz, 0.48 s of silence. Play it in a loop."""
    return np.concatenate([tone(425.0, 0.48, rate), silence(0.48, rate)])


def congestion(rate: int) -> Samples:
    """One period of "no way through": 0.24 s of 425 Hz, 0.24 s of silence. Play it in a loop."""
    return np.concatenate([tone(425.0, 0.24, rate), silence(0.24, rate)])


def dial(rate: int) -> Samples:
    """One second of dial tone, 425 Hz, whole periods and no ramps: it loops without a seam."""
    return _scaled(np.sin(2 * np.pi * 425.0 * np.arange(rate) / rate), -12.0)


def music(rate: int) -> Samples:
    """What somebody on hold hears: 16 s of soft broken chords (C, A minor, F, G), each note fading. Play it in a loop."""
    c, a, f, g = (261.6, 329.6, 392.0, 523.3), (220.0, 261.6, 329.6, 440.0), (174.6, 220.0, 261.6, 349.2), (196.0, 246.9, 293.7, 392.0)
    count = rate // 2
    moments = np.arange(count) / rate
    fade = np.exp(-3.0 * moments) * np.minimum(1.0, moments / 0.01) * np.minimum(1.0, (0.5 - moments) / 0.01)
    notes = []
    for chord in (c, a, f, g):
        for step in (0, 1, 2, 3, 2, 1, 2, 1):
            wave = np.sin(2 * np.pi * chord[step] * moments) + 0.3 * np.sin(4 * np.pi * chord[step] * moments)
            notes.append(_scaled(wave * fade / 1.3, -14.0))
    return np.concatenate(notes)


def digit(key: str, seconds: float, rate: int, level_db: float = -9.0) -> Samples:
    """The two tones of a telephone key (ITU-T Q.23). Raises ValueError for what is no key."""
    for row, keys in enumerate(_KEYS):
        if len(key) == 1 and key.upper() in keys:
            return tone((_ROWS[row], _COLUMNS[keys.index(key.upper())]), seconds, rate, level_db)
    raise ValueError(f"{key!r} is not a telephone key")
