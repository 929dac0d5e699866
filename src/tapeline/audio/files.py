"""Prompts and other sound from outside: a file or bytes in any format that libsndfile reads, as one channel at one rate.

WAV (PCM, A-law, mu-law, GSM, ADPCM), MP3, Ogg (Vorbis, Opus), FLAC, AU and AIFF. What is given may come from the network, so
its length is bounded, and anything that cannot be read is refused with `UnreadableAudio`, whatever is wrong with it.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from tapeline.audio.errors import UnreadableAudio
from tapeline.audio.resample import Resampler

__all__ = ["load"]

MAX_SECONDS = 3600.0
_BLOCK_SAMPLES = 1 << 18
_RATES = range(1000, 768_001)  # beyond these a header lies, and obeying it would cost memory and time for nothing


def load(source: Path | str | bytes, rate: int, *, max_seconds: float = MAX_SECONDS) -> NDArray[np.int16]:
    """All of `source` as `int16[n]` at `rate`, its channels averaged; cut after `max_seconds`. Raises UnreadableAudio."""
    name = "the audio" if isinstance(source, bytes) else str(source)
    if isinstance(source, bytes) and not source:
        raise UnreadableAudio(f"{name} is empty")
    opened = io.BytesIO(source) if isinstance(source, bytes) else str(source)
    try:
        with soundfile.SoundFile(opened) as file:
            return _decode(file, rate, max_seconds)
    except (soundfile.SoundFileError, RuntimeError, OSError, ValueError, TypeError) as error:
        hint = "give WAV, MP3, Ogg, FLAC, AU or AIFF"
        raise UnreadableAudio(f"{name} cannot be read as audio: {error}", hint=hint) from error


def _decode(file: soundfile.SoundFile, rate: int, max_seconds: float) -> NDArray[np.int16]:
    if file.samplerate not in _RATES:
        raise UnreadableAudio(f"no audio has {file.samplerate} samples a second")
    left = int(max_seconds * file.samplerate)
    most = max(1, _BLOCK_SAMPLES // file.channels)
    change = Resampler(file.samplerate, rate, 1) if file.samplerate != rate else None
    parts: list[NDArray[np.int16]] = []
    while left > 0:
        block = file.read(min(most, left), dtype="float32", always_2d=True)
        if not len(block):
            break
        left -= len(block)
        mean = np.nan_to_num(block.mean(axis=1) * 32768.0)  # files of floats may hold what is no number
        mixed = np.clip(np.round(mean), -32768, 32767).astype(np.int16)
        parts.append(change.feed(mixed[:, None])[:, 0] if change else mixed)
    if change:
        parts.append(change.feed(np.zeros((0, 1), np.int16), last=True)[:, 0])
    return np.concatenate(parts) if parts else np.zeros(0, np.int16)
