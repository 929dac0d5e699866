"""Writing an export: many recordings into one ZIP, straight into the object store.

    row claimed -> each recording: read, checked, stored in the ZIP -> manifest.json -> directory -> object -> row finished, and told of

Nothing is kept of a recording once it is in the file: what the manifest and the ZIP's directory will say waits in unnamed files of the
data folder.
A small recording is read whole and its checksum compared before it goes in; a larger one is checked while it passes, and what is wrong
with it is told afterwards. What cannot be had is listed under `missing`, with its reason, and holds up nothing.
A ZIP cannot be gone on with in the middle: after a crash it is begun again, under the same key, and nobody has seen the half of it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import tempfile
import time
import zlib
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

from tapeline.core.clock import utc
from tapeline.core.errors import TapelineError
from tapeline.delivery.seam import fault
from tapeline.delivery.zipping import ZipLayout
from tapeline.store import Database, ExportRow, ObjectMissing, ObjectStore, RecordingRow, Search
from tapeline.store.exports import export_key, signature

__all__ = ["Exporter"]

log = logging.getLogger(__name__)

PAGE = 200
SMALL = 1024 * 1024  # bytes: read whole before they are stored
AHEAD = 8  # small recordings read while others are being stored
TOUCH_S = 1.0  # how often progress is written down
GIVE_UP_S = 3 * 86400.0
SHOWN = 100  # of what is missing, in the row; the manifest has all of it
BATCH = 1024 * 1024  # bytes that are handed on at once


class Stopped(Exception):
    """Whoever asked for it does not want it any more, or this process ends, or another has taken over."""


@dataclass(slots=True)
class _Tally:
    done: int = 0
    missing: int = 0
    missed: list[Mapping[str, str]] = field(default_factory=list)
    touched: float = 0.0


class Exporter:
    """One attempt after the other; each ends the export, or is to be made again. Coroutines of one event loop."""

    def __init__(
        self,
        database: Database,
        objects: ObjectStore,
        *,
        folder: Path,
        node: str,
        hours: float,
        base_url: str,
        closing: Callable[[], bool] = lambda: False,
        on_ended: Callable[[str], None] = lambda export_id: None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`folder` takes what waits; `base_url` is where the API is reached from outside."""
        self._database = database
        self._objects = objects
        self._folder = folder
        self._node = node
        self._hours = hours
        self._base_url = base_url
        self._closing = closing
        self._on_ended = on_ended
        self._wall = wall

    async def holds(self, export_id: str) -> bool:
        row = await self._database.exports.get(export_id)
        return row is not None and row.status == "progressing" and row.deleted is None

    async def attempt(self, export_id: str) -> str:
        """"over", or "again". Never raises: what goes wrong becomes a row of `attempts`, and the log tells."""
        try:
            row = await self._database.exports.claim(export_id, self._node, self._wall())
            if row is None:
                return "over" if not await self.holds(export_id) else "again"
            return await self._run(row)
        except Stopped:
            return "again" if self._closing() else "over"
        except (TapelineError, OSError) as error:
            reason = str(error)
        except Exception as error:  # a defect must not stop the worker
            log.exception("an export broke", extra={"export": export_id})
            reason = f"{type(error).__name__}: {error}"
        log.warning("an export is begun again later: %s", reason, extra={"export": export_id})
        return await self._failed(export_id, reason)

    async def _failed(self, export_id: str, reason: str) -> str:
        try:
            await self._database.attempts.add("export", export_id, "", outcome="failed", reason=reason, fault="us")
            row = await self._database.exports.get(export_id)
            if row is not None and self._wall() - row.created > GIVE_UP_S:
                ended = replace(row, status="failed", reason=reason, updated=self._wall(), finished=self._wall(), node=self._node)
                await self._end(ended)
                return "over"
        except TapelineError as error:
            log.warning("%s", error)
        return "again"

    async def _run(self, row: ExportRow) -> str:
        key = export_key(row.account, row.id)
        tally = _Tally(touched=time.monotonic())
        with tempfile.TemporaryFile(dir=self._folder) as directory, tempfile.TemporaryFile(dir=self._folder) as entries, \
                tempfile.TemporaryFile(dir=self._folder) as missing:  # fmt: skip
            layout = ZipLayout(directory)
            async with self._objects.writer(key, "application/zip") as put:
                batch = _Batch(put)
                async for fetched in self._fetched(row):
                    told = await self._store(fetched, layout, batch)
                    (entries if "name" in told else missing).write(json.dumps(told, ensure_ascii=False).encode() + b"\n")
                    tally.done += 1
                    if "reason" in told:
                        tally.missing += 1
                        if len(tally.missed) < SHOWN:
                            tally.missed.append({"id": told["id"], "reason": told["reason"]})
                    fault("exported")
                    await self._touch(row, tally, layout)
                await self._manifest(row, entries, missing, layout, batch)
                for piece in layout.end():
                    await batch.add(piece)
                await batch.flush()
                await self._touch(row, tally, layout, now=True)  # a file that nobody wants any more does not get its name
        fault("export.done")
        return await self._finish(row, key, tally, layout)

    async def _finish(self, row: ExportRow, key: str, tally: _Tally, layout: ZipLayout) -> str:
        now = self._wall()
        ended = replace(
            row, status="finished", updated=now, finished=now, expires=now + self._hours * 3600, total=tally.done, done=tally.done,
            missing=tally.missing, missed=tuple(tally.missed), size=layout.offset, object_key=key, node=self._node,
        )  # fmt: skip
        if not await self._end(ended):
            found = await self._database.exports.get(row.id)
            if found is None or found.deleted is not None:
                await self._objects.delete(key)
        return "over"

    async def _end(self, row: ExportRow) -> bool:
        told: dict[str, Any] = {
            "id": row.id,
            "customer_id": row.account,
            "status": row.status,
            "reason": row.reason,
            "recording_count": row.done - row.missing,
            "missing_count": row.missing,
            "missing": [dict(item) for item in row.missed],
            "size": row.size,
            "tm_create": _stamp(row.created),
            "tm_update": _stamp(row.updated),
        }
        if row.status == "finished" and row.expires is not None:
            expires = int(row.expires)
            signed = signature(row, expires)
            told["download_uri"] = f"{self._base_url}/exports/{row.id}/file?expires={expires}&signature={signed}"
            told["tm_download_expire"] = _stamp(expires)
        ended = await self._database.exports.end(row, told)
        if ended:
            log.info("export ended", extra={"export": row.id, "status": row.status, "recordings": row.done, "missing": row.missing})
            self._on_ended(row.id)
        return ended

    async def _touch(self, row: ExportRow, tally: _Tally, layout: ZipLayout, *, now: bool = False) -> None:
        """Keep the lease and show progress, once a second. Raises Stopped."""
        if self._closing():
            raise Stopped
        at = time.monotonic()
        if not now and at - tally.touched < TOUCH_S:
            return
        tally.touched = at
        facts = {"done": tally.done, "missing": tally.missing, "missed": list(tally.missed), "size": layout.offset}
        if not await self._database.exports.note(row.id, self._node, self._wall(), **facts):
            raise Stopped

    async def _recordings(self, row: ExportRow) -> AsyncIterator[tuple[str, RecordingRow | None]]:
        """Each recording that is wanted, page by page, with its row where there is one."""
        if row.wanted:
            wanted = Search(**(dict(row.wanted) | {"account": row.account, "ascending": True, "limit": PAGE}))
            while found := await self._database.recordings.search(wanted):
                for recording in found:
                    yield recording.id, recording
                wanted = replace(wanted, after=(found[-1].created, found[-1].id))
            return
        place = 0
        while ids := await self._database.exports.items(row.id, place, PAGE):
            rows = {found.id: found for found in await self._database.recordings.search(_of_ids(row.account, ids))}
            for recording_id in ids:
                yield recording_id, rows.get(recording_id)
            place += len(ids)

    async def _fetched(self, row: ExportRow) -> AsyncIterator[_Fetched]:
        """The recordings in order, while the next few are being read."""
        reading: deque[asyncio.Task[_Fetched]] = deque()
        try:
            async for recording_id, recording in self._recordings(row):
                reading.append(asyncio.create_task(self._fetch(recording_id, recording)))
                if len(reading) > AHEAD:
                    yield await reading.popleft()
            while reading:
                yield await reading.popleft()
        finally:
            for task in reading:
                task.cancel()
            await asyncio.gather(*reading, return_exceptions=True)

    async def _fetch(self, recording_id: str, row: RecordingRow | None) -> _Fetched:
        """Whether it can be had; and, of a small one, its audio."""
        if row is None:
            return _Fetched(recording_id, "deleted")
        if row.state != "available" or not row.object_key:
            return _Fetched(recording_id, f"the recording is {row.state}")
        try:
            size = row.size
            if size is None or size > SMALL:
                found = (await self._objects.stat(row.object_key)).size
                return _Fetched(recording_id, OTHER if size not in (None, found) else "", row, found)
            data = bytearray()
            async for piece in self._objects.read(row.object_key):
                data += piece
                if len(data) > size:
                    break
        except ObjectMissing:
            return _Fetched(recording_id, "its audio is not there")
        right = len(data) == size and row.sha256 in ("", hashlib.sha256(data).hexdigest())
        return _Fetched(recording_id, "" if right else OTHER, row, size, bytes(data))

    async def _store(self, fetched: _Fetched, layout: ZipLayout, batch: _Batch) -> dict[str, Any]:
        """Put one recording into the file. What the manifest says of it; with a `reason` where it is not in it, or not as it should be."""
        row, data = fetched.row, fetched.data
        if row is None or fetched.reason:
            return {"id": fetched.id, "reason": fetched.reason}
        name = f"{utc(row.created):%Y%m%dT%H%M%SZ}_{row.id}.{row.format}"
        reason = ""
        if data is not None:
            crc = zlib.crc32(data)
            await batch.add(layout.begin(name, row.started or row.created, len(data), crc) + data + layout.finish(crc))
        else:
            reason = await self._store_large(row, name, fetched.size, layout, batch)
        return _entry(row, name, fetched.size) | ({"reason": reason} if reason else {})

    async def _store_large(self, row: RecordingRow, name: str, size: int, layout: ZipLayout, batch: _Batch) -> str:
        crc, digest, count = 0, hashlib.sha256(), 0
        await batch.add(layout.begin(name, row.started or row.created, size))
        async for piece in self._objects.read(row.object_key, 0, size):
            crc = zlib.crc32(piece, crc)
            digest.update(piece)
            count += len(piece)
            await batch.add(piece)
        if count != size:
            raise OSError(f"a recording ended after {count} of {size} bytes")  # the whole file is made again
        await batch.add(layout.finish(crc))
        return DAMAGED if row.sha256 and digest.hexdigest() != row.sha256 else ""

    async def _manifest(self, row: ExportRow, entries: IO[bytes], missing: IO[bytes], layout: ZipLayout, batch: _Batch) -> None:
        """Write manifest.json: its pieces twice, first for their length and sum."""
        head = {"id": row.id, "customer_id": row.account, "tm_create": _stamp(row.created), "filter": dict(row.wanted)}
        opening = json.dumps(head, ensure_ascii=False, indent=1).encode()[:-2] + b',\n "recordings": [\n'

        def pieces() -> Any:
            yield opening
            yield from _listed(entries)
            yield b'\n ],\n "missing": [\n'
            yield from _listed(missing)
            yield b"\n ]\n}\n"

        size, crc = await asyncio.to_thread(_measured, pieces)
        await batch.add(layout.begin("manifest.json", self._wall(), size, crc))
        for piece in pieces():
            await batch.add(piece)
        await batch.add(layout.finish(crc))


