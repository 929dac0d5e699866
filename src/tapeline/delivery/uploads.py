"""What is to be sent of a finished recording, and to which address: a row of `deliveries` for each target of its specification.

The ids of the rows are made of the recording's, so that a recording that is published twice is sent once.

KAZOO composes the address from a base. All slashes at its end are taken away; then, with the file's name
`call_recording_CALLID.EXT`:

    no query                     BASE/NAME
    the last parameter is `k=`   BASE + NAME                    the name becomes k's value
    ... has no `=`               BASE + = + NAME
    ... has a value              BASE + &recording= + NAME
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlsplit

from tapeline.core.kazoo import CONTENT_TYPES, gregorian, hex_id, recording_document
from tapeline.core.recordspec import Delivery
from tapeline.delivery.couch import OWNER, couch_address
from tapeline.delivery.plans import Stored, month_database, stored_by
from tapeline.delivery.policies import KEEP_TRYING_S
from tapeline.recording.manifest import Manifest
from tapeline.store import Database, DeliveryRow, RecordingRow

__all__ = ["Manner", "deliveries_of", "kazoo_address", "kazoo_fields", "storage_of"]

_IDS: Final = uuid.UUID("1c9d7a54-6f0b-4a3e-9d5a-0f4f3a1b7c21")  # name space of the ids of deliveries

FIELDS: Final = (
    "from", "to", "caller_id_name", "caller_id_number", "call_id", "cdr_id",
    "interaction_id", "owner_id", "account_id", "start", "duration_ms", "recording_id",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Manner:
    """How this node sends: its name, whether KAZOO's addresses get the query of its later releases, and the CouchDB that takes what names
    no address (`couchdb://host:port`, or nothing)."""

    node: str = ""
    kazoo_query: bool = False
    couch: str = ""


def deliveries_of(
    manifest: Manifest, row: RecordingRow, now: float, manner: Manner, storage: Mapping[str, Any]
) -> list[DeliveryRow]:
    """The rows for each target that the recording's specification names, else for what the account's `storage` document or the settings
    say. `row` is the recording's final row."""
    targets = manifest.record_spec.deliver
    if targets:
        return [_delivery(manifest, row, target, number, now, manner) for number, target in enumerate(targets)]
    if (planned := stored_by(storage, row)) is not None:
        return [_planned(row, *planned, now, manner)]
    if manner.couch and row.custom.get("dialect") == "kazoo" and row.origin != "voicemail":
        return [_couch(row, now, manner)]
    return []


async def storage_of(database: Database, account: str) -> Mapping[str, Any]:
    """An account's document of storage plans, {} where it has none. Raises DatabaseUnavailable."""
    row = await database.documents.find(account, "storage", account)
    return row.body if row is not None else {}


def _planned(row: RecordingRow, stored: Stored, document: Mapping[str, Any], now: float, manner: Manner) -> DeliveryRow:
    """The recording for the handler of the account's storage plan."""
    return DeliveryRow(
        id=str(uuid.uuid5(_IDS, f"{row.id}/plan")),
        account=row.account,
        kind="upload",
        ref=row.id,
        url=stored.url,
        created=now,
        until=now + KEEP_TRYING_S,
        method=stored.method,
        headers=dict(stored.part or {}),
        body=json.dumps(document) if stored.multipart else "",
        object_key=row.object_key,
        content_type=CONTENT_TYPES.get(row.format, row.content_type),
        node=manner.node,
    )


def _couch(row: RecordingRow, now: float, manner: Manner) -> DeliveryRow:
    """The recording as a document of its account's database of the month, and its file as an attachment."""
    document = recording_document(row)
    account = hex_id(row.account)
    database = month_database(account, document["id"])
    wanted, name = str(document.get("media_id", "")), str(document["name"])
    document_id = wanted if wanted and not wanted.startswith("_") else document["id"]  # the database keeps such names to itself
    file = name if not name.startswith("_") else f"{hex_id(row.id)}.{row.format}"
    private = {
        "pvt_type": "call_recording",
        "pvt_account_id": account,
        "pvt_account_db": database,
        "pvt_created": gregorian(row.created),
        "pvt_modified": gregorian(now),
        OWNER: row.id,
    }
    return DeliveryRow(
        id=str(uuid.uuid5(_IDS, f"{row.id}/couch")),
        account=row.account,
        kind="upload",
        ref=row.id,
        url=couch_address(manner.couch, database, document_id, file),
        created=now,
        until=now + KEEP_TRYING_S,
        body=json.dumps({**document, "id": document_id, "_id": document_id, **private}),
        object_key=row.object_key,
        content_type=CONTENT_TYPES.get(row.format, row.content_type),
        node=manner.node,
    )


def _delivery(manifest: Manifest, row: RecordingRow, target: Delivery, number: int, now: float, manner: Manner) -> DeliveryRow:
    url, content_type = target.url, row.content_type
    if target.naming == "kazoo":
        fields = kazoo_fields(row) if manner.kazoo_query else {}
        url = kazoo_address(target.url, manifest.sip_call_id or manifest.call_id, row.format, fields)
        content_type = CONTENT_TYPES.get(row.format, content_type)
    return DeliveryRow(
        id=str(uuid.uuid5(_IDS, f"{row.id}/{number}")),
        account=row.account,
        kind="upload",
        ref=row.id,
        url=url,
        created=now,
        until=now + KEEP_TRYING_S,
        method=target.method,
        headers=dict(target.headers),
        object_key=row.object_key,
        content_type=content_type,
        node=manner.node,
    )


def kazoo_address(base: str, call_id: str, extension: str, fields: Mapping[str, str]) -> str:
    """Where KAZOO sends the file; see the module. `fields` is the query of its later releases, or empty."""
    name = f"call_recording_{quote(call_id, safe='')}.{extension}"
    base = base.rstrip("/")
    query = urlsplit(base).query
    more = "&".join(f"{key}={quote(value, safe='')}" for key, value in fields.items())
    if not query:
        address, joint = f"{base.rstrip('?').rstrip('/')}/{name}", "?"
    else:
        last = query.rpartition("&")[2]
        between = "" if last.endswith("=") and last.count("=") == 1 else "&recording=" if "=" in last else "="
        address, joint = base + between + name, "&"
    if urlsplit(base).scheme.lower() in {"ftp", "ftps"} or not more:
        return address
    return address + joint + more


def kazoo_fields(row: RecordingRow) -> dict[str, str]:
    """The twelve fields of the query, in KAZOO's order; what is not known is empty. Times in seconds since the year 0."""
    document = recording_document(row)
    found = {**document, "account_id": hex_id(row.account), "recording_id": document.get("media_id") or document["id"]}
    return {name: str(found[name]) for name in FIELDS}
