"""What comes back from the codec thread: decoded samples go into their leg's ring, encoded packets go out.

Place in the chain: first on the tick, for what an earlier tick has asked of the codec thread (`timing.place`, `outbound.send_frame`).
One verb, `take_coded`. A task that failed comes back too, so that a leg knows how many are under way. Knows nothing of how codecs
work, but how long an Opus packet says that it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

try:
    import cython
except ImportError:
    from tapeline.rtp.engine import nocython as cython

if not cython.compiled:
    from tapeline.rtp.engine.constants import DECODE, G722, OPUS
    from tapeline.rtp.engine.outbound import send_encoded
    from tapeline.rtp.engine.portable import call_coder, wait
    from tapeline.rtp.engine.queues import drop_task, first_task
    from tapeline.rtp.engine.timing import land

if TYPE_CHECKING:
    from tapeline.rtp.engine import state


def take_coded(shard: state.Shard, when: int) -> None:
    """Carry out all that the codec thread has done."""
    while first_task(shard, shard.done):
        task = shard.task
        leg = task.leg
        leg.pending -= 1
        if task.kind == DECODE:
            if task.n <= 0 or task.coder != leg.coder:
                leg.counts.placed -= 1
                leg.counts.malformed += 1
            else:
                land(shard, leg, shard.task_data, task.n, task.pos + leg.moved - task.moved)
        elif leg.relaying:
            leg.counts.skipped += 1  # overtaken by what is relayed now
        elif leg.closing == 0 and leg.sends and leg.to_port and task.coder == leg.coder:
            send_encoded(shard, leg, task.size, task.stamp, task.marker, when)
        drop_task(shard.done, task)


def finish_coding(shard: state.Shard) -> None:
    """At the end: wait a moment for what the codec thread still has."""
    for _ in range(50):
        take_coded(shard, shard.now)
        count = 0
        for i in range(shard.n_legs):
            count += shard.legs[i].pending
        if count == 0:
            return
        call_coder(shard)
        wait(shard, 2000000)


def is_wanted(leg: state.Leg) -> int:
    """Whether anybody hears the leg: a recorder, an echo, a watch, or another leg that is mixed for, not relayed to."""
    if leg.tapped or leg.echo or leg.watched:
        return 1
    if not leg.joined:
        return 0
    bus = leg.bus
    if bus.n_members != 2 or bus.tapped:
        return 1
    other = bus.members[1] if bus.members[0].id == leg.id else bus.members[0]
    return other.tapped or not other.relaying


def samples_of(leg: state.Leg, buf: state.Buffer, offset: int, size: int) -> int:
    """How many samples a payload of the leg's codec holds; 0 for one that cannot be."""
    if leg.codec != OPUS:
        return size * 2 if leg.codec == G722 else size // leg.sample_size
    if size == 0:
        return 0
    # RFC 6716 section 3.1: the first byte says how long a frame is and how many there are.
    kind = buf[offset] >> 3
    count = buf[offset] & 3
    if count == 3:
        if size < 2:
            return 0
        count = buf[offset + 1] & 63
    elif count == 0:
        count = 1
    else:
        count = 2
    if kind >= 16:
        span = 120 << (kind & 3)
    elif kind >= 12:
        span = 480 << (kind & 1)
    else:
        span = 2880 if kind & 3 == 3 else 480 << (kind & 3)
    return count * span if count * span <= 5760 else 0
