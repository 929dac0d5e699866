"""What happens to every request, whatever its route: its id, its log line, its numbers, and an answer even where a route failed.

Plain ASGI, so that a streamed recording passes through without being held. Order, from outside: RequestFrame (id, log, numbers), CORS,
UnexpectedErrors, the routes.
"""

from __future__ import annotations

import base64
import re
import secrets
import traceback
from typing import Any

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tapeline.api.accesslog import redact
from tapeline.api.auditing import Trail, deed_of
from tapeline.api.errors import error_response
from tapeline.api.metrics import Metrics
from tapeline.core.clock import Clock
from tapeline.core.errors import TapelineError

__all__ = ["RequestFrame", "UnexpectedErrors", "new_request_id", "request_id_of"]

_CLIENT_ID = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
CLIENT_GONE = 499  # for log and numbers only: nobody was there to be answered

log: structlog.stdlib.BoundLogger = structlog.get_logger("tapeline.api")


def request_id_of(scope: Scope) -> str:
    """The id of this request, as its answer and its log line have it."""
    request_id: str = scope.get("state", {}).get("request_id", "")
    return request_id


class RequestFrame:
    """Gives each request an id (the client's own where it is well-formed), counts it, logs it without its query, and notes
    in the audit what its route says."""

    def __init__(self, app: ASGIApp, metrics: Metrics, clock: Clock, trail: Trail | None = None) -> None:
        self.app = app
        self.metrics = metrics
        self.clock = clock
        self.trail = trail

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _CLIENT_ID.fullmatch(given) else new_request_id()
        scope.setdefault("state", {})["request_id"] = request_id
        began = self.clock.now()
        status = 0

        async def send_framed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = request_id
                headers.setdefault("X-Content-Type-Options", "nosniff")
                if headers.get("content-type", "").startswith("application/json"):
                    headers.setdefault("Cache-Control", "no-store")  # states change, and the address may hold a token
            await send(message)

        try:
            await self.app(scope, receive, send_framed)
        except ClientDisconnect:
            status = CLIENT_GONE
        finally:
            self._tell(scope, request_id, status or CLIENT_GONE, self.clock.now() - began)

    def _tell(self, scope: Scope, request_id: str, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "") or "unmatched"
        self.metrics.answered(scope["method"], route, status, seconds)
        fields: dict[str, Any] = {"method": scope["method"], "status": status, "ms": round(seconds * 1000, 1), "request_id": request_id}
        principal = scope["state"].get("principal")
        if principal is not None:
            fields["account"] = principal.account
        if self.trail is not None and (deed := deed_of(scope, status, self.clock.wall(), request_id)) is not None:
            self.trail.note(deed)
        log.info("request", path=scope["path"], **fields)


class UnexpectedErrors:
    """Answers 500 for an error that nobody foresaw, and logs it whole under the request's id."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def send_noting(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, send_noting)
        except ClientDisconnect:
            raise
        except Exception as error:
            # As plain text, made here: a log renderer that shows local variables would show the caller's token.
            trace = redact("".join(traceback.format_exception(error)))
            log.error("request failed", path=scope["path"], request_id=request_id_of(scope), trace=trace)
            if started:
                raise  # half an answer is out: only a broken connection tells the client so
            await error_response(TapelineError("unexpected"), request_id_of(scope))(scope, receive, send)


def new_request_id() -> str:
    return "req_" + base64.b32encode(secrets.token_bytes(17)).decode()[:26]
