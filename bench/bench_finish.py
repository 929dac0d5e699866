"""How fast a recording is finished, in multiples of real time of CPU: rendition, measures and checksum, as the worker makes them.

Beside it stands the encoder alone: LAME (or libsndfile's Opus) fed the same samples from memory, with the same settings, in blocks of
the size that suits it best; for WAV, a plain copy of the file. Both are run in turns, several times, and the best of each counts, for
a busy machine only ever makes a run slower. The goal for MP3 is 90 % of LAME. Run: python bench/bench_finish.py [--seconds N]
[--rounds N] [--json]
"""

from __future__ import annotations

import io
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

import figures
from tapeline.audio import wav
from tapeline.audio.measure import measure, sha256_file
from tapeline.audio.mp3 import new_encoder
from tapeline.audio.render import Format, render

GOAL = 0.9  # of LAME alone
BLOCK = 1 << 16  # LAME is fastest between 2**12 and 2**18 samples at a time, and a tenth slower when given all at once

Samples = NDArray[np.int16]


@dataclass(frozen=True)
class Case:
    format: Format
    channels: int
    rate: int

    @property
    def name(self) -> str:
        return f"{self.format}, {self.channels} channel{'s' * (self.channels > 1)}, {self.rate // 1000} kHz"


CASES = (
    Case("mp3", 1, 8000),
    Case("mp3", 2, 8000),
    Case("mp3", 2, 16000),
    Case("ogg", 1, 8000),
    Case("ogg", 2, 8000),
    Case("wav", 2, 8000),
)


def conversation(seconds: int, channels: int, rate: int) -> Samples:
    """Syllables of coloured noise with pauses, the parties in turns of three seconds: encoders spend as much on it as on speech."""
    random = np.random.default_rng(2)
    frames = np.arange(seconds * rate)
    loud = np.repeat(random.random(len(frames) // (rate // 5) + 1), rate // 5)[: len(frames)] ** 2
    voice = np.convolve(random.standard_normal(len(frames)), np.ones(6) / 6, "same") * loud * 9000
    turn = frames // (rate * 3) % 2
    columns = [voice * (turn == channel % 2) if channels > 1 else voice * (frames // rate % 4 != 0) for channel in range(channels)]
    samples: Samples = np.clip(np.stack(columns, axis=1), -32768, 32767).astype(np.int16)
    return samples


def finish(case: Case, master: Path, out: Path) -> None:
    """What the worker does, `delivery.finish`."""
    render(master, out, format=case.format, channels=1 if case.format == "wav" else 0)  # a WAV as the master is one is not rendered
    measure(master)
    sha256_file(out)


def alone(case: Case, samples: Samples, master: Path, out: Path) -> None:
    """The encoder, and nothing around it."""
    if case.format == "wav":
        shutil.copyfile(master, out)
    elif case.format == "mp3":
        encoder = new_encoder(case.rate, case.channels)
        for start in range(0, len(samples), BLOCK):
            encoder.encode(samples[start : start + BLOCK].tobytes())
        encoder.flush()
    else:
        soundfile.write(io.BytesIO(), samples, case.rate, format="OGG", subtype="OPUS")


def spent(work: Callable[[], None]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def row(case: Case, seconds: int, rounds: int, folder: Path) -> dict[str, object]:
    seconds = max(1, seconds // 10) if case.format == "ogg" else seconds  # Opus costs ten times as much
    samples = conversation(seconds, case.channels, case.rate)
    master, out = folder / "master.wav", folder / f"out.{case.format}"
    wav.write(master, samples, case.rate)
    ours, theirs = [], []
    for _ in range(rounds):
        theirs.append(spent(lambda: alone(case, samples, master, out)))
        ours.append(spent(lambda: finish(case, master, out)))
    value, beside = seconds / min(ours), seconds / min(theirs)
    goal = round(beside * GOAL) if case.format == "mp3" else None
    return {"case": case.name, "value": round(value), "unit": "x real time", "beside": round(beside), "goal": goal}


def main() -> None:
    parser = figures.parser(__doc__)
    parser.add_argument("--seconds", type=int, default=900, help="of audio; a tenth of it for Ogg/Opus")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = [row(case, options.seconds, options.rounds, Path(folder)) for case in CASES]
    figures.report(rows, options.json)


if __name__ == "__main__":
    main()
