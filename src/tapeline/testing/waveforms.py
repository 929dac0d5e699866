"""Test signals and their encodings, written apart from the program's own so that each checks the other.

Samples are int16 at a given rate unless said otherwise; levels are dB relative to a full-scale sine (0 dB = peak 32767). The G.711
tables here are made from the segment definition of ITU-T G.711, not shared with `rtp.codecs`. Knows nothing of plans and files.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["Samples", "alaw_decode", "alaw_encode", "clicks", "silence", "sine", "ulaw_decode", "ulaw_encode"]

Samples = NDArray[np.int16]

_PEAK = 32767.0
_ULAW_BIAS = 132
_ULAW_CLIP = 32635


def silence(seconds: float, rate: int = 8000) -> Samples:
    """int16[round(seconds * rate)] of zeros."""
    return np.zeros(round(seconds * rate), dtype=np.int16)


def sine(frequency: float, seconds: float, rate: int = 8000, *, level_db: float = -12.0, start: int = 0) -> Samples:
    """A sine whose phase is that of a tone that began `start` samples earlier, so that pieces join without a step."""
    index = np.arange(start, start + round(seconds * rate), dtype=np.float64)
    wave = _PEAK * 10 ** (level_db / 20) * np.sin(2 * np.pi * frequency * index / rate)
    return np.round(wave).astype(np.int16)


def clicks(at: list[float], seconds: float, rate: int = 8000, *, level_db: float = -3.0) -> Samples:
    """Silence with a click of 2 ms (two half waves of opposite sign) at each time of `at`, for measuring offsets."""
    samples = silence(seconds, rate)
    half = max(1, rate // 1000)
    peak = np.int16(_PEAK * 10 ** (level_db / 20))
    for moment in at:
        first = round(moment * rate)
        samples[first : first + half] = peak
        samples[first + half : first + 2 * half] = -peak
    return samples


def ulaw_encode(samples: Samples) -> bytes:
    """G.711 mu-law, one byte a sample."""
    value = samples.astype(np.int32)
    sign = np.where(value < 0, 0x80, 0)
    magnitude = np.minimum(np.where(value < 0, ~value, value), _ULAW_CLIP) + _ULAW_BIAS
    exponent = np.floor(np.log2(magnitude)).astype(np.int32) - 7
    mantissa = (magnitude >> (exponent + 3)) & 0x0F
    return bytes((~(sign | (exponent << 4) | mantissa) & 0xFF).astype(np.uint8))


def ulaw_decode(data: bytes) -> Samples:
    """The int16 samples of G.711 mu-law bytes."""
    code = ~np.frombuffer(data, dtype=np.uint8).astype(np.int32) & 0xFF
    exponent = (code >> 4) & 0x07
    magnitude = ((((code & 0x0F) << 3) + _ULAW_BIAS) << exponent) - _ULAW_BIAS
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.int16)


def alaw_encode(samples: Samples) -> bytes:
    """G.711 A-law, one byte a sample, even bits inverted."""
    value = samples.astype(np.int32) >> 3
    sign = np.where(value >= 0, 0x80, 0)
    magnitude = np.where(value >= 0, value, -value - 1)
    segment = np.maximum(np.floor(np.log2(np.maximum(magnitude, 1))).astype(np.int32) - 4, 0)
    mantissa = np.where(segment < 1, magnitude >> 1, magnitude >> segment) & 0x0F
    return bytes(((sign | (segment << 4) | mantissa) ^ 0x55).astype(np.uint8))


def alaw_decode(data: bytes) -> Samples:
    """The int16 samples of G.711 A-law bytes."""
    code = np.frombuffer(data, dtype=np.uint8).astype(np.int32) ^ 0x55
    segment = (code >> 4) & 0x07
    steps = 2 * (code & 0x0F) + 1
    magnitude = np.where(segment < 1, steps, (steps + 32) << np.maximum(segment - 1, 0)) << 3
    return np.where(code & 0x80, magnitude, -magnitude).astype(np.int16)
