"""What the engine must know of a codec. Each codec is a file beside this one and ends in one `Codec`.

Codecs of one or two bytes a sample are expanded and compressed by table, or taken as they are, on the engine's own threads. A codec
that works on frames (G.722, Opus) has a `Coder` instead, made for each leg: its calls are made in batches by a thread of their own, off
the tick (`engine.coder`). PCM goes in and out as int16 in network order, as it stands in the engine's queues.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tapeline.rtp.errors import MalformedPacket

__all__ = ["Codec", "Coder", "Undecodable", "companding"]

Expand = NDArray[np.int16]
Compress = NDArray[np.uint8]


class Undecodable(MalformedPacket):
    """A payload that is not of this codec."""

    reason = "UNDECODABLE"


class Coder(Protocol):
    """Decoder and encoder of one leg, which keep their state from packet to packet. Calls must not overlap."""

    def decode(self, payload: bytes) -> bytes:
        """The samples of one packet. Raises Undecodable."""

    def encode(self, pcm: bytes) -> bytes:
        """The payload for one packet's samples."""

    def quiet(self, samples: int) -> bytes:
        """The payload for one packet of silence."""


@dataclass(frozen=True, eq=False)
class Codec:
    """`number` is the codec's place in the engine; `expand` int16[256] and `compress` uint8[16384], by the upper 14 bits of a sample,
    are there for codecs of one byte a sample.

    `rates` are those of RTP's clock; `audio` is that of the samples where it is another. `delay`: encoder and decoder together give each
    sample so many later. `coder(ptime, fmtp)` makes the leg's coder, `fmtp` being what the peer asks for; packets are sent in one of
    `ptimes` (ms), the next shorter one.
    """

    name: str
    number: int
    rates: tuple[int, ...]
    payload_type: int | None
    sample_size: int
    expand: Expand | None = None
    compress: Compress | None = None
    audio: int = 0
    delay: int = 0
    coder: Callable[[int, str], Coder] | None = None
    ptimes: tuple[int, ...] = ()
    available: Callable[[], bool] = lambda: True

    def audio_rate(self, clock: int) -> int:
        """Samples a second where RTP's clock runs at `clock`."""
        return self.audio or clock

    def ptime(self, wanted: int) -> int:
        """The packet time (ms) that is sent where `wanted` is asked for."""
        return max((each for each in self.ptimes if each <= wanted), default=wanted)


def companding(expand: Expand, zero: int) -> Compress:
    """The table that undoes `expand`: for each sample the code that comes nearest, `zero` for silence."""
    order = np.argsort(expand, kind="stable")
    levels = expand[order].astype(np.int64)
    samples = np.arange(-8192, 8192) * 4 + 2
    upper = np.clip(np.searchsorted(levels, samples), 1, 255)
    nearer = samples - levels[upper - 1] <= levels[upper] - samples
    codes = order[np.where(nearer, upper - 1, upper)].astype(np.uint8)
    table = np.empty(16384, np.uint8)
    table[np.arange(-8192, 8192) & 0x3FFF] = codes
    table[0] = zero
    return table
