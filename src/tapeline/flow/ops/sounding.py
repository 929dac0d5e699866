"""Making the caller hear something: speech, files, tones, the caller's own voice.

Playing ends by itself or by a key of `stop_keys`; the key stays among the digits for whoever asks for them next. What cannot be
played is passed over: no flow ends because of a missing file. Results: `interrupted`, `failed`, else the default.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from tapeline.flow import commands
from tapeline.flow.events import Digit, PlayEnded, Unsupported
from tapeline.flow.ops.answering import be_answered
from tapeline.flow.ops.waiting import MAX_SLEEP_S, pause
from tapeline.flow.program import DEFAULT, Context, Op, Performance

__all__ = ["ALL_KEYS", "Echo", "Play", "Say", "Tone"]

ALL_KEYS = "0123456789*#ABCD"


def _play_out(context: Context, command: Callable[[int], commands.Command], stop_keys: str, loops: int) -> Performance:
    """Play `loops` times (0: for ever), until a stop key."""
    done = 0
    while loops == 0 or done < loops:
        token = context.token()
        context.issue(command(token))
        while True:
            event = yield None
            if isinstance(event, Digit) and event.digit in stop_keys:
                context.issue(commands.StopPlay(token))
                return "interrupted"
            if isinstance(event, PlayEnded | Unsupported) and event.token == token:
                break
        if isinstance(event, Unsupported):
            return DEFAULT
        if isinstance(event, PlayEnded) and event.error:
            context.log("warning", "could not be played", error=event.error)
            return "failed"
        done += 1
    return DEFAULT


@dataclass(frozen=True, slots=True)
class Say(Op):
    """Speak. `wait` False: the next step runs while it speaks."""

    kind: ClassVar[str] = "say"

    text: str
    language: str = "en-US"
    voice: str = ""
    answers: bool = True
    wait: bool = True
    stop_keys: str = ""
    loops: int = 1
    level: float = 0.0

    def __post_init__(self) -> None:
        if self.loops < 0:
            raise ValueError("loops must not be negative")

    def perform(self, context: Context) -> Performance:
        text = context.text(self.text)
        language, voice = context.text(self.language) or "en-US", context.text(self.voice)
        if self.answers:
            yield from be_answered(context)
        if not text.strip():
            context.log("warning", "nothing to say")
            return DEFAULT
        if not self.wait:
            context.issue(commands.Say(context.token(), text, language, voice, self.level))
            return DEFAULT
        say = partial(commands.Say, text=text, language=language, voice=voice, level=self.level)
        return (yield from _play_out(context, say, self.stop_keys, self.loops))


@dataclass(frozen=True, slots=True)
class Play(Op):
    """Play files, one after the other."""

    kind: ClassVar[str] = "play"

    urls: tuple[str, ...]
    answers: bool = False
    wait: bool = True
    stop_keys: str = ""
    loops: int = 1
    level: float = 0.0

    def __post_init__(self) -> None:
        if self.loops < 0:
            raise ValueError("loops must not be negative")

    def perform(self, context: Context) -> Performance:
        urls = tuple(filter(None, (context.text(url).strip() for url in self.urls)))
        if self.answers:
            yield from be_answered(context)
        if not urls:
            context.log("warning", "nothing to play")
            return DEFAULT
        if not self.wait:
            context.issue(commands.Play(context.token(), urls, self.level))
            return DEFAULT
        return (yield from _play_out(context, lambda token: commands.Play(token, urls, self.level), self.stop_keys, self.loops))


@dataclass(frozen=True, slots=True)
class Tone(Op):
    kind: ClassVar[str] = "tone"

    tone: str = "beep"
    answers: bool = False

    def perform(self, context: Context) -> Performance:
        if self.answers:
            yield from be_answered(context)
        return (yield from _play_out(context, lambda token: commands.Tone(token, self.tone), "", 1))


@dataclass(frozen=True, slots=True)
class Echo(Op):
    """Let the caller hear itself."""

    kind: ClassVar[str] = "echo"

    seconds: float = 180.0

    def __post_init__(self) -> None:
        if not 0 < self.seconds <= MAX_SLEEP_S:
            raise ValueError("seconds must be above 0 and at most 86400")

    def perform(self, context: Context) -> Performance:
        context.issue(commands.Echo(True))
        yield from pause(context, self.seconds)
        context.issue(commands.Echo(False))
        return DEFAULT
