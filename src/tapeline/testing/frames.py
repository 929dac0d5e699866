"""Sound cut into frames of 20 ms, and the two questions asked of them: how much of this tone, and where does one give way to another.

The arithmetic below `listening`: amplitudes by projection on a complex exponential that runs through the whole file, so the phase of a
steady tone is the same in every frame. One channel at a time; levels are of a full-scale sine. Knows nothing of plans.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tapeline.testing.plan import SILENCE, TONES, Segment

__all__ = ["FRAME_S", "Frames", "edge_between"]

FRAME_S = 0.02
_HOP_S = 0.001


class Frames:
    """One channel: float64[n] in -1..1 at `rate`."""

    def __init__(self, samples: NDArray[np.float64], rate: int) -> None:
        self.samples = samples
        self.rate = rate
        self.length = round(FRAME_S * rate)

    def within(
        self, begin: float, end: float, frequency: float
    ) -> tuple[NDArray[np.float64], NDArray[np.complex128], NDArray[np.float64]]:
        """Of the whole frames in [begin, end): their times, the tone's amplitude as a complex number, and the level of the rest in dB.

        With frequency 0 there is no tone and the rest is everything.
        """
        first, last = round(begin * self.rate), min(round(end * self.rate), len(self.samples))
        count = max(0, (last - first) // self.length)
        if count == 0:
            return np.zeros(0), np.zeros(0, dtype=np.complex128), np.zeros(0)
        index = first + np.arange(count * self.length)
        block = self.samples[first : first + count * self.length].reshape(count, self.length)
        at = (first + np.arange(count) * self.length) / self.rate
        if frequency <= 0:
            wave = np.zeros(count, dtype=np.complex128)
            rest = block
        else:
            turn = np.exp(-2j * np.pi * frequency * index / self.rate).reshape(count, self.length)
            wave = _fit(block, turn)
            rest = block - np.real(wave[:, None] * np.conj(turn))
        level = 10 * np.log10(np.maximum(2 * np.mean(rest**2, axis=1), 1e-12))
        return at, wave, level

    def mended(self, at: float, frequency: float) -> tuple[float, float]:
        """Of the frame at `at`, as a tone that slips once: the rest's level against the tone in dB, and the slip in cycles (0 to 0.5).

        The frame is cut where the two parts, each with its own phase, leave the least; (0 dB, 0) for a frame that ends early.
        """
        first = round(at * self.rate)
        block = self.samples[first : first + self.length]
        edge = max(3, self.length // 40)  # so that each part is long enough to have a phase
        if len(block) < self.length:
            return 0.0, 0.0
        angle = 2 * np.pi * frequency * (first + np.arange(self.length)) / self.rate
        cosine, sine = np.cos(angle), np.sin(angle)
        rows = np.stack([cosine * cosine, sine * sine, cosine * sine, block * cosine, block * sine])
        total = np.concatenate([np.zeros((5, 1)), np.cumsum(rows, axis=1)], axis=1)
        cuts = np.arange(edge, self.length - edge)
        parts = [total[:, cuts], total[:, -1:] - total[:, cuts]]
        fitted = [_solve(*part) for part in parts]
        explained = sum(np.real(wave) * part[3] - np.imag(wave) * part[4] for wave, part in zip(fitted, parts, strict=True))
        best = int(np.argmax(explained))
        before, after = fitted[0][best], fitted[1][best]
        rest = max(float(np.sum(block**2) - explained[best]), 1e-12)
        slip = abs(float(np.angle(after * np.conj(before)))) / (2 * np.pi)
        return 10 * np.log10(rest / max(float(explained[best]), 1e-12)), slip

    def name_at(self, at: float) -> str:
        """What sounds in the frame at `at`, in words for a report."""
        first = round(at * self.rate)
        block = self.samples[first : first + self.length]
        if len(block) < self.length:
            return "the end"
        level = 10 * np.log10(max(2 * float(np.mean(block**2)), 1e-12))
        if level < -50:
            return "silence"
        index = np.arange(len(block))
        strength = [abs(np.sum(block * np.exp(-2j * np.pi * tone * index / self.rate))) for tone in TONES]
        best = int(np.argmax(strength))
        share = 2 * strength[best] / len(block)
        if 20 * np.log10(max(share, 1e-9)) > level - 6:
            return f"{TONES[best]:.0f} Hz at {20 * np.log10(share):.1f} dB"
        return f"other sound at {level:.1f} dB"

    def envelope(self, begin: float, end: float, frequency: float) -> NDArray[np.float64]:
        """The tone's amplitude in windows of 20 ms centred on begin, begin + 1 ms, ... up to end; of silence: how much is missing."""
        hop = round(_HOP_S * self.rate)
        count = round((end - begin) / _HOP_S) + 1
        first = round(begin * self.rate) - self.length // 2
        span = np.arange(first, first + (count - 1) * hop + self.length)
        inside = (span >= 0) & (span < len(self.samples))
        sound = np.where(inside, self.samples[np.clip(span, 0, max(len(self.samples) - 1, 0))], 0.0)
        turned = sound * np.exp(-2j * np.pi * frequency * span / self.rate) if frequency > 0 else sound**2
        total = np.concatenate([np.zeros(1), np.cumsum(turned)])
        start = np.arange(count) * hop
        window = (total[start + self.length] - total[start]) / self.length
        strength: NDArray[np.float64] = 2 * np.abs(window) if frequency > 0 else np.sqrt(2 * np.maximum(np.real(window), 0.0))
        return strength


def _fit(block: NDArray[np.float64], turn: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """Least squares fit of a sine to each row: exact where a frame is no whole number of periods."""
    cosine, sine = np.real(turn), -np.imag(turn)
    products = (cosine * cosine, sine * sine, cosine * sine, block * cosine, block * sine)
    return _solve(*(np.sum(product, axis=1) for product in products))


def _solve(
    cc: NDArray[np.float64], ss: NDArray[np.float64], cs: NDArray[np.float64], xc: NDArray[np.float64], xs: NDArray[np.float64]
) -> NDArray[np.complex128]:
    """The amplitudes a - jb of a cos + b sin, from the sums of their products with each other and with the sound."""
    scale = np.maximum(cc * ss - cs * cs, 1e-12)
    amplitudes: NDArray[np.complex128] = (xc * ss - xs * cs) / scale - 1j * ((xs * cc - xc * cs) / scale)
    return amplitudes


def edge_between(channel: Frames, at: float, before: Segment, after: Segment, reach_s: float) -> float | None:
    """The moment nearest to `at`, within `reach_s`, at which `before` gives way to `after`, to about 1 ms; None where there is none.

    It is where half of a 20 ms window is of the one and half of the other. Where several fit, the nearest counts.
    """
    begin, end = at - reach_s, at + reach_s
    loud = [10 ** (segment.level_db / 20) for segment in (before, after) if segment.frequency != SILENCE]
    half = min(loud) / 2
    if SILENCE in (before.frequency, after.frequency):
        sounding = channel.envelope(begin, end, after.frequency if before.frequency == SILENCE else before.frequency) > half
        late = sounding if before.frequency == SILENCE else ~sounding
    else:
        old = channel.envelope(begin, end, before.frequency)
        new = channel.envelope(begin, end, after.frequency)
        late = (new > old) & (new > half * 0.5)
    crossings = np.flatnonzero(~late[:-1] & late[1:])
    if not len(crossings):
        return None
    times = begin + (crossings + 0.5) * _HOP_S
    return float(times[np.argmin(np.abs(times - at))])
