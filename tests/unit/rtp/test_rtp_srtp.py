"""SRTP (RFC 3711) on legs: pylibsrtp's own sessions are the peer. Virtual time."""

from __future__ import annotations

import random
import struct

import numpy as np
import pytest
from coded_peer import SPECS, CodedPeer, converse, level
from pylibsrtp import Error, Policy, Session
from rtp_peer import World, decode, encode, rtp, tone

from tapeline.core.errors import InvalidInput
from tapeline.rtp import Leg, Source, SrtpKeys, StreamSpec
from tapeline.rtp.engine.virtual import PEER

SUITES = {
    "AES_CM_128_HMAC_SHA1_80": (Policy.SRTP_PROFILE_AES128_CM_SHA1_80, 10),
    "AES_CM_128_HMAC_SHA1_32": (Policy.SRTP_PROFILE_AES128_CM_SHA1_32, 4),
}
SUITE = "AES_CM_128_HMAC_SHA1_80"
OURS, THEIRS, OTHER = bytes(range(30)), bytes(range(100, 130)), bytes(range(200, 230))
KEYS = SrtpKeys(SUITE, OURS, THEIRS)


class SealedPeer:
    """The other end of a keyed leg: `seals` what it says, `opens` what it is sent."""

    def __init__(self, ours: bytes = OURS, theirs: bytes = THEIRS, suite: str = SUITE) -> None:
        profile = SUITES[suite][0]
        self.seals = Session(Policy(theirs, Policy.SSRC_ANY_OUTBOUND, srtp_profile=profile))
        self.opens = Session(Policy(ours, Policy.SSRC_ANY_INBOUND, srtp_profile=profile))

    def say(self, pcm: np.ndarray, sequence: int = 100, ssrc: int = 7) -> list[bytes]:  # type: ignore[type-arg]
        plain = [rtp(sequence + k, 5000 + 160 * k, encode(pcm[160 * k :][:160]), ssrc=ssrc) for k in range(len(pcm) // 160)]
        return [self.seals.protect(packet) for packet in plain]


def keyed(world: World, keys: SrtpKeys | None = KEYS, **changes: object) -> Leg:
    leg = world.engine.open_leg()
    leg.configure(StreamSpec(**({"remote": PEER, "srtp": keys} | changes)))  # type: ignore[arg-type]
    return leg


def hear(world: World, leg: Leg, packets: list[bytes], start: float = 0.02) -> None:
    begin = world.engine.now() + start
    for number, packet in enumerate(packets):
        world.engine.inject(leg, packet, begin + number * 0.02)


@pytest.mark.parametrize("suite", SUITES)
def test_a_keyed_leg_speaks_and_hears(world: World, suite: str) -> None:
    leg, peer = keyed(world, SrtpKeys(suite, OURS, THEIRS)), SealedPeer(suite=suite)
    tap = world.tap([Source("in", leg)])
    leg.play(tone(0.5, 700))
    hear(world, leg, peer.say(tone(1)))
    tap.stop()
    world.wait(2)
    assert level(world.recording()[2000:7000, 0], 440, 8000) == pytest.approx(8000, rel=0.05)
    assert leg.counters().placed == 50
    sent = [sent for sent in world.engine.sent if not sent.rtcp]
    assert {len(packet.data) for packet in sent} == {172 + SUITES[suite][1]}
    opened = [peer.opens.unprotect(packet.data) for packet in sent]
    assert level(decode(b"".join(packet[12:] for packet in opened[2:22])), 700, 8000) == pytest.approx(8000, rel=0.05)
    world.check_counters(leg)


@pytest.mark.parametrize("suite", SUITES)
def test_reports_are_sealed_too(world: World, suite: str) -> None:
    leg, peer = keyed(world, SrtpKeys(suite, OURS, THEIRS), rtcp_mux=True), SealedPeer(suite=suite)
    hear(world, leg, peer.say(tone(8)))
    reports = [peer.opens.unprotect_rtcp(sent.data) for sent in world.engine.sent if sent.rtcp]
    assert reports and {report[1] for report in reports} == {200}
    block = struct.pack("!IIIIII", struct.unpack_from("!I", reports[0], 4)[0], 7 << 24, 0, 9, 0, 0)
    report = struct.pack("!BBHI", 0x81, 201, 7, 7) + block
    world.engine.inject(leg, peer.seals.protect_rtcp(report), world.engine.now())
    world.engine.inject(leg, peer.seals.protect_rtcp(report), world.engine.now(), rtcp=True)
    assert leg.counters().remote_fraction == 7 and leg.counters().rtcp_packets == 2
    world.engine.inject(leg, report, world.engine.now())
    world.engine.inject(leg, SealedPeer(theirs=OTHER).seals.protect_rtcp(report), world.engine.now(), rtcp=True)
    assert leg.counters().rtcp_unauthentic == 2
    world.check_counters(leg)


def test_what_is_not_sealed_with_the_key_is_refused_and_counted(world: World) -> None:
    leg, peer = keyed(world), SealedPeer()
    first, second, third = peer.say(tone(0.06))
    stranger = SealedPeer(theirs=OTHER).say(tone(0.02))[0]
    for forged in (rtp(100, 5000, bytes(160)), first[:-1], first[:-1] + bytes((first[-1] ^ 1,)), first[:40] + b"x" + first[41:], stranger):
        world.engine.inject(leg, forged, world.engine.now(), source=("203.0.113.9", 99))
    assert leg.counters().unauthentic == 5 and leg.counters().placed == 0
    assert leg.remotes()[0] == PEER  # nobody who does not know the key moves the stream
    for packet in (first, third, second, second, first):
        world.engine.inject(leg, packet, world.engine.now() + 0.02)
    assert leg.counters().placed == 3 and leg.counters().replayed == 2
    for short in (b"", b"\x80", first[:11]):
        world.engine.inject(leg, short, world.engine.now())
    assert leg.counters().malformed == 3
    world.check_counters(leg)


def test_a_late_packet_is_still_opened(world: World) -> None:
    leg, peer = keyed(world), SealedPeer()
    world.tap([Source("in", leg)])
    packets = peer.say(tone(2))
    hear(world, leg, [packet for number, packet in enumerate(packets) if number != 60])
    world.engine.inject(leg, packets[60], world.engine.now())
    assert leg.counters().placed == 100 and leg.counters().late == 0


def test_a_sequence_that_wraps(world: World) -> None:
    leg, peer = keyed(world), SealedPeer()
    hear(world, leg, peer.say(tone(4), sequence=65400))
    assert leg.counters().placed == 200
    leg.configure(StreamSpec(remote=PEER, srtp=KEYS, direction="sendonly"))
    leg.configure(StreamSpec(remote=PEER, srtp=KEYS))  # held and taken up again with the same keys: the rollover counter goes on
    later = [peer.seals.protect(rtp(65600 + k, 5000 + 160 * (200 + k), bytes(160))) for k in range(50)]
    hear(world, leg, later)
    assert leg.counters().placed == 250 and leg.counters().unauthentic == 0


def test_new_keys_come_with_a_new_stream(world: World) -> None:
    leg = keyed(world)
    hear(world, leg, SealedPeer().say(tone(1)))
    before = {struct.unpack_from("!I", sent.data, 8)[0] for sent in world.engine.sent if not sent.rtcp}
    world.engine.sent.clear()
    leg.configure(StreamSpec(remote=PEER, srtp=SrtpKeys(SUITE, OTHER, OURS)))
    peer = SealedPeer(OTHER, OURS)
    hear(world, leg, peer.say(tone(1), sequence=150))
    assert leg.counters().placed == 100 and leg.counters().unauthentic == 0
    sent = [sent.data for sent in world.engine.sent if not sent.rtcp]
    opened = [peer.opens.unprotect(packet) for packet in sent]
    assert len(opened) >= 49
    after = {struct.unpack_from("!I", packet, 8)[0] for packet in opened}
    assert len(before) == len(after) == 1 and before != after
    hear(world, leg, SealedPeer().say(tone(0.1), sequence=200))
    assert leg.counters().unauthentic == 5
    leg.configure(StreamSpec(remote=PEER))  # and in the clear again
    world.engine.sent.clear()
    hear(world, leg, [rtp(300 + k, 90000 + 160 * k, bytes(160)) for k in range(10)])
    assert leg.counters().placed == 110
    assert {len(sent.data) for sent in world.engine.sent if not sent.rtcp} == {172}


def test_only_their_key_changes(world: World) -> None:
    leg, peer = keyed(world), SealedPeer()
    hear(world, leg, peer.say(tone(0.4)))
    leg.configure(StreamSpec(remote=PEER, srtp=SrtpKeys(SUITE, OURS, OTHER)))
    hear(world, leg, SealedPeer(theirs=OTHER).say(tone(0.4), sequence=120))
    assert leg.counters().placed == 40
    ssrcs = {struct.unpack_from("!I", peer.opens.unprotect(sent.data), 8)[0] for sent in world.engine.sent if not sent.rtcp}
    assert len(ssrcs) == 1


@pytest.mark.parametrize("sealed", [(True, False), (False, True), (True, True)])
def test_relay_opens_and_seals(world: World, sealed: tuple[bool, bool]) -> None:
    bus = world.engine.open_bus()
    keys = (SrtpKeys(SUITE, key, key) if seals else None for key, seals in zip((THEIRS, OTHER), sealed, strict=True))
    caller, callee = (keyed(world, each) for each in keys)
    for leg in (caller, callee):
        bus.add(leg)
    audio = tone(1)
    plain = [rtp(100 + k, 5000 + 160 * k, encode(audio[160 * k :][:160])) for k in range(50)]
    peer = SealedPeer(THEIRS, THEIRS)
    hear(world, caller, [peer.seals.protect(packet) for packet in plain] if sealed[0] else plain)
    assert caller.counters().relayed > 40
    other = SealedPeer(OTHER, OTHER)
    sent = [sent.data for sent in world.engine.sent if sent.leg == callee.id and not sent.rtcp]
    heard = [other.opens.unprotect(packet)[12:] if sealed[1] else packet[12:] for packet in sent]
    assert heard[-40:] == [packet[12:] for packet in plain[-40:]]
    if sealed[1]:
        with pytest.raises(Error):
            SealedPeer(THEIRS, THEIRS).opens.unprotect(sent[-1])


def test_opus_and_digits_under_srtp(world: World) -> None:
    leg = world.engine.open_leg()
    leg.configure(StreamSpec(**(vars(SPECS["opus"]) | {"srtp": KEYS})))
    speaker, sealed = CodedPeer(world, leg), SealedPeer()
    tap = world.tap([Source("in", leg)], rate=48000)
    packets = speaker.packets(tone(1, 800, 8000, 48000), world.engine.now() + 0.02)
    converse(world, [(at, leg, sealed.seals.protect(data)) for at, leg, data in packets])
    leg.send_digits("7")
    world.wait(0.5)
    tap.stop()
    world.wait(2)
    assert np.abs(world.recording()[24000:40000]).max() > 6000
    kinds = [sealed.opens.unprotect(sent.data)[1] & 127 for sent in world.engine.sent if not sent.rtcp]
    assert kinds.count(101) >= 5 and kinds.count(111) > 50


def test_the_largest_packet_is_sealed(world: World) -> None:
    leg = keyed(world, codec="L16", rate=16000, payload_type=97, ptime=60)
    leg.play(tone(0.5, 700, rate=16000))
    world.wait(0.5)
    sizes = {len(sent.data) for sent in world.engine.sent if not sent.rtcp}
    assert sizes == {12 + 1920 + 10} and leg.counters().unsent == 0


@pytest.mark.parametrize("keys", [SrtpKeys("AEAD_AES_128_GCM", OURS, THEIRS), SrtpKeys(SUITE, OURS[:29], OURS), SrtpKeys(SUITE, b"", OURS)])
def test_keys_that_do_not_fit(world: World, keys: SrtpKeys) -> None:
    with pytest.raises(InvalidInput):
        world.engine.open_leg().configure(StreamSpec(srtp=keys))


def test_keys_are_not_shown() -> None:
    assert "srtp=SrtpKeys(suite='AES_CM_128_HMAC_SHA1_80')" in repr(StreamSpec(srtp=KEYS))


def test_any_bytes_on_a_keyed_leg(world: World) -> None:
    leg, chance = keyed(world), random.Random(1)
    good = SealedPeer().say(tone(0.02))[0]
    for _ in range(2000):
        size = chance.choice((0, 1, 11, 12, 20, 182, 1500, 2048, 2100))
        data = bytearray(chance.randbytes(size)) if chance.random() < 0.5 else bytearray(good)
        if data and chance.random() < 0.8:
            data[0] = chance.choice((0x80, 0xBF, 0x90, 0xA0))
        if len(data) > 20:
            data[chance.randrange(len(data))] ^= chance.randrange(1, 256)
        world.engine.inject(leg, bytes(data), world.engine.now(), rtcp=chance.random() < 0.2)
    assert leg.counters().placed == 0
    world.check_counters(leg)
