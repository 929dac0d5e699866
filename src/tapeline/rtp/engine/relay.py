"""Two legs of one codec on a bus of two: what one says goes to the other as it came, untouched; telephone events go on in any case.

Place in the chain: after the packet was placed in its leg's ring, where taps, echoes and a later mix find it all the same. One verb,
`forward`. A leg is relayed to for as long as nothing else sounds for it and packets come; else it is mixed for, and the change shows
in neither sequence nor timestamps nor sound: before the first relayed packet goes out what the mix, which lags, has not said yet; after
the last one the mix waits until it has come so far. The peer sees a jump of arrival times, as networks make them. Knows nothing of
why a bus has two members.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

try:
    import cython
except ImportError:
    from tapeline.rtp.engine import nocython as cython

if not cython.compiled:
    from tapeline.rtp.engine.buses import ahead, unheard
    from tapeline.rtp.engine.coding import samples_of
    from tapeline.rtp.engine.constants import CALM, CATCH_UP, SILENT
    from tapeline.rtp.engine.outbound import encode, transmit
    from tapeline.rtp.engine.samples import carry, gather, saturate, zero
    from tapeline.rtp.engine.state import moment, ms, position
    from tapeline.rtp.engine.wire import build, get16, put16

if TYPE_CHECKING:
    from tapeline.rtp.engine import state


def fits(leg: state.Leg, other: state.Leg) -> int:
    """Whether what `leg` says may go to `other` untouched: the same coding, and nothing else for `other` to hear."""
    if leg.codec != other.codec or leg.rate != other.rate or leg.speak != 4096 or other.hear != 4096 or unheard(other, leg.id):
        return 0
    if not other.sends or not other.to_port or other.echo or other.n_players or other.digits:
        return 0
    return leg.receives and leg.bus.voice.n_players == 0


def forward(shard: state.Shard, leg: state.Leg, buf: state.Buffer, sequence: int, stamp: int, at: int) -> None:
    """A packet of the leg's stream was taken, `shard.header` is its own: send it on, where that is right."""
    if not leg.joined or leg.bus.n_members != 2:
        return
    other = leg.bus.members[1] if leg.bus.members[0].id == leg.id else leg.bus.members[0]
    kind = shard.header.payload_type
    if kind == leg.dtmf_type:
        forward_event(shard, leg, other, buf, sequence, stamp, at)
        return
    if not fits(leg, other):
        end_relay(shard, other, at)
        return
    n = samples_of(leg, buf, shard.header.offset, shard.header.size) // leg.scale
    if kind == leg.payload_type:
        if not other.relaying and (at < other.calm_at or sequence < leg.highest or not begin_relay(shard, leg, other, sequence, stamp)):
            return
        kind = other.payload_type
    elif other.relaying and other.noise_type >= 0:
        kind = other.noise_type
        n = 0
    else:
        return
    place = outgoing_stamp(leg, other, sequence, stamp, at)
    if sequence < other.relay_first:
        return
    send_on(shard, leg, other, buf, kind, sequence, place, -1, at)
    other.relay_at = at
    if place + n > other.out_stamp:
        other.out_stamp = place + n
        other.relay_resume = moment((stamp + n) * leg.scale + leg.base + leg.detour + lag(shard, leg, other), leg.rate)


def outgoing_stamp(leg: state.Leg, other: state.Leg, sequence: int, stamp: int, at: int) -> int:
    """The timestamp that goes out for one that came in. Where the stream begins anew or jumps, ours goes on with the time."""
    expected = other.out_stamp
    if at - other.relay_at > ms(20):
        expected += (at - other.relay_at - ms(20)) // 1000000 * leg.rate_ms // leg.scale
    if other.relay_stream != leg.streams:
        other.relay_stream = leg.streams
        other.relay_first = sequence
        other.relay_sequence = other.out_sequence - sequence
        other.relay_stamp = expected - stamp
    wrong = stamp + other.relay_stamp - expected
    if wrong * leg.scale > leg.rate or wrong * leg.scale < -leg.rate:
        other.relay_stamp -= wrong
    return stamp + other.relay_stamp


def lag(shard: state.Shard, leg: state.Leg, other: state.Leg) -> int:
    """How far behind the clock `other` hears `leg` where it is mixed for, in samples."""
    return leg.delay + ahead(shard, other.ptime * leg.rate_ms, leg.rate)


