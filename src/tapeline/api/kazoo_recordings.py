"""KAZOO's recordings: lists by window and filter, metadata or audio by Accept, deletion, notes. Source: Crossbar's own API.

    GET    /accounts/A/recordings          GET /accounts/A/users/U/recordings
    GET    /accounts/A/recordings/R        metadata; audio where Accept (or the parameter `accept`) asks for it
    DELETE /accounts/A/recordings/R        PATCH .../R with `user_metadata`

A list is a window of time, the last 31 days unless `created_from` and `created_to` move it, in pages that go on at `start_key`. Filters
compare with the metadata as it is answered.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from tapeline.api.auditing import about
from tapeline.api.auth import principal_of
from tapeline.api.bodies import read_json
from tapeline.api.files import file_response, safe_name
from tapeline.api.kazoo_bodies import MOST, KazooRoute, page_key, page_place, page_size
from tapeline.api.kazoo_words import BadIdentifier, FieldErrors, recording_uuid, success, uuid_of
from tapeline.api.ports import Service
from tapeline.calls.views import RecordingView
from tapeline.core.clock import Clock
from tapeline.core.kazoo import gregorian, recording_document, unix
from tapeline.store import Search

__all__ = ["KazooRecordings"]

RANGE_S = 31 * 86_400 + 3600
LOOKED_AT = 20_000  # rows that a filter may pass over in one request
AUDIO = ("audio/mpeg", "audio/mp3", "audio/wav", "audio/x-wav", "audio/ogg", "audio/*")


class KazooRecordings:
    def __init__(self, service: Service, clock: Clock) -> None:
        self._service = service
        self._clock = clock

    def routes(self) -> tuple[KazooRoute, ...]:
        return (
            KazooRoute("GET", "/recordings", "recordings:read", self.list, "List recordings", "listed"),
            KazooRoute("GET", "/users/{user}/recordings", "recordings:read", self.list_of_user, "List a user's recordings", "listed"),
            KazooRoute("GET", "/recordings/{id}", "recordings:read", self.get, "A recording's metadata, or its audio", "seen"),
            KazooRoute("DELETE", "/recordings/{id}", "recordings:delete", self.delete, "Delete a recording", "deleted"),
            KazooRoute("PATCH", "/recordings/{id}", "recordings:write", self.patch, "Note something about a recording", "changed"),
        )

    async def list(self, request: Request, account: str) -> Response:
        return await self._list(request, uuid_of(account), {})

    async def list_of_user(self, request: Request, account: str, user: str) -> Response:
        return await self._list(request, uuid_of(account), {"owner_id": user})

    async def _list(self, request: Request, account: str, fixed: Mapping[str, str]) -> Response:
        query = request.query_params
        since, until = self._window(query)
        ascending = _flag(query, "ascending") or query.get("descending") == "false"
        size = page_size(query)
        keep = _filters(query, fixed)
        after = page_place(query.get("start_key", ""))
        found: list[tuple[RecordingView, dict[str, Any]]] = []
        looked = 0
        while len(found) <= size and looked < LOOKED_AT:
            wanted = Search(account, since, until, after, ascending, max(size + 1, 200), {"state": ("available",)})
            rows = await self._service.archive.search(wanted, principal_of(request))
            looked += len(rows)
            found += [(row, told) for row in rows if _fits(told := recording_document(row), keep)]
            if len(rows) < wanted.limit:
                break
            after = (rows[-1].created, rows[-1].id)
        shown = found[:size]
        more: dict[str, Any] = {"page_size": len(shown)}
        if query.get("start_key"):
            more["start_key"] = query["start_key"]
        if len(found) > size:
            last = shown[-1][0]
            more["next_start_key"] = page_key(last.created, last.id)
        listed = [told | {"_read_only": {"content_types": [told["content_type"]]}} for _, told in shown]
        return success(request, listed, **more)

    def _window(self, query: Mapping[str, str]) -> tuple[float, float]:
        now = self._clock.wall()
        start, end = _seconds(query, "created_from"), _seconds(query, "created_to")
        if end is None:
            end = now + 1.0 if start is None else start + RANGE_S
        if start is None:
            start = end - RANGE_S
        if start > end:
            raise FieldErrors({"created_from": {"date_range": {"message": "created_to is before created_from", "cause": gregorian(start)}}})
        if end - start > RANGE_S + 1:
            raise FieldErrors({"created_from": {"date_range": {"message": f"created_to is more than {RANGE_S} seconds later"}}})
        return start, end

    async def get(self, request: Request, account: str, id: str) -> Response:
        view = await self._find(request, account, id)
        if not _wants_audio(request):
            return success(request, recording_document(view))
        file = await self._service.recording_file(view.id, principal_of(request))
        response = await file_response(file, request)
        how = "inline" if _flag(request.query_params, "inline") else "attachment"
        response.headers["Content-Disposition"] = f'{how}; filename="{safe_name(recording_document(view)["name"])}"'
        return response

    async def delete(self, request: Request, account: str, id: str) -> Response:
        view = await self._find(request, account, id)
        await self._service.delete_recording(view.id, principal_of(request))
        return success(request, recording_document(view) | {"_read_only": {"deleted": True}})

    async def patch(self, request: Request, account: str, id: str) -> Response:
        view = await self._find(request, account, id)
        data = (await read_json(request)).get("data")
        notes = data.get("user_metadata") if isinstance(data, dict) else None
        if not isinstance(notes, dict):
            raise FieldErrors({"user_metadata": {"required": {"message": "Field is required but missing"}}})
        return success(request, recording_document(await self._service.archive.annotate(view.id, notes, principal_of(request))))

    async def _find(self, request: Request, account: str, id: str) -> RecordingView:
        """By its id, or by the `media_id` that it was given. Raises BadIdentifier."""
        owner, principal = uuid_of(account), principal_of(request)
        try:
            view = await self._service.get_recording(recording_uuid(id), principal)
        except BadIdentifier:
            named = await self._service.archive.search(Search(owner, limit=MOST, equal={"state": ("available",)}), principal)
            found = next((view for view in named if view.custom.get("media_id") == id), None)
            if found is None:
                raise
            view = found
        if view.account != owner or view.state != "available":
            raise BadIdentifier(id)
        about(request, view.id)
        return view


def _seconds(query: Mapping[str, str], name: str) -> float | None:
    text = query.get(name, "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 12):
        raise FieldErrors({name: {"type": {"message": "Value is not of type integer"}}})
    return unix(float(text))


def _flag(query: Mapping[str, str], name: str) -> bool:
    return query.get(name, "").lower() == "true"


Test = tuple[str, str, frozenset[str]]  # kind, dotted path, values


def _filters(query: Mapping[str, str], fixed: Mapping[str, str]) -> list[Test]:
    tests: list[Test] = [("filter", name, frozenset((value,))) for name, value in fixed.items()]
    for name, value in query.items():
        for prefix in ("filter_not_", "filter_"):
            if name.startswith(prefix):
                tests.append((prefix.rstrip("_"), name.removeprefix(prefix), frozenset(_values(value))))
                break
        if name in ("has_key", "key_missing", "has_value", "value_missing"):
            tests += [(name, path, frozenset()) for path in _values(value)]
    return tests


def _values(text: str) -> list[str]:
    """A JSON list of texts, or the text itself."""
    if text.startswith("["):
        try:
            return [str(item) for item in json.loads(text)]
        except ValueError:
            pass
    return [text]


def _fits(told: Mapping[str, Any], tests: list[Test]) -> bool:
    return all(_passes(_at(told, path), kind, values) for kind, path, values in tests)


def _passes(value: Any, kind: str, values: frozenset[str]) -> bool:
    if kind == "filter":
        return value is not None and str(value) in values
    if kind == "filter_not":
        return value is None or str(value) not in values
    if kind in ("has_key", "key_missing"):
        return (value is not None) == (kind == "has_key")
    return (value not in (None, "")) == (kind == "has_value")


def _at(told: Mapping[str, Any], path: str) -> Any:
    value: Any = told
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _wants_audio(request: Request) -> bool:
    wanted = request.query_params.get("accept") or request.headers.get("accept", "")
    first = wanted.split(",")[0].split(";")[0].strip().lower()
    return first in AUDIO
