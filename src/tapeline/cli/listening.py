"""Decoding a stored recording to the end, to prove that it can be heard. Reads in blocks; knows nothing of stores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import soundfile

__all__ = ["Expected", "Heard", "decode"]

_BLOCK = 1 << 16  # frames
_PER_SECOND = 20  # peaks kept for drawing
_PADDING_S = 0.05  # of an encoder that does not say how much of its first and last frame is its own


class Expected(Protocol):
    """What a recording's row says of its audio."""

    @property
    def duration(self) -> float | None: ...

    @property
    def channels(self) -> int: ...

    @property
    def format(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Heard:
    rate: int
    channels: int
    frames: int
    peaks: tuple[tuple[float, ...], ...]  # for each channel, 0..1, twenty a second
    problems: tuple[str, ...]

    @property
    def duration(self) -> float:
        return self.frames / self.rate if self.rate else 0.0

    @property
    def facts(self) -> dict[str, Any]:
        return {"rate": self.rate, "channels": self.channels, "duration": round(self.duration, 3)}


def decode(path: Path, expected: Expected | None = None) -> Heard:
    """Decode all of `path` (any format that soundfile reads); `problems` tells what cannot be decoded or is not as `expected`."""
    peaks: list[Sequence[float]] = []
    frames = 0
    try:
        with soundfile.SoundFile(str(path)) as sound:
            rate, channels = sound.samplerate, sound.channels
            step = max(1, rate // _PER_SECOND)
            while len(block := sound.read(_BLOCK // step * step, dtype="float32", always_2d=True)):
                frames += len(block)
                starts = np.arange(0, len(block), step)
                peaks.extend(np.minimum(1.0, np.maximum.reduceat(np.abs(block), starts, axis=0)).tolist())
    except (soundfile.SoundFileError, RuntimeError) as error:
        return Heard(0, 0, frames, (), (f"the audio cannot be decoded: {error}",))
    heard = Heard(rate, channels, frames, tuple(zip(*peaks, strict=True)) or ((),) * channels, ())
    if expected is None:
        return heard
    problems = []
    if channels != expected.channels:
        problems.append(f"the audio has {channels} channel(s), its row says {expected.channels}")
    slack = 0.001 if expected.format == "wav" else _PADDING_S
    if expected.duration is not None and abs(heard.duration - expected.duration) > slack:
        problems.append(f"the audio lasts {heard.duration:.3f} s, its row says {expected.duration:.3f} s")
    return Heard(rate, channels, frames, heard.peaks, tuple(problems))
