"""What a KAZOO operator checks of uploads and storage, line by line: sections 8.1, 8.2 and 8.4 of the platform's checklist, each as a test.

From the fields of a `record_call` to what a receiver got. FTP servers, a CouchDB and nginx as real peers are in
tests/system/test_delivery_stores.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import numpy as np
import pytest

from tapeline import flow
from tapeline.calls.limits import permitted
from tapeline.core.errors import InvalidInput, InvalidState
from tapeline.core.ids import new_id
from tapeline.core.settings import RecordingSettings
from tapeline.delivery.carry import Carrier
from tapeline.delivery.finish import STAGES, Finisher
from tapeline.delivery.http import GuardedClient
from tapeline.delivery.send import Sender
from tapeline.delivery.uploads import Manner, storage_of
from tapeline.recording.manifest import Manifest, spec_as_dict
from tapeline.recording.spool import Spool
from tapeline.store import Database, DeliveryRow, ObjectStore, RecordingRow, Search
from tapeline.testing.receiver import Received, Receiver

CALL_ID, NAME = "a84b4c@pbx", "call_recording_a84b4c%40pbx"
FIELDS = [
    "from", "to", "caller_id_name", "caller_id_number", "call_id", "cdr_id",
    "interaction_id", "owner_id", "account_id", "start", "duration_ms", "recording_id",
]  # fmt: skip


def unfilled(text: str) -> str:
    """A text without what a call would fill in."""
    return re.sub(r"\$\{[^}]*\}", "", text)


class House:
    """One account's recordings, finished and sent, in a time of their own."""

    def __init__(self, folder: Path, database: Database, receiver: Receiver, client: GuardedClient) -> None:
        self.spool, self.database, self.receiver = Spool(folder / "spool"), database, receiver
        self.objects = ObjectStore(str(folder / "objects"))
        self.account, self.now = new_id(), 1_793_500_000.0
        self._client = client
        self.restart()

    def restart(self) -> None:
        carrier = Carrier(self.objects, self._client, storage=lambda account: storage_of(self.database, account))
        self.sender = Sender(self.database, carrier, lambda said: None, wall=lambda: self.now)

    async def record(self, seconds: float = 1.0, manner: Manner | None = None, **data: Any) -> RecordingRow:
        """What becomes of a recording that a flow's `record_call` with these data made."""
        spec = flow.recording_spec({"action": "start", "format": "wav"} | data, unfilled, origin="flow")
        custom = {**spec.custom, "from": "1001@acme", "to": "2002@acme"}
        manifest = Manifest(
            new_id(), self.account, call_id=new_id(), sip_call_id=CALL_ID, source="1001", destination="2002", state="stopped", channels=2,
            created=self.now, started=self.now, ended=self.now + seconds, rate=8000, custom=custom,
            spec=spec_as_dict(replace(spec, rate=8000)),
        )  # fmt: skip
        if seconds < spec.min_s:
            manifest = replace(manifest, state="failed", reason="too_short")
        path = self.spool.create(replace(manifest, state="recording"))
        with path.open("ab") as file:
            file.write(np.full((round(seconds * 8000), 2), 1000, np.int16).tobytes())
        self.spool.finish(manifest)
        finisher = Finisher(self.spool, self.database, self.objects, lambda said: None, manner=manner, wall=lambda: self.now)
        for stage in STAGES:
            assert await finisher.run(stage, manifest.id) == "ok"
        row = await self.database.recordings.get(manifest.id)
        assert row is not None
        return row

    async def deliveries(self, recording: RecordingRow) -> list[DeliveryRow]:
        return await self.database.deliveries.list(ref=recording.id)

    async def sent(self, recording: RecordingRow) -> Received:
        """What the receiver got by one try."""
        (delivery,) = await self.deliveries(recording)
        assert await self.sender.attempt(delivery.id, 0) is None
        return self.receiver.requests[-1]