def begin_relay(shard: state.Shard, leg: state.Leg, other: state.Leg, sequence: int, stamp: int) -> int:
    """From this packet on relay. What was heard before it and is not sent yet goes out at once; 0 when more than that was sent."""
    cursor = position(other.next_send, leg.rate) - lag(shard, leg, other)
    gap = stamp * leg.scale + leg.base + leg.detour - cursor
    if gap < 0:
        return 0
    if gap > CATCH_UP * leg.rate_ms:
        cursor += gap - CATCH_UP * leg.rate_ms
        gap = CATCH_UP * leg.rate_ms
    if leg.coded:  # its coder is elsewhere: the peer conceals what it does not hear
        other.out_stamp += gap // leg.scale
        gap = 0
    while gap > 0:
        n = gap if gap < other.ptime * leg.rate_ms else other.ptime * leg.rate_ms
        zero(shard.acc, n)
        gather(shard.acc, leg.ring, leg.mask, leg.horizon, leg.rate, leg.rate, cursor, n, 4096)
        saturate(shard.acc, n, shard.frame, 0, 1)
        build(shard.packet, other.mark, other.payload_type, other.out_sequence, other.out_stamp, other.out_ssrc)
        other.mark = 0
        encode(shard, other, n, 1)
        transmit(shard, other, 12 + n * other.sample_size, shard.now)
        other.counts.octets += n * other.sample_size
        other.out_stamp += n
        cursor += n
        gap -= n
    other.relaying = 1
    other.relay_stream = leg.streams
    other.relay_first = sequence
    other.relay_sequence = other.out_sequence - sequence
    other.relay_stamp = other.out_stamp - stamp
    other.relay_at = shard.now
    other.relay_resume = shard.now
    return 1


def send_on(
    shard: state.Shard, leg: state.Leg, other: state.Leg, buf: state.Buffer, kind: int, sequence: int, stamp: int, span: int, at: int
) -> None:
    """Send the packet with `other`'s own header; one that was overtaken keeps its place. `span`: the duration of an event, else -1."""
    header = shard.header
    next_sequence = other.out_sequence
    other.out_sequence = (sequence + other.relay_sequence) & 0xFFFF
    overtaken = (next_sequence - other.out_sequence) & 0xFFFF
    build(shard.packet, header.marker, kind, other.out_sequence, stamp, other.out_ssrc)
    carry(buf, header.offset, header.size, shard.packet, 12)
    if span >= 0:
        put16(shard.packet, 14, span)
    transmit(shard, other, 12 + header.size, at)
    other.counts.octets += header.size
    if 0 < overtaken < 32768:
        other.out_sequence = next_sequence
    leg.counts.relayed += 1


def forward_event(shard: state.Shard, leg: state.Leg, other: state.Leg, buf: state.Buffer, sequence: int, stamp: int, at: int) -> None:
    """A telephone event goes on under the other side's payload type, relayed or between mixed packets, which then keep silent."""
    header = shard.header
    if header.size < 4 or not leg.bus.digits or not leg.speak or not other.hear or unheard(other, leg.id):
        return
    if not other.sends or not other.to_port or other.dtmf_type < 0 or other.digits:
        return
    if other.relaying:
        place = outgoing_stamp(leg, other, sequence, stamp, at)
        if sequence < other.relay_first:
            return
    else:
        place = other.out_stamp
        other.relay_sequence = other.out_sequence - sequence
        other.calm_at = at + ms(CALM)
    if other.event_in != stamp or other.event_stream != leg.streams:
        other.event_in = stamp
        other.event_stream = leg.streams
        other.event_stamp = place
    other.event_until = at + ms(CALM)
    span = get16(buf, header.offset + 2) * other.dtmf_rate // leg.dtmf_rate
    send_on(shard, leg, other, buf, other.dtmf_type, sequence, other.event_stamp, span if span < 65535 else 65535, at)


def end_relay(shard: state.Shard, other: state.Leg, now: int) -> None:
    """Mix for the leg again, from where the relayed packets ended; what has passed in silence is passed over."""
    if not other.relaying:
        return
    other.relaying = 0
    other.calm_at = now + ms(CALM)
    other.next_send = other.relay_resume if other.relay_resume < now + ms(CALM) else now + ms(CALM)
    missed = (now - other.next_send) // other.ptime_ns if now > other.next_send else 0
    if missed:
        other.next_send += missed * other.ptime_ns
        other.out_stamp += missed * other.ptime * other.rate_ms // other.scale
        other.mark = 1


def watch_relay(shard: state.Shard, leg: state.Leg, when: int) -> None:
    """On the tick: whether the leg is still relayed to, or when it may be."""
    if leg.joined and leg.bus.n_members == 2:
        talker = leg.bus.members[1] if leg.bus.members[0].id == leg.id else leg.bus.members[0]
        if fits(talker, leg):
            if leg.relaying and when - leg.relay_at > ms(SILENT) and when > leg.event_until:
                end_relay(shard, leg, when)
            return
    end_relay(shard, leg, when)
    leg.calm_at = when + ms(CALM)
