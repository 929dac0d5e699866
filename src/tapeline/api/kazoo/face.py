"""KAZOO's face under /v2: logins, recordings, callflows, documents, channels. See docs/kazoo.md.

Each answer has KAZOO's envelope, errors too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from tapeline.api.auditing import audited
from tapeline.api.kazoo.auth import KazooAuth
from tapeline.api.kazoo.bodies import read_data
from tapeline.api.kazoo.callflows import KazooCallflows
from tapeline.api.kazoo.channels import KazooChannels
from tapeline.api.kazoo.documents import KazooDocuments
from tapeline.api.kazoo.hooks import KazooHooks
from tapeline.api.kazoo.recordings import KazooRecordings
from tapeline.api.kazoo.rules import Rules
from tapeline.api.kazoo.storage import KazooStorage
from tapeline.api.kazoo.upload_errors import KazooUploadErrors
from tapeline.api.kazoo.voicemail import KazooVoicemail
from tapeline.api.kazoo.words import hex_id, success
from tapeline.api.ports import Service
from tapeline.core.clock import Clock
from tapeline.core.principal import Principal

__all__ = ["PREFIX", "router"]

PREFIX = "/v2"


class _Logins:
    """The two ways to a token. Nobody is known yet, so there is no guard."""

    def __init__(self, auth: KazooAuth) -> None:
        self._auth = auth

    async def api_auth(self, request: Request) -> Response:
        return _welcome(request, *await self._auth.exchange_key(await read_data(request)))

    async def user_auth(self, request: Request) -> Response:
        return _welcome(request, *await self._auth.log_in(await read_data(request)))


def _welcome(request: Request, token: str, principal: Principal) -> Response:
    request.state.auth_token = token
    account = hex_id(principal.account)
    data = {"account_id": account, "owner_id": principal.name, "reseller_id": account, "is_reseller": False, "language": "en-us"}
    return success(request, data, 201)


def router(auth: KazooAuth, service: Service, clock: Clock, rules: Rules, storage: KazooStorage) -> APIRouter:
    faces = (
        KazooRecordings(service, clock, auth.users),
        KazooCallflows(service, rules),
        KazooDocuments(service, rules, auth.accounts, auth.users),
        KazooUploadErrors(service),
        KazooHooks(service, rules),
        KazooChannels(service, rules, auth.users),
        storage,
        KazooVoicemail(service, auth.users),
    )
    made = APIRouter(prefix=PREFIX, tags=["v2"])

    def add(method: str, path: str, endpoint: Callable[..., Any], summary: str, *, scope: str = "", audit: str = "") -> None:
        extra: dict[str, Any] = {"security": [{"bearer": []}], "x-scope": scope} if scope else {}
        guards = [Depends(auth.needs(scope))] if scope else []
        for verb in (method, "HEAD") if method == "GET" else (method,):
            made.add_api_route(
                path,
                endpoint,
                methods=[verb],
                name=f"kazoo_{endpoint.__name__}",
                operation_id=f"kazoo_{verb.lower()}{path.replace('/', '_').replace('{', '').replace('}', '')}",
                summary=summary,
                description=f"Needs the scope `{scope}`." if scope else "Needs no token.",
                response_model=None,
                dependencies=[Depends(audited(audit)), *guards] if audit and verb != "HEAD" else guards,
                openapi_extra=extra,
                include_in_schema=verb == method,
            )

    logins = _Logins(auth)
    add("PUT", "/api_auth", logins.api_auth, "A token for an api_key")
    add("PUT", "/user_auth", logins.user_auth, "A token for a user's credentials")
    for face in faces:
        for route in face.routes():
            add(route.method, f"/accounts/{{account}}{route.path}", route.endpoint, route.summary, scope=route.scope, audit=route.audit)
    return made
