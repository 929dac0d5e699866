"""Puts the faces together into one ASGI application.

Knows which middleware, routers and error handlers there are and in which order; nothing of calls. `create_app` is called by the
composition root with the real service, and by tests with one in memory. Other packages may add their own routers to what it gives.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tapeline import __version__
from tapeline.api import system
from tapeline.api.accesslog import RedactQuery
from tapeline.api.auditing import Trail
from tapeline.api.auth import Authenticator
from tapeline.api.errors import STATUSES, RouteNotFound, envelope, error_response
from tapeline.api.kazoo import face as kazoo
from tapeline.api.kazoo.auth import KazooAuth
from tapeline.api.kazoo.rules import Rules
from tapeline.api.kazoo.storage import KazooStorage, Probe
from tapeline.api.kazoo.tunnel import VerbTunnel
from tapeline.api.kazoo.words import failure, refusal
from tapeline.api.logins import Brake, Logins
from tapeline.api.metrics import Metrics
from tapeline.api.middleware import RequestFrame, UnexpectedErrors, request_id_of
from tapeline.api.people import Keys, Staff
from tapeline.api.ports import Agents, Service, Tokens
from tapeline.api.routes import router
from tapeline.api.sessions import Sessions
from tapeline.api.voipbin import face as voipbin
from tapeline.api.voipbin import shapes
from tapeline.api.voipbin.customer import CustomerFace, Customers
from tapeline.api.voipbin.exports import links
from tapeline.api.voipbin.people import PeopleFace
from tapeline.api.voipbin.sockets import EventSockets
from tapeline.api.vonage import face as vonage
from tapeline.api.vonage import words as vonage_words
from tapeline.api.vonage.applications import VonageApplications
from tapeline.api.vonage.auth import VonageAuth
from tapeline.calls.vonage.applications import Applications
from tapeline.core.clock import Clock, SystemClock
from tapeline.core.errors import InvalidInput, TapelineError, Unavailable
from tapeline.core.settings import Settings
from tapeline.delivery.plans import Handler

__all__ = ["create_app"]

_METHODS = ("POST", "GET", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS")
_EXPOSED = ("X-Request-Id", "Content-Range", "Content-Disposition", "ETag", "Accept-Ranges", "Retry-After")
_SECURITY_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "token": {"type": "apiKey", "in": "query", "name": "token"},
}

_ERROR = {
    "description": "An error; its status says which",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorShape"}}},
}


class _Described(FastAPI):
    """FastAPI whose description has our shapes and the two ways of giving a token."""

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            description = super().openapi()
            description["components"] = {"securitySchemes": _SECURITY_SCHEMES, "schemas": shapes.schemas(voipbin.SHAPES)}
            for methods in description["paths"].values():
                for operation in methods.values():
                    operation["responses"].pop("422", None)  # FastAPI's own form of a refusal, which is never sent
                    operation["responses"]["default"] = _ERROR
        return super().openapi()


def create_app(
    service: Service,
    tokens: Tokens,
    agents: Agents,
    accounts: Customers,
    settings: Settings,
    *,
    session_key: str,
    applications: Applications | None = None,
    metrics: Metrics | None = None,
    clock: Clock | None = None,
    trail: Trail | None = None,
    probe: Probe | None = None,
    events: EventSockets | None = None,
) -> FastAPI:
    """The application over `service`. `metrics` may hold collectors of others already; its page then shows theirs too.
    `trail` takes what is to be noted in the audit. `probe` tries a handler of a storage plan. `events` tells who is connected
    what happens."""
    clock, metrics, events = clock or SystemClock(), metrics or Metrics(), events or EventSockets()
    metrics.watch(service.stats, events.stats)
    RedactQuery.install()
    app = _Described(
        title="tapeline",
        version=__version__,
        summary="A self-hosted call recorder.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        # FastAPI's own tracing would put the query, and so the token, into spans wherever a tracer is set up.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
        servers=[{"url": settings.server.base_url}],
        middleware=_around(settings, metrics, clock, trail),
    )
    app.add_exception_handler(TapelineError, _on_error)
    app.add_exception_handler(RequestValidationError, _on_validation)
    app.add_exception_handler(HTTPException, _on_http)
    sessions = Sessions(session_key, clock)
    authenticator = Authenticator(tokens, agents, sessions, clock)
    people = PeopleFace(Keys(tokens, clock), Staff(agents, tokens, clock), accounts)
    brake = Brake(settings.server.max_failed_logins, clock)
    applications = applications or Applications()
    owned = VonageApplications(applications, authenticator, accounts, clock)
    rules = Rules(allow_private=settings.delivery.allow_private_addresses)
    storage = KazooStorage(service, rules, probe or _unable, unprobed=settings.delivery.allow_unvalidated_storage)
    for part in (
        Logins(agents, sessions, brake, secure=settings.server.base_url.startswith("https:")).router(),
        router(voipbin.routes(service, people, CustomerFace(accounts), settings), authenticator),
        vonage.router(service, VonageAuth(applications, clock), owned),
        kazoo.router(KazooAuth(authenticator, sessions, accounts, settings.users), service, clock, rules, storage),
        links(service),
        events.router(authenticator),
        system.router(service, metrics, authenticator),
    ):
        # Not include_router: FastAPI would build every route a second time, at the first request and on the loop.
        app.router.routes.extend(part.routes)
    return app


def _around(settings: Settings, metrics: Metrics, clock: Clock, trail: Trail | None) -> list[Middleware]:
    """What each request goes through, the outermost first."""
    return [
        Middleware(vonage.FilesBase, base=settings.server.vonage_files_base),
        Middleware(VerbTunnel, prefix=kazoo.PREFIX + "/"),
        Middleware(RequestFrame, metrics=metrics, clock=clock, trail=trail),
        Middleware(CORSMiddleware, allow_origins=["*"], allow_methods=_METHODS, allow_headers=["*"], expose_headers=_EXPOSED),
        Middleware(UnexpectedErrors),
    ]


async def _unable(handler: Handler, account: str) -> None:
    raise Unavailable("storage handlers cannot be tried here")


async def _on_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, TapelineError)
    return _told(error, request)


def _told(error: TapelineError, request: Request) -> Response:
    """In the form of the platform whose path was asked."""
    if vonage.owns(request.url.path):
        return vonage_words.failure(error, request)
    if request.url.path.startswith(kazoo.PREFIX + "/"):
        return failure(error, request)
    return error_response(error, request_id_of(request.scope))


async def _on_validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    problems = [f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in error.errors()]
    invalid = InvalidInput("; ".join(problems), problems=problems, reason="INVALID_REQUEST_PARAMETER")
    return _told(invalid, request)


async def _on_http(request: Request, error: Exception) -> Response:
    """The router's own refusals. VoIPBIN never answers 405: a wrong method is a path that is not there."""
    assert isinstance(error, HTTPException)
    if vonage.owns(request.url.path):
        return vonage_words.refusal(error.status_code, request)
    if request.url.path.startswith(kazoo.PREFIX + "/"):
        return refusal(error.status_code, request)
    request_id = request_id_of(request.scope)
    if error.status_code in {404, 405}:
        return error_response(RouteNotFound("nothing answers at this path with this method"), request_id)
    word = next((word for code, word in STATUSES.values() if code == error.status_code), "INVALID_ARGUMENT")
    return JSONResponse(envelope(word, word, str(error.detail), request_id, []), error.status_code, error.headers)
