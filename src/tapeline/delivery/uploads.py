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

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlsplit

from tapeline.core.kazoo import CONTENT_TYPES, gregorian
from tapeline.core.recordspec import Delivery
from tapeline.delivery.send import KEEP_TRYING_S
from tapeline.recording.manifest import Manifest
from tapeline.store import DeliveryRow, RecordingRow

__all__ = ["Manner", "deliveries_of", "kazoo_address", "kazoo_fields"]

_IDS: Final = uuid.UUID("1c9d7a54-6f0b-4a3e-9d5a-0f4f3a1b7c21")  # name space of the ids of deliveries


@dataclass(frozen=True, slots=True)
class Manner:
    """How this node sends: its name, and whether KAZOO's addresses get the query of its later releases."""

    node: str = ""
    kazoo_query: bool = False


def deliveries_of(manifest: Manifest, row: RecordingRow, now: float, manner: Manner) -> list[DeliveryRow]:
    """The rows for each target that the recording's specification names. `row` is the recording's final row."""
    return [_delivery(manifest, row, target, number, now, manner) for number, target in enumerate(manifest.record_spec.deliver)]


def _delivery(manifest: Manifest, row: RecordingRow, target: Delivery, number: int, now: float, manner: Manner) -> DeliveryRow:
    url, content_type = target.url, row.content_type
    if target.naming == "kazoo":
        fields = kazoo_fields(manifest, row) if manner.kazoo_query else {}
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


def kazoo_fields(manifest: Manifest, row: RecordingRow) -> dict[str, str]:
    """The twelve fields of the query, in KAZOO's order; what is not known is empty. Times in seconds since the year 0."""
    custom = manifest.custom
    started = row.started or row.created
    call_id = manifest.sip_call_id or manifest.call_id
    month = str(custom.get("kazoo_month", ""))
    return {
        "from": str(custom.get("from") or manifest.source),
        "to": str(custom.get("to") or manifest.destination),
        "caller_id_name": str(custom.get("caller_id_name", "")),
        "caller_id_number": str(custom.get("caller_id_number") or manifest.source),
        "call_id": call_id,
        "cdr_id": f"{month}-{call_id}" if month else "",
        "interaction_id": str(custom.get("interaction_id", "")),
        "owner_id": str(custom.get("owner_id", "")),
        "account_id": manifest.account,
        "start": str(gregorian(started)),
        "duration_ms": str(round((row.duration or 0.0) * 1000)),
        "recording_id": row.id,
    }
