"""Bodies of requests that are streamed: an object of the store, and what wraps it up. Each is of known size and is read anew each time
it is sent."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from tapeline.store import ObjectStore

__all__ = ["Bytes", "Multipart", "StoredBody", "digest"]


class Body(Protocol):
    """As the guarded client takes it."""

    @property
    def size(self) -> int: ...

    def pieces(self) -> AsyncIterator[bytes]: ...


@dataclass(frozen=True, slots=True)
class Bytes:
    """What is in memory."""

    content: bytes

    @property
    def size(self) -> int:
        return len(self.content)

    async def pieces(self) -> AsyncIterator[bytes]:
        yield self.content


@dataclass(frozen=True, slots=True)
class StoredBody:
    """An object of the store."""

    store: ObjectStore
    key: str
    size: int

    @classmethod
    async def of(cls, store: ObjectStore, key: str) -> StoredBody:
        """Raises ObjectMissing, ObjectsUnavailable."""
        return cls(store, key, (await store.stat(key)).size)

    def pieces(self) -> AsyncIterator[bytes]:
        return self.store.read(self.key)


class Multipart:
    """A form of two parts: a document in JSON, and a file. `headers` are more of the file's; with one that says base64 it is sent so."""

    def __init__(self, document: str, file: Body, content_type: str, *, names: tuple[str, str], headers: Mapping[str, str]) -> None:
        boundary = secrets.token_hex(16)
        self.content_type = f"multipart/form-data; boundary={boundary}"
        self._file = file
        self._encoded = headers.get("Content-Transfer-Encoding", "").lower() == "base64"
        first, second = (_quoted(name) for name in names)
        lines = [
            f"--{boundary}",
            f'Content-Disposition: form-data; name="{first}"',
            "Content-Type: application/json",
            "",
            document,
            f"--{boundary}",
            f'Content-Disposition: form-data; name="{second}"; filename="{second}"',
            f"Content-Type: {content_type}",
            *(f"{name}: {value}" for name, value in headers.items()),
            "",
            "",
        ]
        self._head = "\r\n".join(lines).encode()
        self._tail = f"\r\n--{boundary}--\r\n".encode()

    @property
    def size(self) -> int:
        inside = (self._file.size + 2) // 3 * 4 if self._encoded else self._file.size
        return len(self._head) + inside + len(self._tail)

    async def pieces(self) -> AsyncIterator[bytes]:
        yield self._head
        rest = b""
        async for piece in self._file.pieces():
            if not self._encoded:
                yield piece
                continue
            rest += piece
            whole = len(rest) // 3 * 3  # only the last may be filled up
            yield base64.b64encode(rest[:whole])
            rest = rest[whole:]
        yield base64.b64encode(rest) + self._tail


def _quoted(name: str) -> str:
    """As browsers write names of parts."""
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


async def digest(body: StoredBody) -> bytes:
    """The MD5 of the body, as stores name what they hold."""
    running = hashlib.md5(usedforsecurity=False)
    async for piece in body.pieces():
        running.update(piece)
    return running.digest()
