"""From a datagram to a stream: source and SSRC lock, unwrapping, digits, reports, and what was agreed about a leg.

Place in the chain: after the socket, before the ring. One verb, `receive`; calls for one leg must not overlap. Memory: the leg's own,
no more. Every packet ends in exactly one counter of its leg (`placed`, `late`, `duplicate`, `foreign`, `malformed`, ...). Knows
nothing of sockets: addresses are numbers, and the time of arrival is given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

try:
    import cython
except ImportError:
    from tapeline.rtp.engine import nocython as cython

if not cython.compiled:
    from tapeline.rtp.engine.buses import retune
    from tapeline.rtp.engine.coding import is_wanted, samples_of
    from tapeline.rtp.engine.constants import (
        DIGIT,
        L16,
        LAG,
        MEDIA_RESUMED,
        MEDIA_STARTED,
        OPUS,
        PACKET,
        PAUSE,
        SEEN,
        SOURCE_CHANGED,
    )
    from tapeline.rtp.engine.relay import forward
    from tapeline.rtp.engine.samples import clear
    from tapeline.rtp.engine.sealing import open_sealed
    from tapeline.rtp.engine.state import ms, ntp_seconds, position, push, ring_mask, signed32
    from tapeline.rtp.engine.taps import hears, write_until
    from tapeline.rtp.engine.timing import place
    from tapeline.rtp.engine.wire import get16, get32, parse, parse_reports

if TYPE_CHECKING:
    from tapeline.rtp.engine import state


def receive(shard: state.Shard, leg: state.Leg, buf: state.Buffer, n: int, high: int, low: int, port: int, at: int) -> None:
    """Take one datagram of `n` bytes that came to the leg's RTP port at `at` ns from address (`high`, `low`) and `port`."""
    leg.counts.packets += 1
    header = shard.header
    if n > 1 and buf[1] >= 192 and buf[1] <= 223:  # RFC 5761 section 4: no payload type looks like this
        leg.counts.reports += 1
        receive_reports(shard, leg, buf, n, high, low, 0, at)
        return
    if n < 12 or n > PACKET:
        leg.counts.malformed += 1
        return
    if leg.opens:
        n = open_sealed(shard, leg, buf, n, 0)
        if n < 0:
            note_refused(leg, -n)
            return
        buf = shard.opened
    if not parse(header, buf, n):
        leg.counts.malformed += 1
        return
    if not leg.configured:
        leg.counts.early += 1
        return
    kind = header.payload_type
    if kind != leg.payload_type and kind != leg.dtmf_type and kind != leg.noise_type:
        leg.counts.wrong_payload += 1
        return
    if not lock_source(shard, leg, high, low, port, at):
        leg.counts.foreign += 1
        return
    if not leg.receives:
        leg.last_at = at
        leg.counts.unwanted += 1
        return
    if not lock_stream(shard, leg, at):
        leg.counts.unsettled += 1
        return
    awaken(shard, leg, at)
    sequence = leg.highest + (((header.sequence - leg.highest + 32768) & 0xFFFF) - 32768)
    if leg.seen[sequence & (SEEN - 1)] == sequence & 0x7FFFFFFF:
        leg.counts.duplicate += 1
        return
    leg.seen[sequence & (SEEN - 1)] = sequence & 0x7FFFFFFF
    leg.counts.received += 1
    in_order = sequence > leg.highest
    stamp = leg.stamp + signed32(header.timestamp - leg.stamp)
    if in_order:
        leg.highest = sequence
        if kind == leg.payload_type:
            leg.stamp = stamp
    if kind == leg.dtmf_type:
        leg.counts.dtmf += 1
        take_digit(shard, leg, buf, header.offset, header.size, stamp, at)
    elif kind == leg.payload_type:
        if not take_payload(shard, leg, buf, header.size, stamp, in_order, at):
            return
    else:
        leg.counts.comfort_noise += 1  # RFC 3389: the sender is silent; so is the recording
    forward(shard, leg, buf, sequence, stamp, at)


def note_refused(leg: state.Leg, error: int) -> None:
    """Count a packet that libsrtp refuses: it came before, or is too old to tell (9, 10), or is not the peer's."""
    if error == 9 or error == 10:
        leg.counts.replayed += 1
    else:
        leg.counts.unauthentic += 1


