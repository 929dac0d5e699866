"""MP3 through LAME, with the tag frame that makes it exact.

An MP3 stream begins with the encoder's delay and ends with padding, together up to a quarter of a second at 8 kHz. Players
cut both off where the stream's first frame is an "Info" frame that tells their lengths; lameenc does not write one, so this
module does: a frame of the stream's own kind whose body is empty but for the tag. Sizes are known only at the end, so room is
kept at the start and filled in by `finish`.

It knows LAME and the MP3 frame, and nothing of where samples come from.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

import lameenc
import numpy as np
from numpy.typing import NDArray

from tapeline.audio.errors import UnsuitableFormat

__all__ = ["QUALITY", "RATES", "Mp3Writer", "bit_rate", "new_encoder"]

RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
QUALITY = 7  # at these bit rates as faithful as 5 on telephone speech, and a third cheaper
_ENCODER_DELAY = 576
_KBPS_LOW = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)  # MPEG-2 and 2.5, layer III
_KBPS_HIGH = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)  # MPEG-1, layer III
_TAG_SIZE = 4 + 4 + 4 + 4 + 100 + 4 + 36


def bit_rate(rate: int, channels: int) -> int:
    """kbit/s that leave telephone speech at `rate` without audible loss."""
    single = 32 if rate <= 12000 else 48 if rate <= 24000 else 64
    return single * channels


def new_encoder(rate: int, channels: int, quality: int = QUALITY, kbps: int = 0) -> lameenc.Encoder:
    """A LAME encoder as the renditions use it; `kbps` 0: as `bit_rate` says. Raises UnsuitableFormat."""
    if channels > 2:
        raise UnsuitableFormat(f"MP3 holds two channels, not {channels}", hint="use wav, or fewer channels")
    if rate not in RATES:
        raise UnsuitableFormat(f"MP3 knows no rate of {rate} Hz")
    encoder = lameenc.Encoder()
    encoder.silence()
    encoder.set_bit_rate(kbps or bit_rate(rate, channels))
    encoder.set_in_sample_rate(rate)
    encoder.set_out_sample_rate(rate)
    encoder.set_channels(channels)
    encoder.set_quality(quality)
    return encoder


class Mp3Writer:
    """Encodes blocks of `int16[n, channels]` into `out`, a file open for writing bytes that can seek. One thread at a time."""

    def __init__(self, out: BinaryIO, rate: int, channels: int, kbps: int = 0) -> None:
        self._out = out
        self._rate = rate
        self._channels = channels
        self._kbps = kbps or bit_rate(rate, channels)
        self._encoder = new_encoder(rate, channels, kbps=self._kbps)
        self._tag_frame = self._empty_frame()
        self._frames = 0
        self._bytes = 0
        out.write(self._tag_frame)

    def feed(self, block: NDArray[np.int16]) -> None:
        self._frames += len(block)
        self._emit(self._encoder.encode(block.tobytes()))

    def finish(self) -> None:
        """Write what LAME still holds, then the tag. Call once, and feed at least one sample before: a stream without any is none."""
        self._emit(self._encoder.flush())
        self._out.seek(0)
        self._out.write(self._tagged())
        self._out.seek(0, 2)

    def _emit(self, data: bytes | bytearray) -> None:
        self._bytes += len(data)
        self._out.write(data)

    @property
    def _is_mpeg1(self) -> bool:
        return self._rate >= 32000

    @property
    def _side_info(self) -> int:
        if self._is_mpeg1:
            return 17 if self._channels == 1 else 32
        return 9 if self._channels == 1 else 17

    def _empty_frame(self) -> bytes:
        """A frame of the stream's rate and channels with no sound, of the smallest bit rate that has room for the tag."""
        base = 44100 if self._rate % 11025 == 0 else 48000 if self._rate % 12000 == 0 else 32000
        version = {1: 3, 2: 2, 4: 0}[base // self._rate]  # ISO 11172-3 section 2.4.2.3, with the unofficial 2.5 as 0
        table = _KBPS_HIGH if self._is_mpeg1 else _KBPS_LOW
        for index, kbps in enumerate(table):
            size = (144 if self._is_mpeg1 else 72) * kbps * 1000 // self._rate
            if size >= 4 + self._side_info + _TAG_SIZE:
                mode = 3 if self._channels == 1 else 1
                rates = (44100, 48000, 32000).index(base)
                word = 0xFFE00000 | version << 19 | 1 << 17 | 1 << 16 | index << 12 | rates << 10 | mode << 6
                return struct.pack(">I", word) + bytes(size - 4)
        raise UnsuitableFormat(f"no MP3 frame at {self._rate} Hz is large enough")

    def _tagged(self) -> bytes:
        per_frame = 1152 if self._is_mpeg1 else 576
        frame_bytes = per_frame / 8 * self._kbps * 1000 / self._rate
        count = round(self._bytes / frame_bytes)  # constant bit rate: padding keeps the sum within one byte
        padding = max(0, min(4095, count * per_frame - self._frames - _ENCODER_DELAY))
        total = min(len(self._tag_frame) + self._bytes, 0xFFFFFFFF)
        body = b"Info" + struct.pack(">III", 0xF, count, total)
        body += bytes(index * 255 // 99 for index in range(100)) + struct.pack(">I", 100 - 10 * QUALITY)
        body += b"LAME3.100" + bytes([0x01, 0]) + bytes(8)  # constant bit rate; no low-pass, peak or gain told
        body += bytes([0, min(255, self._kbps)])
        body += ((_ENCODER_DELAY << 12) | padding).to_bytes(3, "big") + bytes(4)
        body += struct.pack(">IH", total, 0)
        start = self._tag_frame[: 4 + self._side_info] + body
        return (start + struct.pack(">H", _crc16(start))).ljust(len(self._tag_frame), b"\0")


def _crc16(data: bytes) -> int:
    """CRC-16 with the reflected polynomial 0xA001 from zero, as LAME's tag has it."""
    value = 0
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ (0xA001 if value & 1 else 0)
    return value
