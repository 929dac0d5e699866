"""Recordings in a bucket of somebody else's S3 server, which checks every signature: the object store over it, and the worker as a real
process."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import io
import json
import os
import signal
import time
import zipfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import obstore
import obstore.store
import pytest
from worker_house import ACCOUNT, House, Sent, until, working

from tapeline.cli import main
from tapeline.core.ids import new_id
from tapeline.core.recordspec import Delivery
from tapeline.delivery.errors import DeliveryFailed
from tapeline.delivery.http import GuardedClient
from tapeline.delivery.plans import handler_in
from tapeline.delivery.probe import probe
from tapeline.store import Database, ExportRow, ObjectMissing, ObjectStore, ObjectsUnavailable, object_key
from tapeline.store.exports import export_key
from tapeline.testing.process import free_port
from tapeline.testing.process import until as kept_until
from tapeline.testing.receiver import Receiver
from tapeline.testing.s3server import S3Server, s3_server_missing
from tapeline.testing.server import Server

pytestmark = [pytest.mark.peer, pytest.mark.skipif(bool(s3_server_missing()), reason=s3_server_missing())]

MEMORY = obstore.store.MemoryStore()
# obstore starts its runtime at its first use and keeps it as long as the process lives: no leak of whichever test comes first.
obstore.put(MEMORY, "x", b"")


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with S3Server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def environment(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Ours, in which the store looks for its credentials."""
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    yield monkeypatch
    # What obstore's threads let go of (an error, with all that it knows, and so our store and its connections) is freed at a later call.
    for _ in range(200):
        obstore.put(MEMORY, "x", b"")
        gc.collect()
        if not any(type(each) is ObjectStore and not each.local for each in gc.get_objects()):
            break
        time.sleep(0.02)


def some_file(folder: Path, size: int) -> tuple[Path, bytes]:
    path = folder / "file"
    path.write_bytes(os.urandom(size))
    return path, path.read_bytes()


@pytest.mark.parametrize("size", [0, 1000, 12_000_001])  # the last goes up in parts
async def test_what_is_put_is_what_is_read(environment: pytest.MonkeyPatch, s3: S3Server, tmp_path: Path, size: int) -> None:
    store = ObjectStore("s3://calls/some/prefix")
    await store.check()
    path, data = some_file(tmp_path, size)
    key = object_key(new_id(), new_id(), "mp3")
    await store.put_file(key, path, "audio/mpeg")
    assert await asyncio.to_thread(s3.content, f"some/prefix/{key}") == (data, "audio/mpeg")
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
    with pytest.raises(ObjectMissing):
        await anext(store.read(key))
    with pytest.raises(ObjectMissing):
        await store.sha256(key)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "SignatureDoesNotMatch: .*AWS_SECRET_ACCESS_KEY"),
        ({"AWS_ACCESS_KEY_ID": "nobody"}, "AWS_(ACCESS_KEY_ID|SECRET_ACCESS_KEY)"),  # this server does not say which of them it is
        ({"AWS_REGION": "eu-west-1"}, "AuthorizationHeaderMalformed: .*AWS_REGION"),
        (S3Server.guest, "AccessDenied: .*permissions on the bucket"),
    ],
)
async def test_what_is_refused_is_told_with_the_setting_that_it_depends_on(
    environment: pytest.MonkeyPatch, tmp_path: Path, given: Mapping[str, str], told: str
) -> None:
    for name, value in given.items():
        environment.setenv(name, value)
    store, key = ObjectStore("s3://calls/refused"), object_key(new_id(), new_id(), "wav")
    path, _ = some_file(tmp_path, 100)
    with pytest.raises(ObjectsUnavailable, match=told):
        await store.put_file(key, path, "audio/wav")
    with pytest.raises(ObjectsUnavailable, match=told):
        await anext(store.read(key))
    with pytest.raises(ObjectsUnavailable, match=told):
        await store.stat(key)


async def test_without_credentials_it_says_that_there_are_none(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        environment.delenv(name)
    environment.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ObjectsUnavailable, match="no credentials: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set"):
        await ObjectStore("s3://calls/none").put_file(object_key(new_id(), new_id(), "wav"), some_file(tmp_path, 100)[0], "audio/wav")


