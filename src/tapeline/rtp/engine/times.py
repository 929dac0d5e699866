"""Times and positions in the uncompiled build: the small functions that `structs.pxd` has for the other. Times are ns of CLOCK_MONOTONIC,
positions samples since its beginning.
"""

from __future__ import annotations

import math

from tapeline.rtp.engine.constants import RING


def whole(value: float) -> int:
    return math.floor(value)


def ms(value: int) -> int:
    """Milliseconds in ns."""
    return value * 1000000


def forever() -> int:
    """A time that does not come."""
    return 1 << 62


def ring_mask(rate: int) -> int:
    """The mask of a ring of two seconds and a little more at `rate`."""
    size = RING // 8
    while size < RING and size < rate * 2:
        size *= 2
    return size - 1


def signed32(value: int) -> int:
    """The lower 32 bits as a signed number."""
    return ((value + 0x80000000) & 0xFFFFFFFF) - 0x80000000


def ntp_seconds(wall: int) -> int:
    """The seconds of an NTP time stamp (RFC 3550 section 4) for ns since 1970."""
    return (wall // 1000000000 + 2208988800) & 0xFFFFFFFF


def position(at: int, rate: int) -> int:
    """The sample of `at` ns, at `rate`."""
    return at // 1000000000 * rate + (at % 1000000000) * rate // 1000000000


def moment(pos: int, rate: int) -> int:
    """The time of a position: `position` undone."""
    return pos // rate * 1000000000 + (pos % rate) * 1000000000 // rate


def exact(at: int, rate: int) -> float:
    """`position` with its fraction."""
    return float(at // 1000000000 * rate) + float(at % 1000000000) * rate / 1e9
