"""The worker as a real process, and real receivers: nginx, a CouchDB, FTP servers. Each gets the file once, under its name, whatever
happens to either side."""

from __future__ import annotations

import hashlib
import signal
from dataclasses import replace
from pathlib import Path

import obstore
import obstore.store
import pytest
from worker_house import ACCOUNT, Sent, until, working

from tapeline.core.ids import new_id
from tapeline.delivery.bodies import StoredBody
from tapeline.delivery.errors import DeliveryFailed, Refused
from tapeline.delivery.ftp import put_ftp
from tapeline.store import ObjectStore
from tapeline.testing.authority import Authority, authority_missing
from tapeline.testing.ftpserver import FtpServer, ftp_server_missing
from tapeline.testing.nginx import Nginx, nginx_missing
from tapeline.testing.pouchdb import PouchDB, pouchdb_missing

pytestmark = pytest.mark.peer

# obstore starts its runtime at its first use and keeps it as long as the process lives: no leak of whichever test comes first.
obstore.put(obstore.store.MemoryStore(), "x", b"")


@pytest.fixture
def house(nursery: None, tmp_path: Path) -> Sent:
    return Sent(tmp_path / "data")


@pytest.mark.skipif(bool(nginx_missing()), reason=nginx_missing())
async def test_a_web_server_that_is_away_at_first_gets_each_file_once_by_put_and_across_its_redirect(house: Sent, tmp_path: Path) -> None:
    nginx = Nginx(tmp_path / "nginx")
    early = [house.record(1.0, spec=house.to(nginx.url + "/kzr/"), sip_call_id=f"early{number}@pbx") for number in range(3)]
    try:
        async with working(house) as worker:
            for recording in early:
                await worker.state(recording)  # nobody is there to take them, and they are available
            await until(lambda: all(len(house.tries(recording)) >= 2 for recording in early))
            nginx.start()
            moved = house.record(1.0, spec=house.to(nginx.url + "/moved"), sip_call_id="moved@pbx")
            worker.poke(moved)
            await house.delivered(*early, moved)
    finally:
        nginx.child.end()
    for number, recording in enumerate(early):
        data = nginx.file(f"/kzr/call_recording_early{number}@pbx.wav").read_bytes()
        assert hashlib.sha256(data).hexdigest() == house.row(recording)["sha256"]
        *before, last = house.tries(recording)
        assert last == ("ok", 201) and before and all(found == ("failed", 0) for found in before)
    assert nginx.file("/there/moved/call_recording_moved@pbx.wav").exists()
    requests = nginx.requests()
    assert len(requests) == len(set(requests)) == 5
    assert "PUT /moved/call_recording_moved%40pbx.wav HTTP/1.1 301" in requests


@pytest.mark.skipif(bool(pouchdb_missing()), reason=pouchdb_missing())
async def test_a_couchdb_takes_document_and_file_once_though_the_worker_is_killed_in_between(house: Sent, tmp_path: Path) -> None:
    with PouchDB(tmp_path / "pouchdb") as couch:
        house.config = replace(house.config, private=False, couch_host="127.0.0.1", couch_port=couch.address[1])
        kazoo = {"dialect": "kazoo", "media_name": "a b.wav", "caller_id_number": "1001"}
        recording = house.record(1.0, sip_call_id="x@pbx", custom=kazoo)
        async with working(house, "kill:send.done") as worker:
            assert await worker.ends() == -signal.SIGKILL
        async with working(house):
            await house.delivered(recording)
        assert house.deliveries(recording) == [("delivered", 1, 200, "")]
        account = ACCOUNT.replace("-", "")
        (month,) = {name[0][:6] for name in house.query(house.rows, "SELECT strftime('%Y%m', created, 'unixepoch') FROM recordings")}
        database = f"account/{account[:2]}/{account[2:4]}/{account[4:]}-{month}"
        (document,) = couch.documents(database)
        assert document["_id"] == f"{month}-{recording.replace('-', '')}"
        assert document["_rev"].startswith("2-")  # the document, and its file; nothing was written again
        assert (document["name"], document["call_id"], document["caller_id_number"]) == ("a b.wav", "x@pbx", "1001")
        assert document["_attachments"]["a b.wav"]["content_type"] == "audio/x-wav"
        data = couch.attachment(database, document["_id"], "a b.wav")
        assert hashlib.sha256(data).hexdigest() == house.row(recording)["sha256"]


@pytest.mark.skipif(bool(ftp_server_missing()), reason=ftp_server_missing())
async def test_an_ftp_server_gets_the_file_in_its_folder_and_what_it_refuses_is_told(tmp_path: Path) -> None:
    body, data = await stored(tmp_path)
    with FtpServer(tmp_path / "ftp") as server:
        (server.files / "kzr" / "in").mkdir(parents=True)
        base = f"ftp://recorder:p%40ss%2Fword@127.0.0.1:{server.address[1]}"
        assert await put_ftp(f"{base}/kzr/in/call_recording_a%40b.mp3", body, anywhere, idle_s=10, answer_s=10) == 226
        assert (server.files / "kzr" / "in" / "call_recording_a@b.mp3").read_bytes() == data
        assert await put_ftp(f"{base}/kzr/in/call_recording_a%40b.mp3", body, anywhere, idle_s=10, answer_s=10) == 226
        with pytest.raises(DeliveryFailed, match="refused: 550"):
            await put_ftp(f"{base}/nowhere/x.mp3", body, anywhere, idle_s=10, answer_s=10)
        with pytest.raises(DeliveryFailed, match="refused: 530"):
            await put_ftp(f"ftp://127.0.0.1:{server.address[1]}/x.mp3", body, anywhere, idle_s=10, answer_s=10)
        for odd in ("ftp://h/", "ftp://h/a%0d%0aDELE%20b", "ftp://u%0d:p@h/a"):
            with pytest.raises(Refused):
                await put_ftp(odd, body, anywhere, idle_s=10, answer_s=10)
    with pytest.raises(DeliveryFailed, match="the FTP connection failed"):
        await put_ftp(f"{base}/x.mp3", body, anywhere, idle_s=10, answer_s=10)


@pytest.mark.skipif(bool(ftp_server_missing() or authority_missing()), reason=ftp_server_missing() or authority_missing())
async def test_over_tls_the_servers_certificate_must_be_for_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body, data = await stored(tmp_path)
    authority = Authority(tmp_path / "ca")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    with FtpServer(tmp_path / "ftp", authority.issue("files.example")) as server:
        login = "recorder:p%40ss%2Fword"
        url = f"ftps://{login}@files.example:{server.address[1]}/x.mp3"
        assert await put_ftp(url, body, anywhere, idle_s=10, answer_s=10) == 226
        assert (server.files / "x.mp3").read_bytes() == data
        for bad in (url.replace("files.example", "other.example"), url.replace("ftps", "ftp")):
            with pytest.raises(DeliveryFailed):
                await put_ftp(bad, body, anywhere, idle_s=10, answer_s=10)


async def anywhere(host: str, port: int) -> list[str]:
    """Every name leads here."""
    return ["127.0.0.1"]


async def stored(folder: Path) -> tuple[StoredBody, bytes]:
    objects, key, source = ObjectStore(str(folder / "objects")), f"{new_id()}/{new_id()}.mp3", folder / "source"
    data = bytes(range(256)) * 2000
    source.write_bytes(data)
    await objects.put_file(key, source, "audio/mpeg")
    return await StoredBody.of(objects, key), data
