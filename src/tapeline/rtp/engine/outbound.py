"""What leaves a leg: players, echo, the bus's other members, silence, digits and reports, mixed and sent as RTP at exact pace.

Place in the chain: on the tick, after the sockets were read. One verb, `send_due`; calls for one leg must not overlap. Memory: the
shard's scratch buffers. Sequence numbers and timestamps go on without a break whatever is sent. What is sent is also placed in the
leg's `out` ring, at the time it is sent, when a tap asks for it. Knows nothing of how prompts come to be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

try:
    import cython
except ImportError:
    from tapeline.rtp.engine import nocython as cython

if not cython.compiled:
    from tapeline.rtp.engine.constants import DIGITS, L16, PLAYER_ENDED
    from tapeline.rtp.engine.portable import send_packet
    from tapeline.rtp.engine.samples import add, clear, compress, fill, gather, pack, saturate, store, zero
    from tapeline.rtp.engine.state import ms, ntp_seconds, player_of, position, push, whole
    from tapeline.rtp.engine.wire import build, build_reports

if TYPE_CHECKING:
    from tapeline.rtp.engine import state


def send_due(shard: state.Shard, leg: state.Leg, now: int) -> None:
    """Send every packet whose time has come by `now`. After a stall of the machine the lost packets are skipped, in time too."""
    if now - leg.next_send > 200000000:
        skipped = (now - leg.next_send) // leg.ptime_ns
        leg.next_send += skipped * leg.ptime_ns
        leg.out_stamp += skipped * leg.ptime * leg.rate_ms
        leg.counts.skipped += skipped
    while leg.next_send <= now:
        send_frame(shard, leg, leg.next_send)
        leg.next_send += leg.ptime_ns


def send_frame(shard: state.Shard, leg: state.Leg, when: int) -> None:
    n = leg.ptime * leg.rate_ms
    sounding = mix_frame(shard, leg, when, n)
    dialling = leg.digits and when >= leg.dial_at
    if leg.out_tapped:
        place_sent(shard, leg, position(when, leg.rate), n, sounding and not dialling and leg.sends)
    if leg.sends and leg.to_port:
        if dialling:
            send_digit(shard, leg, when, n)
        else:
            build(shard.packet, leg.mark, leg.payload_type, leg.out_sequence, leg.out_stamp, leg.out_ssrc)
            leg.mark = 0
            encode(shard, leg, n, sounding)
            transmit(shard, leg, 12 + n * leg.sample_size, when)
            leg.counts.octets += n * leg.sample_size
    elif dialling:
        leg.digits = 0
    leg.out_stamp += n


def transmit(shard: state.Shard, leg: state.Leg, n: int, when: int) -> None:
    """Send the packet that stands in the shard's buffer and count it."""
    if send_packet(shard, leg, 0, n, when):
        leg.counts.sent += 1
    else:
        leg.counts.unsent += 1
    leg.out_sequence = (leg.out_sequence + 1) & 0xFFFF


def encode(shard: state.Shard, leg: state.Leg, n: int, sounding: int) -> None:
    if not sounding:
        fill(shard.packet, 12, n * leg.sample_size, leg.quiet)
    elif leg.codec == L16:
        pack(shard.frame, n, shard.packet, 12)
    else:
        compress(leg.compress, shard.frame, n, shard.packet, 12)


def mix_frame(shard: state.Shard, leg: state.Leg, when: int, n: int) -> int:
    """Mix what the leg shall hear from `when` on into the shard's frame; 0 when it is nothing."""
    if not leg.echo and not leg.joined and leg.n_players == 0:
        return 0
    sounding = 0
    zero(shard.acc, n)
    pos = position(when, leg.rate)
    if leg.joined and leg.hear:
        bus = leg.bus
        total(shard, bus, when, pos, n, leg.rate)
        add_mix(shard.acc, bus.acc, n)
        if leg.speak:
            gather(shard.acc, leg.ring, leg.mask, leg.horizon, leg.rate, leg.rate, pos - leg.delay, n, -leg.speak)
        if leg.hear != 4096:
            saturate(shard.acc, n, shard.frame, 0, 1)
            zero(shard.acc, n)
            add(shard.acc, 0, shard.frame, 0, n, leg.hear)
        sounding = 1
    if leg.echo:
        gather(shard.acc, leg.ring, leg.mask, leg.horizon, leg.rate, leg.rate, pos - leg.delay, n, 4096)
        sounding = 1
    if leg.n_players:
        play(shard, leg, when, n)
        sounding = 1
    saturate(shard.acc, n, shard.frame, 0, 1)
    return sounding


