"""Legs, buses and taps that go to another engine thread: taken out of this one's world here, put into the other's by `loop.execute`.

Python names what goes (`depart`), whole groups at a time: whatever refers to each other now goes together. What refers across only
in the past (a bus left a moment ago, whose last second a tap has not written yet) is written before its time, and let go. Sockets
keep what comes meanwhile. Knows nothing of the other thread: Python tells it, once this one has said that it is done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

try:
    import cython
except ImportError:
    from tapeline.rtp.engine import nocython as cython

if not cython.compiled:
    from tapeline.rtp.engine.buses import forget_span, forget_stay, forget_sums, leave
    from tapeline.rtp.engine.constants import MIX, MOVED
    from tapeline.rtp.engine.portable import unwatch
    from tapeline.rtp.engine.state import bus_of, leg_of, push
    from tapeline.rtp.engine.taps import forget_source, hurry

if TYPE_CHECKING:
    from tapeline.rtp.engine import state


def name(shard: state.Shard, i: int) -> None:
    """Name a leg (`size` 0), a bus (1) or a tap (2) that will depart."""
    if shard.commands[i].size == 0:
        leg_of(shard.commands[i].target).moving = 1
    elif shard.commands[i].size == 1:
        bus_of(shard.commands[i].target).moving = 1
    else:
        for k in range(shard.n_taps):
            if shard.taps[k].id == shard.commands[i].target:
                shard.taps[k].moving = 1


def depart(shard: state.Shard) -> None:
    """Let all that was named go, as soon as nothing of it is with the codec thread. Until then it stands still."""
    if shard.departing == 0:
        return
    for i in range(shard.n_legs):
        if shard.legs[i].moving and shard.legs[i].pending:
            return
    for i in range(shard.n_legs):
        leg = shard.legs[i]
        if leg.moving and leg.joined and not leg.bus.moving:
            leave(leg, shard.now)
    if tangles(shard, 0):
        for i in range(shard.n_taps):
            hurry(shard, shard.taps[i], shard.now, 2 * shard.tick_ns)
        tangles(shard, 1)
    take_out_legs(shard)
    take_out_others(shard)
    shard.departures += shard.departing
    shard.departing = 0


def tangles(shard: state.Shard, loosen: int) -> int:
    """How many references there are between what goes and what stays; with `loosen` they are given up."""
    count = 0
    for i in range(shard.n_buses):
        bus = shard.buses[i]
        k = bus.n_spans - 1
        while k >= 0:
            if bus.spans[k].leg.moving != bus.moving:
                count += 1
                if loosen:
                    forget_span(bus, k)
            k -= 1
    for i in range(shard.n_legs):
        leg = shard.legs[i]
        k = leg.n_stays - 1
        while k >= 0:
            if leg.stays[k].bus.moving != leg.moving:
                count += 1
                if loosen:
                    forget_stay(leg, k)
            k -= 1
    for i in range(shard.n_taps):
        tap = shard.taps[i]
        k = tap.n_sources - 1
        while k >= 0:
            if (tap.sources[k].bus.moving if tap.sources[k].kind == MIX else tap.sources[k].leg.moving) != tap.moving:
                count += 1
                if loosen:
                    forget_source(tap, k)
            k -= 1
    return count


def take_out_legs(shard: state.Shard) -> None:
    i = shard.n_legs - 1
    while i >= 0:
        leg = shard.legs[i]
        if leg.moving:
            leg.moving = 0
            if leg.rtp >= 0:
                if leg.waiting:
                    unwatch(shard, leg, 1)
                unwatch(shard, leg, 2)
                leg.waiting = 0
            shard.n_legs -= 1
            shard.legs[i] = shard.legs[shard.n_legs]
        i -= 1


def take_out_others(shard: state.Shard) -> None:
    i = shard.n_buses - 1
    while i >= 0:
        if shard.buses[i].moving:
            shard.buses[i].moving = 0
            forget_sums(shard.buses[i])
            shard.n_buses -= 1
            shard.buses[i] = shard.buses[shard.n_buses]
        i -= 1
    i = shard.n_taps - 1
    while i >= 0:
        if shard.taps[i].moving:
            shard.taps[i].moving = 0
            shard.n_taps -= 1
            shard.taps[i] = shard.taps[shard.n_taps]
        i -= 1


def tell_departures(shard: state.Shard) -> None:
    """Say how many groups have gone, until that has found room."""
    if shard.departures > shard.told_departures and push(shard, MOVED, 0, shard.now, shard.departures, 0, 0):
        shard.told_departures = shard.departures
