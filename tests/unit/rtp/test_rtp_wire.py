"""RTP and RTCP on the wire: others' samples, each judged by its name, and our own reports read back."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beside import VECTORS
from tapeline.rtp.engine.build import native

RTP = VECTORS / "rtp"
needs_vectors = pytest.mark.skipif(not RTP.is_dir(), reason=f"{RTP} is missing")
# What a name does not tell: these are cut short although they are not called invalid.
TRUNCATED = {"rtcp_sdes_item_truncated", "rtcp_sdes_source_truncated"}


def samples(prefix: str) -> list[Path]:
    return sorted(RTP.glob(f"{prefix}*.bin")) if RTP.is_dir() else []


@needs_vectors
def test_every_sample_is_judged() -> None:
    assert len(samples("rtp")) == len(list(RTP.glob("*.bin"))) - len(samples("rtcp_"))


@needs_vectors
@pytest.mark.parametrize("path", samples("rtcp_"), ids=lambda path: path.stem)
def test_reports_are_read_or_refused(path: Path) -> None:
    found = native.parse_reports(path.read_bytes(), 0)
    if "invalid" in path.stem or path.stem in TRUNCATED:
        assert found is None
    else:
        assert found is not None and found["parts"] == 1


@needs_vectors
@pytest.mark.parametrize("path", samples("rtp_") + [RTP / "rtp.bin"], ids=lambda path: path.stem)
def test_packets_are_read(path: Path) -> None:
    data = path.read_bytes()
    found = native.parse_rtp(data)
    assert found is not None
    offset, size = found[5:]
    assert offset + size <= len(data)
    assert (size == 0) == ("only_padding" in path.stem)


@needs_vectors
def test_a_packet_field_by_field() -> None:
    assert native.parse_rtp((RTP / "rtp.bin").read_bytes()) == (0, 0, 15743, 3937035252, 4028317929, 12, 160)
    assert native.parse_rtp((RTP / "rtp_dtmf.bin").read_bytes()) == (1, 101, 24152, 4021352124, 2795586802, 12, 4)
    assert native.parse_rtp((RTP / "rtp_with_csrc.bin").read_bytes()) == (0, 0, 16082, 144, 1606227614, 20, 160)


@needs_vectors
def test_reports_field_by_field() -> None:
    sender = native.parse_reports((RTP / "rtcp_sr.bin").read_bytes(), 2398654957)
    assert sender is not None
    assert (sender["has_sender"], sender["sender"], sender["packets"], sender["octets"]) == (1, 1831097322, 269, 13557)
    assert (sender["ntp_high"], sender["ntp_low"], sender["timestamp"]) == (3729147739, 354025564, 1722342718)
    assert (sender["has_block"], sender["lost"], sender["highest"], sender["jitter"]) == (1, 0, 246, 127)
    receiver = native.parse_reports((RTP / "rtcp_rr.bin").read_bytes(), 1200895919)
    assert receiver is not None
    assert (receiver["has_sender"], receiver["has_block"], receiver["highest"], receiver["jitter"]) == (0, 1, 630, 1906)
    bye = native.parse_reports((RTP / "rtcp_bye.bin").read_bytes(), 0)
    assert bye is not None and (bye["bye"], bye["bye_source"]) == (1, 2924645187)
    names = native.parse_reports((RTP / "rtcp_sdes.bin").read_bytes(), 0)
    assert names is not None and (names["described"], names["described_source"]) == (1, 1831097322)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80",
        bytes(11),
        b"\x40" + bytes(20),  # version 1
        b"\x8f" + bytes(20),  # more contributing sources than bytes
        b"\x90" + bytes(11) + b"\xbe\xde",  # an extension cut short
        b"\x90" + bytes(11) + b"\xbe\xde\x00\x09" + bytes(8),  # an extension longer than the packet
        b"\xa0" + bytes(11) + b"\x00",  # padding of none
        b"\xa0" + bytes(11) + b"\x09",  # more padding than payload
    ],
    ids=lambda data: data[:16].hex() or "empty",
)
def test_malformed_packets_are_refused(data: bytes) -> None:
    assert native.parse_rtp(data) is None


def test_compound_reports_are_refused_as_a_whole() -> None:
    good = bytes.fromhex("80c90001aabbccdd")
    assert native.parse_reports(good, 0) is not None
    assert native.parse_reports(good + good, 0) is not None
    assert native.parse_reports(good + good[:3], 0) is None
    assert native.parse_reports(good + b"\x80\x10\x00\x00", 0) is None
    padded = bytes.fromhex("a0c90002aabbccdd00000004")
    assert native.parse_reports(padded, 0) is not None
    assert native.parse_reports(padded + good, 0) is None, "padding stands only in the last packet"


def test_a_negative_loss_is_read_as_such() -> None:
    block = bytes.fromhex("81c90007 00000001 00000002 00ffffff 00000003 00000004 00000005 00000006".replace(" ", ""))
    found = native.parse_reports(block, 2)
    assert found is not None
    assert (found["lost"], found["highest"], found["jitter"], found["last_report"], found["delay"]) == (-1, 3, 4, 5, 6)


@given(st.binary(max_size=64))
def test_whatever_comes_is_read_within_its_bounds(data: bytes) -> None:
    found = native.parse_rtp(data)
    if found is not None:
        assert 12 <= found[5] <= found[5] + found[6] <= len(data)
    native.parse_reports(data, 0)
