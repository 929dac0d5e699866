"""The clock, the network in virtual time, and the voice as packets."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tapeline.testing import FakeClock, Impairment, LossyNetwork, RtpVoice, run, sine, ulaw_decode, write_pcap
from tapeline.testing.network import Address

HERE, THERE = ("10.0.0.1", 5060), ("10.0.0.2", 5060)


def carried(network: LossyNetwork, count: int, step: float = 0.02) -> list[tuple[float, int]]:
    """(arrival, number) of `count` datagrams sent one every `step`."""
    for number in range(count):
        network.send(struct.pack("!I", number), HERE, THERE, number * step)
    return [(datagram.arrives, struct.unpack("!I", datagram.data)[0]) for datagram in network.deliver(1e9)]


def test_the_clock_moves_only_when_told() -> None:
    clock = FakeClock(now=5.0, wall=100.0)
    assert (clock.now(), clock.wall()) == (5.0, 100.0)
    assert clock.advance(2.5) == 7.5
    assert clock.wall() == 102.5
    assert clock.advance_to(7.0) == 7.5
    clock.set_wall(50.0)
    assert (clock.now(), clock.wall()) == (7.5, 50.0)
    with pytest.raises(ValueError, match="backwards"):
        clock.advance(-1)


def test_a_good_network_delivers_all_in_order_after_its_delay() -> None:
    network = LossyNetwork(impairment=Impairment(delay_s=0.03))
    arrived = carried(network, 5)
    assert [number for _, number in arrived] == [0, 1, 2, 3, 4]
    assert [arrival for arrival, _ in arrived] == pytest.approx([0.03, 0.05, 0.07, 0.09, 0.11])
    assert network.next_delivery() is None


def test_nothing_arrives_before_its_time() -> None:
    network = LossyNetwork(impairment=Impairment(delay_s=0.03))
    network.send(b"x", HERE, THERE, 1.0)
    assert network.next_delivery() == pytest.approx(1.03)
    assert network.deliver(1.029) == []
    assert network.in_flight == 1
    assert [datagram.data for datagram in network.deliver(1.031)] == [b"x"]


def test_the_same_seed_gives_the_same_fate_and_another_one_another() -> None:
    bad = Impairment(loss=0.1, jitter_s=0.05, duplicate=0.05, reorder=0.1)
    first, second, other = (carried(LossyNetwork(seed, bad), 500) for seed in (3, 3, 4))
    assert first == second
    assert first != other


def test_loss_duplicates_and_reordering_have_their_shares() -> None:
    network = LossyNetwork(1, Impairment(loss=0.05, duplicate=0.02, reorder=0.1, reorder_s=0.4))
    arrived = carried(network, 10_000)
    counters = network.counters
    assert 400 < counters["lost"] < 600
    assert 130 < counters["duplicated"] < 270
    assert counters["sent"] + counters["duplicated"] == counters["lost"] + counters["delivered"]
    numbers = [number for _, number in arrived]
    assert len(numbers) == counters["delivered"]
    assert sum(1 for first, second in pairwise(numbers) if second < first) > 500
    assert max(arrival - number * 0.02 for arrival, number in arrived) == pytest.approx(0.41)


def test_a_gap_swallows_all_that_is_sent_in_it() -> None:
    network = LossyNetwork(1, Impairment(gaps=((1.0, 2.0),)))
    numbers = [number for _, number in carried(network, 200)]
    assert numbers == [*range(50), *range(100, 200)]


def test_one_direction_can_be_impaired_alone() -> None:
    network = LossyNetwork()
    network.impair(HERE, THERE, Impairment(loss=1.0))
    network.send(b"away", HERE, THERE, 0.0)
    network.send(b"back", THERE, HERE, 0.0)
    assert [datagram.data for datagram in network.deliver(1.0)] == [b"back"]


class Caller:
    """Sends a question and repeats it every half second until it is answered."""

    def __init__(self, peer: Address) -> None:
        self.peer = peer
        self.answered_at = 0.0
        self.asked = 0
        self._due: float | None = 0.0
        self._out: list[tuple[bytes, Address]] = []

    def receive(self, data: bytes, source: Address, now: float) -> None:
        if not self.answered_at:
            self.answered_at = now
            self._due = None

    def tick(self, now: float) -> None:
        self.asked += 1
        self._out.append((b"?", self.peer))
        self._due = now + 0.5

    def next_deadline(self) -> float | None:
        return self._due

    def take(self) -> Iterable[tuple[bytes, Address]]:
        out, self._out = self._out, []
        return out


class Answerer:
    """Answers each question at once."""

    def __init__(self) -> None:
        self._out: list[tuple[bytes, Address]] = []

    def receive(self, data: bytes, source: Address, now: float) -> None:
        self._out.append((b"!", source))

    def tick(self, now: float) -> None:
        raise AssertionError("has no deadline")

    def next_deadline(self) -> float | None:
        return None

    def take(self) -> Iterable[tuple[bytes, Address]]:
        out, self._out = self._out, []
        return out


def test_two_parties_talk_in_virtual_time_through_a_gap() -> None:
    clock = FakeClock(now=0.0)
    caller = Caller(THERE)
    network = LossyNetwork(1, Impairment(delay_s=0.1, gaps=((0.0, 1.2),)))
    run(network, {HERE: caller, THERE: Answerer()}, clock, until=30.0)
    assert caller.asked == 4
    assert caller.answered_at == pytest.approx(1.7)
    assert clock.now() == 30.0


def test_a_deadline_that_is_due_for_ever_is_an_error() -> None:
    class Stuck(Caller):
        def tick(self, now: float) -> None:
            self._due = now

    with pytest.raises(AssertionError, match="time stands still"):
        run(LossyNetwork(), {HERE: Stuck(THERE)}, FakeClock(now=0.0), until=1.0)


def test_a_voice_as_packets_carries_its_samples() -> None:
    voice = sine(417, 1.0)
    packets = list(RtpVoice().packets(voice, start=10.0))
    assert len(packets) == 50
    assert [at for at, _ in packets] == pytest.approx([10.0 + index * 0.02 for index in range(50)])
    assert np.abs(ulaw_decode(b"".join(packet[12:] for _, packet in packets)).astype(int) - voice).max() < 500
    sequences = [struct.unpack("!H", packet[2:4])[0] for _, packet in packets]
    assert sequences[:8] == [65530, 65531, 65532, 65533, 65534, 65535, 0, 1]
    assert [packet[1] for _, packet in packets[:2]] == [0x80, 0x00]


def test_a_sender_that_suppresses_silence_lets_its_timestamps_run_on() -> None:
    packets = [packet for _, packet in RtpVoice(silent=((0.2, 0.5),), first_timestamp=0).packets(sine(417, 1.0))]
    stamps = [struct.unpack("!I", packet[4:8])[0] for packet in packets]
    assert stamps == [*range(0, 1600, 160), *range(4000, 8000, 160)]
    assert packets[10][1] & 0x80
    assert [struct.unpack("!H", packet[2:4])[0] for packet in packets[9:11]] == [3, 4]


def test_a_sender_can_change_its_source_and_drift() -> None:
    packets = list(RtpVoice(new_ssrc_at=(0.5,), drift_ppm=200).packets(sine(417, 1.0)))
    assert len({packet[8:12] for _, packet in packets[:25]}) == 1
    assert packets[24][1][8:12] != packets[25][1][8:12]
    assert packets[-1][0] == pytest.approx(0.98 / 1.0002, abs=1e-9)


def test_pcap_files_hold_the_packets(tmp_path: Path) -> None:
    packets = list(RtpVoice(payload_type=8).packets(sine(417, 0.1)))
    data = write_pcap(tmp_path / "a.pcap", packets).read_bytes()
    assert data[:4] == b"\xd4\xc3\xb2\xa1"
    assert len(data) == 24 + len(packets) * (16 + 42 + 172)
    assert data.endswith(packets[-1][1])