@pytest.fixture
async def house(tmp_path: Path, database: Database) -> AsyncIterator[House]:
    with Receiver() as receiver:
        async with GuardedClient(allow_private_addresses=True) as client:
            yield House(tmp_path, database, receiver, client)


# --- 8.1 record_call


@pytest.mark.parametrize("method", ["put", "post", None])
async def test_url_and_method_the_raw_body_goes_to_url_slash_name(house: House, method: str | None) -> None:
    recording = await house.record(url=house.receiver.url + "/kzr", method=method)
    request = await house.sent(recording)
    assert (request.method, request.path) == ((method or "put").upper(), f"/kzr/{NAME}.wav")
    assert request.body == b"".join([piece async for piece in house.objects.read(recording.object_key)])


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ("/kzr///", f"/kzr/{NAME}.wav"),
        ("/in?file=", f"/in?file={NAME}.wav"),
        ("/in?file", f"/in?file={NAME}.wav"),
        ("/in?a=1", f"/in?a=1&recording={NAME}.wav"),
        ("/a%20b/", f"/a%20b/{NAME}.wav"),
    ],
)
async def test_trailing_slashes_query_in_url_and_encoding(house: House, given: str, asked: str) -> None:
    (delivery,) = await house.deliveries(await house.record(url=house.receiver.url + given))
    assert delivery.url == house.receiver.url + asked
    assert await house.sender.attempt(delivery.id, 0) is None


async def test_metadata_query_string_has_twelve_fields_in_order_and_is_switched_off_by_default(house: House) -> None:
    plain, told = [
        (await house.deliveries(await house.record(1.5, manner, url=house.receiver.url)))[0].url
        for manner in (Manner(), Manner(kazoo_query=True))
    ]
    assert "?" not in plain
    fields = dict(parse_qsl(urlsplit(told).query, keep_blank_values=True))
    assert list(fields) == FIELDS
    assert (fields["from"], fields["to"], fields["call_id"], fields["duration_ms"]) == ("1001@acme", "2002@acme", CALL_ID, "1500")
    assert fields["start"] == str(int(house.now) + 62_167_219_200) and fields["account_id"] == house.account.replace("-", "")
    assert fields["owner_id"] == "" and fields["cdr_id"] == f"{fields['recording_id'][:6]}-{CALL_ID}"


@pytest.mark.parametrize(("form", "kind"), [("wav", "audio/x-wav"), ("mp3", "audio/mpeg")])
async def test_content_type(house: House, form: str, kind: str) -> None:
    request = await house.sent(await house.record(url=house.receiver.url, format=form))
    assert request.headers["content-type"] == kind and request.path.endswith("." + form)
    assert request.body[:4] == b"RIFF" if form == "wav" else request.body[:1] == b"\xff" or request.body[:3] == b"ID3"


@pytest.mark.parametrize("status", [301, 302])
async def test_redirects_keep_verb_and_body(house: House, status: int) -> None:
    house.receiver.redirect(f"/kzr/{NAME}.wav", "/elsewhere/file", status)
    recording = await house.record(url=house.receiver.url + "/kzr", method="post")
    request = await house.sent(recording)
    assert (request.method, request.path, len(request.body)) == ("POST", "/elsewhere/file", recording.size)


async def test_success_is_any_2xx_and_all_else_is_retried_and_recorded_as_an_error(house: House) -> None:
    (delivery,) = await house.deliveries(await house.record(url=house.receiver.url))
    house.receiver.fail(f"/{NAME}.wav", 403, 500, 304, 206)
    while (pause := await house.sender.attempt(delivery.id, 0)) is not None:
        house.now += pause
    tries = [(found.outcome, found.status) for found in await house.database.attempts.list(delivery.id)]
    assert tries == [("failed", 403), ("failed", 500), ("failed", 304), ("ok", 206)]


def document(handler: str = "http", **settings: Any) -> dict[str, Any]:
    chosen = {"attachments": {"handler": "h"}}
    return {"attachments": {"h": {"handler": handler, "settings": settings}}, "plan": {"modb": {"types": {"call_recording": chosen}}}}


