"""CPU for each RTP packet received and recorded, beside a bare loop of recvmmsg over as many sockets, and memory for each leg.

    python bench/bench_rtp.py [--streams 200,1000,2000] [--seconds 8] [--repeat 2] [--json FILE]

One process sends (20 ms packets of PCMU over loopback), another one receives: either the engine, each stream into a file of its own,
or the bare loop. CPU is the receiving process's own user and system time while all streams run, asyncio's part included. The engine is
measured asked every 20 ms, as the bare loop is, and as it is set by default (what nobody hears live is asked every 100 ms). Ratios are
taken within one run; on a shared machine differences below 25 % mean nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TICK_S = 0.02
MODES = {"bare": 0, "engine_20ms": 20, "engine": 100}


def library(folder: Path) -> Path:
    """The compiled `rtp_load.c`."""
    target = folder / "rtp_load.so"
    subprocess.run([os.environ.get("CC", "cc"), "-O2", "-shared", "-fPIC", "-o", str(target), str(HERE / "rtp_load.c")], check=True)
    return target


def raise_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def pinned(cpu: int) -> None:
    if (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {cpu})


def send(path: str, ports: list[int], ticks: int) -> int:
    pinned(0)
    load = ctypes.CDLL(path)
    load.send_streams.restype = ctypes.c_longlong
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        return int(load.send_streams(sock.fileno(), (ctypes.c_int * len(ports))(*ports), len(ports), ticks))


def receive_bare(path: str, streams: int, ticks: int) -> dict[str, Any]:
    load = ctypes.CDLL(path)
    load.bare_loop.restype = ctypes.c_longlong
    before = resident_bytes()
    sockets = []
    for _ in range(streams):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", 0))
        sockets.append(sock)
    tell({"ports": [sock.getsockname()[1] for sock in sockets]})
    fds = array("i", [sock.fileno() for sock in sockets])
    listen_for_start()
    start = cpu_s()
    received = load.bare_loop((ctypes.c_int * streams).from_buffer(fds), streams, ticks + 5)
    return {"packets": received, "cpu_s": cpu_s() - start, "memory": resident_bytes() - before}


def receive_engine(read_ms: int, streams: int, ticks: int, folder: str) -> dict[str, Any]:
    return asyncio.run(_receive_engine(read_ms, streams, ticks, Path(folder)))


async def _receive_engine(read_ms: int, streams: int, ticks: int, folder: Path) -> dict[str, Any]:
    from tapeline.rtp import COMPILED, Engine, EngineConfig, Source, StreamSpec

    first = 32000
    engine = Engine(EngineConfig(bind="127.0.0.1", ports=(first, first + 4 * streams + 100), read_ms=read_ms))
    engine.start(lambda event: None, asyncio.get_running_loop())
    before = resident_bytes()
    legs, taps = [], []
    for number in range(streams):
        leg = engine.open_leg()
        leg.configure(StreamSpec(direction="recvonly"))
        path = folder / f"{number}.raw"
        path.touch()
        taps.append(engine.open_tap(path, [[Source("in", leg)]], rate=8000))
        legs.append(leg)
    tell({"ports": [leg.port for leg in legs]})
    await asyncio.get_running_loop().run_in_executor(None, listen_for_start)
    start = cpu_s()
    await asyncio.sleep((ticks + 5) * TICK_S)
    spent = cpu_s() - start
    memory = resident_bytes() - before
    for tap in taps:
        tap.stop()
    await asyncio.sleep(0.5)
    counters = [leg.counters() for leg in legs]
    overruns = engine.counters().overruns
    engine.stop()
    recorded = sum((folder / f"{number}.raw").stat().st_size for number in range(streams)) // 2 / 8000
    return {
        "compiled": COMPILED,
        "packets": sum(counter.packets for counter in counters),
        "placed": sum(counter.placed for counter in counters),
        "cpu_s": spent,
        "memory": memory,
        "overruns": overruns,
        "recorded_s": recorded,
    }


def tell(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)


def listen_for_start() -> None:
    sys.stdin.readline()


def receiver(arguments: list[str]) -> None:
    """The receiving process: prints its ports, waits for a line, prints what it measured."""
    mode, path, streams, ticks, folder = arguments[0], arguments[1], int(arguments[2]), int(arguments[3]), arguments[4]
    raise_limit()
    pinned((os.cpu_count() or 1) - 1)
    if mode == "bare":
        tell(receive_bare(path, streams, ticks))
    else:
        tell(receive_engine(MODES[mode], streams, ticks, folder))


def measure(mode: str, path: Path, streams: int, ticks: int) -> dict[str, Any]:
    """One run of one receiver with a sender of its own."""
    with tempfile.TemporaryDirectory(prefix="bench-rtp-") as folder:
        command = [sys.executable, __file__, "--receiver", mode, str(path), str(streams), str(ticks), folder]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdin and process.stdout
            ports = json.loads(process.stdout.readline())["ports"]
            process.stdin.write("\n")
            process.stdin.flush()
            sent = send(str(path), ports, ticks)
            found: dict[str, Any] = json.loads(process.stdout.readline())
    found |= {"sent": sent, "us_per_packet": found["cpu_s"] * 1e6 / max(1, found["packets"]), "bytes_per_leg": found["memory"] / streams}
    return found


def compare(path: Path, streams: int, seconds: float, repeat: int, say: Callable[[str], None]) -> dict[str, Any]:
    """All modes in turn, `repeat` times; the least of each, since noise only adds."""
    runs: dict[str, list[dict[str, Any]]] = {mode: [] for mode in MODES}
    for _ in range(repeat):
        for mode in MODES:
            found = measure(mode, path, streams, round(seconds / TICK_S))
            runs[mode].append(found)
            say(f"{streams:5} streams  {mode:12} {found['us_per_packet']:6.2f} us/packet  {found['packets']} of {found['sent']} packets")
    best = {mode: min(found, key=lambda run: run["us_per_packet"]) for mode, found in runs.items()}
    bare = best["bare"]["us_per_packet"]
    return {
        "streams": streams,
        "us_per_packet": {mode: round(run["us_per_packet"], 3) for mode, run in best.items()},
        "ratio_20ms": round(best["engine_20ms"]["us_per_packet"] / bare, 2),
        "ratio": round(best["engine"]["us_per_packet"] / bare, 2),
        "bytes_per_leg": round(best["engine"]["bytes_per_leg"]),
        "lost": {mode: run["sent"] - run["packets"] for mode, run in best.items()},
        "not_placed": best["engine"]["packets"] - best["engine"]["placed"],
        "compiled": best["engine"]["compiled"],
        "core_percent": round(100 * best["engine"]["cpu_s"] / seconds, 1),
    }


def main() -> None:
    if sys.argv[1:2] == ["--receiver"]:
        receiver(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", default="200,1000,2000", help="comma-separated numbers of streams")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each run")
    parser.add_argument("--repeat", type=int, default=2, help="runs of each kind; the best counts")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    raise_limit()
    started = time.time()
    with tempfile.TemporaryDirectory(prefix="bench-rtp-") as folder:
        path = library(Path(folder))
        rows = [compare(path, int(streams), options.seconds, options.repeat, print) for streams in options.streams.split(",")]
    print(f"\n{'streams':>8} {'bare':>8} {'20 ms':>8} {'ratio':>6} {'default':>8} {'ratio':>6} {'core':>6} {'bytes/leg':>10}")
    for row in rows:
        spent = row["us_per_packet"]
        print(
            f"{row['streams']:8} {spent['bare']:8.2f} {spent['engine_20ms']:8.2f} {row['ratio_20ms']:6.2f} {spent['engine']:8.2f} "
            f"{row['ratio']:6.2f} {row['core_percent']:5.1f}% {row['bytes_per_leg']:10}"
        )
    if options.json:
        options.json.write_text(json.dumps({"bench": "rtp", "started": started, "seconds": options.seconds, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
