"""Opus (RFC 6716) in RTP (RFC 7587): 48 kHz under a dynamic payload type, through FFmpeg's binding of libopus as PyAV brings it.

PyAV is an extra (`tapeline[opus]`): without it the codec is known, not `available`, and not offered. Stereo is mixed to mono by the
decoder itself. libopus's encoder looks 312 samples ahead, so what is decoded is so much older than its timestamp.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from tapeline.rtp.codecs.codec import Codec, Undecodable

if TYPE_CHECKING:
    from av import AudioCodecContext

__all__ = ["CODEC", "OpusCoder", "wishes"]

_RATE = 48000
_BITS = 32000  # a second, of speech in mono
_LEAST_BITS, _MOST_BITS = 6000, 64000
_COMPLEXITY = 5  # of 10: half the work of 10, and no difference that is heard in speech
_QUIET = b"\xff\xfe"  # a CELT frame of silence, for the longest of its durations: 20 ms


@cache
def available() -> bool:
    """Whether PyAV is installed."""
    return importlib.util.find_spec("av") is not None


def wishes(fmtp: str) -> dict[str, int]:
    """The numbers of an fmtp line (RFC 7587 section 6.1); what is no number is passed over."""
    found = {}
    for item in fmtp[:1000].split(";"):
        name, _, value = item.strip().partition("=")
        if value.isascii() and value.isdigit() and len(value) < 8:
            found[name.lower()] = int(value)
    return found


class OpusCoder:
    """A leg's Opus. What the peer's fmtp asks for is kept to: bit rate, constant bit rate; forward error correction is not sent."""

    def __init__(self, ptime: int, fmtp: str) -> None:
        wanted = wishes(fmtp)
        bits = min(wanted.get("maxaveragebitrate", _BITS), _MOST_BITS)
        self._options = {
            "application": "audio",  # at our rate one transform coder for all sound: half the work of "voip"
            "frame_duration": str(ptime),
            "compression_level": str(_COMPLEXITY),
            "vbr": "off" if wanted.get("cbr") else "on",
            "packet_loss": "5" if wanted.get("useinbandfec") else "0",  # frames that lean less on those before them
        }
        self._bits = max(bits, _LEAST_BITS)
        self._decoder: AudioCodecContext | None = None
        self._encoder: AudioCodecContext | None = None
        self._frame_ms = 10 if ptime == 10 else 20
        self._sent = 0

    def decode(self, payload: bytes) -> bytes:
        """The samples of one packet, mono. An empty one would end the decoder for good."""
        from av import Packet
        from av.error import FFmpegError

        if not payload:
            raise Undecodable("an empty Opus packet")
        if self._decoder is None:
            self._decoder = _context("r")
            self._decoder.open()
        try:
            frames = self._decoder.decode(Packet(payload))
        except (FFmpegError, ValueError) as error:
            raise Undecodable(f"not an Opus packet: {error}") from error
        samples = [frame.to_ndarray().reshape(-1) for frame in frames]
        if not samples:
            raise Undecodable("an Opus packet without samples")
        joined = samples[0] if len(samples) == 1 else np.concatenate(samples)
        return joined.astype(">i2").tobytes()

    def encode(self, pcm: bytes) -> bytes:
        from av import AudioFrame

        if self._encoder is None:
            self._encoder = _context("w")
            self._encoder.bit_rate = self._bits
            self._encoder.options = self._options
            self._encoder.open()
        frame = AudioFrame.from_ndarray(np.frombuffer(pcm, ">i2").astype(np.int16)[None, :], format="s16", layout="mono")
        frame.sample_rate = _RATE
        frame.pts = self._sent
        self._sent += frame.samples
        return b"".join(bytes(packet) for packet in self._encoder.encode(frame))

    def quiet(self, samples: int) -> bytes:
        """CELT frames of silence, written by hand: they cost nothing, and any decoder goes over to them smoothly (RFC 6716 section 3.1)."""
        frames = samples * 1000 // _RATE // self._frame_ms
        kind = 0xF8 if self._frame_ms == 20 else 0xF0  # CELT, full band, mono, of 20 or 10 ms
        if frames <= 1:
            return bytes((kind,)) + _QUIET
        return bytes((kind | 3, frames)) + _QUIET * frames


def _context(mode: str) -> AudioCodecContext:
    from av import AudioCodecContext, CodecContext

    context = CodecContext.create("libopus", mode)  # type: ignore[call-overload]
    assert isinstance(context, AudioCodecContext)
    context.sample_rate = _RATE
    context.layout = "mono"
    if mode == "w":
        context.format = "s16"
    return context


CODEC = Codec("opus", 4, (48000,), None, 1, delay=312, coder=OpusCoder, ptimes=(10, 20, 40, 60), available=available)
