"""Storage plans: which handler takes a recording, under which name, and what arrives there."""

from __future__ import annotations

import base64
import email
import email.policy
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest

from tapeline.calls.limits import permitted
from tapeline.core.errors import InvalidState
from tapeline.core.ids import new_id
from tapeline.core.recordspec import RecordSpec
from tapeline.core.settings import RecordingSettings
from tapeline.delivery import s3
from tapeline.delivery.carry import Carrier
from tapeline.delivery.errors import DeliveryFailed, Refused
from tapeline.delivery.http import GuardedClient
from tapeline.delivery.plans import Handler, handler_in
from tapeline.delivery.probe import TEXT, probe
from tapeline.delivery.uploads import Manner, deliveries_of
from tapeline.recording.manifest import Manifest, spec_as_dict
from tapeline.store import DeliveryRow, ObjectStore, RecordingRow
from tapeline.testing.receiver import Receiver

AUDIO = bytes(range(256)) * 3001  # no multiple of three
ONE, TWO = "a" * 32, "b" * 32
ACCOUNT = "01234567-89ab-cdef-0123-456789abcdef"
RECORDING = "fedcba98-7654-3210-fedc-ba9876543210"
DATABASE, OWN_ID = "account/01/23/456789abcdef0123456789abcdef-202611", "202611-fedcba9876543210fedcba9876543210"
CREATED = 1_793_500_000.0


def storage(handler: str, settings: Mapping[str, Any], **params: Any) -> dict[str, Any]:
    chosen = {"attachments": {"handler": ONE, "params": params}}
    return {
        "attachments": {ONE: {"handler": handler, "settings": dict(settings)}},
        "plan": {"modb": {"types": {"call_recording": chosen}}},
    }


def recorded(custom: Mapping[str, str] | None = None, origin: str = "flow") -> tuple[Manifest, RecordingRow]:
    custom = {"dialect": "kazoo", "media_name": "my name.mp3", **(custom or {})}
    spec = spec_as_dict(RecordSpec(format="mp3", origin=origin, custom=custom))
    manifest = Manifest(RECORDING, ACCOUNT, spec=spec, created=CREATED, custom=custom)
    return manifest, RecordingRow(**manifest.facts(), state="available", duration=1.0, object_key="k", content_type="audio/mpeg")


def sent(document: Mapping[str, Any], **more: Any) -> DeliveryRow | None:
    made = deliveries_of(*recorded(**more), 1000.0, Manner("here"), document)
    return made[0] if made else None


S3 = {"bucket": "calls-1", "key": "AK", "secret": "SK"}
GROUP = {"group": [{"arg": "id"}, {"const": ".a"}]}


@pytest.mark.parametrize(
    ("document", "method", "url"),
    [
        (storage("s3", S3), "PUT", f"s3://{ONE}@calls-1/{DATABASE}/{OWN_ID}_my%20name.mp3"),
        (storage("s3", S3, folder_path="/in/here/"), "PUT", f"s3://{ONE}@calls-1/in/here/{DATABASE}/{OWN_ID}_my%20name.mp3"),
        (
            storage("s3", S3 | {"folder_base_path": "top", "field_list": [{"arg": "account_id"}, {"const": "x"}, {"field": "call_id"}]}),
            "PUT",
            f"s3://{ONE}@calls-1/top/0123456789abcdef0123456789abcdef/x",
        ),
        (
            storage("s3", S3 | {"field_separator": "-", "field_list": [{"field": "duration_ms"}, GROUP]}),
            "PUT",
            f"s3://{ONE}@calls-1/1000-{OWN_ID}.a",
        ),
        (storage("s3", S3 | {"field_list": [{"const": "../.."}]}), "PUT", f"s3://{ONE}@calls-1/{OWN_ID}"),
        (
            storage("http", {"url": "http://h/base/"}),
            "PUT",
            f"http://h/base/0123456789abcdef0123456789abcdef/{OWN_ID}/my%20name.mp3",
        ),
        (
            storage("http", {"url": "https://u:p@h?token=1", "verb": "post"}),
            "POST",
            f"https://u:p@h/0123456789abcdef0123456789abcdef/{OWN_ID}/my%20name.mp3?token=1",
        ),
    ],
)  # fmt: skip
def test_a_plans_handler_gets_what_names_no_url(document: dict[str, Any], method: str, url: str) -> None:
    row = sent(document)
    assert row is not None and (row.method, row.url, row.body) == (method, url, "")
    again = sent(document)
    assert again is not None and again.id == row.id and "SK" not in repr(row)


