"""KAZOO's callflows on real calls: the recording arrives at its `url` under its name, and holds what was said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tapeline.testing import LIVE, Plan, assert_heard, decode, quiet, spoken
from tapeline.testing.process import until
from tapeline.testing.receiver import Receiver
from tapeline.testing.server import Server
from tapeline.testing.sipp import SippCallers, sipp_missing

pytestmark = [pytest.mark.peer, pytest.mark.skipif(bool(sipp_missing()), reason=sipp_missing())]

SECONDS = 4.0


def action(module: str, data: dict[str, Any] | None = None, child: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"module": module, "data": data or {}, "children": {"_": child} if child else {}}


def recorded(start: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Answer, record for so long, hang up."""
    stop = action("record_call", {"action": "stop"}, action("hangup"))
    return action("answer", {}, action("record_call", {"action": "start"} | start, action("sleep", {"duration": seconds}, stop)))


def test_callflows_send_their_recordings_to_their_urls(tmp_path: Path) -> None:
    said = Plan.of(spoken(7, 6))
    with Receiver() as receiver:
        flows = {
            "2001": recorded({"url": receiver.url + "/kzr/", "format": "wav"}, SECONDS),
            "2002": recorded({"url": receiver.url + "/put?file=", "method": "post", "time_limit": 1200}, SECONDS),
            "2003": action("record_caller", {"url": receiver.url + "/caller/{ACCOUNT_ID}", "format": "wav", "time_limit": 5}),
        }
        with Server(tmp_path / "server", flows) as server:
            for number in flows:
                callers = SippCallers(tmp_path / number, server.sip, [said], seconds=15, ends="callee", number=number)
                assert callers.run().successful == 1
            recordings = server.api.wait_for_recordings(3)
            account = recordings[0]["customer_id"].replace("-", "")
            wav, mp3, caller = (request for path in ("/kzr", "/put", f"/caller/{account}") for request in wait_for(receiver, path))
            assert server.stop() == 0
    assert (wav.method, wav.headers["content-type"]) == ("PUT", "audio/x-wav")
    assert wav.path.startswith("/kzr/call_recording_1-") and wav.path.endswith(".wav")
    assert_heard(wav.body, Plan((said.between(0, SECONDS).channels[0], (quiet(SECONDS),))), LIVE, seconds=SECONDS)
    assert (mp3.method, mp3.headers["content-type"]) == ("POST", "audio/mpeg")
    heard = decode(mp3.body)
    assert heard.channels == 2 and heard.seconds == pytest.approx(SECONDS, abs=0.1)
    assert_heard(caller.body, said.between(0, 5.0), LIVE, seconds=5.0)


def wait_for(receiver: Receiver, prefix: str) -> list[Any]:
    def found() -> list[Any]:
        return [request for request in receiver.requests if request.path.startswith(prefix)]

    until(lambda: bool(found()), f"a recording at {prefix}", 40.0)
    return found()
