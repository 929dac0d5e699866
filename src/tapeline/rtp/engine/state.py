"""The engine's structures in the uncompiled build: classes with the fields of `structs.pxd`, and the small functions that stand there.

A handle is what Python keeps of a structure: compiled its address, here its number in `objects`. Knows nothing of what the fields
mean. All times are ns of CLOCK_MONOTONIC, all positions samples since its beginning. A test compares the fields with `structs.pxd`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tapeline.rtp.engine.constants import EVENTS, TAP_PROGRESS, VOICE
from tapeline.rtp.engine.times import exact as exact
from tapeline.rtp.engine.times import forever as forever
from tapeline.rtp.engine.times import moment as moment
from tapeline.rtp.engine.times import ms as ms
from tapeline.rtp.engine.times import ntp_seconds as ntp_seconds
from tapeline.rtp.engine.times import position as position
from tapeline.rtp.engine.times import ring_mask as ring_mask
from tapeline.rtp.engine.times import signed32 as signed32
from tapeline.rtp.engine.times import whole as whole

if TYPE_CHECKING:
    from tapeline.rtp.engine.queues import Line, Task

Samples = NDArray[np.int16]
Mix = NDArray[np.int32]
Companded = NDArray[np.uint8]
Buffer = bytes | bytearray | memoryview
Writable = bytearray


class Struct:
    """Fields that begin as zero."""

    __slots__: tuple[str, ...] = ()

    def __init__(self) -> None:
        for name in self.__slots__:
            setattr(self, name, 0)


class Header(Struct):
    """What an RTP header says."""

    marker: int
    payload_type: int
    sequence: int
    timestamp: int
    ssrc: int
    offset: int
    size: int
    __slots__ = tuple(__annotations__)


class Report(Struct):
    """What a compound RTCP packet says, or shall say."""

    about: int
    has_sender: int
    sender: int
    ntp_high: int
    ntp_low: int
    timestamp: int
    packets: int
    octets: int
    has_block: int
    fraction: int
    lost: int
    highest: int
    jitter: int
    last_report: int
    delay: int
    bye: int
    bye_source: int
    described: int
    described_source: int
    __slots__ = tuple(__annotations__)


class Player(Struct):
    """A prompt on its way into a leg. Its samples belong to Python."""

    id: int
    pcm: Samples
    length: int
    offset: int
    loop: int
    ended: int
    stopped: int
    since: int
    ended_at: int
    __slots__ = tuple(__annotations__)


class Counters(Struct):
    """What became of a leg's packets, and what the reports say."""

    packets: int
    placed: int
    late: int
    duplicate: int
    foreign: int
    malformed: int
    early: int
    wrong_payload: int
    unwanted: int
    unsettled: int
    implausible: int
    empty: int
    comfort_noise: int
    dtmf: int
    overloaded: int
    unauthentic: int
    replayed: int
    reports: int
    jumps: int
    changes: int
    received: int
    relayed: int
    sent: int
    unsent: int
    skipped: int
    octets: int
    rtcp_packets: int
    rtcp_foreign: int
    rtcp_malformed: int
    rtcp_unauthentic: int
    rtcp_sent: int
    jitter: float
    fraction_lost: int
    remote_fraction: int
    remote_lost: int
    remote_jitter: int
    round_trip: int
    __slots__ = tuple(__annotations__)


class Stay(Struct):
    """A stretch of time in which a leg heard a bus with one gain."""

    bus: Bus
    gain: int
    since: int
    until: int
    __slots__ = tuple(__annotations__)


