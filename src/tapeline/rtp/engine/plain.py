"""What Python asks of the engine, in the uncompiled build: the same functions as `native.pyx`, over the same engine sources.

Structures are made and given up here; handles stand for them. All but `run` and `tick` may be called while the engine's thread runs.
"""

from __future__ import annotations

import select
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tapeline.rtp.engine import constants as c
from tapeline.rtp.engine import inbound, loop, moves, portable, queues, state, wire
from tapeline.rtp.engine.portable import address, numbers

__all__ = [
    "COMPILED",
    "address",
    "free",
    "give_task",
    "inject",
    "leg_addresses",
    "leg_numbers",
    "new_bus",
    "new_leg",
    "new_player",
    "new_shard",
    "new_tap",
    "numbers",
    "obey",
    "parse_reports",
    "parse_rtp",
    "run",
    "shard_numbers",
    "take_captured",
    "take_tasks",
    "tap_frames",
    "tick",
]

COMPILED = False
LINE_BYTES = 1 << 23  # of tasks
_SHARD_FIELDS = ("n_legs", "n_buses", "n_taps", "ticks", "overruns", "busy_ns", "lost_events")


def _blank(length: int) -> list[Any]:
    return [None] * length


Tables = Sequence[tuple[NDArray[np.int16], NDArray[np.uint8]]]


def new_shard(
    commands_fd: int, events_fd: int, coder_fd: int, tick_ns: int, read_ns: int, capacity: int, tables: Tables, srtp: Sequence[int]
) -> int:
    shard = state.Shard()
    shard.running = 1
    shard.commands_fd = commands_fd
    shard.events_fd = events_fd
    shard.coder_fd = coder_fd
    shard.work, shard.done = queues.new_line(LINE_BYTES), queues.new_line(LINE_BYTES)
    shard.tick_ns = tick_ns
    shard.read_ns = read_ns
    poll = select.epoll()
    portable.adopt(poll)
    poll.register(commands_fd, select.EPOLLIN)
    shard.epoll = poll.fileno()
    shard.max_legs = shard.max_taps = capacity
    shard.legs, shard.buses, shard.taps = _blank(capacity), _blank(capacity), _blank(capacity)
    for name in ("data", "size", "high", "low", "port", "at"):
        setattr(shard, name, _blank(c.BATCH))
    shard.ready, shard.ready_kind = _blank(c.READY), _blank(c.READY)
    shard.header, shard.report = state.Header(), state.Report()
    shard.packet = bytearray(c.PACKET * 4)
    shard.srtp = srtp
    shard.acc, shard.heard, shard.part, shard.ear = (np.zeros(c.BLOCK, np.int32) for _ in range(4))
    shard.own = np.zeros(c.FRAME, np.int32)
    shard.frame = np.zeros(c.FRAME, np.int16)
    shard.frames = np.zeros(c.BLOCK * 2, np.int16)
    shard.hull = [0] * c.POINTS
    shard.expand = [expand for expand, _ in tables]
    shard.compress = [compress for _, compress in tables]
    shard.commands = [state.Command() for _ in range(c.COMMANDS)]
    shard.events = [state.Event() for _ in range(c.EVENTS)]
    for event in shard.events:
        event.args = [0] * 3
        event.levels = [0] * c.CHANNELS
    shard.captured = bytearray()
    return state.keep(shard)


Work = tuple[int, Any, int, int, int, int, int, int, bytes]


def take_tasks(handle: int, most: int) -> list[Work]:
    """What the codec thread is to do, oldest first: (kind, leg, coder, position, moved, stamp, samples, marker, bytes) each."""
    line = state.objects[handle].work
    tasks: list[Work] = []
    while line.data and len(tasks) < most:
        task, data = line.data[0]
        tasks.append((task.kind, task.leg, task.coder, task.pos, task.moved, task.stamp, task.n, task.marker, data))
        queues.drop_task(line, task)
    return tasks


def give_task(handle: int, kind: int, leg: Any, coder: int, pos: int, moved: int, stamp: int, n: int, marker: int, data: bytes) -> bool:
    """What the codec thread has done with one task; whether there was room for it."""
    line = state.objects[handle].done
    return bool(queues.put_task(line, kind, leg, coder, pos, moved, stamp, n, marker, data, 0, len(data)))


def new_leg(number: int, rtp: int, rtcp: int, family: int, ssrc: int, sequence: int, stamp: int, name: int) -> int:
    leg = state.Leg()
    leg.id, leg.rtp, leg.rtcp, leg.family, leg.name = number, rtp, rtcp, family, name
    leg.out_ssrc, leg.out_sequence, leg.out_stamp = ssrc, sequence, stamp
    leg.noise_type = leg.dtmf_type = leg.payload_type = leg.codec = -1
    leg.counts = state.Counters()
    leg.seen = [-1] * c.SEEN
    leg.point_time = [0.0] * c.POINTS
    leg.point_offset = [0.0] * c.POINTS
    leg.players = _blank(c.PLAYERS)
    leg.stays = [state.Stay() for _ in range(c.STAYS)]
    leg.deaf = [0] * c.DEAF
    leg.dial = [0] * c.DIGITS
    leg.ring = np.zeros(c.RING, np.int16)
    leg.out_ring = np.zeros(c.RING, np.int16)
    if rtp >= 0:
        portable.adopt(None, rtp, rtcp)
    return state.keep(leg)


