"""The receivers of files: nginx stores what is PUT to it and tells of it, pouchdb-server is a CouchDB to talk to, Swift has a bucket."""

from __future__ import annotations

import urllib.error
import urllib.request
from datetime import timedelta
from pathlib import Path

import obstore
import obstore.store
import pytest

from tapeline.testing.nginx import Nginx, nginx_missing
from tapeline.testing.pouchdb import PouchDB, pouchdb_missing
from tapeline.testing.process import until
from tapeline.testing.s3server import S3Server, s3_server_missing

pytestmark = pytest.mark.peer

# obstore starts its runtime at its first use and keeps it as long as the process lives: no leak of whichever test comes first.
obstore.put(obstore.store.MemoryStore(), "x", b"")


def put(url: str, body: bytes) -> int:
    with urllib.request.urlopen(urllib.request.Request(url, body, method="PUT"), timeout=5) as answer:
        status: int = answer.status
    return status


@pytest.mark.skipif(bool(nginx_missing()), reason=nginx_missing())
def test_nginx_keeps_what_is_put_serves_it_and_comes_back_at_the_same_address(tmp_path: Path) -> None:
    with Nginx(tmp_path) as nginx:
        assert put(nginx.url + "/kzr/a%40b.mp3", b"sound") == 201
        assert nginx.wait_for("/kzr/a@b.mp3") == b"sound"
        until(nginx.requests, "the request to be logged, which comes after its answer")
        nginx.stop()
        with pytest.raises(urllib.error.URLError):
            put(nginx.url + "/kzr/c.mp3", b"")
        nginx.start()
        with urllib.request.urlopen(nginx.url + "/kzr/a%40b.mp3", timeout=5) as answer:
            assert answer.read() == b"sound"
        until(lambda: len(nginx.requests()) == 2, "the other request to be logged")
        assert nginx.requests() == ["PUT /kzr/a%40b.mp3 HTTP/1.1 201", "GET /kzr/a%40b.mp3 HTTP/1.1 200"]


@pytest.mark.skipif(bool(pouchdb_missing()), reason=pouchdb_missing())
def test_pouchdb_takes_documents_and_refuses_what_conflicts(tmp_path: Path) -> None:
    with PouchDB(tmp_path) as database:
        database.put("some%2Fname")
        database.put("some%2Fname/one", {"a": 1})
        with pytest.raises(urllib.error.HTTPError) as refused:
            database.put("some%2Fname/one", {"a": 2})
        refused.value.close()
        assert refused.value.code == 409
        assert [(found["_id"], found["a"]) for found in database.documents("some/name")] == [("one", 1)]


@pytest.mark.skipif(bool(s3_server_missing()), reason=s3_server_missing())
def test_the_s3_server_keeps_its_objects_over_a_restart_and_takes_no_wrong_signature(tmp_path: Path) -> None:
    with S3Server(tmp_path) as server:
        url = obstore.sign(server.bucket(), "PUT", "a/b c.mp3", timedelta(hours=1))
        assert put(url, b"sound") == 200
        with pytest.raises(urllib.error.HTTPError) as refused:
            put(url[:-1] + ("0" if url[-1] != "0" else "1"), b"other")
        refused.value.close()
        assert refused.value.code == 403
        server.stop()
        server.start()
        assert server.keys() == ["a/b c.mp3"] and server.content("a/b c.mp3")[0] == b"sound"
