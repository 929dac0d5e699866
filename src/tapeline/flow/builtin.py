"""The flow that answers every number where none is set up: announces the recording, records a message, plays it back.

It is an ordinary VoIPBIN document, with two extensions that any document may use: `wait` on `recording_start` holds the flow until
that recording ends, and a `play` url `recording:<id>` plays a recording of the same call that has just ended.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from tapeline.flow.compiler import compile
from tapeline.flow.program import Program

__all__ = ["DOCUMENT", "builtin_flow"]

DOCUMENT: Final[dict[str, Any]] = {
    "name": "Built-in: leave a message and hear it",
    "actions": [
        {"type": "answer"},
        {"type": "sleep", "option": {"duration": 500}},
        {
            "type": "talk",
            "option": {
                "text": "Hello. This is tapeline. Your message will be recorded. "
                "Please speak after the beep, and press the pound key when you are done.",
            },
        },
        {
            "type": "recording_start",
            "option": {"beep_start": True, "end_of_key": "#", "end_of_silence": 5, "duration": 120, "wait": True},
        },
        {"type": "talk", "option": {"text": "Thank you. This is what was recorded."}},
        {"type": "play", "option": {"stream_urls": ["recording:${voipbin.recording.id}"]}},
        {"type": "talk", "option": {"text": "Goodbye."}},
        {"type": "hangup"},
    ],
}


@cache
def builtin_flow() -> Program:
    """The compiled program."""
    program = compile(DOCUMENT).program
    assert program is not None
    return program
