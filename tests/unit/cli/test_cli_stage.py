"""What the demo shows where there is no terminal: a line for each change."""

from pathlib import Path

import numpy as np
import pytest

from tapeline.audio import wav
from tapeline.cli.stage import Ears, Stage

RATE = 8000


def grow(path: Path, left: int, right: int, seconds: float) -> None:
    samples = np.empty((round(RATE * seconds), 2), dtype="<i2")
    samples[:, 0], samples[:, 1] = left, right
    with path.open("ab") as file:
        file.write(samples.tobytes())


def test_ears_follow_a_growing_file(tmp_path: Path) -> None:
    path = tmp_path / "heard.wav"
    path.write_bytes(wav.header(RATE, 2, None))
    ears = Ears(path, RATE, 2)
    ears.listen()
    assert ears.windows == []
    grow(path, 16384, 0, 0.12)  # two whole windows and a part, which waits for the rest
    ears.listen()
    assert ears.windows == [(0.5, 0.0)] * 2
    grow(path, 0, -32768, 0.08)
    ears.listen()
    assert ears.windows == [(0.5, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0)]


def test_changes_are_told_once_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "heard.wav"
    path.write_bytes(wav.header(RATE, 2, None))
    grow(path, 8000, 0, 2.0)
    grow(path, 0, 0, 1.0)
    grow(path, 0, 8000, 2.0)
    with Stage(("tapeline", "caller"), began=100.0) as stage:
        stage.tell("call", "ringing", 100.5)
        stage.tell("call", "ringing", 100.6)
        stage.tell("call", "talking", 101.0)
        stage.follow(Ears(path, RATE, 2), 101.0, 102.0, to_end=True)
        stage.redraw(102.0)
    assert capsys.readouterr().out.splitlines() == [
        "   0.5 s  call: ringing",
        "   1.0 s  call: talking",
        "   1.0 s  tapeline speaks",
        "   3.0 s  tapeline is silent",
        "   4.0 s  caller speaks",
        "   6.0 s  caller is silent",
    ]


def test_levels_are_shown_when_they_are_due(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "heard.wav"
    path.write_bytes(wav.header(RATE, 2, None))
    grow(path, 0, 0, 1.0)
    grow(path, 8000, 0, 1.0)
    ears = Ears(path, RATE, 2)
    with Stage(("tapeline", "caller"), began=0.0) as stage:
        stage.follow(ears, 0.0, 2.0)
        assert capsys.readouterr().out == ""
        stage.follow(ears, 0.0, 3.0)
        assert capsys.readouterr().out == "   1.0 s  tapeline speaks\n"
