"""What Python asks of the engine, in the compiled build: memory, the thread's body, and looking in. `plain.py` has the same functions.

Handles are addresses. Structures are mapped, not allocated: pages that are never touched cost nothing, and what a leg used goes back
to the system when it is freed. `run` gives up the GIL for as long as the thread lives.
"""

import ipaddress
import os
import struct

from libc.stdlib cimport calloc, free as release
from libc.string cimport memcpy, memset
from posix.mman cimport MAP_ANONYMOUS, MAP_FAILED, MAP_PRIVATE, PROT_READ, PROT_WRITE, madvise, mmap, munmap

from tapeline.rtp.engine cimport loop
from tapeline.rtp.engine.inbound cimport receive, receive_reports
from tapeline.rtp.engine.moves cimport tell_departures
from tapeline.rtp.engine.lines cimport drop_task, put_task, read_task
from tapeline.rtp.engine.structs cimport (
    BATCH, BLOCK, EVENTS, FRAME, MIX, PACKET, RING, SEEN, SUMS,
    Bus, Event, Header, Leg, Line, Player, Report, Shard, Source, Span, Tap, Task, bus_of, forever, leg_of, player_of, ring_mask, tap_of,
)
from tapeline.rtp.engine.system cimport CONTROL, Net, open_epoll, sockaddr_in6, write_events
from tapeline.rtp.engine cimport wire

cdef extern from "<sys/mman.h>":
    enum: MADV_NOHUGEPAGE

COMPILED = True
CAPTURE_BYTES = 1 << 22
LINE_BYTES = 1 << 23  # of tasks: pages that no codec needed are never touched

cdef dict _kinds = {}  # of each handle


cdef void* map_memory(size_t size) except NULL:
    cdef void* place = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    if place == MAP_FAILED:
        raise MemoryError
    madvise(place, size, MADV_NOHUGEPAGE)
    return place


cdef void* allocate(size_t size) except NULL:
    cdef void* place = calloc(1, size)
    if place == NULL:
        raise MemoryError
    return place


cdef object keep(void* place, str kind):
    handle = <long long><size_t>place
    _kinds[handle] = kind
    return handle


cdef Shard* shard_of(long long handle) noexcept nogil:
    return <Shard*><size_t>handle


def numbers(str host):
    """The halves of an address, each as a signed number of 64 bits."""
    parsed = ipaddress.ip_address(host.partition("%")[0])
    if parsed.version == 4:
        return 0, int(parsed)
    return struct.unpack("!qq", parsed.packed)


def address(long long high, long long low, int family):
    """The address that `numbers` took apart; `family` as in `socket`."""
    if family == 2:
        return str(ipaddress.IPv4Address(low))
    return str(ipaddress.IPv6Address(struct.pack("!qq", high, low)))


