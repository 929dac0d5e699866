"""What is done to samples: companding, placing in rings, mixing, measuring.

A ring is an int16 array of a power of two; a position is a count of samples since the clock's beginning, and `position & mask` its
place. What lies at or beyond the ring's `horizon`, or a whole ring before it, counts as silence. Mixing adds into int32. Nothing here
knows of packets, legs or time. Compiled these are loops; uncompiled the same functions work on numpy arrays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

try:
    import cython
except ImportError:
    from tapeline.rtp.engine import nocython as cython

from tapeline.rtp.engine import filters

if not cython.compiled:
    import numpy as np
    from numpy.lib.stride_tricks import sliding_window_view

    from tapeline.rtp.engine.filters import DOWN, HALF, KERNELS, UP, WIDTH

    window = np.zeros(0, np.int16)  # compiled an array on the stack

if TYPE_CHECKING:
    from tapeline.rtp.engine import state

if cython.compiled:
    for place in range(542):
        KERNELS[place] = filters.KERNELS[place]


def expand(table: state.Samples, buf: state.Buffer, offset: int, n: int, ring: state.Samples, mask: int, pos: int) -> None:
    """Write `n` companded bytes from `buf[offset:]` as samples at `pos`."""
    if cython.compiled:
        at = pos & mask
        left = mask + 1 - at
        if left > n:
            left = n
        for i in range(left):
            ring[at + i] = table[buf[offset + i]]
        for i in range(left, n):
            ring[i - left] = table[buf[offset + i]]
    else:
        store(table[np.frombuffer(buf, np.uint8, n, offset)], n, ring, mask, pos)


def unpack(buf: state.Buffer, offset: int, n: int, ring: state.Samples, mask: int, pos: int) -> None:
    """Write `n` samples that stand in `buf[offset:]` in network order at `pos`."""
    if cython.compiled:
        for i in range(n):
            ring[(pos + i) & mask] = (buf[offset + 2 * i] << 8) | buf[offset + 2 * i + 1]
    else:
        store(np.frombuffer(buf, ">i2", n, offset), n, ring, mask, pos)


def clear(ring: state.Samples, mask: int, pos: int, n: int) -> None:
    """Silence at `pos`, at most one ring long."""
    if n > mask + 1:
        n = mask + 1
    if cython.compiled:
        for i in range(n):
            ring[(pos + i) & mask] = 0
    else:
        at = pos & mask
        ring[at : at + n] = 0
        if at + n > mask + 1:
            ring[: at + n - mask - 1] = 0


def move(ring: state.Samples, mask: int, pos: int, n: int, delta: int) -> None:
    """Carry `n` samples from `pos` to `pos + delta`; what they leave is silence."""
    if n <= 0 or delta == 0:
        return
    if cython.compiled:
        if delta < 0:
            for i in range(n):
                ring[(pos + delta + i) & mask] = ring[(pos + i) & mask]
        else:
            for i in range(n):
                ring[(pos + delta + n - 1 - i) & mask] = ring[(pos + n - 1 - i) & mask]
    else:
        carried = ring[np.arange(pos, pos + n) & mask]
        store(carried, n, ring, mask, pos + delta)
    if delta < 0:
        clear(ring, mask, pos + n + delta if n + delta > 0 else pos, -delta if n + delta > 0 else n)
    else:
        clear(ring, mask, pos, delta if delta < n else n)


def zero(acc: state.Mix, n: int) -> None:
    """Begin a mix of `n` samples."""
    if cython.compiled:
        for i in range(n):
            acc[i] = 0
    else:
        acc[:n] = 0


def add(acc: state.Mix, at: int, pcm: state.Samples, offset: int, n: int, gain: int) -> None:
    """Add `n` samples of `pcm[offset:]` to `acc[at:]`; a gain of 4096 is 1."""
    if cython.compiled:
        if gain == 4096:
            for i in range(n):
                acc[at + i] += pcm[offset + i]
        else:
            for i in range(n):
                acc[at + i] += (pcm[offset + i] * gain) >> 12
    else:
        part = pcm[offset : offset + n].astype(np.int32)
        acc[at : at + n] += part if gain == 4096 else (part * gain) >> 12


def add_mix(acc: state.Mix, other: state.Mix, n: int, sign: int) -> None:
    """Add one mix to another, or take it away (`sign` -1)."""
    if cython.compiled:
        for i in range(n):
            acc[i] += sign * other[i]
    else:
        acc[:n] += sign * other[:n]


def shape(acc: state.Mix, n: int, begin: int, end: int, ramp: int, gain: int) -> None:
    """Give a mix a gain (4096 is 1) from its sample `begin` to `end`, in at `begin` and out at `end` by a ramp of `ramp` samples."""
    if cython.compiled:
        for i in range(n):
            up = ramp if i - begin > ramp else (i - begin if i > begin else 0)
            down = ramp if end > i else (end + ramp - i if end + ramp > i else 0)
            level = gain
            if up < ramp or down < ramp:
                level = ((((up * 4096 // ramp) * (down * 4096 // ramp)) >> 12) * gain) >> 12
            v = acc[i]
            acc[i] = (v * level) >> 12
    else:
        places = np.arange(n)
        rise = np.clip(places - begin, 0, ramp)
        fall = np.clip(end + ramp - places, 0, ramp)
        levels = ((((rise * 4096 // ramp) * (fall * 4096 // ramp)) >> 12) * gain) >> 12
        acc[:n] = (acc[:n].astype(np.int64) * np.where((rise < ramp) | (fall < ramp), levels, gain)) >> 12


def pick(ring: state.Samples, mask: int, horizon: int, pos: int) -> int:
    """One sample of a ring, silence where it holds nothing."""
    if pos >= horizon or pos < horizon - mask - 1:
        return 0
    v = 0
    if cython.compiled:
        v = ring[pos & mask]
    else:
        v = int(ring[pos & mask])
    return v


def gather(acc: state.Mix, ring: state.Samples, mask: int, horizon: int, source: int, target: int, pos: int, n: int, gain: int) -> None:
    """Add `n` samples from position `pos`, counted at rate `target`, of a ring that runs at rate `source`, to `acc`."""
    if source != target:
        convert(acc, ring, mask, horizon, source, target, pos, n, gain)
        return
    first = pos if pos > horizon - mask - 1 else horizon - mask - 1
    last = pos + n if pos + n < horizon else horizon
    if last <= first:
        return
    place = first - pos
    count = last - first
    at = first & mask
    left = mask + 1 - at
    if left > count:
        left = count
    add(acc, place, ring, at, left, gain)
    if count > left:
        add(acc, place + left, ring, 0, count - left, gain)


def convert(acc: state.Mix, ring: state.Samples, mask: int, horizon: int, source: int, target: int, pos: int, n: int, gain: int) -> None:
    """`gather` between two rates: low passes where the ratio is 2, 3 or 6, a straight line between neighbours for all others."""
    if not cython.compiled:
        convert_array(acc, ring, mask, horizon, source, target, pos, n, gain)
    elif source == 2 * target or source == 3 * target or source == 6 * target:
        for i in range(0, n, 256):
            thin(acc, i, ring, mask, horizon, source // target, pos + i, 256 if n - i > 256 else n - i, gain)
    elif target == 2 * source or target == 3 * source or target == 6 * source:
        for i in range(0, n, 256):
            spread(acc, i, ring, mask, horizon, target // source, pos + i, 256 if n - i > 256 else n - i, gain)
    else:
        for i in range(n):
            at = (pos + i) * source // target
            part = (pos + i) * source - at * target
            v = pick(ring, mask, horizon, at)
            v += (pick(ring, mask, horizon, at + 1) - v) * part // target
            acc[i] += (v * gain) >> 12


def thin(acc: state.Mix, to: int, ring: state.Samples, mask: int, horizon: int, ratio: int, pos: int, n: int, gain: int) -> None:
    """Add one of `ratio` samples, filtered: at most 256. Compiled only."""
    if cython.compiled:
        taps = 2 * HALF * ratio + 1
        table = 0 if ratio == 2 else (49 if ratio == 3 else 122)
        view(ring, mask, horizon, pos * ratio - HALF * ratio, (n - 1) * ratio + taps, window)
        for i in range(n):
            v = 8192
            for k in range(taps):
                v += KERNELS[table + k] * window[i * ratio + k]
            wide = v >> 14
            acc[to + i] += (wide * gain) >> 12


def spread(acc: state.Mix, to: int, ring: state.Samples, mask: int, horizon: int, ratio: int, pos: int, n: int, gain: int) -> None:
    """Add `ratio` samples for each one, interpolated: at most 256. Compiled only."""
    if cython.compiled:
        table = 267 if ratio == 2 else (317 if ratio == 3 else 392)
        first = pos // ratio
        view(ring, mask, horizon, first - HALF, n // ratio + 2 * HALF + 2, window)
        for i in range(n):
            at = (pos + i) // ratio - first
            phase = table + ((pos + i) % ratio) * WIDTH
            v = 8192
            for k in range(WIDTH):
                v += KERNELS[phase + k] * window[at + k]
            wide = v >> 14
            acc[to + i] += (wide * gain) >> 12


def view(ring: state.Samples, mask: int, horizon: int, pos: int, n: int, out: state.Samples) -> None:
    """Copy `n` samples of a ring, silence where it holds nothing. Compiled only."""
    if cython.compiled:
        first = pos if pos > horizon - mask - 1 else horizon - mask - 1
        last = pos + n if pos + n < horizon else horizon
        for i in range(n):
            out[i] = 0 if pos + i < first or pos + i >= last else ring[(pos + i) & mask]


def saturate(acc: state.Mix, n: int, out: state.Samples, offset: int, stride: int) -> int:
    """Write a mix as int16 to `out[offset::stride]`; the greatest magnitude is returned."""
    if cython.compiled:
        peak = 0
        if stride == 1:  # as below, in a form that works on several samples at once
            for i in range(n):
                v = acc[i]
                v = 32767 if v > 32767 else v
                v = -32768 if v < -32768 else v
                out[offset + i] = v
                v = v if v >= 0 else -v
                peak = v if v > peak else peak
            return peak
        for i in range(n):
            v = acc[i]
            if v > 32767:
                v = 32767
            elif v < -32768:
                v = -32768
            out[offset + i * stride] = v
            if v < 0:
                v = -v
            if v > peak:
                peak = v
        return peak
    else:
        clipped = np.clip(acc[:n], -32768, 32767)
        out[offset : offset + n * stride : stride] = clipped
        return int(np.abs(clipped).max()) if n else 0


def store(pcm: state.Samples, n: int, ring: state.Samples, mask: int, pos: int) -> None:
    """Write `n` samples at `pos`."""
    if cython.compiled:
        for i in range(n):
            ring[(pos + i) & mask] = pcm[i]
    else:
        at = pos & mask
        left = min(n, mask + 1 - at)
        ring[at : at + left] = pcm[:left]
        if n > left:
            ring[: n - left] = pcm[left:n]


def compress(table: state.Companded, pcm: state.Samples, n: int, buf: state.Writable, offset: int) -> None:
    """Write `n` samples as companded bytes to `buf[offset:]`; the table is indexed by the upper 14 bits."""
    if cython.compiled:
        for i in range(n):
            buf[offset + i] = table[(pcm[i] >> 2) & 0x3FFF]
    else:
        buf[offset : offset + n] = table[(pcm[:n] >> 2) & 0x3FFF].tobytes()


def pack(pcm: state.Samples, n: int, buf: state.Writable, offset: int) -> None:
    """Write `n` samples in network order to `buf[offset:]`."""
    if cython.compiled:
        for i in range(n):
            buf[offset + 2 * i] = (pcm[i] >> 8) & 255
            buf[offset + 2 * i + 1] = pcm[i] & 255
    else:
        buf[offset : offset + 2 * n] = pcm[:n].astype(">i2").tobytes()


def carry(buf: state.Buffer, offset: int, n: int, out: state.Writable, at: int) -> None:
    """Copy `n` bytes from `buf[offset:]` to `out[at:]`."""
    if cython.compiled:
        for i in range(n):
            out[at + i] = buf[offset + i]
    else:
        out[at : at + n] = buf[offset : offset + n]


def fill(buf: state.Writable, offset: int, n: int, value: int) -> None:
    """Write `n` bytes of `value` to `buf[offset:]`."""
    if cython.compiled:
        for i in range(n):
            buf[offset + i] = value
    else:
        buf[offset : offset + n] = bytes((value,)) * n


def loudness(ring: state.Samples, mask: int, horizon: int, pos: int, n: int) -> int:
    """The mean magnitude of `n` samples of a ring."""
    if cython.compiled:
        total = 0
        for i in range(n):
            v = pick(ring, mask, horizon, pos + i)
            total += v if v >= 0 else -v
        return total // n
    else:
        return int(np.abs(fetch(ring, mask, horizon, pos, n)).sum()) // n


if not cython.compiled:

    def fetch(ring: state.Samples, mask: int, horizon: int, pos: int, n: int) -> state.Mix:
        """`n` samples of a ring as int32, silence where it holds nothing."""
        out = np.zeros(n, np.int32)
        gather(out, ring, mask, horizon, 1, 1, pos, n, 4096)
        return out

    def convert_array(
        acc: state.Mix, ring: state.Samples, mask: int, horizon: int, source: int, target: int, pos: int, n: int, gain: int
    ) -> None:
        """`convert`, a whole array at a time."""
        if source in (2 * target, 3 * target, 6 * target):
            ratio = source // target
            taps = 2 * HALF * ratio + 1
            x = fetch(ring, mask, horizon, pos * ratio - HALF * ratio, (n - 1) * ratio + taps)
            v = sliding_window_view(x, taps)[::ratio].astype(np.int64) @ DOWN[ratio].astype(np.int64)
            v = (v + 8192) >> 14
        elif target in (2 * source, 3 * source, 6 * source):
            ratio = target // source
            places = np.arange(pos, pos + n)
            x = fetch(ring, mask, horizon, pos // ratio - HALF, n // ratio + 2 * HALF + 2)
            around = sliding_window_view(x, WIDTH)[places // ratio - pos // ratio].astype(np.int64)
            v = ((around * UP[ratio].reshape(ratio, WIDTH)[places % ratio]).sum(axis=1) + 8192) >> 14
        else:
            exact = np.arange(pos, pos + n) * source
            first = pos * source // target
            at = exact // target - first
            x = fetch(ring, mask, horizon, first, n * source // target + 3)
            step = (x[at + 1] - x[at]) * (exact % target)
            v = x[at] + (np.sign(step) * (np.abs(step) // target)).astype(np.int32)
        acc[:n] += (v * gain) >> 12
