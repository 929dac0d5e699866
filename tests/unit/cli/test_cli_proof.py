"""What was said is found in what was heard, and only that."""

import numpy as np
import pytest
from numpy.typing import NDArray

from tapeline.cli.proof import likeness

RATE = 8000


def babble(seed: int, seconds: float) -> NDArray[np.int16]:
    """Noise whose loudness changes from syllable to syllable, as that of speech does."""
    source = np.random.default_rng(seed)
    syllables = np.repeat(source.choice([0.0, 0.1, 0.4, 1.0], size=round(seconds / 0.12)), round(RATE * 0.12))
    return (source.normal(size=len(syllables)) * syllables * 5000).clip(-32000, 32000).astype(np.int16)


def test_what_was_said_is_found_where_it_was_said() -> None:
    said = babble(1, 3.0)
    heard = np.concatenate([babble(2, 1.2), said // 2, babble(3, 2.0)])
    score, at = likeness(said, heard, RATE)
    assert score > 0.98
    assert at == pytest.approx(1.2, abs=0.03)


def test_another_sentence_is_not_taken_for_it() -> None:
    score, _ = likeness(babble(1, 3.0), babble(4, 8.0), RATE)
    assert score < 0.7


def test_silence_proves_nothing() -> None:
    quiet = np.zeros(RATE, dtype=np.int16)
    assert likeness(quiet, babble(1, 2.0), RATE) == (0.0, 0.0)
    assert likeness(babble(1, 2.0), quiet, RATE)[0] == 0.0


def test_a_recording_that_lacks_half_is_not_like_it() -> None:
    said = babble(1, 4.0)
    score, _ = likeness(said, said[: len(said) // 2], RATE)
    assert score < 0.85
