"""Legs that speak G.722 and Opus: decoded and encoded off the tick, with exact time. Virtual time."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest
from coded_peer import SPECS, CodedPeer, converse, level, murmur
from rtp_peer import World, rtp, tone

from tapeline.rtp import Digit, EngineConfig, Leg, PlayerEnded, Source, StreamSpec, UnknownCodec, Voice, codecs
from tapeline.rtp.codecs import Undecodable, opus
from tapeline.rtp.codecs.opus import wishes
from tapeline.rtp.engine.virtual import VirtualEngine
from tapeline.testing.alignment import offset_between

CODED = ["G722", "opus"]
ALL = ["PCMU", *CODED]


def open_peer(world: World, codec: str, ptime: int = 20, **changes: object) -> CodedPeer:
    leg = world.engine.open_leg()
    leg.configure(StreamSpec(**(vars(SPECS[codec]) | {"ptime": ptime} | changes)))
    return CodedPeer(world, leg, ptime)


def record(world: World, *legs: Leg, rate: int, seconds: float) -> np.ndarray:  # type: ignore[type-arg]
    tap = world.tap(*([Source("in", leg)] for leg in legs), rate=rate)
    world.wait(seconds)
    tap.stop()
    world.wait(2)
    return world.recording(len(legs))


@pytest.mark.parametrize("codec", CODED)
def test_the_rates_of_a_leg(world: World, codec: str) -> None:
    leg = open_peer(world, codec).leg
    assert (leg.rate, leg.spec and leg.spec.rate) == {"G722": (16000, 8000), "opus": (48000, 48000)}[codec]


@pytest.mark.parametrize("ptime", [10, 20, 40, 60])
@pytest.mark.parametrize("codec", CODED)
def test_what_is_said_is_recorded_at_the_legs_rate(world: World, codec: str, ptime: int) -> None:
    peer = open_peer(world, codec, ptime)
    rate = peer.leg.rate
    tap = world.tap([Source("in", peer.leg)], rate=rate)
    converse(world, peer.packets(tone(2.4, 1000, 8000, rate), world.engine.now() + 0.1))
    world.wait(0.5)
    tap.stop()
    world.wait(2)
    audio = world.recording()[:, 0]
    middle = audio[rate // 2 : rate * 2]
    assert level(middle, 1000, rate) == pytest.approx(8000, rel=0.12)
    assert np.count_nonzero(np.abs(audio.astype(int)) > 4000) > rate  # and no gap in it
    counters = peer.leg.counters()
    assert counters.placed == counters.packets == round(2400 / ptime) and counters.late == 0
    world.check_counters(peer.leg)


@pytest.mark.parametrize("seed", range(3))
def test_legs_of_all_codecs_stand_together(world: World, seed: int) -> None:
    peers = [open_peer(world, codec) for codec in ALL]
    tap = world.tap(*([Source("in", peer.leg)] for peer in peers), rate=48000)
    start = world.engine.now() + 0.1 + seed * 0.0063
    converse(world, *(peer.packets(murmur(4, peer.leg.rate), start) for peer in peers))
    world.wait(0.5)
    tap.stop()
    world.wait(2)
    audio = world.recording(3)
    assert abs(offset_between(audio[:, 0], audio[:, 1], 48000)) < 0.0005
    assert abs(offset_between(audio[:, 0], audio[:, 2], 48000)) < 0.0005


@pytest.mark.parametrize("ptime", [10, 20, 30, 40, 50, 60])
@pytest.mark.parametrize("codec", CODED)
def test_a_prompt_is_sent_at_exact_pace(world: World, codec: str, ptime: int) -> None:
    leg = open_peer(world, codec, ptime).leg
    peer = CodedPeer(world, leg, codecs.find(*(codec, leg.spec.rate if leg.spec else 0)).ptime(ptime))
    leg.play(tone(1.2, 700, 8000, leg.rate))
    world.wait(2)
    packets = world.sent(leg)
    span = peer.ptime * (8 if codec == "G722" else 48)
    assert {(after.stamp - before.stamp) & 0xFFFFFFFF for before, after in zip(packets, packets[1:], strict=False)} == {span}
    assert {(after.sequence - before.sequence) & 0xFFFF for before, after in zip(packets, packets[1:], strict=False)} == {1}
    assert packets[0].marker and not any(packet.marker for packet in packets[1:])
    heard = peer.heard()
    sounding = np.flatnonzero(np.abs(heard.astype(int)) > 3000)
    assert (sounding[-1] - sounding[0]) / leg.rate == pytest.approx(1.2, abs=0.01)
    assert level(heard[sounding[0] + leg.rate // 4 :][: leg.rate // 2], 700, leg.rate) == pytest.approx(8000, rel=0.12)
    assert world.events(PlayerEnded) and leg.counters().unsent == 0
    assert leg.counters().octets == sum(len(packet.payload) for packet in packets)


@pytest.mark.parametrize("codec", CODED)
def test_echo(world: World, codec: str) -> None:
    peer = open_peer(world, codec)
    peer.leg.echo(True)
    converse(world, peer.packets(murmur(3, peer.leg.rate), world.engine.now() + 0.05))
    world.wait(0.2)
    said, heard = murmur(3, peer.leg.rate), peer.heard()
    assert 0.02 < offset_between(said, heard, peer.leg.rate) < 0.15


def test_three_codecs_on_one_bus_hear_each_other(world: World) -> None:
    bus = world.engine.open_bus()
    peers = [open_peer(world, codec) for codec in ALL]
    tones = dict(zip(ALL, (500, 900, 1300), strict=True))
    for peer in peers:
        bus.add(peer.leg)
    tap = world.tap([Source("mix", bus)], rate=16000)
    start = world.engine.now() + 0.1
    converse(world, *(peer.packets(tone(3, tones[peer.spec.codec], 5000, peer.leg.rate), start) for peer in peers))
    tap.stop()
    world.wait(1)
    mixed = world.recording()[16000:40000, 0]
    for peer in peers:
        heard = peer.heard()[peer.leg.rate : peer.leg.rate * 5 // 2]
        for codec, hz in tones.items():
            wanted = 0 if codec == peer.spec.codec else 5000
            assert level(heard, hz, peer.leg.rate) == pytest.approx(wanted, abs=700), (peer.spec.codec, codec)
    for hz in tones.values():
        assert level(mixed, hz, 16000) == pytest.approx(5000, rel=0.12)


@pytest.mark.parametrize("codec", CODED)
def test_loss_is_silence_and_keeps_time(world: World, codec: str) -> None:
    whole, torn = open_peer(world, codec), open_peer(world, codec)
    tap = world.tap([Source("in", whole.leg)], [Source("in", torn.leg)], rate=whole.leg.rate)
    start = world.engine.now() + 0.1
    audio = murmur(6, whole.leg.rate)
    kept = [packet for number, packet in enumerate(torn.packets(audio, start)) if number % 10 != 3 and not 100 <= number < 125]
    converse(world, whole.packets(audio, start), kept)
    world.wait(0.3)
    tap.stop()
    world.wait(2)
    sound = world.recording(2)
    assert abs(offset_between(sound[:, 0], sound[:, 1], whole.leg.rate)) < 0.0005
    gap = sound[int(2.15 * whole.leg.rate) : int(2.55 * whole.leg.rate), 1]
    assert not gap.any()
    tail = sound[int(5 * whole.leg.rate) : int(6 * whole.leg.rate)]
    assert abs(offset_between(tail[:, 0], tail[:, 1], whole.leg.rate)) < 0.0005
    world.check_counters(torn.leg)


def test_an_opus_sender_that_falls_silent(world: World) -> None:
    peer = open_peer(world, "opus")
    tap = world.tap([Source("in", peer.leg)], rate=48000)
    start = world.engine.now() + 0.1
    packets = peer.packets(tone(2, 800, 8000, 48000), start)
    quiet = [(at, leg, data[:13] if 40 <= number < 60 else data) for number, (at, leg, data) in enumerate(packets)]
    converse(world, quiet)
    world.wait(0.2)
    tap.stop()
    world.wait(2)
    audio = world.recording()[:, 0]
    assert not audio[int(0.93 * 48000) : int(1.28 * 48000)].any()
    assert np.abs(audio[int(1.5 * 48000) : int(2 * 48000)]).max() > 4000
    assert peer.leg.counters().comfort_noise == 20
    world.check_counters(peer.leg)


@pytest.mark.parametrize(
    ("codec", "payload"),
    [("opus", b"\xff"), ("opus", b"\xff\x00" + bytes(30)), ("opus", b"\xff\x3f" + bytes(30)), ("opus", b"\x03\x30" + bytes(100)),
     ("opus", b"\x01\x02\x03\x04"), ("opus", os.urandom(1) + b"\xff" * 1400), ("G722", b"\xff" * 1900), ("G722", b"\x00"), ("opus", b"")],
)  # fmt: skip
def test_payloads_of_hostile_content(world: World, codec: str, payload: bytes) -> None:
    peer = open_peer(world, codec)
    tap = world.tap([Source("in", peer.leg)], rate=peer.leg.rate)
    start = world.engine.now() + 0.1
    said = peer.packets(tone(1, 800, 8000, peer.leg.rate), start)
    said[10] = (said[10][0], peer.leg, said[10][2][:12] + payload)
    converse(world, said)
    world.wait(0.3)
    tap.stop()
    world.wait(2)
    audio = world.recording()[:, 0]
    assert np.abs(audio[int(0.6 * peer.leg.rate) : int(0.9 * peer.leg.rate)]).max() > 4000  # what follows is heard
    counters = peer.leg.counters()
    assert counters.placed >= 49 and counters.packets == 50
    world.check_counters(peer.leg)


def test_a_queue_that_is_full_is_counted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    peer = open_peer(world, "opus")
    world.tap([Source("in", peer.leg)], rate=48000)
    monkeypatch.setattr(world.engine._shards[0].coder, "work", lambda handle: None)  # a codec thread that stands still
    open_peer(world, "opus").leg.echo(True)
    peer.leg.echo(True)
    big = bytes((0xFF, 0x02)) + bytes(1900)
    start = world.engine.now()
    for number in range(3000):
        world.engine.inject(peer.leg, rtp(100 + number, 960 * number, big, payload_type=111), start + number * 0.02)
    counters = peer.leg.counters()
    assert counters.overloaded > 0 and counters.placed > 0 and counters.unsent > 0
    world.check_counters(peer.leg)
    monkeypatch.undo()
    world.wait(2)
    assert peer.leg.counters().late == counters.placed
    assert all(later.at - sent.at < 0.25 for sent, later in zip(world.sent(peer.leg)[-20:], world.sent(peer.leg)[-19:], strict=False))
    world.check_counters(peer.leg)


@pytest.mark.parametrize("codec", CODED)
def test_a_leg_lives_until_its_last_packet_is_decoded(world: World, codec: str) -> None:
    peer = open_peer(world, codec)
    tap = world.tap([Source("in", peer.leg)], rate=peer.leg.rate)
    start = world.engine.now()
    converse(world, peer.packets(tone(1, 800, 8000, peer.leg.rate), start))
    peer.leg.close()
    world.wait(0.02)
    tap.stop()
    world.wait(3)
    assert peer.leg.gone
    audio = world.recording()[:, 0]
    assert np.abs(audio[int(0.9 * peer.leg.rate) :]).max() > 4000


@pytest.mark.parametrize("codec", CODED)
def test_digits_among_packets(world: World, codec: str) -> None:
    peer = open_peer(world, codec)
    peer.leg.play(tone(1, 500, 3000, peer.leg.rate))
    world.wait(0.1)
    peer.leg.send_digits("5")
    world.wait(1)
    packets = world.sent(peer.leg)
    assert {(after.sequence - before.sequence) & 0xFFFF for before, after in zip(packets, packets[1:], strict=False)} == {1}
    events = [packet for packet in packets if packet.payload_type == 101]
    assert len(events) >= 5 and struct.unpack("!BBH", events[-1].payload) == (5, 138, 800 if codec == "G722" else 4800)
    for number, (end, span) in enumerate([(0, 160), (0, 320), (128, 800)]):
        peer.world.engine.inject(peer.leg, rtp(7 + number, 9000, struct.pack("!BBH", 3, end, span), payload_type=101), world.engine.now())
    world.wait(0.1)
    assert [event.digit for event in world.events(Digit)] == ["3"]


def test_voice_is_watched(world: World) -> None:
    peer = open_peer(world, "G722")
    peer.leg.watch_voice(500)
    converse(world, peer.packets(tone(1, 500, 8000, 16000), world.engine.now() + 0.3))
    world.wait(1)
    assert [event.voiced for event in world.events(Voice)] == [True, False]


def test_a_leg_changes_its_codec(world: World) -> None:
    first = open_peer(world, "PCMU")
    tap = world.tap([Source("in", first.leg)], rate=8000)
    converse(world, first.packets(tone(1, 500, 8000), world.engine.now()))
    for codec in ("G722", "opus"):
        first.leg.configure(SPECS[codec])
        peer = CodedPeer(world, first.leg)
        converse(world, peer.packets(tone(1, 500, 8000, first.leg.rate), world.engine.now()))
    world.wait(0.3)
    tap.stop()
    world.wait(2)
    audio = world.recording()[:, 0]
    for second in range(3):
        part = audio[second * 8000 + 2000 : second * 8000 + 7000]
        assert level(part, 500, 8000) == pytest.approx(8000, rel=0.12), second
    world.check_counters(first.leg)


def test_one_leg_cannot_take_the_codec_thread_for_itself(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    greedy, other = open_peer(world, "opus"), open_peer(world, "opus")
    world.tap([Source("in", greedy.leg)], [Source("in", other.leg)], rate=48000)
    monkeypatch.setattr(world.engine._shards[0].coder, "work", lambda handle: True)
    start = world.engine.now()
    for number in range(400):
        world.engine.inject(greedy.leg, rtp(100 + number, 5000, b"\xfb\x03" + b"\xff\xfe" * 3, payload_type=111), start)
    converse(world, other.packets(tone(0.4, 500, 8000, 48000), start))
    assert 100 < greedy.leg.counters().placed <= 128 and greedy.leg.counters().overloaded >= 272
    assert other.leg.counters().placed == 20
    world.check_counters(greedy.leg)


def test_what_waited_too_long_is_not_encoded_any_more(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    leg = open_peer(world, "G722").leg
    leg.play(tone(5, 500, 8000, 16000))
    coder = world.engine._shards[0].coder
    encoded: list[int] = []
    do = coder._do
    monkeypatch.setattr(coder, "_do", lambda kind, *task: encoded.append(kind) or do(kind, *task))
    work = coder.work
    monkeypatch.setattr(coder, "work", lambda handle: True)
    world.wait(1)
    assert work(world.engine._shards[0].handle)
    world.wait(0.1)
    assert len(encoded) == pytest.approx(5, abs=2)  # of fifty, those of the last 0.1 s
    assert leg.counters().unsent == pytest.approx(45, abs=2)


def test_what_nobody_hears_is_not_decoded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    peer = open_peer(world, "opus", direction="recvonly")
    asked: list[object] = []
    monkeypatch.setattr(world.engine._shards[0].coder, "_do", lambda *task: asked.append(task) or b"")
    converse(world, peer.packets(tone(0.5, 500, 8000, 48000), world.engine.now()))
    assert not asked and peer.leg.counters().placed == 25


def test_opus_wishes() -> None:
    assert wishes("useinbandfec=1; maxaveragebitrate=20000;stereo=1;x;cbr=yes;=;a=99999999999") == {
        "useinbandfec": 1, "maxaveragebitrate": 20000, "stereo": 1,
    }  # fmt: skip
    assert wishes("") == {}


def test_opus_keeps_to_the_bit_rate_it_is_asked_for() -> None:
    pcm = murmur(2, 48000).astype(">i2").tobytes()
    spent = []
    for fmtp in ("maxaveragebitrate=8000;cbr=1", "maxaveragebitrate=900000;cbr=1"):
        coder = opus.OpusCoder(20, fmtp)
        spent.append(sum(len(coder.encode(pcm[at : at + 1920])) for at in range(0, len(pcm), 1920)) * 4)
    assert spent[0] == pytest.approx(8000, rel=0.1) and spent[1] == pytest.approx(64000, rel=0.1)


def test_stereo_is_mixed_to_mono() -> None:
    from av import AudioFrame, CodecContext

    encoder = CodecContext.create("libopus", "w")
    encoder.sample_rate, encoder.layout, encoder.format, encoder.bit_rate = 48000, "stereo", "s16", 96000  # type: ignore[attr-defined]
    coder = opus.OpusCoder(20, "")
    both = np.stack([tone(1, 500, 8000, 48000), tone(1, 1500, 8000, 48000)], axis=1)
    heard = []
    for at in range(0, 48000, 960):
        frame = AudioFrame.from_ndarray(both[at : at + 960].reshape(1, -1), format="s16", layout="stereo")
        frame.sample_rate, frame.pts = 48000, at
        heard += [np.frombuffer(coder.decode(bytes(packet)), ">i2") for packet in encoder.encode(frame)]  # type: ignore[attr-defined]
    mono = np.concatenate(heard)[12000:36000]
    assert level(mono, 500, 48000) == pytest.approx(4000, rel=0.15) and level(mono, 1500, 48000) == pytest.approx(4000, rel=0.15)


@pytest.mark.parametrize("ptime", [10, 20, 40, 60])
def test_silence_written_by_hand_is_opus(ptime: int) -> None:
    coder = opus.OpusCoder(ptime, "")
    decoded = coder.decode(coder.quiet(48 * ptime))
    assert len(decoded) == 96 * ptime and not any(decoded)


def test_an_empty_opus_packet_does_not_end_the_decoder() -> None:
    coder = opus.OpusCoder(20, "")
    with pytest.raises(Undecodable):
        coder.decode(b"")
    assert len(coder.decode(coder.encode(bytes(1920)))) == 1920


def test_without_pyav_opus_is_not_there(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    opus.available.cache_clear()
    monkeypatch.setattr(opus.importlib.util, "find_spec", lambda name: None)
    assert not codecs.available("opus") and codecs.available("G722") and not codecs.available("speex")
    with pytest.raises(UnknownCodec, match="not installed"):
        world.engine.open_leg().configure(SPECS["opus"])
    opus.available.cache_clear()


@pytest.mark.parametrize("codec", CODED)
def test_two_legs_of_one_codec_are_relayed_and_recorded(world: World, codec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bus = world.engine.open_bus()
    caller, callee = open_peer(world, codec), open_peer(world, codec)
    rate = caller.leg.rate
    for peer in (caller, callee):
        bus.add(peer.leg)
    converse(world, caller.packets(tone(1, 500, 8000, rate), world.engine.now()))
    asked: list[int] = []
    work = world.engine._shards[0].coder._do
    monkeypatch.setattr(world.engine._shards[0].coder, "_do", lambda kind, *task: asked.append(kind) or work(kind, *task))
    said = caller.packets(tone(1, 500, 8000, rate), world.engine.now() + 0.02)
    before = len(world.sent(callee.leg))
    converse(world, said, callee.packets(tone(1, 900, 8000, rate), world.engine.now() + 0.02))
    passed = [packet.payload for packet in world.sent(callee.leg)[before:]]
    assert passed == [data[12:] for _, _, data in said]  # untouched
    assert len(asked) < 3  # and nobody decodes what nobody hears, once it is relayed
    tap = world.tap([Source("in", caller.leg)], [Source("out", caller.leg)], rate=rate)
    start = world.engine.now() + 0.02
    converse(world, caller.packets(murmur(2, rate), start), callee.packets(murmur(2, rate), start))
    world.wait(0.1)
    tap.stop()
    world.wait(2)
    sound = world.recording(2)
    assert abs(offset_between(sound[:, 0], sound[:, 1], rate)) < 0.0005
    assert np.abs(sound[rate:, 1]).max() > 4000
    for peer in (caller, callee):
        packets = world.sent(peer.leg)
        assert {(after.sequence - before.sequence) & 0xFFFF for before, after in zip(packets, packets[1:], strict=False)} == {1}
        world.check_counters(peer.leg)


@pytest.mark.parametrize("codec", CODED)
def test_from_relay_to_mix_and_back(world: World, codec: str) -> None:
    bus = world.engine.open_bus()
    caller, callee, third = open_peer(world, codec), open_peer(world, codec), open_peer(world, "PCMU")
    rate = caller.leg.rate
    bus.add(caller.leg)
    bus.add(callee.leg)
    for hz in (500, 700, 900):
        if hz == 700:
            bus.add(third.leg)
        start = world.engine.now() + 0.02
        converse(world, caller.packets(tone(2, hz, 8000, rate), start), third.packets(tone(2, 1500, 6000), start))
        if hz == 700:
            bus.remove(third.leg)
    packets = world.sent(callee.leg)
    assert {(after.sequence - before.sequence) & 0xFFFF for before, after in zip(packets, packets[1:], strict=False)} == {1}
    steps = [((after.stamp - before.stamp + 2**31) & 0xFFFFFFFF) - 2**31 for before, after in zip(packets, packets[1:], strict=False)]
    assert min(steps) > 0 and sum(steps) / (packets[-1].at - packets[0].at) == pytest.approx(8000 if codec == "G722" else 48000, rel=0.05)
    heard = callee.heard()
    for second, hz in ((1, 500), (3, 700), (5, 900)):
        parts = [heard[at : at + rate // 10] for at in range(round((second - 0.3) * rate), round((second + 0.4) * rate), rate // 10)]
        assert np.median([level(part, hz, rate) for part in parts]) == pytest.approx(8000, rel=0.15), hz
        assert np.median([level(part, 1500, rate) for part in parts]) == pytest.approx(6000 if hz == 700 else 0, abs=900), hz


@pytest.mark.parametrize("codec", CODED)
def test_a_leg_moves_to_another_thread_with_its_codec(tmp_path: Path, codec: str) -> None:
    world = World(tmp_path)
    world.engine.stop()
    world.engine = VirtualEngine(EngineConfig(threads=2), start=1000.0)
    peer, other = open_peer(world, codec), open_peer(world, "PCMU")
    assert peer.leg.shard is not other.leg.shard
    rate = peer.leg.rate
    tap = world.tap([Source("in", peer.leg)], rate=rate)
    converse(world, peer.packets(tone(1, 500, 8000, rate), world.engine.now() + 0.02))
    bus = world.engine.open_bus(beside=other.leg)
    bus.add(other.leg)
    bus.add(peer.leg)
    converse(world, peer.packets(tone(1, 500, 8000, rate), world.engine.now() + 0.02))
    world.wait(0.2)
    tap.stop()
    world.wait(2)
    assert peer.leg.shard is other.leg.shard
    sound = world.recording()[:, 0]
    parts = [sound[at : at + rate // 50] for at in range(rate // 10, round(1.95 * rate), rate // 50)]
    assert min(np.abs(part.astype(int)).max() for part in parts) > 5000  # no gap
    packets = world.sent(peer.leg)
    assert {(after.sequence - before.sequence) & 0xFFFF for before, after in zip(packets, packets[1:], strict=False)} == {1}
    span = 160 if codec == "G722" else 960
    assert {(after.stamp - before.stamp) & 0xFFFFFFFF for before, after in zip(packets, packets[1:], strict=False)} == {span}
    world.check_counters(peer.leg)
    world.engine.stop()
