"""Renditions: what people hear and download, made from the master.

master blocks -> change of channels -> change of rate -> encoder -> file. Everything streams; memory does not grow with the
recording. The master is only read. The output is overwritten, so that rendering again is always safe.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, Protocol

import numpy as np
import soundfile
from numpy.typing import NDArray

from tapeline.audio import wav
from tapeline.audio.errors import UnsuitableFormat
from tapeline.audio.mp3 import RATES as MP3_RATES
from tapeline.audio.mp3 import Mp3Writer
from tapeline.audio.resample import Resampler

__all__ = ["CONTENT_TYPES", "Format", "Rendition", "remix", "render"]

Format = Literal["wav", "mp3", "ogg"]
Samples = NDArray[np.int16]

CONTENT_TYPES = {"wav": "audio/wav", "mp3": "audio/mpeg", "ogg": "audio/ogg"}
OPUS_RATES = (8000, 12000, 16000, 24000, 48000)
_BLOCK_SAMPLES = 1 << 18


@dataclass(frozen=True, slots=True)
class Rendition:
    """A finished file: `size` in bytes, `duration_s` of audio, as much as the master holds."""

    content_type: str
    extension: str
    size: int
    duration_s: float
    rate: int
    channels: int


class _Writer(Protocol):
    def feed(self, block: Samples) -> None: ...
    def finish(self) -> None: ...


class _WavWriter:
    """PCM with a plain header of 44 bytes; with ours, which may be RF64, where 32 bits do not hold the size."""

    def __init__(self, out: BinaryIO, rate: int, channels: int, frames: int) -> None:
        self._out, self._rate, self._channels = out, rate, channels
        self._frames = 0
        self._plain = frames * channels * 2 < (1 << 32) - (1 << 20)  # margin: a change of rate may end a few frames later
        out.write(self._header())

    def _header(self) -> bytes:
        make = wav.plain_header if self._plain else wav.header
        return make(self._rate, self._channels, self._frames)

    def feed(self, block: Samples) -> None:
        self._frames += len(block)
        self._out.write(block.astype("<i2", copy=False).tobytes())

    def finish(self) -> None:
        self._out.seek(0)
        self._out.write(self._header())
        self._out.seek(0, 2)


class _OpusWriter:
    """Ogg/Opus through libsndfile, which holds about a second."""

    def __init__(self, out: BinaryIO, rate: int, channels: int) -> None:
        self._file = soundfile.SoundFile(out, "w", rate, channels, "OPUS", format="OGG")

    def feed(self, block: Samples) -> None:
        self._file.write(block)

    def finish(self) -> None:
        self._file.close()


def _carried_rate(format: Format, wanted: int) -> int:
    """The rate nearest above `wanted` that the format can carry."""
    if format == "wav":
        return wanted
    rates = MP3_RATES if format == "mp3" else OPUS_RATES
    return next((rate for rate in rates if rate >= wanted), rates[-1])


def _open(format: Format, out: BinaryIO, rate: int, channels: int, frames: int, kbps: int) -> _Writer:
    if format == "mp3":
        return Mp3Writer(out, rate, channels, kbps)
    if format == "ogg":
        return _OpusWriter(out, rate, channels)
    return _WavWriter(out, rate, channels, frames)


def remix(block: Samples, channels: int) -> Samples:
    """`block` (`int16[n, m]`) on another number of channels.

    Fewer: the surplus is added to the last, saturating, just as a tap mixes. More: one channel is doubled onto all; else what
    is missing is silent.
    """
    have = block.shape[1]
    if have == channels:
        return block
    if have > channels:
        last = block[:, channels - 1].astype(np.int32)
        for surplus in range(channels, have):  # column by column: numpy's sum over rows of two takes ten times as long
            last += block[:, surplus]
        return np.column_stack([block[:, : channels - 1], np.clip(last, -32768, 32767).astype(np.int16)])
    if have == 1:
        return np.repeat(block, channels, axis=1)
    return np.pad(block, ((0, 0), (0, channels - have)))


def _source(master: Path, found: wav.WavInfo, rate: int, channels: int) -> Iterator[Samples]:
    """The master's samples with the rendition's channels and rate. Fewer channels come first, so that less is resampled."""
    change = Resampler(found.rate, rate, channels) if rate != found.rate else None
    for block in wav.blocks(master, max(1, _BLOCK_SAMPLES // found.channels)):
        shaped = remix(block, channels)
        yield change.feed(shaped) if change else shaped
    if change:
        yield change.feed(np.zeros((0, channels), np.int16), last=True)


def render(
    master: Path,
    out: Path,
    *,
    format: Format,
    rate: int = 0,
    channels: int = 0,
    kbps: int = 0,
    progress: Callable[[float], None] | None = None,
) -> Rendition:
    """Make `out` from the WAV file at `master`. `rate` and `channels` 0: as the master has them; `kbps` of an MP3, 0: what speech needs.

    Rates that a format cannot carry are raised to the next that it can. `progress` is told the share done, 0..1, once for each
    block. Raises UnsuitableFormat (more than two channels in MP3), DamagedWave, OSError.
    """
    if format not in CONTENT_TYPES:
        raise UnsuitableFormat(f"{format!r} is not a format of ours", hint="use wav, mp3 or ogg")
    found = wav.info(master)
    wanted_channels = channels or found.channels
    carried = _carried_rate(format, rate or found.rate)
    expected = round(found.frames * carried / found.rate)
    done = 0
    with out.open("w+b") as file:
        writer = _open(format, file, carried, wanted_channels, expected, kbps)
        for block in _source(master, found, carried, wanted_channels):
            done += len(block)
            if len(block):
                writer.feed(block)
            if progress:
                progress(min(1.0, done / max(1, expected)))
        if not done and format != "wav":
            writer.feed(np.zeros((1, wanted_channels), np.int16))  # players refuse MP3 and Opus streams that hold nothing at all
        writer.finish()
    return Rendition(CONTENT_TYPES[format], format, out.stat().st_size, done / carried, carried, wanted_channels)
