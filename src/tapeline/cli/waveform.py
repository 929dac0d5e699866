"""Sound drawn with block characters: a waveform of peaks over time, and a level meter.

Pure functions from numbers to text; they know neither files nor terminals.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from tapeline.cli.terminal import clock

__all__ = ["decibels", "meter", "squeeze", "timeline", "waveform"]

_EIGHTHS = " ▁▂▃▄▅▆▇█"
_FLOOR_DB = -48.0  # what is below is drawn as silence


def decibels(peak: float) -> float:
    """Level of a peak 0..1 in dB below full scale; silence is -inf."""
    return 20 * math.log10(peak) if peak > 0 else -math.inf


def _height(peak: float) -> float:
    """0..1: how high `peak` is drawn. Linear in dB, since that is how loudness is heard."""
    return min(1.0, max(0.0, 1 - decibels(peak) / _FLOOR_DB))


def squeeze(peaks: Sequence[float], width: int) -> list[float]:
    """`width` values, each the highest of its share of `peaks` (a peak is repeated where there are fewer than `width`)."""
    count = len(peaks)
    if not count:
        return [0.0] * width
    edges = [column * count / width for column in range(width + 1)]
    return [max(peaks[int(low) : max(int(low) + 1, math.ceil(high))]) for low, high in zip(edges, edges[1:], strict=False)]


def waveform(peaks: Sequence[float], *, width: int = 72, rows: int = 3) -> list[str]:
    """`rows` lines of `width` characters, the top line first."""
    eighths = [round(_height(peak) * rows * 8) for peak in squeeze(peaks, width)]
    lines = []
    for row in reversed(range(rows)):
        line = "".join(_EIGHTHS[min(8, max(0, eighth - row * 8))] for eighth in eighths)
        lines.append(line.replace(" ", "·") if row == 0 else line)
    return lines


def timeline(duration_s: float, *, width: int = 72) -> str:
    """A ruler as wide as a waveform: its ends and middle in minutes and seconds."""
    left, middle, right = clock(0), clock(duration_s / 2), clock(duration_s)
    gap = max(1, width - len(left) - len(middle) - len(right))
    return left + " " * (gap // 2) + middle + " " * (gap - gap // 2) + right


def meter(peak: float, *, width: int = 20) -> str:
    """A horizontal bar for a peak 0..1, `width` characters."""
    full = round(_height(peak) * width)
    return "█" * full + "░" * (width - full)
