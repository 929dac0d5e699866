"""What leaves a leg: players, echo, what it hears of its bus, silence, digits and reports, mixed and sent as RTP at exact pace.

Place in the chain: on the tick, after the sockets were read. One verb, `send_due`; calls for one leg must not overlap. Memory: the
shard's scratch buffers. Sequence numbers and timestamps go on without a break whatever is sent. What is the leg's own in it (players,
echo) is also placed in the leg's `out` ring, at the time it is sent, when a tap asks for it. Knows nothing of how prompts come to be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

try:
    import cython
except ImportError:
    from tapeline.rtp.engine import nocython as cython

if not cython.compiled:
    from tapeline.rtp.engine.buses import ahead, hear_live
    from tapeline.rtp.engine.constants import DIGITS, ENCODE, FRAME, L16, PACKET, PLAYER_ENDED, QUIETEN
    from tapeline.rtp.engine.portable import send_packet
    from tapeline.rtp.engine.queues import put_task
    from tapeline.rtp.engine.samples import add, clear, compress, fill, gather, pack, saturate, store, zero
    from tapeline.rtp.engine.sealing import seal
    from tapeline.rtp.engine.state import ms, ntp_seconds, player_of, position, push, signed32, whole
    from tapeline.rtp.engine.wire import build, build_reports

if TYPE_CHECKING:
    from tapeline.rtp.engine import state


def send_due(shard: state.Shard, leg: state.Leg, now: int) -> None:
    """Send every packet whose time has come by `now`. After a stall of the machine the lost packets are skipped, in time too."""
    if now - leg.next_send > 200000000:
        skipped = (now - leg.next_send) // leg.ptime_ns
        leg.next_send += skipped * leg.ptime_ns
        leg.out_stamp += skipped * leg.ptime * leg.rate_ms // leg.scale
        leg.counts.skipped += skipped
    while leg.next_send <= now:
        send_frame(shard, leg, leg.next_send)
        leg.next_send += leg.ptime_ns


def send_frame(shard: state.Shard, leg: state.Leg, when: int) -> None:
    n = leg.ptime * leg.rate_ms
    if leg.dtmf_type < 0:  # a new offer knows no telephone events: nothing is left to send waiting digits as
        leg.digits = 0
        leg.dialled = 0
    dialling = leg.digits and when >= leg.dial_at
    sounding = mix_frame(shard, leg, when, n, leg.sends and not dialling)
    if leg.sends and leg.to_port:
        if dialling:
            send_digit(shard, leg, when, n)
        elif when >= leg.event_until and leg.coded:
            ask_encoded(shard, leg, n, sounding)
        elif when >= leg.event_until:
            build(shard.packet, leg.mark, leg.payload_type, leg.out_sequence, leg.out_stamp, leg.out_ssrc)
            leg.mark = 0
            encode(shard, leg, n, sounding)
            transmit(shard, leg, 12 + n * leg.sample_size, when)
            leg.counts.octets += n * leg.sample_size
    elif dialling:
        leg.digits = 0
    leg.out_stamp += n // leg.scale


def transmit(shard: state.Shard, leg: state.Leg, n: int, when: int) -> None:
    """Send the packet that stands in the shard's buffer and count it."""
    if leg.seals:
        n = seal(shard, leg, n, 0)
    if n and send_packet(shard, leg, 0, n, when):
        leg.counts.sent += 1
    else:
        leg.counts.unsent += 1
    leg.out_sequence = (leg.out_sequence + 1) & 0xFFFF


def ask_encoded(shard: state.Shard, leg: state.Leg, n: int, sounding: int) -> None:
    """Have the frame encoded; it goes out on the next tick, under the timestamp of this one."""
    size = 0
    if sounding:
        pack(shard.frame, n, shard.packet, 0)
        size = 2 * n
    kind = ENCODE if sounding else QUIETEN
    if put_task(shard.work, kind, leg, leg.coder, shard.now, 0, leg.out_stamp, n, leg.mark, shard.packet, 0, size):
        leg.pending += 1
        leg.mark = 0
        shard.asked += 1
    else:
        leg.counts.unsent += 1


def send_encoded(shard: state.Shard, leg: state.Leg, size: int, stamp: int, marker: int, when: int) -> None:
    """Send a packet that comes back from the codec thread; one that was very late is of no use any more."""
    if size == 0 or size > PACKET or signed32(leg.out_stamp - stamp) * leg.scale > 200 * leg.rate_ms:
        leg.counts.unsent += 1
        return
    build(shard.packet, marker, leg.payload_type, leg.out_sequence, stamp, leg.out_ssrc)
    for i in range(size):
        shard.packet[12 + i] = shard.task_data[i]
    transmit(shard, leg, 12 + size, when)
    leg.counts.octets += size


