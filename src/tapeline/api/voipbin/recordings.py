"""VoIPBIN's REST face of recordings, and the home of what no dialect has: pause, mask, verify, timeline, peaks.

Each row of the route table names its method, path, scope and endpoint; an endpoint reads the request, calls one method of the service
and shapes its view. Sources: the platform's API description, and docs/rest.md for ours.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fastapi import Request
from starlette.responses import JSONResponse, Response

from tapeline.api.auth import principal_of
from tapeline.api.bodies import mask_mode, read_json
from tapeline.api.files import file_response
from tapeline.api.ports import Service
from tapeline.api.routes import PAGING, Route, page_size, path_id, read_paging
from tapeline.api.voipbin import shapes
from tapeline.api.voipbin.searching import FILTERS, asks, read_search, search_place, search_token
from tapeline.api.voipbin.states import RecordingShaper

__all__ = ["RecordingFace"]


class RecordingFace:
    """The endpoints. Holds nothing but what it was given."""

    def __init__(self, service: Service, shape: RecordingShaper = shapes.recording) -> None:
        self._service = service
        self._shape = shape

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                "GET", "/recordings", "recordings:read", self.list_recordings, "List recordings, newest first", shapes.RecordingsShape,
                (*PAGING, *FILTERS), audit="listed",
            ),
            Route(
                "GET", "/recordings/{id}", "recordings:read", self.get_recording, "One recording", shapes.RecordingShape, audit="seen",
            ),
            Route(
                "DELETE", "/recordings/{id}", "recordings:delete", self.delete_recording, "Delete with its audio", shapes.RecordingShape,
                audit="deleted",
            ),
            Route("GET", "/recordings/{id}/file", "recordings:listen", self.file, "The audio, whole or a range", audit="listened"),
            Route("GET", "/recordingfiles/{id}", "recordings:listen", self.file, "The audio; the platform's other path", audit="listened"),
            Route(
                "GET", "/recordings/{id}/timeline", "recordings:read", self.timeline, "What happened, when", shapes.TimelineShape,
                audit="seen",
            ),
            Route("GET", "/recordings/{id}/peaks", "recordings:read", self.peaks, "Loudness for drawing", shapes.PeaksShape, audit="seen"),
            Route("POST", "/recordings/{id}/verify", "recordings:read", self.verify, "Read the stored audio and compare its checksum"),
            Route(
                "POST", "/recordings/{id}/pause", "recordings:write", self.pause, "Pause: cut, unless another mode is given",
                shapes.RecordingShape, body=MASK_BODY, audit="paused",
            ),
            Route("POST", "/recordings/{id}/resume", "recordings:write", self.unmask, "Resume", shapes.RecordingShape, audit="resumed"),
            Route(
                "POST", "/recordings/{id}/mask", "recordings:write", self.mask, "Mask: silence, unless another mode is given",
                shapes.RecordingShape, body=MASK_BODY, audit="masked",
            ),
            Route("POST", "/recordings/{id}/unmask", "recordings:write", self.unmask, "Unmask", shapes.RecordingShape, audit="unmasked"),
        )  # fmt: skip

    async def list_recordings(self, request: Request) -> Response:
        if asks(request.query_params):
            return await self._search(request)
        before, limit = read_paging(request)
        page = await self._service.list_recordings(principal_of(request), before, limit)
        return JSONResponse(shapes.listing(page, self._shape))

    async def _search(self, request: Request) -> Response:
        query = request.query_params
        wanted = replace(read_search(query), after=search_place(query.get("page_token", "").strip()), limit=page_size(request))
        views, place = await self._service.search_recordings(wanted, principal_of(request))
        return JSONResponse({"result": [self._shape(view) for view in views], "next_page_token": search_token(place)})

    async def get_recording(self, request: Request, id: str) -> Response:
        return JSONResponse(self._shape(await self._service.get_recording(path_id(id), principal_of(request))))

    async def delete_recording(self, request: Request, id: str) -> Response:
        return JSONResponse(self._shape(await self._service.delete_recording(path_id(id), principal_of(request))))

    async def file(self, request: Request, id: str) -> Response:
        return await file_response(await self._service.recording_file(path_id(id), principal_of(request)), request)

    async def timeline(self, request: Request, id: str) -> Response:
        return JSONResponse(shapes.timeline(await self._service.get_recording(path_id(id), principal_of(request))))

    async def peaks(self, request: Request, id: str) -> Response:
        return JSONResponse(shapes.peaks(await self._service.get_recording(path_id(id), principal_of(request))))

    async def verify(self, request: Request, id: str) -> Response:
        return JSONResponse(shapes.finite(await self._service.verify_recording(path_id(id), principal_of(request))))

    async def pause(self, request: Request, id: str) -> Response:
        recording_id = path_id(id)
        mode = mask_mode(await read_json(request), "cut")
        return JSONResponse(self._shape(await self._service.mask_recording(recording_id, mode, principal_of(request))))

    async def mask(self, request: Request, id: str) -> Response:
        recording_id = path_id(id)
        mode = mask_mode(await read_json(request), "silence")
        return JSONResponse(self._shape(await self._service.mask_recording(recording_id, mode, principal_of(request))))

    async def unmask(self, request: Request, id: str) -> Response:
        return JSONResponse(self._shape(await self._service.unmask_recording(path_id(id), principal_of(request))))


MASK_BODY: dict[str, Any] = {"type": "object", "properties": {"mode": {"type": "string", "enum": ["silence", "tone", "cut"]}}}
