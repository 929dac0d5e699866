"""Calls whose recordings go to a web server: SIPp calls a callflow of a whole server, nginx takes the files.

    python bench/bench_deliveries.py [--calls 200] [--rate 10] [--json]

How long the event loop of the media process was held up at most (by something of its own; a processor that ran others is not counted),
and how long after its end each recording had arrived.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

import figures
from tapeline.testing import Plan, spoken
from tapeline.testing.nginx import Nginx, nginx_missing
from tapeline.testing.process import until
from tapeline.testing.server import Server
from tapeline.testing.sipp import SippCallers, sipp_missing

GOAL_STALL_MS = 50
SECONDS = 1.5


def callflow(url: str) -> dict[str, Any]:
    """Answer, record for a moment, hang up."""
    steps = [
        ("answer", {}),
        ("record_call", {"action": "start", "url": url, "method": "put"}),
        ("sleep", {"duration": round(SECONDS * 1000), "unit": "ms"}),
        ("record_call", {"action": "stop"}),
        ("hangup", {}),
    ]
    flow: dict[str, Any] = {}
    for module, data in reversed(steps):
        flow = {"module": module, "data": data, "children": {"_": flow} if flow else {}}
    return flow


def measure(calls: int, rate: float) -> list[dict[str, object]]:
    with tempfile.TemporaryDirectory() as name, Nginx(Path(name) / "nginx") as nginx:
        folder = Path(name)
        with Server(folder / "server", {"1000": callflow(nginx.url + "/in")}) as server:
            said = [Plan.of(spoken(number, 2)) for number in range(calls)]
            result = SippCallers(folder / "sipp", server.sip, said, rate=rate, seconds=SECONDS + 20).run()
            longest = server.metrics()["tapeline_event_loop_longest_stall_seconds"]
            rows = server.api.wait_for_recordings(calls, timeout_s=60)
            until(lambda: len(list((nginx.files / "in").glob("*.mp3"))) >= calls, "all files", 60.0)
            server.stop()
        arrived = sorted(file.stat().st_mtime for file in (nginx.files / "in").iterdir())
    ended = sorted(datetime.fromisoformat(row["tm_end"]).timestamp() for row in rows)
    late = [after - end for end, after in zip(ended, arrived, strict=True)]
    return [
        {"case": "calls that failed", "value": result.failed, "unit": f"of {calls}", "goal": 0},
        {"case": "files that arrived", "value": len(arrived), "unit": f"of {calls}", "goal": calls},
        {"case": "longest stall of the event loop", "value": round(longest * 1000), "unit": "ms", "goal": GOAL_STALL_MS},
        {"case": "from a recording's end to its arrival, median", "value": round(statistics.median(late), 2), "unit": "s", "goal": None},
        {"case": "the same, longest", "value": round(max(late), 2), "unit": "s", "goal": None},
    ]


def main() -> None:
    parser = figures.parser(__doc__)
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--rate", type=float, default=10.0)
    options = parser.parse_args()
    if missing := sipp_missing() or nginx_missing():
        sys.exit(missing)
    rows = measure(options.calls, options.rate)
    figures.report(rows, options.json)


if __name__ == "__main__":
    main()
