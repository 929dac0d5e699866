"""What a watcher of the demo sees: states, who speaks, and how loudly, as it happens.

On a terminal a few lines that change in place; elsewhere (a pipe, a CI log) a line for each change. Levels are read from the sound that the
phone saves, which is written about once a second, so what is shown is about that old. Knows nothing of calls, only their words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.live import Live
from rich.text import Text

from tapeline.audio.wav import HEADER_SIZE
from tapeline.cli import terminal, waveform

__all__ = ["Ears", "Stage"]

WINDOW_S = 0.05
SPEAKING = 10 ** (-40 / 20)
HANGOVER_S = 0.7  # a pause between words is not the end of speaking
DELAY_S = 1.6  # how far behind the sound the meters are: what the tap writes once a second, and a little


class Ears:
    """Reads a WAV file of ours while it grows: peaks of each window of 50 ms, for each channel."""

    def __init__(self, path: Path, rate: int, channels: int) -> None:
        self._path = path
        self._step = round(rate * WINDOW_S)
        self._channels = channels
        self.windows: list[tuple[float, ...]] = []

    def listen(self) -> None:
        """Take in what was written since."""
        frame = 2 * self._channels
        with self._path.open("rb") as file:
            file.seek(HEADER_SIZE + len(self.windows) * self._step * frame)
            content = file.read()
        count = len(content) // (frame * self._step)
        samples = np.frombuffer(content, dtype="<i2", count=count * self._step * self._channels)
        peaks = np.abs(samples.reshape(count, self._step, self._channels).astype(np.int32)).max(axis=1) / 32768
        self.windows += [tuple(row) for row in peaks.tolist()]


@dataclass(slots=True)
class _Speaker:
    name: str
    speaking: bool = False
    heard_at: float = -HANGOVER_S
    level: float = 0.0


@dataclass(slots=True)
class Stage:
    """`tell` a state, `follow` the sound, `redraw` ten times a second; use it as a context."""

    speakers: Sequence[str]  # names, in the order of the channels followed
    began: float  # monotonic seconds
    states: dict[str, str] = field(default_factory=dict)
    _heard: int = 0
    _renames: list[tuple[float, int, str]] = field(default_factory=list)
    _people: list[_Speaker] = field(default_factory=list)
    _live: Live | None = None

    def __enter__(self) -> Stage:
        self._people = [_Speaker(name) for name in self.speakers]
        screen = terminal.console()
        if screen.is_terminal:
            self._live = Live(Text(), console=screen, refresh_per_second=10)
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.stop()

    def tell(self, what: str, state: str, now: float) -> None:
        """`what` (the call, the recording) is in `state` now."""
        if state and self.states.get(what) != state:
            self.states[what] = state
            if self._live is None:
                self._line(now, f"{what}: {state}")

    def rename(self, place: int, name: str, at: float) -> None:
        """Somebody else speaks in this channel from the moment `at` on."""
        self._renames.append((at, place, name))

    def _line(self, now: float, text: str) -> None:
        terminal.emit(f"{now - self.began:6.1f} s  {text}")

    def follow(self, ears: Ears, since: float, now: float, *, to_end: bool = False) -> None:
        """Take in the sound of `ears`, which began at `since`, up to what is due now; all of it, and no more to come, with `to_end`."""
        ears.listen()
        due = len(ears.windows) if to_end else min(len(ears.windows), max(0, int((now - since - DELAY_S) / WINDOW_S)))
        for place in range(self._heard, due):
            self._change_names(since + place * WINDOW_S)
            for person, peak in zip(self._people, ears.windows[place], strict=True):
                self._hear(person, peak, since + place * WINDOW_S)
        self._heard = max(self._heard, due)
        for person in self._people if to_end else ():
            person.level = 0.0
            self._fall_silent(person)

    def _change_names(self, at: float) -> None:
        while self._renames and self._renames[0][0] <= at:
            _, place, name = self._renames.pop(0)
            self._fall_silent(self._people[place])
            self._people[place].name = name

    def _hear(self, person: _Speaker, peak: float, at: float) -> None:
        person.level = peak
        if peak > SPEAKING:
            person.heard_at = at + WINDOW_S
            if not person.speaking:
                person.speaking = True
                if self._live is None:
                    self._line(at, f"{person.name} speaks")
        elif at - person.heard_at > HANGOVER_S:
            self._fall_silent(person)

    def _fall_silent(self, person: _Speaker) -> None:
        if person.speaking:
            person.speaking = False
            if self._live is None:
                self._line(person.heard_at, f"{person.name} is silent")

    def redraw(self, now: float) -> None:
        if self._live is None:
            return
        lines = [Text(f"  {what:<10} {state}") for what, state in self.states.items()]
        for person in self._people:
            line = Text(f"  {person.name:<10} ")
            line.append(waveform.meter(person.level, width=30), style="green")
            line.append(" speaking" if person.speaking else "")
            lines.append(line)
        self._live.update(Text("\n").join([*lines, Text(f"  {terminal.clock(now - self.began)}", style="dim")]))