def new_shard(int commands_fd, int events_fd, int coder_fd, long long tick_ns, long long read_ns, int capacity, tables, srtp):
    """One thread's world; `tables` are (expand int16[256], compress uint8[16384]), which must outlive it; `srtp` are libsrtp's functions."""
    cdef Shard* shard = <Shard*>allocate(sizeof(Shard))
    cdef Net* net = <Net*>allocate(sizeof(Net))
    cdef unsigned char* packets = <unsigned char*>allocate(BATCH * (PACKET + 8))
    cdef const short[::1] expand
    cdef const unsigned char[::1] compress
    cdef int i
    shard.net = net
    shard.running = 1
    shard.commands_fd = commands_fd
    shard.events_fd = events_fd
    shard.coder_fd = coder_fd
    shard.work = new_line()
    shard.done = new_line()
    shard.tick_ns = tick_ns
    shard.read_ns = read_ns
    shard.epoll = open_epoll(commands_fd)
    if shard.epoll < 0:
        raise OSError("no epoll descriptor")
    shard.max_legs = shard.max_taps = capacity
    shard.legs = <Leg**>allocate(capacity * sizeof(void*))
    shard.buses = <Bus**>allocate(capacity * sizeof(void*))
    shard.taps = <Tap**>allocate(capacity * sizeof(void*))
    for i in range(BATCH):
        shard.data[i] = packets + i * (PACKET + 8)
        net.places[i].iov_base = shard.data[i]
        net.places[i].iov_len = PACKET
        net.messages[i].msg_hdr.msg_name = &net.names[i]
        net.messages[i].msg_hdr.msg_iov = &net.places[i]
        net.messages[i].msg_hdr.msg_iovlen = 1
        net.messages[i].msg_hdr.msg_namelen = sizeof(sockaddr_in6)
        net.messages[i].msg_hdr.msg_controllen = CONTROL
        net.messages[i].msg_hdr.msg_control = net.control + i * CONTROL
    shard.header = <Header*>allocate(sizeof(Header))
    shard.report = <Report*>allocate(sizeof(Report))
    shard.packet = <unsigned char*>allocate(4 * PACKET)
    shard.opened = <unsigned char*>allocate(PACKET + 8)
    for i, function in enumerate(srtp):
        shard.srtp[i] = function
    shard.acc = <int*>allocate(BLOCK * sizeof(int))
    shard.heard = <int*>allocate(BLOCK * sizeof(int))
    shard.part = <int*>allocate(BLOCK * sizeof(int))
    shard.own = <int*>allocate(FRAME * sizeof(int))
    shard.ear = <int*>allocate(BLOCK * sizeof(int))
    shard.frame = <short*>allocate(FRAME * sizeof(short))
    shard.frames = <short*>allocate(2 * BLOCK * sizeof(short))
    shard.events = <Event*>allocate(EVENTS * sizeof(Event))
    shard.captured = <unsigned char*>map_memory(CAPTURE_BYTES)
    shard.max_captured = CAPTURE_BYTES
    for i, (samples, codes) in enumerate(tables):
        expand, compress = samples, codes
        shard.expand[i] = &expand[0]
        shard.compress[i] = &compress[0]
    return keep(shard, "shard")


cdef Line* new_line() except NULL:
    cdef Line* line = <Line*>allocate(sizeof(Line))
    line.data = <unsigned char*>map_memory(LINE_BYTES)
    line.size = LINE_BYTES
    return line


cdef void free_line(Line* line):
    munmap(line.data, line.size)
    release(line)


def take_tasks(long long handle, int most):
    """What the codec thread is to do, oldest first: (kind, leg, coder, position, moved, stamp, samples, marker, bytes) each."""
    cdef Shard* shard = shard_of(handle)
    cdef Line* line = shard.work
    cdef Task* task
    cdef unsigned char* data
    cdef list tasks = []
    while len(tasks) < most:
        task = read_task(line)
        if task == NULL:
            break
        data = <unsigned char*>(task + 1)
        tasks.append((
            task.kind, <long long><size_t>task.leg, task.coder, task.pos, task.moved, task.stamp, task.n, task.marker, data[: task.size],
        ))
        drop_task(line, task)
    return tasks


def give_task(long long handle, int kind, long long leg, long long coder, long long pos, long long moved, long long stamp, int n, int marker, bytes data):
    """What the codec thread has done with one task; whether there was room for it."""
    cdef const unsigned char* place = data
    return bool(put_task(shard_of(handle).done, kind, leg_of(leg), coder, pos, moved, stamp, n, marker, place, 0, <int>len(data)))


def new_leg(long long number, int rtp, int rtcp, int family, long long ssrc, long long sequence, long long stamp, unsigned long long name):
    """A leg over two sockets that it owns from now on; -1 for a leg without."""
    # Legs would all lie at the same places of their pages, and of a cache that tells pages by those places only few would fit into it.
    cdef size_t shade = 64 * <size_t>(number % 60)
    cdef Leg* leg = <Leg*>(<unsigned char*>map_memory(leg_size()) + shade)
    cdef int i
    leg.id = number
    leg.rtp = rtp
    leg.rtcp = rtcp
    leg.family = family
    leg.name = name
    leg.out_ssrc = ssrc
    leg.out_sequence = sequence
    leg.out_stamp = stamp
    leg.noise_type = leg.dtmf_type = leg.payload_type = leg.codec = -1
    for i in range(SEEN):
        leg.seen[i] = -1
    leg.ring = <short*>(<unsigned char*>leg + leg_size() - 4096 - 2 * RING * sizeof(short))
    leg.out_ring = leg.ring + RING
    return keep(leg, "leg")


