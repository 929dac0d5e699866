"""The codec thread of a shard: decodes and encodes in batches what the engine's thread asks for, off its tick.

The engine's thread writes tasks into a queue and wakes this one at the end of its tick; what is done goes back by another queue, for
the next tick. A coder is made at a leg's first packet, here, since some take long to begin. Each task is answered, also one that
failed. This thread takes Python's lock; the engine's never waits for it, so a codec that is too slow costs its legs their sound and
counts it, and nothing else.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from tapeline.rtp.codecs import Coder, Undecodable
from tapeline.rtp.engine import constants as c
from tapeline.rtp.engine.build import native

__all__ = ["CodecThread", "Coders"]

_BATCH = 64
_STALE_NS = 100_000_000  # what is to be sent and has waited so long would come too late: others have their turn
_PATIENCE_S = 0.005  # before it is asked again whether the engine's thread has made room
_NICE = -5  # after the engine's thread, before all that can wait

Work = tuple[int, Any, int, int, int, int, int, int, bytes]  # as `native.give_task` takes it

log = logging.getLogger("tapeline.rtp")


class Coders:
    """The coders of all legs of an engine, by number. Any thread may call; one coder is worked with by one thread at a time, since a leg
    moves between engine threads only when nothing of it is under way."""

    def __init__(self) -> None:
        self._makers: dict[int, Callable[[], Coder]] = {}
        self._made: dict[int, Coder] = {}

    def add(self, number: int, make: Callable[[], Coder]) -> None:
        """The coder `number` is made by `make` when it is first needed."""
        self._makers[number] = make

    def remove(self, number: int) -> None:
        self._makers.pop(number, None)
        self._made.pop(number, None)

    def take(self, number: int) -> Coder | None:
        """The coder; None when it has been given up."""
        made = self._made.get(number)
        make = self._makers.get(number)
        if made is None and make is not None:
            made = self._made[number] = make()
            if number not in self._makers:
                del self._made[number]  # given up while it was made
        return made

    def renew(self, number: int) -> None:
        """Begin with a new coder at the next packet."""
        self._made.pop(number, None)


class CodecThread:
    """Works for one shard from `start` to `stop`."""

    def __init__(self, name: str, coders: Coders, clock: Callable[[], int]) -> None:
        self._clock = clock
        self.fd = os.eventfd(0, os.EFD_CLOEXEC)
        self._handle = 0
        self._coders = coders
        self._done: deque[Work] = deque()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self, handle: int) -> None:
        """Work for the shard `handle` from now on."""
        self._handle = handle
        self._thread.start()

    def stop(self) -> None:
        """Wait for the thread to end. The engine's thread must have ended."""
        self._stopping = True
        if self._thread.is_alive():
            os.eventfd_write(self.fd, 1)
            self._thread.join()
        os.close(self.fd)

    def _run(self) -> None:
        with contextlib.suppress(OSError):  # as with the engine's thread
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        while not self._stopping:
            os.eventfd_read(self.fd)
            while not self.work(self._handle) and not self._stopping:
                time.sleep(_PATIENCE_S)

    def work(self, handle: int) -> bool:
        """Do what the shard `handle` asks for, as long as there is room for what is done; whether nothing is left."""
        while self._give(handle):
            tasks = native.take_tasks(handle, _BATCH)
            if not tasks:
                return True
            for kind, leg, number, pos, moved, stamp, n, marker, data in tasks:
                stale = kind == c.ENCODE and self._clock() - pos > _STALE_NS
                result = b"" if stale else self._do(kind, number, n, data)
                samples = len(result) // 2 if kind == c.DECODE else n
                self._done.append((kind, leg, number, pos, moved, stamp, samples, marker, result))
        return False

    def _give(self, handle: int) -> bool:
        """Hand back what is done; whether all of it found room."""
        while self._done and native.give_task(handle, *self._done[0]):
            self._done.popleft()
        return not self._done

    def _do(self, kind: int, number: int, n: int, data: bytes) -> bytes:
        """The samples or payload of one task; nothing when it failed."""
        try:
            coder = self._coders.take(number)
            if coder is None:
                return b""
            if kind == c.DECODE:
                return coder.decode(data)
            return coder.encode(data) if kind == c.ENCODE else coder.quiet(n)
        except Undecodable:
            return b""
        except Exception:  # a codec's own fault must not end the others' sound
            log.exception("a codec failed", extra={"coder": number})
            self._coders.renew(number)
            return b""
