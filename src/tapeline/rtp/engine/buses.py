"""Who hears whom: the members of buses with their gains, as they are and as they were, and the sums that follow from them.

Place in the chain: between the rings and whoever listens: the live path, which reads each member's ring `delay` behind the clock, and
taps, which read the same rings about a second later. Both ask this module, with the same history: a bus keeps a *span* for each
stretch of time in which a member was heard with one gain, a leg a *stay* for each in which it heard a bus. Spans and stays begin and
end with a ramp, so that nobody clicks; they are forgotten when no tap can ask for their time any more. Memory: sized when the bus was
opened. What a bus's players say stands in the out ring of its `voice`, a leg without a stream.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

try:
    import cython
except ImportError:
    from tapeline.rtp.engine import nocython as cython

if not cython.compiled:
    from tapeline.rtp.engine.constants import ALL, DEAF, OTHERS, OWN, RAMP, STAYS, SUMS
    from tapeline.rtp.engine.samples import add_mix, gather, shape, zero
    from tapeline.rtp.engine.state import forever, ms, position

if TYPE_CHECKING:
    from tapeline.rtp.engine import state


def join(bus: state.Bus, leg: state.Leg, hear: int, speak: int, at: int) -> None:
    """Enter a bus, or change the gains of a member, at `at` ns. A bus that is full or closed stays as it is."""
    if leg.joined and leg.bus.id != bus.id:
        leave(leg, at)
    if not leg.joined:
        if bus.n_members == bus.max_members or bus.closing:
            return
        bus.members[bus.n_members] = leg
        bus.n_members += 1
        leg.joined = 1
        leg.n_deaf = 0
        leg.bus = bus
    leg.hear = hear
    leg.speak = speak
    open_span(bus, leg, speak, at)
    retune(leg, at)
    set_live(leg)


def leave(leg: state.Leg, at: int) -> None:
    """Leave the bus, if any."""
    if not leg.joined:
        return
    bus = leg.bus
    for i in range(bus.n_members):
        if bus.members[i].id == leg.id:
            bus.n_members -= 1
            bus.members[i] = bus.members[bus.n_members]
            break
    open_span(bus, leg, 0, at)
    leg.joined = 0
    retune(leg, at)
    set_live(leg)


def ignore(leg: state.Leg, number: int) -> None:
    """Hear member `number` no longer, as long as the leg is on its bus. What has been heard of it is not undone for taps that lag:
    a member is to be ignored before it says anything."""
    if not leg.joined:
        return
    for i in range(leg.n_deaf):
        if leg.deaf[i] == number:
            return
    if leg.n_deaf == DEAF:
        forget_gone(leg)
    if leg.n_deaf == DEAF:
        return
    leg.deaf[leg.n_deaf] = number
    leg.n_deaf += 1


def forget_gone(leg: state.Leg) -> None:
    """Keep of those that the leg ignores only who is still on its bus."""
    kept = 0
    for i in range(leg.n_deaf):
        for k in range(leg.bus.n_members):
            if leg.bus.members[k].id == leg.deaf[i]:
                leg.deaf[kept] = leg.deaf[i]
                kept += 1
                break
    leg.n_deaf = kept


def unheard(leg: state.Leg, number: int) -> int:
    """Whether the leg does not hear member `number`: itself, or one that it ignores."""
    if leg.id == number:
        return 1
    for i in range(leg.n_deaf):
        if leg.deaf[i] == number:
            return 1
    return 0


def retune(leg: state.Leg, at: int) -> None:
    """From `at` on hear what the bus, the gain and our direction allow: nothing is heard by whom nothing is sent."""
    gain = leg.hear if leg.joined and leg.sends else 0
    for i in range(leg.n_stays):
        if leg.stays[i].until == forever():
            if leg.joined and leg.stays[i].gain == gain and leg.stays[i].bus.id == leg.bus.id:
                return
            leg.stays[i].until = at if at > leg.stays[i].since else leg.stays[i].since
    if gain == 0:
        return
    if leg.n_stays == STAYS:
        forget_stay(leg, 0)
    leg.stays[leg.n_stays].bus = leg.bus
    leg.stays[leg.n_stays].gain = gain
    leg.stays[leg.n_stays].since = at
    leg.stays[leg.n_stays].until = forever()
    leg.n_stays += 1
    leg.bus.stays += 1


def open_span(bus: state.Bus, leg: state.Leg, gain: int, at: int) -> None:
    """From `at` on the member is heard with this gain."""
    forget_sums(bus)
    for i in range(bus.n_spans):
        if bus.spans[i].leg.id == leg.id and bus.spans[i].until == forever():
            if bus.spans[i].gain == gain:
                return
            bus.spans[i].until = at if at > bus.spans[i].since else bus.spans[i].since
    if gain == 0:
        return
    if bus.n_spans == bus.max_spans:
        forget_oldest(bus)
    bus.spans[bus.n_spans].leg = leg
    bus.spans[bus.n_spans].gain = gain
    bus.spans[bus.n_spans].since = at
    bus.spans[bus.n_spans].until = forever()
    bus.n_spans += 1
    leg.heard += 1


def forget_oldest(bus: state.Bus) -> None:
    """Make room for one span. There is always one that has ended: there is room for more than the members."""
    oldest = 0
    for i in range(bus.n_spans):
        if bus.spans[i].until < bus.spans[oldest].until:
            oldest = i
    forget_span(bus, oldest)


def forget_span(bus: state.Bus, i: int) -> None:
    bus.spans[i].leg.heard -= 1
    bus.n_spans -= 1
    last = bus.n_spans
    bus.spans[i].leg = bus.spans[last].leg
    bus.spans[i].gain = bus.spans[last].gain
    bus.spans[i].since = bus.spans[last].since
    bus.spans[i].until = bus.spans[last].until


def forget_stay(leg: state.Leg, i: int) -> None:
    """Let go of a stay; the others keep their order, so that the first is the oldest."""
    leg.stays[i].bus.stays -= 1
    leg.n_stays -= 1
    for k in range(i, leg.n_stays):
        leg.stays[k].bus = leg.stays[k + 1].bus
        leg.stays[k].gain = leg.stays[k + 1].gain
        leg.stays[k].since = leg.stays[k + 1].since
        leg.stays[k].until = leg.stays[k + 1].until


def crowded(leg: state.Leg, bus: state.Bus) -> int:
    """Whether the history of a leg or bus has no room for another change."""
    return leg.n_stays == STAYS or bus.n_spans == bus.max_spans


def forget_past(shard: state.Shard, oldest: int) -> None:
    """Let go of spans and stays that ended before `oldest`, the earliest time that anybody may still ask for."""
    oldest -= ms(RAMP)
    for i in range(shard.n_buses):
        bus = shard.buses[i]
        k = bus.n_spans - 1
        while k >= 0:
            if bus.spans[k].until < oldest:
                forget_span(bus, k)
            k -= 1
    for i in range(shard.n_legs):
        leg = shard.legs[i]
        k = leg.n_stays - 1
        while k >= 0:
            if leg.stays[k].until < oldest:
                forget_stay(leg, k)
            k -= 1


def close_bus(bus: state.Bus, at: int) -> None:
    while bus.n_members:
        leave(bus.members[0], at)
    bus.closing = 1
    bus.closed_at = at


def set_live(leg: state.Leg) -> None:
    leg.live = leg.echo or leg.joined or leg.watched


def watch_voice(leg: state.Leg, threshold: int, hangover_ms: int) -> None:
    """Tell of the leg's voice from now on, or, with a threshold below zero, no longer."""
    leg.watched = threshold >= 0
    leg.threshold = threshold
    leg.hangover_ns = ms(hangover_ms)
    leg.voiced = 0
    set_live(leg)


