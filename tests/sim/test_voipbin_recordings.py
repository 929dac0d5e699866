"""What a VoIPBIN flow's recording options do to the sound of a call, and how its flow hangs up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conference_hall import level
from talking_calls import ACCOUNT, Exchange

from tapeline.testing.waveforms import ulaw_decode

BEEP_HZ = 1000.0
REST = {"type": "sleep", "option": {"duration": 60_000}}


@pytest.mark.parametrize("wanted", [True, False])
async def test_39_beep_start_is_heard_by_the_caller(tmp_path: Path, wanted: bool) -> None:
    async with Exchange(tmp_path) as exchange:
        caller = exchange.caller()
        await exchange.follow(caller, [{"type": "recording_start", "option": {"beep_start": wanted}}, REST])
        await exchange.wait(1.0)
        exchange.recorders += exchange.kit.recorders.values()
        assert [recorder.state for recorder in exchange.recorders] == ["recording"]
        sent = b"".join(packet.data[12:] for packet in exchange.engine.sent if packet.leg == caller.leg.id and not packet.rtcp)
    heard = ulaw_decode(sent).astype(np.float64)[:4000] / 32768
    assert (level(heard, 8000, BEEP_HZ) > -40.0) == wanted


async def test_38_a_second_recording_is_refused_and_the_flow_goes_on(tmp_path: Path) -> None:
    async with Exchange(tmp_path) as exchange:
        caller = exchange.caller()
        twice = [{"type": "recording_start"}, {"type": "recording_start"}]
        script = await exchange.follow(caller, [*twice, REST])
        await exchange.wait(0.5)
        exchange.recorders += exchange.kit.recorders.values()
        assert len(caller.view().recording_ids) == 1 and script.action["type"] == "sleep"


@pytest.mark.parametrize(("owner", "reason"), [(ACCOUNT, "busy"), ("another account", "normal")])
async def test_a_hangup_copies_the_reason_of_a_call_of_its_own_account(tmp_path: Path, owner: str, reason: str) -> None:
    async with Exchange(tmp_path) as exchange:
        exchange.kit.reason_of = lambda call_id, account: "busy" if (call_id, account) == ("that one", owner) else ""
        caller = exchange.caller()
        await exchange.follow(caller, [{"type": "hangup", "option": {"reference_id": "that one"}}])
        await exchange.settle()
        assert caller.view().hangup_reason == reason
