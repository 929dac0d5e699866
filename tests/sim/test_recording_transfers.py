"""Recordings of calls that hold, join, leave and are transferred, in virtual time: one timeline, one file as long as the time recorded."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from talking_calls import MUSIC_HZ, Exchange, Refer

from tapeline.calls.bridge import Bridge
from tapeline.calls.recorder import Recorder
from tapeline.calls.session import Call
from tapeline.core.errors import InvalidState
from tapeline.core.recordspec import RecordSpec, SilenceRule
from tapeline.recording.table import order

SPLIT = RecordSpec(channels=2)


def loud(samples: np.ndarray, rate: int, channel: int, hertz: float, begin: float, end: float) -> float:
    """The amplitude of a tone in [begin, end) of a channel, of 1."""
    part = samples[round(begin * rate) : round(end * rate), channel].astype(float) / 32768
    wave = np.exp(-2j * np.pi * hertz * np.arange(len(part)) / rate)
    return float(2 * abs(np.mean(part * wave)))


def names(recorder: Recorder) -> list[str]:
    return [item["event"] for item in recorder.view().timeline if item["event"] != "media"]


async def test_a_hold_of_thirty_seconds_keeps_time_and_its_music_is_on_the_right_only(tmp_path: Path) -> None:
    async with Exchange(tmp_path) as exchange:
        caller, callee = exchange.talk().calls
        one = await exchange.record(caller, SPLIT)
        other = await exchange.record(callee, SPLIT)
        await exchange.wait(2.0)
        await exchange.hold(callee, True)
        await exchange.wait(30.0)
        await exchange.hold(callee, False)
        await exchange.wait(2.0)
        mine, theirs = exchange.hertz[caller.facts.id], exchange.hertz[callee.facts.id]
        for recorder in (one, other):
            recorder.stop("stopped")
        await exchange.wait(2.0)
        samples, rate = exchange.file(one)
        held, _ = exchange.file(other)
    assert len(samples) == len(held) == 34 * rate
    for begin, end, talking in ((0.5, 1.9, True), (2.5, 31.9, False), (32.5, 33.9, True)):
        assert loud(samples, rate, 0, mine, begin, end) > 0.1, "the recorded party is heard all the time"
        assert (loud(samples, rate, 1, theirs, begin, end) > 0.1) == talking
        assert (loud(samples, rate, 1, MUSIC_HZ, begin, end) > 0.02) == (not talking)
        assert loud(samples, rate, 0, MUSIC_HZ, begin, end) < 0.001
        # Of the party that holds: it says nothing meanwhile, hears nothing, and no music either.
        assert (loud(held, rate, 0, theirs, begin, end) > 0.1) == (loud(held, rate, 1, mine, begin, end) > 0.1) == talking
        assert max(loud(held, rate, channel, MUSIC_HZ, begin, end) for channel in (0, 1)) < 0.001
    assert names(one) == names(other) == ["joined", "started", "held", "unheld", "stopped"]


async def test_a_hold_over_the_api_lets_both_hear_music_each_on_the_right(tmp_path: Path) -> None:
    async with Exchange(tmp_path) as exchange:
        caller, callee = exchange.talk().calls
        one, other = await exchange.record(caller, SPLIT), await exchange.record(callee, SPLIT)
        await exchange.wait(1.0)
        callee.controls.hold(True)
        await exchange.settle()
        await exchange.wait(3.0)
        callee.controls.hold(False)
        await exchange.settle()
        await exchange.wait(1.0)
        mine, theirs = exchange.hertz[caller.facts.id], exchange.hertz[callee.facts.id]
        for recorder in (one, other):
            recorder.stop("stopped")
        await exchange.wait(2.0)
        (samples, rate), (held, _) = exchange.file(one), exchange.file(other)
    assert len(samples) == len(held) == 5 * rate
    for begin, end, talking in ((0.3, 0.9, True), (1.3, 3.9, False), (4.3, 4.9, True)):
        for file, far in ((samples, theirs), (held, mine)):
            assert (loud(file, rate, 1, far, begin, end) > 0.1) == talking
            assert (loud(file, rate, 1, MUSIC_HZ, begin, end) > 0.02) == (not talking)
            assert loud(file, rate, 0, MUSIC_HZ, begin, end) < 0.001
        assert loud(samples, rate, 0, mine, begin, end) > 0.1, "the recorded party is heard all the time"
    assert names(one) == names(other) == ["joined", "started", "held", "unheld", "stopped"]
    assert all(recorder.view().timeline[-2]["by"] == "server" for recorder in (one, other))


async def test_a_hold_of_either_kind_is_one_hold_and_its_music_goes_with_who_was_held(tmp_path: Path) -> None:
    async with Exchange(tmp_path) as exchange:
        caller, callee = exchange.talk().calls
        recorder = await exchange.record(callee, RecordSpec(channels=2, follow_transfer=True))
        await exchange.hold(caller, True)
        await exchange.wait(1.0)
        caller.controls.hold(True)
        await exchange.wait(1.0)
        caller.controls.hold(False)
        await exchange.wait(1.0)
        assert names(recorder) == ["joined", "started", "held"], "its party still holds"
        await exchange.hold(caller, False)
        caller.controls.hold(True)
        await exchange.wait(1.0)
        exchange.transfers.referred(caller, Refer("sip:new@192.0.2.77"))  # type: ignore[arg-type]
        await exchange.settle()
        await exchange.outcome(True)
        assert caller.status == "hangup" and callee.status == "progressing"
        await exchange.wait(2.0)
        hertz = exchange.hertz[exchange.calls[-1].facts.id]
        recorder.stop("stopped")
        await exchange.wait(2.0)
        samples, rate = exchange.file(recorder)
    assert loud(samples, rate, 1, MUSIC_HZ, 0.3, 3.9) > 0.02
    assert loud(samples, rate, 1, MUSIC_HZ, 4.3, 5.9) < 0.001 and loud(samples, rate, 1, hertz, 4.3, 5.9) > 0.1
    told = ["joined", "started", "held", "unheld", "held", "transfer", "unheld", "left", "joined", "stopped"]
    assert names(recorder) == told


@pytest.mark.parametrize("follow", [True, False])
async def test_who_takes_the_place_is_heard_in_it(tmp_path: Path, follow: bool) -> None:
    async with Exchange(tmp_path) as exchange:
        caller, callee = exchange.talk().calls
        recorder = await exchange.record(caller, RecordSpec(channels=2, follow_transfer=follow))
        staying = await exchange.record(callee, SPLIT)
        await exchange.wait(2.0)
        refer = Refer("sip:new@192.0.2.77")
        exchange.transfers.referred(caller, refer)  # type: ignore[arg-type]
        await exchange.wait(1.0)
        await exchange.outcome(True)
        new = exchange.calls[-1]
        await exchange.wait(2.0)
        assert refer.told == [202, 200] and caller.status == "hangup" and (callee.status, new.status) == ("progressing", "progressing")
        assert (new.recordings.active is recorder) == follow and recorder.id in caller.recordings.ids
        exchange.bye(callee)
        assert new.status == "hangup", "whom no flow leads ends with the other"
        await exchange.wait(2.0)
        samples, rate = exchange.file(recorder)
        other, _ = exchange.file(staying)
    first, second, third = (exchange.hertz[call.facts.id] for call in (caller, callee, new))
    assert len(samples) == (5 if follow else 3) * rate and len(other) == 5 * rate
    for channel, hertz in ((0, first), (1, second)):
        assert loud(samples, rate, channel, hertz, 0.5, 2.9) > 0.1
    assert loud(other, rate, 0, second, 0.5, 4.9) > 0.1 and loud(other, rate, 1, first, 0.5, 2.9) > 0.1
    assert loud(other, rate, 1, third, 3.2, 4.9) > 0.1 and loud(other, rate, 1, first, 3.2, 4.9) < 0.01
    if follow:
        assert loud(samples, rate, 0, third, 3.2, 4.9) > 0.1 and loud(samples, rate, 1, second, 0.5, 4.9) > 0.1
        assert names(recorder) == ["joined", "started", "transfer", "left", "joined", "left", "stopped"]
    else:
        assert recorder.reason == "transfer"
    assert names(staying) == ["joined", "started", "transfer", "left", "joined", "stopped"]


async def test_a_transfer_to_a_number_of_ours_is_to_its_flow(tmp_path: Path) -> None:
    async with Exchange(tmp_path) as exchange:
        caller, callee = exchange.talk().calls
        recorder = await exchange.record(caller, SPLIT)
        staying = await exchange.record(callee, SPLIT)
        await exchange.wait(1.0)
        refer = Refer("sip:flow@192.0.2.9")
        exchange.transfers.referred(caller, refer)  # type: ignore[arg-type]
        await exchange.settle()
        assert refer.told == [202, 200] and exchange.led == [callee]
        assert (caller.status, callee.status, callee.place) == ("hangup", "progressing", None)
        callee.play(exchange.kit.prompts.ringback(8000), lambda stopped: None, loop=True)  # what the flow says
        await exchange.wait(2.0)
        exchange.bye(callee)
    mine, theirs = exchange.hertz[caller.facts.id], exchange.hertz[callee.facts.id]
    samples, other = exchange.file(recorder)[0], exchange.file(staying)[0]
    assert len(samples) == len(other) == 3 * 8000
    assert loud(samples, 8000, 0, mine, 0.3, 0.9) > 0.1 and loud(samples, 8000, 0, 425.0, 1.3, 2.9) > 0.05
    assert loud(samples, 8000, 1, theirs, 0.3, 2.9) > 0.1
    assert loud(other, 8000, 0, theirs, 0.3, 2.9) > 0.1 and loud(other, 8000, 1, 425.0, 1.3, 2.9) > 0.05
    assert names(recorder) == names(staying) == ["joined", "started", "transfer", "left", "stopped"]


async def test_only_a_party_of_a_bridge_may_transfer_and_one_at_a_time(tmp_path: Path) -> None:
    async with Exchange(tmp_path) as exchange:
        alone = exchange.caller()
        refused = Refer("sip:new@192.0.2.77")
        exchange.transfers.referred(alone, refused)  # type: ignore[arg-type]
        bridge = exchange.talk()
        caller, callee = bridge.calls
        first, second = Refer("sip:new@192.0.2.77"), Refer("sip:other@192.0.2.77")
        exchange.transfers.referred(caller, first)  # type: ignore[arg-type]
        await exchange.settle()
        exchange.transfers.referred(callee, second)  # type: ignore[arg-type]
        with pytest.raises(InvalidState):
            exchange.transfers.start(caller, None)  # type: ignore[arg-type]
        await exchange.outcome(False)
        assert (refused.told, first.told, second.told) == ([603], [202, 486], [491])
        assert bridge.calls == (caller, callee) and caller.status == callee.status == "progressing"
        for _ in range(40):
            again = Refer("sip:new@192.0.2.77")
            exchange.transfers.referred(caller, again)  # type: ignore[arg-type]
            await exchange.settle()
            if exchange.dialled:
                await exchange.outcome(False)
        assert again.told == [603], "there is an end to it"


async def test_what_is_heard_is_what_was_asked_for_on_either_leg(tmp_path: Path) -> None:
    async with Exchange(tmp_path) as exchange:
        caller, callee = exchange.talk().calls
        made = {}
        for call in (caller, callee):
            for heard, channels in (("both", 1), ("both", 2), ("caller", 1), ("callee", 1)):
                spec = RecordSpec(heard=heard, channels=channels, exclusive=False)  # type: ignore[arg-type]
                made[call, heard, channels] = await exchange.record(call, spec)
        await exchange.wait(3.0)
    files = {what: exchange.file(recorder)[0] for what, recorder in made.items()}
    first, second = exchange.hertz[caller.facts.id], exchange.hertz[callee.facts.id]

    def levels(call: Call, heard: str, channels: int, channel: int = 0) -> list[float]:
        return [loud(files[call, heard, channels], 8000, channel, hertz, 0.5, 2.5) for hertz in (first, second)]

    full = pytest.approx(10 ** (-18 / 20), rel=0.05)
    none = pytest.approx(0.0, abs=0.002)
    for call in (caller, callee):
        assert levels(call, "both", 1) == [full, full], "each at its own level"
        assert levels(call, "caller", 1) == [full, none] and levels(call, "callee", 1) == [none, full]
    assert levels(caller, "both", 2) == levels(callee, "both", 2, 1) == [full, none]
    assert levels(caller, "both", 2, 1) == levels(callee, "both", 2) == [none, full]


async def test_a_call_that_is_not_with_us_is_dialled_with_its_replaces(tmp_path: Path) -> None:
    async with Exchange(tmp_path) as exchange:
        caller, callee = exchange.talk().calls
        refer = Refer("sip:far@192.0.2.77", "abc;to-tag=1;from-tag=2")
        exchange.transfers.referred(callee, refer)  # type: ignore[arg-type]
        await exchange.settle()
        wish, waiting = exchange.dialled.pop()
        assert wish.headers == (("Replaces", "abc;to-tag=1;from-tag=2"), ("Require", "replaces"))
        assert (wish.parties[0].kind, wish.parties[0].target, wish.caller) == ("sip", "sip:far@192.0.2.77", caller)
        waiting.set_exception(RuntimeError("a defect"))
        await exchange.settle()
        assert refer.told == [202, 500] and caller.status == callee.status == "progressing"
        assert exchange.transfers.totals == {"transfers_total": 1, "transfers_failed_total": 1}


async def test_a_recording_waits_for_the_bridge_or_is_cancelled(tmp_path: Path) -> None:
    async with Exchange(tmp_path) as exchange:
        ringing = exchange.ringing()
        waiting = RecordSpec(begin="answer", exclusive=False)
        with pytest.raises(InvalidState):
            ringing.start_recording(RecordSpec())
        answered = await exchange.record(ringing, waiting)
        bridged = await exchange.record(ringing, RecordSpec(begin="bridge", exclusive=False))
        never = await exchange.record(ringing, RecordSpec(begin="bridge", exclusive=False))
        assert {answered.state, bridged.state, never.state} == {"starting"} and ringing.view().recording_id == never.id
        exchange.arrive(ringing)
        await exchange.settle()
        assert (answered.state, bridged.state) == ("recording", "starting")
        assert ringing.stop_recording() is never
        await exchange.wait(1.0)
        Bridge(ringing, exchange.callee(ringing), exchange.kit)
        await exchange.settle()
        assert bridged.state == "recording"
        at_once = await exchange.record(ringing, RecordSpec(begin="bridge", exclusive=False))
        assert at_once.state == "recording"
        await exchange.wait(1.0)
        lone = exchange.caller()
        left_alone = await exchange.record(lone, RecordSpec(begin="bridge"))
        exchange.bye(lone)
    seconds = [len(exchange.file(recorder)[0]) / 8000 for recorder in (answered, bridged, at_once)]
    assert seconds == [pytest.approx(2.0, abs=0.03), pytest.approx(1.0, abs=0.03), pytest.approx(1.0, abs=0.03)]
    for recorder in (never, left_alone):
        kept = exchange.kit.spool.read(recorder.id)
        assert (kept.state, kept.reason) == ("failed", "cancelled")
    assert exchange.kit.spool.read(answered.id).state == "stopped"


async def test_silence_is_when_nobody_speaks(tmp_path: Path) -> None:
    async with Exchange(tmp_path) as exchange:
        caller, callee = exchange.talk().calls
        recorder = await exchange.record(caller, RecordSpec(silence=SilenceRule(final_s=3.0)))
        told: list[bool] = []
        recorder.voice = lambda voiced, at: told.append(voiced)  # type: ignore[method-assign]
        await exchange.wait(2.0)
        assert told == [True, True]
        await exchange.hold(caller, True)
        await exchange.wait(2.0)
        assert told[-1] is True, "the callee still speaks"
        await exchange.hold(callee, True)
        await exchange.wait(2.0)
        assert told[-1] is False


@pytest.mark.parametrize(("setting", "status"), [("users", 403), ("nobody", 403), ("anyone", 202)])
async def test_strangers_do_not_transfer_where_there_are_users(tmp_path: Path, setting: str, status: int) -> None:
    async with Exchange(tmp_path, server={"transfers": setting}, users=[{"name": "ann"}]) as exchange:
        caller, callee = exchange.talk().calls
        refer = Refer("tel:+491234")
        exchange.transfers.referred(callee, refer)  # type: ignore[arg-type]
        await exchange.settle()
        assert refer.told[0] == status
        assert exchange.transfers.may_replace(caller, "") is False
        assert exchange.transfers._allowed("ann") == (setting != "nobody")
        if exchange.dialled:
            assert exchange.dialled[0][0].parties[0].kind == "tel"
            await exchange.outcome(False)


async def test_two_at_one_moment_are_one(tmp_path: Path) -> None:
    async with Exchange(tmp_path) as exchange:
        caller, callee = exchange.talk().calls
        refers = [Refer("sip:new@192.0.2.77"), Refer("sip:new@192.0.2.77")]
        for party, refer in zip((caller, callee), refers, strict=True):
            exchange.transfers.referred(party, refer)  # type: ignore[arg-type]
        await exchange.settle()
        assert len(exchange.dialled) == 1 and refers[1].told == [202, 491]
        await exchange.outcome(True)
        assert refers[0].told == [202, 200] and callee.status == "progressing" and caller.status == "hangup"


async def test_an_invite_with_replaces_takes_the_place(tmp_path: Path) -> None:
    async with Exchange(tmp_path) as exchange:
        caller, callee = exchange.talk().calls
        recorder = await exchange.record(caller, RecordSpec(channels=2, begin="bridge"))
        await exchange.wait(1.0)
        assert exchange.transfers.may_replace(callee, "") and not exchange.transfers.may_replace(exchange.caller(), "")
        new = exchange.ringing()
        exchange.transfers.replace(callee, new)
        exchange.arrive(new)
        await exchange.wait(1.0)
        assert callee.status == "hangup" and isinstance(new.place, Bridge) and new.place.other(new) is caller
        exchange.bye(new)
        assert caller.status == "progressing", "its flow goes on"
    assert names(recorder) == ["joined", "started", "transfer", "left", "joined", "left", "stopped"]


# -- any sequence ------------------------------------------------------------------------------------------------------

DEEDS = st.sampled_from(
    [
        "talk", "start", "start_bridge", "stop", "silence", "cut", "unmask", "hold", "unhold", "put", "take",
        "blind", "early", "busy", "fled", "attended", "leave",
    ]
)  # fmt: skip
STEPS = st.tuples(DEEDS, st.integers(0, 7), st.booleans(), st.sampled_from([0.0, 0.02, 0.3, 1.0]))


@settings(max_examples=40, deadline=None)
@given(st.lists(STEPS, min_size=1, max_size=14))
def test_any_sequence_gives_a_consistent_timeline_and_a_file_of_its_length(
    tmp_path_factory: pytest.TempPathFactory, script: list[tuple[str, int, bool, float]]
) -> None:
    asyncio.run(play(tmp_path_factory.mktemp("any"), script))


async def play(folder: Path, script: list[tuple[str, int, bool, float]]) -> None:
    async with Exchange(folder) as exchange:
        exchange.talk()
        for deed, which, flag, seconds in script:
            up = [call for call in exchange.calls if call.status == "progressing"]
            if not up:
                exchange.talk()
                continue
            await do(exchange, deed, up, up[which % len(up)], flag)
            for recorder in exchange.recorders:
                assert order(recorder.state) >= 0
            await exchange.wait(seconds)
        while exchange.dialled:
            await exchange.outcome(True)
    for recorder in exchange.recorders:
        judge(exchange, recorder)
    held = [call for call in exchange.calls if call.status != "hangup" or not call.leg.closed or call.place is not None]
    assert not held and not exchange.kit.recorders and not exchange.kit.taps, "nothing is left"


async def do(exchange: Exchange, deed: str, up: list[Call], call: Call, flag: bool) -> None:
    recorder = call.recordings.active
    match deed:
        case "talk":
            exchange.talk()
        case "start" | "start_bridge":
            begin: Any = "bridge" if deed == "start_bridge" else "now"
            spec = RecordSpec(channels=2 if flag else 1, exclusive=False, follow_transfer=flag or begin == "bridge", begin=begin)
            await exchange.record(call, spec)
        case "stop" if recorder is not None:
            call.stop_recording()
        case ("silence" | "cut") as mode if recorder is not None:
            recorder.mask("silence" if mode == "silence" else "cut")
        case "unmask" if recorder is not None:
            recorder.unmask()
        case "hold" | "unhold":
            await exchange.hold(call, deed == "hold")
        case "put" | "take":
            call.controls.hold(deed == "put")
            await exchange.settle()
        case "blind" | "busy" | "early" | "fled":
            other = call.place.other(call) if isinstance(call.place, Bridge) else None
            exchange.transfers.referred(call, Refer("sip:new@192.0.2.77"))  # type: ignore[arg-type]
            await exchange.settle()
            if exchange.dialled:
                for leaver in (call, other) if deed == "early" else (other,) if deed == "fled" else ():
                    if leaver is call or (leaver is not None and flag):
                        exchange.bye(leaver)
                        await exchange.wait(0.3)
                await exchange.outcome(deed != "busy" or flag)
        case "attended":
            other = up[(up.index(call) + 2) % len(up)]
            exchange.transfers.referred(call, Refer("sip:any@192.0.2.9", other.session.id))  # type: ignore[arg-type]
        case "leave":
            exchange.bye(call)


def judge(exchange: Exchange, recorder: Recorder) -> None:
    view = recorder.view()
    items = view.timeline
    assert recorder.state == "stopping" and recorder.done.is_set()
    times = [item["at"] for item in items]
    assert times == sorted(times)
    found = [item["event"] for item in items]
    if view.started is None:
        assert "started" not in found and view.duration == 0
        return
    assert found.count("started") == found.count("stopped") == 1 and found[-1] == "stopped"
    present: dict[str, bool] = defaultdict(bool, {view.call_id: True})
    holding: dict[str, bool] = defaultdict(bool)
    masked = False
    for item in items:
        match item["event"]:
            case "joined" | "left":
                assert present[item["call_id"]] != (item["event"] == "joined"), items
                present[item["call_id"]] = item["event"] == "joined"
            case "held" | "unheld":
                assert holding[item["call_id"]] != (item["event"] == "held"), items
                holding[item["call_id"]] = item["event"] == "held"
            case "masked" | "paused":
                masked = True
            case "unmasked" | "resumed":
                assert masked
                masked = False
    samples, rate = exchange.file(recorder)
    end = items[-1]
    assert abs(len(samples) / rate - end.get("position", end["at"])) < 0.003, (len(samples) / rate, end)
    assert view.duration is not None and len(samples) == round(view.duration * rate) and samples.shape[1] == view.channels


async def test_a_channel_for_each_party_follows_a_transfer(tmp_path: Path) -> None:
    """Who takes the place of the recorded party takes its channel; the other keeps a channel of its own."""
    async with Exchange(tmp_path) as exchange:
        bridge = exchange.talk()
        caller, callee = bridge.calls
        recorder = await exchange.record(callee, RecordSpec(heard="participants", channels=3))
        await exchange.wait(2.0)
        refer = Refer("sip:third@elsewhere.example")
        exchange.transfers.referred(callee, refer)  # type: ignore[arg-type]
        await exchange.settle()
        await exchange.outcome(answered=True)
        coming = exchange.calls[-1]
        await exchange.wait(2.0)
        recorder.stop("stopped")
        await exchange.wait(2.0)
        samples, rate = exchange.file(recorder)
        voices = [exchange.hertz[call.facts.id] for call in (caller, callee, coming)]
    before = [[loud(samples, rate, channel, hertz, 0.5, 1.8) > 0.05 for hertz in voices] for channel in range(3)]
    after = [[loud(samples, rate, channel, hertz, 2.5, 3.8) > 0.05 for hertz in voices] for channel in range(3)]
    assert before == [[False, True, False], [True, False, False], [False] * 3]
    assert after == [[False, False, True], [True, False, False], [False] * 3]