cdef size_t leg_size() noexcept nogil:
    return (sizeof(Leg) + 4095) // 4096 * 4096 + 2 * RING * sizeof(short) + 4096


def new_player(long long number, const short[::1] pcm, bint loop_):
    """A player of samples that must outlive it."""
    cdef Player* player = <Player*>allocate(sizeof(Player))
    player.id = number
    player.length = pcm.shape[0]
    player.pcm = &pcm[0] if player.length else NULL
    player.loop = loop_
    return keep(player, "player")


def new_bus(long long number, int rate, int capacity, bint digits):
    """A bus of at most `capacity` legs, whose players speak at `rate`; two of them pass on each other's `digits`."""
    cdef Bus* bus = <Bus*>allocate(sizeof(Bus))
    cdef int i
    bus.id = number
    bus.max_members = capacity
    bus.digits = digits
    bus.members = <Leg**>allocate(capacity * sizeof(void*))
    bus.max_spans = 2 * capacity + 64
    bus.spans = <Span*>allocate(bus.max_spans * sizeof(Span))
    bus.voice = <Leg*>allocate(sizeof(Leg))
    bus.voice.id = number
    bus.voice.rate = rate
    bus.voice.rate_ms = rate // 1000
    bus.voice.mask = ring_mask(rate)
    bus.voice.out_ring = <short*>allocate((bus.voice.mask + 1) * sizeof(short))
    bus.sums[0].acc = <int*>map_memory(SUMS * FRAME * sizeof(int))  # that of a bridge is never touched
    for i in range(SUMS):
        bus.sums[i].acc = bus.sums[0].acc + i * FRAME
    return keep(bus, "bus")


def new_tap(long long number, int fd, int rate, int channels, sources, long long base, bint reports):
    """A tap that owns `fd`; `sources` are (kind, channel, handle of leg or bus)."""
    cdef Tap* tap = <Tap*>allocate(sizeof(Tap))
    cdef int i
    tap.id = number
    tap.fd = fd
    tap.rate = rate
    tap.n_channels = channels
    tap.base = base
    tap.reports = reports
    tap.n_sources = tap.max_sources = len(sources)
    tap.sources = <Source*>allocate((tap.max_sources + 1) * sizeof(Source))
    for i, (kind, channel, handle) in enumerate(sources):
        tap.sources[i].kind = kind
        tap.sources[i].channel = channel
        tap.sources[i].until = forever()
        if kind == MIX:
            tap.sources[i].bus = bus_of(handle)
        else:
            tap.sources[i].leg = leg_of(handle)
    return keep(tap, "tap")


