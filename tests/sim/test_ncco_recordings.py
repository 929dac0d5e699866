"""NCCOs that record: what ends a recording and when, what is in it, and what the flow does meanwhile. In virtual time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ncco_stage import BEEP_HZ, SPOKEN_HZ, SPOKEN_S, TUNE_HZ, Stage, level

HOOK = "https://example.org/record"
SEED: list[dict[str, Any]] = [
    {"action": "talk", "text": "Please leave a message after the tone, then press #. We will get back to you as soon as we can"},
    {"action": "record", "eventUrl": [""], "endOnSilence": "3", "endOnKey": "#", "beepStart": "true"},
    {"action": "talk", "text": "Thank you for your message. Goodbye"},
]
TALK_FIRST_S = SPOKEN_S + 0.5


def seed(**options: Any) -> list[dict[str, Any]]:
    """The seed's document with other options in its `record`; None takes one away."""
    record = {name: value for name, value in (SEED[1] | options).items() if value is not None}
    return [SEED[0], record, SEED[2]]


async def leave_message(folder: Path, key_at: float | None = None, **options: Any) -> tuple[str, float]:
    """Somebody speaks for two seconds and is silent then; `#` is pressed at `key_at`. Why the recording ended, and the length of its file.

    The goodbye is spoken after the end, not before it, and no prompt is in the file.
    """
    async with Stage(folder) as stage:
        call = await stage.dial_in(seed(**options))
        while not stage.recordings(call) or not stage.recordings(call)[0].view().started:
            await stage.wait(0.1)
        recorder = stage.recordings(call)[0]
        for tenth in range(200):
            if key_at is not None and tenth == round(key_at * 10):
                await stage.press(call, "#")
            if tenth == 20:
                stage.says(call, False)
            if not recorder.active:
                break
            await stage.wait(0.1)
        ended = stage.engine.now()
        await stage.wait(0.3)
        assert call.status == "progressing", "the goodbye is spoken first"
        await stage.wait(SPOKEN_S + 2.5)
        samples, rate = stage.file(recorder)
        assert call.status == "hangup"
        assert level(stage.heard(call, ended + 0.3, ended + 1.1), 8000, SPOKEN_HZ) > 0.05
        assert level(stage.heard(call, ended - 0.9, ended - 0.1), 8000, SPOKEN_HZ) < 0.01
        assert level(samples[:, 0], rate, SPOKEN_HZ) < 0.01
    return recorder.reason, len(samples) / rate


@pytest.mark.parametrize(("options", "seconds"), [({"endOnKey": None}, 5.0), ({"endOnSilence": 10, "endOnKey": None}, 12.0)])
async def test_end_on_silence(tmp_path: Path, options: dict[str, Any], seconds: float) -> None:
    """Ends after N s of silence, judged within 0.5 s; the file ends there. A key does nothing."""
    assert await leave_message(tmp_path, 1.0, **options) == ("silence", pytest.approx(seconds, abs=0.5))


async def test_end_on_silence_of_a_caller_who_says_nothing(tmp_path: Path) -> None:
    async with Stage(tmp_path) as stage:
        call = await stage.dial_in([{"action": "record", "endOnSilence": "3"}])
        stage.says(call, False)
        await stage.wait(5.5)
        recorder = stage.recordings(call)[0]
        samples, rate = stage.file(recorder)
    assert recorder.reason == "silence" and len(samples) / rate == pytest.approx(3.0, abs=0.5)


async def test_end_on_key(tmp_path: Path) -> None:
    """Exactly that key ends it at once; other keys do not."""
    assert await leave_message(tmp_path / "a", 7.0, endOnSilence=None) == ("key", pytest.approx(7.0, abs=0.15))
    assert await leave_message(tmp_path / "b", 1.0, endOnKey="*") == ("silence", pytest.approx(5.0, abs=0.5))


async def test_first_condition_wins(tmp_path: Path) -> None:
    """Both given: whichever is first."""
    assert await leave_message(tmp_path / "a") == ("silence", pytest.approx(5.0, abs=0.5))
    assert await leave_message(tmp_path / "b", 1.0) == ("key", pytest.approx(1.0, abs=0.15))


