"""Child processes of a test: started in a folder of their own, their output kept, ended for certain.

Also free ports on the loopback address. Blocking; made for tests against real peers, where real time passes anyway. Knows nothing of
what the processes are.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from tapeline.testing.stalls import raised_priority

__all__ = ["Child", "ChildFailed", "Daemon", "ProcessId", "free_port", "free_port_range", "until"]

Found = TypeVar("Found")

_PORTS = (10_240, 30_000)  # there those of the softphone begin
_PARTS = 5  # a server takes 2000 ports of its part
_given: deque[tuple[int, int]] = deque(maxlen=4)


class ChildFailed(AssertionError):
    """A process ended when it should not have, or did not do in time what it should; the message ends with its last output."""


def until(found: Callable[[], Found | None], what: str, timeout_s: float = 30.0, every_s: float = 0.05) -> Found:
    """Ask `found` again and again until it gives something true; that is returned. Raises ChildFailed after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while True:
        answer = found()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise ChildFailed(f"after {timeout_s:g} s still waiting for {what}")
        time.sleep(every_s)


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM, host: str = "127.0.0.1") -> int:
    """A port that nobody uses at this moment."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
    return port


def free_port_range(size: int, host: str = "127.0.0.1") -> tuple[int, int]:
    """(first, last) of `size` UDP ports in a row, below those that the system hands out by itself; the first is even.

    Every port is tried, since a test that meets a foreign socket in the middle of its range fails in a way that explains nothing. What was
    given to others of the same test may not be in use yet: the last few ranges are left alone, and so are those of other pytest workers.
    """
    source = random.Random()
    low, high = _own_ports()
    for attempt in range(60):
        first = source.randrange(low, high - size, 2)
        last = first + size - 1
        if attempt < 40 and any(first <= end and begin <= last for begin, end in _given):
            continue
        if all(_is_free(host, port) for port in range(first, last + 1)):
            _given.append((first, last))
            return first, last
    raise ChildFailed(f"no {size} free ports in a row")


def _own_ports() -> tuple[int, int]:
    """The part of the ports that this process may take: pytest-xdist numbers its workers gw0, gw1, ..."""
    count = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw") or 0)
    low, high = _PORTS
    each = (high - low) // min(count, _PARTS) // 2 * 2
    first = low + each * (number % min(count, _PARTS))
    return first, first + each


def _is_free(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process for certain: its number may be another's later, its number and the moment it began may not."""

    pid: int
    began: int  # clock ticks since the machine started
    parent: int = field(compare=False)

    @classmethod
    def of(cls, pid: int) -> ProcessId | None:
        """None where there is none, or only its remains."""
        try:
            text = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return None
        # The name, in brackets, may hold anything; behind it fields 3 (state), 4 (parent) and 22 (began) of proc(5).
        fields = text.rpartition(")")[2].split()
        return None if fields[0] == "Z" else cls(pid, int(fields[19]), int(fields[1]))

    @property
    def running(self) -> bool:
        return ProcessId.of(self.pid) == self


class Child:
    """One process, its output in `<folder>/<name>.log`. One that keeps time (a peer that sends media) is `urgent`."""

    def __init__(
        self, name: str, command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None, *, urgent: bool = False
    ) -> None:
        self.name = name
        self.command = list(command)
        self.folder = folder
        self.log = folder / f"{name}.log"
        self._environment = {**os.environ, **(environment or {})}
        self._urgent = urgent
        self._process: subprocess.Popen[bytes] | None = None
        self._family: set[ProcessId] = set()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.end()

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        if self._process is None:
            raise ChildFailed(f"{self.name} was not started")
        return self._process.pid

    def start(self) -> None:
        """Start, or start again; output is appended. It has a session of its own, so that Ctrl-C does not reach it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output, raised_priority() if self._urgent else contextlib.nullcontext():
            self._process = subprocess.Popen(
                self.command,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
            )

    def family(self) -> set[ProcessId]:
        """Itself and all that it or those have started, as far as they run. Who has lost its parent is known only if it was seen before."""
        if self.running:
            everyone = [found for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if (found := ProcessId.of(pid)) is not None]
            below = {self.pid}
            while more := {each.pid for each in everyone if each.parent in below} - below:
                below |= more
            self._family |= {each for each in everyone if each.pid in below}
        return {each for each in self._family if each.running}

    def send_signal(self, number: signal.Signals) -> None:
        """Signal the process alone."""
        if self._process is not None:
            self._process.send_signal(number)

    def wait(self, timeout_s: float) -> int:
        """Its exit status. Raises ChildFailed where it still runs after `timeout_s`."""
        if self._process is None:
            raise ChildFailed(f"{self.name} was not started")
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise ChildFailed(f"{self.name} still runs after {timeout_s:g} s\n{self.tail()}") from None

    def stop(self, timeout_s: float = 10.0) -> int:
        """SIGTERM, then wait; its exit status."""
        self.send_signal(signal.SIGTERM)
        return self.wait(timeout_s)

    def kill(self) -> None:
        """SIGKILL to it and to all that it started: nobody gets to say goodbye."""
        if self._process is not None:
            for member in self.family():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(member.pid, signal.SIGKILL)
            self._process.wait()
            self._family.clear()

    def state(self) -> str:
        """Whether it runs, or how it ended, in words."""
        if self._process is None:
            return "not started"
        status = self._process.poll()
        if status is None:
            return "running"
        return f"ended with status {status}" if status >= 0 else f"ended by {signal.Signals(-status).name}"

    def end(self) -> None:
        """Whatever it takes: SIGTERM, and SIGKILL after five seconds."""
        if self._process is None:
            return
        if self.running:
            self.family()
            self.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(5)
        self.kill()
        self._process = None

    def check(self) -> None:
        """Raises ChildFailed where it has ended."""
        if not self.running:
            raise ChildFailed(f"{self.name} does not run: {self.state()}\n{self.tail()}")

    def output(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def tail(self, lines: int = 40, without: str = "\0") -> str:
        """The last of its output, for a failure's message; lines that contain `without` are left out."""
        told = [line for line in self.output().replace("\r", "\n").splitlines() if line.strip() and without not in line]
        return "\n".join([f"--- the last of {self.log}", *told[-lines:]])


class Daemon:
    """A child that serves at `address`, from entering to leaving. Who makes one says with what `child`, and may say better when it is
    ready."""

    address: tuple[str, int]
    child: Child
    patience_s = 10.0  # until it answers

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.child.end()
        if error is not None:
            error.add_note(f"{self.child.name}: {self.child.tail()}")

    def start(self) -> None:
        """Start, or start again after `stop`, at the same address. Raises ChildFailed."""
        self.child.start()
        try:
            until(self._ready, f"{self.child.name} to answer", self.patience_s)
        except BaseException:
            self.child.end()
            raise

    def stop(self) -> None:
        """Leave the port to nobody: whoever connects is refused."""
        self.child.end()

    def answers(self) -> bool:
        """Whether somebody listens there."""
        try:
            socket.create_connection(self.address, timeout=1).close()
        except OSError:
            return False
        return True

    def _ready(self) -> bool:
        self.child.check()
        return self.answers()
