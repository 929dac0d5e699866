"""The loop between a websocket and its leg, and the line that stands in the place of a session."""

from __future__ import annotations

import asyncio
import struct

import numpy as np
import pytest

from tapeline.calls.socket_loop import MOST_FRAMES, SocketLoop
from tapeline.testing.waveforms import sine

L16, DTMF = 96, 101


class Leg(asyncio.DatagramProtocol):
    """The other end of the loop, as a leg would be."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.came = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.heard.append(data)
        self.came.set()

    @property
    def port(self) -> int:
        return int(self.transport.get_extra_info("sockname")[1])  # type: ignore[attr-defined]


@pytest.fixture
async def leg():
    _, made = await asyncio.get_running_loop().create_datagram_endpoint(Leg, local_addr=("127.0.0.1", 0))
    yield made
    made.transport.close()
    await settled()


async def settled() -> None:
    """Let what was closed go."""
    await asyncio.get_running_loop().run_in_executor(None, lambda: None)


def packet(kind: int, number: int, payload: bytes) -> bytes:
    return struct.pack("!BBHII", 0x80, kind, number, number * 320, 1) + payload


@pytest.mark.parametrize(("rate", "leg_rate"), [(8000, 8000), (16000, 16000), (24000, 16000)])
async def test_what_the_leg_hears_goes_to_the_peer_in_frames_of_20_ms(leg: Leg, rate: int, leg_rate: int) -> None:
    frames: list[bytes] = []
    loop = SocketLoop(rate, leg_rate, frames.append, lambda digit, duration: None)
    await loop.open()
    said = sine(440.0, 1.0, leg_rate)
    for number in range(50):
        piece = said[number * leg_rate // 50 : (number + 1) * leg_rate // 50]
        loop.datagram_received(packet(0, number, piece.astype(">i2").tobytes()), ("127.0.0.1", 1))
    loop.close()
    await settled()
    assert frames and {len(frame) for frame in frames} == {rate // 50 * 2}
    heard = np.frombuffer(b"".join(frames), "<i2").astype(float)
    wave = np.exp(-2j * np.pi * 440.0 * np.arange(len(heard)) / rate)
    assert 2 * abs(np.mean(heard * wave)) > 7000
    assert len(heard) == len(said) if rate == leg_rate else len(heard) > 0.8 * rate


async def test_what_the_peer_sends_goes_to_the_leg_at_the_pace_of_sound(leg: Leg) -> None:
    loop = SocketLoop(16000, 16000, lambda frame: None, lambda digit, duration: None)
    await loop.open()
    said = sine(440.0, 0.1, 16000).astype("<i2").tobytes()
    loop.feed(said[:1000])
    loop.feed(said[1000:])
    loop.start(leg.port, L16, DTMF, 8000)
    async with asyncio.timeout(20):
        while len(leg.heard) < 7:
            leg.came.clear()
            await leg.came.wait()
    loop.close()
    await settled()
    heads = [struct.unpack("!BBHII", data[:12]) for data in leg.heard[:7]]
    assert [head[2] for head in heads] == list(range(7)) and [head[3] for head in heads] == list(range(0, 7 * 320, 320))
    heard = np.frombuffer(b"".join(data[12:] for data in leg.heard[:7]), ">i2")
    assert heard[:1600].astype("<i2").tobytes() == said and not heard[1600:].any(), "silence follows"


async def test_a_peer_that_sends_too_far_ahead_loses_what_is_too_much() -> None:
    loop = SocketLoop(8000, 8000, lambda frame: None, lambda digit, duration: None)
    loop.feed(bytes(320 * MOST_FRAMES + 640))
    loop.feed(bytes(10))
    assert loop.dropped == 650


async def test_keys_are_told_once_and_nonsense_is_dropped() -> None:
    pressed: list[tuple[str, int]] = []
    loop = SocketLoop(8000, 8000, lambda frame: None, lambda digit, duration: pressed.append((digit, duration)))
    loop._payload_type, loop._dtmf_type, loop._dtmf_rate = L16, DTMF, 8000
    begun, ended = bytes([5, 10, 0, 160]), bytes([5, 0x8A]) + (2080).to_bytes(2, "big")
    for data in (begun, ended, ended, ended):
        loop.datagram_received(packet(DTMF, 1, data), ("127.0.0.1", 1))
    loop.datagram_received(packet(DTMF, 2, bytes([11, 0x8A, 3, 32])), ("127.0.0.1", 1))
    unknown = packet(DTMF, 4, bytes([99, 0x80, 0, 0]))
    nonsense = (b"", b"\x80", b"\x90" + bytes(30), packet(DTMF, 3, b"\x05"), unknown, packet(L16, 5, b"\1"))
    for data in nonsense:
        loop.datagram_received(data, ("127.0.0.1", 1))
    assert pressed == [("5", 260), ("#", 100)]
