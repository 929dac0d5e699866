"""What is done with recordings that are over, under /v1.0: holds, tags and notes, how long they are kept, how much is stored.

`GET /storage_account` is the platform's; the rest is ours. See docs/archive.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from fastapi import Request
from starlette.responses import JSONResponse, Response

from tapeline.api.auth import principal_of
from tapeline.api.bodies import Fields, read_json
from tapeline.api.ports import Service
from tapeline.api.routes import Route, path_id
from tapeline.api.voipbin import shapes
from tapeline.api.voipbin.archive_shapes import RetentionShape, StorageShape, storage
from tapeline.api.voipbin.states import RecordingShaper

__all__ = ["AMEND_BODY", "ArchiveFace"]

LONGEST_TEXT = 2000  # characters of a note or a reason
MOST_TAGS, LONGEST_TAG = 32, 64
MOST_DAYS = 36_500.0


class ArchiveFace:
    """The endpoints. `default_days` is what the settings say of retention."""

    def __init__(self, service: Service, default_days: float, shape: RecordingShaper = shapes.recording) -> None:
        self._service = service
        self._shape = shape
        self._default_days = default_days

    def routes(self) -> tuple[Route, ...]:
        one = shapes.RecordingShape
        return (
            Route(
                "PUT", "/recordings/{id}", "recordings:write", self.amend, "Set tags, note and how long it is kept", one, body=AMEND_BODY,
                audit="changed",
            ),
            Route(
                "POST", "/recordings/{id}/hold", "recordings:hold", self.hold, "Let nothing delete it", one, body=HOLD_BODY, audit="held",
            ),
            Route("DELETE", "/recordings/{id}/hold", "recordings:hold", self.release, "Take the hold off", one, audit="released"),
            Route("GET", "/storage_account", "storage:read", self.storage, "How much is stored", StorageShape),
            Route("GET", "/retention", "recordings:read", self.retention, "How long recordings are kept", RetentionShape),
            Route(
                "PUT", "/retention", "account:write", self.set_retention, "Set how long recordings are kept", RetentionShape,
                body=RETENTION_BODY, audit="retention_changed",
            ),
        )  # fmt: skip

    async def amend(self, request: Request, id: str) -> Response:
        recording_id = path_id(id)
        changes = amendments(await read_json(request))
        return JSONResponse(self._shape(await self._service.archive.amend(recording_id, principal_of(request), **changes)))

    async def hold(self, request: Request, id: str) -> Response:
        recording_id = path_id(id)
        fields = Fields(await read_json(request))
        reason = _text(fields, "reason")
        fields.finish()
        return JSONResponse(self._shape(await self._service.archive.hold(recording_id, reason, principal_of(request))))

    async def release(self, request: Request, id: str) -> Response:
        return JSONResponse(self._shape(await self._service.archive.release(path_id(id), principal_of(request))))

    async def storage(self, request: Request) -> Response:
        return JSONResponse(storage(await self._service.archive.storage(principal_of(request))))

    async def retention(self, request: Request) -> Response:
        return await self._told(request)

    async def set_retention(self, request: Request) -> Response:
        body = await read_json(request)
        fields = Fields(body)
        days = _days(fields, body)
        fields.finish()
        if "retention_days" in body:
            await self._service.archive.set_retention(days, principal_of(request))
        return await self._told(request)

    async def _told(self, request: Request) -> Response:
        days = await self._service.archive.retention(principal_of(request))
        return JSONResponse({"retention_days": days, "default_days": self._default_days})


def amendments(body: Mapping[str, Any]) -> dict[str, Any]:
    """What the body of a PUT changes: only what it names. Raises InvalidInput with all problems."""
    fields = Fields(body)
    changes: dict[str, Any] = {}
    if "note" in body:
        changes["note"] = _text(fields, "note")
    if "tags" in body:
        changes["tags"] = _tags(fields, body["tags"])
    if "retention_days" in body:
        changes["retention_days"] = _days(fields, body)
    fields.finish()
    return changes


def _text(fields: Fields, name: str) -> str:
    value = fields.text(name)
    if len(value) > LONGEST_TEXT or "\0" in value:
        fields.problem(f"{name} must be of at most {LONGEST_TEXT} characters, none of them NUL")
    return value


def _tags(fields: Fields, value: Any) -> tuple[str, ...]:
    tags = value if value is not None else []
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        fields.problem("tags must be a list of strings")
        return ()
    made = tuple(dict.fromkeys(tag.strip() for tag in tags))
    if len(made) > MOST_TAGS or not all(0 < len(tag) <= LONGEST_TAG and tag.isprintable() for tag in made):
        fields.problem(f"tags must be at most {MOST_TAGS}, each of 1 to {LONGEST_TAG} printable characters")
    return made


def _days(fields: Fields, body: Mapping[str, Any]) -> float | None:
    """None where it is null: as the next higher says. 0 keeps for ever."""
    if body.get("retention_days") is None:
        return None
    days = fields.number("retention_days")
    if not math.isfinite(days) or days > MOST_DAYS:
        fields.problem(f"retention_days must be at most {MOST_DAYS:g}, or 0 to keep for ever")
    return days


HOLD_BODY: dict[str, Any] = {"type": "object", "properties": {"reason": {"type": "string", "maxLength": LONGEST_TEXT}}}
RETENTION_BODY: dict[str, Any] = {
    "type": "object",
    "properties": {"retention_days": {"type": "number", "nullable": True, "description": "null: as the settings say; 0: for ever."}},
}
AMEND_BODY: dict[str, Any] = {
    "type": "object",
    "properties": {
        "tags": {"type": "array", "items": {"type": "string"}, "description": "All its tags; those it had are replaced."},
        "note": {"type": "string", "maxLength": LONGEST_TEXT},
        "retention_days": {"type": "number", "nullable": True, "description": "null: as its account's; 0: for ever."},
    },
}