async def test_time_out(tmp_path: Path) -> None:
    """Ends after N s; blocking."""
    assert await leave_message(tmp_path, timeOut="4", endOnSilence=None, endOnKey=None) == ("max_seconds", pytest.approx(4.0, abs=0.15))


async def test_beep_start(tmp_path: Path) -> None:
    """A short tone is heard by the caller at start, and is not in the file; absent or false: none."""
    for wanted in ("true", "false", None):
        async with Stage(tmp_path / str(wanted)) as stage:
            call = await stage.dial_in(seed(beepStart=wanted))
            await stage.wait(TALK_FIRST_S)
            before = stage.engine.now() - TALK_FIRST_S
            await stage.wait(1.0)
            await stage.press(call, "#")
            await stage.wait(2.5)
            beep = level(stage.heard(call, before + SPOKEN_S, before + SPOKEN_S + 0.3), 8000, BEEP_HZ)
            samples, rate = stage.file(stage.recordings(call)[0])
        assert (beep > 0.05) == (wanted == "true")
        assert level(samples[:, 0], rate, BEEP_HZ, 0.0, 0.3) < 0.01


@pytest.mark.parametrize(
    ("options", "form", "channels"),
    [({}, "mp3", 1), ({"format": "wav"}, "wav", 1), ({"format": "ogg", "split": "conversation"}, "ogg", 2), ({"channels": "5"}, "wav", 5)],
)
async def test_default_format_and_format_wav_ogg(tmp_path: Path, options: dict[str, Any], form: str, channels: int) -> None:
    """MP3, 16 kHz, mono, unless something else is asked for; WAV where MP3 cannot hold the channels."""
    async with Stage(tmp_path) as stage:
        call = await stage.dial_in([{"action": "record", **options}])
        await stage.wait(0.5)
        view = stage.recordings(call)[0].view()
    assert (view.format, view.rate, view.channels) == (form, 16000, channels)


async def test_event_timing(tmp_path: Path) -> None:
    """Blocking: its event is on its way before the next action begins. Else when the call ends."""
    told: list[tuple[str, float]] = []
    async with Stage(tmp_path) as stage:
        recorded = stage.kit.webhooks.recorded
        stage.kit.webhooks.recorded = lambda id: (told.append((id, stage.engine.now())), recorded(id))[1]  # type: ignore[method-assign]
        call = await stage.dial_in([{"action": "record"}, *seed()[1:]])
        await stage.wait(3.0)
        await stage.press(call, "#")
        ended = stage.engine.now()
        await stage.wait(SPOKEN_S + 3.0)
        whole, message = stage.recordings(call)
        assert [id for id, _ in told] == [message.id, whole.id]
        assert level(stage.heard(call, ended, told[0][1]), 8000, SPOKEN_HZ) < 0.02
        assert told[1][1] > told[0][1] + SPOKEN_S


async def test_recordings_attach_to_leg_or_conversation(tmp_path: Path) -> None:
    """Each recording is listed under its leg, or its conversation."""
    async with Stage(tmp_path) as stage:
        stage.application = "ours"
        call = await stage.dial_in([{"action": "record"}, {"action": "conversation", "name": "room", "record": True}])
        await stage.wait(1.0)
        own, shared = [recorder.view() for recorder in stage.kit.recorders.values()]
        assert (own.reference, own.call_id, own.activeflow_id) == ("call", call.facts.id, call.facts.activeflow_id)
        (conference,) = stage.kit.conferences.all
        assert (shared.reference, shared.call_id) == ("confbridge", conference.id)
        assert own.application_id == shared.application_id == "ours"


