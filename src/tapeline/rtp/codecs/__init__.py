"""The codecs the engine speaks, by name. To add one, write its file and list it here."""

from __future__ import annotations

from tapeline.rtp.codecs import g722, l16, opus, pcma, pcmu
from tapeline.rtp.codecs.codec import Codec, Coder, Undecodable
from tapeline.rtp.errors import UnknownCodec

__all__ = ["CODECS", "Codec", "Coder", "Undecodable", "available", "find"]

CODECS = (pcmu.CODEC, pcma.CODEC, l16.CODEC, g722.CODEC, opus.CODEC)
_BY_NAME = {codec.name.upper(): codec for codec in CODECS}


def available(name: str) -> bool:
    """Whether a codec of this name is known and what it needs is installed."""
    codec = _BY_NAME.get(name.upper())
    return codec is not None and codec.available()


def find(name: str, rate: int) -> Codec:
    """The codec `name` whose clock runs at `rate`. Raises UnknownCodec, also when what the codec needs is not installed."""
    codec = _BY_NAME.get(name.upper())
    if codec is None or rate not in codec.rates:
        known = ", ".join(f"{codec.name}/{rate}" for codec in CODECS for rate in codec.rates)
        raise UnknownCodec(f"no codec {name}/{rate}", hint=f"known are {known}")
    if not codec.available():
        raise UnknownCodec(f"{codec.name} needs a package that is not installed", hint=f"pip install 'tapeline[{codec.name.lower()}]'")
    return codec
