"""WAV masters: 16-bit PCM in a header of fixed size that can grow beyond 4 GB and be mended from the file's size alone.

Layout of our own files, always 80 bytes before the first sample:

    RIFF size WAVE | JUNK 28 bytes | fmt 16 bytes | data size

The JUNK chunk keeps room for the `ds64` chunk of RF64 (EBU Tech 3306 section 3.5), so a file that has outgrown 32-bit sizes
turns into RF64 in place. While a master grows its sizes say "not known" (0xFFFFFFFF): players then read to the end of the
file, so that even an unfinished master can be heard. Since samples start at a fixed place, the sizes, and where it must be the
whole header, can be rebuilt at any time: `complete` does this, and is safe to repeat.

This module knows files and samples only; what a recording is it does not know.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from tapeline.audio.errors import DamagedWave

__all__ = ["HEADER_SIZE", "PLAIN_HEADER_SIZE", "WavInfo", "blocks", "complete", "header", "info", "plain_header", "read", "write"]

HEADER_SIZE = 80
PLAIN_HEADER_SIZE = 44
UNKNOWN = 0xFFFFFFFF
_MAX_SCAN = 1 << 20  # a header that does not reach its data within this is none

Samples = NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class WavInfo:
    """Rate in hertz; `frames` of `channels` samples each, from `data_offset` on."""

    rate: int
    channels: int
    frames: int
    data_offset: int

    @property
    def duration_s(self) -> float:
        return self.frames / self.rate


def _format_chunk(rate: int, channels: int) -> bytes:
    if not (0 < rate <= 768_000 and 0 < channels <= 1024):
        raise ValueError(f"rate {rate} and channels {channels} do not fit a WAV header")
    return struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, channels, rate, rate * channels * 2, channels * 2, 16)


def header(rate: int, channels: int, frames: int | None = 0) -> bytes:
    """The 80 bytes before the samples; RF64 where 32 bits do not hold the size. `frames` None: still growing, not known."""
    body = _format_chunk(rate, channels)
    if frames is None:
        sizes = struct.pack("<4sI4s4sI28x", b"RIFF", UNKNOWN, b"WAVE", b"JUNK", 28)
        return sizes + body + struct.pack("<4sI", b"data", UNKNOWN)
    data = frames * channels * 2
    riff = data + HEADER_SIZE - 8
    if riff < UNKNOWN:
        return struct.pack("<4sI4s4sI28x", b"RIFF", riff, b"WAVE", b"JUNK", 28) + body + struct.pack("<4sI", b"data", data)
    sizes = struct.pack("<4sI4s4sIQQQI", b"RF64", UNKNOWN, b"WAVE", b"ds64", 28, riff, data, frames, 0)
    return sizes + body + struct.pack("<4sI", b"data", UNKNOWN)


def plain_header(rate: int, channels: int, frames: int) -> bytes:
    """The classic header of 44 bytes that even the simplest reader knows. Raises ValueError where the size needs RF64."""
    data = frames * channels * 2
    if data + PLAIN_HEADER_SIZE - 8 >= UNKNOWN:
        raise ValueError("too long for a plain WAV header")
    sizes = struct.pack("<4sI4s", b"RIFF", data + PLAIN_HEADER_SIZE - 8, b"WAVE")
    return sizes + _format_chunk(rate, channels) + struct.pack("<4sI", b"data", data)


def _scan(file: BinaryIO, size: int) -> WavInfo:
    """Read the chunks up to `data`. Sizes that say more than the file holds mean: up to its end."""
    start = file.read(12)
    if len(start) < 12 or start[:4] not in (b"RIFF", b"RF64") or start[8:] != b"WAVE":
        raise DamagedWave("not a RIFF or RF64 WAVE file")
    rate = channels = 0
    long_data: int | None = None
    position = 12
    while position < _MAX_SCAN:
        file.seek(position)
        head = file.read(8)
        if len(head) < 8:
            break
        name, length = struct.unpack("<4sI", head)
        position += 8
        if name == b"data":
            if not rate:
                break
            room = size - position
            said = long_data if start[:4] == b"RF64" and length == UNKNOWN and long_data is not None else length
            return WavInfo(rate, channels, min(said, room) // (channels * 2), position)
        if name == b"fmt ":
            rate, channels = _read_format(file.read(min(length, 16)))
        elif name == b"ds64" and length >= 28:
            long_data = struct.unpack("<QQQ", file.read(24).ljust(24, b"\0"))[1]
        position += length + (length & 1)
    raise DamagedWave("no samples found in this WAVE file")


def _read_format(body: bytes) -> tuple[int, int]:
    if len(body) < 16:
        raise DamagedWave("the format chunk of this WAVE file is cut off")
    tag, channels, rate, _, align, bits = struct.unpack("<HHIIHH", body)
    if tag not in (1, 0xFFFE) or bits != 16 or not channels or not rate or align != channels * 2:
        raise DamagedWave("this WAVE file does not hold 16-bit PCM")
    return rate, channels


def info(path: Path) -> WavInfo:
    """What the file at `path` holds, by its header and its size. Raises DamagedWave; OSError where it cannot be read."""
    with path.open("rb") as file:
        return _scan(file, os.fstat(file.fileno()).st_size)


def complete(path: Path, *, rate: int = 8000, channels: int = 1) -> WavInfo:
    """Make the header of our master at `path` say what the file's size says, and cut off a trailing part of a frame.

    Where the header itself is gone or cut off it is written anew, with `rate` and `channels`: what follows byte 80 is audio.
    Synced to disk on return. Needs no free space, unless the file was shorter than its header.
    """
    with path.open("r+b") as file:
        size = os.fstat(file.fileno()).st_size
        try:
            found = _scan(file, size)
            if found.data_offset != HEADER_SIZE:
                raise DamagedWave("not a header of ours")
            rate, channels = found.rate, found.channels
        except DamagedWave:
            pass  # rebuilt from what the caller knows
        frames = max(0, size - HEADER_SIZE) // (channels * 2)
        file.seek(0)
        file.write(header(rate, channels, frames))
        file.flush()
        os.truncate(file.fileno(), HEADER_SIZE + frames * channels * 2)
        os.fsync(file.fileno())
    return WavInfo(rate, channels, frames, HEADER_SIZE)


def blocks(path: Path, frames: int = 65536) -> Iterator[Samples]:
    """The samples of `path` in order, `int16[<= frames, channels]` at a time: memory does not grow with the file.

    Raises DamagedWave at the first block where the header is unusable.
    """
    with path.open("rb") as file:
        found = _scan(file, os.fstat(file.fileno()).st_size)
        file.seek(found.data_offset)
        left = found.frames
        while left > 0:
            data = np.fromfile(file, "<i2", min(frames, left) * found.channels)
            whole = len(data) // found.channels
            if not whole:
                return
            left -= whole
            yield data[: whole * found.channels].reshape(whole, found.channels)


def read(path: Path) -> tuple[Samples, int]:
    """All samples `int16[frames, channels]` and the rate. For short files; long ones are read by `blocks`."""
    found = info(path)
    parts = list(blocks(path))
    if not parts:
        return np.zeros((0, found.channels), np.int16), found.rate
    return np.concatenate(parts), found.rate


def write(path: Path, samples: Samples, rate: int) -> None:
    """Write `samples` (`int16[frames]` or `int16[frames, channels]`) as a WAV file with our header."""
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    with path.open("wb") as file:
        file.write(header(rate, channels, len(samples)))
        file.write(np.ascontiguousarray(samples, "<i2").tobytes())
