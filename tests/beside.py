"""What lies beside the project and not in it: standard vectors, vendors' samples, and the pages that its checklists come from.

A checkout alone has none of it; the tests that need it then skip.
"""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).parents[2] / "shared"
VECTORS = SHARED / "vectors"


def page(path: str) -> str:
    """The text of a page below SHARED. Skips the test that asks, where it is not there."""
    whole = SHARED / path
    if not whole.is_file():
        pytest.skip(f"{whole} is not here")
    return whole.read_text("utf-8")
