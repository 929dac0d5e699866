"""Real telephones call, and what they say is what the recordings hold."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from spoken_calls import judge_recordings, recording_flow, voices

from tapeline.rtp import COMPILED
from tapeline.testing import LIVE, Heard, Plan, RtpVoice, Tolerance, anything, assert_heard, decode, quiet, spoken
from tapeline.testing.baresip import Baresip, baresip_missing
from tapeline.testing.receiver import Receiver
from tapeline.testing.server import Server
from tapeline.testing.sipp import SippCallers, sipp_missing

pytestmark = pytest.mark.peer

CALLS, RATE = 200 if COMPILED else 60, 20.0  # the interpreted engine carries about 120 on an idle machine
RECORDED_S = 4.0


def flow(*actions: dict[str, object]) -> dict[str, object]:
    return {"actions": list(actions)}


@pytest.mark.crowd
@pytest.mark.skipif(bool(sipp_missing()), reason=sipp_missing())
def test_two_hundred_calls_are_recorded_as_they_were_spoken(tmp_path: Path) -> None:
    plans = voices(CALLS, 5)
    with Server(tmp_path / "server", {"1000": recording_flow(RECORDED_S)}) as server:
        callers = SippCallers(tmp_path / "sipp", server.sip, plans, rate=RATE, seconds=RECORDED_S + 10, ends="callee")
        result = callers.run()
        assert (result.successful, result.failed) == (CALLS, 0), result.errors
        judge_recordings(server, plans, RECORDED_S)
        assert server.stop() == 0


@pytest.mark.skipif(bool(sipp_missing()), reason=sipp_missing())
@pytest.mark.skipif(os.geteuid() != 0, reason="a sender's faults need raw sockets, hence root")
def test_a_sender_that_falls_silent_and_changes_its_source_keeps_its_time(tmp_path: Path) -> None:
    said = Plan.of(spoken(601, 6))
    # Nothing is sent from 1 to 3 s, as silence suppression does; at 4.5 s another source takes over, as after a transfer.
    voice = RtpVoice(payload_type=8, silent=((1.0, 3.0),), new_ssrc_at=(4.5,))
    before, between, after = (said.between(*span).channels[0] for span in ((0, 1), (3, 4.5), (4.5, 6)))
    with Server(tmp_path / "server", {"1000": recording_flow(5.5)}) as server:
        callers = SippCallers(tmp_path / "sipp", server.sip, [said], seconds=15, ends="callee", voice=voice)
        assert callers.run().successful == 1
        (recording,) = server.api.wait_for_recordings(1)
        file = server.api.file(recording["id"])
    # Where the new source begins is known to a packet only: it names no time that the old one knew.
    unsure = anything(0.1)
    plan = Plan.of([*before, quiet(2.0), *between, unsure, *Plan((after,)).between(0.1, 1.0).channels[0]])
    assert_heard(file, plan, LIVE, seconds=5.5)


@pytest.mark.skipif(bool(baresip_missing()), reason=baresip_missing())
def test_a_telephone_hears_the_prompt_presses_digits_and_is_recorded(tmp_path: Path) -> None:
    prompt = Plan.of(spoken(501, 2))
    voice = Plan.of(spoken(502, 8))
    with Receiver() as receiver:
        address = receiver.serve("/prompt.wav", prompt.write_wav(tmp_path / "prompt.wav").read_bytes(), "audio/wav")
        document = flow(
            {"type": "answer"},
            {"type": "recording_start", "option": {"split": True}},
            {"type": "play", "option": {"stream_urls": [address]}},
            {"type": "digits_receive", "option": {"length": 3, "duration": 8000}},
            {
                "type": "webhook_send",
                "option": {"uri": receiver.url + "/digits", "method": "POST", "data": '{"pressed": "${voipbin.call.digits}"}'},
            },
            {"type": "sleep", "option": {"duration": 1000}},
            {"type": "hangup"},
        )
        with Server(tmp_path / "server", {"1000": document}) as server:
            with Baresip(tmp_path / "phone", voice) as phone:
                phone.dial(server.uri())
                phone.listen_for(2.5)
                phone.press("4#7")
                phone.wait_for("CALL_CLOSED", timeout_s=10)
                heard = phone.heard()
            (recording,) = server.api.wait_for_recordings(1)
            recorded = decode(server.api.file(recording["id"]))
        (told,) = receiver.received("/digits")
    assert json.loads(told.body) == {"pressed": "4#7"}
    # A call's audio is paced by two clocks and played at once: baresip's file may begin a little before or after the prompt.
    lenient = Tolerance(start_s=0.5, duration_s=60, edge_s=0.045, holes_s=0.1)
    assert_heard(heard, prompt, lenient, name="what the telephone heard")
    assert recorded.channels == 2
    said, played = (Heard(recorded.samples[:, [number]], recorded.rate) for number in (0, 1))
    assert_heard(said, voice, replace(LIVE, start_s=0.5, duration_s=60), name="the caller's channel")
    assert_heard(played, prompt, replace(LIVE, start_s=0.8, duration_s=60), name="the other channel")
    assert recorded.seconds > 4.0


@pytest.mark.skipif(bool(baresip_missing()), reason=baresip_missing())
def test_a_telephone_hears_speech(tmp_path: Path) -> None:
    document = flow(
        {"type": "answer"},
        {"type": "talk", "option": {"text": "This call is recorded.", "language": "en-US"}},
        {"type": "sleep", "option": {"duration": 500}},
        {"type": "hangup"},
    )
    with Server(tmp_path / "server", {"1000": document}) as server, Baresip(tmp_path / "phone") as phone:
        phone.dial(server.uri())
        phone.wait_for("CALL_CLOSED", timeout_s=20)
        heard = phone.heard()
    loud = np.abs(heard.samples[:, 0]) > 0.02
    spoken_s = np.flatnonzero(loud)[-1] / heard.rate - np.flatnonzero(loud)[0] / heard.rate
    assert 0.8 < spoken_s < 4.0
    # Then half a second of nothing, as planned: the voice has an end.
    assert heard.seconds - np.flatnonzero(loud)[-1] / heard.rate > 0.3