def test_the_owner_is_part_of_the_name_where_there_is_one() -> None:
    row = sent(storage("http", {"url": "http://h"}), custom={"owner_id": "alice"})
    assert row is not None and row.url == f"http://h/0123456789abcdef0123456789abcdef/alice/{OWN_ID}/my%20name.mp3"


def test_a_kind_of_its_own_comes_before_the_databases_and_other_recordings_have_no_plan() -> None:
    document = storage("s3", S3)
    document["attachments"][TWO] = {"handler": "http", "settings": {"url": "http://two"}}
    document["plan"]["modb"]["attachments"] = {"handler": TWO}
    assert sent(document).url.startswith("s3://")  # type: ignore[union-attr]
    assert sent(document, origin="voicemail").url.startswith("http://two/")  # type: ignore[union-attr]
    assert sent(document, custom={"dialect": "voipbin"}) is None
    for nothing in ({}, {"plan": {"modb": None}}, {"plan": {"account": {"attachments": {"handler": ONE}}}}, {"plan": []}):
        assert sent(nothing) is None


def test_a_plan_lets_a_recording_be_made_that_nobody_keeps_otherwise() -> None:
    settings = RecordingSettings(store_recordings=False)
    spec = RecordSpec(custom={"dialect": "kazoo"}, origin="flow")
    with pytest.raises(InvalidState, match="store_recordings"):
        permitted(spec, settings, {})
    assert permitted(spec, settings, storage("s3", S3)).custom == spec.custom


@dataclass
class Bench:
    receiver: Receiver
    client: GuardedClient
    objects: ObjectStore
    key: str
    document: Mapping[str, Any]

    async def storage(self, account: str) -> Mapping[str, Any]:
        return self.document if account == ACCOUNT else {}

    async def send(self, document: Mapping[str, Any]) -> int:
        """What is made of the document now, under the document as it is by then."""
        row = sent(document)
        assert row is not None
        changes = {name: getattr(row, name) for name in DeliveryRow.__dataclass_fields__} | {"object_key": self.key}
        return await Carrier(self.objects, self.client, storage=self.storage).send(DeliveryRow(**changes))

    @property
    def host(self) -> dict[str, Any]:
        parts = urlsplit(self.receiver.url)
        return {"host": parts.hostname, "port": parts.port, "scheme": "http"}


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    objects, key, source = ObjectStore(str(tmp_path / "objects")), f"{new_id()}/{new_id()}.mp3", tmp_path / "source"
    source.write_bytes(AUDIO)
    await objects.put_file(key, source, "audio/mpeg")
    with Receiver() as receiver:
        async with GuardedClient(allow_private_addresses=True) as client:
            yield Bench(receiver, client, objects, key, {})


async def test_a_bucket_gets_the_file_by_a_request_that_its_secret_signs(bench: Bench) -> None:
    bench.document = storage("s3", S3 | bench.host | {"region": "eu-west-1"})
    assert await bench.send(bench.document) == 200
    (request,) = bench.receiver.requests
    assert (request.method, request.path, request.body) == ("PUT", f"/calls-1/{DATABASE}/{OWN_ID}_my%20name.mp3", AUDIO)
    assert request.headers["content-type"] == "audio/mpeg"


def _signature(method: str, url: str, secret: str) -> str:
    """What AWS computes of a request whose signature stands in the query (Signature Version 4)."""
    parts = urlsplit(url)
    query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
    query.pop("X-Amz-Signature")
    day, region, service, kind = query["X-Amz-Credential"].split("/")[1:]
    canonical = "&".join(f"{quote(name, safe='')}={quote(query[name], safe='')}" for name in sorted(query))
    request = "\n".join([method, parts.path, canonical, f"host:{parts.netloc}\n", "host", "UNSIGNED-PAYLOAD"])
    scope = "/".join([day, region, service, kind])
    text = "\n".join(["AWS4-HMAC-SHA256", query["X-Amz-Date"], scope, hashlib.sha256(request.encode()).hexdigest()])
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, kind):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


