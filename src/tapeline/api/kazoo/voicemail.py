"""KAZOO's voicemail boxes: the messages that were left in one, newest first, each as metadata or as audio.

    GET    /accounts/A/vmboxes/B/messages          GET .../messages/M          GET .../messages/M/raw
    POST   /accounts/A/vmboxes/B/messages/M        {"data": {"folder": "saved"}}
    DELETE /accounts/A/vmboxes/B/messages/M

A box is there as soon as somebody has left a message in it. One that has the name, id or extension of a user is that user's, by any of
these.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from tapeline.api.auth import principal_of
from tapeline.api.files import file_response, safe_name
from tapeline.api.kazoo.bodies import KazooRoute, page_key, page_place, page_size, read_data
from tapeline.api.kazoo.words import BadIdentifier, FieldErrors, recording_uuid, success, uuid_of
from tapeline.api.ports import Service
from tapeline.calls.kazoo.boxes import box_names, folder_of, messages_of
from tapeline.calls.views import RecordingView
from tapeline.core.kazoo import gregorian, recording_document
from tapeline.core.settings import User

__all__ = ["KazooVoicemail"]

FOLDERS = ("new", "saved", "deleted")


class KazooVoicemail:
    def __init__(self, service: Service, users: Sequence[User]) -> None:
        self._service = service
        self._users = users

    def routes(self) -> tuple[KazooRoute, ...]:
        messages = "/vmboxes/{box}/messages"
        return (
            KazooRoute("GET", messages, "recordings:read", self.list_messages, "Messages in a voicemail box", "listed"),
            KazooRoute("GET", messages + "/{id}", "recordings:read", self.get_message, "A message in a voicemail box", "seen"),
            KazooRoute("GET", messages + "/{id}/raw", "recordings:listen", self.get_sound, "What a message says", "listened"),
            KazooRoute("POST", messages + "/{id}", "recordings:write", self.post_message, "Put a message into a folder", "changed"),
            KazooRoute("DELETE", messages + "/{id}", "recordings:delete", self.delete_message, "Delete a message", "deleted"),
        )

    async def list_messages(self, request: Request, account: str, box: str) -> Response:
        size, after = page_size(request.query_params), page_place(request.query_params.get("start_key", ""))
        names, principal = box_names(self._users, box), principal_of(request)
        found = await messages_of(
            lambda wanted: self._service.archive.search(wanted, principal), uuid_of(account), names, size + 1, after
        )
        more: dict[str, Any] = {"next_start_key": page_key(found[size - 1].created, found[size - 1].id)} if len(found) > size else {}
        shown = [_told(view) for view in found[:size]]
        return success(request, shown, page_size=len(shown), **more)

    async def get_message(self, request: Request, account: str, box: str, id: str) -> Response:
        return success(request, _told(await self._find(request, account, box, id)))

    async def get_sound(self, request: Request, account: str, box: str, id: str) -> Response:
        view = await self._find(request, account, box, id)
        response = await file_response(await self._service.recording_file(view.id, principal_of(request)), request)
        response.headers["Content-Disposition"] = f'attachment; filename="{safe_name(recording_document(view)["name"])}"'
        return response

    async def post_message(self, request: Request, account: str, box: str, id: str) -> Response:
        view = await self._find(request, account, box, id)
        folder = (await read_data(request)).get("folder")
        if folder not in FOLDERS:
            raise FieldErrors({"folder": {"enum": {"message": "Value not found in enumerated list of values", "target": list(FOLDERS)}}})
        return success(request, _told(await self._service.archive.annotate(view.id, {"folder": folder}, principal_of(request))))

    async def delete_message(self, request: Request, account: str, box: str, id: str) -> Response:
        view = await self._find(request, account, box, id)
        await self._service.delete_recording(view.id, principal_of(request))
        return success(request, _told(view) | {"folder": "deleted"})

    async def _find(self, request: Request, account: str, box: str, id: str) -> RecordingView:
        view = await self._service.get_recording(recording_uuid(id), principal_of(request))
        here = view.account == uuid_of(account) and view.origin == "voicemail" and view.state == "available"
        if not here or str(view.custom.get("voicemail_box", "")).lower() not in box_names(self._users, box):
            raise BadIdentifier(id)
        return view


def _told(view: RecordingView) -> dict[str, Any]:
    """A message's metadata as KAZOO has them. `length` is in milliseconds."""
    whole = recording_document(view)
    same = {name: whole[name] for name in ("from", "to", "caller_id_number", "caller_id_name", "call_id")}
    at = gregorian(view.started or view.created)
    return {**same, "timestamp": at, "folder": folder_of(view), "length": whole["duration_ms"], "media_id": whole["id"]}
