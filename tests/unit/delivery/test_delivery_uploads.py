"""Where a finished recording is sent: addresses as KAZOO composes them, one row for each target, the same rows if made twice."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from tapeline.core.ids import new_id
from tapeline.core.recordspec import Delivery, RecordSpec
from tapeline.delivery.uploads import Manner, deliveries_of, kazoo_address, kazoo_fields
from tapeline.recording.manifest import Manifest, spec_as_dict
from tapeline.store import RecordingRow

NAME = "call_recording_a84b4c%40pbx.mp3"


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("http://your.server.com/recordings", f"http://your.server.com/recordings/{NAME}"),
        ("http://your.server.com/recordings///", f"http://your.server.com/recordings/{NAME}"),
        ("http://h", f"http://h/{NAME}"),
        ("http://h/p?", f"http://h/p/{NAME}"),
        ("http://h/p?file=", f"http://h/p?file={NAME}"),
        ("http://h/p?a=1&file=", f"http://h/p?a=1&file={NAME}"),
        ("http://h/p?file", f"http://h/p?file={NAME}"),
        ("http://h/p?a=1", f"http://h/p?a=1&recording={NAME}"),
        ("ftp://h/dir", f"ftp://h/dir/{NAME}"),
    ],
)
def test_the_files_name_is_added_to_the_base(base: str, expected: str) -> None:
    assert kazoo_address(base, "a84b4c@pbx", "mp3", {}) == expected


def test_the_query_of_later_releases_follows_with_a_mark_or_an_ampersand() -> None:
    fields = {"from": "1001@acme", "to": "", "start": "1"}
    assert kazoo_address("http://h/p", "x", "wav", fields) == "http://h/p/call_recording_x.wav?from=1001%40acme&to=&start=1"
    assert kazoo_address("http://h/p?f=", "x", "wav", fields) == "http://h/p?f=call_recording_x.wav&from=1001%40acme&to=&start=1"
    assert kazoo_address("ftp://h/p", "x", "wav", fields) == "ftp://h/p/call_recording_x.wav"


def _recording(*deliver: Delivery, custom: Mapping[str, str] | None = None) -> tuple[Manifest, RecordingRow]:
    spec = spec_as_dict(RecordSpec(format="mp3", deliver=deliver, custom=custom or {}))
    manifest = Manifest(
        new_id(), new_id(), sip_call_id="a84b4c@pbx", source="1001", destination="2002", spec=spec,
        created=100.0, started=101.5, custom=custom or {},
    )  # fmt: skip
    row = RecordingRow(**manifest.facts(), state="available", duration=42.18, object_key="a/b.mp3", content_type="audio/mpeg")
    return manifest, row


def test_each_target_is_a_row_of_its_own_and_the_same_row_when_made_again() -> None:
    manifest, row = _recording(
        Delivery("http://one/kzr", "PUT", naming="kazoo"), Delivery("http://two/x", "POST", headers={"X-Key": "1"}), Delivery("http://two/x")
    )
    made = deliveries_of(manifest, row, 1000.0, Manner("here"), {})
    assert [found.url for found in made] == [f"http://one/kzr/{NAME}", "http://two/x", "http://two/x"]
    assert [found.method for found in made] == ["PUT", "POST", "PUT"]
    assert made[1].headers == {"X-Key": "1"}
    assert len({found.id for found in made}) == 3
    assert all((found.ref, found.account, found.object_key, found.node) == (row.id, row.account, "a/b.mp3", "here") for found in made)
    assert made[0].until == 1000.0 + 3 * 86400
    (queried, *_) = deliveries_of(manifest, row, 1000.0, Manner("here", kazoo_query=True), {})
    assert queried.url.startswith(f"http://one/kzr/{NAME}?from=1001&to=2002&") and queried.id == made[0].id
    assert [found.id for found in deliveries_of(manifest, row, 2000.0, Manner("here"), {})] == [found.id for found in made]


def test_the_query_has_its_twelve_fields_in_order() -> None:
    _, row = _recording()
    fields = kazoo_fields(row)
    assert list(fields) == [
        "from", "to", "caller_id_name", "caller_id_number", "call_id", "cdr_id",
        "interaction_id", "owner_id", "account_id", "start", "duration_ms", "recording_id",
    ]  # fmt: skip
    assert (fields["start"], fields["duration_ms"], fields["call_id"]) == (str(101 + 62167219200), "42180", "a84b4c@pbx")


def test_a_specification_that_names_a_target_survives_the_manifest() -> None:
    manifest, _ = _recording(Delivery("http://one/kzr", "POST", naming="kazoo", headers={"A": "b"}))
    read = Manifest.from_json(manifest.to_json())
    assert read.record_spec.deliver == (Delivery("http://one/kzr", "POST", naming="kazoo", headers={"A": "b"}),)


def test_without_an_address_a_callflows_recording_goes_to_the_couchdb_of_the_settings() -> None:
    kazoo = {"dialect": "kazoo", "media_name": "_my/name.mp3"}
    manifest, row = _recording(custom=kazoo)
    assert deliveries_of(manifest, row, 1000.0, Manner("here"), {}) == []
    manner = Manner("here", couch="couchdb://db:5984")
    (made,) = deliveries_of(manifest, row, 1000.0, manner, {})
    digits, account = row.id.replace("-", ""), row.account.replace("-", "")
    database = f"account/{account[:2]}/{account[2:4]}/{account[4:]}-197001"
    assert made.url == f"couchdb://db:5984/{database.replace('/', '%2F')}/197001-{digits}/{digits}.mp3"
    assert (made.object_key, made.content_type, made.state) == ("a/b.mp3", "audio/mpeg", "waiting")
    document = json.loads(made.body)
    assert document["_id"] == document["id"] == f"197001-{digits}"
    assert (document["name"], document["call_id"], document["duration_ms"]) == ("_my/name.mp3", "a84b4c@pbx", 42180)
    assert (document["pvt_type"], document["pvt_account_db"], document["pvt_recording"]) == ("call_recording", database, row.id)
    assert deliveries_of(manifest, row, 2000.0, manner, {})[0].id == made.id
    named, row = _recording(custom={"dialect": "kazoo", "media_id": "mine", "media_name": "a b"})
    assert deliveries_of(named, row, 1000.0, manner, {})[0].url.endswith("-197001/mine/a%20b")


def test_only_what_belongs_there_goes_to_the_couchdb() -> None:
    manner = Manner("here", couch="couchdb://db:5984")
    for custom, deliver in (({}, ()), ({"dialect": "kazoo"}, (Delivery("http://one/x"),))):
        manifest, row = _recording(*deliver, custom=custom)
        assert [found.url for found in deliveries_of(manifest, row, 1000.0, manner, {})] == [target.url for target in deliver]
