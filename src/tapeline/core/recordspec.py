"""What is to be recorded, whoever asks for it: a flow, an API, a setting or a key press.

Dialects differ in defaults and names only; what they fill in is this. See docs/architecture.md, "The recording".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["RATES", "Begin", "Delivery", "Format", "Heard", "MaskMode", "RecordSpec", "SilenceRule"]

RATES = (8000, 16000, 24000, 32000, 48000)  # that a recording may ask for

Begin = Literal["now", "media", "answer", "bridge"]  # media: early ones, or the answer
Heard = Literal["both", "caller", "callee", "mix", "participants"]
Format = Literal["wav", "mp3", "ogg"]
MaskMode = Literal["silence", "tone", "cut"]


@dataclass(frozen=True, slots=True)
class SilenceRule:
    """End when nobody speaks. `threshold` is mean absolute 16-bit sample level; the seconds are 0 where a rule is off."""

    threshold: int = 200
    initial_s: float = 0.0  # nothing was said since the start
    final_s: float = 0.0  # something was said, and then nothing


@dataclass(frozen=True, slots=True)
class Delivery:
    """Where a finished file is sent, besides the store. `naming`: `url` is the file's own address, or KAZOO's base for it, to which the
    file's name is added."""

    url: str
    method: Literal["PUT", "POST"] = "PUT"
    headers: Mapping[str, str] = field(default_factory=dict)
    naming: Literal["as_is", "kazoo"] = "as_is"


@dataclass(frozen=True, slots=True)
class RecordSpec:
    """One recording's whole specification. Times in seconds, rate in hertz."""

    heard: Heard = "both"
    channels: int = 1  # 2 with `both`: left the recorded leg's own voice, right what it hears; any number with `participants`
    format: Format = "wav"
    format_named: bool = True  # else the setting `recording.default_format` stands in its place
    rate: int = 8000  # 0: the leg's own
    begin: Begin = "now"
    max_s: float = 86400.0
    min_s: float = 0.0
    silence: SilenceRule | None = None
    end_keys: frozenset[str] = frozenset()
    beep: bool = False
    follow_transfer: bool = True  # where the recorded leg leaves the talk by a transfer: go on with who takes its place, else end
    exclusive: bool = True  # only one such recording at a time for each call
    blocking: bool = False  # a flow waits for its end
    deliver: tuple[Delivery, ...] = ()
    on_end_flow_id: str = ""
    label: str = ""
    origin: str = "api"  # what asked: "api", "flow", "setting", "key", ...
    custom: Mapping[str, str] = field(default_factory=dict)
