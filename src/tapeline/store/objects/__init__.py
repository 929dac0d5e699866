"""Stored audio: one small interface over a local folder, S3, Google Cloud Storage or Azure (obstore does the talking).

Way of the data: spool file -> `put_file` -> object -> `read` in pieces -> HTTP. No object is ever held in memory whole. A key is made by
`object_key` from ids of our own; nothing a caller or a flow says becomes part of one. Local puts are atomic and on disk when
they return; where spool and store share a file system the object is a hard link to the spool's file and costs no copy.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import LocalStore

from tapeline.core.ids import is_id, new_id
from tapeline.core.recordspec import Format
from tapeline.store.errors import ObjectMissing, ObjectsUnavailable
from tapeline.store.objects.remote import NO_BUCKET, UPLOAD_IDLE_S, answered, open_remote, words

if TYPE_CHECKING:
    from obstore.store import ObjectStore as Backend

__all__ = ["ObjectStat", "ObjectStore", "object_key"]

PART = 8 * 1024 * 1024  # bytes: of a multipart upload
PARTS = 4  # of one file at a time: a slow line is not shared by more than can get through it
PIECE = 256 * 1024  # bytes: what `read` yields at a time, about
_SAFE = re.compile(r"[0-9a-z][0-9a-z./-]{0,200}")


def object_key(account: str, recording_id: str, extension: Format) -> str:
    """Where a recording's audio is stored. Raises ValueError unless both ids are UUIDs: names given by others never get here."""
    if not is_id(account) or not is_id(recording_id) or not extension.isalnum():
        raise ValueError("an object's key is made of ids only")
    return f"{account.lower()}/{recording_id.lower()}.{extension}"


def _checked(key: str) -> str:
    if not _SAFE.fullmatch(key) or ".." in key or "//" in key:
        raise ValueError("not a key of ours")
    return key


@dataclass(frozen=True, slots=True)
class ObjectStat:
    """`modified` in seconds since 1970; `etag` without quotes."""

    size: int
    etag: str
    modified: float


def _folder_of(url: str) -> Path | None:
    parts = urlsplit(url)
    if parts.scheme == "file":
        return Path(parts.path)
    return Path(url).absolute() if not parts.scheme else None


