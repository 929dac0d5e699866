"""Whatever order members come, go, mute, hold, and recordings are masked, paused and ended in: the file is as long as what was recorded,
each stretch of each channel holds exactly the voice it must, and the timeline can be read."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from conference_hall import Caller, Hall, level
from hypothesis import given, settings
from hypothesis import strategies as st

SLOT_S = 0.2
TONES = (417.0, 1017.0, 1817.0)
SPOKEN_DB = -24.0

Deed = tuple[str, int]
deeds = st.tuples(st.sampled_from(["come", "go", "mute", "unmute", "hold", "resume", "silence", "cut", "unmask"]), st.integers(0, 2))
slots = st.lists(st.lists(deeds, max_size=3), min_size=1, max_size=12)


@dataclass
class Model:
    """What must be so."""

    there: set[int] = field(default_factory=set)
    muted: set[int] = field(default_factory=set)
    holding: set[int] = field(default_factory=set)
    seats: list[int] = field(default_factory=list)
    mask: str = ""
    told: list[tuple[str, int]] = field(default_factory=list)

    def come(self, number: int) -> None:
        self.there.add(number)
        self.muted.discard(number)
        if number not in self.seats:
            self.seats.append(number)
        self.told.append(("joined", number))

    def go(self, number: int) -> None:
        self.there.discard(number)
        self.told.append(("left", number))

    def voices(self) -> tuple[bool, ...] | None:
        """Who sounds on the channel of each seat; None where nothing is written."""
        if self.mask == "cut":
            return None
        return tuple(each in self.there - self.muted - self.holding and not self.mask for each in range(len(TONES)))


async def do(deed: Deed, hall: Hall, callers: list[Caller], model: Model) -> None:
    name, number = deed
    conference, caller = hall.conferences.all[0], callers[number]
    member = next((each for each in conference.members if each.call is caller), None)  # type: ignore[comparison-overlap]
    recorder = next(iter(hall.kit.recorders.values()))
    if name == "come" and member is None:
        model.come(number)
        caller.join(conference)
    elif name == "go" and member is not None and len(conference.members) > 1:
        model.go(number)
        caller.place.leave(caller)
    elif name in ("mute", "unmute") and member is not None:
        (model.muted.add if name == "mute" else model.muted.discard)(number)
        conference.moderate(member, muted=name == "mute")
    elif name in ("hold", "resume") and (number in model.holding) == (name == "resume"):
        (model.holding.add if name == "hold" else model.holding.discard)(number)
        caller.hold(name == "hold")
    elif name in ("silence", "cut"):
        model.mask = name
        recorder.mask(name)  # type: ignore[arg-type]
    elif name == "unmask":
        model.mask = ""
        recorder.unmask()


async def scenario(folder: Path, plan: list[list[Deed]]) -> None:
    async with Hall(folder) as hall:
        conference, model = hall.conference(), Model()
        callers = [Caller(hall, hertz) for hertz in TONES]
        model.come(0)
        callers[0].join(conference)
        hall.run(SLOT_S)
        recorder = await hall.record(conference, heard="participants", channels=3)
        expected = []
        for slot in plan:
            for deed in slot:
                await do(deed, hall, callers, model)
            hall.run(SLOT_S)
            expected.append(model.voices())
        conference.stop_recording()
        samples, rate = await hall.recorded(recorder)
        judge(samples, rate, [voices for voices in expected if voices is not None], model)
        judge_timeline(recorder.view().timeline, callers, model)


def judge(samples: np.ndarray[tuple[int, int], np.dtype[np.float64]], rate: int, expected: list[tuple[bool, ...]], model: Model) -> None:
    n = round(SLOT_S * rate)
    assert len(samples) == n * len(expected)
    for slot, voices in enumerate(expected):
        stretch = samples[slot * n + n // 4 : (slot + 1) * n - n // 10]
        for channel, number in enumerate(model.seats):
            for other, hertz in enumerate(TONES):
                sounds = level(stretch[:, channel], rate, hertz) > SPOKEN_DB - 3
                assert sounds == (other == number and voices[number]), f"slot {slot}, channel {channel}, voice {other}"


def judge_timeline(timeline: object, callers: list[Caller], model: Model) -> None:
    events = list(timeline)  # type: ignore[call-overload]
    number = {caller.facts.id: place for place, caller in enumerate(callers)}
    assert [event["at"] for event in events] == sorted(event["at"] for event in events)
    told = [(event["event"], number[event["call_id"]]) for event in events if event["event"] in ("joined", "left")]
    assert told == model.told
    channels = {(event["call_id"], event["channel"]) for event in events if event["event"] in ("joined", "left")}
    assert {(call_id, model.seats.index(number[call_id])) for call_id, _ in channels} == channels
    allowed = {
        ("", "joined"),
        ("joined", "held"),
        ("joined", "left"),
        ("held", "unheld"),
        ("unheld", "held"),
        ("unheld", "left"),
        ("left", "joined"),
    }
    for call_id in number:
        own = [event["event"] for event in events if event.get("call_id") == call_id and event["event"] != "moderated"]
        assert set(zip(["", *own], own, strict=False)) <= allowed, own
    names = [event["event"] for event in events]
    assert names.count("started") == names.count("stopped") == 1 and names[-1] == "stopped"


@given(slots)
@settings(max_examples=40, deadline=None)
def test_every_order_of_deeds_gives_the_recording_that_it_must(plan: list[list[Deed]]) -> None:
    with TemporaryDirectory() as folder:
        asyncio.run(scenario(Path(folder), plan))