async def test_talk_and_stream(tmp_path: Path) -> None:
    """`loop` plays so often and fetches once; `level` makes softer; `wait` is silent for its time; who cannot be played is passed over."""
    stream = {"action": "stream", "streamUrl": ["https://example.org/a.mp3"], "loop": "2", "level": "-1"}
    talk = {"action": "talk", "text": "<speak>a</speak>", "level": 1, "language": "de-DE"}
    document = [stream, {"action": "wait", "timeout": "0.5"}, talk]
    async with Stage(tmp_path) as stage:
        call = await stage.dial_in([{"action": "stream", "streamUrl": ["https://example.org/missing.mp3"], "loop": 0}, *document])
        began = stage.engine.now()
        await stage.wait(4.5)
        first = level(stage.heard(call, began + 0.2, began + 1.8), 8000, TUNE_HZ)
        spoken = max(level(stage.heard(call, began + at, began + at + 0.5), 8000, SPOKEN_HZ) for at in (2.4, 2.6, 2.8, 3.0))
        assert stage.kit.prompts.loaded.count("https://example.org/a.mp3") == 1  # type: ignore[attr-defined]
        assert 0.01 < first < 0.06 < 0.3 < spoken
        assert call.status == "hangup"


async def test_hang_up_during_record(tmp_path: Path) -> None:
    """The file is closed, and the rest of the document is not run."""
    async with Stage(tmp_path) as stage:
        call = await stage.dial_in(seed())
        await stage.wait(4.0)
        stage.bye(call)
        await stage.wait(3.0)
        recorder = stage.recordings(call)[0]
        samples, rate = stage.file(recorder)
        assert recorder.reason == "hangup" and 1.5 < len(samples) / rate < 3.5


async def test_two_recordings_of_a_call_are_two(tmp_path: Path) -> None:
    async with Stage(tmp_path) as stage:
        call = await stage.dial_in([{"action": "record"}, {"action": "record", "format": "wav"}, {"action": "wait", "timeout": 2}])
        await stage.wait(1.0)
        first, second = stage.recordings(call)
        assert first.id != second.id and first.active and second.active
        await stage.wait(2.0)
        assert call.status == "hangup", "a recording that runs on does not keep a call whose document has more actions"


async def test_last_position_record(tmp_path: Path) -> None:
    async with Stage(tmp_path) as stage:
        call = await stage.dial_in([{"action": "talk", "text": "x"}, {"action": "record"}])
        await stage.wait(60.0)
        assert call.status == "progressing"
        stage.bye(call)
        await stage.wait(2.0)
        samples, rate = stage.file(stage.recordings(call)[0])
    assert len(samples) / rate == pytest.approx(59.0, abs=0.3)


def phone(number: str = "447700900000") -> list[dict[str, str]]:
    return [{"type": "phone", "number": number}]


async def test_record_call_between_two_people(tmp_path: Path) -> None:
    """`record` without condition, then `connect`: the next action starts at once, both voices are in the file to the end of the call."""
    async with Stage(tmp_path) as stage:
        call = await stage.dial_in([{"action": "record", "eventUrl": [HOOK]}, {"action": "connect", "endpoint": phone()}])
        await stage.wait(2.0)
        assert len(stage.dialled) == 1 and stage.recordings(call)[0].active
        await stage.outcome(answered=True)
        other = stage.calls[1]
        await stage.wait(4.0)
        stage.bye(other)
        await stage.wait(3.0)
        assert call.status == "hangup", "with nobody to talk with and nothing more to do"
        recorder = stage.recordings(call)[0]
        samples, rate = stage.file(recorder)
        mine, theirs = stage.voice(call), stage.voice(other)
    assert level(samples[:, 0], rate, mine, 0.5, 1.8) > 0.05 > 0.01 > level(samples[:, 0], rate, theirs, 0.5, 1.8)
    assert level(samples[:, 0], rate, mine, 2.5, 5.5) > 0.05 and level(samples[:, 0], rate, theirs, 2.5, 5.5) > 0.05
    assert recorder.view().custom["event_url"] == HOOK


