"""The recorder's ears: taps read the rings of legs and buses behind the clock and append what they heard to a file.

Place in the chain: last, after sending, on the tick. One verb, `serve_tap`; a tap belongs to one shard. Memory: the shard's scratch
buffers. A tap's frames are counted from its start on the engine's clock, so a file is as long as the time it covers, whatever came.
Masks act at the media time of their command. Knows nothing of file formats: it appends interleaved int16 to a descriptor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

try:
    import cython
except ImportError:
    from tapeline.rtp.engine import nocython as cython

if not cython.compiled:
    from tapeline.rtp.engine.buses import crowded, forget_past, hear_recorded, mix_spans, mix_voice, note_heard, note_leg
    from tapeline.rtp.engine.constants import (
        ALL,
        BLOCK,
        CHANGES,
        CUT,
        HEAR,
        IN,
        LAG,
        LINGER,
        MIX,
        OUT,
        PLAIN,
        RAMP,
        STOP_TAP,
        TAP_ENDED,
        TAP_PROGRESS,
        TONE,
        WRITE,
    )
    from tapeline.rtp.engine.portable import close_file, cut_file, grow_sources, write_frames
    from tapeline.rtp.engine.samples import add_mix, gather, saturate, shape, zero
    from tapeline.rtp.engine.state import bus_of, forever, leg_of, moment, ms, position, push, push_peaks

if TYPE_CHECKING:
    from tapeline.rtp.engine import state


def add_tap(shard: state.Shard, tap: state.Tap, at: int) -> None:
    """Begin to listen at `at`."""
    tap.started_at = at
    tap.start = position(at, tap.rate)
    tap.pos = tap.start
    tap.next_write = at + ms(LAG + WRITE // 4)
    for i in range(tap.n_sources):
        hold_source(tap, i, at)
    shard.taps[shard.n_taps] = tap
    shard.n_taps += 1


def hold_source(tap: state.Tap, i: int, at: int) -> None:
    """See to it that what a source reads stays."""
    if tap.sources[i].kind == MIX:
        tap.sources[i].bus.tapped += 1
        return
    leg = tap.sources[i].leg
    if leg.tapped == 0 and position(at, leg.rate) - LAG * leg.rate_ms > leg.consumed:
        leg.consumed = position(at, leg.rate) - LAG * leg.rate_ms
    leg.tapped += 1
    leg.out_tapped += tap.sources[i].kind == OUT


def hear_channel(shard: state.Shard, tap: state.Tap, i: int) -> None:
    """One step of giving a channel other sources: first (`size` 1) none is named, then one after the other is (2), then those that are
    not, end (3). What was heard before is heard until then, also by a tap that reads a second later."""
    channel = shard.commands[i].args[0]
    at = shard.commands[i].args[1]
    kind = shard.commands[i].args[2]
    handle = shard.commands[i].args[3]
    if shard.commands[i].size == 2:
        for k in range(tap.n_sources):
            same = tap.sources[k].channel == channel and tap.sources[k].kind == kind and tap.sources[k].until == forever()
            if same and ((tap.sources[k].bus.id == bus_of(handle).id) if kind == MIX else (tap.sources[k].leg.id == leg_of(handle).id)):
                tap.sources[k].named = 1
                return
        add_source(tap, channel, kind, handle, at)
        return
    for k in range(tap.n_sources):
        if tap.sources[k].channel == channel and tap.sources[k].until == forever():
            if shard.commands[i].size == 1:
                tap.sources[k].named = 0
            elif not tap.sources[k].named:
                tap.sources[k].until = at


def add_source(tap: state.Tap, channel: int, kind: int, handle: int, at: int) -> None:
    if tap.stopping or tap.ended or (tap.n_sources == tap.max_sources and not grow_sources(tap)):
        return
    n = tap.n_sources
    tap.sources[n].kind = kind
    tap.sources[n].channel = channel
    tap.sources[n].since = at
    tap.sources[n].until = forever()
    tap.sources[n].named = 1
    if kind == MIX:
        tap.sources[n].bus = bus_of(handle)
    else:
        tap.sources[n].leg = leg_of(handle)
    hold_source(tap, n, at)
    tap.n_sources += 1


def change_mask(shard: state.Shard, tap: state.Tap, mode: int, at: int) -> None:
    """From the media time of `at` on, mask so. When too many changes wait, the oldest are written out before their time."""
    if tap.stopping:
        return
    if tap.n_changes == CHANGES:
        write_until(shard, tap, tap.changes[CHANGES // 2].pos)
    if tap.n_changes < CHANGES:
        tap.changes[tap.n_changes].pos = position(at, tap.rate)
        tap.changes[tap.n_changes].mode = mode
        tap.n_changes += 1


def stop_tap(tap: state.Tap, at: int) -> None:
    """Hear nothing after `at`: the file ends with the sample nearest to it."""
    if tap.stopping:
        return
    tap.stopping = 1
    tap.stopped_at = at
    span = at - tap.started_at
    if span < 0:
        span = 0
    tap.end = tap.start + span // 1000000000 * tap.rate + ((span % 1000000000) * tap.rate + 500000000) // 1000000000
    if tap.pos > tap.end and not tap.ended:  # a change of rate, obeyed a moment before, had all written that there was
        tap.frames -= tap.pos - tap.end if tap.pos - tap.end < tap.frames else tap.frames
        tap.pos = tap.end
        cut_file(tap, tap.base + tap.frames * 2 * tap.n_channels)


def due(tap: state.Tap, now: int) -> int:
    """Whether `serve_tap` has something to do."""
    return now >= tap.next_write or (tap.stopping and now >= tap.stopped_at + ms(LINGER)) or tap.ended


def serve_tap(shard: state.Shard, tap: state.Tap, now: int) -> int:
    """Append what is complete; 1 when the tap has ended and its end has been told."""
    if not tap.ended:
        if tap.stopping and now >= tap.stopped_at + ms(LINGER):
            write_until(shard, tap, tap.end)
            finish(tap)
        else:
            write_until(shard, tap, position(now - ms(LAG), tap.rate))
            tap.next_write += ms(WRITE)
            if tap.next_write <= now:
                tap.next_write = now + ms(WRITE)
            if not tap.ended and tap.reports and now >= tap.next_progress:
                tap.next_progress = now + ms(900)  # with the next write after this: about once a second
                push_peaks(shard, TAP_PROGRESS, tap, now)
                for i in range(tap.n_channels):
                    tap.peaks[i] = 0
    if not tap.ended:
        return 0
    if tap.error == 0:
        tap.ended_at = tap.stopped_at
    return push(shard, TAP_ENDED, tap.id, tap.ended_at, tap.frames, tap.error, tap.started_at)


def hurry(shard: state.Shard, tap: state.Tap, now: int, lag_ns: int) -> None:
    """Write before its time what is older than `lag_ns`: after a stall, or where too many changes wait."""
    if not tap.ended:
        write_until(shard, tap, position(now - lag_ns, tap.rate))


def make_room(shard: state.Shard, leg: state.Leg, bus: state.Bus) -> None:
    """Before a change of who hears whom: where too many changes wait for their taps, these write before their time."""
    if crowded(leg, bus):
        for i in range(shard.n_taps):
            hurry(shard, shard.taps[i], shard.now, 2 * shard.tick_ns)
        forget_past(shard, oldest_needed(shard, shard.now - 100000000))


def write_until(shard: state.Shard, tap: state.Tap, pos: int) -> None:
    """Append all frames before `pos`."""
    if tap.stopping and pos > tap.end:
        pos = tap.end
    while tap.pos < pos and not tap.ended:
        at = tap.pos
        n = 0
        space = BLOCK * 2 // tap.n_channels
        while tap.pos + n < pos and n < space and not tap.ended:
            while tap.n_changes and tap.changes[0].pos <= at:
                next_mode(tap)
            part = pos - at
            if tap.n_changes and tap.changes[0].pos - at < part:
                part = tap.changes[0].pos - at
            if tap.mode == CUT:
                at += part
                tap.pos += part
                continue
            if part > space - n:
                part = space - n
            if part > BLOCK:
                part = BLOCK
            mix_part(shard, tap, at, n, part)
            at += part
            n += part
        append(shard, tap, n)
    note_consumed(tap)


def next_mode(tap: state.Tap) -> None:
    tap.mode = tap.changes[0].mode
    tap.n_changes -= 1
    for i in range(tap.n_changes):
        tap.changes[i].pos = tap.changes[i + 1].pos
        tap.changes[i].mode = tap.changes[i + 1].mode


def mix_part(shard: state.Shard, tap: state.Tap, pos: int, offset: int, n: int) -> None:
    """Write `n` frames from position `pos` into the shard's frames, `offset` frames from their beginning."""
    for channel in range(tap.n_channels):
        zero(shard.ear, n)
        if tap.mode == TONE:
            hum(shard, tap, pos, n)
        elif tap.mode == PLAIN:
            for i in range(tap.n_sources):
                if tap.sources[i].channel == channel:
                    listen(shard, tap, i, pos, n)
        peak = saturate(shard.ear, n, shard.frames, offset * tap.n_channels + channel, tap.n_channels)
        if peak > tap.peaks[channel]:
            tap.peaks[channel] = peak


