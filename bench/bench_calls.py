"""New calls a second over real sockets: SIPp as caller on loopback, tapeline's endpoint and shell in a process of their own as callee.

    python bench/bench_calls.py [--rate 1000] [--seconds 10] [--json]

CPU is the callee's own utime and stime, from the kernel. SIPp counts failed calls and retransmissions.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import uvloop

import figures
from tapeline.core.clock import SystemClock
from tapeline.sip import Endpoint, EndpointConfig, Event, Incoming
from tapeline.sip.offer_answer import LocalMedia, answer_offer
from tapeline.sip.transports.shell import Shell

GOAL_RATE, GOAL_MS = 1000, 0.5


async def callee() -> None:
    """Answers every call; prints its port, and its CPU seconds at the end."""
    clock = SystemClock()

    def on_event(event: Event) -> None:
        if isinstance(event, Incoming):
            now = clock.now()
            event.session.ring(now)
            event.session.accept(answer_offer(event.body or b"", LocalMedia("127.0.0.1", 40000)).sdp, now)

    shell = Shell(Endpoint(EndpointConfig(max_pending=100_000), os.urandom), clock, on_event)
    _, port = await shell.listen("udp:127.0.0.1:0")
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    print(port, flush=True)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    times = os.times()
    print(json.dumps({"cpu_s": times.user + times.system, "slow": shell.slow, "slowest_ms": shell.slowest_s * 1000}), flush=True)
    await shell.close()


def caller(port: int, rate: int, calls: int, folder: Path) -> dict[str, int]:
    command = ["sipp", "-sn", "uac", "-r", str(rate), "-m", str(calls), "-d", "0", "-l", "50000", "-trace_stat", "-fd", "1", "-nostdin"]
    command += ["-t", "u1", "-i", "127.0.0.1", "-buff_size", "4000000", f"127.0.0.1:{port}"]
    subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=300, check=False)
    (statistics,) = folder.glob("uac_*_.csv")
    last = list(csv.DictReader(statistics.open(), delimiter=";"))[-1]
    return {
        "successful": int(last["SuccessfulCall(C)"]),
        "failed": int(last["FailedCall(C)"]),
        "retransmissions": int(last["Retransmissions(C)"]),
        "rate": round(float(last["CallRate(C)"])),
    }


def measure(rate: int, seconds: int) -> list[dict[str, object]]:
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen([sys.executable, __file__, "--callee"], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        port = int(process.stdout.readline())
        found = caller(port, rate, rate * seconds, Path(folder))
        process.send_signal(signal.SIGTERM)
        spent = json.loads(process.stdout.readline())
        process.wait()
    ms = spent["cpu_s"] * 1000 / max(1, found["successful"])
    return [
        {"case": "new calls a second, SIPp over UDP", "value": found["rate"], "unit": "calls/s", "goal": GOAL_RATE},
        {"case": "CPU of a call, INVITE to BYE, sockets included", "value": round(ms, 3), "unit": "ms", "goal": GOAL_MS},
        {"case": "failed calls", "value": found["failed"], "unit": f"of {rate * seconds}", "goal": 0},
        {"case": "retransmissions", "value": found["retransmissions"], "unit": "messages", "goal": 0},
    ]


def main() -> None:
    parser = figures.parser(__doc__)
    parser.add_argument("--rate", type=int, default=1000)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--callee", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.callee:
        uvloop.run(callee())
        return
    if shutil.which("sipp") is None:
        sys.exit("this needs SIPp: apt-get install sip-tester")
    rows = measure(options.rate, options.seconds)
    figures.report(rows, options.json)


if __name__ == "__main__":
    main()
