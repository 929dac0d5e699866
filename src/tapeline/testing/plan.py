"""What shall be heard: for each channel of a recording, which tone sounds when, or that nothing may sound.

A plan is written before the call, rendered to what a peer says (PCM, WAV, mu-law, RTP), and afterwards held against the recording
by `listening`. The tones of `TONES` are chosen so that 20 ms frames tell any two apart, and so that dropping or repeating 10, 20, 30
or 40 ms breaks the phase: a steady tone cannot hide a slip. Knows nothing of SIP, files that were recorded, or the network.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile

from tapeline.testing.waveforms import Samples, sine, ulaw_encode

__all__ = ["ANYTHING", "SILENCE", "TONES", "Plan", "Segment", "anything", "quiet", "spoken", "tone"]

# 100 Hz apart: orthogonal over 20 ms. The odd 17 Hz make 10, 20, 30 and 40 ms a fraction of a period that is never near a whole.
TONES: tuple[float, ...] = tuple(417.0 + 100.0 * index for index in range(24))

SILENCE = 0.0
ANYTHING = -1.0
DEFAULT_LEVEL_DB = -12.0


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of one channel. `frequency` in Hz, or SILENCE (nothing may be heard), or ANYTHING (not judged; renders as silence)."""

    frequency: float
    seconds: float
    level_db: float = DEFAULT_LEVEL_DB


def tone(frequency: float, seconds: float, level_db: float = DEFAULT_LEVEL_DB) -> Segment:
    return Segment(frequency, seconds, level_db)


def quiet(seconds: float) -> Segment:
    return Segment(SILENCE, seconds)


def anything(seconds: float) -> Segment:
    return Segment(ANYTHING, seconds)


def spoken(seed: int, seconds: int, *, each: float = 1.0, level_db: float = DEFAULT_LEVEL_DB) -> tuple[Segment, ...]:
    """A channel of `seconds / each` tones, a new one every `each` seconds, its order proper to `seed`: a voice that can be recognised.

    Neighbours always differ, so a missing, repeated or swapped stretch is heard as such.
    """
    source = random.Random(f"voice {seed}")
    index = source.randrange(len(TONES))
    segments = []
    for _ in range(round(seconds / each)):
        segments.append(Segment(TONES[index], each, level_db))
        index = (index + source.randrange(1, len(TONES))) % len(TONES)
    return tuple(segments)


@dataclass(frozen=True, slots=True)
class Plan:
    """The channels of one recording, each a row of segments; all begin at the same moment."""

    channels: tuple[tuple[Segment, ...], ...]

    @classmethod
    def of(cls, *channels: Sequence[Segment]) -> Plan:
        """A plan from its channels. Raises ValueError for segments without length and for tones above 3.4 kHz."""
        for segment in (segment for channel in channels for segment in channel):
            if segment.seconds <= 0:
                raise ValueError(f"a segment has no length: {segment}")
            if segment.frequency > 3400:
                raise ValueError(f"a telephone does not carry {segment.frequency} Hz")
        return cls(tuple(tuple(channel) for channel in channels))

    @property
    def seconds(self) -> float:
        """The length of the longest channel."""
        return max((sum(segment.seconds for segment in channel) for channel in self.channels), default=0.0)

    def spans(self, channel: int) -> Iterator[tuple[float, float, Segment]]:
        """(from, to, segment) of a channel, in seconds; neighbours that sound alike are joined."""
        begin = end = 0.0
        current: Segment | None = None
        for segment in self.channels[channel]:
            if current is not None and (segment.frequency, segment.level_db) != (current.frequency, current.level_db):
                yield begin, end, current
                begin = end
            current = segment
            end += segment.seconds
        if current is not None:
            yield begin, end, current

    def between(self, start: float, end: float) -> Plan:
        """What is planned in [start, end), as a plan of its own."""
        cut = []
        for number in range(len(self.channels)):
            row = []
            for low, high, segment in self.spans(number):
                length = min(high, end) - max(low, start)
                if length > 1e-9:
                    row.append(replace(segment, seconds=length))
            cut.append(tuple(row))
        return Plan(tuple(cut))

    def render(self, rate: int = 8000) -> Samples:
        """int16[frames, channels]. Phase runs on within a stretch of one tone, however many segments it is made of."""
        frames = round(self.seconds * rate)
        samples = np.zeros((frames, len(self.channels)), dtype=np.int16)
        for number in range(len(self.channels)):
            for begin, end, segment in self.spans(number):
                if segment.frequency > 0:
                    first, last = round(begin * rate), round(end * rate)
                    wave = sine(segment.frequency, (last - first) / rate, rate, level_db=segment.level_db)
                    samples[first:last, number] = wave
        return samples

    def voice(self, channel: int = 0, rate: int = 8000) -> Samples:
        """int16[n]: what one party says."""
        return self.render(rate)[:, channel]

    def write_wav(self, path: Path, rate: int = 8000) -> Path:
        """Write all channels as 16-bit PCM WAV (what baresip's aufile plays)."""
        soundfile.write(path, self.render(rate), rate, subtype="PCM_16")
        return path

    def write_ulaw(self, path: Path, channel: int = 0) -> Path:
        """Write one channel as headerless mu-law, 8000 bytes a second (what SIPp's rtp_stream sends)."""
        path.write_bytes(ulaw_encode(self.voice(channel)))
        return path
