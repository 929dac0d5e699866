"""How the commands speak: plain lines, tables, JSON and one-line errors.

Results go to standard output, what is only for people watching (progress, errors) to standard error, so that a result can be
piped. Consoles are made at each use, so that whoever replaced the streams (a pipe, a test) is heard. Knows no command.
"""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tapeline.core.clock import utc
from tapeline.core.errors import InvalidInput, TapelineError

__all__ = ["ago", "clock", "console", "describe", "emit", "emit_json", "notice", "plain", "size", "stamp", "table"]

_PIPE_WIDTH = 200  # a pipe has no width; wide enough that no column of ours is cut


def console(*, error: bool = False) -> Console:
    """A console on the present standard output (or error)."""
    stream = sys.stderr if error else sys.stdout
    terminal = stream.isatty()
    return Console(file=stream, width=None if terminal else _PIPE_WIDTH, highlight=False, soft_wrap=not terminal)


def emit(line: str | Text = "") -> None:
    """One line of the result. A string is printed as it is: no markup, never wrapped."""
    console().print(line, markup=False, emoji=False, soft_wrap=True)


def notice(line: str | Text) -> None:
    """One line for whoever is watching; not part of the result."""
    console(error=True).print(line, markup=False, emoji=False, soft_wrap=True)


def plain(value: Any) -> Any:
    """`value` made of what JSON knows: dataclasses and mappings become objects, sets sorted lists, numbers that are none null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(plain(item) for item in value)
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):  # the loudness of silence
        return None
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)


def emit_json(value: Any) -> None:
    emit(json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False))


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, right: Iterable[str] = (), keep: Iterable[str] = ()) -> None:
    """Print rows under headings; columns in `right` are right-aligned, those in `keep` are never folded."""
    right, keep = set(right), set(keep)
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        grid.add_column(column, justify="right" if column in right else "left", no_wrap=column in keep or column in right)
    for row in rows:
        grid.add_row(*[Text(cell) for cell in row])
    console().print(grid)


def stamp(wall: float | None) -> str:
    """`2026-03-01 12:00:05` in the machine's own time zone; a dash for a time that is not known."""
    return datetime.fromtimestamp(wall, utc(wall).astimezone().tzinfo).strftime("%Y-%m-%d %H:%M:%S") if wall is not None else "-"


def clock(seconds: float | None) -> str:
    """A length of time as people read it: `0:07.4`, `12:03.0`, `1:00:00.0`."""
    if seconds is None:
        return "-"
    tenths = round(seconds * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    head = f"{hours}:{minutes:02d}" if hours else f"{minutes}"
    return f"{head}:{rest // 10:02d}.{rest % 10}"


def ago(seconds: float) -> str:
    """`12 s`, `5 min`, `3 h`, `2 d`."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{int(seconds)} s"


def size(octets: int | None) -> str:
    """`512 B`, `64.2 kB`, `1.4 GB` (powers of 1000)."""
    if octets is None:
        return "-"
    if octets < 1000:
        return f"{octets} B"
    value = float(octets)
    for unit in ("kB", "MB", "GB"):
        value /= 1000
        if value < 999.95:
            return f"{value:.1f} {unit}"
    return f"{value / 1000:.1f} TB"


def describe(error: TapelineError) -> list[str]:
    """The lines that tell a person of `error`: what is wrong, each problem where there are several, and what to do."""
    problems = error.problems if isinstance(error, InvalidInput) and len(error.problems) > 1 else ()
    head = error.message.partition(": ")[0] if problems else error.message
    lines = [f"error: {head}", *(f"  {problem}" for problem in problems)]
    if error.hint:
        lines.append(f"hint: {error.hint}")
    return lines
