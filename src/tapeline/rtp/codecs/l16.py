"""L16: samples of 16 bits in network order, RFC 3551 section 4.5.11, at 8 or 16 kHz under a dynamic payload type.

There is nothing to decode: the engine swaps bytes on their way into the ring.
"""

from __future__ import annotations

from tapeline.rtp.codecs.codec import Codec

__all__ = ["CODEC"]

CODEC = Codec("L16", 2, (8000, 16000), None, 2)
