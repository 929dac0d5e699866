"""What a call hears from us: speech, files, tones. Makes samples; who plays them, and where, is not known here.

Everything slow (speech synthesis, decoding, reading) happens in threads; results for a text or file are kept by
`tapeline.audio.speech` on disk, not here.

`play` takes these addresses:

    https://host/prompt.wav     fetched through the guarded client, any format that soundfile reads
    file:NAME or NAME           a file below <data>/prompts
    recording:ID                what a recording of the same call holds, once it has ended
    tone:FREQ[,FREQ]/MS         a tone, such as tone:440/500
    silence:MS
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import TypeVar

import numpy as np
import structlog
from numpy.typing import NDArray

from tapeline.audio import files, tones
from tapeline.audio.speech import Speech
from tapeline.calls.ports import HttpClient
from tapeline.core.errors import InvalidInput, NotFound, TapelineError
from tapeline.recording.spool import Spool

__all__ = ["MAX_PROMPT_BYTES", "Prompts"]

log = structlog.get_logger(__name__)

Samples = NDArray[np.int16]
T = TypeVar("T")

MAX_PROMPT_BYTES = 50_000_000
LONGEST_MUSIC_S = 600.0
LONGEST_TONE_MS = 60_000
_TONE = re.compile(r"tone:(\d{2,5}(?:,\d{2,5}){0,3})/(\d{1,5})")
_SILENCE = re.compile(r"silence:(\d{1,5})")


class Prompts:
    """Turns what a flow says or plays into samples: int16[n], mono, at the rate asked for."""

    def __init__(
        self,
        folder: Path,
        speech: Speech,
        spool: Spool,
        stored: Callable[[str], Awaitable[bytes]],
        http: HttpClient,
        pool: Executor,
        music: Path | None = None,
    ) -> None:
        """`stored(recording id)` gives the audio of a recording that is in the store already; raises NotFound. `music` is the file that
        who waits on hold hears; None: a pattern of tones."""
        self._folder = folder
        self._speech = speech
        self._spool = spool
        self._stored = stored
        self._http = http
        self._pool = pool
        self._music_file = music
        self._music: dict[int, Samples] = {}  # by rate

    async def _thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    async def say(self, text: str, language: str, rate: int) -> Samples:
        return await self._thread(lambda: self._speech.say(text, language=language, rate=rate))

    def beep(self, rate: int) -> Samples:
        return tones.beep(rate)

    def ringback(self, rate: int) -> Samples:
        return tones.ringback(rate)

    def silence(self, rate: int) -> Samples:
        """A second of it."""
        return tones.silence(1.0, rate)

    async def music(self, rate: int) -> Samples:
        """Music on hold, to be played in a loop. A file that cannot be read gives way to the tones."""
        if rate not in self._music:
            path = self._music_file
            if path is None:
                self._music[rate] = await self._thread(lambda: tones.music(rate))
            else:
                try:
                    self._music[rate] = await self._thread(lambda: files.load(path, rate, max_seconds=LONGEST_MUSIC_S))
                except TapelineError as error:
                    log.error("the music on hold cannot be played; tones are played instead", error=str(error))
                    self._music_file = None
                    return await self.music(rate)
        return self._music[rate]

    async def load(self, address: str, rate: int) -> Samples:
        """The samples at `address`. Raises NotFound, InvalidInput or UnreadableAudio, each with the address in its message."""
        if match := _TONE.fullmatch(address):
            pitches = [float(pitch) for pitch in match[1].split(",")]
            return tones.tone(pitches, min(int(match[2]), LONGEST_TONE_MS) / 1000, rate)
        if match := _SILENCE.fullmatch(address):
            return np.zeros(min(int(match[1]), LONGEST_TONE_MS) * rate // 1000, dtype=np.int16)
        if address.startswith(("http://", "https://")):
            response = await self._http.request("GET", address, timeout_s=15.0, max_bytes=MAX_PROMPT_BYTES)
            if response.status != 200:
                raise NotFound(f"{address} answered {response.status}")
            body = response.body
            return await self._thread(lambda: files.load(body, rate))
        if address.startswith("recording:"):
            return await self._recording(address.removeprefix("recording:"), rate)
        return await self._local(address.removeprefix("file:"), rate)

    async def _recording(self, recording_id: str, rate: int) -> Samples:
        path = self._spool.path(recording_id) / "audio.wav"
        try:
            body = await self._thread(path.read_bytes)
        except OSError:  # finished and released from the spool, perhaps a moment ago
            body = await self._stored(recording_id)
        return await self._thread(lambda: files.load(body, rate))

    async def _local(self, name: str, rate: int) -> Samples:
        folder = self._folder.resolve()
        path = (folder / name.lstrip("/")).resolve()
        if not path.is_relative_to(folder):
            raise InvalidInput(f"prompt {name!r} lies outside {folder}", hint="put prompts below <data>/prompts")
        if not await self._thread(path.is_file):
            raise NotFound(f"there is no prompt {name!r} in {folder}")
        return await self._thread(lambda: files.load(path, rate))