@pytest.mark.parametrize(
    ("settings", "host"),
    [
        ({"region": "eu-west-1"}, "https://calls-1.s3.eu-west-1.amazonaws.com/a"),
        ({"bucket": "Calls.x", "bucket_access_method": "auto"}, "https://s3.us-east-1.amazonaws.com/Calls.x/a"),
        ({"host": "minio.example", "port": 9000, "scheme": "http"}, "http://minio.example:9000/calls-1/a"),
        ({"host": "s3.example", "bucket_access_method": "vhost"}, "https://calls-1.s3.example/a"),
        ({"bucket_access_method": "path"}, "https://s3.us-east-1.amazonaws.com/calls-1/a"),
    ],
)  # fmt: skip
def test_signatures_hold_for_each_way_to_name_a_bucket(settings: dict[str, Any], host: str) -> None:
    handler = Handler(ONE, "s3", S3 | settings)
    for method in ("PUT", "GET", "DELETE"):
        url = s3.signed(method, f"s3://{ONE}@calls-1/a/b%20c.mp3", handler)
        assert url.startswith(f"{host}/b%20c.mp3?")
        assert parse_qs(urlsplit(url).query)["X-Amz-Signature"] == [_signature(method, url, "SK")]
    with pytest.raises(Refused):
        s3.signed("PUT", f"s3://{ONE}@calls-1/a", Handler(ONE, "s3", {"bucket": "x"}))


@pytest.mark.parametrize("encoded", [False, True])
async def test_a_form_holds_the_metadata_and_the_file(bench: Bench, encoded: bool) -> None:
    settings = {"url": bench.receiver.url + "/in", "send_multipart": True, "base64_encode_data": encoded, "verb": "post"}
    assert await bench.send(storage("http", settings)) == 200
    (request,) = bench.receiver.requests
    assert request.method == "POST" and request.headers["content-length"] == str(len(request.body))
    head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
    document, file = email.message_from_bytes(head + request.body, policy=email.policy.HTTP).iter_parts()
    assert document.get_content_type() == "application/json" and json.loads(document.get_content())["id"] == OWN_ID
    assert (file.get_content_type(), file.get_filename()) == ("audio/mpeg", "my name.mp3")
    assert file.get_payload(decode=True) == AUDIO
    assert (base64.b64encode(AUDIO) in request.body) == encoded


async def test_a_handler_that_was_put_away_is_waited_for_and_one_that_is_not_known_is_told(bench: Bench) -> None:
    document = storage("s3", S3 | bench.host)
    with pytest.raises(DeliveryFailed, match="no handler"):
        await bench.send(document)
    with pytest.raises(Refused, match="nothing is sent over azure"):
        await bench.send(storage("azure", {}))
    assert bench.receiver.requests == []


async def test_a_probe_stores_and_reads_back_and_says_what_is_wrong(bench: Bench) -> None:
    kept = {"attachments": {ONE: {"handler": "s3", "settings": S3 | bench.host}, TWO: {"handler": "http", "settings": {}}}}
    kept["attachments"][TWO]["settings"] = {"url": bench.receiver.url + "/web", "send_multipart": True}
    for name, methods in ((ONE, ["PUT", "GET", "DELETE"]), (TWO, ["PUT", "GET"])):
        handler = handler_in(kept, name)
        assert handler is not None
        bench.receiver.requests.clear()
        with pytest.raises(DeliveryFailed, match="not what was stored"):  # this receiver answers nothing to a GET
            await probe(handler, "0123", bench.client)
        assert [request.method for request in bench.receiver.requests] == ["PUT", "GET"]
        with Answering(bench.receiver):
            bench.receiver.requests.clear()
            await probe(handler, "0123", bench.client)
            assert [request.method for request in bench.receiver.requests] == methods
    bench.receiver.close()
    with pytest.raises(DeliveryFailed, match="no connection"):
        await probe(handler, "0123", bench.client)


class Answering:
    """Within it the receiver answers every path with the test's text."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver, self._take = receiver, receiver.take

    def __enter__(self) -> None:
        def take(request: Any) -> Any:
            self._take(request)
            return None, (200, "text/plain", TEXT)

        self._receiver.take = take  # type: ignore[method-assign]

    def __exit__(self, *_: object) -> None:
        self._receiver.take = self._take  # type: ignore[method-assign]
