"""The queues between an engine thread and its codec thread, in the uncompiled build: the functions of `lines.pxd`, over a deque.

One writer and one reader each. Knows nothing of what a task is about.
"""

from __future__ import annotations

from collections import deque

from tapeline.rtp.engine import state

_HEAD = 64  # what a task takes beside its bytes


class Task(state.Struct):
    """A packet on its way to a codec thread or back; its bytes lie beside it."""

    kind: int
    size: int
    leg: state.Leg
    coder: int
    pos: int
    moved: int
    stamp: int
    n: int
    marker: int
    __slots__ = tuple(__annotations__)


class Line(state.Struct):
    """A queue of tasks and their bytes."""

    data: deque[tuple[Task, bytes]]
    size: int
    head: int
    tail: int
    __slots__ = tuple(__annotations__)


def space_of(size: int) -> int:
    """What a task of `size` bytes takes of a line."""
    return _HEAD + (size + 7) // 8 * 8


def new_line(size: int) -> Line:
    """A line of `size` bytes."""
    line = Line()
    line.data = deque()
    line.size = size
    return line


def put_task(
    line: Line,
    kind: int,
    leg: state.Leg,
    coder: int,
    pos: int,
    moved: int,
    stamp: int,
    n: int,
    marker: int,
    data: state.Buffer,
    offset: int,
    size: int,
) -> int:
    """Append a task with `size` bytes of `data[offset:]`; 0 when the line is full."""
    if line.size - (line.head - line.tail) < space_of(size):
        return 0
    task = Task()
    task.kind, task.size, task.leg, task.coder, task.pos, task.moved = kind, size, leg, coder, pos, moved
    task.stamp, task.n, task.marker = stamp, n, marker
    line.head += space_of(size)
    line.data.append((task, bytes(data[offset : offset + size])))
    return 1


def first_task(shard: state.Shard, line: Line) -> int:
    """Let `shard.task` be the oldest task; 0 when there is none."""
    if not line.data:
        return 0
    shard.task, shard.task_data = line.data[0]
    return 1


def drop_task(line: Line, task: Task) -> None:
    """Have done with the oldest task."""
    line.data.popleft()
    line.tail += space_of(task.size)
