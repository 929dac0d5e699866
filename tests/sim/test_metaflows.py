"""Keys during a call that start, stop, toggle and mask its recording, and what else they may do; the files are listened to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from talking_calls import Exchange

from tapeline import flow
from tapeline.calls.recorder import Recorder
from tapeline.calls.session import Call
from tapeline.core.recordspec import RecordSpec
from tapeline.testing.waveforms import sine

RECORDING = {"1": "start", "2": "stop", "3": "toggle", "4": "mask", "5": "unmask"}
SPLIT = RecordSpec(channels=2, exclusive=False)


def document(listen_on: str = "self", **more: Any) -> dict[str, Any]:
    """All that can be done to a recording, on *1 to *5. Keys that come together count at once."""
    numbers = {key: {"module": "record_call", "data": {"action": action, "format": "wav"}} for key, action in RECORDING.items()}
    return {"digit_timeout": 0, "listen_on": listen_on, "numbers": numbers | more}


async def press(exchange: Exchange, call: Call, keys: str) -> None:
    before = {recorder.id for each in exchange.calls for recorder in each.recordings}
    for key in keys:
        call.on_digit(key, exchange.engine.now(), event=False)
    await exchange.settle()
    await exchange.wait(0.1)
    exchange.recorders += [recorder for each in exchange.calls for recorder in each.recordings if recorder.id not in before]


def states(call: Call) -> list[str]:
    return [recorder.state for recorder in call.recordings]


def level(samples: np.ndarray, rate: int, begin: float, end: float) -> float:
    return float(np.max(np.abs(samples[round(begin * rate) : round(end * rate)].astype(float))))


async def test_metaflow_record_call_start_and_stop(tmp_path: Path) -> None:
    async with Exchange(tmp_path) as exchange:
        caller, callee = exchange.talk().calls
        exchange.kit.metaflows.own(caller, [document()])
        await press(exchange, caller, "*1")
        (recorder,) = caller.recordings
        assert (recorder.state, recorder.spec.origin, recorder.spec.channels) == ("recording", "untracked : here", 2)
        await exchange.wait(1.0)
        await press(exchange, caller, "*2")
        await exchange.wait(2.0)
        assert (recorder.reason, states(callee)) == ("stopped", [])
        await press(exchange, caller, "*2")
        assert caller.status == "progressing", "to stop where nothing runs is no error"


async def test_metaflow_toggle_starts_and_then_stops(tmp_path: Path) -> None:
    async with Exchange(tmp_path) as exchange:
        caller, _ = exchange.talk().calls
        exchange.kit.metaflows.own(caller, [document()])
        await press(exchange, caller, "*3")
        assert states(caller) == ["recording"]
        await press(exchange, caller, "*3")
        assert states(caller) == ["stopping"]
        await press(exchange, caller, "*3")
        assert states(caller)[-1] == "recording" and len(set(caller.recordings.ids)) == 2


async def test_metaflow_mask_writes_silence_and_keeps_the_time_in_one_file(tmp_path: Path) -> None:
    async with Exchange(tmp_path) as exchange:
        caller, callee = exchange.talk().calls
        exchange.kit.metaflows.own(callee, [document()])
        automatic = await exchange.record(caller, SPLIT)
        await exchange.wait(1.0)
        begin = exchange.engine.now()
        await press(exchange, callee, "*1")
        (own,) = callee.recordings
        await exchange.wait(0.9)
        await press(exchange, callee, "*4")
        masked = exchange.engine.now()
        assert automatic.view().paused == own.view().paused == "silence", "what is to be hidden is heard on both"
        await exchange.wait(1.9)
        await press(exchange, callee, "*5")
        await exchange.wait(0.9)
        await press(exchange, callee, "*2")
        assert (own.state, automatic.state) == ("stopping", "recording"), "after a mask it is still the one that is stopped"
        await exchange.wait(2.0)
        samples, rate = exchange.file(own)
    hidden = masked - begin
    assert len(samples) / rate == pytest.approx(4.1, abs=0.15)
    assert level(samples, rate, 0.2, hidden - 0.3) > 1000 and level(samples, rate, hidden + 2.3, hidden + 2.7) > 1000
    assert level(samples, rate, hidden + 0.1, hidden + 1.7) == 0


@pytest.mark.parametrize(("listen_on", "who"), [("self", {0}), ("peer", {1}), ("both", {0, 1})])
async def test_whose_keys_count(tmp_path: Path, listen_on: str, who: set[int]) -> None:
    async with Exchange(tmp_path) as exchange:
        calls = exchange.talk().calls
        exchange.kit.metaflows.own(calls[0], [document(listen_on)])
        for number, call in enumerate(calls):
            await press(exchange, call, "*1")
            assert bool(states(call)) == (number in who), "it is recorded where the keys were pressed"


async def test_the_more_particular_document_wins(tmp_path: Path) -> None:
    async with Exchange(tmp_path) as exchange:
        caller, _ = exchange.talk().calls
        exchange.kit.metaflows.own(caller, [{"digit_timeout": 0, "numbers": {"1": {"module": "hold"}}}, document()])
        await press(exchange, caller, "*1")
        assert caller.controls.on_hold and states(caller) == []
        await press(exchange, caller, "*3")
        assert states(caller) == ["recording"], "what it does not name is looked up in the next"


async def test_other_actions_and_what_comes_after_them(tmp_path: Path) -> None:
    async with Exchange(tmp_path) as exchange:
        caller, callee = exchange.talk().calls
        chained = {"module": "nonsense", "children": {"_": {"module": "hold_control", "data": {"action": "hold"}}}}
        more = {"7": chained, "8": {"module": "resume"}, "9": {"module": "hangup"}}
        pattern = {"^6(.+)$": {"module": "transfer"}}
        exchange.kit.metaflows.own(caller, [document(**more) | {"patterns": pattern}])
        await press(exchange, caller, "*7")
        assert caller.controls.on_hold, "an action that is not known is passed over"
        await press(exchange, caller, "*8")
        assert not caller.controls.on_hold
        await press(exchange, caller, "*62002")
        wish, _ = exchange.dialled[0]
        assert wish.parties[0].target == "2002" and wish.caller is callee, "who pressed is replaced"
        await exchange.outcome(False)
        await press(exchange, caller, "*9")
        assert caller.status in ("terminating", "hangup")


async def test_keys_of_a_call_that_has_ended_mean_nothing(tmp_path: Path) -> None:
    async with Exchange(tmp_path) as exchange:
        caller, _ = exchange.talk().calls
        exchange.kit.metaflows.own(caller, [document()])
        exchange.bye(caller)
        await press(exchange, caller, "*1")
        assert states(caller) == []
        exchange.kit.metaflows.own(caller, [document()])
        assert not exchange.kit.metaflows._owned


async def test_a_broken_document_is_left_out_and_the_others_hold(tmp_path: Path) -> None:
    async with Exchange(tmp_path) as exchange:
        caller, _ = exchange.talk().calls
        exchange.kit.metaflows.own(caller, [{"binding_digit": "zz"}, document()])
        await press(exchange, caller, "*1")
        assert states(caller) == ["recording"]


@pytest.mark.parametrize("data", [{"action": "burn"}, {"action": "start", "url": "gopher://x/y"}, {"action": "start", "format": {}}])
async def test_an_action_over_an_api_that_makes_no_sense_changes_nothing(tmp_path: Path, data: dict[str, Any]) -> None:
    async with Exchange(tmp_path) as exchange:
        caller, _ = exchange.talk().calls
        action = flow.action({"module": "record_call", "data": data}, flow.Problems())
        await exchange.kit.metaflows.actions.run(caller, action)
        assert states(caller) == [] and caller.status == "progressing"


async def test_the_same_actions_over_an_api(tmp_path: Path) -> None:
    async with Exchange(tmp_path) as exchange:
        caller, _ = exchange.talk().calls
        made: list[Recorder] = []
        steps = (("start", "", "recording"), ("mask", "silence", "recording"), ("unmask", "", "recording"), ("stop", "", "stopping"))
        for name, paused, state in steps:
            action = flow.action({"module": "record_call", "data": {"action": name}}, flow.Problems())
            await exchange.kit.metaflows.actions.run(caller, action)
            made = list(caller.recordings)
            exchange.recorders = made
            await exchange.wait(0.2)
            assert (made[0].view().paused, made[0].state) == (paused, state)


async def test_a_document_is_compiled_once_for_all_its_calls(tmp_path: Path) -> None:
    async with Exchange(tmp_path) as exchange:
        one, other = document(), document()
        for _ in range(3):
            caller, _ = exchange.talk().calls
            exchange.kit.metaflows.own(caller, [one, other])
        kept = exchange.kit.metaflows._compiled
        assert len(kept) == 2 and kept[id(one)][0] is one


async def test_break_ends_what_is_being_played_and_leaves_the_music(tmp_path: Path) -> None:
    async with Exchange(tmp_path) as exchange:
        caller, callee = exchange.talk().calls
        exchange.kit.metaflows.own(caller, [{"digit_timeout": 0, "numbers": {"1": {"module": "break"}}}])
        caller.play(sine(800.0, 5.0, caller.leg.rate), lambda stopped: None)
        caller.play(sine(900.0, 5.0, caller.leg.rate), lambda stopped: None, loop=True)
        await exchange.wait(0.5)
        assert caller.media.playing == 2
        await press(exchange, caller, "*1")
        await exchange.wait(0.5)
        assert caller.media.playing == 1 and caller.place is callee.place is not None


async def test_intercept_lets_somebody_take_the_place_of_whom_one_talks_with(tmp_path: Path) -> None:
    async with Exchange(tmp_path) as exchange:
        caller, callee = exchange.talk().calls
        wanted = {"module": "intercept", "data": {"target_type": "user", "target_id": "carol"}}
        exchange.kit.metaflows.own(caller, [{"digit_timeout": 0, "numbers": {"1": wanted}}])
        await press(exchange, caller, "*1")
        (wish, _), = exchange.dialled
        assert [(party.kind, party.target) for party in wish.parties] == [("user", "carol")] and wish.caller is caller
        await exchange.outcome(True)
        await exchange.wait(0.5)
        assert callee.status == "hangup" and caller.place is exchange.calls[-1].place is not None