async def test_a_bucket_that_is_not_there_is_no_missing_object(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    store, key = ObjectStore("s3://nobody-made-this/x"), object_key(new_id(), new_id(), "wav")
    path, _ = some_file(tmp_path, 100)
    tries = [store.check(), store.put_file(key, path, "audio/wav"), store.stat(key), anext(store.read(key)), store.sha256(key)]
    for what in (*tries, store.delete(key)):
        with pytest.raises(ObjectsUnavailable, match="NoSuchBucket: there is no such bucket: server.objects"):
            await what


async def test_a_server_that_does_not_answer_is_not_waited_for(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environment.setenv("AWS_ENDPOINT", "http://127.0.0.1:9")
    started = time.monotonic()
    with pytest.raises(ObjectsUnavailable):
        await ObjectStore("s3://calls/x").put_file(object_key(new_id(), new_id(), "wav"), some_file(tmp_path, 100)[0], "audio/wav")
    assert time.monotonic() - started < 30  # the worker's own pauses are better: they are visible and survive a restart


class Bucketed(Sent):
    """A house whose finished recordings go to the bucket."""

    def __init__(self, root: Path, server: S3Server) -> None:
        super().__init__(root)
        self.server = server
        self.prefix = f"of-{new_id()}"
        self.config = replace(self.config, objects=f"s3://calls/{self.prefix}")
        self.environment = dict(server.environment)

    def check_in_bucket(self, recording_id: str, content_type: str = "audio/wav") -> None:
        """One row, one object with the audio in it, nothing left in the spool."""
        row = self.row(recording_id)
        assert (row["state"], row["content_type"]) == ("available", content_type)
        keys = [key for key in self.server.keys(self.prefix) if recording_id in key]
        assert keys == [f"{self.prefix}/{row['object_key']}"]
        data, found = self.server.content(keys[0])
        assert (len(data), hashlib.sha256(data).hexdigest(), found) == (row["size"], row["sha256"], content_type)
        assert not self.spool.path(recording_id).exists()


@pytest.fixture
def house(nursery: None, s3: S3Server, tmp_path: Path) -> Bucketed:
    return Bucketed(tmp_path / "data", s3)


async def test_a_server_that_is_away_while_recordings_are_finished_gets_all_of_them(house: Bucketed, s3: S3Server) -> None:
    early = [house.record(1.0, spec={"format": form}) for form in ("mp3", "wav")]
    await asyncio.to_thread(s3.stop)
    try:
        async with working(house) as worker:
            for recording in early:
                await worker.hears(lambda line, recording=recording: line.get("recording") == recording and "problem" in line, 2)
            await asyncio.to_thread(s3.start)
            late = house.record(1.0)
            worker.poke(late)
            for recording in (*early, late):
                await worker.state(recording)
            await house.over(*early, late)
    finally:
        if not s3.child.running:
            s3.start()
    for recording in early:
        tries = house.attempts(recording)
        assert len(tries) >= 2 and all(row[:2] == ("store", "failed") and row[3] == "destination" and row[2] for row in tries)
    for recording, form in ((early[0], "audio/mpeg"), (early[1], "audio/wav"), (late, "audio/wav")):
        house.check_in_bucket(recording, form)


async def test_a_wrong_secret_is_told_and_set_right_nothing_is_lost(house: Bucketed) -> None:
    recording = house.record(1.0)
    house.environment["AWS_SECRET_ACCESS_KEY"] = "wrong"
    async with working(house) as worker:
        (at_start,) = await worker.hears(lambda line: "store" in line)
        (said,) = (await worker.hears(lambda line: "problem" in line))[:1]
    assert "AWS_SECRET_ACCESS_KEY" in at_start["store"]
    assert said["fault"] == "destination" and "AWS_SECRET_ACCESS_KEY" in said["problem"]
    assert house.attempts(recording)[0][:2] == ("store", "failed") and "SignatureDoesNotMatch" in house.attempts(recording)[0][2]
    house.environment |= house.server.environment
    async with working(house) as worker:
        await worker.state(recording)
        await house.over(recording)
    house.check_in_bucket(recording)


class Narrow:
    """A way to the server that carries `most` bytes there and then nothing, until it is widened."""

    def __init__(self, target: tuple[str, int], most: int) -> None:
        self._target, self._left = target, most
        self.full = asyncio.Event()
        self.widened = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[str]:
        """Its address."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.add(asyncio.current_task())  # type: ignore[arg-type]
        there, back = await asyncio.open_connection(*self._target)
        try:
            await asyncio.gather(self._carry(reader, back, True), self._carry(there, writer, False))
        except OSError:
            pass  # one of them has gone
        finally:
            back.close()
            writer.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, counted: bool) -> None:
        while data := await reader.read(65536):
            if counted:
                self._left -= len(data)
                if self._left < 0 and not self.widened.is_set():
                    self.full.set()
                    await self.widened.wait()
            writer.write(data)
            await writer.drain()
        writer.close()


async def test_killed_in_the_middle_of_an_upload_it_is_made_again_whole(house: Bucketed, s3: S3Server) -> None:
    recording = house.record(270.0, channels=2)  # 8.6 MB of WAV: two parts
    narrow = Narrow(s3.address, 6_000_000)
    async with narrow.open() as url:
        house.environment["AWS_ENDPOINT"] = url
        async with working(house) as worker:
            await asyncio.wait_for(narrow.full.wait(), 30)
            worker.process.kill()
            assert await worker.ends() == -signal.SIGKILL
        assert house.server.keys(house.prefix) == [] and house.spool.path(recording).exists()
        narrow.widened.set()
        async with working(house) as worker:
            await worker.state(recording)
            await house.over(recording)
    house.check_in_bucket(recording)


async def test_a_receiver_gets_what_is_in_the_bucket_also_when_the_bucket_was_away(house: Bucketed, s3: S3Server) -> None:
    house.config = replace(house.config, private=True)
    port = free_port()  # where nobody listens at first
    sent_to = {"format": "mp3", "deliver": (Delivery(f"http://127.0.0.1:{port}/in", naming="kazoo"),)}
    recording = house.record(2.0, spec=sent_to, sip_call_id="x")
    async with working(house) as worker:
        await worker.state(recording)
        await asyncio.to_thread(s3.stop)
        try:
            await until(lambda: any("object store" in reason for _, _, _, reason in house.deliveries(recording)))
        finally:
            await asyncio.to_thread(s3.start)
        with Receiver(port=port) as receiver:
            await house.delivered(recording)
            (last,) = receiver.received("/in/call_recording_x.mp3")
    assert hashlib.sha256(last.body).hexdigest() == house.row(recording)["sha256"]
    assert last.headers["content-type"] == "audio/mpeg"


async def test_an_export_is_streamed_into_the_bucket_and_what_is_over_leaves_it(house: Bucketed, tmp_path: Path) -> None:
    long, short = house.record(270.0, channels=2), house.record(1.0)
    database = Database(house.config.database)
    await database.open()
    try:
        async with working(house) as worker:
            await worker.state(long)
            await worker.state(short)
            await house.over(long, short)
            now = time.time()
            wanted = {"account": ACCOUNT, "until": now}
            export = ExportRow(new_id(), ACCOUNT, "progressing", now, updated=now, wanted=wanted, secret="s" * 32)
            await database.exports.add(export)
            await worker.hears(lambda line: line.get("export") == export.id)
            found = await database.exports.get(export.id)
            assert found is not None and (found.status, found.done, found.missing) == ("finished", 2, 0)
            data, content_type = await asyncio.to_thread(s3_object, house, export_key(ACCOUNT, export.id))
            assert content_type == "application/zip"
            with zipfile.ZipFile(io.BytesIO(data)) as opened:
                assert opened.testzip() is None
                listed = json.loads(opened.read("manifest.json"))["recordings"]
                read = {item["id"]: hashlib.sha256(opened.read(item["name"])).hexdigest() for item in listed}
            assert read == {recording: house.row(recording)["sha256"] for recording in (long, short)}
        await database.removals.remove([short], time.time() - 60.0)  # as the API does, which was killed before it removed the audio
        await database.keeping.amend(long, retention_days=1e-9)
        async with working(house) as worker:
            await until(lambda: not [key for key in house.server.keys(house.prefix) if key.endswith(".wav")])
        assert house.row(long)["deleted"] is not None
    finally:
        await database.close()


def test_a_server_gives_what_is_in_the_bucket_and_removes_it(s3: S3Server, tmp_path: Path) -> None:
    recording = House(tmp_path / "data").record(3.0, spec={"format": "mp3"})
    settings = {"server": {"objects": "s3://calls/served"}}
    with Server(tmp_path / "server", settings=settings, data=tmp_path / "data", environment=s3.environment) as server:
        path = f"/v1.0/recordings/{recording}"
        kept_until(lambda: server.api.get(path).json().get("status") == "available", "the recording to be available")
        (key,) = s3.keys("served/")
        data, content_type = s3.content(key)
        whole = server.api.get(f"{path}/file").ok()
        assert (whole.body, whole.headers["content-type"], content_type) == (data, "audio/mpeg", "audio/mpeg")
        part = server.api.request("GET", f"{path}/file", headers={"Range": "bytes=1000-1999"})
        assert (part.status, part.body) == (206, data[1000:2000])
        assert part.headers["content-range"] == f"bytes 1000-1999/{len(data)}"
        s3.stop()
        try:
            away = server.api.get(f"{path}/file")
        finally:
            s3.start()
        assert (away.status, away.json()["error"]["reason"]) == (503, "OBJECTS_UNAVAILABLE")
        assert server.api.request("DELETE", path).status == 200
        assert s3.keys("served/") == [] and server.api.get(f"{path}/file").status == 404


def test_the_doctor_tries_the_bucket(environment: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "tapeline.toml"
    objects, http = "s3://calls/doctor", f"127.0.0.1:{free_port()}"
    config.write_text(f'[server]\ndata = "{tmp_path / "data"}"\nobjects = "{objects}"\nhttp = "{http}"\nsip = []\n')

    def says() -> tuple[str, str]:
        main(["doctor", "--config", str(config), "--json"])
        (found,) = [each for each in json.loads(capsys.readouterr().out) if each["name"] == "object store"]
        return found["verdict"], found["detail"]

    assert says() == ("ok", "s3://calls/doctor: put, read and deleted an object")
    environment.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    verdict, told = says()
    assert verdict == "missing" and "SignatureDoesNotMatch" in told and "AWS_SECRET_ACCESS_KEY" in told


def s3_object(house: Bucketed, key: str) -> tuple[bytes, str]:
    return house.server.content(f"{house.prefix}/{key}")


def plan(s3: S3Server, **settings: object) -> dict[str, object]:
    """KAZOO's document that has an account's recordings stored in the bucket."""
    own = {"bucket": "calls", "key": s3.KEY, "secret": s3.SECRET, "host": s3.address[0], "port": s3.address[1], "scheme": "http"}
    return {
        "attachments": {"a" * 32: {"handler": "s3", "settings": own | settings}},
        "plan": {"modb": {"types": {"call_recording": {"attachments": {"handler": "a" * 32, "params": {"folder_path": "plan"}}}}}},
    }


async def test_a_storage_plans_bucket_gets_its_recordings_though_away_and_its_secret_wrong_at_first(
    nursery: None, s3: S3Server, tmp_path: Path
) -> None:
    house = Sent(tmp_path / "data")
    recording = house.record(1.0, spec={"format": "mp3"}, custom={"dialect": "kazoo", "media_name": "a b+c.mp3"}, sip_call_id="x@pbx")
    database = Database(house.config.database)
    await database.open()
    try:
        await database.documents.put(ACCOUNT, "storage", ACCOUNT, plan(s3, secret="wrong"))
        await asyncio.to_thread(s3.stop)
        async with working(house) as worker:
            await worker.state(recording)  # nobody is there to take it, and it is available
            await until(lambda: ("failed", 0) in house.tries(recording))
            await asyncio.to_thread(s3.start)
            await until(lambda: ("failed", 403) in house.tries(recording))
            ((state, _, _, reason),) = house.deliveries(recording)
            assert (state, reason) == ("waiting", "answered 403: SignatureDoesNotMatch")
            await database.documents.put(ACCOUNT, "storage", ACCOUNT, plan(s3))
            await house.delivered(recording)
    finally:
        await database.close()
        if not s3.child.running:
            s3.start()
    account, own_id = ACCOUNT.replace("-", ""), recording.replace("-", "")
    ((month,),) = house.query(house.rows, "SELECT strftime('%Y%m', created, 'unixepoch') FROM recordings")
    key = f"plan/account/{account[:2]}/{account[2:4]}/{account[4:]}-{month}/{month}-{own_id}_a b+c.mp3"
    assert s3.keys("plan/") == [key]
    data, content_type = s3.content(key)
    assert (hashlib.sha256(data).hexdigest(), content_type) == (house.row(recording)["sha256"], "audio/mpeg")
    assert house.tries(recording)[-1] == ("ok", 200)


async def test_the_probe_of_a_storage_plan_says_what_the_server_says(s3: S3Server) -> None:
    client = GuardedClient(allow_private_addresses=True)
    try:
        for settings, told in (
            ({"secret": "wrong"}, "storing a test file was answered 403: .*SignatureDoesNotMatch"),
            ({"bucket": "not-there"}, "storing a test file was answered 404: .*NoSuchBucket"),
            ({"region": "eu-west-1"}, "storing a test file was answered 400: .*AuthorizationQueryParametersError"),
        ):
            handler = handler_in(plan(s3, **settings), "a" * 32)
            assert handler is not None
            with pytest.raises(DeliveryFailed, match=told):
                await probe(handler, "0123456789abcdef" * 2, client)
        handler = handler_in(plan(s3, folder_base_path="probed"), "a" * 32)
        assert handler is not None
        await probe(handler, "0123456789abcdef" * 2, client)
        assert s3.keys("probed/") == []  # and what it stored is gone again
    finally:
        await client.close()
