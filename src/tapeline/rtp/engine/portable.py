"""The system calls of the engine in the uncompiled build: the same small interface as `system.pxd`, over Python's socket and os.

Addresses are numbers (high and low half, an IPv4 address being its 32 bits), as the engine keeps them. Knows nothing of RTP.
"""

from __future__ import annotations

import ipaddress
import os
import select
import socket
import struct
import time
from functools import lru_cache

from tapeline.rtp.engine import state
from tapeline.rtp.engine.constants import BATCH, COMMANDS, EVENTS, PACKET, READY, SOURCES

COMMAND = struct.Struct("<iiq16q112s")
EVENT = struct.Struct("<iiqq3q32H2q")
CAPTURE = struct.Struct("<qqii")
SO_TIMESTAMPNS = 35
_STAMP = struct.Struct("qq")
_AGAIN = (BlockingIOError, InterruptedError)

_sockets: dict[int, socket.socket] = {}
_watched: dict[int, tuple[state.Leg, int]] = {}
_polls: dict[int, select.epoll] = {}


def clock() -> int:
    return time.monotonic_ns()


def wall_offset() -> int:
    """What must be added to the clock to have ns since 1970."""
    return time.time_ns() - time.monotonic_ns()


@lru_cache(4096)
def address(high: int, low: int, family: int) -> str:
    if family == socket.AF_INET:
        return str(ipaddress.IPv4Address(low))
    return str(ipaddress.IPv6Address(((high & 0xFFFFFFFFFFFFFFFF) << 64) | (low & 0xFFFFFFFFFFFFFFFF)))


@lru_cache(4096)
def numbers(host: str) -> tuple[int, int]:
    """The halves of an address, each as a signed number of 64 bits."""
    parsed = ipaddress.ip_address(host.partition("%")[0])
    if parsed.version == 4:
        return 0, int(parsed)
    high, low = struct.unpack("!qq", parsed.packed)
    return high, low


def adopt(shard_poll: select.epoll | None, *sockets: int) -> None:
    """Take over descriptors that the engine was given."""
    if shard_poll is not None:
        _polls[shard_poll.fileno()] = shard_poll
    for fd in sockets:
        _sockets[fd] = socket.socket(fileno=fd)


def release_poll(fd: int) -> None:
    _polls.pop(fd).close()


def wait(shard: state.Shard, timeout_ns: int) -> int:
    """Wait for commands or for sockets that are watched; the number of entries of `shard.ready`."""
    try:
        found = _polls[shard.epoll].poll(max(timeout_ns, 0) / 1e9, READY)
    except InterruptedError:
        return 0
    n = 0
    for fd, _ in found:
        if fd == shard.commands_fd:
            shard.ready_kind[n] = 0
        elif fd in _watched:
            shard.ready[n], shard.ready_kind[n] = _watched[fd]
        else:
            continue
        n += 1
    return n


def watch(shard: state.Shard, leg: state.Leg, kind: int) -> int:
    """Wait for the leg's RTP (1) or RTCP (2) socket from now on."""
    fd = leg.rtp if kind == 1 else leg.rtcp
    _watched[fd] = (leg, kind)
    _polls[shard.epoll].register(fd, select.EPOLLIN)
    return 1


def unwatch(shard: state.Shard, leg: state.Leg, kind: int) -> None:
    """Wait no longer for the leg's RTP (1) or RTCP (2) socket."""
    fd = leg.rtp if kind == 1 else leg.rtcp
    del _watched[fd]
    _polls[shard.epoll].unregister(fd)