class Leg(Struct):
    """One RTP session: what was agreed, the stream that is heard, the rings, what is sent, and every counter."""

    id: int
    rtp: int
    rtcp: int
    family: int
    name: int
    waiting: int
    moving: int
    closing: int
    closed_at: int
    # what was agreed
    configured: int
    codec: int
    payload_type: int
    dtmf_type: int
    dtmf_rate: int
    noise_type: int
    rate: int
    rate_ms: int
    sample_size: int
    ptime: int
    ptime_ns: int
    receives: int
    sends: int
    held: int
    muxed: int
    timeout_ns: int
    expand: Samples
    compress: Companded
    quiet: int
    coded: int
    scale: int
    advance: int
    coder: int
    pending: int
    moved: int
    reached: int
    wanted: int
    opens: int
    seals: int
    # addresses
    locked: int
    as_expected: int
    source_high: int
    source_low: int
    source_port: int
    expected_high: int
    expected_low: int
    expected_port: int
    to_high: int
    to_low: int
    to_port: int
    reports_high: int
    reports_low: int
    reports_port: int
    # the stream that is heard
    started: int
    timed_out: int
    streaming: int
    streams: int
    bye: int
    ssrc: int
    candidate: int
    candidates: int
    free_at: int
    expected_sequence: int
    first: int
    highest: int
    stamp: int
    expected_before: int
    received_before: int
    transit: float
    last_at: int
    heard_at: int
    seen: list[int]
    # its clock
    anchored: int
    anchored_at: int
    base: int
    origin: int
    detour: int
    detour_at: int
    detour_pos: int
    stream_pos: int
    window_at: int
    window_least: float
    window_time: float
    points: int
    point_time: list[float]
    point_offset: list[float]
    line_offset: float
    line_slope: float
    slack: float
    drifting: int
    # what was heard and sent
    ring: Samples
    out_ring: Samples
    mask: int
    horizon: int
    out_horizon: int
    consumed: int
    tapped: int
    out_tapped: int
    # the live path
    live: int
    echo: int
    watched: int
    threshold: int
    hangover_ns: int
    voiced: int
    loud_at: int
    delay: int
    lateness: int
    lateness_before: int
    joined: int
    bus: Bus
    hear: int
    speak: int
    heard: int
    n_stays: int
    stays: list[Stay]
    n_deaf: int
    deaf: list[int]
    players: list[Player]
    n_players: int
    # what another leg says, sent on untouched
    relaying: int
    calm_at: int
    relay_at: int
    relay_resume: int
    relay_stream: int
    relay_first: int
    relay_sequence: int
    relay_stamp: int
    event_in: int
    event_stream: int
    event_stamp: int
    event_until: int
    # sending
    next_send: int
    mark: int
    out_ssrc: int
    out_sequence: int
    out_stamp: int
    dial: list[int]
    dial_head: int
    digits: int
    dialled: int
    dial_at: int
    dial_stamp: int
    dial_ms: int
    gap_ms: int
    # digits heard
    digit_known: int
    digit_open: int
    digit: int
    digit_stamp: int
    digit_span: int
    digit_before: int
    digit_at: int
    # reading and looking after
    read_at: int
    next_read: int
    next_check: int
    next_report: int
    next_calm: int
    # counters
    counts: Counters
    sent_before: int
    sender_report: int
    sender_report_at: int
    __slots__ = tuple(__annotations__)


class Span(Struct):
    """A stretch of time in which a member of a bus was heard with one gain."""

    leg: Leg
    gain: int
    since: int
    until: int
    __slots__ = tuple(__annotations__)


class Sum(Struct):
    """All members of a bus, as they are heard at one time by one kind of leg."""

    when: int
    n: int
    rate: int
    acc: Mix
    __slots__ = tuple(__annotations__)


class Bus(Struct):
    """Legs that hear each other."""

    id: int
    members: list[Leg]
    n_members: int
    max_members: int
    digits: int
    moving: int
    closing: int
    closed_at: int
    tapped: int
    stays: int
    n_spans: int
    max_spans: int
    spans: list[Span]
    voice: Leg
    sums: list[Sum]
    __slots__ = tuple(__annotations__)


class Source(Struct):
    """One of the things that a tap hears."""

    kind: int
    channel: int
    leg: Leg
    bus: Bus
    since: int
    until: int
    named: int
    __slots__ = tuple(__annotations__)


class Change(Struct):
    """A change of a tap's mask that it has not reached yet."""

    pos: int
    mode: int
    __slots__ = tuple(__annotations__)