def take_payload(shard: state.Shard, leg: state.Leg, buf: state.Buffer, size: int, stamp: int, in_order: int, at: int) -> int:
    """Place the audio of a packet, `size` bytes, at its timestamp; 0 when there is none in it."""
    offset = shard.header.offset
    n = size // leg.sample_size
    if n == 0:
        leg.counts.empty += 1
        return 0
    if not leg.coded:
        place(shard, leg, buf, offset, n, stamp, in_order, at)
    elif leg.codec == OPUS and size == 1:  # RFC 7587 section 3.1.3: the sender is silent
        leg.counts.comfort_noise += 1
    else:
        n = samples_of(leg, buf, offset, size)
        if n == 0:
            leg.counts.malformed += 1
            return 0
        leg.wanted = is_wanted(leg)
        place(shard, leg, buf, offset, n, stamp * leg.scale, in_order, at)
    return 1


def awaken(shard: state.Shard, leg: state.Leg, at: int) -> None:
    """Media is there: say so if it was not."""
    leg.last_at = at
    if not leg.started:
        leg.started = 1
        push(shard, MEDIA_STARTED, leg.id, at, 0, 0, 0)
    if leg.timed_out:
        leg.timed_out = 0
        push(shard, MEDIA_RESUMED, leg.id, at, 0, 0, 0)


def lock_source(shard: state.Shard, leg: state.Leg, high: int, low: int, port: int, at: int) -> int:
    """Symmetric RTP: the first valid packet tells where the peer is; whoever else sends is foreign.

    The address of the SDP wins over another one that came first. A source that has been silent may be replaced: a phone behind a
    NAT that was bound anew.
    """
    if leg.locked and leg.source_low == low and leg.source_port == port and leg.source_high == high:
        return 1
    expected = leg.expected_port == port and leg.expected_low == low and leg.expected_high == high
    if leg.locked and not (expected and not leg.as_expected):
        patience = 1000 if leg.ssrc == shard.header.ssrc else PAUSE
        if at - leg.last_at < ms(patience):
            return 0
    if leg.locked:
        leg.streaming = 0
        leg.counts.changes += 1
    leg.locked = 1
    leg.as_expected = expected
    leg.source_high = high
    leg.source_low = low
    leg.source_port = port
    leg.to_high = high
    leg.to_low = low
    leg.to_port = port
    return 1


def lock_stream(shard: state.Shard, leg: state.Leg, at: int) -> int:
    """One SSRC at a time. Another takes over at once, but not twice in five seconds unless it sends two packets in a row."""
    header = shard.header
    if not leg.streaming:
        begin_stream(shard, leg, at)
    elif header.ssrc != leg.ssrc:
        leg.candidates = leg.candidates + 1 if header.ssrc == leg.candidate else 1
        leg.candidate = header.ssrc
        if at < leg.free_at and leg.candidates < 2 and not leg.bye:
            return 0
        leg.counts.changes += 1
        leg.free_at = at + ms(5000)
        begin_stream(shard, leg, at)
    else:
        leg.candidates = 0
        delta = ((header.sequence - leg.highest + 32768) & 0xFFFF) - 32768
        if delta > 1000 or delta < -1000:  # RFC 3550 appendix A.1: the sender began anew when the next packet goes on from here
            if header.sequence != leg.expected_sequence and at - leg.last_at < ms(PAUSE):
                leg.expected_sequence = (header.sequence + 1) & 0xFFFF
                return 0
            begin_stream(shard, leg, at)
    return 1


def begin_stream(shard: state.Shard, leg: state.Leg, at: int) -> None:
    header = shard.header
    if leg.ssrc != header.ssrc and leg.started:
        push(shard, SOURCE_CHANGED, leg.id, at, header.ssrc, 0, 0)
    if leg.digit_open:
        close_digit(shard, leg, at)
    leg.digit_known = 0
    leg.streaming = 1
    leg.streams += 1
    leg.ssrc = header.ssrc
    leg.bye = 0
    leg.candidates = 0
    leg.expected_sequence = -1
    leg.highest = header.sequence + 0x10000 - 1
    leg.first = leg.highest + 1
    leg.stamp = header.timestamp
    leg.counts.received = 0
    leg.expected_before = 0
    leg.received_before = 0
    leg.counts.jitter = 0.0
    leg.transit = 0.0
    leg.anchored = 0
    for i in range(SEEN):
        leg.seen[i] = -1


