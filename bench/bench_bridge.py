"""CPU for each recorded second of a bridged call, relayed and transcoded, and of a member of a conference.

    python bench/bench_bridge.py [--calls 100] [--seconds 8] [--repeat 2] [--json]

One process talks (20 ms packets over loopback, one socket for each party, which also takes what comes back), another one runs the
engine: calls of two parties on a bus, each recorded into a file of two channels (one party's voice, what it hears); or conferences of
ten, each recorded into one mix. CPU is the engine process's own user and system time while all talk, asyncio's part included, divided
by the seconds of all calls, or of all members. The least of all repetitions counts, since noise only adds.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench_rtp import TICK_S, cpu_s, library, listen_for_start, pinned, raise_limit, tell

CONFERENCE = 10
CASES = {
    "bridged call, relayed": ("relayed", 0.55),
    "bridged call, PCMU to PCMA": ("transcoded", 0.55),
    "conference member": ("conference", 0.35),
}


async def serve(mode: str, calls: int, ticks: int, folder: Path) -> dict[str, Any]:
    """The engine's process: opens everything, tells its ports, and measures while the other one talks."""
    from tapeline.rtp import Engine, EngineConfig, Source, StreamSpec

    size = CONFERENCE if mode == "conference" else 2
    first = 32000
    engine = Engine(EngineConfig(bind="127.0.0.1", ports=(first, first + 2 * calls * size + 100)))
    engine.start(lambda event: None, asyncio.get_running_loop())
    legs, taps = [], []
    for number in range(calls):
        bus = engine.open_bus(capacity=size)
        for side in range(size):
            leg = engine.open_leg(beside=bus)
            alaw = mode != "relayed" and side % 2
            leg.configure(StreamSpec(codec="PCMA" if alaw else "PCMU", payload_type=8 if alaw else 0))
            bus.add(leg)
            legs.append(leg)
        heard = [[Source("mix", bus)]] if mode == "conference" else [[Source("in", legs[-2])], [Source("out", legs[-2])]]
        path = folder / f"{number}.raw"
        path.touch()
        taps.append(engine.open_tap(path, heard, rate=8000))
    tell({"ports": [leg.port for leg in legs], "types": [leg.spec.payload_type for leg in legs if leg.spec]})
    await asyncio.get_running_loop().run_in_executor(None, listen_for_start)
    await asyncio.sleep(0.5)
    start = cpu_s()
    seconds = ticks * TICK_S - 1.0
    await asyncio.sleep(seconds)
    spent = cpu_s() - start
    for tap in taps:
        tap.stop()
    await asyncio.sleep(1.0)
    counters = [leg.counters() for leg in legs]
    overruns = engine.counters().overruns
    engine.stop()
    return {
        "ms": spent * 1000 / seconds / (len(legs) if mode == "conference" else calls),
        "core_percent": 100 * spent / seconds,
        "packets": sum(counter.packets for counter in counters),
        "placed": sum(counter.placed for counter in counters),
        "relayed": sum(counter.relayed for counter in counters),
        "overruns": overruns,
    }


def talk(path: Path, ports: list[int], types: list[int], ticks: int) -> int:
    pinned(0)
    load = ctypes.CDLL(str(path))
    load.talk_streams.restype = ctypes.c_longlong
    sockets = []
    for _ in ports:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", 0))
        sockets.append(sock)
    many = ctypes.c_int * len(ports)
    sent = load.talk_streams(many(*(sock.fileno() for sock in sockets)), many(*ports), many(*types), len(ports), ticks)
    for sock in sockets:
        sock.close()
    return int(sent)


def measure(mode: str, path: Path, calls: int, ticks: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="bench-bridge-") as folder:
        command = [sys.executable, __file__, "--serve", mode, str(calls), str(ticks), folder]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdin and process.stdout
            told = json.loads(process.stdout.readline())
            process.stdin.write("\n")
            process.stdin.flush()
            sent = talk(path, told["ports"], told["types"], ticks)
            found: dict[str, Any] = json.loads(process.stdout.readline())
    return found | {"sent": sent}


def main() -> None:
    raise_limit()
    if sys.argv[1:2] == ["--serve"]:
        pinned((os.cpu_count() or 1) - 1)
        tell(asyncio.run(serve(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), Path(sys.argv[5]))))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=100, help="bridged calls at once; as many parties are in conferences")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each run")
    parser.add_argument("--repeat", type=int, default=2, help="runs of each kind; the best counts")
    parser.add_argument("--json", action="store_true", help="print figures only")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(prefix="bench-bridge-") as folder:
        path = library(Path(folder))
        for case, (mode, goal) in CASES.items():
            calls = max(1, options.calls * 2 // CONFERENCE) if mode == "conference" else options.calls
            runs = [measure(mode, path, calls, round(options.seconds / TICK_S)) for _ in range(options.repeat)]
            best = min(runs, key=lambda run: run["ms"])
            rows.append({"case": case, "value": round(best["ms"], 3), "unit": "ms", "goal": goal} | {"run": best})
            if not options.json:
                print(f"{case:30} {best['ms']:.3f} ms a second (goal {goal}), {best['core_percent']:.0f} % of a core, {best}")
    if options.json:
        print(json.dumps({"calls": options.calls, "rows": rows}))


if __name__ == "__main__":
    main()
