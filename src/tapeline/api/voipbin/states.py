"""The names of a recording's states: those that the platform's guide has, or those that its code has.

The code has no name for a recording that failed: it ended, and its file is never found.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

from tapeline.api.voipbin import shapes
from tapeline.calls.views import RecordingView

__all__ = ["STATES_OF", "RecordingShaper", "recording_shaper"]

RecordingShaper = Callable[[RecordingView], dict[str, Any]]

# What the code's names mean.
STATES_OF: Final[Mapping[str, tuple[str, ...]]] = {"initiating": ("starting",), "ended": ("available", "failed")}
_NAMES: Final = {state: name for name, states in STATES_OF.items() for state in states}


def recording_shaper(names: Literal["guide", "code"]) -> RecordingShaper:
    """What makes the platform's Recording, with these names."""
    if names == "guide":
        return shapes.recording
    return lambda view: shapes.recording(view) | {"status": _NAMES.get(view.state, view.state)}