def encode(shard: state.Shard, leg: state.Leg, n: int, sounding: int) -> None:
    if not sounding:
        fill(shard.packet, 12, n * leg.sample_size, leg.quiet)
    elif leg.codec == L16:
        pack(shard.frame, n, shard.packet, 12)
    else:
        compress(leg.compress, shard.frame, n, shard.packet, 12)


def mix_frame(shard: state.Shard, leg: state.Leg, when: int, n: int, is_heard: int) -> int:
    """Mix what the leg shall hear from `when` on into the shard's frame; 0 when it is nothing."""
    sounding = mix_own(shard, leg, when, n)
    if leg.out_tapped:
        place_sent(shard, leg, position(when, leg.rate), n, sounding and is_heard)
    if leg.n_stays:
        if not sounding:
            zero(shard.acc, n)
        if hear_live(shard, leg, when, n):
            sounding = 1
    if sounding:
        saturate(shard.acc, n, shard.frame, 0, 1)
    return sounding


def mix_own(shard: state.Shard, leg: state.Leg, when: int, n: int) -> int:
    """Mix what sounds for this leg alone; 0 when nothing does."""
    if not leg.echo and leg.n_players == 0:
        return 0
    zero(shard.acc, n)
    if leg.echo:
        pos = position(when, leg.rate) - leg.delay - ahead(shard, n, leg.rate)
        gather(shard.acc, leg.ring, leg.mask, leg.horizon, leg.rate, leg.rate, pos, n, 4096)
    if leg.n_players:
        play(shard, leg, when, n)
    return 1


def speak_on_bus(shard: state.Shard, bus: state.Bus, when: int) -> None:
    """Let the bus's players say what is due from `when` on for one tick, and what was missed before."""
    voice = bus.voice
    if voice.n_players == 0:
        return
    n = shard.tick_ns // 1000000 * voice.rate_ms
    pos = position(when, voice.rate)
    if voice.out_horizon < pos and pos - voice.out_horizon < 200 * voice.rate_ms:
        when -= ms(pos - voice.out_horizon) // voice.rate_ms
        n += pos - voice.out_horizon
        pos = voice.out_horizon
    while n > 0 and voice.n_players:
        part = n if n < FRAME else FRAME
        zero(shard.acc, part)
        play(shard, voice, when, part)
        place_sent(shard, voice, pos, part, 1)
        when += ms(part) // voice.rate_ms
        pos += part
        n -= part


def play(shard: state.Shard, leg: state.Leg, when: int, n: int) -> None:
    """Add the leg's players to the mix; those that end say so."""
    for i in range(leg.n_players):
        player = leg.players[i]
        done = 0
        if player.since > when:  # a late tick sends what was due before the player came
            done = position(player.since, leg.rate) - position(when, leg.rate)
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
    """Keep what is mixed for this leg alone."""
    if pos > leg.out_horizon:
        clear(leg.out_ring, leg.mask, leg.out_horizon, pos - leg.out_horizon)
    if sounding:
        saturate(shard.acc, n, shard.frame, 0, 1)
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
    if leg.seals:
        size = seal(shard, leg, size, 1)
    if size and send_packet(shard, leg, 1, size, now):
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
    report.jitter = whole(leg.counts.jitter) // leg.scale
    report.last_report = leg.sender_report
    report.delay = (now - leg.sender_report_at) * 1024 // 15625000 if leg.sender_report else 0
    leg.counts.fraction_lost = report.fraction


def start_player(shard: state.Shard, leg: state.Leg, handle: int, at: int) -> None:
    """Play from `at` on. The caller sees to it that a leg never has more than PLAYERS whose end has not been told."""
    if not leg.sends and leg.n_players == 0:
        leg.next_send = shard.next_tick
    leg.players[leg.n_players] = player_of(handle)
    leg.players[leg.n_players].since = at
    leg.n_players += 1


def stop_player(shard: state.Shard, leg: state.Leg, number: int, at: int) -> None:
    for i in range(leg.n_players):
        if leg.players[i].id == number:
            end_player(leg.players[i], at)
    release_players(shard, leg)


def end_players(shard: state.Shard, leg: state.Leg, at: int) -> None:
    for i in range(leg.n_players):
        end_player(leg.players[i], at)
    release_players(shard, leg)


def end_player(player: state.Player, at: int) -> None:
    """Stop it, where it did not end by itself."""
    if not player.ended:
        player.ended = 1
        player.stopped = 1
        player.ended_at = at


def dial(shard: state.Shard, leg: state.Leg, i: int) -> None:
    """Append digits to those waiting; what does not fit is dropped by the caller, who counts."""
    leg.dial_ms = shard.commands[i].args[0]
    leg.gap_ms = shard.commands[i].args[1]
    for k in range(shard.commands[i].size):
        if leg.digits < DIGITS:
            leg.dial[(leg.dial_head + leg.digits) & (DIGITS - 1)] = shard.commands[i].blob[k]
            leg.digits += 1
