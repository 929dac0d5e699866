"""A stream's clock: from timestamps to positions in the ring, and the placing of samples there.

Place in the chain: between the lock on a stream and the ring. One verb, `place`; memory: the leg's own. A sample's position is its
unwrapped timestamp plus `leg.base`. Delay only ever adds, so the least of (arrival - timestamp) over a second is nearly free of
jitter; a line drawn under the minima of the last 48 seconds gives offset and skew of the sender's clock, and `base` follows it: at once
in silence, else one sample at a time, and then only once it is certain that the clock drifts or is far off. A new stream settles for
almost a second, in which what was placed still moves with its clock; jumps of timestamps are told from packets held up on the way by
going on. From how late packets were follows `leg.delay`: how far the live path reads behind the clock. Knows nothing of packets,
addresses or the recorder but how far it has read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

try:
    import cython
except ImportError:
    from tapeline.rtp.engine import nocython as cython

if not cython.compiled:
    from tapeline.rtp.engine.constants import AHEAD, CONFIRM, DECODE, EARLY, HUSH, KEPT, L16, LAG, PAUSE, POINTS, SETTLE, SUSPECT, TASKS
    from tapeline.rtp.engine.queues import put_task
    from tapeline.rtp.engine.samples import clear, expand, loudness, move, pick, unpack
    from tapeline.rtp.engine.state import exact, ms, position, whole

if TYPE_CHECKING:
    from tapeline.rtp.engine import state


def place(shard: state.Shard, leg: state.Leg, buf: state.Buffer, offset: int, n: int, stamp: int, in_order: int, at: int) -> None:
    """Put `n` samples where their timestamp says. Late ones still go in as long as the recorder has not passed."""
    when = exact(at, leg.rate)
    if not leg.anchored:
        anchor(leg, stamp, when, at)
    behind = when - float(stamp + leg.base)
    if in_order:
        behind = judge(shard, leg, stamp, when, behind, at)
    pos = stamp + leg.base + leg.detour
    limit = whole(when) - (KEPT if leg.tapped or leg.heard else LAG) * leg.rate_ms
    if leg.consumed > limit:
        limit = leg.consumed
    if pos + n <= limit:
        leg.counts.late += 1
        return
    if pos + n > whole(when) + AHEAD * leg.rate_ms:
        leg.counts.implausible += 1
        return
    if leg.coded:
        ask(shard, leg, buf, offset, n, pos)
        return
    if pos < limit:
        offset += (limit - pos) * leg.sample_size
        n -= limit - pos
        pos = limit
    gap = pos - leg.horizon
    if gap > 0:
        clear(leg.ring, leg.mask, leg.horizon, gap)
    if leg.codec == L16:
        unpack(buf, offset, n, leg.ring, leg.mask, pos)
    else:
        expand(leg.expand, buf, offset, n, leg.ring, leg.mask, pos)
    note_placed(leg, pos, n, gap)
    leg.counts.placed += 1


def note_placed(leg: state.Leg, pos: int, n: int, gap: int) -> None:
    """What stands in the ring now, `gap` samples after what stood there."""
    if gap == 1:  # the clock moved by a sample: draw the missing one between its neighbours
        v = pick(leg.ring, leg.mask, pos, pos - 2) + pick(leg.ring, leg.mask, pos + 1, pos)
        leg.ring[(pos - 1) & leg.mask] = v // 2
    if pos + n > leg.horizon:
        leg.horizon = pos + n
    if pos < leg.stream_pos:
        leg.stream_pos = pos


def ask(shard: state.Shard, leg: state.Leg, buf: state.Buffer, offset: int, n: int, pos: int) -> None:
    """Have a packet decoded for `pos`; the codec's delay makes its samples older than its timestamp. What nobody hears is not decoded."""
    if pos + n > leg.reached:
        leg.reached = pos + n
    if leg.wanted:
        size = shard.header.size
        pos -= leg.advance
        if leg.pending >= TASKS or not put_task(shard.work, DECODE, leg, leg.coder, pos, leg.moved, 0, n, 0, buf, offset, size):
            leg.counts.overloaded += 1
            return
        leg.pending += 1
        shard.asked += 1
    leg.counts.placed += 1


def land(shard: state.Shard, leg: state.Leg, data: state.Buffer, n: int, pos: int) -> None:
    """Put `n` decoded samples, in network order, where `ask` said, as long as the recorder has not passed in the meantime."""
    limit = position(shard.now, leg.rate) - (KEPT if leg.tapped else LAG) * leg.rate_ms
    if leg.tapped and leg.consumed > limit:
        limit = leg.consumed
    if pos + n <= limit:
        leg.counts.placed -= 1
        leg.counts.late += 1
        return
    skipped = limit - pos if pos < limit else 0
    pos += skipped
    n -= skipped
    gap = pos - leg.horizon
    if gap > 0:
        clear(leg.ring, leg.mask, leg.horizon, gap)
    unpack(data, 2 * skipped, n, leg.ring, leg.mask, pos)
    note_placed(leg, pos, n, gap)


