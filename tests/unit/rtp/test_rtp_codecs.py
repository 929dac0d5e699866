"""The codecs against the definition of G.711, and against themselves."""

from __future__ import annotations

import numpy as np
import pytest

from tapeline.rtp import UnknownCodec, codecs
from tapeline.rtp.codecs import pcma, pcmu

# ITU-T G.711 tables 1a to 2b, scaled to 16 bits: (code, sample).
MU = [(0x80, 32124), (0x00, -32124), (0xFF, 0), (0x7F, 0), (0xFE, 8), (0x7E, -8), (0xEF, 132), (0x8F, 16764), (0xC0, 1884)]
A = [(0xAA, 32256), (0x2A, -32256), (0xD5, 8), (0x55, -8), (0x80, 5504), (0xD4, 24), (0xC5, 264)]


@pytest.mark.parametrize(("codec", "known"), [(pcmu.CODEC, MU), (pcma.CODEC, A)], ids=["PCMU", "PCMA"])
def test_codes_have_their_values(codec: codecs.Codec, known: list[tuple[int, int]]) -> None:
    assert codec.expand is not None
    assert [(code, int(codec.expand[code])) for code, _ in known] == known


@pytest.mark.parametrize("codec", [pcmu.CODEC, pcma.CODEC], ids=["PCMU", "PCMA"])
def test_compressing_undoes_expanding(codec: codecs.Codec) -> None:
    assert codec.expand is not None and codec.compress is not None
    again = codec.expand[codec.compress[(codec.expand >> 2) & 0x3FFF]]
    assert np.array_equal(again, codec.expand)


@pytest.mark.parametrize("codec", [pcmu.CODEC, pcma.CODEC], ids=["PCMU", "PCMA"])
def test_each_sample_gets_the_nearest_code(codec: codecs.Codec) -> None:
    assert codec.expand is not None and codec.compress is not None
    ramp = np.arange(-32768, 32768, 37).astype(np.int16)
    got = codec.expand[codec.compress[(ramp >> 2) & 0x3FFF]].astype(int)
    best = np.abs(codec.expand.astype(int)[None, :] - ramp.astype(int)[:, None]).min(axis=1)
    assert (np.abs(got - ramp) - best).max() <= 4


def test_silence_is_sent_as_silence() -> None:
    assert pcmu.CODEC.compress is not None and pcma.CODEC.compress is not None
    assert pcmu.CODEC.compress[0] == 0xFF
    assert pcma.CODEC.compress[0] == 0xD5


def test_codecs_are_found_by_name_and_rate() -> None:
    assert codecs.find("pcma", 8000) is pcma.CODEC
    assert codecs.find("L16", 16000).sample_size == 2
    for name, rate in (("PCMU", 16000), ("GSM", 8000)):
        with pytest.raises(UnknownCodec, match="known are PCMU/8000"):
            codecs.find(name, rate)