def hear_live(shard: state.Shard, leg: state.Leg, when: int, n: int) -> int:
    """Add what the leg hears of its bus, from the sending time `when` on, to the shard's mix; 0 when it hears none."""
    pos = position(when, leg.rate)
    heard = 0
    for i in range(leg.n_stays):
        # A change was made when up to `n` samples more had been sent already: it begins after them.
        begin = position(leg.stays[i].since, leg.rate) - pos + n
        end = position(leg.stays[i].until, leg.rate) - pos + n
        if begin < n and end + RAMP * leg.rate_ms > 0:
            heard = 1
            hear_stay(shard, leg, i, pos, n, leg.rate, when, begin, end)
    return heard


def hear_recorded(shard: state.Shard, leg: state.Leg, pos: int, n: int, rate: int) -> None:
    """Add what the leg heard of its buses at `pos`, counted at `rate`, to the shard's mix, as it was said then: not delayed."""
    for i in range(leg.n_stays):
        begin = position(leg.stays[i].since, rate) - pos
        end = position(leg.stays[i].until, rate) - pos
        if begin < n and end + RAMP * (rate // 1000) > 0:
            hear_stay(shard, leg, i, pos, n, rate, -1, begin, end)


def hear_stay(shard: state.Shard, leg: state.Leg, i: int, pos: int, n: int, rate: int, when: int, begin: int, end: int) -> None:
    """Add the bus of one stay to the shard's mix, with the stay's ramps and gain."""
    bus = leg.stays[i].bus
    ramp = RAMP * (rate // 1000)
    if leg.stays[i].gain == 4096 and begin + ramp <= 0 and end >= n:
        mix_bus(shard, shard.acc, leg, bus, pos, n, rate, when)
    else:
        zero(shard.heard, n)
        mix_bus(shard, shard.heard, leg, bus, pos, n, rate, when)
        shape(shard.heard, n, begin, end, ramp, leg.stays[i].gain)
        add_mix(shard.acc, shard.heard, n, 1)


def mix_bus(shard: state.Shard, acc: state.Mix, leg: state.Leg, bus: state.Bus, pos: int, n: int, rate: int, when: int) -> None:
    """Add a bus as `leg` hears it; `when` is the sending time on the live path, below zero for a tap. A bus of many is summed up once
    for all that hear it live at the same rate and pace; each then takes its own voice away again, and those that it ignores."""
    if when < 0 or bus.n_members < 4:
        mix_voice(acc, bus, pos - ahead(shard, n, rate) if when >= 0 else pos, n, rate)
        mix_spans(shard, acc, bus, leg, OTHERS, pos, n, rate, when)
        return
    add_mix(acc, bus.sums[total(shard, bus, pos, n, rate, when)].acc, n, 1)
    zero(shard.own, n)
    mix_spans(shard, shard.own, bus, leg, OWN, pos, n, rate, when)
    add_mix(acc, shard.own, n, -1)


def total(shard: state.Shard, bus: state.Bus, pos: int, n: int, rate: int, when: int) -> int:
    """The number of the sum of all members for this time, length and rate; it takes the place of the oldest where there is none yet."""
    oldest = 0
    for i in range(SUMS):
        if bus.sums[i].when == when and bus.sums[i].n == n and bus.sums[i].rate == rate:
            return i
        if bus.sums[i].when < bus.sums[oldest].when:
            oldest = i
    bus.sums[oldest].when = when
    bus.sums[oldest].n = n
    bus.sums[oldest].rate = rate
    zero(bus.sums[oldest].acc, n)
    mix_voice(bus.sums[oldest].acc, bus, pos - ahead(shard, n, rate), n, rate)
    mix_spans(shard, bus.sums[oldest].acc, bus, bus.voice, ALL, pos, n, rate, when)
    return oldest


def forget_sums(bus: state.Bus) -> None:
    for i in range(SUMS):
        bus.sums[i].when = -1


def ahead(shard: state.Shard, n: int, rate: int) -> int:
    """How much of a packet of `n` samples lies beyond the tick on which it is sent: so much later must be read what it holds."""
    beyond = n - shard.tick_ns // 1000000 * (rate // 1000)
    return beyond if beyond > 0 else 0


def mix_voice(acc: state.Mix, bus: state.Bus, pos: int, n: int, rate: int) -> None:
    """Add what the bus's players say."""
    voice = bus.voice
    if pos * (voice.rate // 1000) < voice.out_horizon * (rate // 1000):
        gather(acc, voice.out_ring, voice.mask, voice.out_horizon, voice.rate, rate, pos, n, 4096)


def mix_spans(
    shard: state.Shard, acc: state.Mix, bus: state.Bus, hearer: state.Leg, which: int, pos: int, n: int, rate: int, when: int
) -> None:
    """Add the members of a bus: all of them, those that `hearer` hears, or those that it does not: itself and whom it ignores."""
    ramp = RAMP * (rate // 1000)
    beyond = ahead(shard, n, rate)
    for i in range(bus.n_spans):
        leg = bus.spans[i].leg
        if which != ALL and unheard(hearer, leg.id) != (which == OWN):
            continue
        begin = position(bus.spans[i].since, rate) - pos
        end = position(bus.spans[i].until, rate) - pos
        at = pos
        if when >= 0:
            begin += n
            end += n
            at -= (leg.delay * rate // leg.rate if leg.rate != rate else leg.delay) + beyond
        if begin >= n or end + ramp <= 0:
            continue
        if begin + ramp <= 0 and end >= n:
            gather(acc, leg.ring, leg.mask, leg.horizon, leg.rate, rate, at, n, bus.spans[i].gain)
        else:
            zero(shard.part, n)
            gather(shard.part, leg.ring, leg.mask, leg.horizon, leg.rate, rate, at, n, 4096)
            shape(shard.part, n, begin, end, ramp, bus.spans[i].gain)
            add_mix(acc, shard.part, n, 1)


def note_heard(bus: state.Bus, pos: int, rate: int) -> None:
    """A tap has recorded all members of the bus up to `pos`, counted at `rate`."""
    for i in range(bus.n_spans):
        note_leg(bus.spans[i].leg, pos, rate)


def note_leg(leg: state.Leg, pos: int, rate: int) -> None:
    """A tap has recorded the leg up to `pos`: what comes for earlier than that is late."""
    place = pos * leg.rate // rate
    if place > leg.consumed:
        leg.consumed = place
