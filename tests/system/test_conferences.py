"""Callers in one conference, recorded over REST: all voices in one file, each hears the others and not itself."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tapeline.core.ids import ZERO_ID
from tapeline.testing import Plan, decode, tone
from tapeline.testing.process import until
from tapeline.testing.server import Server
from tapeline.testing.sipp import SippCallers, sipp_missing

pytestmark = [pytest.mark.peer, pytest.mark.skipif(bool(sipp_missing()), reason=sipp_missing())]

ROOM = "0d3c2a55-61c5-4d0e-9f0f-1b7e5a3f0c11"
TONES = (417.0, 617.0, 917.0)
FLOW = {"actions": [{"type": "answer"}, {"type": "conference_join", "option": {"conference_id": ROOM}}, {"type": "hangup"}]}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server"), {"1000": FLOW}, {"server": {"rtp_threads": 1}}) as running:
        running.api.post("/v1.0/conferences", {"type": "conference", "id": ROOM, "name": "daily"}).ok()
        yield running


def levels(samples: np.ndarray[Any, Any], rate: int, frequencies: Sequence[float]) -> list[float]:
    """The level of each tone in dB of full scale, over all of `samples`."""
    moments = np.arange(len(samples)) / rate
    window = np.hanning(len(samples))
    window /= window.sum()
    return [20 * np.log10(max(2 * abs(np.sum(samples * window * np.exp(-2j * np.pi * hz * moments))), 1e-9)) for hz in frequencies]


def room(server: Server) -> Any:
    return server.api.get(f"/v1.0/conferences/{ROOM}").ok().json()


def curl(server: Server, path: str, *more: str) -> None:
    subprocess.run(["curl", "-sf", "-X", "POST", f"{server.base_url}/v1.0/{path}?token={server.token}", *more], check=True, timeout=10)


def test_three_callers_are_recorded_into_one_file(server: Server, tmp_path: Path) -> None:
    plans = [Plan.of([tone(hz, 7, level_db=-18.0)]) for hz in TONES]
    callers = SippCallers(tmp_path / "sipp", server.sip, plans, seconds=6, ends="caller")
    with callers.child:
        until(lambda: len(room(server).get("conferencecall_ids", [])) == 3, "three members")
        time.sleep(0.5)
        curl(server, f"conferences/{ROOM}/recording_start", "--header", "Content-Type: application/json", "--data", '{ "format": "wav" }')
        time.sleep(2)
        conference = room(server)
        curl(server, f"conferences/{ROOM}/recording_stop")
        assert callers.finish().failed == 0
    (recording,) = server.api.wait_for_recordings(1)
    assert conference["recording_id"] == recording["id"] != ZERO_ID
    assert (recording["reference_type"], recording["reference_id"]) == ("confbridge", ROOM)
    file = decode(server.api.file(recording["id"]))
    assert (file.rate, file.channels) == (8000, 1) and 1.8 < file.seconds < 2.6
    assert levels(file.samples[:, 0], file.rate, [*TONES, 1117.0])[:3] == pytest.approx([-18.0] * 3, abs=0.5)
    assert levels(file.samples[:, 0], file.rate, [1117.0])[0] < -55
