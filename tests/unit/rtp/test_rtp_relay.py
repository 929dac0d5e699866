"""A bus of two legs of one codec: packets go through as they came, and nobody hears when they begin or cease to. Virtual time."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable

import numpy as np
import pytest
from rtp_peer import Packet, World, encode, rtp, tone

from tapeline.rtp import Bus, Digit, Leg, Source, StreamSpec
from tapeline.rtp.engine.virtual import PEER

L16 = {"codec": "L16", "rate": 8000, "payload_type": 96}


def pair(world: World, **spec: object) -> tuple[Leg, Leg, Bus]:
    one, two = world.leg(**(L16 | spec)), world.leg(**(L16 | spec))
    bus = world.engine.open_bus()
    bus.add(one)
    bus.add(two)
    world.wait(0.1)
    return one, two, bus


def heard(packets: list[Packet]) -> np.ndarray:
    """What a receiver hears that orders packets by their numbers and places them by their timestamps, which must leave no gap."""
    for before, after in itertools.pairwise(packets):
        assert (after.sequence - before.sequence) & 0xFFFF == 1
        assert (after.stamp - before.stamp) & 0xFFFFFFFF == len(before.payload) // 2
        assert before.at <= after.at
    assert len({packet.ssrc for packet in packets}) == 1
    return np.concatenate([np.frombuffer(packet.payload, ">i2") for packet in packets]).astype(int)


def carried(samples: np.ndarray, said: np.ndarray) -> bool:
    """Whether all that was said stands in `samples`, in one piece."""
    at = int(np.flatnonzero(samples)[0]) - int(np.flatnonzero(said)[0])
    return np.array_equal(samples[at : at + len(said)], said[: len(samples) - at])


def test_packets_go_through_untouched(world: World) -> None:
    one, two, _ = pair(world)
    world.speak((one, tone(0.5)), (two, tone(0.5, 600)))
    before = one.counters()
    world.engine.sent.clear()
    packets = world.spoken(one, tone(0.4, 700), ptime=10)
    for number, (at, data) in enumerate(packets):
        data = data[:1] + bytes((data[1] | (128 if number == 7 else 0),)) + data[2:]
        world.engine.inject(one, data, at + 0.02)
        last = world.sent(two)[-1]
        assert last.payload == data[12:] and last.at == world.engine.now(), "at once"
        assert last.marker == (number == 7) and last.payload_type == 96 and last.ssrc != one.id
    heard(world.sent(two))
    after = one.counters()
    assert after.relayed - before.relayed == after.placed - before.placed == len(packets)
    world.check_counters(one)


def test_both_directions_are_recorded_all_the_same(world: World) -> None:
    one, two, bus = pair(world)
    tap = world.tap([Source("in", one)], [Source("out", one)], [Source("mix", bus)])
    said = [tone(1.0, hz, 6000) for hz in (500, 700)]
    world.speak((one, said[0]), (two, said[1]))
    world.wait(0.02)
    tap.stop()
    world.wait(0.5)
    recording = world.recording(3).astype(int)
    assert one.counters().relayed > 30 and two.counters().relayed > 30
    for channel in range(2):
        assert np.array_equal(recording[1:7900, channel], said[channel][1:7900])
    assert np.array_equal(recording[1:7900, 2], said[0][1:7900].astype(int) + said[1][1:7900])


def silent_prompt(world: World, one: Leg, two: Leg, bus: Bus) -> None:
    two.play(np.zeros(4000, np.int16))


def silent_prompt_for_all(world: World, one: Leg, two: Leg, bus: Bus) -> None:
    bus.play(np.zeros(4000, np.int16))


def third_joins(world: World, one: Leg, two: Leg, bus: Bus) -> None:
    third = world.leg()
    bus.add(third)


def others_gain(world: World, one: Leg, two: Leg, bus: Bus) -> None:
    bus.set_gain(one, hear=0.5)


@pytest.mark.parametrize("change", [silent_prompt, silent_prompt_for_all, third_joins, others_gain])
@pytest.mark.parametrize("ptimes", [(20, 20), (30, 20), (20, 10), (10, 60)])
def test_nobody_hears_the_change(world: World, change: Callable[[World, Leg, Leg, Bus], None], ptimes: tuple[int, int]) -> None:
    """What is said comes through in one piece while it is mixed, relayed, mixed and relayed again."""
    one, two, bus = pair(world, ptime=ptimes[1])
    world.wait(0.2)
    world.engine.sent.clear()
    said = tone(3.0, 437, 9000)
    for at, data in world.spoken(one, said, ptime=ptimes[0]):
        world.engine.inject(one, data, at + 0.013)
        if 1.0 <= at - 1000.3 < 1.0 + ptimes[0] / 1000:
            before = one.counters().relayed
            change(world, one, two, bus)
    world.wait(0.2)
    samples = heard(world.sent(two))
    assert carried(samples, said)
    assert before > 20
    if change in (silent_prompt, silent_prompt_for_all):
        assert 10 < one.counters().relayed - before < 1600 / ptimes[0]


def test_loss_order_and_doubles_are_passed_on_as_they_are(world: World) -> None:
    one, two, _ = pair(world)
    world.speak((one, tone(0.5)))
    world.wait(0.02)
    world.engine.sent.clear()
    packets = world.spoken(one, tone(0.4, 700))
    order = [0, 1, 3, 2, 2, 4, 7, 8, 9]
    for place, number in enumerate(order):
        world.engine.inject(one, packets[number][1], packets[0][0] + place * 0.02)
    sent = world.sent(two)
    base = sent[0].sequence
    assert [(packet.sequence - base) & 0xFFFF for packet in sent] == [0, 1, 3, 2, 4, 7, 8, 9]
    assert [(packet.stamp - sent[0].stamp) // 160 for packet in sent] == [0, 1, 3, 2, 4, 7, 8, 9]
    world.check_counters(one)


def test_silence_is_sent_when_nothing_comes(world: World) -> None:
    """A leg that says nothing any more: its peer's partner still gets packets, so that no router on the way forgets it."""
    one, two, _ = pair(world)
    world.speak((one, tone(0.5)))
    world.engine.sent.clear()
    world.wait(1.0)
    sent = world.sent(two)
    assert 35 <= len(sent) <= 45 and sent[0].marker == 1
    assert not heard(sent).any()
    last = sent[-1]
    world.speak((one, tone(0.5, 600)))
    sent = world.sent(two)[len(sent) :]
    assert (sent[0].sequence - last.sequence) & 0xFFFF == 1 and (sent[0].stamp - last.stamp) & 0xFFFFFFFF == 160
    assert carried(heard(sent), tone(0.4, 600))