async def test_split(tmp_path: Path) -> None:
    """`split: conversation`: left only the caller's words, right only what the caller hears, prompts among it; aligned."""
    document = [
        {"action": "record", "split": "conversation"},
        {"action": "talk", "text": "x"},
        {"action": "connect", "endpoint": phone()},
    ]
    async with Stage(tmp_path) as stage:
        call = await stage.dial_in(document)
        await stage.wait(2.0)
        await stage.outcome(answered=True)
        other = stage.calls[1]
        await stage.wait(2.0)
        for quiet in (True, False):
            for each in (call, other):
                stage.says(each, not quiet)
            await stage.wait(1.0)
        stage.bye(call)
        await stage.wait(3.0)
        samples, rate = stage.file(stage.recordings(call)[0])
        mine, theirs = stage.voice(call), stage.voice(other)
    left, right = samples[:, 0], samples[:, 1]
    assert samples.shape[1] == 2
    assert level(right, rate, SPOKEN_HZ, 0.2, 0.8) > 0.05 and level(left, rate, SPOKEN_HZ, 0.2, 0.8) < 0.005
    assert level(left, rate, mine, 2.5, 3.5) > 0.05 and level(left, rate, theirs, 2.5, 3.5) < 0.005
    assert level(right, rate, theirs, 2.5, 3.5) > 0.05 and level(right, rate, mine, 2.5, 3.5) < 0.005
    # Both fell silent, and spoke again, at the same moments: so they stand in the file, to a packet.
    edges = [[int(np_first(abs(channel[round(3.0 * rate) :]) < 20, rate // 10))] for channel in (left, right)]
    assert abs(edges[0][0] - edges[1][0]) <= rate * 0.03


def np_first(quiet: Any, run: int) -> int:
    """Where the first stretch of `run` quiet samples begins."""
    count = 0
    for place, each in enumerate(quiet):
        count = count + 1 if each else 0
        if count == run:
            return place - run + 1
    raise AssertionError("it is never quiet")


@pytest.mark.parametrize("channels", [3, "2"])
async def test_channels(tmp_path: Path, channels: int | str) -> None:
    """N channels, one party each by join order, the surplus in the last; with two, the right one holds all that the caller hears."""
    document = [
        {"action": "record", "split": "conversation", "channels": channels},
        {"action": "connect", "endpoint": phone("1")},
        {"action": "connect", "endpoint": phone("2")},
        {"action": "connect", "endpoint": phone("3")},
    ]
    async with Stage(tmp_path) as stage:
        call = await stage.dial_in(document)
        await stage.wait(1.0)
        for _ in range(3):
            await stage.outcome(answered=True)
            await stage.wait(2.0)
        voices = [stage.voice(each) for each in stage.calls]
        heard = stage.heard(call, stage.engine.now() - 1.0, stage.engine.now())
        stage.bye(stage.calls[1])
        await stage.wait(2.0)
        assert [each.status for each in stage.calls] == ["progressing", "hangup", "progressing", "progressing"]
        stage.bye(call)
        await stage.wait(3.0)
        assert all(each.status == "hangup" for each in stage.calls)
        recorder = stage.recordings(call)[0]
        samples, rate = stage.file(recorder)
    assert recorder.view().format == ("wav" if channels == 3 else "mp3")
    assert [level(heard, 8000, voice) > 0.05 for voice in voices] == [False, True, True, True], "all hear each other"
    talking = [[level(samples[:, c], rate, voice, 5.5, 6.8) > 0.05 for voice in voices] for c in range(samples.shape[1])]
    after = [[level(samples[:, c], rate, voice, 7.5, 8.8) > 0.05 for voice in voices] for c in range(samples.shape[1])]
    if channels == 3:
        assert talking == [[True, False, False, False], [False, True, False, False], [False, False, True, True]]
        assert after == [[True, False, False, False], [False] * 4, [False, False, True, True]]
    else:
        assert talking == [[True, False, False, False], [False, True, True, True]]


async def test_a_muted_leg_is_not_recorded_while_it_is_muted(tmp_path: Path) -> None:
    document = [{"action": "record", "channels": 3}, {"action": "connect", "endpoint": phone()}]
    async with Stage(tmp_path) as stage:
        call = await stage.dial_in(document)
        await stage.outcome(answered=True)
        other = stage.calls[1]
        await stage.wait(2.0)
        other.controls.mute("in")
        await stage.wait(2.0)
        other.controls.mute("")
        await stage.wait(2.0)
        stage.bye(call)
        await stage.wait(3.0)
        samples, rate = stage.file(stage.recordings(call)[0])
        theirs = stage.voice(other)
    heard = [level(samples[:, 1], rate, theirs, begin, begin + 1.4) > 0.05 for begin in (0.4, 2.4, 4.4)]
    assert heard == [True, False, True]
