"""Call flows: documents of several dialects are compiled to one program model, and one interpreter runs it, without I/O.

    found = flow.compile(text)                     # every problem with line and column; found.program is None where one is an error
    run = flow.Run(found.program, flow.Variables(), compile=flow.compile, wall=clock.wall)
    commands = run.start(now)                      # carry out, then run.handle(event, now); run.tick(now) at run.next_deadline()

This package sees no socket, file, clock or row. Commands and events are exported here under their own names.
"""

from __future__ import annotations

from tapeline.flow.builtin import builtin_flow
from tapeline.flow.commands import (
    Answer,
    Ask,
    Command,
    Complain,
    Dial,
    Echo,
    Fetch,
    Hangup,
    JoinRoom,
    Linger,
    LoadFlow,
    Log,
    Park,
    Party,
    PlaceCall,
    Play,
    ReportDigits,
    Ring,
    Say,
    Send,
    SendDigits,
    StartRecording,
    StopPlay,
    StopRecording,
    Tone,
)
from tapeline.flow.compiler import compile
from tapeline.flow.diagnostics import Diagnostic, Place, Problems
from tapeline.flow.dialects.kazoo_recording import recording_spec
from tapeline.flow.errors import DialectUnknown, FlowError, RunMisused
from tapeline.flow.events import (
    Answered,
    Asked,
    CallStatus,
    DialEnded,
    DialRoom,
    Digit,
    DigitsSent,
    Event,
    Fetched,
    FlowLoaded,
    HungUp,
    Parted,
    PlayEnded,
    RecordingEnded,
    RecordingRefused,
    RecordingStarted,
    Replaced,
    RoomLeft,
    RoomPrelude,
    Unparked,
    Unsupported,
)
from tapeline.flow.interpreter import Limits, Run
from tapeline.flow.mermaid import mermaid
from tapeline.flow.metaflows import Action, Collector, Metaflows, action, metaflows
from tapeline.flow.metaflows import Found as MetaflowFound
from tapeline.flow.program import DEFAULT, END, Compilation, Op, Program, Step
from tapeline.flow.variables import DIGITS, Variables

__all__ = [
    "Action",
    "Answer",
    "Answered",
    "Ask",
    "Asked",
    "CallStatus",
    "Collector",
    "Command",
    "Compilation",
    "Complain",
    "DEFAULT",
    "DIGITS",
    "Diagnostic",
    "Dial",
    "DialEnded",
    "DialRoom",
    "DialectUnknown",
    "Digit",
    "DigitsSent",
    "END",
    "Echo",
    "Event",
    "Fetch",
    "Fetched",
    "FlowError",
    "FlowLoaded",
    "Hangup",
    "HungUp",
    "JoinRoom",
    "Limits",
    "Linger",
    "LoadFlow",
    "Log",
    "MetaflowFound",
    "Metaflows",
    "Op",
    "Parted",
    "Park",
    "Party",
    "Place",
    "PlaceCall",
    "Play",
    "PlayEnded",
    "Problems",
    "Program",
    "RecordingEnded",
    "RecordingRefused",
    "RecordingStarted",
    "Replaced",
    "ReportDigits",
    "Ring",
    "RoomLeft",
    "RoomPrelude",
    "Run",
    "RunMisused",
    "Say",
    "Send",
    "SendDigits",
    "StartRecording",
    "Step",
    "StopPlay",
    "StopRecording",
    "Tone",
    "Unparked",
    "Unsupported",
    "Variables",
    "action",
    "builtin_flow",
    "compile",
    "mermaid",
    "metaflows",
    "recording_spec",
]
