"""Vonage's face: calls, and files of recordings. See docs/vonage.md."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from tapeline.api.auditing import about
from tapeline.api.files import file_response
from tapeline.api.ports import Service
from tapeline.api.routes import add_route
from tapeline.api.vonage.applications import ROUTES as APPLICATIONS
from tapeline.api.vonage.applications import VonageApplications
from tapeline.api.vonage.auth import Asking, VonageAuth, asking
from tapeline.api.vonage.calls import ROUTES as CALLS
from tapeline.api.vonage.calls import VonageCalls
from tapeline.api.vonage.words import recording_of
from tapeline.core.errors import Forbidden, NotFound

__all__ = ["ROUTES", "FilesBase", "owns", "router"]

ROUTES: tuple[tuple[str, str, str, str], ...] = (  # method, path, endpoint, summary
    ("GET", "/v1/files/{id}", "file", "Download a recording"),
    ("GET", "/v3/files/{id}", "file", "The same, as one of the SDKs asks for it"),
    ("GET", "/media/download", "file_by_query", "The same, as it was asked for in the beginning"),
)


def owns(path: str) -> bool:
    """Whether what is asked at `path` is answered in Vonage's form."""
    return path.startswith(("/v1/", "/v3/", "/media/", "/v2/applications/")) or path in ("/v1", "/v2/applications")


class FilesBase:
    """Lets what the addresses of files begin with have a path of its own: the same is answered below it as without it."""

    def __init__(self, app: ASGIApp, base: str) -> None:
        self.app = app
        self._prefix = urlsplit(base).path.rstrip("/")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._prefix and scope["type"] == "http" and scope["path"].startswith(self._prefix + "/"):
            path = scope["path"].removeprefix(self._prefix)
            if owns(path):
                scope = {**scope, "path": path, "raw_path": path.encode()}
        await self.app(scope, receive, send)


class VonageFiles:
    """The files of an application's own recordings."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def file(self, id: str, request: Request) -> Response:
        return await self._send(id, request)

    async def file_by_query(self, request: Request) -> Response:
        return await self._send(request.query_params.get("id", ""), request)

    async def _send(self, file: str, request: Request) -> Response:
        about(request, recording_of(file))
        found = await _own_file(self._service, recording_of(file), asking(request))
        return await file_response(found, request)


async def _own_file(service: Service, recording_id: str, who: Asking) -> Any:
    """Whatever keeps it from being had, it is told alike: nobody learns of what is not theirs."""
    try:
        view = await service.get_recording(recording_id, who.principal)
        if view.application_id == who.application.id:
            return await service.recording_file(recording_id, who.principal)
    except (NotFound, Forbidden):
        pass
    raise NotFound("no file of this application has this id")


def router(service: Service, auth: VonageAuth, owned: VonageApplications) -> APIRouter:
    files, calls = VonageFiles(service), VonageCalls(service.voice)
    made = APIRouter(tags=["vonage"])

    token, account = "Needs the token of an application.", "Needs an account and a token of it (Basic)."
    bearer: dict[str, Any] = {"security": [{"bearer": []}]}
    for routes, face, needs, guard, extra, audit in (
        (ROUTES, files, token, auth.guard, bearer, "listened"),
        (CALLS, calls, token, auth.guard, bearer, ""),
        (APPLICATIONS, owned, account, owned.guard, None, ""),
    ):
        for method, path, name, summary in routes:
            endpoint = getattr(face, name)
            add_route(made, method, path, endpoint, summary, needs, guards=[guard], audit=audit, extra=extra, face="vonage_")
    return made