def total(shard: state.Shard, bus: state.Bus, when: int, pos: int, n: int, rate: int) -> None:
    """The sum of all members of a bus, at the time, length and rate that a leg needs; the next leg of the same kind finds it done."""
    if bus.when == when and bus.n == n and bus.rate == rate:
        return
    bus.when = when
    bus.n = n
    bus.rate = rate
    zero(bus.acc, n)
    for i in range(bus.n_members):
        leg = bus.members[i]
        if leg.speak and leg.receives:
            delay = leg.delay * rate // leg.rate if leg.rate != rate else leg.delay
            gather(bus.acc, leg.ring, leg.mask, leg.horizon, leg.rate, rate, pos - delay, n, leg.speak)


def add_mix(acc: state.Mix, other: state.Mix, n: int) -> None:
    if cython.compiled:
        for i in range(n):
            acc[i] += other[i]
    else:
        acc[:n] += other[:n]


def play(shard: state.Shard, leg: state.Leg, when: int, n: int) -> None:
    """Add the leg's players to the mix; those that end say so."""
    for i in range(leg.n_players):
        player = leg.players[i]
        done = 0
        while done < n and not player.ended:
            part = player.length - player.offset
            if part > n - done:
                part = n - done
            add(shard.acc, done, player.pcm, player.offset, part, 4096)
            done += part
            player.offset += part
            if player.offset >= player.length:
                if player.loop and player.length:
                    player.offset = 0
                else:
                    player.ended = 1
                    player.ended_at = when + ms(done) // leg.rate_ms
    release_players(shard, leg)


def release_players(shard: state.Shard, leg: state.Leg) -> None:
    """Let go of players that ended, as soon as their event has found room."""
    kept = 0
    for i in range(leg.n_players):
        player = leg.players[i]
        if not player.ended or not push(shard, PLAYER_ENDED, player.id, player.ended_at, player.stopped, leg.id, 0):
            leg.players[kept] = player
            kept += 1
    leg.n_players = kept


def place_sent(shard: state.Shard, leg: state.Leg, pos: int, n: int, sounding: int) -> None:
    """Keep what was sent, for the recorder."""
    if pos > leg.out_horizon:
        clear(leg.out_ring, leg.mask, leg.out_horizon, pos - leg.out_horizon)
    if sounding:
        store(shard.frame, n, leg.out_ring, leg.mask, pos)
    else:
        clear(leg.out_ring, leg.mask, pos, n)
    leg.out_horizon = pos + n


def send_digit(shard: state.Shard, leg: state.Leg, when: int, n: int) -> None:
    """One packet of a telephone event; three at its end, as RFC 4733 section 2.5.1.4 asks."""
    if leg.dialled == 0:
        leg.dial_stamp = leg.out_stamp
    span = leg.dialled + n
    goal = leg.dial_ms * leg.rate_ms
    end = 1 if span >= goal else 0
    reported = span * leg.dtmf_rate // leg.rate
    if reported > 65535:
        reported = 65535
        end = 1
    first = leg.dialled == 0
    for i in range(3 if end else 1):
        build(shard.packet, first and i == 0, leg.dtmf_type, leg.out_sequence, leg.dial_stamp, leg.out_ssrc)
        shard.packet[12] = leg.dial[leg.dial_head]
        shard.packet[13] = 138 if end else 10
        shard.packet[14] = reported >> 8
        shard.packet[15] = reported & 255
        transmit(shard, leg, 16, when)
        leg.counts.octets += 4
    leg.dialled = span
    if end:
        leg.dialled = 0
        leg.dial_head = (leg.dial_head + 1) & (DIGITS - 1)
        leg.digits -= 1
        leg.dial_at = when + leg.ptime_ns + ms(leg.gap_ms)
        leg.mark = 1


def send_report(shard: state.Shard, leg: state.Leg, now: int) -> None:
    """Send SR or RR with SDES (RFC 3550 section 6.4) to where the peer wants its reports."""
    report = shard.report
    report.has_sender = leg.counts.sent > leg.sent_before
    leg.sent_before = leg.counts.sent
    if report.has_sender:
        wall = now + shard.wall_offset
        report.ntp_high = ntp_seconds(wall)
        report.ntp_low = ((wall % 1000000000) << 31) // 500000000
        report.timestamp = leg.out_stamp
        report.packets = leg.counts.sent
        report.octets = leg.counts.octets
    heard = leg.counts.received > leg.received_before
    if heard:
        fill_block(shard, leg, now)
    size = build_reports(shard.packet, report, leg.out_ssrc, heard, leg.name)
    if send_packet(shard, leg, 1, size, now):
        leg.counts.rtcp_sent += 1


