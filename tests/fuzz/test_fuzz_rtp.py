"""Any bytes into an engine: each datagram ends in one counter, the recording is as long as its time, and nothing falls over."""

from __future__ import annotations

import os
import random
import struct
import time
from pathlib import Path

import numpy as np
import pytest

from beside import VECTORS
from tapeline.rtp import Source, StreamSpec, TapEnded, codecs
from tapeline.rtp.codecs import Undecodable
from tapeline.rtp.engine.build import native
from tapeline.rtp.engine.parts import DROPS
from tapeline.rtp.engine.virtual import PEER, VirtualEngine

SECONDS = float(os.environ.get("TAPELINE_FUZZ_SECONDS", "1"))
RTP = VECTORS / "rtp"


def corpus() -> list[bytes]:
    found = [path.read_bytes() for path in sorted(RTP.glob("*.bin"))] if RTP.is_dir() else []
    return found or [bytes.fromhex("80c90001aabbccdd"), b"\x80\x00" + bytes(170), b"\x90\x65" + bytes(30)]


def spoiled(chance: random.Random, data: bytes) -> bytes:
    """`data` with some bytes changed, cut or added."""
    out = bytearray(data)
    for _ in range(chance.randrange(6)):
        if out:
            out[chance.randrange(min(len(out), 40))] = chance.randrange(256)
    kind = chance.randrange(4)
    if kind == 0:
        del out[chance.randrange(len(out) + 1) :]
    elif kind == 1:
        out += chance.randbytes(chance.randrange(1, 64))
    return bytes(out)


def test_parsers_read_or_refuse() -> None:
    chance = random.Random(1)
    seeds = corpus()
    until = time.monotonic() + SECONDS
    read = refused = 0
    while time.monotonic() < until:
        for _ in range(200):
            data = spoiled(chance, chance.choice(seeds))
            found = native.parse_rtp(data)
            assert found is None or 12 <= found[5] <= found[5] + found[6] <= len(data)
            reports = native.parse_reports(data, chance.randrange(1 << 32))
            assert reports is None or 4 * reports["parts"] <= len(data)
            read += (found is not None) + (reports is not None)
            refused += (found is None) + (reports is None)
    assert read and refused


def packet(chance: random.Random, world: dict[str, int]) -> bytes:
    """Mostly a plausible next packet; now and then any number in any field."""
    world["sequence"] += chance.choice((1, 1, 1, 1, 2, -3, 0, chance.randrange(65536)) if chance.random() < 0.2 else (1,))
    world["stamp"] += chance.choice((160, 160, 80, 0, -160, chance.randrange(1 << 32)) if chance.random() < 0.2 else (160,))
    if chance.random() < 0.02:
        world["ssrc"] = chance.randrange(1 << 32)
    kind = chance.choice((0, 0, 0, 0, 0, 101, 13, 97, 8))
    payload = chance.randbytes(chance.choice((160, 160, 160, 4, 1, 0, 480, 1400)))
    return struct.pack("!BBHII", 128, kind, world["sequence"] & 0xFFFF, world["stamp"] & 0xFFFFFFFF, world["ssrc"]) + payload


@pytest.mark.parametrize("seed", range(4))
def test_an_engine_survives_anything(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    seeds = corpus()
    until = time.monotonic() + SECONDS / 4
    while time.monotonic() < until:
        engine = VirtualEngine(start=1000.0)
        codec, rate = (("PCMU", 8000), ("L16", 16000), ("G722", 8000), ("opus", 48000))[seed]
        spec = StreamSpec(remote=PEER, dtmf_payload_type=101, codec=codec, payload_type=0, rate=rate)
        leg, other = engine.open_leg(), engine.open_leg()
        path = tmp_path / f"{chance.randrange(1 << 60)}.raw"
        path.touch()
        for member in (leg, other):
            member.configure(spec)
            member.watch_voice(300)
        bus = engine.open_bus()
        bus.add(leg)
        bus.add(other)
        tap = engine.open_tap(path, [[Source("in", leg)], [Source("mix", bus)]], rate=8000)
        world = {"sequence": 0, "stamp": 0, "ssrc": 1}
        count = 0
        while engine.now() < 1006.0:
            data = packet(chance, world)
            if chance.random() < 0.1:
                data = spoiled(chance, chance.choice((data, *seeds)))
            at = engine.now() + chance.choice((0.02, 0.02, 0.0, 0.001, chance.random() * 0.3))
            source = PEER if chance.random() < 0.97 else ("198.51.100.7", chance.randrange(65536))
            engine.inject(leg, data, at, source=source, rtcp=chance.random() < 0.05)
            count += 1
        tap.stop()
        stopped = engine.now()
        engine.advance(stopped + 1)
        counters = leg.counters()
        assert counters.packets == sum(getattr(counters, name) for name in DROPS)
        assert counters.packets + counters.rtcp_packets - counters.reports == count
        (ended,) = [event for event in engine.events if isinstance(event, TapEnded)]
        assert ended.frames == len(np.fromfile(path, np.int16)) // 2 == round((stopped - 1000.0) * 8000)
        engine.stop()
        path.unlink()


@pytest.mark.parametrize(("name", "rate"), [("G722", 8000), ("opus", 48000)])
def test_coders_decode_or_refuse(name: str, rate: int) -> None:
    """And a coder that was given anything goes on to decode what is right."""
    chance = random.Random(3)
    make = codecs.find(name, rate).coder
    assert make
    coder, peer = make(20, ""), make(20, "")
    n = codecs.find(name, rate).audio_rate(rate) // 50
    voice = (np.sin(np.arange(n) / 7) * 8000).astype(">i2").tobytes()
    until = time.monotonic() + SECONDS / 2
    decoded = refused = 0
    while time.monotonic() < until:
        good = peer.encode(voice)
        data = spoiled(chance, good) if chance.random() < 0.7 else chance.randbytes(chance.choice((1, 2, 3, 20, 160, 1275, 2000)))
        try:
            found = coder.decode(data)
            decoded += 1
        except Undecodable:
            refused += 1
        else:
            assert len(found) % 2 == 0 and len(found) <= max(2 * 5760, 4 * len(data))
        assert len(coder.decode(good)) == 2 * n
    assert decoded and (refused or name == "G722")
