"""A recording put into a CouchDB: document, revision, attachment, whatever is there already and whoever is faster. Against a small server
that keeps revisions as CouchDB does; a real one is in tests/system/test_delivery_stores.py."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import AsyncIterator, Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from tapeline.core.ids import new_id
from tapeline.delivery.bodies import StoredBody
from tapeline.delivery.carry import Carrier
from tapeline.delivery.couch import OWNER, CouchAccess, couch_address, put_couch
from tapeline.delivery.errors import DeliveryFailed, Refused
from tapeline.delivery.http import GuardedClient
from tapeline.store import DeliveryRow, ObjectStore

AUDIO = bytes(range(256)) * 4000
MINE = json.dumps({"_id": "one", "name": "a b.mp3", OWNER: "recording-1"})


class Couch(ThreadingHTTPServer):
    """Databases of documents with revisions and attachments. `before` is called with each request, and may answer it with a status."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.databases: dict[str, dict[str, dict[str, Any]]] = {}
        self.files: dict[tuple[str, ...], bytes] = {}
        self.asked: list[str] = []
        self.logins: set[str] = set()
        self.before: Callable[[str, tuple[str, ...]], int | None] = lambda method, path: None
        self.access = CouchAccess("127.0.0.1", self.server_address[1])

    def answer(self, method: str, path: tuple[str, ...], revision: str, body: bytes) -> tuple[int, dict[str, Any]]:
        self.asked.append(f"{method} {len(path)}")
        if status := self.before(method, path):
            return status, {"error": "asked to fail"}
        database = self.databases.get(path[0])
        if len(path) == 1:
            if database is not None:
                return 412, {"error": "file_exists"}
            self.databases[path[0]] = {}
            return 201, {"ok": True}
        kept = (database or {}).get(path[1])
        if method == "GET":
            return (200, kept) if kept else (404, {"error": "not_found"})
        if database is None:
            return 404, {"error": "not_found", "reason": "no_db_file"}
        if (kept or {}).get("_rev", "") != revision:
            return 409, {"error": "conflict"}
        number = int(str((kept or {}).get("_rev", "0-")).split("-")[0]) + 1
        if len(path) == 2:
            kept = json.loads(body)
        assert kept is not None
        kept["_rev"] = f"{number}-x"
        if len(path) == 3:
            named = base64.b64encode(hashlib.md5(body).digest()).decode()
            kept.setdefault("_attachments", {})[path[2]] = {"length": len(body), "digest": f"md5-{named}", "stub": True}
            self.files[path] = body
        database[path[1]] = kept
        return 201, {"ok": True, "id": path[1], "rev": kept["_rev"]}

    def touch(self, database: str, document: str, **fields: Any) -> None:
        """Somebody else changes the document."""
        kept = self.databases.setdefault(database, {}).setdefault(document, {"_id": document, "_rev": "0-x"})
        kept.update(fields, _rev=f"{int(kept['_rev'].split('-')[0]) + 1}-y")


class _Handler(BaseHTTPRequestHandler):
    server: Couch
    timeout = 10

    def _meet(self) -> None:
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.logins.add(self.headers.get("Authorization", ""))
        path = tuple(unquote(part) for part in parts.path.split("/")[1:])
        revision = parse_qs(parts.query).get("rev", [""])[0]
        status, document = self.server.answer(self.command, path, revision, body)
        page = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    do_GET = do_PUT = _meet

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture
async def couch() -> AsyncIterator[Couch]:
    with Couch() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


class Bench:
    def __init__(self, couch: Couch, objects: ObjectStore, key: str, client: GuardedClient) -> None:
        self.couch, self.objects, self.key, self.client = couch, objects, key, client
        self.url = couch_address(couch.access.base, "account/ab-202611", "one", "a b.mp3")

    async def put(self, document: str = MINE, access: CouchAccess | None = None) -> int:
        body = await StoredBody.of(self.objects, self.key)
        access = access or self.couch.access
        return await put_couch(self.url, document, "audio/mpeg", body, self.client, access, timeout_s=10, idle_s=5, answer_s=5)

    @property
    def file(self) -> bytes | None:
        return self.couch.files.get(("account/ab-202611", "one", "a b.mp3"))


@pytest.fixture
async def bench(couch: Couch, tmp_path: Path) -> AsyncIterator[Bench]:
    objects, key = ObjectStore(str(tmp_path / "objects")), f"{new_id()}/{new_id()}.mp3"
    source = tmp_path / "source"
    source.write_bytes(AUDIO)
    await objects.put_file(key, source, "audio/mpeg")
    async with GuardedClient(allow_private_addresses=True) as client:
        yield Bench(couch, objects, key, client)


