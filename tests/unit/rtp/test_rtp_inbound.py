"""What a leg does with packets: whom it listens to, what it drops and why, digits, reports, time-outs."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from rtp_peer import World, rtp, tone

from tapeline.rtp import Digit, Leg, MediaResumed, MediaStarted, MediaTimeout, Source, SourceChanged, StreamSpec, Voice
from tapeline.rtp.engine.virtual import PEER

QUIET = b"\xff" * 160
OTHER = ("198.51.100.9", 4444)


def feed(world: World, leg: Leg, count: int, *, sequence: int = 100, ssrc: int = 7, source: tuple[str, int] = PEER, stamp: int = 0) -> None:
    for k in range(count):
        world.engine.inject(leg, rtp(sequence + k, stamp + k * 160, QUIET, ssrc=ssrc), world.engine.now() + 0.02, source=source)


def test_each_drop_has_its_reason(world: World) -> None:
    leg = world.engine.open_leg()
    now = world.engine.now()
    world.engine.inject(leg, rtp(1, 0, QUIET), now)
    leg.configure(StreamSpec(remote=PEER, dtmf_payload_type=101, comfort_noise_payload_type=13))
    packets = [
        rtp(1, 0, QUIET),  # placed
        rtp(1, 0, QUIET),  # the same again
        b"\x80\x00garbage",
        rtp(2, 160, QUIET, payload_type=9),
        rtp(3, 320, b"\x40", payload_type=13),
        rtp(4, 480, bytes((1, 10, 0, 160)), payload_type=101),
        rtp(5, 640, b""),
        rtp(6, 800, QUIET, ssrc=8),  # another stream, at once
        rtp(7, 960, QUIET, ssrc=9),  # and a third one: not so soon
        bytes.fromhex("80c90001aabbccdd"),
        bytes(3000),
    ]
    for k, data in enumerate(packets):
        world.engine.inject(leg, data, now + 0.1 + k * 0.02)
    world.engine.inject(leg, rtp(8, 1120, QUIET, ssrc=8), now + 0.4, source=OTHER)
    world.engine.inject(leg, rtp(6, 800 - 16000, QUIET, ssrc=8), now + 0.42)  # doubled
    world.engine.inject(leg, rtp(5, 800 - 16000, QUIET, ssrc=8), now + 0.44)  # older than what is kept
    world.engine.inject(leg, rtp(4, 800 + 16000, QUIET, ssrc=8), now + 0.46)  # older by number, but two seconds ahead
    leg.configure(StreamSpec(remote=PEER, dtmf_payload_type=101, comfort_noise_payload_type=13, direction="sendonly"))
    world.engine.inject(leg, rtp(9, 1280, QUIET, ssrc=8), now + 0.5)
    counters = leg.counters()
    assert counters.early == 1
    assert counters.placed == 2
    assert counters.duplicate == 2
    assert counters.malformed == 2
    assert counters.wrong_payload == 1
    assert counters.comfort_noise == 1
    assert counters.dtmf == 1
    assert counters.empty == 1
    assert counters.unsettled == 1
    assert counters.reports == 1
    assert counters.foreign == 1
    assert counters.late == 1
    assert counters.implausible == 1
    assert counters.unwanted == 1
    assert counters.packets == 17
    world.check_counters(leg)


def test_the_first_packet_tells_where_the_peer_is(world: World) -> None:
    leg = world.leg(remote=("10.0.0.1", 9))
    feed(world, leg, 3, source=PEER)
    feed(world, leg, 3, source=OTHER, sequence=103, stamp=480)
    assert (leg.counters().placed, leg.counters().foreign) == (3, 3)


def test_the_address_of_the_sdp_wins_over_one_that_came_first(world: World) -> None:
    leg = world.leg(remote=PEER)
    feed(world, leg, 3, source=OTHER, ssrc=1)
    feed(world, leg, 3, source=PEER, ssrc=2)
    feed(world, leg, 3, source=OTHER, ssrc=1, sequence=103)
    assert (leg.counters().placed, leg.counters().foreign) == (6, 3)
    assert len(world.events(SourceChanged)) == 1


def test_a_peer_behind_a_new_binding_is_found_again(world: World) -> None:
    leg = world.leg()
    feed(world, leg, 5)
    world.wait(1.5)
    feed(world, leg, 5, sequence=105, stamp=5 * 160 + 12000, source=OTHER)
    assert (leg.counters().placed, leg.counters().foreign) == (10, 0)


def test_a_new_address_in_the_sdp_is_followed_at_once(world: World) -> None:
    leg = world.leg()
    feed(world, leg, 5)
    leg.configure(StreamSpec(remote=OTHER))
    feed(world, leg, 5, sequence=500, ssrc=9, source=OTHER)
    feed(world, leg, 2, sequence=105, source=PEER)
    assert (leg.counters().placed, leg.counters().foreign) == (10, 2)


def test_two_streams_mixed_up_do_not_flap(world: World) -> None:
    leg = world.leg()
    feed(world, leg, 60)
    for k in range(100):
        world.engine.inject(leg, rtp(160 + k, (60 + k) * 160, QUIET), world.engine.now() + 0.01)
        world.engine.inject(leg, rtp(900 + k, k * 160, QUIET, ssrc=8), world.engine.now() + 0.01)
    counters = leg.counters()
    assert counters.changes <= 2
    assert counters.placed >= 150
    world.check_counters(leg)


def test_a_sender_that_begins_anew_is_heard_after_one_packet(world: World) -> None:
    leg = world.leg()
    feed(world, leg, 10)
    feed(world, leg, 10, sequence=30000, stamp=77)
    assert (leg.counters().placed, leg.counters().unsettled) == (19, 1)


def test_media_starts_stops_and_comes_back(world: World) -> None:
    leg = world.leg(timeout_s=2.0)
    world.wait(1.0)
    feed(world, leg, 5)
    last = world.engine.now()
    world.wait(5.0)
    feed(world, leg, 2, sequence=105, stamp=50000)
    world.wait(0.1)
    assert len(world.events(MediaStarted)) == 1
    (timeout,) = world.events(MediaTimeout)
    assert timeout.leg is leg and 2.0 <= timeout.idle_s < 2.2 and timeout.at == pytest.approx(last + 2.0, abs=0.2)
    assert len(world.events(MediaResumed)) == 1


def test_a_leg_that_never_hears_anything_times_out(world: World) -> None:
    world.leg(timeout_s=1.0)
    held = world.leg(timeout_s=1.0, direction="sendonly")
    world.wait(3.0)
    (timeout,) = world.events(MediaTimeout)
    assert timeout.leg is not held


class Keypad:
    """Sends RFC 4733 events."""

    def __init__(self, world: World, leg: Leg) -> None:
        self.world, self.leg, self.sequence = world, leg, 0

    def event(self, code: int, stamp: int, duration: int, *, end: bool = False) -> None:
        self.sequence += 1
        payload = bytes((code, 0x80 * end | 10, duration >> 8, duration & 255))
        self.world.engine.inject(self.leg, rtp(self.sequence, stamp, payload, payload_type=101), self.world.engine.now() + 0.02)

    def press(self, code: int, stamp: int, packets: int = 5, ends: int = 3) -> None:
        for k in range(1, packets + 1):
            self.event(code, stamp, k * 160)
        for _ in range(ends):
            self.event(code, stamp, packets * 160, end=True)


@pytest.fixture
def keypad(world: World) -> Keypad:
    return Keypad(world, world.leg(dtmf_payload_type=101))


def digits(world: World) -> list[tuple[str, int]]:
    world.wait(0.5)
    return [(event.digit, event.duration_ms) for event in world.events(Digit)]


def test_each_digit_is_told_once(world: World, keypad: Keypad) -> None:
    for k, code in enumerate((1, 1, 10, 11, 15)):
        keypad.press(code, 1000 + k * 2000)
    assert digits(world) == [("1", 100), ("1", 100), ("*", 100), ("#", 100), ("D", 100)]


def test_a_lost_end_is_no_lost_digit(world: World, keypad: Keypad) -> None:
    keypad.press(5, 1000, ends=0)
    keypad.press(6, 3000, ends=0)
    assert digits(world) == [("5", 100), ("6", 100)]


def test_one_packet_is_enough(world: World, keypad: Keypad) -> None:
    keypad.press(5, 1000, packets=0, ends=1)
    assert digits(world) == [("5", 0)]


def test_stragglers_of_an_earlier_digit_are_nothing(world: World, keypad: Keypad) -> None:
    keypad.press(5, 1000)
    keypad.press(6, 3000)
    keypad.event(5, 1000, 800, end=True)
    assert digits(world) == [("5", 100), ("6", 100)]


def test_a_digit_longer_than_its_field_is_one_digit(world: World, keypad: Keypad) -> None:
    for duration in (*range(160, 65536, 800), 65535):
        keypad.event(3, 1000, duration)
    for duration in range(160, 1600, 160):
        keypad.event(3, 1000 + 65535, duration)
    keypad.event(3, 1000 + 65535, 1600, end=True)
    assert digits(world) == [("3", (65535 + 1600) // 8)]


def test_digits_of_a_new_stream_begin_anew(world: World, keypad: Keypad) -> None:
    keypad.press(5, 100000)
    keypad.sequence += 5000
    world.wait(4.0)
    keypad.press(6, 1000)
    assert digits(world) == [("5", 100), ("6", 100)]


def test_other_events_are_no_digits(world: World, keypad: Keypad) -> None:
    keypad.press(16, 1000)
    keypad.press(200, 3000)
    assert digits(world) == []
    assert keypad.leg.counters().dtmf == 16


def test_voice_is_noticed_and_missed(world: World) -> None:
    leg = world.leg()
    leg.watch_voice(500, 200)
    start = world.engine.now()
    world.speak((leg, np.zeros(8000, np.int16)))
    world.speak((leg, tone(1.0)))
    world.speak((leg, np.zeros(8000, np.int16)))
    on, off = world.events(Voice)
    assert on.voiced and on.at == pytest.approx(start + 1.0, abs=0.06)
    assert not off.voiced and off.at == pytest.approx(start + 2.0, abs=0.08)
    leg.watch_voice(-1)
    world.speak((leg, tone(1.0)))
    assert len(world.events(Voice)) == 2


def test_hum_below_the_threshold_is_no_voice(world: World) -> None:
    leg = world.leg()
    leg.watch_voice(500)
    world.speak((leg, tone(1.0, level=600)))
    assert world.events(Voice) == []


def test_comfort_noise_is_recorded_as_silence(world: World) -> None:
    leg = world.leg(comfort_noise_payload_type=13)
    tap = world.tap([Source("in", leg)])
    start = world.engine.now()
    world.speak((leg, tone(0.4)))
    sequence, stamp = world.streams[leg.id]
    world.engine.inject(leg, rtp(sequence, stamp, b"\x30", payload_type=13, ssrc=leg.id), start + 0.4)
    world.engine.advance(start + 1.0)
    world.streams[leg.id] = (sequence + 1, stamp + 4800)
    world.speak((leg, tone(0.4)))
    world.wait(0.1)
    tap.stop()
    world.wait(1.0)
    heard = world.recording()[:, 0]
    assert not heard[3200:8000].any()
    assert np.abs(heard[8000:8800]).max() > 7000


@pytest.mark.parametrize(("codec", "rate", "payload_type"), [("PCMU", 8000, 0), ("PCMA", 8000, 8), ("L16", 8000, 96), ("L16", 16000, 97)])
def test_every_codec_is_recorded(world: World, codec: str, rate: int, payload_type: int) -> None:
    leg = world.leg(codec=codec, rate=rate, payload_type=payload_type)
    tap = world.tap([Source("in", leg)], rate=rate)
    pcm = tone(1.0, rate=rate)
    world.speak((leg, pcm))
    tap.stop()
    world.wait(1.0)
    heard = world.recording()[:, 0].astype(int)
    assert len(heard) == pytest.approx(0.98 * rate, abs=1)
    assert np.abs(heard - pcm[: len(heard)]).max() <= (0 if codec == "L16" else 300)


def test_the_rate_may_change_in_the_middle(world: World) -> None:
    leg = world.leg()
    tap = world.tap([Source("in", leg)])
    world.speak((leg, tone(1.0)))
    world.wait(0.02)
    leg.configure(StreamSpec(codec="L16", rate=16000, payload_type=97, remote=PEER))
    world.speak((leg, tone(1.0, rate=16000)))
    world.wait(0.02)
    tap.stop()
    world.wait(1.0)
    heard = world.recording()[:, 0].astype(float)
    assert len(heard) == pytest.approx(16320 - 160, abs=161)
    pitches = [np.abs(np.fft.rfft(heard[at : at + 7200] * np.hanning(7200))).argmax() * 8000 / 7200 for at in (200, 8500)]
    assert pitches == pytest.approx([440, 440], abs=2)


def test_a_held_leg_does_not_time_out(world: World) -> None:
    """The peer holds us by an offer to send only, and sends nothing; a leg that never sent is another matter."""
    leg = world.leg(timeout_s=1.0)
    world.speak((leg, tone(0.2)))
    for direction in ("recvonly", "inactive", "recvonly"):
        leg.configure(StreamSpec(remote=PEER, timeout_s=1.0, direction=direction))  # type: ignore[arg-type]
        world.wait(3.0)
    assert world.events(MediaTimeout) == []
    leg.configure(StreamSpec(remote=PEER, timeout_s=1.0))
    world.wait(0.8)
    assert world.events(MediaTimeout) == [], "the time counts from the resuming"
    world.wait(0.5)
    assert [event.leg for event in world.events(MediaTimeout)] == [leg]


def test_the_time_counts_from_when_it_is_first_to_be_watched(world: World) -> None:
    leg = world.leg(timeout_s=0.0)
    world.wait(5.0)
    leg.configure(StreamSpec(remote=PEER, timeout_s=1.0))
    world.wait(0.8)
    assert world.events(MediaTimeout) == [], "it rang for long, and is answered now"
    world.wait(0.5)
    assert [event.leg for event in world.events(MediaTimeout)] == [leg]


def test_reports_go_where_the_peers_come_from(world: World) -> None:
    """A peer behind a NAT: its SDP names a port that nobody hears."""
    leg = world.leg()
    world.speak((leg, tone(1.0)))
    report = struct.pack("!BBHI", 0x80, 201, 1, leg.id)
    world.engine.inject(leg, report, world.engine.now(), source=("198.51.100.9", 6001), rtcp=True)
    assert leg.counters().rtcp_foreign == 1
    world.engine.inject(leg, report, world.engine.now(), source=(PEER[0], 6001), rtcp=True)
    assert leg.remotes() == (PEER, (PEER[0], 6001))