@pytest.mark.parametrize("what", ["ssrc", "jump", "sequence"])
def test_a_stream_that_begins_anew_goes_on_for_the_other(world: World, what: str) -> None:
    one, two, _ = pair(world)
    world.speak((one, tone(0.5)))
    world.wait(0.02)
    world.engine.sent.clear()
    sequence, stamp = world.streams[one.id]
    payload = encode(np.full(160, 100, np.int16), "L16")
    for k in range(20):
        data = {
            "ssrc": rtp(7000 + k, 99 + k * 160, payload, payload_type=96, ssrc=9),
            "jump": rtp(sequence + k, stamp + 4_000_000 + k * 160, payload, payload_type=96, ssrc=one.id),
            "sequence": rtp(sequence + 30000 + k, stamp + k * 160, payload, payload_type=96, ssrc=one.id),
        }[what]
        world.engine.inject(one, data, world.engine.now() + 0.02)
    sent = world.sent(two)
    assert 18 <= len(sent) <= 30
    for before, after in itertools.pairwise(sent):
        assert (after.sequence - before.sequence) & 0xFFFF == 1
        assert 0 < (after.stamp - before.stamp) & 0xFFFFFFFF <= 800


def press(world: World, leg: Leg, digit: int, *, packets: int = 5, payload_type: int = 101) -> None:
    """The peer of `leg` presses a key for `packets` times 20 ms."""
    sequence, stamp = world.streams[leg.id]
    for k in range(packets + 2):
        end = k >= packets - 1
        body = struct.pack("!BBH", digit, 0x8A if end else 10, min(k + 1, packets) * 160)
        data = rtp(sequence + k, stamp, body, payload_type=payload_type, ssrc=leg.id, marker=k == 0)
        world.engine.inject(leg, data, world.engine.now() + (0.02 if k < packets else 0.001))
    world.streams[leg.id] = (sequence + packets + 2, stamp + packets * 160)


