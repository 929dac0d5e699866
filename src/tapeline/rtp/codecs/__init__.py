"""The codecs the engine speaks, by name. To add one, write its file and list it here."""

from __future__ import annotations

from tapeline.rtp.codecs import l16, pcma, pcmu
from tapeline.rtp.codecs.codec import Codec
from tapeline.rtp.errors import UnknownCodec

__all__ = ["CODECS", "Codec", "find"]

CODECS = (pcmu.CODEC, pcma.CODEC, l16.CODEC)
_BY_NAME = {codec.name: codec for codec in CODECS}


def find(name: str, rate: int) -> Codec:
    """The codec `name` at `rate`. Raises UnknownCodec."""
    codec = _BY_NAME.get(name.upper())
    if codec is None or rate not in codec.rates:
        known = ", ".join(f"{codec.name}/{rate}" for codec in CODECS for rate in codec.rates)
        raise UnknownCodec(f"no codec {name}/{rate}", hint=f"known are {known}")
    return codec
