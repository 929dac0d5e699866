"""Whole recordings in virtual time: the machine, a tap that does as the engine's does, a real spool, and crashes at every line.

The tap here keeps the contract of the engine's: it lags a second behind, masks at the moment it was asked, tells its end. What is
in the file is then held against what the timeline says.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapeline.audio import tones, wav
from tapeline.core.ids import new_id
from tapeline.core.recordspec import MaskMode, RecordSpec, SilenceRule
from tapeline.recording import spool as spool_module
from tapeline.recording.manifest import Manifest
from tapeline.recording.session import Finished, MaskTap, OpenTap, PlayBeep, Recording, StopTap, UnmaskTap
from tapeline.recording.spool import AUDIO, MANIFEST, Spool
from tapeline.testing.clock import FakeClock

RATE = 8000
LAG_S = 1.0
VOICE = 1000  # the sample that stands for speech; a masked one is 0 or TONE
TONE = 77


class Tap:
    """Appends what was said up to a second ago; what a mask covers by the mask."""

    def __init__(self, path: Path, now: float) -> None:
        self._file = path.open("ab", buffering=0)
        self._at = now
        self._modes: list[tuple[float, MaskMode | None]] = [(now, None)]
        self.frames = 0

    def mask(self, mode: MaskMode | None, now: float) -> None:
        self._modes.append((now, mode))

    def write(self, until: float) -> None:
        """All that is due up to `until`, sample by sample as the masks stood."""
        moments = self._at + np.arange(max(0, round((until - self._at) * RATE))) / RATE
        self._at += len(moments) / RATE
        at = np.searchsorted([when for when, _ in self._modes], moments + 1e-9, side="right") - 1
        kinds = np.array([{None: VOICE, "silence": 0, "tone": TONE, "cut": -1}[mode] for _, mode in self._modes], np.int16)[at]
        kept = kinds[kinds >= 0]
        self._file.write(kept.tobytes())
        self.frames += len(kept)

    def close(self) -> None:
        self._file.close()


class House:
    """Owns one recording as a call does."""

    def __init__(self, root: Path, **spec: Any) -> None:
        self.clock = FakeClock()
        self.spool = Spool(root)
        self.id = new_id()
        self.machine = Recording(self.id, RecordSpec(**spec), self.clock.now(), self.clock.wall())
        self.tap: Tap | None = None
        self.kept: Manifest | None = None
        self.beeps = 0
        self.act()

    def manifest(self) -> Manifest:
        return self.machine.manifest(account="a", rate=RATE, channels=1)

    def act(self) -> None:
        while actions := self.machine.take_actions():
            for action in actions:
                self.do(action)

    def do(self, action: object) -> None:
        now = self.clock.now()
        match action:
            case OpenTap():
                self.tap = Tap(self.spool.create(self.manifest()), now)
                self.machine.captured(now)
            case MaskTap(mode=mode):
                assert self.tap is not None
                self.tap.mask(mode, now)
            case UnmaskTap():
                assert self.tap is not None
                self.tap.mask(None, now)
            case StopTap():
                assert self.tap is not None
                self.tap.write(now)
                self.tap.close()
                self.machine.tap_ended(self.tap.frames, "stopped", now)
            case PlayBeep():
                self.beeps += 1
            case Finished():
                assert self.kept is None, "finished twice"
                self.kept = self.spool.finish(self.manifest())

    def run(self, seconds: float) -> None:
        """Let time pass; deadlines are met at their moment, the tap writes once a second."""
        end = self.clock.now() + seconds
        while True:
            due = self.machine.next_deadline()
            step = min(end, self.clock.now() + 1.0, due if due is not None else end)
            self.clock.advance(max(0.0, step - self.clock.now()))
            if self.tap is not None and self.machine.state == "recording":
                self.tap.write(self.clock.now() - LAG_S)
            self.machine.tick(self.clock.now())
            self.act()
            if step >= end:
                return

    def tell(self, deed: Callable[..., None], *arguments: Any) -> None:
        deed(*arguments, self.clock.now())
        self.act()

    def file(self) -> np.ndarray:
        samples, rate = wav.read(self.spool.path(self.id) / AUDIO)
        assert rate == RATE
        return samples[:, 0]

    def leave(self) -> None:
        if self.tap is not None:
            self.tap.close()


def stretches(timeline: tuple[Any, ...]) -> list[tuple[float, float, int]]:
    """What the timeline says of the file: (from, to, the sample that stands there), by positions."""
    found, kind, since = [], VOICE, 0.0
    for item in timeline:
        place = item.get("position", item["at"])
        if item["event"] in ("masked", "paused", "resumed", "unmasked", "stopped"):
            if kind >= 0:
                found.append((since, place, kind))
            kind = {"silence": 0, "tone": TONE, "cut": -1}.get(item.get("mode"), VOICE)
            since = place
    return found


DEEDS = st.sampled_from(["silence", "tone", "cut", "unmask", "note", "voice", "hush", "key", "wait"])


@given(st.lists(st.tuples(DEEDS, st.sampled_from([0.0, 0.25, 1.0, 3.5, 7.0])), max_size=12), st.sampled_from([0.0, 20.0]))
def test_the_file_holds_what_the_timeline_says(
    tmp_path_factory: pytest.TempPathFactory, script: list[tuple[str, float]], final_s: float
) -> None:
    rule = SilenceRule(final_s=final_s) if final_s else None
    house = House(tmp_path_factory.mktemp("house"), max_s=30.0, silence=rule, end_keys=frozenset("#"), beep=True)
    machine = house.machine
    house.tell(machine.media)
    for deed, seconds in script:
        if machine.state != "recording":
            break
        match deed:
            case "silence" | "tone" | "cut":
                house.tell(machine.mask, deed)
            case "unmask":
                house.tell(machine.unmask)
            case "note":
                house.tell(machine.note, "held")
            case "voice" | "hush":
                house.tell(machine.voice, deed == "voice")
            case "key":
                house.tell(machine.digit, "#")
        house.run(seconds)
    if machine.state == "recording":
        house.tell(machine.stop, "hangup")
    assert house.kept is not None and house.beeps == 1
    assert house.spool.complete() == [house.id]
    sound = house.file()
    assert len(sound) == house.kept.frames <= 30.0 * RATE + 1
    wanted = stretches(house.kept.timeline)
    end = wanted[-1][1] if wanted else 0.0
    assert abs(len(sound) / RATE - max([end, *(to for _, to, _ in wanted)])) < 0.002
    for since, to, kind in wanted:
        inside = sound[round(since * RATE) + 10 : max(0, round(to * RATE) - 10)]
        assert (inside == kind).all(), (since, to, kind)


def test_the_longest_time_leaves_a_file_of_that_length(tmp_path: Path) -> None:
    house = House(tmp_path, max_s=12.5)
    house.tell(house.machine.media)
    house.run(60.0)
    assert house.kept is not None and (house.kept.reason, house.kept.frames) == ("max_seconds", 100_000)


def test_a_stop_in_the_same_moment_leaves_a_valid_empty_file(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.tell(house.machine.stop, "stopped")
    assert house.kept is not None and (house.kept.state, house.kept.frames) == ("stopped", 0)
    assert len(house.file()) == 0 and house.spool.complete() == [house.id]


def test_killed_while_recording_at_most_the_lag_is_lost(tmp_path: Path) -> None:
    house = House(tmp_path, beep=True)
    house.tell(house.machine.media)
    house.run(61.3)
    house.leave()
    (found,) = Spool(tmp_path).recover(house.clock.wall() + 5.0)
    assert found.recovered and 61.3 - LAG_S - 1.0 <= found.frames / RATE <= 61.3
    assert (house.file() == VOICE).all() and len(house.file()) == found.frames


# -- killed at every line ----------------------------------------------------------------------------------------------

Picture = dict[str, bytes]


def picture(root: Path) -> Picture:
    """What the kernel holds of the spool: all that is left when the process is killed now."""
    return {str(path.relative_to(root)): path.read_bytes() if path.is_file() else b"/" for path in sorted(root.rglob("*"))}


def pictures(root: Path, work: Callable[[], None]) -> list[tuple[str, Picture]]:
    """Run `work`; the folder before each line of the spool and of the WAV writer, as often as it differs."""
    watched = {spool_module.__file__, wav.__file__}
    found: list[tuple[str, Picture]] = []

    def look(frame: FrameType, event: str, argument: object) -> Any:
        if frame.f_code.co_filename not in watched:
            return None
        now = picture(root)
        if not found or found[-1][1] != now:
            found.append((f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}", now))
        return look

    before = sys.gettrace()
    sys.settrace(look)
    try:
        work()
    finally:
        sys.settrace(before)
    return found


def put_back(root: Path, content: Picture) -> None:
    root.mkdir()
    for name, data in content.items():
        path = root / name
        path.mkdir() if data == b"/" else path.write_bytes(data)


def life(root: Path, recording_id: str, sound: np.ndarray) -> None:
    """From the first byte to the release, as calls and the worker do it."""
    spool = Spool(root)
    made = Manifest(id=recording_id, account="a", created=100.0, started=100.0, rate=RATE)
    with spool.create(made).open("ab", buffering=0) as file:
        file.write(sound[:4000].tobytes())
        spool.write(Manifest.from_json(made.to_json()))
        file.write(sound[4000:].tobytes() + b"\x01")
    final = spool.finish(Manifest(id=recording_id, account="a", created=100.0, started=100.0, rate=RATE, state="stopped", reason="hangup"))
    assert spool.complete() == [final.id]
    spool.release(final.id)


def test_killed_before_any_line_all_audio_that_was_written_is_recovered(tmp_path: Path) -> None:
    recording_id, sound = new_id(), tones.tone(440.0, 1.0, RATE)
    found = pictures(tmp_path / "life", lambda: life(tmp_path / "life", recording_id, sound))
    assert len(found) >= 12, [where for where, _ in found]
    outcomes = set()
    for number, (where, content) in enumerate(found):
        root = tmp_path / str(number)
        put_back(root, content)
        audio = content.get(f"{recording_id}/{AUDIO}", b"")
        spool = Spool(root)
        recovered = spool.recover(200.0)
        again = Spool(root).recover(300.0)
        assert again == [], f"recovered twice after {where}"
        if len(audio) <= wav.HEADER_SIZE and f"{recording_id}/{MANIFEST}" not in content:
            assert spool.complete() == [], where
            outcomes.add("nothing yet")
            continue
        assert spool.complete() == [recording_id], where
        kept = spool.read(recording_id)
        frames = max(0, len(audio) - wav.HEADER_SIZE) // 2
        assert (kept.frames, kept.state, kept.account) == (frames, "stopped", "a"), where
        assert np.array_equal(wav.read(root / recording_id / AUDIO)[0][:, 0], sound[:frames]), where
        assert kept.recovered == bool(recovered) == (kept.reason == "crash"), where
        outcomes.add("recovered" if recovered else "complete")
    assert outcomes == {"nothing yet", "recovered", "complete"}