@pytest.mark.parametrize("way", ["relayed", "mixed", "transcoded"])
def test_keys_are_passed_on_once_and_told(world: World, way: str) -> None:
    one, two, bus = pair(world, dtmf_payload_type=101)
    spec = (L16 | {"remote": PEER, "dtmf_payload_type": 99}) if way != "transcoded" else {"remote": PEER, "dtmf_payload_type": 99}
    two.configure(StreamSpec(**spec))  # type: ignore[arg-type]
    if way == "mixed":
        bus.set_gain(one, speak=0.9)
    world.speak((one, tone(0.5)))
    world.engine.sent.clear()
    for digit in (5, 5, 11):
        press(world, one, digit)
        world.speak((one, tone(0.2)))
    world.wait(0.3)
    events = [packet for packet in world.sent(two) if packet.payload_type == 99]
    assert len(events) == 21 and [packet.marker for packet in events].count(1) == 3
    assert len({packet.stamp for packet in events}) == 3
    for before, after in itertools.pairwise(world.sent(two)):
        assert (after.sequence - before.sequence) & 0xFFFF == 1
    listener = world.leg(dtmf_payload_type=99)
    assert [event.digit for event in world.events(Digit)] == ["5", "5", "#"]
    start = world.engine.now() + 0.1 - events[0].at
    for sent in [sent for sent in world.engine.sent if sent.leg == two.id and not sent.rtcp]:
        world.engine.inject(listener, sent.data, sent.at + start)
    told = [(event.digit, event.duration_ms) for event in world.events(Digit) if event.leg is listener]
    assert told == [("5", 100), ("5", 100), ("#", 100)]
    assert bus.passes_digits(one) and (one.counters().relayed > 20) == (way != "transcoded" or one.counters().relayed == 21)


def test_keys_are_not_passed_where_they_cannot_be(world: World) -> None:
    one, two, bus = pair(world, dtmf_payload_type=101)
    two.configure(StreamSpec(**(L16 | {"remote": PEER})))  # type: ignore[arg-type]
    assert bus.passes_digits(two) and not bus.passes_digits(one), "the other side knows no events"
    two.configure(StreamSpec(**(L16 | {"remote": PEER, "dtmf_payload_type": 101})))  # type: ignore[arg-type]
    bus.set_gain(two, hear=0)
    assert not bus.passes_digits(one), "the other side shall not hear"
    world.speak((one, tone(0.5)))
    press(world, one, 7)
    assert [packet for packet in world.sent(two) if packet.payload_type == 101] == []
    bus.set_gain(two)
    bus.add(world.leg())
    assert not bus.passes_digits(one), "a conference"


def test_a_conference_of_two_passes_no_keys(world: World) -> None:
    legs = [world.leg(**(L16 | {"dtmf_payload_type": 101})) for _ in range(2)]
    bus = world.engine.open_bus(digits=False)
    for leg in legs:
        bus.add(leg)
    world.speak((legs[0], tone(0.5)))
    press(world, legs[0], 5)
    world.wait(0.3)
    assert [event.digit for event in world.events(Digit)] == ["5"] and not bus.passes_digits(legs[0])
    assert [packet for packet in world.sent(legs[1]) if packet.payload_type == 101] == []


def test_what_stands_against_relaying(world: World) -> None:
    one, two, bus = pair(world, dtmf_payload_type=101)
    world.speak((one, tone(0.5)))

    def relays() -> bool:
        before = one.counters().relayed
        world.speak((one, tone(0.5)))
        world.wait(0.02)
        return one.counters().relayed - before > 10

    assert relays()
    for spec in ({"direction": "recvonly"}, {"codec": "PCMU", "rate": 8000, "payload_type": 0}):
        two.configure(StreamSpec(**(L16 | {"remote": PEER} | spec)))  # type: ignore[arg-type]
        assert not relays()
    two.configure(StreamSpec(**(L16 | {"remote": PEER, "ptime": 40, "payload_type": 97})))  # type: ignore[arg-type]
    assert relays() and world.sent(two)[-1].payload_type == 97
    two.echo(True)
    assert not relays()
    two.echo(False)
    for leg, gains in ((one, {"speak": 0.5}), (two, {"hear": 2.0}), (one, {"speak": 0.0})):
        bus.set_gain(leg, **gains)
        assert not relays()
        bus.set_gain(leg)
        assert relays()
    two.close()
    assert not relays()
    world.check_counters(one)


def test_a_leg_that_closes_while_it_is_relayed(world: World) -> None:
    one, two, bus = pair(world)
    tap = world.tap([Source("out", one)])
    world.speak((one, tone(0.5)), (two, tone(0.5)))
    two.close()
    world.speak((one, tone(0.5)))
    bus.close()
    one.close()
    world.wait(0.1)
    tap.stop()
    world.wait(1.0)
    assert world.engine.leg_count == 0 and world.engine.counters().buses == 0
    assert len(world.recording()) == tap.frames


def test_a_hundred_pairs(world: World) -> None:
    pairs = [pair(world) for _ in range(100)]
    quiet = np.full(8000, 50, np.int16)
    world.speak(*((leg, quiet) for one, two, _ in pairs for leg in (one, two)))
    for one, two, _ in pairs:
        for leg in (one, two):
            counters = leg.counters()
            assert counters.placed == 50 and counters.unsent == 0 and counters.relayed >= 40
            world.check_counters(leg)