def listen(shard: state.Shard, tap: state.Tap, i: int, pos: int, n: int) -> None:
    """Add one source to the shard's ear, with a ramp where the source begins or ends."""
    begin = position(tap.sources[i].since, tap.rate) - pos
    end = position(tap.sources[i].until, tap.rate) - pos
    ramp = RAMP * tap.rate // 1000
    if begin >= n or end + ramp <= 0:
        return
    if tap.sources[i].kind == IN and begin + ramp <= 0 and end >= n:  # the usual case, the short way
        leg = tap.sources[i].leg
        gather(shard.ear, leg.ring, leg.mask, leg.horizon, leg.rate, tap.rate, pos, n, 4096)
        return
    zero(shard.acc, n)
    if tap.sources[i].kind == MIX:
        mix_voice(shard.acc, tap.sources[i].bus, pos, n, tap.rate)
        mix_spans(shard, shard.acc, tap.sources[i].bus, tap.sources[i].bus.voice, ALL, pos, n, tap.rate, -1)
    else:
        leg = tap.sources[i].leg
        if tap.sources[i].kind == IN:
            gather(shard.acc, leg.ring, leg.mask, leg.horizon, leg.rate, tap.rate, pos, n, 4096)
        else:
            gather(shard.acc, leg.out_ring, leg.mask, leg.out_horizon, leg.rate, tap.rate, pos, n, 4096)
            hear_recorded(shard, leg, pos, n, tap.rate)
    if begin + ramp > 0 or end < n:
        shape(shard.acc, n, begin, end, ramp, 4096)
    add_mix(shard.ear, shard.acc, n, 1)


