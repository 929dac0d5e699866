"""NCCOs that talk in conversations: who waits, who hears whom, what is recorded, how it ends. In virtual time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ncco_stage import TUNE_HZ, Stage, level

from tapeline.calls.recorder import Recorder
from tapeline.calls.session import Call
from tapeline.core.vonage import MOST_ADDRESSES, addresses

MUSIC = ["https://example.org/music.mp3"]
HOOK = "https://example.org/record"


def member(name: str = "room", **options: Any) -> list[dict[str, Any]]:
    return [{"action": "conversation", "name": name, **options}]


def recorders(stage: Stage) -> list[Recorder]:
    return [recorder for recorder in stage.kit.recorders.values() if recorder.view().reference == "confbridge"]


async def grown(stage: Stage, many: int, seconds: float = 2.0, **options: Any) -> list[Call]:
    """So many callers in one conversation, who have talked for a while."""
    calls = [await stage.dial_in(member(**options)) for _ in range(many)]
    await stage.wait(seconds)
    return calls


def hears(stage: Stage, call: Call, seconds: float = 0.8) -> list[bool]:
    """Whom of all calls `call` has heard in the last time."""
    end = stage.engine.now()
    sound = stage.heard(call, end - seconds, end)
    return [level(sound, 8000, stage.voice(other)) > 0.05 for other in stage.calls]


async def spoken(stage: Stage, recorder: Recorder) -> tuple[np.ndarray, int]:
    await stage.wait(3.0)
    return stage.file(recorder)


async def test_conversation_record_standard(tmp_path: Path) -> None:
    """Starts with the first attendee, ends with the last; one file, however many members ask for it."""
    finished: list[str] = []
    async with Stage(tmp_path) as stage:
        stage.kit.finished = lambda view: finished.append(view.id)  # type: ignore[assignment]
        options = {"record": "true", "eventUrl": [HOOK]}
        calls = [await stage.dial_in(member(**options))]
        await stage.wait(2.0)
        calls += await grown(stage, 4, **options)
        assert hears(stage, calls[0]) == [False, True, True, True, True]
        (recorder,) = recorders(stage)
        for call in calls[:4]:
            stage.bye(call)
            await stage.wait(1.0)
        assert recorder.active
        stage.bye(calls[4])
        samples, rate = await spoken(stage, recorder)
        voices = [stage.voice(call) for call in calls]
    assert finished == [recorder.id]
    assert (recorder.view().format, rate, samples.shape[1]) == ("mp3", 16000, 1)
    assert 7.8 < len(samples) / rate < 8.4
    assert [level(samples[:, 0], rate, voice, 0.3, 1.8) > 0.05 for voice in voices] == [True] + [False] * 4
    assert all(level(samples[:, 0], rate, voice, 2.5, 3.8) > 0.05 for voice in voices)
    assert [level(samples[:, 0], rate, voice, 7.2, 7.9) > 0.05 for voice in voices] == [False] * 4 + [True]
    view = recorder.view()
    assert view.custom["event_url"] == HOOK and view.call_id


async def test_conversation_record_moderated(tmp_path: Path) -> None:
    """Nothing is recorded until an NCCO with `startOnEnter: true` joins the name; then until the end."""
    async with Stage(tmp_path) as stage:
        waiting = await grown(stage, 2, startOnEnter="false", musicOnHoldUrl=MUSIC, record=True)
        assert not recorders(stage)
        for call in waiting:
            assert hears(stage, call) == [False, False]
            assert level(stage.heard(call, stage.engine.now() - 0.8, stage.engine.now()), 8000, TUNE_HZ) > 0.05
        moderator = await stage.dial_in(member(record=True))
        await stage.wait(2.0)
        assert hears(stage, moderator) == [True, True, False]
        assert level(stage.heard(waiting[0], stage.engine.now() - 0.8, stage.engine.now()), 8000, TUNE_HZ) < 0.02
        (recorder,) = recorders(stage)
        stage.bye(moderator)
        await stage.wait(2.0)
        assert recorder.active and hears(stage, waiting[0]) == [False, True, False], "without endOnExit it lasts until the last"
        for call in waiting:
            stage.bye(call)
        samples, rate = await spoken(stage, recorder)
        assert 3.8 < len(samples) / rate < 4.3
        assert level(samples[:, 0], rate, TUNE_HZ) < 0.02


async def test_end_on_exit(tmp_path: Path) -> None:
    """true: all legs are dropped when that party leaves; the recording ends."""
    async with Stage(tmp_path) as stage:
        others = await grown(stage, 2, record=True)
        leader = await stage.dial_in(member(endOnExit=True))
        await stage.wait(1.0)
        (recorder,) = recorders(stage)
        stage.bye(leader)
        await stage.wait(2.0)
        assert [call.status for call in others] == ["hangup", "hangup"] and not recorder.active


async def test_start_on_enter_and_music_on_hold_url(tmp_path: Path) -> None:
    """An attendee waits with the music in a loop; mixing starts when the moderator joins; who comes later need not wait."""
    async with Stage(tmp_path) as stage:
        waiting = await stage.dial_in(member(startOnEnter=False, musicOnHoldUrl=MUSIC[0]))
        await stage.wait(3.0)
        assert level(stage.heard(waiting, stage.engine.now() - 0.5, stage.engine.now()), 8000, TUNE_HZ) > 0.05
        moderator = await stage.dial_in(member(startOnEnter="true"))
        late = await stage.dial_in(member(startOnEnter=False, musicOnHoldUrl=MUSIC))
        await stage.wait(1.5)
        heard = [hears(stage, call) for call in (waiting, moderator, late)]
        assert heard == [[False, True, True], [True, False, True], [True, True, False]]


async def test_multiple_record_flags(tmp_path: Path) -> None:
    """One recording of the conversation, whoever asks; one that is asked for late begins then."""
    async with Stage(tmp_path) as stage:
        await stage.dial_in(member())
        await stage.wait(1.0)
        assert not recorders(stage)
        for _ in range(2):
            await stage.dial_in(member(record=True))
        await stage.wait(1.0)
        assert len(recorders(stage)) == 1


async def test_whoever_names_another_address_for_the_recording_is_told_too(tmp_path: Path) -> None:
    """One recording, one uuid; the address of who started it comes first, each other that a document names follows, once."""
    async with Stage(tmp_path) as stage:
        await stage.dial_in(member(record=True, eventUrl=[HOOK]))
        for url in ("https://example.org/second", HOOK, "https://example.org/second"):
            await stage.dial_in(member(record=True, eventUrl=[url], eventMethod="GET"))
        await stage.dial_in(member(record=True))
        await stage.dial_in(member(eventUrl=["https://example.org/no-recorder"]))
        await stage.wait(1.0)
        (recorder,) = recorders(stage)
        assert addresses(recorder.view().custom) == [(HOOK, "POST"), ("https://example.org/second", "GET")]
        assert addresses(recorder.manifest().custom) == addresses(recorder.view().custom), "a crash keeps it"
        for number in range(30):
            await stage.dial_in(member("other", record=True, eventUrl=[f"https://example.org/{number}"]))
        assert len(addresses(recorders(stage)[1].view().custom)) == MOST_ADDRESSES


async def test_a_recording_that_names_no_address_is_told_where_the_call_s_events_go(tmp_path: Path) -> None:
    async with Stage(tmp_path) as stage:
        for url in ("https://example.org/one", "https://example.org/two"):
            stage.event_url = url
            await stage.dial_in(member(record=True))
        await stage.wait(1.0)
        (recorder,) = recorders(stage)
        assert addresses(recorder.view().custom) == [("https://example.org/one", "POST")], "the second names none"


async def test_no_music_is_silence_and_one_alone_hears_none(tmp_path: Path) -> None:
    async with Stage(tmp_path) as stage:
        waiting = await stage.dial_in(member(startOnEnter=False))
        alone = await stage.dial_in(member("other", musicOnHoldUrl=MUSIC))
        await stage.wait(1.0)
        for call in (waiting, alone):
            assert not np.any(np.abs(stage.heard(call, stage.engine.now() - 0.8, stage.engine.now())) > 0.01)


async def test_name_scope(tmp_path: Path) -> None:
    """The same name in two applications is two conversations."""
    async with Stage(tmp_path) as stage:
        calls = []
        for application in ("one", "two", "one"):
            stage.application = application
            calls.append(await stage.dial_in(member(record=True)))
        await stage.wait(1.0)
        assert [hears(stage, call) for call in calls] == [[False, False, True], [False] * 3, [True, False, False]]
        found = recorders(stage)
        assert sorted(recorder.view().application_id for recorder in found) == ["one", "two"]


async def test_can_hear_can_speak_mute(tmp_path: Path) -> None:
    """A supervisor whispers to the agent; the customer does not hear it. Muted and unheard members are absent from the file."""
    async with Stage(tmp_path) as stage:
        customer = await stage.dial_in(member(record=True))
        agent = await stage.dial_in(member())
        await stage.wait(0.5)
        supervisor = await stage.dial_in(member(canSpeak=[agent.facts.id], canHear=[customer.facts.id, agent.facts.id]))
        muted = await stage.dial_in(member(mute="true"))
        unheard = await stage.dial_in(member(canSpeak=[], canHear=[]))
        await stage.wait(2.0)
        assert [hears(stage, call) for call in (customer, agent, supervisor, muted, unheard)] == [
            [False, True, False, False, False],
            [True, False, True, False, False],
            [True, True, False, False, False],
            [True, True, False, False, False],
            [False, False, False, False, False],
        ]
        late = await stage.dial_in(member())
        await stage.wait(1.0)
        assert hears(stage, late) == [True, True, False, False, False, False] and not hears(stage, supervisor)[5]
        (recorder,) = recorders(stage)
        voices = [stage.voice(call) for call in (customer, agent, supervisor, muted, unheard)]
        for call in stage.calls:
            stage.bye(call)
        samples, rate = await spoken(stage, recorder)
    assert [level(samples[:, 0], rate, voice, 1.0, 2.3) > 0.05 for voice in voices] == [True, True, True, False, False]


async def test_transfer(tmp_path: Path) -> None:
    """All legs of a conversation move into another."""
    async with Stage(tmp_path) as stage:
        listener = await stage.dial_in(member())
        await stage.wait(0.5)
        target = f"CON-{next(iter(stage.kit.conferences.all)).id}"
        document = [
            {"action": "connect", "endpoint": [{"type": "phone", "number": "1"}]},
            {"action": "wait", "timeout": 2},
            {"action": "transfer", "conversationId": target},
        ]
        caller = await stage.dial_in(document)
        await stage.outcome(answered=True)
        await stage.wait(1.0)
        assert hears(stage, caller) == [False, False, True]
        await stage.wait(2.5)
        assert hears(stage, listener) == [False, True, True]
        stage.bye(listener)
        await stage.wait(1.0)
        assert hears(stage, caller) == [False, False, True]
        stage.bye(caller)
        await stage.wait(1.0)
        assert all(call.status == "hangup" for call in stage.calls)


WAIT = {"action": "wait", "timeout": 600}


def into(call: Call, **options: Any) -> list[dict[str, Any]]:
    return [{"action": "transfer", "conversationId": f"CON-{call.facts.activeflow_id}", **options}]


async def test_transfer_into_the_conversation_of_another_call(tmp_path: Path) -> None:
    """All legs of the one join the other, whose NCCO goes on ruling; it may be alone, connected, or in a named conversation."""
    async with Stage(tmp_path) as stage:
        events: list[dict[str, Any]] = []
        stage.kit.listeners.append(lambda told: events.append(told.data["event"]) if told.kind == "call_event" else None)
        tune = {"action": "stream", "streamUrl": MUSIC}
        target = await stage.dial_in([tune, {"action": "wait", "timeout": 6}, {**tune, "loop": 0}])
        await stage.wait(1.5)
        own = f"CON-{target.facts.activeflow_id}"
        document = [{"action": "connect", "endpoint": [{"type": "phone", "number": "1"}]}, {"action": "wait", "timeout": 1}, *into(target)]
        caller = await stage.dial_in(document)
        await stage.outcome(answered=True)
        leg = stage.calls[-1]
        await stage.wait(3.0)
        assert [hears(stage, call) for call in (target, caller, leg)] == [[False, True, True], [True, False, True], [True, True, False]]
        assert [(event["uuid"], event["conversation_uuid_to"]) for event in events] == [(call.facts.id, own) for call in (caller, leg)]
        third = await stage.dial_in(into(target))
        await stage.wait(1.5)
        assert hears(stage, third) == [True, True, True, False] and caller.view().activeflow_id == target.facts.activeflow_id
        await stage.wait(3.0)
        sound = stage.heard(third, stage.engine.now() - 0.8, stage.engine.now())
        assert level(sound, 8000, TUNE_HZ) > 0.05, "the target's NCCO speaks to all"
        stage.bye(target)
        await stage.wait(1.0)
        assert hears(stage, third) == [False, True, True, False]
        stage.bye(caller)
        await stage.wait(1.0)
        assert [call.status for call in stage.calls] == ["hangup"] * 4, "its leg ended with it, and the third was alone"


async def test_transfer_into_a_call_that_is_in_a_named_conversation(tmp_path: Path) -> None:
    async with Stage(tmp_path) as stage:
        target = await stage.dial_in(member())
        caller = await stage.dial_in(into(target))
        await stage.wait(1.5)
        assert caller.place is target.place is not None and hears(stage, target) == [False, True]


@pytest.mark.parametrize(
    ("options", "heard"),
    [
        ({"mute": True}, [[False, True, False], [True, False, False], [True, True, False]]),
        ({"canHear": []}, [[False, True, True], [True, False, True], [False] * 3]),
        ({"canSpeak": ["leg"], "canHear": ["target"]}, [[False, True, False], [True, False, True], [True, False, False]]),
    ],
)
async def test_who_is_transferred_may_choose_whom_it_hears(tmp_path: Path, options: dict[str, Any], heard: list[list[bool]]) -> None:
    async with Stage(tmp_path) as stage:
        target = await stage.dial_in([{"action": "connect", "endpoint": [{"type": "phone", "number": "1"}]}, WAIT])
        await stage.outcome(answered=True)
        ids = {"target": target.facts.id, "leg": stage.calls[1].facts.id}
        chosen = {name: [ids[each] for each in value] if isinstance(value, list) else value for name, value in options.items()}
        await stage.dial_in(into(target, **chosen))
        await stage.wait(2.0)
        assert [hears(stage, call) for call in stage.calls] == heard


async def test_a_transfer_into_a_conversation_of_others_or_its_own(tmp_path: Path) -> None:
    """Another application's is not there; its own is where the call is already, and it stays until it is alone."""
    async with Stage(tmp_path) as stage:
        stage.application = "one"
        target = await stage.dial_in([{"action": "stream", "streamUrl": MUSIC, "loop": 0}])
        stage.application = "two"
        await stage.wait(0.5)
        stranger = await stage.dial_in(into(target))
        await stage.wait(0.5)
        assert (stranger.status, target.status, target.place) == ("hangup", "progressing", None)
        ask = {"action": "notify", "payload": {}, "eventUrl": ["https://example.org/n"]}
        caller = await stage.dial_in([{"action": "connect", "endpoint": [{"type": "phone", "number": "1"}]}, ask])
        stage.receiver.answers["/n"] = into(caller)
        await stage.outcome(answered=True)
        await stage.wait(1.5)
        assert hears(stage, caller) == [False, False, False, True]
        stage.bye(stage.calls[-1])
        await stage.wait(0.5)
        assert caller.status == "hangup"


async def test_a_transfer_to_nowhere_ends_the_call(tmp_path: Path) -> None:
    async with Stage(tmp_path) as stage:
        caller = await stage.dial_in([{"action": "transfer", "conversation_id": "CON-nowhere"}])
        await stage.wait(1.0)
        assert caller.status == "hangup"


async def test_a_record_before_the_conversation_is_one_of_its_own(tmp_path: Path) -> None:
    async with Stage(tmp_path) as stage:
        caller = await stage.dial_in([{"action": "record", "split": "conversation"}, *member(record=True)])
        await grown(stage, 2)
        stage.bye(caller)
        await stage.wait(2.0)
        own = stage.recordings(caller)[0]
        (shared,) = recorders(stage)
        assert not own.active and shared.active
        samples, rate = stage.file(own)
        voices = [stage.voice(call) for call in stage.calls]
    assert [level(samples[:, 0], rate, voice, 0.5, 1.8) > 0.05 for voice in voices] == [True, False, False]
    assert [level(samples[:, 1], rate, voice, 0.5, 1.8) > 0.05 for voice in voices] == [False, True, True]


