"""Bodies of requests that are streamed: an object of the store, and what wraps it up. Each is of known size and is read anew each time
it is sent."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from tapeline.store import ObjectStore

__all__ = ["StoredBody", "digest"]


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


async def digest(body: StoredBody) -> bytes:
    """The MD5 of the body, as stores name what they hold."""
    running = hashlib.md5(usedforsecurity=False)
    async for piece in body.pieces():
        running.update(piece)
    return running.digest()
