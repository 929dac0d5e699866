"""One engine thread as Python sees it: a command pipe in, an event pipe out, and the memory that the thread works on.

Writing a command never waits: what a full pipe does not take stays here, in order, until it does. Memory that the engine works on is
kept alive here and given up when the engine says that it is done with it.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from tapeline.rtp.codecs import CODECS
from tapeline.rtp.engine import constants as c
from tapeline.rtp.engine.build import native
from tapeline.rtp.engine.coder import CodecThread, Coders
from tapeline.rtp.engine.srtp import FUNCTIONS
from tapeline.rtp.spec import EngineConfig

__all__ = ["EventRecord", "Shard"]

_COMMAND = struct.Struct("<iiq16q112s")
_EVENT = struct.Struct("<iiqq3q32H2q")
_PIPE_BYTES = 1 << 20
_NICE = -10  # before everything that can wait: a late tick is heard

log = logging.getLogger("tapeline.rtp")

EventRecord = tuple[Any, ...]  # kind, size, target, at, three arguments, 32 levels


def _pipe() -> tuple[int, int]:
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    with contextlib.suppress(OSError):  # a limit below 1 MB only makes the queue shorter
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    return reader, writer


class Shard:
    """Commands may come from any thread; events are read by one."""

    def __init__(self, config: EngineConfig, name: str, coders: Coders, clock: Callable[[], int]) -> None:
        self._commands_read, self._commands = _pipe()
        self.events_fd, self._events_write = _pipe()
        tables = [(codec.expand, codec.compress) for codec in CODECS if codec.expand is not None and codec.compress is not None]
        self.coder = CodecThread(f"codec-{name}", coders, clock)
        ends = self._commands_read, self._events_write, self.coder.fd
        self.handle = native.new_shard(*ends, config.tick_ms * 1000000, config.read_ms * 1000000, config.max_legs * 2, tables, FUNCTIONS)
        self._tables = tables
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._waiting: deque[bytes] = deque()
        self._lock = threading.Lock()
        self._rest = b""
        self.kept: dict[int, Any] = {}  # by handle: what must outlive the engine's use of it
        self.legs = 0
        self.max_legs = config.max_legs
        self.transits: deque[Any] = deque()  # those that wait for this thread to let their parts go
        self.arrived = 0
        self.busy = False  # commands were written since somebody put this back

    def start(self) -> None:
        self.coder.start(self.handle)
        self._thread.start()

    def _run(self) -> None:
        with contextlib.suppress(OSError):  # whoever may not (no CAP_SYS_NICE, RLIMIT_NICE) does without
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        nice = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
        log.info("engine thread runs", extra={"engine": self._thread.name, "nice": nice})
        native.run(self.handle)

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def keep(self, handle: int, *things: Any) -> int:
        """Hold what `handle` was made with until `free`."""
        self.kept[handle] = things
        return handle

    def free(self, handle: int) -> None:
        if handle in self.kept:
            del self.kept[handle]
            native.free(handle)

    def command(self, op: int, target: int, *args: int, size: int = 0, blob: bytes = b"") -> None:
        """Queue one command."""
        message = _COMMAND.pack(op, size, target, *args, *(0,) * (16 - len(args)), blob)
        with self._lock:
            self.busy = True
            self._waiting.append(message)
            self._flush()

    def _flush(self) -> None:
        while self._waiting:
            try:
                os.write(self._commands, self._waiting[0])
            except BlockingIOError:
                return
            self._waiting.popleft()

    def flush(self) -> bool:
        """Write what could not be written before; whether nothing is left."""
        with self._lock:
            self._flush()
            return not self._waiting

    @property
    def stalled(self) -> bool:
        return bool(self._waiting)

    def events(self) -> Iterator[EventRecord]:
        """What the engine has said since the last call."""
        while True:
            try:
                data = os.read(self.events_fd, 65536)
            except BlockingIOError:
                return
            data = self._rest + data
            whole = len(data) - len(data) % _EVENT.size
            self._rest = data[whole:]
            yield from _EVENT.iter_unpack(data[:whole])

    def join(self, timeout: float) -> bool:
        """Wait for the thread; whether it has ended."""
        if self._thread.is_alive():
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def close(self) -> None:
        """Give everything up. The thread must have ended."""
        self.coder.stop()
        for handle in list(self.kept):
            self.free(handle)
        native.free(self.handle)
        for fd in (self._commands_read, self._commands, self.events_fd, self._events_write):
            os.close(fd)

    def quit(self) -> None:
        self.command(c.QUIT, 0)
