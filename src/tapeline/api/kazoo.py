"""KAZOO's face under /v2: logins, recordings. See docs/kazoo.md. Each answer has KAZOO's envelope, errors too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from tapeline.api.auditing import audited
from tapeline.api.bodies import read_json
from tapeline.api.kazoo_auth import KazooAuth
from tapeline.api.kazoo_recordings import KazooRecordings
from tapeline.api.kazoo_words import FieldErrors, hex_id, success
from tapeline.api.ports import Service
from tapeline.core.clock import Clock
from tapeline.core.principal import Principal

__all__ = ["PREFIX", "ROUTES", "router"]

PREFIX = "/v2"
ROUTES: tuple[tuple[str, str, str, str, str], ...] = (  # method, path, scope, endpoint, summary
    ("GET", "/accounts/{account}/recordings", "recordings:read", "list", "List recordings"),
    ("GET", "/accounts/{account}/users/{user}/recordings", "recordings:read", "list_of_user", "List a user's recordings"),
    ("GET", "/accounts/{account}/recordings/{id}", "recordings:read", "get", "A recording's metadata, or its audio"),
    ("DELETE", "/accounts/{account}/recordings/{id}", "recordings:delete", "delete", "Delete a recording"),
    ("PATCH", "/accounts/{account}/recordings/{id}", "recordings:write", "patch", "Note something about a recording"),
)
AUDITED = {"list": "listed", "list_of_user": "listed", "get": "seen", "delete": "deleted", "patch": "changed"}  # endpoint -> deed


class _Logins:
    """The two ways to a token. Nobody is known yet, so there is no guard."""

    def __init__(self, auth: KazooAuth) -> None:
        self._auth = auth

    async def api_auth(self, request: Request) -> Response:
        return _welcome(request, *await self._auth.exchange_key(await _data(request)))

    async def user_auth(self, request: Request) -> Response:
        return _welcome(request, *await self._auth.log_in(await _data(request)))


async def _data(request: Request) -> dict[str, Any]:
    data = (await read_json(request)).get("data")
    if not isinstance(data, dict):
        raise FieldErrors({"data": {"required": {"message": "Field is required but missing"}}})
    return data


def _welcome(request: Request, token: str, principal: Principal) -> Response:
    request.state.auth_token = token
    account = hex_id(principal.account)
    data = {"account_id": account, "owner_id": principal.name, "reseller_id": account, "is_reseller": False, "language": "en-us"}
    return success(request, data, 201)


def router(auth: KazooAuth, service: Service, clock: Clock) -> APIRouter:
    recordings = KazooRecordings(service, clock)
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
    for method, path, scope, endpoint, summary in ROUTES:
        add(method, path, getattr(recordings, endpoint), summary, scope=scope, audit=AUDITED.get(endpoint, ""))
    return made
