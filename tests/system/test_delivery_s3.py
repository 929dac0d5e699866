
"""The object store over the S3 protocol, against moto's server where it is installed."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import obstore
import obstore.store
import pytest

from tapeline.core.ids import new_id
from tapeline.store import ObjectMissing, ObjectStore, ObjectsUnavailable, object_key

pytestmark = pytest.mark.peer

# obstore starts its runtime at its first use and keeps it as long as the process lives: no leak of whichever test comes first.
obstore.put(obstore.store.MemoryStore(), "x", b"")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    program = shutil.which("moto_server")
    if program is None:
        pytest.skip("moto_server is not installed (pip install 'moto[server]')")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen([program, "-H", "127.0.0.1", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(150):
            try:
                urllib.request.urlopen(urllib.request.Request(f"{url}/bucket", method="PUT"), timeout=5).close()
                break
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.1)
        else:
            pytest.skip("moto_server does not start here")
        yield url
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def credentials(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT": endpoint,
        "AWS_ALLOW_HTTP": "true",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("size", [0, 1000, 12_000_001])  # the last goes up in parts
async def test_what_is_put_is_what_is_read(credentials: None, tmp_path: Path, size: int) -> None:
    store = ObjectStore("s3://bucket/some/prefix")
    await store.check()
    path = tmp_path / "file"
    path.write_bytes(os.urandom(size))
    key = object_key(new_id(), new_id(), "mp3")
    await store.put_file(key, path, "audio/mpeg")
    data = path.read_bytes()
    found = await store.stat(key)
    assert (found.size, bool(found.etag)) == (size, True)
    assert await store.sha256(key) == hashlib.sha256(data).hexdigest()
    assert b"".join([piece async for piece in store.read(key)]) == data
    if size:
        assert b"".join([piece async for piece in store.read(key, 10, 500)]) == data[10:500]
        assert b"".join([piece async for piece in store.read(key, size - 5)]) == data[-5:]
    await store.delete(key)
    await store.delete(key)
    with pytest.raises(ObjectMissing):
        await store.stat(key)


async def test_a_bucket_that_is_not_there_and_a_store_that_does_not_answer(
    credentials: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"audio")
    key = object_key(new_id(), new_id(), "wav")
    with pytest.raises(ObjectsUnavailable):
        await ObjectStore("s3://nobody-made-this/x").put_file(key, path, "audio/wav")
    monkeypatch.setenv("AWS_ENDPOINT", "http://127.0.0.1:9")
    started = time.monotonic()
    with pytest.raises(ObjectsUnavailable):
        await ObjectStore("s3://bucket/x").put_file(key, path, "audio/wav")
    assert time.monotonic() - started < 30  # the worker's own pauses are better: they are visible and survive a restart
