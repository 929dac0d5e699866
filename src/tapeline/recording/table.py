"""The states of a recording and the moves between them, as tables. Nothing here knows audio, time or files.

What the world sees is a `State`: `starting -> recording -> stopping -> available` or `failed`. While audio is captured the
recording is in a finer `Phase`, and each phase shows as one state. `TRANSITIONS` says for each phase and input where it leads and
what is to be done. A cell that is not there is late news where a fact is told (nothing happens), and `InvalidState` where a
command is given. The last two states are the worker's, which finishes what was captured: `AFTER_CAPTURE`.

States only ever move forward (`order`). `paused` is no state: a masked recording is recording.
"""

from __future__ import annotations

from typing import Final, Literal

__all__ = ["AFTER_CAPTURE", "COMMANDS", "INPUTS", "ORDER", "PHASES", "TRANSITIONS", "Deed", "Input", "Phase", "State", "order", "picture"]

State = Literal["starting", "recording", "stopping", "available", "failed"]
Phase = Literal["waiting", "opening", "capturing", "aborting", "closing", "captured"]
Input = Literal["begin", "opened", "mask", "unmask", "stop", "tap_ended"]
Deed = Literal["open_tap", "start", "stop_tap", "mask", "keep_mask", "finish", "cancel", "wait"]

ORDER: Final[dict[str, int]] = {"starting": 0, "recording": 1, "stopping": 2, "available": 3, "failed": 3}

PHASES: Final[dict[Phase, State]] = {
    "waiting": "starting",  # for the answer or the bridge: `RecordSpec.begin`
    "opening": "starting",  # the file is being made and the tap opened
    "capturing": "recording",
    "aborting": "stopping",  # stopped before the tap was open; it is closed as soon as it is
    "closing": "stopping",  # the tap writes what it has
    "captured": "stopping",  # the file is complete
}

INPUTS: Final[tuple[Input, ...]] = ("begin", "opened", "mask", "unmask", "stop", "tap_ended")
COMMANDS: Final[frozenset[Input]] = frozenset({"mask", "unmask"})  # refused with InvalidState where the table has no cell

TRANSITIONS: Final[dict[tuple[Phase, Input], tuple[Phase, Deed]]] = {
    ("waiting", "begin"): ("opening", "open_tap"),
    ("waiting", "mask"): ("waiting", "keep_mask"),
    ("waiting", "unmask"): ("waiting", "keep_mask"),
    ("waiting", "stop"): ("captured", "cancel"),
    ("opening", "opened"): ("capturing", "start"),
    ("opening", "mask"): ("opening", "keep_mask"),  # put on the tap once there is one
    ("opening", "unmask"): ("opening", "keep_mask"),
    ("opening", "stop"): ("aborting", "wait"),
    ("opening", "tap_ended"): ("captured", "finish"),  # it could not be opened
    ("capturing", "mask"): ("capturing", "mask"),
    ("capturing", "unmask"): ("capturing", "mask"),
    ("capturing", "stop"): ("closing", "stop_tap"),
    ("capturing", "tap_ended"): ("captured", "finish"),  # the disk or the engine ended it
    ("aborting", "opened"): ("closing", "stop_tap"),
    ("aborting", "tap_ended"): ("captured", "finish"),
    ("closing", "tap_ended"): ("captured", "finish"),
}

# What becomes of a captured recording, by the worker that finishes it.
AFTER_CAPTURE: Final[tuple[State, ...]] = ("available", "failed")


def order(state: str) -> int:
    """How far on a state is; equal for the two final ones."""
    return ORDER[state]


def picture() -> str:
    """The tables as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", "    [*] --> waiting: begins on answer or bridge", "    [*] --> opening: begins now"]
    lines += [f"    {phase} --> {after}: {what}" for (phase, what), (after, _) in TRANSITIONS.items()]
    lines += [f"    captured --> {state}" for state in AFTER_CAPTURE]
    for state in dict.fromkeys(PHASES.values()):
        lines += [f"    state {state} {{", *(f"        {phase}" for phase, shown in PHASES.items() if shown == state), "    }"]
    return "\n".join([*lines, *(f"    {state} --> [*]" for state in AFTER_CAPTURE)])
