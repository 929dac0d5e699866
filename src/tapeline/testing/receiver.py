"""An HTTP server that receives what tapeline sends (webhooks, uploads), serves what it fetches, and misbehaves when asked.

Every request is kept whole. What comes back is decided per path: a queue of faults is used up first, one for each request, then the
page put there with `serve`, else 200 and nothing. It runs in threads of its own on a free loopback port; `close` ends them all, also
those that hang.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Literal, Self

from tapeline.testing.process import until

__all__ = ["Fault", "Received", "Receiver"]

Fault = int | Literal["hang", "close", "half", "stall", "cut", "trickle"]
"""A status to answer with; or: never answer; close without an answer; promise a body, send half of it and close; stop reading half-way
through the request's body; close half-way through it; take the body in small pieces and answer byte by byte, a moment between each."""

TRICKLE_S = 0.05
TRICKLES = 40


@dataclass(frozen=True, slots=True)
class Received:
    """One request. `at` is seconds on the monotonic clock; header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    at: float


class Receiver:
    """The server, from `start` (or `with`) until `close`."""

    def __init__(self, *, port: int = 0) -> None:
        self.requests: list[Received] = []
        self._faults: dict[str, deque[Fault]] = defaultdict(deque)
        self._pages: dict[str, tuple[int, str, bytes]] = {}
        self._moved: dict[str, tuple[int, str]] = {}
        self._lock = threading.Lock()
        self._released = threading.Event()
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.receiver = self
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, name="receiver")
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """End it, and every request that hangs."""
        self._released.set()
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def fail(self, path: str, *faults: Fault) -> None:
        """Meet the next requests for `path` with these, one each."""
        with self._lock:
            self._faults[path].extend(faults)

    def serve(self, path: str, body: bytes, content_type: str = "application/json", status: int = 200) -> str:
        """Answer requests for `path` with this; gives its address."""
        with self._lock:
            self._pages[path] = (status, content_type, body)
        return self.url + path

    def redirect(self, path: str, to: str, status: int = 302) -> str:
        """Send requests for `path` on to `to` (a path here, or an address); gives its address."""
        with self._lock:
            self._moved[path] = (status, to)
        return self.url + path

    def moved(self, path: str) -> tuple[int, str] | None:
        with self._lock:
            return self._moved.get(path)

    def received(self, path: str) -> list[Received]:
        """The requests for `path` so far, in order."""
        with self._lock:
            return [request for request in self.requests if request.path == path]

    def wait_for(self, path: str, count: int = 1, timeout_s: float = 30.0) -> list[Received]:
        """The requests for `path` once there are `count`. Raises ChildFailed after `timeout_s`."""
        until(lambda: len(self.received(path)) >= count, f"{count} requests for {path}", timeout_s)
        return self.received(path)

    def take(self, request: Received) -> tuple[Fault | None, tuple[int, str, bytes]]:
        """Keep a request; how it is to be met."""
        with self._lock:
            self.requests.append(request)
            faults = self._faults[request.path]
            return (faults.popleft() if faults else None), self._pages.get(request.path, (200, "application/json", b""))

    def next_fault(self, path: str) -> Fault | None:
        """What the next request for `path` will meet."""
        with self._lock:
            return self._faults[path][0] if self._faults[path] else None

    def hang(self) -> None:
        """Wait until the receiver is closed."""
        self._released.wait()


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # so that closing waits for the last of them
    receiver: Receiver


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    timeout = 10

    def _meet(self) -> None:
        path = self.path.partition("?")[0]
        size = int(self.headers.get("Content-Length", 0))
        coming = self.server.receiver.next_fault(path)
        if coming in ("stall", "cut"):
            size //= 2
        body = self._trickle(size) if coming == "trickle" else self.rfile.read(size)
        headers = {name.lower(): value for name, value in self.headers.items()}
        fault, (status, content_type, page) = self.server.receiver.take(Received(self.command, path, headers, body, time.monotonic()))
        self.close_connection = True
        if fault in ("hang", "stall"):
            self.server.receiver.hang()
            return
        if fault in ("close", "cut"):
            return
        if fault == "trickle":
            for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n":
                self.wfile.write(bytes([byte]))
                time.sleep(TRICKLE_S / 4)
            return
        if isinstance(fault, int):
            status, content_type, page = fault, "text/plain", b"asked to fail"
        moved = self.server.receiver.moved(path)
        if moved is not None and fault is None:
            status, page = moved[0], b""
        half = fault == "half"
        if half:
            page = page or b"what was promised"
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        if moved is not None:
            self.send_header("Location", moved[1])
        self.send_header("Content-Length", str(len(page)))
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            with suppress(ConnectionError):  # who asked has had enough
                self.wfile.write(page[: len(page) // 2] if half else page)

    def _trickle(self, size: int) -> bytes:
        body = b""
        while len(body) < size and (piece := self.rfile.read(min(size // TRICKLES + 1, size - len(body)))):
            body += piece
            time.sleep(TRICKLE_S)
        return body

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = _meet

    def log_message(self, format: str, *args: object) -> None:
        """Quiet: requests are kept, not logged."""
