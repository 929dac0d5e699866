"""Two hundred calls, ten a second, through a callflow whose recordings go to a web server: each arrives once, whole, and while all of it
goes on nothing holds up the event loop of the media process."""

from __future__ import annotations

from pathlib import Path

import pytest

from tapeline.testing import Plan, decode, spoken
from tapeline.testing.nginx import Nginx, nginx_missing
from tapeline.testing.process import until
from tapeline.testing.server import Server
from tapeline.testing.sipp import SippCallers, sipp_missing

MISSING = sipp_missing() or nginx_missing()
pytestmark = [pytest.mark.peer, pytest.mark.crowd, pytest.mark.slow, pytest.mark.skipif(bool(MISSING), reason=MISSING)]

CALLS, RATE, SECONDS = 200, 10.0, 1.5


def test_two_hundred_calls_at_ten_a_second_are_delivered_and_nothing_holds_up_the_loop(tmp_path: Path) -> None:
    with Nginx(tmp_path / "nginx") as nginx:
        stop = {"module": "record_call", "data": {"action": "stop"}, "children": {"_": {"module": "hangup", "data": {}, "children": {}}}}
        wait = {"module": "sleep", "data": {"duration": round(SECONDS * 1000), "unit": "ms"}, "children": {"_": stop}}
        start = {"module": "record_call", "data": {"action": "start", "url": nginx.url + "/kzr", "method": "put"}, "children": {"_": wait}}
        flow = {"module": "answer", "data": {}, "children": {"_": start}}
        with Server(tmp_path / "server", {"1000": flow}) as server:
            before = server.metrics()["tapeline_event_loop_stalls_total"]
            callers = SippCallers(
                tmp_path / "sipp", server.sip, [Plan.of(spoken(n, 2)) for n in range(CALLS)], rate=RATE, seconds=SECONDS + 20, ends="callee"
            )
            result = callers.run()
            counted = server.metrics()
            assert (result.successful, result.failed) == (CALLS, 0), result.errors
            rows = server.api.wait_for_recordings(CALLS, timeout_s=60)
            files = nginx.files / "kzr"
            until(lambda: len(list(files.glob("*.mp3"))) == CALLS, f"{CALLS} files", 60.0)
            stalls = counted["tapeline_event_loop_stalls_total"] - before
            longest, starved = (counted[f"tapeline_event_loop_{name}"] for name in ("longest_stall_seconds", "starved_seconds_total"))
            print(f"longest stall {longest * 1000:.0f} ms; waited {starved:.1f} s for a processor")
            told = [line for line in server.child.output().splitlines() if "held up" in line]
            assert stalls == 0, f"{stalls:.0f} stalls, the longest {longest * 1000:.0f} ms; {told}"
            assert server.stop() == 0
    arrived = [request for request in nginx.requests() if request.startswith("PUT /kzr/call_recording_")]
    assert len(arrived) == CALLS and len(set(arrived)) == CALLS, "each once"
    assert all(request.endswith(" 201") for request in arrived)
    assert sum(row["tm_end"] > "" for row in rows) == CALLS
    for file in sorted(files.iterdir())[::20]:
        heard = decode(file.read_bytes())
        assert heard.channels == 2 and heard.seconds == pytest.approx(SECONDS, abs=0.2)
