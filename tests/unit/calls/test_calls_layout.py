"""Which sources stand on which channel, for everything that can be asked of a call and of a conference."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tapeline.calls.layout import OfCall, OfConference
from tapeline.core.recordspec import RecordSpec
from tapeline.rtp import Leg, Source
from tapeline.rtp.engine.virtual import VirtualEngine


@pytest.fixture
def engine() -> Iterator[VirtualEngine]:
    made = VirtualEngine()
    yield made
    made.stop()


def names(channels: tuple[tuple[Source, ...], ...], *legs: Leg) -> list[str]:
    """Each channel as `in 1, out 1`: the kind, and the number of the leg (0: the bus)."""
    number = {leg: place for place, leg in enumerate(legs, 1)}
    return [", ".join(f"{source.kind} {number.get(source.of, 0)}" for source in sources) for sources in channels]


@pytest.mark.parametrize(
    ("spec", "caller", "channels"),
    [
        ({}, True, ["in 1, out 1"]),
        ({"channels": 2}, True, ["in 1", "out 1"]),
        ({"channels": 2}, False, ["in 1", "out 1"]),
        ({"channels": 5}, True, ["in 1", "out 1"]),
        ({"heard": "caller"}, True, ["in 1"]),
        ({"heard": "callee"}, True, ["out 1"]),
        ({"heard": "caller"}, False, ["out 1"]),
        ({"heard": "callee", "channels": 2}, False, ["in 1"]),
        ({"heard": "mix"}, True, ["in 1, out 1"]),
        ({"heard": "participants", "channels": 2}, False, ["in 1", "out 1"]),
        ({"heard": "participants", "channels": 3}, False, ["in 1", "", ""]),
    ],
)
def test_channels_of_a_call(engine: VirtualEngine, spec: dict[str, object], caller: bool, channels: list[str]) -> None:
    leg = engine.open_leg()
    assert names(OfCall(leg, caller).channels(RecordSpec(**spec)), leg) == channels  # type: ignore[arg-type]


def test_whom_a_call_meets_has_a_channel_by_order_of_meeting(engine: VirtualEngine) -> None:
    legs = [engine.open_leg() for _ in range(5)]
    ears = OfCall(legs[0], True)
    for leg in legs[1:]:
        ears = ears.seated(leg, True)
    spec = RecordSpec(heard="participants", channels=4)
    assert names(ears.channels(spec), *legs) == ["in 1", "in 2", "in 3", "in 4, in 5"]
    ears = ears.seated(legs[2], False)
    assert names(ears.channels(spec), *legs) == ["in 1", "in 2", "", "in 4, in 5"]
    assert names(ears.seated(legs[2], True).channels(spec), *legs) == ["in 1", "in 2", "in 3", "in 4, in 5"]


@pytest.mark.parametrize(
    ("spec", "left", "channels"),
    [
        ({}, (), ["mix 0"]),
        ({"heard": "mix", "channels": 3}, (), ["mix 0"]),
        ({"heard": "caller"}, (), ["mix 0"]),
        ({"heard": "participants", "channels": 3}, (), ["in 1", "in 2", "in 3, in 4"]),
        ({"heard": "participants", "channels": 5}, (), ["in 1", "in 2", "in 3", "in 4", ""]),
        ({"heard": "participants", "channels": 1}, (), ["in 1, in 2, in 3, in 4"]),
        ({"heard": "participants", "channels": 0}, (), ["in 1, in 2, in 3, in 4"]),
        ({"heard": "participants", "channels": 3}, (0, 2), ["", "in 2", "in 4"]),
    ],
)
def test_channels_of_a_conference(engine: VirtualEngine, spec: dict[str, object], left: tuple[int, ...], channels: list[str]) -> None:
    legs = [engine.open_leg() for _ in range(4)]
    bus = engine.open_bus(16000, capacity=8)
    seats = [None if seat in left else leg for seat, leg in enumerate(legs)]
    ears = OfConference(bus, seats)
    assert ears.rate == 16000
    assert names(ears.channels(RecordSpec(**spec)), *legs) == channels  # type: ignore[arg-type]