async def test_no_url_plan_then_store_recordings_then_nothing(house: House) -> None:
    spec = flow.recording_spec({}, unfilled, origin="flow")
    with pytest.raises(InvalidState):
        permitted(spec, RecordingSettings(store_recordings=False), {})
    assert permitted(spec, RecordingSettings(store_recordings=False), document()) and permitted(spec, RecordingSettings(), {})
    kept = await house.record()
    assert (kept.state, await house.deliveries(kept)) == ("available", [])
    await house.database.documents.put(house.account, "storage", house.account, document(url=house.receiver.url + "/plan"))
    with_url = await house.record(url=house.receiver.url + "/own")
    assert (await house.sent(with_url)).path == f"/own/{NAME}.wav", "a url of its own comes first"
    planned = await house.sent(await house.record(manner=Manner(couch="couchdb://db:5984")))
    assert planned.path.startswith(f"/plan/{house.account.replace('-', '')}/"), "and the plan before the third party's database"


async def test_third_party_host_comes_before_the_local_store_alone(house: House) -> None:
    recording = await house.record(manner=Manner(couch="couchdb://db:5984"), media_name="mine.wav")
    (delivery,) = await house.deliveries(recording)
    account = house.account.replace("-", "")
    assert delivery.url.startswith(f"couchdb://db:5984/account%2F{account[:2]}%2F{account[2:4]}%2F") and delivery.url.endswith("/mine.wav")
    told = json.loads(delivery.body)
    assert (told["call_id"], told["from"], told["duration_ms"], told["pvt_type"]) == (CALL_ID, "1001@acme", 1000, "call_recording")
    assert recording.object_key, "it is kept here, too"