def fill_block(shard: state.Shard, leg: state.Leg, now: int) -> None:
    """The reception report about the leg's stream; loss as in RFC 3550 appendix A.3."""
    report = shard.report
    expected = leg.highest - leg.first + 1
    lost = expected - leg.counts.received
    interval = expected - leg.expected_before
    missing = interval - (leg.counts.received - leg.received_before)
    leg.expected_before = expected
    leg.received_before = leg.counts.received
    report.about = leg.ssrc
    report.fraction = missing * 256 // interval if interval > 0 and missing > 0 else 0
    if report.fraction > 255:
        report.fraction = 255
    report.lost = 0x7FFFFF if lost > 0x7FFFFF else (-0x800000 if lost < -0x800000 else lost)
    report.highest = leg.highest - 0x10000
    report.jitter = whole(leg.counts.jitter)
    report.last_report = leg.sender_report
    report.delay = (now - leg.sender_report_at) * 1024 // 15625000 if leg.sender_report else 0
    leg.counts.fraction_lost = report.fraction


def start_player(shard: state.Shard, leg: state.Leg, handle: int) -> None:
    """The caller sees to it that a leg never has more than PLAYERS whose end has not been told."""
    if not leg.sends and leg.n_players == 0:
        leg.next_send = shard.next_tick
    leg.players[leg.n_players] = player_of(handle)
    leg.n_players += 1


def stop_player(shard: state.Shard, leg: state.Leg, number: int, at: int) -> None:
    for i in range(leg.n_players):
        if leg.players[i].id == number and not leg.players[i].ended:
            leg.players[i].ended = 1
            leg.players[i].stopped = 1
            leg.players[i].ended_at = at
    release_players(shard, leg)


def dial(shard: state.Shard, leg: state.Leg, i: int) -> None:
    """Append digits to those waiting; what does not fit is dropped by the caller, who counts."""
    leg.dial_ms = shard.commands[i].args[0]
    leg.gap_ms = shard.commands[i].args[1]
    for k in range(shard.commands[i].size):
        if leg.digits < DIGITS:
            leg.dial[(leg.dial_head + leg.digits) & (DIGITS - 1)] = shard.commands[i].blob[k]
            leg.digits += 1


def join(bus: state.Bus, leg: state.Leg, hear: int, speak: int) -> None:
    """Enter a bus, or change the gains of a member."""
    if leg.joined and leg.bus.id != bus.id:
        leave(leg)
    if not leg.joined:
        if bus.n_members == bus.max_members:
            return
        bus.members[bus.n_members] = leg
        bus.n_members += 1
        leg.joined = 1
        leg.bus = bus
    leg.hear = hear
    leg.speak = speak
    bus.when = -1
    set_live(leg)


def leave(leg: state.Leg) -> None:
    if not leg.joined:
        return
    bus = leg.bus
    for i in range(bus.n_members):
        if bus.members[i].id == leg.id:
            bus.n_members -= 1
            bus.members[i] = bus.members[bus.n_members]
            break
    bus.when = -1
    leg.joined = 0
    set_live(leg)


def close_bus(bus: state.Bus, at: int) -> None:
    while bus.n_members:
        leave(bus.members[0])
    bus.closing = 1
    bus.closed_at = at


def set_live(leg: state.Leg) -> None:
    leg.live = leg.echo or leg.joined or leg.watched


def place_mix(shard: state.Shard, bus: state.Bus, when: int) -> None:
    """Keep the sum of a bus, for the recorder."""
    n = shard.tick_ns // 1000000 * (bus.ring_rate // 1000)
    pos = position(when, bus.ring_rate)
    total(shard, bus, when, pos, n, bus.ring_rate)
    saturate(bus.acc, n, shard.frame, 0, 1)
    if pos > bus.horizon:
        clear(bus.ring, bus.mask, bus.horizon, pos - bus.horizon)
    store(shard.frame, n, bus.ring, bus.mask, pos)
    bus.horizon = pos + n
