"""What the drivers write before anything is started: scenarios that jump to the right step, configurations that the server reads."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tapeline.core.settings import load
from tapeline.testing import Plan, spoken
from tapeline.testing.process import Child, ChildFailed, free_port_range, until
from tapeline.testing.server import Server
from tapeline.testing.sipp import SippCallers, caller_number

PLANS = [Plan.of(spoken(number, 1)) for number in range(5)]
TARGET = ("127.0.0.1", 5060)


@pytest.mark.parametrize("raw_sockets", [True, False])
def test_each_call_jumps_to_the_step_that_plays_its_own_file(tmp_path: Path, raw_sockets: bool) -> None:
    SippCallers(tmp_path, TARGET, PLANS, raw_sockets=raw_sockets)
    scenario = ElementTree.parse(tmp_path / "callers.xml").getroot()
    steps = [element for element in scenario if element.tag != "label"]
    rows = (tmp_path / "callers.csv").read_text().splitlines()
    assert rows[0] == "SEQUENTIAL"
    (choice,) = (step for step in steps if step.find("action/jump") is not None)
    factor, offset = (float(found.get("value", "")) for name in ("multiply", "add") for found in choice.iter(name))
    for number, row in enumerate(rows[1:]):
        target = int(float(row.split(";")[0]) * factor + offset)
        command = steps[target].find("action/exec")
        assert command is not None
        path = Path((command.get("play_pcap_audio") or command.get("rtp_stream") or "").split(",")[0])
        assert path.name in (f"{number}.pcap", f"{number}.ulaw")
        assert path.exists()
        # SIPp leaves the step before the target by that step's own way out, so it must have none.
        assert steps[target - 1].get("next") is None
        assert steps[target].get("next") == "chosen"


def test_a_caller_is_known_by_its_address() -> None:
    assert caller_number("sip:caller17@127.0.0.1:5061") == 17
    with pytest.raises(ValueError, match="none of SIPp's"):
        caller_number("sip:alice@127.0.0.1")


def test_the_server_is_given_a_configuration_that_it_reads(tmp_path: Path) -> None:
    document = {"actions": [{"type": "answer"}]}
    server = Server(tmp_path, {"1000": document, "/^2.*$/": document}, {"server": {"drain_seconds": 3}, "recording": {"max_seconds": 60}})
    settings = load(tmp_path / "tapeline.toml")
    assert settings.server.drain_seconds == 3
    assert settings.recording.max_seconds == 60
    assert settings.delivery.allow_private_addresses
    assert [number.match for number in settings.numbers] == ["1000", "/^2.*$/"]
    assert json.loads(Path(settings.numbers[0].flow).read_text()) == document
    low, high = settings.server.port_range
    assert high - low == 1999
    assert re.fullmatch(r"sip:1000@127\.0\.0\.1:\d+", server.uri())


def test_a_child_that_fails_says_why(tmp_path: Path) -> None:
    with Child("failing", [sys.executable, "-c", "print('the reason'); raise SystemExit(3)"], tmp_path) as child:
        assert child.wait(10) == 3
        with pytest.raises(ChildFailed, match="(?s)status 3.*the reason"):
            child.check()


def test_a_child_is_ended_for_certain(tmp_path: Path) -> None:
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); signal.pause()"
    with Child("deaf", [sys.executable, "-c", deaf], tmp_path) as child:
        with pytest.raises(ChildFailed, match="still runs"):
            child.wait(0.05)
        child.kill()
        assert not child.running


def test_what_a_child_started_is_known_and_ends_with_it(tmp_path: Path) -> None:
    start = "subprocess.Popen(['sleep', '60'], start_new_session=True)"
    parent = f"import signal, subprocess; {start}; print('two', flush=True); signal.pause()"
    with Child("parent", [sys.executable, "-c", parent], tmp_path) as child:
        until(lambda: "two" in child.output(), "two processes")
        family = child.family()
        assert len(family) == 2
        assert child.pid in {member.pid for member in family}
        child.kill()
        until(lambda: not any(member.running for member in family), "both to end")
        assert child.state() == "ended by SIGKILL"


def test_ports_in_a_row_are_free_and_begin_even() -> None:
    low, high = free_port_range(50)
    assert low % 2 == 0
    assert high - low == 49
    assert 10_240 <= low < high < 32_768
