"""What leaves a leg: pace, players, echo, buses, digits, reports. Virtual time."""

from __future__ import annotations

import itertools
import struct

import numpy as np
import pytest
from rtp_peer import Packet, World, decode, rtp, tone

from tapeline.core.errors import InvalidInput
from tapeline.rtp import BusFull, Closed, Leg, PlayerEnded, StreamSpec, TooManyPlayers, UnknownCodec
from tapeline.rtp.engine.build import native
from tapeline.rtp.engine.virtual import PEER


def heard_by(packets: list[Packet], codec: str = "PCMU", rate: int = 8000) -> np.ndarray:
    return np.concatenate([decode(packet.payload, codec, rate) for packet in packets])


def check_pace(packets: list[Packet], ptime: int, samples: int) -> None:
    """Without a break, and exactly in time."""
    assert len({packet.ssrc for packet in packets}) == 1
    for before, after in itertools.pairwise(packets):
        assert (after.sequence - before.sequence) & 0xFFFF == 1
        assert (after.stamp - before.stamp) & 0xFFFFFFFF == samples
        assert after.at - before.at == pytest.approx(ptime / 1000)


@pytest.mark.parametrize("ptime", [10, 20, 30, 60])
def test_silence_is_sent_when_nothing_plays(world: World, ptime: int) -> None:
    leg = world.leg(ptime=ptime)
    world.wait(1.2)
    packets = world.sent(leg)
    assert len(packets) == pytest.approx(1200 / ptime, abs=1)
    assert {packet.payload for packet in packets} == {b"\xff" * 8 * ptime}
    assert [packet.marker for packet in packets] == [1] + [0] * (len(packets) - 1)
    check_pace(packets, ptime, ptime * 8)


@pytest.mark.parametrize("direction", ["recvonly", "inactive"])
def test_nothing_is_sent_where_we_do_not_send(world: World, direction: str) -> None:
    leg = world.leg(direction=direction)
    player = leg.play(tone(0.5))
    world.wait(1.0)
    assert world.sent(leg) == []
    assert [(event.player, event.stopped) for event in world.events(PlayerEnded)] == [(player, False)], "yet a prompt ends in its time"


def test_nothing_is_sent_before_the_peer_is_known(world: World) -> None:
    leg = world.leg(remote=None)
    world.wait(0.2)
    assert world.sent(leg) == []
    world.engine.inject(leg, rtp(1, 1, b"\xff" * 160), world.engine.now())
    world.wait(0.2)
    assert len(world.sent(leg)) == 10


