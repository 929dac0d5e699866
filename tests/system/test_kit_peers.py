"""The drivers of SIPp and baresip carry what they are told to: peers against each other, without tapeline between them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tapeline.testing import Plan, RtpVoice, Tolerance, assert_heard, listen, spoken
from tapeline.testing.baresip import Baresip, baresip_missing
from tapeline.testing.process import ChildFailed
from tapeline.testing.sipp import SippCallers, sipp_missing

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(bool(sipp_missing() or baresip_missing()), reason=sipp_missing() or baresip_missing()),
]
RAW_SOCKETS = [pytest.param(True, marks=pytest.mark.skipif(os.geteuid() != 0, reason="raw sockets need root")), False]
# baresip writes what it hears frame by frame, not by timestamp: a frame that it drops on a busy machine shortens its file.
AS_HEARD = Tolerance(start_s=0.3, duration_s=0.4, edge_s=0.045, holes_s=0.1)


def test_two_telephones_hear_each_other_and_each_other_s_keys(tmp_path: Path) -> None:
    here, there = Plan.of(spoken(1, 3)), Plan.of(spoken(2, 3))
    with Baresip(tmp_path / "a", here, name="a") as caller, Baresip(tmp_path / "b", there, name="b", answer="auto") as callee:
        caller.dial(callee.uri)
        caller.listen_for(0.5)
        caller.press("15#")
        caller.listen_for(1.9)
        caller.hang_up()
        callee.listen_for(0.3)
        pressed = [event["param"] for event in callee.events if event["type"] == "CALL_DTMF_START"]
    assert pressed == ["1", "5", "#"]
    seconds = caller.heard().seconds
    assert seconds > 2.9
    assert_heard(caller.heard(), there.between(0, seconds), AS_HEARD)
    assert_heard(callee.heard(), here.between(0, callee.heard().seconds), AS_HEARD)
    assert not listen(callee.heard(), there.between(0, seconds), AS_HEARD).ok


@pytest.mark.parametrize("raw_sockets", RAW_SOCKETS)
def test_each_call_of_sipp_says_what_its_own_plan_holds(tmp_path: Path, raw_sockets: bool) -> None:
    plans = [Plan.of(spoken(number, 2)) for number in range(2)]
    with Baresip(tmp_path / "b", name="b", answer="auto") as callee:
        callers = SippCallers(
            tmp_path / "sipp",
            ("127.0.0.1", callee.port),
            plans,
            number="b",
            rate=0.4,  # one after the other, so that baresip writes one file each
            seconds=2.1,
            ends="caller",
            raw_sockets=raw_sockets,
        )
        result = callers.run()
    assert (result.successful, result.failed) == (2, 0), result.errors
    files = sorted((tmp_path / "b" / "heard").glob("*-dec.wav"))
    assert len(files) == 2
    for plan, file in zip(plans, files, strict=True):
        assert_heard(file, plan, AS_HEARD)
    assert not listen(files[0], plans[1], AS_HEARD).ok


def test_calls_that_are_refused_are_counted(tmp_path: Path) -> None:
    with Baresip(tmp_path / "b", name="b", answer="auto") as callee:
        target = ("127.0.0.1", callee.port)
        plans = [Plan.of(spoken(number, 1)) for number in range(2)]
        result = SippCallers(tmp_path / "sipp", target, plans, number="nobody", seconds=1, ends="caller").run()
    assert (result.successful, result.failed) == (0, 2)
    assert "404" in result.errors


def test_a_call_to_nobody_is_a_failure(tmp_path: Path) -> None:
    with Baresip(tmp_path / "b", name="b") as callee, Baresip(tmp_path / "a", name="a") as caller:
        target = callee.uri.replace("sip:b@", "sip:nobody@")
        with pytest.raises(ChildFailed, match="was not answered: 404"):
            caller.dial(target)


def test_a_sender_s_faults_need_raw_sockets(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="need root"):
        SippCallers(tmp_path, ("127.0.0.1", 9), [Plan.of(spoken(1, 1))], voice=RtpVoice(drift_ppm=100), raw_sockets=False)