@pytest.mark.parametrize("url", ["gopher://h/x", "HTTP//h", "file:///tmp/x", "javascript:alert(1)"])
def test_bad_scheme_is_not_stored_with_a_clear_error(url: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        flow.recording_spec({"url": url}, unfilled, origin="flow")
    assert "http, https, ftp and ftps" in str(refused.value.problems)


@pytest.mark.parametrize("scheme", ["ftp", "ftps"])
async def test_ftp_and_ftps_get_the_name_without_a_query(house: House, scheme: str) -> None:
    manner = Manner(kazoo_query=True)
    (delivery,) = await house.deliveries(await house.record(manner=manner, url=f"{scheme}://u:p@h/dir"))
    assert delivery.url == f"{scheme}://u:p@h/dir/{NAME}.wav"


async def test_media_id_becomes_the_recording_id_and_is_generated_otherwise(house: House) -> None:
    manner = Manner(kazoo_query=True)
    for given in ({"media_id": "mine"}, {}):
        recording = await house.record(manner=manner, url=house.receiver.url, **given)
        (delivery,) = await house.deliveries(recording)
        told = dict(parse_qsl(urlsplit(delivery.url).query))["recording_id"]
        assert told == given.get("media_id", f"{told[:6]}-{recording.id.replace('-', '')}")


async def test_media_id_duplicates_are_refused_and_get_a_generated_id(house: House) -> None:
    manner = Manner(kazoo_query=True)

    async def named(**data: Any) -> tuple[RecordingRow, str]:
        house.now += 60.0
        recording = await house.record(manner=manner, url=house.receiver.url, media_id="mine", **data)
        (delivery,) = await house.deliveries(recording)
        return recording, dict(parse_qsl(urlsplit(delivery.url).query))["recording_id"]

    (first, told), (second, generated) = await named(), await named()
    assert (told, generated) == ("mine", f"{generated[:6]}-{second.id.replace('-', '')}")
    assert "media_id" not in second.custom and second.timeline[-1]["refused"] == "mine"
    assert (first.custom["media_id"], second.state) == ("mine", "available")
    found = await house.database.recordings.search(Search(house.account, equal={"media_id": ("mine",)}))
    assert [row.id for row in found] == [first.id]
    await house.database.removals.remove([first.id], house.now)
    assert (await named())[1] == "mine"  # free again
    account, house.account = house.account, new_id()
    assert (await named())[1] == "mine" and account != house.account  # another's ids are its own affair


@pytest.mark.parametrize("name", ["no extension", "/etc/passwd", "../../x.mp3", "a.b.c"])
async def test_media_name_is_never_a_path_and_never_the_uploads_name(house: House, name: str) -> None:
    recording = await house.record(url=house.receiver.url + "/kzr", media_name=name)
    assert (await house.sent(recording)).path == f"/kzr/{NAME}.wav"
    assert recording.custom["media_name"] == name and name not in recording.object_key


async def test_record_min_sec_strictly_shorter_is_deleted_and_not_uploaded(house: House) -> None:
    short = await house.record(0.9, url=house.receiver.url, record_min_sec=1)
    assert (short.state, short.reason, short.object_key, await house.deliveries(short)) == ("failed", "too_short", "", [])
    exact = await house.record(1.0, url=house.receiver.url, record_min_sec=1)
    assert len(await house.deliveries(exact)) == 1


async def test_several_recordings_of_a_call_are_independent_files_and_ids(house: House) -> None:
    recordings = [await house.record(url=house.receiver.url + where) for where in ("/a", "/b")]
    assert {(await house.sent(recording)).path for recording in recordings} == {f"/a/{NAME}.wav", f"/b/{NAME}.wav"}
    assert len({recording.id for recording in recordings}) == 2


async def test_retries_at_least_five_rounds_with_growing_delay_that_survive_restarts(house: House) -> None:
    (delivery,) = await house.deliveries(await house.record(url=house.receiver.url))
    house.receiver.serve(f"/{NAME}.wav", b"", status=503)
    pauses = []
    for _ in range(8):
        pause = await house.sender.attempt(delivery.id, 0)
        assert pause is not None
        pauses.append(pause)
        house.restart()
        house.now += pause
    assert pauses == sorted(pauses) and pauses[-1] > 60 and len(set(pauses)) == 8
    house.receiver.serve(f"/{NAME}.wav", b"", status=200)
    assert await house.sender.attempt(delivery.id, 0) is None
    assert await house.sender.attempt(delivery.id, 0) is None, "a success is never repeated"
    assert len(house.receiver.requests) == 9


# --- 8.4 storage plans


@pytest.mark.parametrize("multipart", [False, True])
async def test_storage_plans_http(house: House, multipart: bool) -> None:
    plan = document(url=house.receiver.url + "/in", send_multipart=multipart)
    await house.database.documents.put(house.account, "storage", house.account, plan)
    recording = await house.record(media_name="n.wav")
    request = await house.sent(recording)
    assert request.path.endswith("/n.wav")
    assert request.headers["content-type"].startswith("multipart/form-data" if multipart else "audio/x-wav")
    assert (len(request.body) == recording.size) != multipart


async def test_storage_plans_s3_take_the_secret_of_the_moment(house: House) -> None:
    def plan(secret: str) -> Mapping[str, Any]:
        parts = urlsplit(house.receiver.url)
        host = {"host": parts.hostname, "port": parts.port, "scheme": "http"}
        return document("s3", bucket="calls-1", key="AK", secret=secret, **host)

    await house.database.documents.put(house.account, "storage", house.account, plan("first"))
    recording = await house.record()
    (delivery,) = await house.deliveries(recording)
    assert "first" not in repr(delivery) and "AK" not in repr(delivery)
    await house.database.documents.delete(house.account, "storage", house.account)
    pause = await house.sender.attempt(delivery.id, 0)
    assert pause is not None and house.receiver.requests == [], "without credentials it waits"
    house.now += pause
    await house.database.documents.put(house.account, "storage", house.account, plan("second"))
    assert await house.sender.attempt(delivery.id, 0) is None
    assert house.receiver.requests[-1].path.startswith("/calls-1/account/")
    (failed, done) = await house.database.attempts.list(delivery.id)
    assert "no handler" in failed.reason and done.status == 200 and "Signature" not in repr((failed, done))
