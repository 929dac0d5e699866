"""PCMA: G.711 A-law, RFC 3551 section 4.5.14, static payload type 8.

A code is sent with every other bit inverted: sign, three bits of exponent, four of mantissa. It has no zero; silence is +8.
"""

from __future__ import annotations

import numpy as np

from tapeline.rtp.codecs.codec import Codec, Expand, companding

__all__ = ["CODEC"]


def _expand() -> Expand:
    code = np.arange(256) ^ 0x55
    exponent = code >> 4 & 7
    linear = ((code & 15) << 4) + 8
    magnitude = np.where(exponent == 0, linear, (linear + 256) << np.maximum(exponent - 1, 0))
    return np.where(code & 128, magnitude, -magnitude).astype(np.int16)


CODEC = Codec("PCMA", 1, (8000,), 8, 1, _expand(), companding(_expand(), 0xD5))