def hum(shard: state.Shard, tap: state.Tap, pos: int, n: int) -> None:
    """A quiet triangle of 250 Hz, in phase with the clock, that says: something is left out here."""
    period = tap.rate // 250
    half = period // 2
    for i in range(n):
        place = (pos + i) % period
        shard.ear[i] = (place if place < half else period - place) * 4096 // half - 2048


def append(shard: state.Shard, tap: state.Tap, n: int) -> None:
    """Write `n` frames. A disk that takes no more ends this tap, after its last whole frame, and no other."""
    if n == 0:
        return
    width = 2 * tap.n_channels
    size = n * width
    done = 0
    while done < size:
        result = write_frames(shard, tap, done, size - done)
        if result <= 0:
            tap.error = -result if result else 28
            break
        done += result
    tap.frames += done // width
    tap.pos += done // width
    if tap.error:
        cut_file(tap, tap.base + tap.frames * width)
        tap.ended_at = shard.now
        finish(tap)


def finish(tap: state.Tap) -> None:
    tap.ended = 1
    close_file(tap)


def note_consumed(tap: state.Tap) -> None:
    """Tell the legs how far they have been recorded."""
    for i in range(tap.n_sources):
        if tap.sources[i].kind == MIX:
            note_heard(tap.sources[i].bus, tap.pos, tap.rate)
        elif tap.sources[i].kind == IN:
            note_leg(tap.sources[i].leg, tap.pos, tap.rate)
        else:
            for k in range(tap.sources[i].leg.n_stays):
                note_heard(tap.sources[i].leg.stays[k].bus, tap.pos, tap.rate)


def hears(tap: state.Tap, leg: state.Leg) -> int:
    """Whether the tap reads the leg's rings, for itself or as a member of a bus."""
    for i in range(tap.n_sources):
        if leg.heard and tap.sources[i].kind != IN:
            return 1
        if tap.sources[i].kind != MIX and tap.sources[i].leg.id == leg.id:
            return 1
    return 0


def oldest_needed(shard: state.Shard, when: int) -> int:
    """The earliest time that a tap has still to read."""
    for i in range(shard.n_taps):
        tap = shard.taps[i]
        if not tap.ended:
            at = moment(tap.pos, tap.rate)
            if at < when:
                when = at
    return when


def forget_source(tap: state.Tap, i: int) -> None:
    """Let go of one source."""
    if tap.sources[i].kind == IN or tap.sources[i].kind == OUT:
        leg = tap.sources[i].leg
        leg.tapped -= 1
        leg.out_tapped -= tap.sources[i].kind == OUT
    else:
        tap.sources[i].bus.tapped -= 1
    tap.n_sources -= 1
    last = tap.n_sources
    tap.sources[i].since = tap.sources[last].since
    tap.sources[i].until = tap.sources[last].until
    tap.sources[i].named = tap.sources[last].named
    tap.sources[i].kind = tap.sources[last].kind
    tap.sources[i].channel = tap.sources[last].channel
    tap.sources[i].leg = tap.sources[last].leg
    tap.sources[i].bus = tap.sources[last].bus


def forget_closed(tap: state.Tap) -> None:
    """Let go of sources that were closed or are heard no more, when they have been recorded to their end."""
    i = tap.n_sources - 1
    while i >= 0:
        if tap.pos >= position(tap.sources[i].until + ms(RAMP), tap.rate):
            gone = 1
        elif tap.sources[i].kind == IN or tap.sources[i].kind == OUT:
            gone = tap.sources[i].leg.closing and tap.pos >= position(tap.sources[i].leg.closed_at, tap.rate)
        else:
            gone = tap.sources[i].bus.closing and tap.pos >= position(tap.sources[i].bus.closed_at, tap.rate)
        if gone or tap.ended:
            forget_source(tap, i)
        i -= 1


def command_tap(shard: state.Shard, i: int) -> None:
    """Taps are named by id: one that has ended by itself may be gone."""
    for j in range(shard.n_taps):
        tap = shard.taps[j]
        if tap.id == shard.commands[i].target:
            if shard.commands[i].op == STOP_TAP:
                stop_tap(tap, shard.commands[i].args[0])
            elif shard.commands[i].op == HEAR:
                hear_channel(shard, tap, i)
            else:
                change_mask(shard, tap, shard.commands[i].args[1], shard.commands[i].args[0])
            return
