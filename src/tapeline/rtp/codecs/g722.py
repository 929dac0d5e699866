"""G.722: 16 kHz in 64 kbit/s, RFC 3551 section 4.5.2, static payload type 9.

RTP's clock runs at 8000 for it, half as fast as the audio: an error of RFC 1890 that was kept for the sake of what had been built. One
byte is two samples, so any payload can be decoded. The two filter banks of encoder and decoder delay by 22 samples together.
"""

from __future__ import annotations

import array
import sys

import numpy as np
from G722 import G722

from tapeline.rtp.codecs.codec import Codec

__all__ = ["CODEC", "G722Coder"]


class G722Coder:
    """A leg's G.722: two states, one for each direction."""

    def __init__(self, ptime: int, fmtp: str) -> None:
        self._decoder = G722(16000, 64000)
        self._encoder = G722(16000, 64000)

    def decode(self, payload: bytes) -> bytes:
        samples: array.array[int] = self._decoder.decode(payload)
        if sys.byteorder == "little":
            samples.byteswap()
        return samples.tobytes()

    def encode(self, pcm: bytes) -> bytes:
        payload: bytes = self._encoder.encode(np.frombuffer(pcm, ">i2").astype(np.int16))
        return payload

    def quiet(self, samples: int) -> bytes:
        """Silence is encoded too: the peer's decoder goes on from where it brought it."""
        payload: bytes = self._encoder.encode(np.zeros(samples, np.int16))
        return payload


CODEC = Codec("G722", 3, (8000,), 9, 1, audio=16000, delay=22, coder=G722Coder)
