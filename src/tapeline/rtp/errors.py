"""What can go wrong with media on purpose.

TapelineError
├── UsageError
│   ├── InvalidInput
│   │   └── UnknownCodec      no codec of this name and rate
│   └── InvalidState
│       ├── Closed            the leg, bus or tap is gone
│       ├── TooManyPlayers    a leg or bus plays eight prompts at most
│       └── BusFull           a bus has as many members as it was opened for
├── ProtocolError
│   └── MalformedPacket       bytes that are not RTP, or not RTCP
└── WorldError
    └── Exhausted
        ├── NoPorts           every pair of ports is taken or cooling down
        └── TooManyLegs       the engine is full
"""

from __future__ import annotations

from tapeline.core.errors import Exhausted, InvalidInput, InvalidState, ProtocolError

__all__ = ["BusFull", "Closed", "MalformedPacket", "NoPorts", "TooManyLegs", "TooManyPlayers", "UnknownCodec"]


class UnknownCodec(InvalidInput):
    """No codec of this name and rate."""

    reason = "UNKNOWN_CODEC"


class Closed(InvalidState):
    """The leg, bus or tap is gone."""

    reason = "MEDIA_CLOSED"


class TooManyPlayers(InvalidState):
    """A leg or bus plays eight prompts at most."""

    reason = "TOO_MANY_PLAYERS"


class BusFull(InvalidState):
    """A bus has as many members as it was opened for."""

    reason = "BUS_FULL"


class MalformedPacket(ProtocolError):
    """Bytes that are not RTP, or not RTCP; silence is the right answer."""

    reason = "MALFORMED_PACKET"

    def __init__(self, message: str) -> None:
        super().__init__(message, status=0)


class NoPorts(Exhausted):
    """Every pair of ports is taken or cooling down."""

    reason = "NO_PORTS"


class TooManyLegs(Exhausted):
    """The engine is full."""

    reason = "TOO_MANY_LEGS"
