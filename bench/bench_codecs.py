"""What G.722 and Opus cost: their coders alone, and legs that hear and answer in them through a whole engine.

    python bench/bench_codecs.py [--seconds 5] [--legs 20] [--json]

Packets of 20 ms. Alone: CPU of one thread for a second of one leg, of speech-like sound. Through an engine: as many legs as asked for, each
recorded at its own rate while it hears itself back (decoded, mixed, encoded, sent); CPU is the whole process's, the sender of the
packets left out. Ratios within one run; on a shared machine differences below 25 % mean nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import struct
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import figures
from bench_rtp import cpu_s
from tapeline.rtp import Engine, EngineConfig, Source, StreamSpec, codecs

TICK_S = 0.02
SPECS = {
    "PCMU": StreamSpec(payload_type=0),
    "G722": StreamSpec(codec="G722", payload_type=9),
    "opus": StreamSpec(codec="opus", payload_type=111, rate=48000, channels=2),
}


def sound(rate: int, seconds: float) -> np.ndarray[Any, Any]:
    """A voice's likeness: harmonics of 140 Hz that swell and fall, and some breath."""
    time_s = np.arange(round(rate * seconds)) / rate
    voice = sum(np.sin(2 * np.pi * 140 * k * time_s) / k for k in range(1, 20))
    swell = (1 + np.sin(2 * np.pi * 3 * time_s)) / 2
    return np.asarray((voice * 4000 + np.random.default_rng(1).normal(size=len(time_s)) * 200) * swell, ">i2")


def payloads(name: str, seconds: float) -> list[bytes]:
    spec = SPECS[name]
    codec = codecs.find(spec.codec, spec.rate)
    rate = codec.audio_rate(spec.rate)
    if codec.coder is None:
        return [bytes(160)] * round(seconds / TICK_S)
    coder = codec.coder(20, "")
    pcm, n = sound(rate, seconds).tobytes(), rate // 50 * 2
    return [coder.encode(pcm[at : at + n]) for at in range(0, len(pcm), n)]


def row(case: str, value: float, unit: str = "ms/s", goal: int | None = None) -> dict[str, Any]:
    return {"case": case, "value": value, "unit": unit, "goal": goal}


def alone(name: str, seconds: float) -> list[dict[str, Any]]:
    """Milliseconds for a leg-second, decoding and encoding."""
    spec = SPECS[name]
    codec = codecs.find(spec.codec, spec.rate)
    assert codec.coder
    coder = codec.coder(20, "")
    rate = codec.audio_rate(spec.rate)
    pcm, n = sound(rate, seconds).tobytes(), rate // 50 * 2
    coder.decode(coder.encode(bytes(n)))  # whatever it has to load first
    began = time.thread_time()
    packets = [coder.encode(pcm[at : at + n]) for at in range(0, len(pcm), n)]
    encoded = time.thread_time()
    for packet in packets:
        coder.decode(packet)
    decoded = time.thread_time()
    each = {"decoded": decoded - encoded, "encoded": encoded - began}
    return [row(f"{name} {done}, the coder alone", round(spent * 1000 / seconds, 2)) for done, spent in each.items()]


def send(name: str, ports: list[int], seconds: float) -> None:
    """The sending process."""
    packets = payloads(name, 1.0)
    kind, step = SPECS[name].payload_type, SPECS[name].rate // 50
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        start = time.monotonic()
        for k in range(round(seconds / TICK_S)):
            for ssrc, port in enumerate(ports):
                head = struct.pack("!BBHII", 128, kind, k & 0xFFFF, k * step & 0xFFFFFFFF, ssrc)
                sock.sendto(head + packets[k % len(packets)], ("127.0.0.1", port))
            time.sleep(max(0.0, start + (k + 1) * TICK_S - time.monotonic()))


async def through_engine(name: str, legs: int, seconds: float) -> list[dict[str, Any]]:
    engine = Engine(EngineConfig(bind="127.0.0.1", ports=(33000, 33000 + 4 * legs + 100)))
    engine.start(lambda event: None, asyncio.get_running_loop())
    with tempfile.TemporaryDirectory() as folder:
        opened, taps = [], []
        for number in range(legs):
            leg = engine.open_leg()
            leg.configure(SPECS[name])
            leg.echo(True)
            path = Path(folder) / f"{number}.raw"
            path.touch()
            taps.append(engine.open_tap(path, [[Source("in", leg)]], rate=leg.rate))
            opened.append(leg)
        ports = json.dumps([leg.port for leg in opened])
        sender = await asyncio.create_subprocess_exec(sys.executable, __file__, "--send", name, ports, str(seconds + 3))
        await asyncio.sleep(2.0)  # until it runs
        began, before = time.monotonic(), cpu_s()
        await asyncio.sleep(seconds)
        spent, lasted = cpu_s() - before, time.monotonic() - began
        await sender.wait()
        for tap in taps:
            tap.stop()
        await asyncio.sleep(0.5)
        counters = [leg.counters() for leg in opened]
        engine.stop()
    lost = sum(each.late + each.overloaded + each.malformed + each.unsent for each in counters)
    packets = sum(each.packets for each in counters)
    return [
        row(f"a leg of {name}, heard, recorded and answered", round(spent * 1000 / lasted / legs, 2)),
        row(f"lost packets of {name}", lost, f"of {packets}", 0),
    ]


def main() -> None:
    parser = figures.parser(__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--legs", type=int, default=20)
    parser.add_argument("--send", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.send:
        send(options.send[0], json.loads(options.send[1]), float(options.send[2]))
        return
    coded = [name for name in ("G722", "opus") if codecs.available(name)]
    rows = [each for name in coded for each in alone(name, options.seconds)]
    for name in ("PCMU", *coded):
        rows += asyncio.run(through_engine(name, options.legs, options.seconds))
    figures.report(rows, options.json, legs=options.legs)


if __name__ == "__main__":
    main()
