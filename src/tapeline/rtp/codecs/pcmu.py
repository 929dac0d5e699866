"""PCMU: G.711 mu-law, RFC 3551 section 4.5.14, static payload type 0.

A code is sent inverted: sign, three bits of exponent, four of mantissa, over a bias of 132.
"""

from __future__ import annotations

import numpy as np

from tapeline.rtp.codecs.codec import Codec, Expand, companding

__all__ = ["CODEC"]


def _expand() -> Expand:
    code = ~np.arange(256) & 255
    magnitude = ((((code & 15) << 3) + 132) << (code >> 4 & 7)) - 132
    return np.where(code & 128, -magnitude, magnitude).astype(np.int16)


CODEC = Codec("PCMU", 0, (8000,), 0, 1, _expand(), companding(_expand(), 0xFF))