def anchor(leg: state.Leg, stamp: int, when: float, at: int) -> None:
    """Begin a clock: this timestamp is now."""
    leg.anchored = 1
    leg.base = whole(when) - stamp
    leg.detour = 0
    settle(leg, whole(when), at)


def settle(leg: state.Leg, pos: int, at: int) -> None:
    """Forget what was measured of the clock; what stands from `pos` on may still be moved as it becomes better known."""
    leg.anchored_at = at
    leg.stream_pos = pos
    leg.origin = leg.base
    leg.points = 0
    leg.line_offset = 0.0
    leg.line_slope = 0.0
    leg.drifting = 0
    leg.slack = 0.75 * leg.rate_ms
    leg.window_at = at
    leg.window_least = 1e18


def judge(shard: state.Shard, leg: state.Leg, stamp: int, when: float, behind: float, at: int) -> float:
    """Decide what a packet in order, `behind` samples later than foreseen, says about the stream's clock."""
    rate_ms = leg.rate_ms
    drift = when - float(stamp) - leg.transit
    if leg.transit != 0.0:  # RFC 3550 section 6.4.1
        leg.counts.jitter += ((drift if drift >= 0 else -drift) - leg.counts.jitter) / 16
    leg.transit = when - float(stamp)
    if behind > PAUSE * rate_ms or (at - leg.heard_at > ms(PAUSE) and behind > EARLY * rate_ms):
        anchor(leg, stamp, when, at)
        leg.counts.jumps += 1
        behind = 0.0
    elif behind < 0 and (at - leg.anchored_at < ms(SETTLE) or behind < -EARLY * rate_ms):
        settled = at - leg.anchored_at >= ms(SETTLE)
        shift = whole(behind)
        back_from_detour(leg)
        if not settled:
            shift_placed(leg, leg.stream_pos, shift)
            leg.base += shift
            leg.stream_pos += shift
        else:
            leg.base += shift
            leg.counts.jumps += 1
            settle(leg, stamp + leg.base, at)
        behind = 0.0
    elif behind > SUSPECT * rate_ms:
        suspect(leg, stamp, behind, at)
    else:
        back_from_detour(leg)
        if behind > leg.lateness:
            leg.lateness = whole(behind)
    leg.heard_at = at
    if not leg.detour:
        track(shard, leg, stamp, when, at)
    return behind


def suspect(leg: state.Leg, stamp: int, behind: float, at: int) -> None:
    """A packet in order but far too late: a hold-up on the way, or a jump of the timestamps. It is placed as if it were a jump;
    when this goes on it was one, else what was placed goes back."""
    shift = whole(behind)
    if leg.detour == 0:
        leg.detour = shift
        leg.detour_at = at
        leg.detour_pos = stamp + leg.base + shift
    elif shift < leg.detour:
        shift_placed(leg, leg.detour_pos, shift - leg.detour)
        leg.detour_pos += shift - leg.detour
        leg.detour = shift
    if at - leg.detour_at >= ms(CONFIRM):
        leg.base += leg.detour
        leg.detour = 0
        leg.counts.jumps += 1
        settle(leg, leg.detour_pos, at)


def back_from_detour(leg: state.Leg) -> None:
    if leg.detour:
        shift_placed(leg, leg.detour_pos, -leg.detour)
        leg.detour = 0


def shift_placed(leg: state.Leg, pos: int, delta: int) -> None:
    """Move what stands from `pos` to the horizon, without touching what the recorder has taken; and what is being decoded."""
    leg.moved += delta
    leg.reached += delta
    least = leg.horizon - leg.mask - 1
    if leg.consumed > least:
        least = leg.consumed
    if pos < least:
        pos = least
    if delta < 0 and pos + delta < least:
        pos = least - delta
    if pos < leg.horizon:
        move(leg.ring, leg.mask, pos, leg.horizon - pos, delta)
        leg.horizon += delta


def track(shard: state.Shard, leg: state.Leg, stamp: int, when: float, at: int) -> None:
    """Note the least delay of this second, redraw the line at its end, and let `base` follow the line."""
    offset = when - float(stamp + leg.origin)
    if offset < leg.window_least:
        leg.window_least = offset
        leg.window_time = float(at - leg.anchored_at) / 1e9
    if at - leg.window_at >= 1000000000:
        if leg.points == POINTS:
            leg.points -= 1
            for i in range(leg.points):
                leg.point_time[i] = leg.point_time[i + 1]
                leg.point_offset[i] = leg.point_offset[i + 1]
        leg.point_time[leg.points] = leg.window_time
        leg.point_offset[leg.points] = leg.window_least
        leg.points += 1
        leg.window_at = at
        leg.window_least = 1e18
        draw_line(shard, leg)
    if leg.points:
        follow(leg, stamp, float(leg.origin - leg.base) + leg.line_offset + leg.line_slope * float(at - leg.anchored_at) / 1e9)


