"""RTP: legs, buses, players and taps, run by an engine whose threads do not hold Python's lock. See README.md."""

from tapeline.rtp import codecs
from tapeline.rtp.engine.build import COMPILED
from tapeline.rtp.engine.engine import Engine, EngineCounters
from tapeline.rtp.engine.parts import Bus, Leg, LegCounters, Player, Source, Tap
from tapeline.rtp.errors import BusFull, Closed, MalformedPacket, NoPorts, TooManyLegs, TooManyPlayers, UnknownCodec
from tapeline.rtp.events import (
    Digit,
    Event,
    MediaResumed,
    MediaStarted,
    MediaTimeout,
    PlayerEnded,
    SourceChanged,
    TapEnded,
    TapProgress,
    Voice,
)
from tapeline.rtp.spec import Address, Direction, EngineConfig, MaskMode, SrtpKeys, StreamSpec

__all__ = [
    "COMPILED",
    "Address",
    "Bus",
    "BusFull",
    "Closed",
    "Digit",
    "Direction",
    "Engine",
    "EngineConfig",
    "EngineCounters",
    "Event",
    "Leg",
    "LegCounters",
    "MalformedPacket",
    "MaskMode",
    "MediaResumed",
    "MediaStarted",
    "MediaTimeout",
    "NoPorts",
    "Player",
    "PlayerEnded",
    "Source",
    "SourceChanged",
    "SrtpKeys",
    "StreamSpec",
    "Tap",
    "TapEnded",
    "TapProgress",
    "TooManyLegs",
    "TooManyPlayers",
    "UnknownCodec",
    "Voice",
    "codecs",
]