def free(long long handle):
    """Give up what a `new_` function made."""
    kind = _kinds.pop(handle)
    if kind == "leg":
        munmap(<void*>(<size_t>handle // 4096 * 4096), leg_size())
    elif kind == "shard":
        free_shard(shard_of(handle))
    else:
        if kind == "bus":
            release(bus_of(handle).members)
            release(bus_of(handle).spans)
            release(bus_of(handle).voice.out_ring)
            release(bus_of(handle).voice)
            munmap(bus_of(handle).sums[0].acc, SUMS * FRAME * sizeof(int))
        elif kind == "tap":
            release(tap_of(handle).sources)
        release(<void*><size_t>handle)


cdef void free_shard(Shard* shard):
    os.close(shard.epoll)
    munmap(shard.captured, shard.max_captured)
    free_line(shard.work)
    free_line(shard.done)
    release(shard.data[0])
    release(shard.net)
    release(shard.legs)
    release(shard.buses)
    release(shard.taps)
    release(shard.header)
    release(shard.report)
    release(shard.packet)
    release(shard.opened)
    release(shard.acc)
    release(shard.heard)
    release(shard.part)
    release(shard.own)
    release(shard.ear)
    release(shard.frame)
    release(shard.frames)
    release(shard.events)
    release(shard)


def run(long long handle):
    """Serve until told to quit: the body of the engine's thread."""
    with nogil:
        loop.run(shard_of(handle))


def tick(long long handle, long long when):
    """Obey what was commanded, then make one step of virtual time."""
    cdef Shard* shard = shard_of(handle)
    with nogil:
        shard.now = when
        if shard.next_tick == 0:
            shard.last_tick = when
        shard.next_tick = when
        loop.obey(shard)
        loop.tick(shard, when)
        tell_departures(shard)
        write_events(shard)
        if not shard.running:
            loop.close_all(shard)


def obey(long long handle, long long now):
    """Carry out what was commanded, between two ticks of virtual time."""
    cdef Shard* shard = shard_of(handle)
    with nogil:
        shard.now = now
        loop.obey(shard)
        tell_departures(shard)
        write_events(shard)


def inject(long long handle, long long leg, const unsigned char[::1] data, long long high, long long low, int port, long long at, bint reports):
    """A datagram for a leg without sockets."""
    cdef Shard* shard = shard_of(handle)
    cdef int n = <int>data.shape[0]
    cdef const unsigned char* buf = &data[0] if n else shard.packet
    with nogil:
        shard.now = at
        if reports:
            receive_reports(shard, leg_of(leg), buf, n, high, low, port, at)
        else:
            receive(shard, leg_of(leg), buf, n, high, low, port, at)


def take_captured(long long handle):
    """What legs without sockets sent since the last call: records of `portable.CAPTURE`, each before its bytes."""
    cdef Shard* shard = shard_of(handle)
    data = shard.captured[: shard.n_captured]
    shard.n_captured = 0
    return data


def leg_numbers(long long handle, names):
    """A leg's counters, by name."""
    cdef dict fields = leg_of(handle).counts
    return tuple([int(fields[name]) for name in names])


def leg_addresses(long long handle):
    """Where a leg's RTP and RTCP go: high and low half and port of each."""
    cdef Leg* leg = leg_of(handle)
    return (leg.to_high, leg.to_low, leg.to_port), (leg.reports_high, leg.reports_low, leg.reports_port)


def shard_numbers(long long handle):
    """A thread's counters."""
    cdef Shard* shard = shard_of(handle)
    return {
        "n_legs": shard.n_legs,
        "n_buses": shard.n_buses,
        "n_taps": shard.n_taps,
        "ticks": shard.ticks,
        "overruns": shard.overruns,
        "busy_ns": shard.busy_ns,
        "lost_events": shard.lost_events,
    }


def tap_frames(long long handle):
    """Frames written so far."""
    return tap_of(handle).frames


def parse_rtp(const unsigned char[::1] data):
    """Marker, payload type, sequence, timestamp, SSRC, offset and size of the payload; None when malformed."""
    cdef Header header
    cdef int n = <int>data.shape[0]
    memset(&header, 0, sizeof(Header))
    if n == 0 or not wire.parse(&header, &data[0], n):
        return None
    return header.marker, header.payload_type, header.sequence, header.timestamp, header.ssrc, header.offset, header.size


def parse_reports(const unsigned char[::1] data, long long about):
    """What a compound RTCP packet says, `parts` being the number of its packets; None when malformed."""
    cdef Report report
    cdef int n = <int>data.shape[0]
    cdef int parts
    memset(&report, 0, sizeof(Report))
    report.about = about
    parts = wire.parse_reports(&report, &data[0], n) if n else 0
    if not parts:
        return None
    fields = report
    return {"parts": parts} | fields
