"""Where faults are made on purpose.

`TAPELINE_FAULT` in the environment of the worker names what is to go wrong where: `kill:POINT` ends the process there as
`kill -9` does, `kill:POINT:N` when it comes there for the Nth time, `fail:POINT:TIMES` raises OSError there that many times. Several are
parted by commas. The points are the names of the steps in `finish`, and those with `.done` just after the work of a step and before its
result is kept. Unset, this does nothing.
"""

from __future__ import annotations

import errno
import os
import signal

__all__ = ["fault"]

_failed: dict[str, int] = {}
_passed: dict[str, int] = {}


def _nth(point: str) -> int:
    _passed[point] = _passed.get(point, 0) + 1
    return _passed[point]


def fault(point: str) -> None:
    """Fail here if the environment says so."""
    for wanted in os.environ.get("TAPELINE_FAULT", "").split(","):
        kind, _, rest = wanted.partition(":")
        name, _, times = rest.partition(":")
        if name != point:
            continue
        if kind == "kill" and _nth(point) == int(times or 1):
            os.kill(os.getpid(), signal.SIGKILL)
        if kind == "fail" and _failed.get(point, 0) < int(times or 1):
            _failed[point] = _failed.get(point, 0) + 1
            raise OSError(errno.EIO, f"made to fail at {point}")