class ObjectStore:
    """The objects at `url`: a folder's path, `file://`, `s3://bucket/prefix`, `gs://...` or `az://...`.

    Credentials come from the environment, as the cloud's own tools read them. All methods may raise ObjectsUnavailable.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._folder = _folder_of(url)
        self._opened: Backend | None = None
        self._uploads: Backend | None = None

    @property
    def local(self) -> bool:
        """Whether the objects are files in a folder of this machine."""
        return self._folder is not None

    async def check(self) -> None:
        """Raises ObjectsUnavailable unless the store answers."""
        if self._opened is not None and self._folder is not None and not await asyncio.to_thread(self._folder.is_dir):
            raise ObjectsUnavailable(f"the folder {self._folder} is gone")
        try:
            await self.stat("check/none")
        except ObjectMissing:
            return

    async def put_file(self, key: str, path: Path, content_type: str) -> None:
        """Store the file at `path`, whole or not at all. It must not change afterwards."""
        _checked(key)
        try:
            backend = await self._backend(uploads=True)
            if self._folder is not None:
                await asyncio.to_thread(self._put_local, self._folder, key, path)
            else:
                await obstore.put_async(
                    backend, key, path, attributes={"Content-Type": content_type}, chunk_size=PART, max_concurrency=PARTS
                )
        except (OSError, BaseError) as error:
            raise _unavailable("put", error) from error

    @asynccontextmanager
    async def writer(self, key: str, content_type: str) -> AsyncIterator[Callable[[bytes], Awaitable[None]]]:
        """Store what is given piece by piece, holding no more than a few parts of it: a multipart upload, or a file that gets its name
        at the end. Stored only where the block ends well.
        """
        _checked(key)
        try:
            backend = await self._backend(uploads=True)
            for left in await self._left_by_others(key):
                await asyncio.to_thread(left.unlink, missing_ok=True)
            file = obstore.open_writer_async(
                backend, key, attributes={} if self.local else {"Content-Type": content_type}, buffer_size=PART, max_concurrency=2
            )

            async def write(piece: bytes) -> None:
                await file.write(piece)

            yield write
            await file.close()
            if self._folder is not None:
                for path in (self._folder / key, (self._folder / key).parent):
                    await asyncio.to_thread(_sync, path)
        except (OSError, BaseError) as error:
            raise _unavailable("write", error) from error

    async def _left_by_others(self, key: str) -> list[Path]:
        """What a process that was killed while it wrote `key` into a local folder has left there."""
        if self._folder is None:
            return []
        target = self._folder / key
        return await asyncio.to_thread(lambda: list(target.parent.glob(f"{target.name}#*")))

    async def stat(self, key: str) -> ObjectStat:
        """Size, etag and time of change. Raises ObjectMissing."""
        backend = await self._backend()
        try:
            try:
                found = await obstore.head_async(backend, _checked(key))
            except (OSError, BaseError) as error:
                if self.local or not answered(error):
                    raise
                found = (await obstore.get_async(backend, key)).meta  # the answer to HEAD does not say why
        except (OSError, BaseError) as error:
            raise _absent(error) or _unavailable("stat", error) from error
        return ObjectStat(found["size"], (found["e_tag"] or "").strip('"'), found["last_modified"].timestamp())

    async def read(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes of [start, end), in pieces. Raises ObjectMissing, before the first piece."""
        if end is not None and end <= start:
            return
        wanted: Any = None
        if end is not None:
            wanted = {"range": (start, end)}
        elif start:
            wanted = {"range": {"offset": start}}
        try:
            found = await obstore.get_async(await self._backend(), _checked(key), options=wanted)
            async for piece in found.stream(min_chunk_size=PIECE):
                yield bytes(piece)
        except (OSError, BaseError) as error:
            raise _absent(error) or _unavailable("read", error) from error

    async def sha256(self, key: str) -> str:
        """The SHA-256, in hexadecimal, of the object read back whole."""
        backend = await self._backend()

        def digest() -> str:
            running = hashlib.sha256()
            for piece in obstore.get(backend, key).stream(min_chunk_size=1024 * 1024):
                running.update(memoryview(piece))
            return running.hexdigest()

        _checked(key)
        try:
            return await asyncio.to_thread(digest)
        except (OSError, BaseError) as error:
            raise _absent(error) or _unavailable("read back", error) from error

    async def delete(self, key: str) -> None:
        """Remove the object. It is no error if there is none."""
        try:
            await obstore.delete_async(await self._backend(), _checked(key))
        except (OSError, BaseError) as error:
            if _absent(error) is None:
                raise _unavailable("delete", error) from error

    async def _backend(self, *, uploads: bool = False) -> Backend:
        if self._opened is None or self._uploads is None:
            try:
                if self._folder is not None:
                    await asyncio.to_thread(self._folder.mkdir, parents=True, exist_ok=True)
                    self._opened = self._uploads = LocalStore(self._folder)
                else:
                    self._opened, self._uploads = open_remote(self.url), open_remote(self.url, UPLOAD_IDLE_S)
            except (OSError, BaseError, ValueError) as error:
                raise _unavailable("open", error) from error
        return self._uploads if uploads else self._opened

    def _put_local(self, folder: Path, key: str, path: Path) -> None:
        """Link or copy beside the target, sync, rename. A reader sees the old object, or the new one, never a part."""
        target = folder / key
        made = []
        for parent in reversed([parent for parent in target.parents if parent.is_relative_to(folder) and parent != folder]):
            if not parent.is_dir():  # the folder itself is made once, when opened: one that vanished (a lost mount) is an error
                parent.mkdir(exist_ok=True)
                made.append(parent)
        for left in target.parent.glob(f".{target.name}.*"):  # by a process that was killed here
            left.unlink(missing_ok=True)
        fresh = target.with_name(f".{target.name}.{new_id()}")
        try:
            try:
                os.link(path, fresh)
            except OSError:  # another file system, or one without links
                _copy(path, fresh)
            _sync(fresh)
            os.replace(fresh, target)
        finally:
            # Renaming a link onto another link of the same file does nothing (POSIX), not even away with the old name.
            fresh.unlink(missing_ok=True)
        for parent in {target.parent, *(folder.parent for folder in made)}:
            _sync(parent)


def _copy(source: Path, target: Path) -> None:
    """Copy inside the kernel, in pieces."""
    with source.open("rb") as reading, target.open("xb") as writing:
        while os.sendfile(writing.fileno(), reading.fileno(), None, 64 * 1024 * 1024):
            continue


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _absent(error: Exception) -> ObjectMissing | None:
    """Nothing where it is more than one object that is not there."""
    if isinstance(error, FileNotFoundError | NotFoundError) and NO_BUCKET not in str(error):
        return ObjectMissing("no such object")
    return None


def _unavailable(what: str, error: Exception) -> ObjectsUnavailable:
    return ObjectsUnavailable(f"the object store failed to {what}: {words(error)}")
