"""Calls in G.722 and Opus through a running server: prompts, both parties of a bridge, and the recording at the call's own rate."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tapeline.calls.phone import Phone, PhoneConfig, resolve
from tapeline.testing import decode
from tapeline.testing.process import free_port, until
from tapeline.testing.server import Server

CALLEE = free_port(socket.SOCK_DGRAM)
RATES = {"PCMU": 8000, "G722": 16000, "opus": 48000}
HERE_HZ, THERE_HZ = 700.0, 1100.0
FLOW = {
    "actions": [
        {"type": "answer"},
        {"type": "play", "option": {"stream_urls": ["tone:2100/400"]}},
        {"type": "recording_start", "option": {"split": True, "rate": "own"}},
        {"type": "connect", "option": {"destinations": [{"type": "sip", "target": f"sip:there@127.0.0.1:{CALLEE}"}]}},
        {"type": "hangup"},
    ]
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("wide"), {"2000": FLOW}) as made:
        yield made


def loudness(samples: np.ndarray, hz: float, rate: int) -> float:  # type: ignore[type-arg]
    """The loudest half second of a tone: its amplitude, of 1."""
    half = rate // 2
    wave = np.exp(-2j * np.pi * hz / rate * np.arange(half))
    parts = [samples[at : at + half] for at in range(0, len(samples) - half, half // 4)]
    return max((float(2 * abs(np.dot(part, wave)) / half) for part in parts), default=0.0)


def steady(hz: float, rate: int) -> np.ndarray:  # type: ignore[type-arg]
    return (np.sin(np.arange(3 * rate) * (2 * np.pi * hz / rate)) * 10000).astype(np.int16)


@pytest.mark.parametrize(("here", "there"), [("opus", "PCMU"), ("G722", "opus"), ("opus", "opus")])
async def test_two_parties_with_codecs_of_their_own(server: Server, tmp_path: Path, here: str, there: str) -> None:
    before = {recording["id"] for recording in server.api.recordings()}
    caller = Phone(PhoneConfig(user="caller", codecs=(here,)))
    callee = Phone(PhoneConfig(user="there", port=CALLEE, codecs=(there,)))
    await caller.start()
    await callee.start()
    try:
        call = caller.call(await resolve(server.uri("2000")))
        await call.answered()
        call.save(tmp_path / "here.wav")
        other = await asyncio.wait_for(callee.take(), 10)
        other.answer()
        await other.answered()
        other.save(tmp_path / "there.wav")
        assert (call.rate, other.rate) == (RATES[here], RATES[there])
        await asyncio.gather(call.play(steady(HERE_HZ, call.rate)), other.play(steady(THERE_HZ, other.rate)))
        call.hang_up()
        await asyncio.gather(call.over(), other.over())
    finally:
        await caller.stop()
        await callee.stop()
    heard_here, heard_there = decode((tmp_path / "here.wav").read_bytes()), decode((tmp_path / "there.wav").read_bytes())
    assert loudness(heard_here.samples[:, 0], 2100, heard_here.rate) > 0.05  # the prompt
    for heard, own, others in ((heard_here, HERE_HZ, THERE_HZ), (heard_there, THERE_HZ, HERE_HZ)):
        assert loudness(heard.samples[:, 0], others, heard.rate) == pytest.approx(0.3, rel=0.2)
        assert loudness(heard.samples[:, 0], own, heard.rate) < 0.02

    def found() -> str:
        rows = [row for row in server.api.recordings() if row["id"] not in before and row["status"] == "available"]
        return str(rows[0]["id"]) if rows else ""

    recording = decode(server.api.file(await asyncio.to_thread(until, found, "the recording")))
    assert recording.rate == RATES[here]
    for channel, hz, others in ((0, HERE_HZ, THERE_HZ), (1, THERE_HZ, HERE_HZ)):
        assert loudness(recording.samples[:, channel], hz, recording.rate) == pytest.approx(0.3, rel=0.2)
        assert loudness(recording.samples[:, channel], others, recording.rate) < 0.02
