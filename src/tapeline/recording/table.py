"""The states of a recording and the moves between them, as a table.

    starting --captured--> recording --stop--> stopping --tap_ended--> stopped, then `available` or `failed` by the worker

States only ever move forward. What is not in the table is refused (commands) or means nothing (late news). `paused` is no
state: a masked recording is recording. This module knows nothing of audio, time or files.
"""

from __future__ import annotations

from typing import Final, Literal

__all__ = ["ORDER", "TRANSITIONS", "Input", "State", "order"]

State = Literal["starting", "recording", "stopping", "available", "failed"]
Input = Literal["captured", "stop", "tap_ended"]

ORDER: Final[dict[str, int]] = {"starting": 0, "recording": 1, "stopping": 2, "available": 3, "failed": 3}

# (state, input) -> (next state, what is to be done). An input that is not here for a state is late news: nothing happens.
TRANSITIONS: Final[dict[tuple[State, Input], tuple[State, str]]] = {
    ("starting", "captured"): ("recording", "begin"),
    ("starting", "stop"): ("stopping", "wait"),  # the tap is still being opened; it is stopped as soon as it is open
    ("starting", "tap_ended"): ("stopping", "finish"),  # it could not be opened
    ("recording", "stop"): ("stopping", "stop_tap"),
    ("recording", "tap_ended"): ("stopping", "finish"),  # the disk or the engine ended it
    ("stopping", "captured"): ("stopping", "stop_tap"),
    ("stopping", "tap_ended"): ("stopping", "finish"),
}


def order(state: str) -> int:
    """How far on a state is; equal for the two final ones."""
    return ORDER[state]