@dataclass(frozen=True, slots=True)
class _Fetched:
    """A recording on its way into the file: `reason` says why it will not get there; `data` is the audio of a small one."""

    id: str
    reason: str
    row: RecordingRow | None = None
    size: int = 0
    data: bytes | None = None


OTHER = "its audio is not what was stored"
DAMAGED = "its audio is in the file, but is not what was stored"


class _Batch:
    """Small pieces go out together."""

    def __init__(self, put: Callable[[bytes], Awaitable[None]]) -> None:
        self._put = put
        self._held = bytearray()

    async def add(self, piece: bytes) -> None:
        self._held += piece
        if len(self._held) >= BATCH:
            await self.flush()

    async def flush(self) -> None:
        if self._held:
            held, self._held = self._held, bytearray()
            await self._put(bytes(held))


def _of_ids(account: str, ids: Collection[str]) -> Search:
    return Search(account, limit=len(ids), equal={"id": ids})


def _stamp(wall: float | None) -> str | None:
    return utc(wall).isoformat().replace("+00:00", "Z") if wall is not None else None


def _entry(row: RecordingRow, name: str, size: int) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": name,
        "size": size,
        "sha256": row.sha256,
        "content_type": row.content_type,
        "duration": row.duration,
        "channels": row.channels,
        "rate": row.rate,
        "reference_type": row.reference,
        "reference_id": row.call_id,
        "source": row.source,
        "destination": row.destination,
        "direction": row.direction,
        "flow_id": row.flow_id,
        "tags": list(row.tags),
        "note": row.note,
        "tm_create": _stamp(row.created),
        "tm_start": _stamp(row.started),
        "tm_end": _stamp(row.ended),
    }


def _listed(lines: IO[bytes]) -> Any:
    """The lines of a file, with commas between them."""
    lines.seek(0)
    for number, line in enumerate(lines):
        yield (b",\n  " if number else b"  ") + line.rstrip(b"\n")


def _measured(pieces: Callable[[], Any]) -> tuple[int, int]:
    size = crc = 0
    for piece in pieces():
        size += len(piece)
        crc = zlib.crc32(piece, crc)
    return size, crc
