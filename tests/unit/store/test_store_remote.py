"""Object stores over a network: how long they are waited for, and what is said when they refuse. Against a real S3 server:
tests/system/test_delivery_s3.py."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from obstore.exceptions import GenericError, PermissionDeniedError

from tapeline.core.ids import new_id
from tapeline.store import ObjectStore, ObjectsUnavailable, object_key
from tapeline.store.objects.remote import answered, words

KEY = object_key(new_id(), new_id(), "wav")
HEAD = "Generic S3 error: Error performing PUT http://s3.example/calls/a in 2ms - Server returned non-2xx status code: 400 Bad Request: "


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (GenericError(f"{HEAD}<Error><Code>PermanentRedirect</Code></Error>"), "PermanentRedirect: the bucket is in another region: AWS"),
        (PermissionDeniedError(f"{HEAD}<Code>RequestTimeTooSkewed</Code>\n"), "RequestTimeTooSkewed: this machine's clock is wrong"),
        (PermissionDeniedError("no body"), "access denied: key and secret"),
        (GenericError("Error performing PUT http://169.254.169.254/latest/api/token in 1s"), "no credentials: AWS_ACCESS_KEY_ID"),
        (GenericError("<Code>SlowDown</Code> one\ntwo"), "<Code>SlowDown</Code> one"),
        (GenericError("x" * 1000), "x" * 300),
        (OSError(), "OSError"),
    ],
)  # fmt: skip
def test_what_an_operator_can_put_right_is_told_on_one_line(error: Exception, told: str) -> None:
    assert words(error).startswith(told) and "\n" not in words(error) and len(words(error)) <= 300


def test_an_answer_is_told_from_none() -> None:
    assert answered(GenericError(HEAD)) and not answered(GenericError("error sending request"))


@pytest.fixture
async def silent() -> AsyncIterator[str]:
    """A server that takes what comes and never answers."""
    over = asyncio.Event()

    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await over.wait()
        writer.close()

    server = await asyncio.start_server(keep, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    over.set()
    server.close()
    await server.wait_closed()


async def test_a_server_that_hangs_is_given_up_in_the_time_that_the_environment_says(
    silent: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {"ACCESS_KEY_ID": "k", "SECRET_ACCESS_KEY": "s", "ENDPOINT": silent, "READ_TIMEOUT": "200ms"}
    for name, value in values.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    path = tmp_path / "file"
    path.write_bytes(b"audio")
    store = ObjectStore("s3://calls/x")
    began = time.monotonic()
    for what in (store.put_file(KEY, path, "audio/wav"), store.stat(KEY), anext(store.read(KEY)), store.delete(KEY)):
        with pytest.raises(ObjectsUnavailable, match="the object store failed to"):
            await what
    assert time.monotonic() - began < 60