async def test_the_database_is_made_then_the_document_then_the_file_on_its_revision(bench: Bench) -> None:
    assert await bench.put() == 201
    assert bench.file == AUDIO
    assert bench.couch.databases["account/ab-202611"]["one"]["name"] == "a b.mp3"
    assert bench.couch.asked == ["GET 2", "PUT 2", "PUT 1", "GET 2", "PUT 2", "PUT 3"]


async def test_put_twice_it_is_there_once(bench: Bench) -> None:
    await bench.put()
    before = dict(bench.couch.databases["account/ab-202611"]["one"])
    assert await bench.put() == 200
    assert bench.couch.databases["account/ab-202611"]["one"] == before


@pytest.mark.parametrize("step", ["PUT 1", "PUT 2", "PUT 3"])
async def test_interrupted_before_or_after_any_step_the_next_try_completes_it(bench: Bench, step: str) -> None:
    def before(method: str, path: tuple[str, ...]) -> int | None:
        return 503 if f"{method} {len(path)}" == step else None

    bench.couch.before = before
    assert await bench.put() == 503
    bench.couch.before = lambda method, path: None
    assert await bench.put() in (200, 201)
    assert bench.file == AUDIO and len(bench.couch.databases["account/ab-202611"]) == 1


async def test_a_file_that_arrived_in_another_shape_is_replaced(bench: Bench) -> None:
    bench.couch.touch("account/ab-202611", "one", **{OWNER: "recording-1", "_attachments": {"a b.mp3": {"length": 3, "digest": "md5-x"}}})
    assert await bench.put() == 201
    assert bench.file == AUDIO
    bench.couch.touch("account/ab-202611", "one", _attachments={"a b.mp3": {"length": len(AUDIO), "digest": "md5-else"}})
    assert await bench.put() == 201


async def test_who_changes_the_document_in_between_makes_us_look_again(bench: Bench) -> None:
    changes = 3

    def before(method: str, path: tuple[str, ...]) -> int | None:
        nonlocal changes
        if method == "PUT" and len(path) == 3 and changes:
            changes -= 1
            bench.couch.touch(path[0], path[1], user_metadata=changes)
        return None

    bench.couch.before = before
    assert await bench.put() == 201
    assert bench.file == AUDIO and bench.couch.databases["account/ab-202611"]["one"]["user_metadata"] == 0
    changes = 100
    bench.couch.touch("account/ab-202611", "one", _attachments={})
    with pytest.raises(DeliveryFailed, match="all the time"):
        await bench.put()


async def test_a_document_of_another_recording_is_not_touched(bench: Bench) -> None:
    await bench.put()
    with pytest.raises(Refused, match="another recording"):
        await bench.put(json.dumps({"_id": "one", OWNER: "recording-2"}))
    assert bench.file == AUDIO


async def test_the_login_goes_to_the_database_of_the_settings_only(bench: Bench) -> None:
    access = CouchAccess("127.0.0.1", bench.couch.access.port, "me", "secret")
    file = {"body": MINE, "object_key": bench.key, "content_type": "audio/mpeg"}
    row = DeliveryRow(new_id(), new_id(), "upload", new_id(), bench.url, 0.0, 9e9, **file)
    async with GuardedClient() as guarded:
        with pytest.raises(Refused, match="not a public address"):
            await Carrier(bench.objects, guarded, CouchAccess("elsewhere", 1, "me", "secret"), bench.client).send(row)
        assert await Carrier(bench.objects, guarded, access, bench.client).send(row) == 201
    assert bench.couch.logins == {"Basic " + base64.b64encode(b"me:secret").decode()}
    assert "secret" not in row.url


async def test_what_is_no_couchdb_is_told_from_one(bench: Bench) -> None:
    bench.couch.before = lambda method, path: 200 if method == "GET" else None
    with pytest.raises(Refused, match="another recording"):
        await bench.put()
    bench.couch.before = lambda method, path: 401
    assert await bench.put() == 401
    for url in ("couchdb://h/only", "http://h/a/b/c", "couchdb://h/a//c"):
        bench.url = url
        with pytest.raises(Refused, match="not an address"):
            await bench.put()


def test_addresses() -> None:
    assert CouchAccess("db.example").base == "couchdb://db.example:5984"
    assert CouchAccess("https://db.example/", 6984).base == "couchdbs://db.example:6984"
    assert CouchAccess("fd00::1").base == "couchdb://[fd00::1]:5984"
    assert CouchAccess("db").owns("couchdb://db:5984/x") and not CouchAccess("db").owns("couchdb://db:59840/x")
