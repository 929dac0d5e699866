"""KAZOO's recordings: lists by window and filter, metadata or audio by Accept, deletion, notes. Source: Crossbar's own API.

    GET    /accounts/A/recordings          GET /accounts/A/users/U/recordings
    GET    /accounts/A/recordings/R        metadata; audio where Accept (or the parameter `accept`) asks for it
    DELETE /accounts/A/recordings/R        PATCH .../R with `user_metadata`

A list is a window of time, the last 31 days unless `created_from` and `created_to` move it, in pages that go on at `start_key`. Filters
compare with the metadata as it is answered.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from tapeline.api.auditing import about
from tapeline.api.auth import principal_of
from tapeline.api.bodies import read_json
from tapeline.api.files import file_response, safe_name
from tapeline.api.kazoo.bodies import KazooRoute, page_key, page_place, page_size
from tapeline.api.kazoo.documents import owner_ids
from tapeline.api.kazoo.filters import columns, filters, fits, plain
from tapeline.api.kazoo.words import BadIdentifier, FieldErrors, TooMuch, recording_uuid, success, uuid_of
from tapeline.api.ports import Service
from tapeline.calls.views import RecordingView
from tapeline.core.clock import Clock
from tapeline.core.errors import NotFound
from tapeline.core.kazoo import gregorian, month_id, recording_document, unix
from tapeline.core.principal import Principal
from tapeline.core.settings import User
from tapeline.store import Search

__all__ = ["KazooRecordings", "document_id"]

RANGE_S = 31 * 86_400 + 3600
LONGEST_S = 25 * 3600  # of a recording: one that ended in a window was begun so long before it at most
LOOKED_AT = 20_000  # rows that a filter may pass over in one request; the next page goes on there
AT_ONCE = 200  # rows in one query: more of them would hold up the event loop
MOST_UNPAGED = 10_000
_PATH_ID = re.compile(r"[A-Za-z0-9._~@+-]{1,128}", re.ASCII)
AUDIO = ("audio/mpeg", "audio/mp3", "audio/wav", "audio/x-wav", "audio/ogg", "audio/*")


class KazooRecordings:
    def __init__(self, service: Service, clock: Clock, users: Sequence[User]) -> None:
        self._service = service
        self._clock = clock
        self._users = users

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
        return await self._list(request, uuid_of(account), {"owner_id": owner_ids(self._users, user)})

    async def _list(self, request: Request, account: str, fixed: Mapping[str, frozenset[str]]) -> Response:
        query = request.query_params
        since, until = self._window(query)
        ascending = _flag(query, "ascending") or query.get("descending") == "false"
        unpaged = query.get("paginate") == "false"
        size = MOST_UNPAGED if unpaged else page_size(query)
        keep, equal = filters(query, fixed), {"state": ("available",), **columns(query)}
        changed_from, changed_to = _seconds(query, "modified_from") or 0.0, _seconds(query, "modified_to") or float("inf")
        after = page_place(query.get("start_key", ""))
        found: list[tuple[RecordingView, dict[str, Any]]] = []
        looked, ended = 0, False
        while len(found) <= size and looked < LOOKED_AT and not ended:
            limit = min(size + 1, AT_ONCE) if not keep else AT_ONCE
            wanted = Search(
                account, since - LONGEST_S, until, after, ascending, limit, equal, ended_since=since, ended_until=until
            )
            rows = await self._service.archive.search(wanted, principal_of(request))
            looked += len(rows)
            calls = (row for row in rows if row.origin != "voicemail")  # messages are in their boxes
            changed = [row for row in calls if changed_from <= (row.updated or row.created) <= changed_to]
            found += [(row, told) for row in changed if fits(told := _told(row), keep)]
            ended = len(rows) < wanted.limit
            after = (rows[-1].created, rows[-1].id) if rows else after
        shown = found[:size]
        more: dict[str, Any] = {"page_size": len(shown)}
        if query.get("start_key"):
            more["start_key"] = query["start_key"]
        if len(found) > size:
            if unpaged:
                raise TooMuch(size)
            after, ended = (shown[-1][0].created, shown[-1][0].id), False
        if not ended and after is not None:
            more["next_start_key"] = page_key(*after)
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
            return success(request, _told(view))
        file = await self._service.recording_file(view.id, principal_of(request))
        response = await file_response(file, request)
        how = "inline" if _flag(request.query_params, "inline") else "attachment"
        response.headers["Content-Disposition"] = f'{how}; filename="{safe_name(recording_document(view)["name"])}"'
        return response

    async def delete(self, request: Request, account: str, id: str) -> Response:
        view = await self._find(request, account, id)
        await self._service.delete_recording(view.id, principal_of(request))
        return success(request, _told(view) | {"_read_only": {"deleted": True}})

    async def patch(self, request: Request, account: str, id: str) -> Response:
        view = await self._find(request, account, id)
        data = (await read_json(request)).get("data")
        notes = data.get("user_metadata") if isinstance(data, dict) else None
        if not isinstance(notes, dict):
            raise FieldErrors({"user_metadata": {"required": {"message": "Field is required but missing"}}})
        return success(request, _told(await self._service.archive.annotate(view.id, notes, principal_of(request))))

    async def _find(self, request: Request, account: str, id: str) -> RecordingView:
        """By its id, or by the `media_id` that it was given. Raises BadIdentifier."""
        owner, principal = uuid_of(account), principal_of(request)
        view = await self._by_id(id, principal) or await self._by_media_id(id, owner, principal)
        if view is None or view.account != owner or view.state != "available":
            raise BadIdentifier(id)
        about(request, view.id)
        return view

    async def _by_id(self, id: str, principal: Principal) -> RecordingView | None:
        try:
            return await self._service.get_recording(recording_uuid(id), principal)
        except NotFound:
            return None

    async def _by_media_id(self, id: str, account: str, principal: Principal) -> RecordingView | None:
        """The newest, where a flow gave several recordings one id."""
        if not plain(id):
            return None
        found = await self._service.archive.search(Search(account, limit=1, equal={"media_id": (id,), "state": ("available",)}), principal)
        return found[0] if found else None


def _told(view: RecordingView) -> dict[str, Any]:
    """The document; its id is the one that its flow gave it, where that can stand in a path."""
    return {**recording_document(view), "id": document_id(view)}


def document_id(view: RecordingView) -> str:
    """By which a recording is found."""
    return view.media_id if _PATH_ID.fullmatch(view.media_id) else month_id(view.id, view.created)


def _seconds(query: Mapping[str, str], name: str) -> float | None:
    text = query.get(name, "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 12):
        raise FieldErrors({name: {"type": {"message": "Value is not of type integer"}}})
    return unix(float(text))


def _flag(query: Mapping[str, str], name: str) -> bool:
    return query.get(name, "").lower() == "true"


def _wants_audio(request: Request) -> bool:
    wanted = request.query_params.get("accept") or request.headers.get("accept", "")
    first = wanted.split(",")[0].split(";")[0].strip().lower()
    return first in AUDIO
