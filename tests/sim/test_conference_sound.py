"""Who hears whom in a conference, live and in its recording: all others and not oneself, nothing that shifts, nothing that clicks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from conference_hall import MUSIC_HZ, Caller, Hall, level
from numpy.typing import NDArray

from tapeline.testing.plan import TONES

SPOKEN_DB = -24.0
NOTHING_DB = -50.0


@pytest.fixture
async def hall(tmp_path: Path) -> AsyncIterator[Hall]:
    async with Hall(tmp_path) as made:
        yield made


def crowd(hall: Hall, count: int) -> list[Caller]:
    """Narrow and wide band, mu-law and linear, each with a tone of its own."""
    kinds = (("PCMU", 8000), ("L16", 16000), ("PCMU", 8000), ("L16", 8000))
    return [Caller(hall, TONES[2 * number], *kinds[number % 4]) for number in range(count)]


def step(samples: NDArray[np.float64], rate: int, hertz: float) -> float:
    """The largest jump in phase of a tone from one 20 ms to the next, in cycles: what was dropped, doubled or shifted shows."""
    n = rate // 50
    frames = samples[: len(samples) // n * n].reshape(-1, n)
    turns = np.exp(-2j * np.pi * hertz * np.arange(frames.size).reshape(frames.shape) / rate)
    phases = np.angle((frames * turns).sum(axis=1)) / (2 * np.pi)
    return float(np.abs((np.diff(phases) + 0.5) % 1 - 0.5).max())


async def test_each_of_eight_hears_the_seven_others_and_not_itself(hall: Hall) -> None:
    conference = hall.conference()
    callers = crowd(hall, 8)
    for caller in callers:
        caller.join(conference)
    begin = hall.run(1.0)
    end = hall.run(1.0)
    for caller in callers:
        heard = caller.heard(begin, end)
        for other in callers:
            found = level(heard, caller.rate, other.hertz)
            assert (found < NOTHING_DB) if other is caller else (found == pytest.approx(SPOKEN_DB, abs=1.0)), (caller.codec, other.codec)


@pytest.mark.parametrize("rate", [8000, 16000, 0])
async def test_the_mix_holds_all_at_one_level(hall: Hall, rate: int) -> None:
    conference = hall.conference()
    callers = crowd(hall, 8)
    for caller in callers:
        caller.join(conference)
    hall.run(1.0)
    recorder = await hall.record(conference, rate=rate)
    hall.run(3.0)
    conference.stop_recording()
    samples, found = await hall.recorded(recorder)
    assert found == (rate or 16000) and len(samples) == 3 * found
    levels = [level(samples[found : 2 * found, 0], found, caller.hertz) for caller in callers]
    assert levels == pytest.approx([SPOKEN_DB] * 8, abs=1.0)


async def test_leaving_and_coming_back_neither_clicks_nor_shifts(hall: Hall) -> None:
    conference = hall.conference()
    first, second, third = callers = [Caller(hall, hertz) for hertz in (417.0, 1017.0, 1817.0)]
    for caller in callers:
        caller.join(conference)
    begin = hall.run(1.0)
    mix, split = await hall.record(conference), await hall.record(conference, heard="participants", channels=3, exclusive=False)
    hall.run(1.0)
    conference.leave(third)  # type: ignore[arg-type]
    hall.run(1.0)
    third.join(conference)
    end = hall.run(1.0)
    for recorder in (mix, split):
        recorder.stop("stopped")
    (together, rate), (apart, _) = await hall.recorded(mix), await hall.recorded(split)
    assert len(together) == len(apart) == 3 * rate
    for steady in (first, second):
        assert step(together[:, 0], rate, steady.hertz) < 0.02
        assert step(first.heard(begin, end), 8000, second.hertz) < 0.02
    assert step(apart[:, 0], rate, first.hertz) < 0.01 and step(apart[:, 1], rate, second.hertz) < 0.01
    voice = apart[:, 2]
    assert np.abs(voice[rate + rate // 10 : 2 * rate - rate // 10]).max() < 1e-3  # away: silent
    for stretch in (voice[rate // 10 : rate - rate // 10], voice[2 * rate + rate // 10 : 3 * rate - rate // 10]):
        assert level(stretch, rate, third.hertz) == pytest.approx(SPOKEN_DB, abs=0.5)
    # A click is a step that no 1817 Hz tone of this level takes from one sample to the next.
    steepest = 10 ** (SPOKEN_DB / 20) * 2 * np.pi * third.hertz / rate
    assert np.abs(np.diff(voice)).max() < 1.1 * steepest


async def test_the_timeline_tells_who_came_and_left_and_on_which_channel(hall: Hall) -> None:
    conference = hall.conference()
    one, two, three = callers = [Caller(hall, TONES[number]) for number in range(3)]
    one.join(conference)
    two.join(conference)
    recorder = await hall.record(conference, heard="participants", channels=2)
    hall.run(0.5)
    conference.leave(one)  # type: ignore[arg-type]
    three.join(conference)
    hall.run(0.5)
    one.join(conference)
    hall.run(0.5)
    recorder.stop("stopped")
    samples, rate = await hall.recorded(recorder)
    number = {caller.facts.id: name for caller, name in zip(callers, ("one", "two", "three"), strict=True)}
    told = [
        (event["event"], number[event["call_id"]], event["channel"])
        for event in recorder.view().timeline
        if event["event"] in ("joined", "left")
    ]
    assert told == [("joined", "one", 0), ("joined", "two", 1), ("left", "one", 0), ("joined", "three", 1), ("joined", "one", 0)]
    middle, last = samples[rate // 2 + 400 : rate - 400], samples[rate + 400 : rate + rate // 2 - 400]
    assert level(middle[:, 0], rate, one.hertz) < NOTHING_DB
    for stretch in (middle, last):  # the surplus is in the last channel, with whom that is
        assert [level(stretch[:, 1], rate, caller.hertz) for caller in (two, three)] == pytest.approx([SPOKEN_DB] * 2, abs=0.5)
    assert level(last[:, 0], rate, one.hertz) == pytest.approx(SPOKEN_DB, abs=0.5)


async def test_mute_and_deafen_take_effect_live_and_on_the_recording(hall: Hall) -> None:
    conference = hall.conference()
    one, two = Caller(hall, 417.0), Caller(hall, 1017.0)
    for caller in (one, two):
        caller.join(conference)
    recorder = await hall.record(conference)
    hall.run(0.5)
    conference.moderate(conference.members[0], muted=True)
    hall.run(0.1)
    muted = (hall.engine.now(), hall.run(0.4))
    conference.moderate(conference.members[0], muted=False, deaf=True)
    hall.run(0.1)
    deaf = (hall.engine.now(), hall.run(0.4))
    recorder.stop("stopped")
    samples, rate = await hall.recorded(recorder)
    assert level(two.heard(*muted), 8000, one.hertz) < NOTHING_DB and level(one.heard(*muted), 8000, two.hertz) > SPOKEN_DB - 1
    assert level(two.heard(*deaf), 8000, one.hertz) > SPOKEN_DB - 1 and level(one.heard(*deaf), 8000, two.hertz) < NOTHING_DB
    silent = samples[round(0.65 * rate) : round(0.95 * rate), 0]
    assert level(silent, rate, one.hertz) < NOTHING_DB < SPOKEN_DB - 1 < level(silent, rate, two.hertz)


async def test_who_holds_is_not_heard_and_its_music_neither(hall: Hall) -> None:
    conference = hall.conference()
    one, two = Caller(hall, 417.0), Caller(hall, 1017.0)
    for caller in (one, two):
        caller.join(conference)
    hall.run(0.5)
    one.hold(True)
    hall.run(0.1)
    held = (hall.engine.now(), hall.run(0.4))
    one.hold(False)
    hall.run(0.1)
    back = (hall.engine.now(), hall.run(0.4))
    assert level(two.heard(*held), 8000, one.hertz) < NOTHING_DB and level(one.heard(*held), 8000, two.hertz) < NOTHING_DB
    assert level(two.heard(*back), 8000, one.hertz) > SPOKEN_DB - 1 and level(one.heard(*back), 8000, two.hertz) > SPOKEN_DB - 1
    assert [event for event, _ in one.notes] == ["conference_joined", "joined"]


async def test_attendees_hear_music_until_the_moderator_comes(hall: Hall) -> None:
    conference = hall.conference(moderated=True, music="default")
    one, two, moderator = Caller(hall, 417.0), Caller(hall, 1017.0), Caller(hall, 1817.0)
    one.join(conference)
    two.join(conference, music="")
    await hall.settle()
    hall.run(0.2)
    waiting = (hall.engine.now(), hall.run(0.5))
    assert [member.status for member in conference.members] == ["joining", "joining"]
    assert level(one.heard(*waiting), 8000, MUSIC_HZ) > -14 and level(one.heard(*waiting), 8000, two.hertz) < NOTHING_DB
    assert level(two.heard(*waiting), 8000, MUSIC_HZ) < NOTHING_DB  # it wanted none
    moderator.join(conference, moderator=True)
    await hall.settle()
    hall.run(0.2)
    talking = (hall.engine.now(), hall.run(0.5))
    assert [member.status for member in conference.members] == ["joined"] * 3
    assert level(one.heard(*talking), 8000, MUSIC_HZ) < NOTHING_DB
    assert level(one.heard(*talking), 8000, two.hertz) > SPOKEN_DB - 1 and level(one.heard(*talking), 8000, moderator.hertz) > SPOKEN_DB - 1


async def test_who_is_alone_hears_music_until_somebody_comes_and_again_afterwards(hall: Hall) -> None:
    conference = hall.conference(music="default")
    one, two = Caller(hall, 417.0), Caller(hall, 1017.0)
    one.join(conference)
    await hall.settle()
    hall.run(0.1)
    alone = (hall.engine.now(), hall.run(0.4))
    two.join(conference)
    await hall.settle()
    hall.run(0.1)
    together = (hall.engine.now(), hall.run(0.4))
    conference.leave(two)  # type: ignore[arg-type]
    await hall.settle()
    hall.run(0.1)
    again = (hall.engine.now(), hall.run(0.4))
    assert [level(one.heard(*when), 8000, MUSIC_HZ) > -14 for when in (alone, together, again)] == [True, False, True]


async def test_tones_are_heard_by_all_and_recorded(hall: Hall) -> None:
    conference = hall.conference(join_tone="tone:2117/300", leave_tone="tone:2317/300")
    one, two, three = (Caller(hall, hertz) for hertz in (417.0, 717.0, 1017.0))
    one.join(conference)
    two.join(conference, join_tone="")
    await hall.settle()
    hall.run(1.0)
    recorder = await hall.record(conference)
    three.join(conference)
    await hall.settle()
    came = (hall.engine.now(), hall.run(0.3))
    hall.run(0.7)
    conference.leave(three)  # type: ignore[arg-type]
    await hall.settle()
    left = (hall.engine.now(), hall.run(0.3))
    recorder.stop("stopped")
    samples, rate = await hall.recorded(recorder)
    for caller in (one, two, three):
        assert level(caller.heard(*came), 8000, 2117.0) > -20
    assert level(one.heard(*left), 8000, 2317.0) > -20 and level(two.heard(*left), 8000, 2317.0) > -20
    assert level(samples[: rate // 2, 0], rate, 2117.0) > -20 and level(samples[rate:, 0], rate, 2317.0) > -20
