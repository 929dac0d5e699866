"""The engine on real sockets, with its own threads and the machine's clock."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tapeline.rtp import (
    Digit,
    Engine,
    EngineConfig,
    Event,
    Leg,
    MediaStarted,
    PlayerEnded,
    Source,
    StreamSpec,
    TapEnded,
    codecs,
)

LOUD, SILENT = b"\x80", b"\xff"


class Line:
    """An engine with what it told."""

    def __init__(self, **config: object) -> None:
        self.engine = Engine(EngineConfig(**({"bind": "127.0.0.1", "ports": (45000, 46999)} | config)))  # type: ignore[arg-type]
        self.told: list[Event] = []

    async def until(self, found: Callable[[], object], limit_s: float = 5.0) -> None:
        deadline = time.monotonic() + limit_s
        while not found():
            assert time.monotonic() < deadline, f"waited {limit_s} s; told {self.told}"
            await asyncio.sleep(0.01)

    def of(self, kind: type) -> list[Event]:
        return [event for event in self.told if isinstance(event, kind)]


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    line = Line()
    line.engine.start(line.told.append, asyncio.get_running_loop())
    yield line
    line.engine.stop()


def phone(host: str = "127.0.0.1") -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((host, 0))
    sock.setblocking(False)
    return sock


def packet(k: int, payload: bytes, *, payload_type: int = 0, ssrc: int = 7) -> bytes:
    return struct.pack("!BBHII", 128, payload_type, k & 0xFFFF, k * 160, ssrc) + payload


async def talk(voices: list[tuple[socket.socket, Leg]], seconds: float, first: int = 0) -> None:
    """Each phone says loud and silent halves of a second in turn, paced."""
    start = time.monotonic()
    for k in range(round(seconds * 50)):
        payload = (LOUD if k // 25 % 2 == 0 else SILENT) * 160
        for sock, leg in voices:
            sock.sendto(packet(first + k, payload, ssrc=leg.id), (leg.host, leg.port))
        await asyncio.sleep(max(0.0, start + (k + 1) * 0.02 - time.monotonic()))


def drained(sock: socket.socket) -> list[bytes]:
    found = []
    while True:
        try:
            found.append(sock.recv(2048))
        except BlockingIOError:
            return found


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_call_is_heard_answered_and_recorded(line: Line, tmp_path: Path, host: str) -> None:
    leg = line.engine.open_leg(host)
    assert leg.port % 2 == 0
    with phone(host) as sock:
        leg.configure(StreamSpec(remote=sock.getsockname()[:2], dtmf_payload_type=101))
        (tmp_path / "audio").touch()
        tap = line.engine.open_tap(tmp_path / "audio", [[Source("in", leg)], [Source("out", leg)]], rate=8000)
        player = leg.play(np.full(8000, 9000, np.int16))
        await talk([(sock, leg)], 2.0)
        sock.sendto(packet(100, bytes((5, 0x8A, 3, 32)), payload_type=101, ssrc=leg.id), (host, leg.port))
        await line.until(lambda: line.of(Digit))
        tap.stop()
        await line.until(lambda: line.of(TapEnded))
        sent = drained(sock)
    (ended,) = line.of(TapEnded)
    assert isinstance(ended, TapEnded)
    heard = np.fromfile(tmp_path / "audio", np.int16).reshape(-1, 2)
    assert len(heard) == ended.frames == round((ended.at - ended.started_at) * 8000)
    loud = np.abs(heard[:, 0].astype(int)) > 8000
    onsets = np.flatnonzero(np.diff(loud.astype(int)) == 1)
    assert len(onsets) in (1, 2) and loud.sum() == pytest.approx(8000, abs=200)
    assert (np.abs(heard[:, 1].astype(int)) > 8000).sum() == 8000, "every sample that was sent, however late the tick"
    assert len(line.of(MediaStarted)) == 1
    assert [event.player for event in line.of(PlayerEnded) if isinstance(event, PlayerEnded)] == [player]
    assert len(sent) == pytest.approx(105, abs=25)
    assert [struct.unpack_from("!H", data, 2)[0] for data in sent] == [
        (struct.unpack_from("!H", sent[0], 2)[0] + k) & 0xFFFF for k in range(len(sent))
    ]


async def test_two_phones_hear_each_other(line: Line) -> None:
    legs = [line.engine.open_leg(), line.engine.open_leg()]
    bus = line.engine.open_bus()
    with phone() as one, phone() as two:
        for sock, leg in zip((one, two), legs, strict=True):
            leg.configure(StreamSpec(remote=sock.getsockname()))
            bus.add(leg)
        await talk([(one, legs[0])], 1.0)
        heard = [b"".join(data[12:] for data in drained(sock)) for sock in (one, two)]
    assert heard[0].count(LOUD) == 0
    assert heard[1].count(LOUD) == pytest.approx(4000, abs=400)


async def test_what_came_before_a_busy_python_is_not_lost(line: Line, tmp_path: Path) -> None:
    """Python holds its lock for a second; the engine's threads do not ask for it. Uncompiled they must, and only the sum is kept."""
    leg = line.engine.open_leg()
    (tmp_path / "audio").touch()
    leg.configure(StreamSpec(direction="recvonly"))
    tap = line.engine.open_tap(tmp_path / "audio", [[Source("in", leg)]], rate=8000)
    with phone() as sock:
        stop = threading.Event()

        def spin() -> None:
            while not stop.is_set():
                sum(range(1000))

        thread = threading.Thread(target=spin)
        thread.start()
        try:
            await talk([(sock, leg)], 1.5)
        finally:
            stop.set()
            thread.join()
        tap.stop()
        await line.until(lambda: line.of(TapEnded))
    assert leg.counters().placed == 75
    loud = np.abs(np.fromfile(tmp_path / "audio", np.int16).astype(int)) > 8000
    assert loud.sum() == pytest.approx(8000, abs=200)