class Tap(Struct):
    """A recorder's ear."""

    id: int
    fd: int
    rate: int
    n_channels: int
    n_sources: int
    max_sources: int
    sources: list[Source]
    reports: int
    base: int
    started_at: int
    start: int
    pos: int
    end: int
    frames: int
    moving: int
    stopping: int
    stopped_at: int
    ended: int
    ended_at: int
    error: int
    mode: int
    n_changes: int
    changes: list[Change]
    next_write: int
    next_progress: int
    peaks: list[int]
    __slots__ = tuple(__annotations__)


class Command(Struct):
    """One message of the command pipe."""

    op: int
    size: int
    target: int
    args: list[int]
    blob: bytes
    __slots__ = tuple(__annotations__)


class Event(Struct):
    """One message of the event pipe."""

    kind: int
    size: int
    target: int
    at: int
    args: list[int]
    levels: list[int]
    spare: list[int]
    __slots__ = tuple(__annotations__)


class Shard(Struct):
    """One engine thread's world."""

    running: int
    now: int
    tick_ns: int
    next_tick: int
    next_prune: int
    last_tick: int
    read_ns: int
    wall_offset: int
    ticks: int
    overruns: int
    busy_ns: int
    epoll: int
    commands_fd: int
    events_fd: int
    legs: list[Leg]
    n_legs: int
    max_legs: int
    buses: list[Bus]
    n_buses: int
    taps: list[Tap]
    n_taps: int
    max_taps: int
    departing: int
    departures: int
    told_departures: int
    # one batch of datagrams
    net: int
    data: list[bytes]
    size: list[int]
    high: list[int]
    low: list[int]
    port: list[int]
    at: list[int]
    # sockets that a wait reported
    ready: list[Leg]
    ready_kind: list[int]
    # scratch
    header: Header
    report: Report
    packet: bytearray
    opened: bytes
    srtp: Sequence[int]
    acc: Mix
    heard: Mix
    part: Mix
    own: Mix
    ear: Mix
    frame: Samples
    frames: Samples
    hull: list[int]
    expand: list[Samples]
    compress: list[Companded]
    # queues
    commands: list[Command]
    events: list[Event]
    n_events: int
    written: int
    lost_events: int
    # between this thread and its codec thread
    work: Line
    done: Line
    task: Task
    task_data: bytes
    coder_fd: int
    asked: int
    # what was sent, where there are no sockets
    captured: bytearray
    n_captured: int
    max_captured: int
    __slots__ = tuple(__annotations__)


objects: dict[int, Any] = {}
_numbers = count(1)


def keep(thing: Struct) -> int:
    """A handle for `thing`, which lives until `objects` forgets it."""
    handle = next(_numbers)
    objects[handle] = thing
    return handle


def leg_of(handle: int) -> Leg:
    leg: Leg = objects[handle]
    return leg


def bus_of(handle: int) -> Bus:
    bus: Bus = objects[handle]
    return bus


def player_of(handle: int) -> Player:
    player: Player = objects[handle]
    return player


def tap_of(handle: int) -> Tap:
    tap: Tap = objects[handle]
    return tap


def push(shard: Shard, kind: int, target: int, at: int, a: int, b: int, c: int) -> int:
    """Queue an event; 0 when there is no room. The last half of the queue is kept for events that must not be lost."""
    if shard.n_events >= (EVENTS // 2 if kind in (VOICE, TAP_PROGRESS) else EVENTS):
        shard.lost_events += 1
        return 0
    event = shard.events[shard.n_events]
    event.kind, event.size, event.target, event.at = kind, 0, target, at
    event.args[:] = (a, b, c)
    shard.n_events += 1
    return 1


def push_peaks(shard: Shard, kind: int, tap: Tap, at: int) -> None:
    if push(shard, kind, tap.id, at, tap.frames, 0, 0):
        event = shard.events[shard.n_events - 1]
        event.size = tap.n_channels
        event.levels[: tap.n_channels] = tap.peaks[: tap.n_channels]
