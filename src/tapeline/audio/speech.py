"""Speech for prompts, by espeak-ng where the extra `tapeline[speech]` is installed; kept on disk by text, language and rate.

text -> cache, or the speaking process (`espeak`) -> its samples at the wanted rate -> cache. The process is started at the first
text that is not cached, serves one text at a time, and is started anew where a text brought it down or held it up. Without the
extra a prompt is a soft tone as long as the text would take to say: a caller hears that something is said, and the log says once
what is missing.

A text is SSML where it begins with `<speak`; espeak-ng knows its common elements. Texts may hold personal data: they are neither
logged nor readable from the cache's file names.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import selectors
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tapeline.audio import espeak, tones, wav
from tapeline.audio.errors import DamagedWave
from tapeline.audio.resample import resample

try:
    import espeakng_loader
except ImportError:
    espeakng_loader = None

__all__ = ["Speech", "voices"]

log = logging.getLogger(__name__)

Samples = NDArray[np.int16]

MOST_CHARACTERS = 20_000
_PATIENCE_S = 20.0  # for one text; ten minutes of speech take half a second
_CHARACTERS_PER_S = 15.0
_STAND_IN_S = (0.5, 30.0)
_CACHE_BYTES = 256 << 20
_PRUNE_EVERY = 200
# C0 controls are commands to espeak-ng (speak_lib.h, "embedded commands"), and a NUL would end the text.
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_TAGS = re.compile(r"<[^>]*>?")

# BCP 47 tags that espeak-ng has under another name, or not at all but something near.
_NAMES = {
    "zh": "cmn", "zh-cn": "cmn", "zh-tw": "cmn", "zh-sg": "cmn", "zh-hans": "cmn", "zh-hant": "cmn", "cmn-cn": "cmn", "cmn-tw": "cmn",
    "zh-hk": "yue", "zh-mo": "yue", "yue-cn": "yue", "yue-hk": "yue", "no": "nb", "nn": "nb", "no-no": "nb", "iw": "he", "in": "id",
    "arb": "ar", "fil": "id", "tl": "id", "en-gb": "en", "en-au": "en", "en-nz": "en", "en-ie": "en", "en-in": "en", "en-za": "en",
    "en-ca": "en-us", "en-sct": "en-gb-scotland", "es-es": "es", "fr-fr": "fr", "fr-lu": "fr-be", "fr-ca": "fr",
}  # fmt: skip
_LATIN_AMERICA = {"ar", "bo", "cl", "co", "cr", "cu", "do", "ec", "gt", "hn", "mx", "ni", "pa", "pe", "pr", "py", "sv", "us", "uy", "ve"}


def voices(language: str) -> list[str]:
    """espeak-ng's names for a BCP 47 tag, best first; American English where it knows none."""
    tag = language.strip().lower().replace("_", "-")
    base, _, region = tag.partition("-")
    found = [_NAMES.get(tag, tag)]
    if base == "es" and region in _LATIN_AMERICA:
        found.insert(0, "es-419")
    shorter = tag.rpartition("-")[0]
    found += [_NAMES.get(part, part) for part in (shorter, base) if part]
    # English alone is British to espeak-ng; American to those who leave the region out.
    if tag in ("", "en"):
        found = []
    return list(dict.fromkeys([*found, "en-us"]))


class _Speaker:
    """The speaking process, one text at a time. Raises OSError where it does not start, dies or takes too long."""

    def __init__(self) -> None:
        command = [sys.executable, "-I", "-S", espeak.__file__, espeakng_loader.get_library_path(), espeakng_loader.get_data_path()]
        pipe = subprocess.PIPE
        # A process group of its own: an interrupt at the terminal is for the server, which still has something to say.
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, process_group=0)
        self.close = weakref.finalize(self, _end, self._process)
        try:
            self.rate = int.from_bytes(self._read(4, time.monotonic() + _PATIENCE_S), "little")
            if not self.rate:
                raise OSError("espeak-ng does not start")
        except OSError:
            self.close()
            raise

    def say(self, text: str, language: str, ssml: bool) -> Samples:
        assert self._process.stdin is not None
        asked = {"text": text, "voices": voices(language), "ssml": ssml}
        self._process.stdin.write(json.dumps(asked).encode() + b"\n")
        self._process.stdin.flush()
        until = time.monotonic() + _PATIENCE_S
        size = int.from_bytes(self._read(4, until), "little")
        return np.frombuffer(self._read(size, until), "<i2").astype(np.int16)

    def _read(self, size: int, until: float) -> bytes:
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        got = bytearray()
        with selectors.DefaultSelector() as selector:
            selector.register(descriptor, selectors.EVENT_READ)
            while len(got) < size:
                if not selector.select(max(0.0, until - time.monotonic())):
                    raise TimeoutError("espeak-ng takes too long")
                piece = os.read(descriptor, min(1 << 20, size - len(got)))
                if not piece:
                    raise BrokenPipeError("espeak-ng ended")
                got += piece
        return bytes(got)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            try:
                pipe.close()
            except BrokenPipeError:
                pass  # a text that it did not live to read


