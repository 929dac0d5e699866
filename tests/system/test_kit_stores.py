"""The receivers of files: nginx stores what is PUT to it and tells of it, pouchdb-server is a CouchDB to talk to."""

from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tapeline.testing.nginx import Nginx, nginx_missing
from tapeline.testing.pouchdb import PouchDB, pouchdb_missing

pytestmark = pytest.mark.peer


def put(url: str, body: bytes) -> int:
    with urllib.request.urlopen(urllib.request.Request(url, body, method="PUT"), timeout=5) as answer:
        status: int = answer.status
    return status


@pytest.mark.skipif(bool(nginx_missing()), reason=nginx_missing())
def test_nginx_keeps_what_is_put_serves_it_and_comes_back_at_the_same_address(tmp_path: Path) -> None:
    with Nginx(tmp_path) as nginx:
        assert put(nginx.url + "/kzr/a%40b.mp3", b"sound") == 201
        assert nginx.wait_for("/kzr/a@b.mp3") == b"sound"
        nginx.stop()
        with pytest.raises(urllib.error.URLError):
            put(nginx.url + "/kzr/c.mp3", b"")
        nginx.start()
        with urllib.request.urlopen(nginx.url + "/kzr/a%40b.mp3", timeout=5) as answer:
            assert answer.read() == b"sound"
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