@pytest.mark.crowd
async def test_many_calls_at_once(line: Line, tmp_path: Path) -> None:
    """As many as the uncompiled build shall carry: 120, both ways, each recorded."""
    legs, taps, phones = [], [], []
    for number in range(120):
        sock = phone()
        leg = line.engine.open_leg()
        leg.configure(StreamSpec(remote=sock.getsockname()))
        path = tmp_path / str(number)
        path.touch()
        taps.append(line.engine.open_tap(path, [[Source("in", leg)]], rate=8000))
        legs.append(leg)
        phones.append(sock)
    await talk(list(zip(phones, legs, strict=True)), 2.0)
    for tap in taps:
        tap.stop()
    await line.until(lambda: len(line.of(TapEnded)) == 120)
    for number, (leg, sock) in enumerate(zip(legs, phones, strict=True)):
        assert leg.counters().placed == 100
        assert leg.counters().skipped == 0
        loud = np.abs(np.fromfile(tmp_path / str(number), np.int16).astype(int)) > 8000
        assert loud.sum() == pytest.approx(8000, abs=250)
        sock.close()


async def test_legs_on_several_threads(tmp_path: Path) -> None:
    line = Line(threads=2)
    line.engine.start(line.told.append, asyncio.get_running_loop())
    legs = [line.engine.open_leg() for _ in range(4)]
    assert {leg.shard for leg in legs} == set(line.engine._shards)
    beside = line.engine.open_leg(beside=legs[1])
    assert beside.shard is legs[1].shard
    with phone() as sock:
        for leg in legs:
            leg.configure(StreamSpec(direction="recvonly"))
        await talk([(sock, leg) for leg in legs], 0.5)
        await line.until(lambda: sum(leg.counters().placed for leg in legs) == 100)
    line.engine.stop()


async def test_an_engine_leaves_nothing_behind(tmp_path: Path) -> None:
    def resources() -> tuple[int, int]:
        return len(os.listdir("/proc/self/fd")), threading.active_count()

    before = resources()
    line = Line(ports=(47000, 47099), cooldown_s=0.0)
    line.engine.start(line.told.append, asyncio.get_running_loop())
    for _ in range(3):
        legs = [line.engine.open_leg() for _ in range(40)]
        path = tmp_path / "audio"
        path.touch()
        taps = [line.engine.open_tap(path, [[Source("in", leg)]], rate=8000) for leg in legs]
        for leg, tap in zip(legs, taps, strict=True):
            leg.configure(StreamSpec())
            leg.play(np.zeros(80000, np.int16))
            tap.stop()
            leg.close()
        await line.until(lambda: line.engine.leg_count == 0)
    assert len(line.of(TapEnded)) == len(line.of(PlayerEnded)) == 120
    leg = line.engine.open_leg()
    leg.configure(StreamSpec())
    tap = line.engine.open_tap(tmp_path / "audio", [[Source("in", leg)]], rate=8000)
    line.engine.stop()
    assert line.of(TapEnded)[-1].tap is tap  # type: ignore[attr-defined]
    assert resources() == before


