"""Speech for prompts, by espeak-ng where the extra `tapeline[speech]` is installed; kept on disk by text, language and rate.

espeak-ng is one global machine within its library, so there is one of it in a process and one lock around it. Without it a prompt is
a soft tone as long as the text would take to say: a caller hears that something is said, the log says once what is missing.

Texts may be SSML (anything within `<speak>`); espeak-ng understands its common elements itself. All but one: `<audio src="...">` would
let a text, and with it whoever can put a name into one, play any WAV file of this machine. Its alternative text is said instead.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tapeline.audio import tones, wav
from tapeline.audio.errors import DamagedWave
from tapeline.audio.resample import resample

try:
    import espeakng_loader
except ImportError:
    espeakng_loader = None

__all__ = ["Speech"]

log = logging.getLogger(__name__)

Samples = NDArray[np.int16]

_SYNCHRONOUS = 0x02  # AUDIO_OUTPUT_SYNCHRONOUS of espeak-ng's speak_lib.h: samples go to the callback, within the call
_UTF8, _SSML, _PAUSE = 1, 0x10, 0x1000  # espeakCHARS_UTF8, espeakSSML, espeakENDPAUSE
_POSITION_CHARACTER = 1
_CHARACTERS_PER_S = 15.0
_MOST_CHARACTERS = 20_000
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
_URI_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p)


class _Espeak:
    """The library, opened at first use. Raises OSError where it cannot be."""

    def __init__(self, loader: ModuleType) -> None:
        self._library = ctypes.CDLL(loader.get_library_path())
        data = str(Path(loader.get_data_path()).parent).encode()
        self.rate = self._library.espeak_Initialize(_SYNCHRONOUS, 0, data, 0)
        if self.rate <= 0:
            raise OSError(f"espeak-ng did not start ({self.rate})")
        self._parts: list[Samples] = []
        self._callback = _CALLBACK(self._take)  # kept here: the library only holds a pointer
        self._library.espeak_SetSynthCallback(self._callback)
        self._refuse = _URI_CALLBACK(lambda kind, uri, base: 1)  # 1: do not play it, say the alternative
        self._library.espeak_SetUriCallback(self._refuse)

    def _take(self, samples: Any, count: int, events: Any) -> int:
        if samples and count > 0:
            self._parts.append(np.ctypeslib.as_array(samples, shape=(count,)).astype(np.int16, copy=True))
        return 0

    def say(self, text: str, language: str) -> Samples:
        for voice in _voices(language):
            if self._library.espeak_SetVoiceByName(voice.encode()) == 0:
                break
        data = text.encode("utf-8", "replace")
        flags = _UTF8 | _PAUSE | (_SSML if "<speak" in text else 0)
        self._parts = []
        self._library.espeak_Synth(data, ctypes.c_size_t(len(data) + 1), 0, _POSITION_CHARACTER, 0, flags, None, None)
        self._library.espeak_Synchronize()
        parts, self._parts = self._parts, []
        return np.concatenate(parts) if parts else np.zeros(0, np.int16)


def _voices(language: str) -> list[str]:
    """espeak-ng's names for a BCP 47 tag, best first; English where it knows none."""
    tag = language.strip().lower().replace("_", "-") or "en-us"
    names = {"zh": "cmn", "zh-cn": "cmn", "zh-tw": "cmn", "no": "nb", "en": "en-us"}
    return [names.get(tag, tag), names.get(tag.partition("-")[0], tag.partition("-")[0]), "en-us"]


_lock = threading.Lock()
_espeak: _Espeak | None = None
_warned = False


def _machine() -> _Espeak | None:
    """The one machine of this process, None where there is none. Call it under the lock."""
    global _espeak, _warned
    if _espeak is None and espeakng_loader is not None and not _warned:
        try:
            _espeak = _Espeak(espeakng_loader)
        except (OSError, AttributeError) as error:
            _warned = True
            log.warning("speech is not available, prompts are tones: %s", error)
    elif _espeak is None and not _warned:
        _warned = True
        log.warning("speech is not installed, prompts are tones: pip install 'tapeline[speech]'")
    return _espeak


class Speech:
    """Says texts. `cache` is a folder; what was said once is read from there. Safe to use from several threads."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache

    @property
    def available(self) -> bool:
        with _lock:
            return _machine() is not None

    def say(self, text: str, language: str = "en-US", rate: int = 8000) -> Samples:
        """`text` spoken: int16[n], mono, at `rate`. Texts beyond 20 000 characters are cut. Blocks, tens of milliseconds a sentence."""
        text = text.replace("\0", " ").strip()[:_MOST_CHARACTERS]
        if not text:
            return np.zeros(0, np.int16)
        key = hashlib.sha256(f"{language}\0{rate}\0{text}".encode("utf-8", "replace")).hexdigest()
        path = self._cache / key[:2] / f"{key}.wav"
        try:
            return wav.read(path)[0][:, 0]
        except (OSError, DamagedWave, IndexError):
            pass  # not said before, or a file that is no use any more
        with _lock:
            machine = _machine()
            spoken = machine.say(text, language) if machine is not None else None
        if spoken is None or machine is None:
            return _stand_in(text, rate)
        samples = resample(spoken, machine.rate, rate)
        self._keep(path, lambda new: wav.write(new, samples, rate))
        return samples

    def _keep(self, path: Path, write: Callable[[Path], None]) -> None:
        """Into the cache in one step; a disk that refuses costs only the next synthesis."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=path.parent, suffix=".new")
            os.close(descriptor)
            write(Path(name))
            Path(name).rename(path)
        except OSError as error:
            log.warning("speech is not kept: %s", error)


def _stand_in(text: str, rate: int) -> Samples:
    return tones.tone([350.0, 440.0], max(0.5, len(text) / _CHARACTERS_PER_S), rate, level_db=-24.0)
