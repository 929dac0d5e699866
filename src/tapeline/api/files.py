"""A stored recording as an HTTP answer: whole, a range, only the headers, or "you have it already".

The first piece is read before the status is sent, so that a store that cannot deliver is still answered with an error and not with
a broken file.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Send

from tapeline.api.auditing import called
from tapeline.api.ranges import http_date, not_modified, quoted, range_applies, select
from tapeline.calls.views import RecordingFile

__all__ = ["file_response", "safe_name"]


class _Audio(StreamingResponse):
    """Streams `first` and then the rest of `source`, and closes `source` whatever happens: a client that leaves keeps no file open."""

    def __init__(self, first: bytes, source: AsyncIterator[bytes], status: int, headers: Mapping[str, str]) -> None:
        super().__init__(_joined(first, source), status, headers)
        self._source = source

    async def stream_response(self, send: Send) -> None:
        try:
            await super().stream_response(send)
        finally:
            if isinstance(self._source, AsyncGenerator):
                await self._source.aclose()


async def file_response(file: RecordingFile, request: Request) -> Response:
    """Raises RangeNotSatisfiable, and what the store raises where nothing was sent yet."""
    asked = request.headers
    etag = quoted(file.etag)
    headers = {
        "Accept-Ranges": "bytes",
        "ETag": etag,
        "Last-Modified": http_date(file.modified),
        "Cache-Control": "private, no-cache",
        "Content-Disposition": f'attachment; filename="{safe_name(file.filename)}"',
    }
    called(request, "")  # until audio is sent, whatever the route says
    if not_modified(asked.get("if-none-match"), asked.get("if-modified-since"), etag, file.modified):
        return Response(status_code=304, headers=headers)
    headers["Content-Type"] = file.content_type
    chosen = None
    if request.method == "GET" and range_applies(asked.get("if-range"), etag, file.modified):  # RFC 9110 section 14.2: GET only
        chosen = select(asked.get("range"), file.size)
    start, end = chosen or (0, file.size)
    called(request, "" if request.method == "HEAD" else "listened" if chosen else "downloaded")
    headers["Content-Length"] = str(end - start)
    if request.method == "HEAD" or start == end:
        return Response(headers=headers)
    if chosen:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{file.size}"
    source = file.read(start, end)
    first = await anext(source, b"")
    return _Audio(first, source, 206 if chosen else 200, headers)


def safe_name(name: str) -> str:
    """`name` as a plain file name: no folder, no control or quote, not hidden, of sensible length."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", name.replace("\\", "/").rpartition("/")[2])
    return plain.lstrip(".")[-120:] or "recording"


async def _joined(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in rest:
        yield piece