def follow(leg: state.Leg, stamp: int, ahead: float) -> None:
    """Let `base` follow the line, which is `ahead` of it: at once where nobody hears it, else by single samples, and only when it is off
    by more than the line may be wrong."""
    if ahead < 1.0 and ahead > -1.0:
        return
    if stamp + leg.base - (leg.reached if leg.coded else leg.horizon) > 20 * leg.rate_ms:
        leg.base += whole(ahead + 0.5)  # after a silence nobody hears a step
    elif ahead >= leg.slack:
        leg.base += 1
    elif ahead <= -leg.slack:
        leg.base -= 1
    elif loudness(leg.ring, leg.mask, leg.horizon, leg.horizon - 8 * leg.rate_ms, 8 * leg.rate_ms) < HUSH:
        leg.base += whole(ahead + 0.5)


def draw_line(shard: state.Shard, leg: state.Leg) -> None:
    """The line below all minima that lies closest to them: the edge of their lower hull above the middle of the time.

    As long as it rises or falls by no more than the minima scatter, the clock may be a right one, and what looks like drift chance: what
    is heard moves only when it is far off.
    """
    n = leg.points
    if not leg.drifting:
        leg.slack = 0.75 * leg.rate_ms + leg.counts.jitter
    if n < 6:
        leg.line_slope = 0.0
        leg.line_offset = leg.point_offset[n - 1]
        for i in range(n):
            if i >= n - 3 and leg.point_offset[i] < leg.line_offset:
                leg.line_offset = leg.point_offset[i]
        return
    k = 0
    for i in range(n):
        while k >= 2 and above(leg, shard.hull[k - 2], shard.hull[k - 1], i):
            k -= 1
        shard.hull[k] = i
        k += 1
    middle = (leg.point_time[0] + leg.point_time[n - 1]) / 2
    j = 0
    while j < k - 2 and leg.point_time[shard.hull[j + 1]] < middle:
        j += 1
    a = shard.hull[j]
    b = shard.hull[j + 1]
    slope = (leg.point_offset[b] - leg.point_offset[a]) / (leg.point_time[b] - leg.point_time[a])
    steepest = leg.rate * 0.0005  # 500 ppm: no sound card is that far off
    slope = steepest if slope > steepest else (-steepest if slope < -steepest else slope)
    leg.line_slope = slope
    leg.line_offset = leg.point_offset[b] - slope * leg.point_time[b]
    scatter = 0.0
    for i in range(n):
        scatter += leg.point_offset[i] - leg.line_offset - slope * leg.point_time[i]
    scatter /= n
    rise = slope * (leg.point_time[n - 1] - leg.point_time[0])
    least = 4 * scatter + 0.25 * leg.rate_ms
    if (rise > least or rise < -least) and slope < leg.rate * 0.0004 and slope > -leg.rate * 0.0004:
        leg.drifting = 1
    if leg.drifting:
        leg.slack = 1.0 + scatter / 2


def above(leg: state.Leg, a: int, b: int, c: int) -> int:
    """Whether point `b` lies on or above the line from `a` to `c`."""
    rise = (leg.point_offset[c] - leg.point_offset[a]) * (leg.point_time[b] - leg.point_time[a])
    return (leg.point_offset[b] - leg.point_offset[a]) * (leg.point_time[c] - leg.point_time[a]) >= rise


def follow_lateness(shard: state.Shard, leg: state.Leg, when: int) -> None:
    """Let the live path read as far behind the clock as packets were late: later at once, nearer again after a calm while."""
    if when >= leg.next_calm:
        leg.next_calm = when + 2000000000
        most = leg.lateness if leg.lateness > leg.lateness_before else leg.lateness_before
        leg.lateness_before = leg.lateness
        leg.lateness = 0
        set_delay(shard, leg, most, 10)
    else:
        set_delay(shard, leg, leg.lateness, 1000)


def set_delay(shard: state.Shard, leg: state.Leg, lateness: int, slack_ms: int) -> None:
    """The live path reads one tick and the usual lateness behind the clock; it comes nearer only when it is `slack_ms` too far off."""
    wanted = shard.tick_ns // 1000000 * leg.rate_ms + lateness + 2 * leg.rate_ms
    if leg.coded:  # what was decoded comes back a tick later, and begins earlier than its packet
        wanted += shard.tick_ns // 1000000 * leg.rate_ms + leg.advance
    if wanted > leg.delay or wanted < leg.delay - slack_ms * leg.rate_ms:
        leg.delay = wanted