@pytest.mark.parametrize(("codec", "rate", "payload_type"), [("PCMU", 8000, 0), ("PCMA", 8000, 8), ("L16", 16000, 97)])
def test_a_prompt_is_sent_as_it_is(world: World, codec: str, rate: int, payload_type: int) -> None:
    leg = world.leg(codec=codec, rate=rate, payload_type=payload_type)
    pcm = tone(0.5, rate=rate)
    leg.play(pcm)
    world.wait(1.0)
    packets = world.sent(leg)
    assert {packet.payload_type for packet in packets} == {payload_type}
    sent = heard_by(packets, codec, rate)[: len(pcm)].astype(int)
    assert np.abs(sent - pcm).max() <= (0 if codec == "L16" else 300)
    check_pace(packets, 20, rate // 50)


def test_a_player_ends_once_and_in_time(world: World) -> None:
    leg = world.leg()
    world.wait(0.1)
    start = world.engine.now()
    players = [leg.play(tone(0.5)), leg.play(tone(0.05)), leg.play(np.zeros(0, np.int16))]
    world.wait(1.0)
    ended = {event.player: event for event in world.events(PlayerEnded)}
    assert set(ended) == set(players) and len(world.events(PlayerEnded)) == 3
    assert ended[players[0]].at == pytest.approx(start + 0.5, abs=0.03)
    assert ended[players[1]].at == pytest.approx(start + 0.05, abs=0.03)
    assert not any(event.stopped for event in ended.values())
    assert world.engine.counters().players == 0


def test_a_loop_plays_until_it_is_stopped(world: World) -> None:
    leg = world.leg()
    player = leg.play(tone(0.1, level=4000), loop=True)
    world.wait(1.0)
    assert world.events(PlayerEnded) == []
    player.stop()
    player.stop()
    world.wait(0.5)
    (ended,) = world.events(PlayerEnded)
    assert ended.player is player and ended.stopped
    player.stop()
    assert np.abs(heard_by(world.sent(leg)[:45])).reshape(45, -1).max(axis=1).min() > 3500
    assert not heard_by(world.sent(leg)[-20:]).any()


def test_prompts_at_once_are_mixed_and_saturate(world: World) -> None:
    leg = world.leg(codec="L16", rate=8000, payload_type=96)
    leg.play(np.full(1600, 20000, np.int16))
    leg.play(np.full(1600, 20000, np.int16))
    leg.play(np.full(800, -30000, np.int16))
    world.wait(0.3)
    sent = heard_by(world.sent(leg), "L16")
    assert set(sent[:800]) == {10000} and set(sent[800:1600]) == {32767}


def test_too_many_prompts_are_refused(world: World) -> None:
    leg = world.leg()
    for _ in range(8):
        leg.play(tone(0.1))
    with pytest.raises(TooManyPlayers):
        leg.play(tone(0.1))
    world.wait(0.2)
    leg.play(tone(0.1))
    world.wait(0.2)
    assert [event.stopped for event in world.events(PlayerEnded)] == [False] * 9


def test_closing_a_leg_ends_its_players(world: World) -> None:
    leg = world.leg()
    player = leg.play(tone(5.0))
    world.wait(0.1)
    leg.close()
    leg.close()
    world.wait(0.5)
    assert [(event.player, event.stopped) for event in world.events(PlayerEnded)] == [(player, True)]
    assert world.engine.leg_count == 0
    assert leg.counters().sent == len(world.sent(leg)) > 0, "the last counters stay"
    with pytest.raises(Closed):
        leg.play(tone(0.1))
    with pytest.raises(Closed):
        leg.configure(StreamSpec())


def test_echo(world: World) -> None:
    leg = world.leg(codec="L16", rate=8000, payload_type=96)
    leg.echo(True)
    pcm = tone(0.5)
    world.speak((leg, pcm))
    world.wait(0.2)
    sent = heard_by(world.sent(leg), "L16")
    begin = np.flatnonzero(sent)[0]
    assert begin <= 0.06 * 8000
    assert np.array_equal(sent[begin - 1 : begin + 3800], pcm[:3801])
    leg.echo(False)
    world.speak((leg, pcm))
    assert not heard_by(world.sent(leg)[-15:], "L16").any()


def spectrum(packets: list[Packet], codec: str = "PCMU", rate: int = 8000) -> set[int]:
    """The pitches that are heard, to 20 Hz."""
    pcm = heard_by(packets, codec, rate).astype(float)
    power = np.abs(np.fft.rfft(pcm * np.hanning(len(pcm)))) / len(pcm)
    loud = np.flatnonzero(power > max(100, power.max() / 2)) * rate / len(pcm)
    return {round(hz / 20) * 20 for hz in loud}


def talk(world: World, *legs: Leg) -> dict[Leg, list[Packet]]:
    """Each leg's peer says a pitch of its own for a second: 400 Hz, 600 Hz, ... What each was sent in the midst of it."""
    world.engine.sent.clear()
    world.speak(*((leg, tone(1.0, 400 + 200 * k, 6000, leg.rate)) for k, leg in enumerate(legs)))
    return {leg: world.sent(leg)[15:45] for leg in legs}


def test_two_legs_hear_each_other(world: World) -> None:
    legs = [world.leg(), world.leg(codec="PCMA", payload_type=8)]
    bus = world.engine.open_bus()
    for leg in legs:
        bus.add(leg)
    heard = talk(world, *legs)
    assert spectrum(heard[legs[0]]) == {600}
    assert spectrum(heard[legs[1]], "PCMA") == {400}


def test_each_hears_the_sum_of_the_others(world: World) -> None:
    legs = [world.leg(), world.leg(), world.leg(ptime=30), world.leg(codec="L16", rate=16000, payload_type=97)]
    bus = world.engine.open_bus()
    for leg in legs:
        bus.add(leg)
    heard = talk(world, *legs)
    assert spectrum(heard[legs[0]]) == {600, 800, 1000}
    assert spectrum(heard[legs[1]]) == {400, 800, 1000}
    assert spectrum(heard[legs[2]]) == {400, 600, 1000}
    assert spectrum(heard[legs[3]], "L16", 16000) == {400, 600, 800}


def test_gains_of_a_bus(world: World) -> None:
    legs = [world.leg(), world.leg(), world.leg()]
    bus = world.engine.open_bus()
    bus.add(legs[0], speak=0)
    bus.add(legs[1], hear=0)
    bus.add(legs[2])
    heard = talk(world, *legs)
    assert [spectrum(heard[leg]) for leg in legs] == [{600, 800}, set(), {600}]
    bus.set_gain(legs[0])
    bus.set_gain(legs[1], hear=0.5)
    bus.remove(legs[2])
    heard = talk(world, *legs)
    assert [spectrum(heard[leg]) for leg in legs] == [{600}, {400}, set()]
    assert np.abs(heard_by(heard[legs[1]])).max() == pytest.approx(3000, rel=0.05)
    assert np.abs(heard_by(heard[legs[0]])).max() == pytest.approx(6000, rel=0.05)


def test_a_closed_bus_is_silent(world: World) -> None:
    legs = [world.leg(), world.leg()]
    bus = world.engine.open_bus()
    for leg in legs:
        bus.add(leg)
    talk(world, *legs)
    bus.close()
    heard = talk(world, *legs)
    assert [spectrum(heard[leg]) for leg in legs] == [set(), set()]
    assert world.engine.counters().buses == 0
    with pytest.raises(Closed):
        bus.add(legs[0])


def test_a_closed_leg_leaves_its_bus(world: World) -> None:
    legs = [world.leg(), world.leg(), world.leg()]
    bus = world.engine.open_bus()
    for leg in legs:
        bus.add(leg)
    talk(world, *legs)
    legs[2].close()
    bus.remove(legs[2])
    heard = talk(world, *legs[:2])
    assert [spectrum(heard[leg]) for leg in legs[:2]] == [{600}, {400}]


def test_a_full_bus_refuses(world: World) -> None:
    legs = [world.leg() for _ in range(4)]
    bus, other = world.engine.open_bus(capacity=2), world.engine.open_bus()
    for leg in legs[:2]:
        bus.add(leg)
    bus.set_gain(legs[0], hear=0.5)
    with pytest.raises(BusFull):
        bus.add(legs[2])
    other.add(legs[0])
    bus.add(legs[2])
    legs[1].close()
    bus.add(legs[3])
    assert set(bus.members) == {legs[2], legs[3]} and set(other.members) == {legs[0]} and legs[1].bus is None
    bus.add(legs[1])
    assert len(bus.members) == 2, "a closed leg is nobody"
    bus.close()
    assert legs[2].bus is None


def dialled(packets: list[Packet]) -> list[tuple[int, int, int, int]]:
    """Event, end bit, duration and timestamp of each telephone event."""
    found = []
    for packet in packets:
        if packet.payload_type == 101:
            event, flags, duration = struct.unpack("!BBH", packet.payload)
            found.append((event, flags >> 7, duration, packet.stamp))
    return found


def test_digits_are_sent_as_events(world: World) -> None:
    leg = world.leg(dtmf_payload_type=101)
    world.wait(0.1)
    leg.send_digits("1#d", 100, 60)
    world.wait(1.0)
    packets = world.sent(leg)
    events = dialled(packets)
    assert [event for event, end, _, _ in events if end] == [1, 1, 1, 11, 11, 11, 15, 15, 15]
    assert [duration for event, _, duration, _ in events if event == 1] == [160, 320, 480, 640, 800, 800, 800]
    assert len({stamp for *_, stamp in events}) == 3
    for before, after in itertools.pairwise(packets):
        assert (after.sequence - before.sequence) & 0xFFFF == 1
    ends = [packet.at for packet in packets if packet.payload_type == 101 and packet.payload[1] & 128]
    starts = [packet.at for packet in packets if packet.payload_type == 101 and packet.marker]
    assert len(starts) == 3 and starts[1] - ends[0] == pytest.approx(0.08)
    audio = [packet for packet in packets if packet.payload_type == 0]
    assert (audio[-1].stamp - audio[0].stamp) & 0xFFFFFFFF == round((audio[-1].at - audio[0].at) * 8000), "time goes on"


def test_digits_that_wait_are_dropped_with_the_events(world: World) -> None:
    """A new offer knows no telephone events any more, in the middle of one."""
    leg = world.leg(dtmf_payload_type=101)
    leg.send_digits("123", 100, 60)
    world.wait(0.1)
    leg.configure(StreamSpec(remote=PEER))
    world.engine.sent.clear()
    world.wait(0.5)
    assert {packet.payload_type for packet in world.sent(leg)} == {0}


def test_digits_we_send_are_heard_by_ourselves(world: World) -> None:
    """One leg's events into another."""
    from tapeline.rtp import Digit

    sender, listener = world.leg(dtmf_payload_type=101), world.leg(dtmf_payload_type=101)
    sender.send_digits("0123456789*#ABCD", 80, 60)
    world.wait(3.0)
    for packet in list(world.engine.sent):
        if packet.leg == sender.id and not packet.rtcp:
            world.engine.inject(listener, packet.data, packet.at + 3.0)
    world.wait(0.5)
    assert [(event.digit, event.duration_ms) for event in world.events(Digit)] == [(digit, 80) for digit in "0123456789*#ABCD"]


def test_digits_become_tones_where_events_are_unknown(world: World) -> None:
    leg = world.leg()
    leg.send_digits("5", 200, 100)
    world.wait(0.2)
    assert {680, 700, 760, 780, 1340, 1320} & spectrum(world.sent(leg)) != set()
    pcm = heard_by(world.sent(leg)).astype(float)[:1600]
    power = np.abs(np.fft.rfft(pcm))
    assert sorted(np.argsort(power)[-2:] * 5) == pytest.approx([770, 1336], abs=5)


def test_wrong_orders_are_refused(world: World) -> None:
    leg = world.leg(dtmf_payload_type=101)
    with pytest.raises(InvalidInput, match="not digits: X"):
        leg.send_digits("1X")
    with pytest.raises(UnknownCodec):
        leg.configure(StreamSpec(codec="opus"))
    with pytest.raises(InvalidInput, match="ptime"):
        leg.configure(StreamSpec(ptime=80))
    bus = world.engine.open_bus()
    with pytest.raises(InvalidInput, match="gain"):
        bus.add(leg, hear=-1)


def reports(world: World, leg: Leg, about: int = 0) -> list[dict[str, int]]:
    found = [native.parse_reports(sent.data, about) for sent in world.engine.sent if sent.leg == leg.id and sent.rtcp]
    assert None not in found
    return [report for report in found if report]


def test_reports_say_what_was_sent_and_heard(world: World) -> None:
    leg = world.leg()
    for k in range(1000):
        if k % 10:
            world.engine.inject(leg, rtp(k, k * 160, b"\xff" * 160, ssrc=77), world.engine.now() + 0.02)
        else:
            world.wait(0.02)
    found = reports(world, leg, 77)
    assert 2 <= len(found) <= 6
    last = found[-1]
    ours = world.sent(leg)[0].ssrc
    assert (last["parts"], last["has_sender"], last["sender"], last["described"], last["has_block"]) == (2, 1, ours, 1, 1)
    assert last["fraction"] == pytest.approx(25.6, abs=2)
    assert last["lost"] == pytest.approx(last["highest"] * 0.1, abs=2)
    at = [sent.at for sent in world.engine.sent if sent.rtcp][-1]
    assert last["packets"] == sum(packet.at <= at for packet in world.sent(leg))
    assert last["octets"] == last["packets"] * 160
    assert leg.counters().rtcp_sent == len(found)


def test_a_silent_leg_sends_receiver_reports(world: World) -> None:
    leg = world.leg(direction="recvonly")
    for k in range(500):
        world.engine.inject(leg, rtp(k, k * 160, b"\xff" * 160, ssrc=77), world.engine.now() + 0.02)
    first = reports(world, leg, 77)[0]
    assert (first["has_sender"], first["has_block"], first["fraction"], first["lost"]) == (0, 1, 0, 0)


def test_what_the_peer_reports_is_known(world: World) -> None:
    leg = world.leg()
    world.wait(6.0)
    sent = [packet for packet in world.engine.sent if packet.rtcp]
    at = sent[0].at
    ours = native.parse_reports(sent[0].data, 0)
    assert ours is not None
    middle = (ours["ntp_high"] & 0xFFFF) << 16 | ours["ntp_low"] >> 16
    block = struct.pack("!BBHIIIIIII", 0x81, 201, 7, 77, ours["sender"], 64 << 24 | 12, 500, 33, middle, 65536)
    world.engine.inject(
        leg, block, at + 1.25 + (world.engine.now() - at if world.engine.now() > at + 1.25 else 0), source=(PEER[0], 4001), rtcp=True
    )
    counters = leg.counters()
    assert (counters.remote_fraction, counters.remote_lost, counters.remote_jitter) == (64, 12, 33)
    trip = world.engine.now() - at - 1.0
    assert counters.round_trip / 65536 == pytest.approx(trip, abs=0.002)
    world.engine.inject(leg, b"\x81\xc9\x00\x01\x00\x00\x00\x00", world.engine.now(), rtcp=True)
    assert (leg.counters().rtcp_packets, leg.counters().rtcp_malformed) == (2, 1)


def test_a_bye_lets_the_next_stream_in(world: World) -> None:
    leg = world.leg()
    for k, ssrc in enumerate((5, 6)):
        for n in range(3):
            world.engine.inject(leg, rtp(n, n * 160, b"\xff" * 160, ssrc=ssrc), world.engine.now() + 0.02)
        if k == 1:
            world.engine.inject(leg, struct.pack("!BBHI", 0x81, 203, 1, 6), world.engine.now() + 0.01, rtcp=True)
    world.engine.inject(leg, rtp(0, 0, b"\xff" * 160, ssrc=7), world.engine.now() + 0.02)
    assert (leg.counters().placed, leg.counters().unsettled) == (7, 0)