async def test_a_leg_goes_to_another_thread_in_the_midst_of_a_call(tmp_path: Path) -> None:
    """Two legs on two threads are bridged while both speak and are recorded: the sockets keep what comes meanwhile."""
    line = Line(threads=2)
    line.engine.start(line.told.append, asyncio.get_running_loop())
    legs = [line.engine.open_leg() for _ in range(2)]
    with phone() as one, phone() as two:
        taps = []
        for sock, leg in zip((one, two), legs, strict=True):
            leg.configure(StreamSpec(remote=sock.getsockname()))
            path = tmp_path / str(leg.id)
            path.touch()
            taps.append(line.engine.open_tap(path, [[Source("in", leg)], [Source("out", leg)]], rate=8000))
        voices = list(zip((one, two), legs, strict=True))
        await talk(voices, 0.5)
        bus = line.engine.open_bus(beside=legs[0])
        for leg in legs:
            bus.add(leg)
        await talk(voices, 1.5, first=25)
        for tap in taps:
            tap.stop()
        await line.until(lambda: len(line.of(TapEnded)) == 2)
        assert legs[1].shard is legs[0].shard and line.engine._shards[1].legs == 0
    for leg in legs:
        counters = leg.counters()
        assert counters.placed == 100 and counters.relayed > 40
        heard = np.abs(np.fromfile(tmp_path / str(leg.id), np.int16).reshape(-1, 2).astype(int)) > 8000
        assert heard[:, 0].sum() == pytest.approx(12000, abs=200)
        assert heard[:, 1].sum() == pytest.approx(8000, abs=400)
    line.engine.stop()


@pytest.mark.parametrize(
    "spec",
    [StreamSpec(codec="G722", payload_type=9), StreamSpec(codec="opus", payload_type=111, rate=48000, channels=2)],
    ids=lambda spec: spec.codec,
)
async def test_a_codec_of_frames_in_its_own_thread(line: Line, tmp_path: Path, spec: StreamSpec) -> None:
    codec = codecs.find(spec.codec, spec.rate)
    assert codec.coder
    coder, leg = codec.coder(20, ""), line.engine.open_leg()
    with phone() as sock:
        leg.configure(replace(spec, remote=sock.getsockname()))
        leg.echo(True)
        (tmp_path / "audio").touch()
        tap = line.engine.open_tap(tmp_path / "audio", [[Source("in", leg)]], rate=leg.rate)
        n = leg.rate // 50
        said = (np.sin(np.arange(100 * n) * (2 * np.pi * 500 / leg.rate)) * 9000).astype(">i2").tobytes()
        start = time.monotonic()
        for k in range(100):
            head = struct.pack("!BBHII", 128, spec.payload_type, k, k * spec.rate // 50, 7)
            sock.sendto(head + coder.encode(said[2 * k * n : 2 * (k + 1) * n]), (leg.host, leg.port))
            await asyncio.sleep(max(0.0, start + (k + 1) * 0.02 - time.monotonic()))
        await asyncio.sleep(0.2)
        tap.stop()
        await line.until(lambda: line.of(TapEnded))
        answered = [coder.decode(data[12:]) for data in drained(sock)]
    heard = np.abs(np.fromfile(tmp_path / "audio", np.int16).astype(int))
    assert (heard > 3000).sum() > leg.rate  # of two seconds, whose samples lie above that for three quarters
    echoed = np.abs(np.frombuffer(b"".join(answered), ">i2").astype(int))
    assert (echoed > 3000).sum() > leg.rate
    counters = leg.counters()
    assert counters.placed == counters.packets == 100 and counters.sent == pytest.approx(110, abs=30)


async def test_an_engine_that_stops_records_what_is_being_decoded(line: Line, tmp_path: Path) -> None:
    leg = line.engine.open_leg()
    coder = codecs.find("G722", 8000).coder
    assert coder
    peer = coder(20, "")
    leg.configure(StreamSpec(codec="G722", payload_type=9))
    (tmp_path / "audio").touch()
    line.engine.open_tap(tmp_path / "audio", [[Source("in", leg)]], rate=16000)
    with phone() as sock:
        for k in range(50):
            head = struct.pack("!BBHII", 128, 9, k, k * 160, 7)
            sock.sendto(head + peer.encode(np.full(320, 9000 * (-1) ** k, ">i2").tobytes()), (leg.host, leg.port))
            await asyncio.sleep(0.02)
        line.engine.stop()
    heard = np.fromfile(tmp_path / "audio", np.int16)
    assert np.abs(heard[-8000:].astype(int)).max() > 3000  # to its end, give or take what a busy machine sent late