def receive_batch(shard: state.Shard, fd: int, limit: int) -> int:
    """Take at most `limit` datagrams from a socket, with the time at which the kernel had them."""
    sock = _sockets[fd]
    now = time.monotonic_ns()
    n = 0
    while n < min(limit, BATCH):
        try:
            data, ancillary, _, source = sock.recvmsg(PACKET + 1, 64)
        except OSError:
            break
        at = now
        for level, kind, value in ancillary:
            if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
                seconds, fraction = _STAMP.unpack(value)
                at = seconds * 1000000000 + fraction - shard.wall_offset
        shard.data[n] = data
        shard.size[n] = len(data)
        shard.high[n], shard.low[n] = numbers(source[0])
        shard.port[n] = source[1]
        shard.at[n] = at
        n += 1
    return n


def send_packet(shard: state.Shard, leg: state.Leg, kind: int, n: int, when: int) -> int:
    """Send the shard's packet as RTP (0) or RTCP (1); 0 when it could not be sent. Legs without sockets keep it for the test."""
    if leg.rtp < 0:
        shard.captured += CAPTURE.pack(leg.id, when, kind, n) + shard.packet[:n]
        return 1
    if kind == 0 or leg.muxed:
        sock, host, port = _sockets[leg.rtp], address(leg.to_high, leg.to_low, leg.family), leg.to_port
    else:
        sock, host, port = _sockets[leg.rtcp], address(leg.reports_high, leg.reports_low, leg.family), leg.reports_port
    try:
        sock.sendto(memoryview(shard.packet)[:n], (host, port))
    except OSError:
        return 0
    return 1


def close_sockets(shard: state.Shard, leg: state.Leg) -> None:
    if leg.rtp < 0:
        return
    for fd in (leg.rtp, leg.rtcp):
        if _watched.pop(fd, None):
            _polls[shard.epoll].unregister(fd)
        _sockets.pop(fd).close()
    leg.rtp = -1
    leg.rtcp = -1


def read_commands(shard: state.Shard) -> int:
    try:
        data = os.read(shard.commands_fd, COMMANDS * COMMAND.size)
    except _AGAIN:
        return 0
    n = 0
    for op, size, target, *rest in COMMAND.iter_unpack(data):
        command = shard.commands[n]
        command.op = op
        command.size = size
        command.target = target
        command.args = rest[:16]
        command.blob = rest[16]
        n += 1
    return n


def write_events(shard: state.Shard) -> None:
    """Hand over what the pipe takes; the rest stays queued."""
    if shard.n_events == 0:
        return
    waiting = shard.events[: shard.n_events]
    data = b"".join(EVENT.pack(event.kind, event.size, event.target, event.at, *event.args, *event.levels, 0, 0) for event in waiting)
    try:
        shard.written += os.write(shard.events_fd, data[shard.written :])
    except _AGAIN:
        return
    done, shard.written = divmod(shard.written, EVENT.size)
    if done:
        shard.events[:] = shard.events[done:EVENTS] + shard.events[:done]
        shard.n_events -= done


def call_coder(shard: state.Shard) -> None:
    """Wake the codec thread for what it has been asked since the last call."""
    if shard.asked:
        shard.asked = 0
        if shard.coder_fd >= 0:
            os.eventfd_write(shard.coder_fd, 1)


def write_frames(shard: state.Shard, tap: state.Tap, offset: int, n: int) -> int:
    """Append `n` bytes of the shard's frames; what was written, or the error's number below zero."""
    try:
        return os.write(tap.fd, memoryview(shard.frames.data).cast("B")[offset : offset + n])
    except OSError as error:
        return -(error.errno or 5)


def cut_file(tap: state.Tap, size: int) -> None:
    try:
        os.ftruncate(tap.fd, size)
    except OSError:  # a device has no length; the frames are counted all the same
        return


def grow_sources(tap: state.Tap) -> int:
    """Make room for more sources of a tap; 0 when it has as many as a tap may have."""
    size = tap.max_sources * 2 + 8
    if size > SOURCES:
        return 0
    tap.sources += [state.Source() for _ in range(size - tap.max_sources)]
    tap.max_sources = size
    return 1


def close_file(tap: state.Tap) -> None:
    os.close(tap.fd)
    tap.fd = -1
