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
    from tapeline.rtp.engine.constants import (
        BLOCK,
        CHANGES,
        CUT,
        IN,
        KEPT,
        LAG,
        LINGER,
        OUT,
        PLAIN,
        STOP_TAP,
        TAP_ENDED,
        TAP_PROGRESS,
        TONE,
        WRITE,
    )
    from tapeline.rtp.engine.portable import close_file, cut_file, write_frames
    from tapeline.rtp.engine.samples import gather, saturate, zero
    from tapeline.rtp.engine.state import ms, position, push, push_peaks

if TYPE_CHECKING:
    from tapeline.rtp.engine import state


def add_tap(shard: state.Shard, tap: state.Tap, at: int) -> None:
    """Begin to listen at `at`."""
    tap.started_at = at
    tap.start = position(at, tap.rate)
    tap.pos = tap.start
    tap.next_write = at + ms(LAG + WRITE // 4)
    for i in range(tap.n_sources):
        if tap.sources[i].kind == OUT or tap.sources[i].kind == IN:
            leg = tap.sources[i].leg
            if leg.tapped == 0 and position(at, leg.rate) - LAG * leg.rate_ms > leg.consumed:
                leg.consumed = position(at, leg.rate) - LAG * leg.rate_ms
            leg.tapped += 1
            leg.out_tapped += tap.sources[i].kind == OUT
        else:
            tap.sources[i].bus.tapped += 1
    shard.taps[shard.n_taps] = tap
    shard.n_taps += 1


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


def hurry(shard: state.Shard, tap: state.Tap, now: int) -> None:
    """After a stall: write what the rings are about to lose before anything new is placed in them."""
    if not tap.ended:
        write_until(shard, tap, position(now - ms(KEPT), tap.rate))


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
        zero(shard.acc, n)
        if tap.mode == TONE:
            hum(shard, tap, pos, n)
        elif tap.mode == PLAIN:
            for i in range(tap.n_sources):
                if tap.sources[i].channel == channel:
                    listen(shard, tap, i, pos, n)
        peak = saturate(shard.acc, n, shard.frames, offset * tap.n_channels + channel, tap.n_channels)
        if peak > tap.peaks[channel]:
            tap.peaks[channel] = peak


def listen(shard: state.Shard, tap: state.Tap, i: int, pos: int, n: int) -> None:
    if tap.sources[i].kind == IN:
        leg = tap.sources[i].leg
        gather(shard.acc, leg.ring, leg.mask, leg.horizon, leg.rate, tap.rate, pos, n, 4096)
    elif tap.sources[i].kind == OUT:
        leg = tap.sources[i].leg
        gather(shard.acc, leg.out_ring, leg.mask, leg.out_horizon, leg.rate, tap.rate, pos, n, 4096)
    else:
        bus = tap.sources[i].bus
        gather(shard.acc, bus.ring, bus.mask, bus.horizon, bus.ring_rate, tap.rate, pos, n, 4096)


def hum(shard: state.Shard, tap: state.Tap, pos: int, n: int) -> None:
    """A quiet triangle of 250 Hz, in phase with the clock, that says: something is left out here."""
    period = tap.rate // 250
    half = period // 2
    for i in range(n):
        place = (pos + i) % period
        shard.acc[i] = (place if place < half else period - place) * 4096 // half - 2048


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
    """Tell the legs how far they have been recorded: what comes for earlier than that is late."""
    for i in range(tap.n_sources):
        if tap.sources[i].kind == IN:
            leg = tap.sources[i].leg
            pos = tap.pos * leg.rate // tap.rate
            if pos > leg.consumed:
                leg.consumed = pos


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
    tap.sources[i].kind = tap.sources[last].kind
    tap.sources[i].channel = tap.sources[last].channel
    tap.sources[i].leg = tap.sources[last].leg
    tap.sources[i].bus = tap.sources[last].bus


def forget_closed(tap: state.Tap) -> None:
    """Let go of sources that were closed and have been recorded to their end."""
    i = tap.n_sources - 1
    while i >= 0:
        gone = 0
        if tap.sources[i].kind == IN or tap.sources[i].kind == OUT:
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
            else:
                change_mask(shard, tap, shard.commands[i].args[1], shard.commands[i].args[0])
            return
