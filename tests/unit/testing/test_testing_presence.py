"""A tone is found among others, with its place, and not in what merely resembles it."""

from __future__ import annotations

import numpy as np
import pytest

from tapeline.testing import Heard, Plan, quiet, tone
from tapeline.testing.presence import sounding, stretches

ONE, OTHER = 517.0, 917.0


def mixed(*channels: tuple[object, ...]) -> Heard:
    plan = Plan.of(*channels)  # type: ignore[arg-type]
    return Heard(plan.render().sum(axis=1, keepdims=True) / 32768.0, 8000)


def test_each_of_two_tones_is_found_where_it_sounds() -> None:
    heard = mixed((tone(ONE, 3.0),), (quiet(1.0), tone(OTHER, 1.0), quiet(1.0)))
    assert stretches(heard, ONE) == [(0.0, pytest.approx(3.0))]
    assert stretches(heard, OTHER) == [(pytest.approx(1.0), pytest.approx(2.0))]
    assert sounding(heard, 1517.0) == 0


def test_another_level_and_a_click_are_not_the_tone() -> None:
    assert sounding(mixed((tone(ONE, 1.0, level_db=-20.0),)), ONE) == 0
    assert sounding(mixed((tone(ONE, 0.04), quiet(1.0))), ONE) == 0
    noise = np.random.default_rng(1).normal(0, 0.05, (16000, 1))
    assert sounding(Heard(noise, 8000), ONE) == 0