def take_digit(shard: state.Shard, leg: state.Leg, buf: state.Buffer, offset: int, size: int, stamp: int, at: int) -> None:
    """RFC 4733 section 2.5: one digit for each event timestamp, whichever of its packets arrive."""
    if size < 4 or buf[offset] > 15:
        return
    duration = get16(buf, offset + 2)
    if leg.digit_open and stamp != leg.digit_stamp:
        # Section 2.5.1.3: an event longer than its 16 bits goes on in a new segment.
        if buf[offset] == leg.digit and stamp == leg.digit_stamp + 65535 and leg.digit_span >= 65000:
            leg.digit_before += 65535
            leg.digit_stamp = stamp
            leg.digit_span = 0
        elif stamp > leg.digit_stamp:
            close_digit(shard, leg, at)
    if not leg.digit_open:
        if leg.digit_known and stamp <= leg.digit_stamp:
            return
        leg.digit_known = 1
        leg.digit_open = 1
        leg.digit = buf[offset]
        leg.digit_stamp = stamp
        leg.digit_span = 0
        leg.digit_before = 0
    if stamp != leg.digit_stamp:
        return
    leg.digit_at = at
    if duration > leg.digit_span:
        leg.digit_span = duration
    if buf[offset + 1] & 128:
        close_digit(shard, leg, at)


