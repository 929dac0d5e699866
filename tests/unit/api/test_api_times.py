"""Times and page tokens in the platform's forms."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapeline.api.times import page_token, read_page_token, rfc3339
from tapeline.core.errors import InvalidInput


@pytest.mark.parametrize(
    ("wall", "text"),
    [
        (1768469402.1, "2026-01-15T09:30:02.1Z"),
        (1768469402.0, "2026-01-15T09:30:02Z"),
        (1768469400, "2026-01-15T09:30:00Z"),
        (1768469467.52, "2026-01-15T09:31:07.52Z"),
        (1768469467.000001, "2026-01-15T09:31:07.000001Z"),
    ],
)
def test_trailing_zeros_are_dropped(wall: float, text: str) -> None:
    assert rfc3339(wall) == text


@pytest.mark.parametrize(
    ("text", "wall"),
    [
        ("2026-01-15T09:30:02.100000Z", 1768469402.1),
        ("2026-01-15 09:30:02.100000", 1768469402.1),
        ("2026-01-15T09:30:02Z", 1768469402.0),
        ("2026-01-15 09:30:02.5", 1768469402.5),
        ("2026-01-15T09:30:02.123456789Z", 1768469402.123456),
        ("2026-01-15T18:30:02+09:00", 1768469402.0),
        ("9999-01-01 00:00:00.000000", 253370764800.0),
    ],
)
def test_both_forms_of_a_token_are_read(text: str, wall: float) -> None:
    assert read_page_token(text) == wall


@pytest.mark.parametrize(
    "text",
    ["", "now", "2026-01-15", "2026-13-15T09:30:02Z", "2026-01-15T09:30:60Z", "\uff12026-01-15T09:30:02Z", "\n2026-01-15 09:30:02"],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_page_token(text)
    assert caught.value.reason == "INVALID_REQUEST_PARAMETER"


@given(st.floats(min_value=0, max_value=4e9))
def test_a_token_never_lets_its_own_item_come_again(created: float) -> None:
    before = read_page_token(page_token(created))
    assert not created < before
    assert created - before < 2e-6
