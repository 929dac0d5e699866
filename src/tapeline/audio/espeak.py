"""The process that speaks: espeak-ng behind a pipe. Run as a script, by `speech`, with the library's path and its data's.

espeak-ng is one global machine within its library, knows one thread, and can be brought down by what it is given to say (an
`<audio>` element without a handler is enough). Texts come from flow documents and so from anybody. A recorder must not die of a
prompt, hence this lives in a process of its own, with bounded memory, that can be killed and started again at any time.

    hello     parent <- 4 bytes: the rate, little endian; 0 where the library does not start
    request   parent -> one line of JSON: {"text": ..., "voices": [best first], "ssml": bool}
    answer    parent <- 4 bytes: length; so many bytes of 16-bit samples, little endian

It ends when its input does. It imports the standard library alone, so that it starts within some ten milliseconds.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import sys
from typing import Any

__all__ = ["Machine", "main"]

MOST_SECONDS = 600
MEMORY_BYTES = 1 << 30

_SYNCHRONOUS = 0x02  # AUDIO_OUTPUT_SYNCHRONOUS of espeak-ng's speak_lib.h: samples go to the callback, within the call
_DONT_EXIT = 0x8000  # espeakINITIALIZE_DONT_EXIT
_UTF8, _SSML, _END_PAUSE = 0x01, 0x10, 0x1000
_BY_CHARACTER = 1
_OK = 0
_ON_SAMPLES = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
_ON_URI = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p)


class Machine:
    """The library, opened. `rate` is that of its samples; 0 or less where it did not start."""

    def __init__(self, library: str, data: str) -> None:
        self._library = ctypes.CDLL(library)
        # It looks for a folder "espeak-ng-data" in the path that it is given.
        self.rate: int = self._library.espeak_Initialize(_SYNCHRONOUS, 0, os.path.dirname(data).encode(), _DONT_EXIT)
        self._said = bytearray()
        self._on_samples = _ON_SAMPLES(self._take)  # kept here: the library only holds pointers
        self._on_uri = _ON_URI(lambda kind, uri, base: 1)  # 1: do not play what <audio> names
        if self.rate > 0:
            self._library.espeak_SetSynthCallback(self._on_samples)
            self._library.espeak_SetUriCallback(self._on_uri)

    def say(self, text: str, voices: list[str], ssml: bool) -> bytes:
        """`text` by the first of `voices` that there is, as 16-bit samples; at most ten minutes."""
        for voice in voices:
            if self._library.espeak_SetVoiceByName(voice.encode()) == _OK:
                break
        data = text.encode("utf-8", "replace")
        flags = _UTF8 | _END_PAUSE | (_SSML if ssml else 0)
        self._said.clear()
        self._library.espeak_Synth(data, ctypes.c_size_t(len(data) + 1), 0, _BY_CHARACTER, 0, flags, None, None)
        self._library.espeak_Synchronize()
        return bytes(self._said)

    def _take(self, samples: Any, count: int, events: Any) -> int:
        if samples and count > 0:
            self._said += ctypes.string_at(samples, count * 2)
        return int(len(self._said) >= MOST_SECONDS * self.rate * 2)  # 1: stop


def main(library: str, data: str) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        machine = Machine(library, data)
        rate = max(0, machine.rate)
    except (OSError, AttributeError):  # no such library, or one of another make
        rate = 0
    out = sys.stdout.buffer
    out.write(rate.to_bytes(4, "little"))
    out.flush()
    for line in sys.stdin.buffer if rate else ():
        asked = json.loads(line)
        said = machine.say(asked["text"], asked["voices"], asked["ssml"])
        out.write(len(said).to_bytes(4, "little") + said)
        out.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