def new_player(number: int, pcm: NDArray[np.int16], loop_: bool) -> int:
    player = state.Player()
    player.id, player.pcm, player.length, player.loop = number, pcm, len(pcm), int(loop_)
    return state.keep(player)


def new_bus(number: int, rate: int, capacity: int, digits: bool) -> int:
    bus = state.Bus()
    bus.id, bus.max_members, bus.max_spans = number, capacity, 2 * capacity + 64
    bus.members = _blank(capacity)
    bus.digits = int(digits)
    bus.spans = [state.Span() for _ in range(bus.max_spans)]
    bus.voice = voice = state.Leg()
    voice.id, voice.rate, voice.rate_ms, voice.mask = number, rate, rate // 1000, state.ring_mask(rate)
    voice.players = _blank(c.PLAYERS)
    voice.out_ring = np.zeros(voice.mask + 1, np.int16)
    bus.sums = [state.Sum() for _ in range(c.SUMS)]
    for each in bus.sums:
        each.acc = np.zeros(c.FRAME, np.int32)
    return state.keep(bus)


def new_tap(number: int, fd: int, rate: int, channels: int, sources: Sequence[tuple[int, int, int]], base: int, reports: bool) -> int:
    """`sources` are (kind, channel, handle of leg or bus)."""
    tap = state.Tap()
    tap.id, tap.fd, tap.rate, tap.n_channels, tap.base, tap.reports = number, fd, rate, channels, base, int(reports)
    tap.sources = [state.Source() for _ in sources]
    for source, (kind, channel, handle) in zip(tap.sources, sources, strict=True):
        source.kind, source.channel, source.until = kind, channel, state.forever()
        if kind == c.MIX:
            source.bus = state.bus_of(handle)
        else:
            source.leg = state.leg_of(handle)
    tap.n_sources = tap.max_sources = len(sources)
    tap.changes = [state.Change() for _ in range(c.CHANGES)]
    tap.peaks = [0] * c.CHANNELS
    return state.keep(tap)


def free(handle: int) -> None:
    """Give up what a `new_` function made."""
    thing = state.objects.pop(handle)
    if isinstance(thing, state.Shard):
        portable.release_poll(thing.epoll)


def run(handle: int) -> None:
    """Serve until told to quit: the body of the engine's thread."""
    loop.run(state.objects[handle])


def tick(handle: int, when: int) -> None:
    """Obey what was commanded, then make one step of virtual time."""
    shard = state.objects[handle]
    shard.now = when
    if shard.next_tick == 0:
        shard.last_tick = when
    shard.next_tick = when
    loop.obey(shard)
    loop.tick(shard, when)
    moves.tell_departures(shard)
    portable.write_events(shard)
    if not shard.running:
        loop.close_all(shard)


def obey(handle: int, now: int) -> None:
    """Carry out what was commanded, between two ticks of virtual time."""
    shard = state.objects[handle]
    shard.now = now
    loop.obey(shard)
    moves.tell_departures(shard)
    portable.write_events(shard)


def inject(handle: int, leg: int, data: bytes, high: int, low: int, port: int, at: int, reports: bool) -> None:
    """A datagram for a leg without sockets."""
    shard = state.objects[handle]
    shard.now = at
    if reports:
        inbound.receive_reports(shard, state.leg_of(leg), data, len(data), high, low, port, at)
    else:
        inbound.receive(shard, state.leg_of(leg), data, len(data), high, low, port, at)


def take_captured(handle: int) -> bytes:
    """What legs without sockets sent since the last call: records of `portable.CAPTURE`, each before its bytes."""
    shard = state.objects[handle]
    data = bytes(shard.captured)
    shard.captured.clear()
    return data


def leg_numbers(handle: int, names: Sequence[str]) -> tuple[int, ...]:
    counts = state.leg_of(handle).counts
    return tuple(int(getattr(counts, name)) for name in names)


def leg_addresses(handle: int) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Where a leg's RTP and RTCP go: high and low half and port of each."""
    leg = state.leg_of(handle)
    return (leg.to_high, leg.to_low, leg.to_port), (leg.reports_high, leg.reports_low, leg.reports_port)


def shard_numbers(handle: int) -> dict[str, int]:
    shard = state.objects[handle]
    return {name: getattr(shard, name) for name in _SHARD_FIELDS}


def tap_frames(handle: int) -> int:
    return state.tap_of(handle).frames


def parse_rtp(data: bytes) -> tuple[int, int, int, int, int, int, int] | None:
    """Marker, payload type, sequence, timestamp, SSRC, offset and size of the payload; None when malformed."""
    header = state.Header()
    if not wire.parse(header, data, len(data)):
        return None
    return header.marker, header.payload_type, header.sequence, header.timestamp, header.ssrc, header.offset, header.size


def parse_reports(data: bytes, about: int) -> dict[str, int] | None:
    """What a compound RTCP packet says, `parts` being the number of its packets; None when malformed."""
    report = state.Report()
    report.about = about
    parts = wire.parse_reports(report, data, len(data))
    if not parts:
        return None
    return {"parts": parts} | {name: getattr(report, name) for name in report.__slots__}
