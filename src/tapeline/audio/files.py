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
_BLOCK = 65536


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
    left = int(max_seconds * file.samplerate)
    change = Resampler(file.samplerate, rate, 1) if file.samplerate != rate else None
    parts: list[NDArray[np.int16]] = []
    while left > 0:
        block = file.read(min(_BLOCK, left), dtype="float32", always_2d=True)
        if not len(block):
            break
        left -= len(block)
        mixed = np.clip(np.round(block.mean(axis=1) * 32768.0), -32768, 32767).astype(np.int16)
        parts.append(change.feed(mixed[:, None])[:, 0] if change else mixed)
    if change:
        parts.append(change.feed(np.zeros((0, 1), np.int16), last=True)[:, 0])
    return np.concatenate(parts) if parts else np.zeros(0, np.int16)
