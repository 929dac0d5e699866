"""A process that has read all of the worker's code once, and from which workers are forked: they are at work at once.

    python worker_nursery.py DESCRIPTOR

Each message on the socket `DESCRIPTOR` is the environment of one worker in JSON, with three descriptors: its stdin, its stdout, and where
its exit status is written when it has ended. The answer is its process id. When the socket is closed, it ends.
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys

from tapeline.delivery import worker


def main() -> None:
    asking = socket.socket(fileno=int(sys.argv[1]))
    asking.sendall(b"ready")
    children: dict[int, tuple[int, int]] = {}  # by the descriptor that tells of its end: the process, and where to say how it ended
    while True:
        ready, _, _ = select.select([asking, *children], [], [])
        for descriptor in ready:
            if descriptor is not asking:
                pid, report = children.pop(descriptor)
                _, status = os.waitpid(pid, 0)
                os.write(report, str(os.waitstatus_to_exitcode(status)).encode())
                os.close(report)
                os.close(descriptor)
        if asking in ready:
            message, given, _, _ = socket.recv_fds(asking, 1 << 16, 3)
            if not message:
                return
            pid = os.fork()
            if pid == 0:
                run(json.loads(message), given)
            for each in given[:2]:
                os.close(each)
            children[os.pidfd_open(pid)] = (pid, given[2])
            asking.sendall(str(pid).encode())


def run(environment: dict[str, str], given: list[int]) -> None:
    """Be a worker. Never returns."""
    try:
        os.dup2(given[0], 0)
        os.dup2(given[1], 1)
        os.closerange(3, 256)  # those of other workers too: the end of a pipe must be its end
        os.environ.update(environment)
        worker.main()
    finally:
        os._exit(70)


if __name__ == "__main__":
    main()