def close_digit(shard: state.Shard, leg: state.Leg, at: int) -> None:
    leg.digit_open = 0
    push(shard, DIGIT, leg.id, at, leg.digit, (leg.digit_before + leg.digit_span) * 1000 // leg.dtmf_rate, 0)


def receive_reports(shard: state.Shard, leg: state.Leg, buf: state.Buffer, n: int, high: int, low: int, port: int, at: int) -> None:
    """Take a compound RTCP packet; `port` is 0 when it came to the RTP port. Ours go where the peer's come from, as with RTP: the address
    in its SDP may be one behind a NAT."""
    report = shard.report
    report.about = leg.out_ssrc
    leg.counts.rtcp_packets += 1
    if leg.locked and (leg.source_low != low or leg.source_high != high) and leg.expected_low != low:
        leg.counts.rtcp_foreign += 1
        return
    if n > PACKET:
        leg.counts.rtcp_malformed += 1
        return
    if leg.opens:
        n = open_sealed(shard, leg, buf, n, 1)
        if n < 0:
            leg.counts.rtcp_unauthentic += 1
            return
        buf = shard.opened
    if not parse_reports(report, buf, n):
        leg.counts.rtcp_malformed += 1
        return
    if port and leg.locked and leg.source_low == low and leg.source_high == high:
        leg.reports_high = high
        leg.reports_low = low
        leg.reports_port = port
    if report.has_sender:
        leg.sender_report = ((report.ntp_high & 0xFFFF) << 16) | (report.ntp_low >> 16)
        leg.sender_report_at = at
    if report.has_block:
        leg.counts.remote_fraction = report.fraction
        leg.counts.remote_lost = report.lost
        leg.counts.remote_jitter = report.jitter
        if report.last_report:  # RFC 3550 section 6.4.1: round trip in units of 1/65536 s
            trip = signed32(ntp_middle(shard, at) - report.last_report - report.delay)
            if trip >= 0:
                leg.counts.round_trip = trip
    if report.bye and report.bye_source == leg.ssrc:
        leg.bye = 1


def ntp_middle(shard: state.Shard, at: int) -> int:
    """The middle 32 bits of the NTP time of `at`."""
    wall = at + shard.wall_offset
    fraction = ((wall % 1000000000) << 16) // 1000000000
    return ((ntp_seconds(wall) & 0xFFFF) << 16) | fraction


def configure(shard: state.Shard, leg: state.Leg, i: int) -> None:
    """Take on what was agreed. A new address unlocks the source; a new rate begins the ring anew."""
    rate = shard.commands[i].args[2]
    if rate != leg.rate:
        change_rate(shard, leg, rate)
    codec = shard.commands[i].args[0]
    if codec != leg.codec or shard.commands[i].args[1] != leg.payload_type:
        leg.streaming = 0
    leg.codec = codec
    leg.sample_size = 2 if codec == L16 else 1
    leg.quiet = 0
    if codec < L16:
        leg.expand = shard.expand[codec]
        leg.compress = shard.compress[codec]
        leg.quiet = leg.compress[0]
    set_coder(shard, leg, i)
    leg.payload_type = shard.commands[i].args[1]
    leg.ptime = shard.commands[i].args[3]
    leg.ptime_ns = ms(leg.ptime)
    leg.dtmf_type = shard.commands[i].args[4]
    leg.dtmf_rate = shard.commands[i].args[5]
    leg.noise_type = shard.commands[i].args[6]
    if not leg.configured or leg.timeout_ns == 0 or (shard.commands[i].args[7] and (leg.held or not leg.receives)):
        leg.last_at = shard.now
        leg.timed_out = 0
    was_both = leg.held or (leg.receives and leg.sends)
    leg.receives = shard.commands[i].args[7]
    leg.sends = shard.commands[i].args[8]
    leg.held = was_both and not (leg.receives and leg.sends)
    leg.timeout_ns = ms(shard.commands[i].args[9])
    retune(leg, shard.now)
    set_addresses(shard, leg, i)
    if not leg.configured:
        leg.next_send = shard.next_tick
        leg.mark = 1
        leg.next_report = shard.now + 1000000000 + (leg.out_ssrc & 0x7FFFFFFF)
    leg.configured = 1


def set_keys(shard: state.Shard, leg: state.Leg, i: int) -> None:
    """Open and seal with these sessions from now on; with a new key our stream is a new one."""
    leg.opens = shard.commands[i].args[0]
    leg.seals = shard.commands[i].args[1]
    if shard.commands[i].args[2] >= 0:
        leg.out_ssrc = shard.commands[i].args[2]
        leg.out_sequence = shard.commands[i].args[3]
        leg.relay_stream = -1
        leg.mark = 1


def set_coder(shard: state.Shard, leg: state.Leg, i: int) -> None:
    """Which coder on the codec thread is the leg's, if any: scale of the timestamps, delay of the codec, number of the coder."""
    leg.coded = leg.codec > L16
    leg.scale = shard.commands[i].blob[0]
    leg.advance = get16(shard.commands[i].blob, 1)
    leg.coder = get32(shard.commands[i].blob, 3)


def set_addresses(shard: state.Shard, leg: state.Leg, i: int) -> None:
    high = shard.commands[i].args[10]
    low = shard.commands[i].args[11]
    port = shard.commands[i].args[12]
    if port != leg.expected_port or low != leg.expected_low or high != leg.expected_high:
        leg.locked = 0
        leg.expected_high = high
        leg.expected_low = low
        leg.expected_port = port
        leg.to_high = high
        leg.to_low = low
        leg.to_port = port
    leg.muxed = shard.commands[i].size
    leg.reports_high = shard.commands[i].args[13]
    leg.reports_low = shard.commands[i].args[14]
    leg.reports_port = shard.commands[i].args[15]


def change_rate(shard: state.Shard, leg: state.Leg, rate: int) -> None:
    """Begin the rings anew at another rate; taps take what the old one held."""
    for i in range(shard.n_taps):
        if hears(shard.taps[i], leg):
            write_until(shard, shard.taps[i], position(shard.now, shard.taps[i].rate))
    leg.rate = rate
    leg.rate_ms = rate // 1000
    leg.mask = ring_mask(rate)
    if leg.configured:  # memory that was never touched is silent, and stays unused as long as it is not written
        clear(leg.ring, leg.mask, 0, leg.mask + 1)
        clear(leg.out_ring, leg.mask, 0, leg.mask + 1)
    leg.horizon = position(shard.now, rate)
    leg.out_horizon = leg.horizon
    leg.consumed = leg.horizon if leg.tapped else leg.horizon - LAG * leg.rate_ms
    leg.anchored = 0
    leg.streaming = 0
    leg.delay = (shard.tick_ns // 1000000 + 2) * leg.rate_ms
