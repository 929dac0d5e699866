# ruff: noqa: ASYNC240 - a test may block its own event loop
"""The object store over a local folder: atomic puts, ranges, keys of our own making only."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from tapeline.core.ids import new_id
from tapeline.store import ObjectMissing, ObjectStore, ObjectsUnavailable, object_key

ACCOUNT, RECORDING = new_id(), new_id()
KEY = object_key(ACCOUNT, RECORDING, "wav")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(os.urandom(700_001))
    return path


async def read(store: ObjectStore, start: int = 0, end: int | None = None) -> bytes:
    return b"".join([piece async for piece in store.read(KEY, start, end)])


async def test_what_is_put_is_what_is_read(tmp_path: Path, source: Path) -> None:
    store = ObjectStore(str(tmp_path / "objects"))
    await store.put_file(KEY, source, "audio/wav")
    data = source.read_bytes()
    assert await read(store) == data
    found = await store.stat(KEY)
    assert found.size == len(data) and found.etag and found.modified == pytest.approx(source.stat().st_mtime, abs=1)
    assert await store.sha256(KEY) == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(("start", "end"), [(0, 1), (0, 700_001), (5, 10), (700_000, 700_001), (262_144, 600_000), (10, None), (3, 3)])
async def test_ranges(tmp_path: Path, source: Path, start: int, end: int | None) -> None:
    store = ObjectStore(str(tmp_path / "objects"))
    await store.put_file(KEY, source, "audio/wav")
    assert await read(store, start, end) == source.read_bytes()[start:end]


async def test_an_object_outlives_the_spool_file_it_was_linked_from(tmp_path: Path, source: Path) -> None:
    store = ObjectStore(f"file://{tmp_path / 'objects'}")
    await store.put_file(KEY, source, "audio/wav")
    assert (tmp_path / "objects" / KEY).stat().st_nlink == 2  # no copy was made
    data = source.read_bytes()
    source.unlink()
    assert await read(store) == data


async def test_a_put_from_another_file_system_copies(source: Path) -> None:
    shared = Path("/dev/shm")
    if not shared.is_dir() or shared.stat().st_dev == source.stat().st_dev:
        pytest.skip("/dev/shm is not a file system of its own here")
    folder = shared / f"tapeline-{new_id()}"
    try:
        store = ObjectStore(str(folder))
        await store.put_file(KEY, source, "audio/wav")
        assert await read(store) == source.read_bytes()
        assert [path.name for path in (folder / ACCOUNT).iterdir()] == [f"{RECORDING}.wav"]
    finally:
        for path in sorted(folder.rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()
        folder.rmdir()


async def test_putting_again_replaces_and_leaves_nothing_beside(tmp_path: Path, source: Path) -> None:
    store = ObjectStore(str(tmp_path / "objects"))
    stale = tmp_path / "objects" / ACCOUNT / f".{RECORDING}.wav.left-by-a-crash"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"half")
    await store.put_file(KEY, source, "audio/wav")
    await store.put_file(KEY, source, "audio/wav")
    other = tmp_path / "other"
    other.write_bytes(b"new")
    await store.put_file(KEY, other, "audio/wav")
    assert await read(store) == b"new"
    assert [path.name for path in stale.parent.iterdir()] == [f"{RECORDING}.wav"]


async def test_what_is_not_there_is_missing_and_may_be_deleted(tmp_path: Path, source: Path) -> None:
    store = ObjectStore(str(tmp_path / "objects"))
    await store.check()
    with pytest.raises(ObjectMissing):
        await store.stat(KEY)
    with pytest.raises(ObjectMissing):
        await read(store)
    with pytest.raises(ObjectMissing):
        await store.sha256(KEY)
    await store.delete(KEY)
    await store.put_file(KEY, source, "audio/wav")
    await store.delete(KEY)
    with pytest.raises(ObjectMissing):
        await store.stat(KEY)


async def test_a_folder_that_vanished_is_unavailable_and_is_not_made_again(tmp_path: Path, source: Path) -> None:
    folder = tmp_path / "objects"
    store = ObjectStore(str(folder))
    await store.put_file(KEY, source, "audio/wav")
    folder.rename(tmp_path / "away")
    other = object_key(new_id(), RECORDING, "wav")
    with pytest.raises(ObjectsUnavailable):
        await store.put_file(other, source, "audio/wav")
    with pytest.raises(ObjectsUnavailable):
        await store.check()
    assert not folder.exists()
    (tmp_path / "away").rename(folder)
    await store.put_file(other, source, "audio/wav")
    await store.check()


async def test_a_folder_that_cannot_be_made_is_unavailable(tmp_path: Path, source: Path) -> None:
    (tmp_path / "objects").write_bytes(b"a file in its place")
    with pytest.raises(ObjectsUnavailable):
        await ObjectStore(str(tmp_path / "objects")).put_file(KEY, source, "audio/wav")
    with pytest.raises(ObjectsUnavailable):
        await ObjectStore("nonsense://x").check()


@pytest.mark.parametrize("bad", ["../../etc/passwd", "a/../b", "/etc/passwd", "", "a//b", "A", "a\0b", ".hidden", "x" * 300])
async def test_keys_that_are_not_of_our_making_are_refused(tmp_path: Path, source: Path, bad: str) -> None:
    store = ObjectStore(str(tmp_path / "objects"))
    with pytest.raises(ValueError, match="not a key of ours"):
        await store.put_file(bad, source, "audio/wav")
    with pytest.raises(ValueError, match="not a key of ours"):
        await store.stat(bad)


def test_a_key_is_made_of_ids_only() -> None:
    assert f"{ACCOUNT}/{RECORDING}.wav" == KEY
    for account, recording, extension in (("default", RECORDING, "wav"), (ACCOUNT, "../x", "wav"), (ACCOUNT, RECORDING, "../wav")):
        with pytest.raises(ValueError, match="ids only"):
            object_key(account, recording, extension)  # type: ignore[arg-type]