class Speech:
    """Says texts. `cache` is a folder; what was said once is read from there. Safe to use from several threads."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        self._lock = threading.Lock()
        self._speaker: _Speaker | None = None
        self._absent = False
        self._kept = 0

    @property
    def available(self) -> bool:
        """Whether there is a voice. Starts it, which takes some ten milliseconds."""
        with self._lock:
            return self._started() is not None

    def close(self) -> None:
        """End the speaking process. A later `say` starts another."""
        with self._lock:
            self._stop()

    def say(self, text: str, language: str = "en-US", rate: int = 8000) -> Samples:
        """`text` spoken: int16[n], mono, at `rate`. Texts beyond 20 000 characters are cut. Blocks, milliseconds a sentence."""
        text = _CONTROLS.sub(" ", text).strip()[:MOST_CHARACTERS]
        if not text:
            return np.zeros(0, np.int16)
        key = hashlib.sha256(f"{language}\0{rate}\0{text}".encode("utf-8", "replace")).hexdigest()
        path = self._cache / key[:2] / f"{key}.wav"
        try:
            samples, kept_rate = wav.read(path)
            if kept_rate == rate:
                return samples[:, 0]
        except (OSError, DamagedWave):
            pass  # not said before, or a file that is no use any more
        with self._lock:
            spoken = self._spoken(text, language)
        if spoken is None:
            return _stand_in(text, rate)
        samples = resample(*spoken, rate)
        self._keep(path, samples, rate)
        return samples

    def _spoken(self, text: str, language: str) -> tuple[Samples, int] | None:
        """The text as espeak-ng says it and its rate. SSML that brings it down is said without its markup."""
        ssml = text.startswith("<speak")
        # Twice, since the process may have died of something else since the last text.
        tries = [(text, True), (_TAGS.sub(" ", text), False)] if ssml else [(text, False)] * 2
        for attempt, marked in tries:
            speaker = self._started()
            if speaker is None:
                return None
            try:
                return speaker.say(attempt, language, marked), speaker.rate
            except OSError as error:
                log.warning("a text could not be said%s: %s", " as SSML" if marked else "", error)
                self._stop()
                if isinstance(error, TimeoutError) and not marked:
                    break  # it would hang again, while others wait for their turn
        return None

    def _started(self) -> _Speaker | None:
        if self._speaker is None and not self._absent:
            try:
                if espeakng_loader is None:
                    raise OSError("not installed; pip install 'tapeline[speech]'")
                self._speaker = _Speaker()
            except OSError as error:
                self._absent = True
                log.warning("there is no speech, prompts are tones: %s", error)
        return self._speaker

    def _stop(self) -> None:
        if self._speaker is not None:
            self._speaker.close()
            self._speaker = None

    def _keep(self, path: Path, samples: Samples, rate: int) -> None:
        """Into the cache in one step; a disk that refuses costs only the next synthesis."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=path.parent, suffix=".new")
            os.close(descriptor)
            try:
                wav.write(Path(name), samples, rate)
                Path(name).rename(path)
            except OSError:
                Path(name).unlink(missing_ok=True)
                raise
            self._kept += 1
            if self._kept % _PRUNE_EVERY == 0:
                self._prune()
        except OSError as error:
            log.warning("speech is not kept: %s", error.strerror)

    def _prune(self) -> None:
        """Texts with variables in them are said once and never again: forget the oldest beyond 256 MB."""
        found = sorted(((path.stat(), path) for path in self._cache.glob("??/*")), key=lambda item: item[0].st_mtime)
        surplus = sum(stat.st_size for stat, _ in found) - _CACHE_BYTES
        for stat, path in found:
            if surplus <= 0:
                return
            path.unlink(missing_ok=True)
            surplus -= stat.st_size


def _stand_in(text: str, rate: int) -> Samples:
    shortest, longest = _STAND_IN_S
    return tones.tone([350.0, 440.0], min(longest, max(shortest, len(text) / _CHARACTERS_PER_S)), rate, level_db=-24.0)
