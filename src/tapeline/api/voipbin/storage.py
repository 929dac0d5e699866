"""VoIPBIN's storage files, under /v1.0: the files of recordings as the platform's storage tells of them. A file has its recording's id.

What else the platform stores there (uploads of other products) there is not.
"""

from __future__ import annotations

from typing import Any

from fastapi import Request
from starlette.responses import JSONResponse, Response
from typing_extensions import TypedDict

from tapeline.api.auth import principal_of
from tapeline.api.files import file_response
from tapeline.api.ports import Service
from tapeline.api.routes import PAGING, PREFIX, Route, path_id, read_paging
from tapeline.api.voipbin.shapes import listing, nullable_times
from tapeline.calls.views import RecordingView
from tapeline.core.ids import ZERO_ID

__all__ = ["DESCRIBED", "StorageFileFace"]


class FileShape(TypedDict, total=False):
    id: str
    customer_id: str
    owner_type: str
    owner_id: str
    reference_type: str
    reference_id: str
    type: str
    name: str
    detail: str
    filename: str
    filesize: int
    uri_download: str
    tm_download_expire: str | None
    tm_create: str | None
    tm_update: str | None
    tm_delete: str | None


class FilesShape(TypedDict):
    result: list[FileShape]
    next_page_token: str


DESCRIBED: tuple[type, ...] = (FileShape, FilesShape)


class StorageFileFace:
    """The endpoints. `base` is what links given to others begin with."""

    def __init__(self, service: Service, base: str) -> None:
        self._service = service
        self._base = base

    def routes(self) -> tuple[Route, ...]:
        return (
            Route("GET", "/storage_files", "storage:read", self.list, "Stored files, newest first", FilesShape, PAGING, audit="listed"),
            Route("GET", "/storage_files/{id}", "storage:read", self.get, "One stored file", FileShape, audit="seen"),
            Route("GET", "/storage_files/{id}/file", "recordings:listen", self.file, "Its bytes, whole or a range", audit="listened"),
            Route("DELETE", "/storage_files/{id}", "recordings:delete", self.delete, "Delete the recording", FileShape, audit="deleted"),
        )

    async def list(self, request: Request) -> Response:
        before, limit = read_paging(request)
        return JSONResponse(listing(await self._service.archive.files(principal_of(request), before, limit), self._shape))

    async def get(self, request: Request, id: str) -> Response:
        return JSONResponse(self._shape(await self._service.archive.file(path_id(id), principal_of(request), "storage:read")))

    async def file(self, request: Request, id: str) -> Response:
        found = await self._service.archive.file(path_id(id), principal_of(request), "recordings:listen")
        return await file_response(await self._service.recording_file(found.id, principal_of(request)), request)

    async def delete(self, request: Request, id: str) -> Response:
        found = await self._service.archive.file(path_id(id), principal_of(request), "recordings:delete")
        return JSONResponse(self._shape(await self._service.delete_recording(found.id, principal_of(request))))

    def _shape(self, view: RecordingView) -> dict[str, Any]:
        return {
            "id": view.id,
            "customer_id": view.account,
            "owner_type": "",
            "owner_id": ZERO_ID,
            "reference_type": "recording",
            "reference_id": view.id,
            "type": "recording",
            "name": "recording file",
            "detail": "",
            "filename": f"{view.id}.{view.format}",
            "filesize": view.size or 0,
            "uri_download": f"{self._base}{PREFIX}/storage_files/{view.id}/file",
            **nullable_times(tm_download_expire=None, tm_create=view.created, tm_update=view.updated, tm_delete=view.deleted),
        }
