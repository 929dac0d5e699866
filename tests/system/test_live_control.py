"""A call's recording is started, masked, paused and stopped from outside while it runs; the file holds what it may and no more."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tapeline.testing import LIVE, Plan, anything, assert_heard, decode, quiet, spoken, tone
from tapeline.testing.api import Api
from tapeline.testing.process import until
from tapeline.testing.server import Server
from tapeline.testing.sipp import SippCallers, sipp_missing

pytestmark = [pytest.mark.peer, pytest.mark.skipif(bool(sipp_missing()), reason=sipp_missing())]

STEADY_HZ = 917.0
CALL_S = 7.0
FLOW = {"actions": [{"type": "answer"}, {"type": "sleep", "option": {"duration": round(CALL_S * 1000)}}, {"type": "hangup"}]}
# Where exactly an order from outside takes effect is not planned: half a second around each is left to it.
UNSURE_S = 0.5


@pytest.fixture
def live(tmp_path: Path) -> Iterator[tuple[Api, str]]:
    """A server with one call, whose caller speaks one steady tone: (its API, the call's id)."""
    plan = Plan.of([tone(STEADY_HZ, CALL_S + 2)])
    with Server(tmp_path / "server", {"1000": FLOW}) as server:
        callers = SippCallers(tmp_path / "sipp", server.sip, [plan], seconds=CALL_S + 10, ends="callee")
        with callers.child:
            (call,) = until(lambda: [call for call in server.api.calls() if call["status"] == "progressing"], "the call")
            time.sleep(0.5)  # let its audio begin
            yield server.api, call["id"]


def order(api: Api, path: str, body: Any = None) -> Any:
    return api.post(path, body).ok().json()


def finished(api: Api, recording_id: str) -> Any:
    return until(lambda: (found := api.recording(recording_id))["status"] == "available" and found, "the recording", timeout_s=20)


def test_started_and_stopped_from_outside(live: tuple[Api, str]) -> None:
    api, call = live
    first = order(api, f"/v1.0/calls/{call}/recording_start", {"format": "wav"})["recording_id"]
    refused = api.post(f"/v1.0/calls/{call}/recording_start", {"format": "wav"})
    assert (refused.status, refused.json()["error"]["reason"]) == (409, "RECORDING_ALREADY_ACTIVE")
    time.sleep(1.5)
    order(api, f"/v1.0/calls/{call}/recording_stop")
    again = api.post(f"/v1.0/calls/{call}/recording_stop")
    assert (again.status, again.json()["error"]["reason"]) == (409, "RECORDING_NOT_ACTIVE")
    second = order(api, f"/v1.0/calls/{call}/recording_start", {"format": "wav"})["recording_id"]
    assert second != first
    assert finished(api, first)["tapeline"]["reason"] == "stopped"
    assert finished(api, second)["tapeline"]["reason"] == "hangup"
    for recording in (first, second):
        file = decode(api.file(recording))
        assert 1.3 < file.seconds < CALL_S
        assert_heard(file, Plan.of([tone(STEADY_HZ, file.seconds)]), replace(LIVE, start_s=0), name=recording)
    assert decode(api.file(first)).seconds == pytest.approx(1.5, abs=0.2)


def silent_in_its_middle(api: Api, call: str, begin: Callable[[str], Any], end: Callable[[str], Any]) -> list[str]:
    """Record for 4.5 s, with `begin` and `end` called with the recording's id after a third and two; the timeline's events."""
    recording = order(api, f"/v1.0/calls/{call}/recording_start", {"format": "wav"})["recording_id"]
    time.sleep(1.5)
    begin(recording)
    time.sleep(1.5)
    end(recording)
    time.sleep(1.5)
    order(api, f"/v1.0/calls/{call}/recording_stop")
    finished(api, recording)
    file = decode(api.file(recording))
    edge = anything(UNSURE_S)
    plan = Plan.of([tone(STEADY_HZ, 1.25), edge, quiet(1.0), edge, tone(STEADY_HZ, file.seconds - 3.25)])
    assert_heard(file, plan, replace(LIVE, start_s=0))
    assert file.seconds == pytest.approx(4.5, abs=0.3)
    return [event["event"] for event in api.get(f"/v1.0/recordings/{recording}/timeline").ok().json()["result"]]


def test_what_is_masked_is_silent_and_the_file_keeps_its_length(live: tuple[Api, str]) -> None:
    api, call = live

    def mask(recording: str) -> None:
        assert order(api, f"/v1.0/recordings/{recording}/mask")["tapeline"]["paused"] == "silence"

    def unmask(recording: str) -> None:
        assert order(api, f"/v1.0/recordings/{recording}/unmask")["tapeline"]["paused"] == ""

    events = silent_in_its_middle(api, call, mask, unmask)
    assert events.index("masked") < events.index("unmasked")


def test_who_is_muted_is_silent_on_the_recording(live: tuple[Api, str]) -> None:
    api, call = live
    mute = f"/v1.0/calls/{call}/mute"
    events = silent_in_its_middle(
        api, call, lambda _: api.post(mute, {"direction": "in"}).ok(), lambda _: api.request("DELETE", mute).ok()
    )
    assert events.index("muted") < events.index("unmuted")


def test_what_is_said_in_a_pause_is_not_in_the_file(live: tuple[Api, str]) -> None:
    api, call = live
    recording = order(api, f"/v1.0/calls/{call}/recording_start", {"format": "wav"})["recording_id"]
    time.sleep(1.5)
    order(api, f"/v1.0/recordings/{recording}/pause", {"mode": "cut"})
    time.sleep(1.5)
    order(api, f"/v1.0/recordings/{recording}/resume")
    time.sleep(1.5)
    order(api, f"/v1.0/calls/{call}/recording_stop")
    finished(api, recording)
    file = decode(api.file(recording))
    assert file.seconds == pytest.approx(3.0, abs=0.3)
    plan = Plan.of([tone(STEADY_HZ, 1.25), anything(UNSURE_S), tone(STEADY_HZ, file.seconds - 1.75)])
    assert_heard(file, plan, replace(LIVE, start_s=0))


@pytest.mark.parametrize("form", ["mp3", "ogg"])
def test_each_format_holds_what_was_said(tmp_path: Path, form: str) -> None:
    voice = Plan.of(spoken(31, 4))
    flow = {"actions": [{"type": "answer"}, {"type": "recording_start", "option": {"format": form}}, *FLOW["actions"][1:]]}
    with Server(tmp_path / "server", {"1000": flow}) as server:
        assert SippCallers(tmp_path / "sipp", server.sip, [voice], seconds=4, ends="caller", transport="tcp").run().successful == 1
        (recording,) = server.api.wait_for_recordings(1)
        answer = server.api.get(f"/v1.0/recordings/{recording['id']}/file").ok()
    assert answer.headers["content-type"] == {"mp3": "audio/mpeg", "ogg": "audio/ogg"}[form]
    # An encoder that throws away what ears do not miss leaves a little beside each tone.
    lossy = replace(LIVE, residue_db=-12, phase_cycles=0.2, guard_s=0.06, edge_s=0.02)
    assert_heard(answer.body, voice, replace(lossy, duration_s=0.1), seconds=recording["tapeline"]["duration"], name=form)
    assert recording["tapeline"]["duration"] == pytest.approx(4.0, abs=0.6)  # the flow may begin it late
