"""KAZOO's face under /v2: logins, recordings, callflows, documents, channels. See docs/kazoo.md.

Each answer has KAZOO's envelope, errors too."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from tapeline.api.kazoo.auth import KazooAuth
from tapeline.api.kazoo.bodies import read_data
from tapeline.api.kazoo.callflows import KazooCallflows
from tapeline.api.kazoo.channels import KazooChannels
from tapeline.api.kazoo.collections import KazooCollections
from tapeline.api.kazoo.documents import KazooDocuments
from tapeline.api.kazoo.hooks import KazooHooks
from tapeline.api.kazoo.recordings import KazooRecordings
from tapeline.api.kazoo.rules import Rules
from tapeline.api.kazoo.storage import KazooStorage
from tapeline.api.kazoo.upload_errors import KazooUploadErrors
from tapeline.api.kazoo.voicemail import KazooVoicemail
from tapeline.api.kazoo.words import hex_id, success
from tapeline.api.ports import Service
from tapeline.api.routes import add_route
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
        KazooCollections(service),
        KazooVoicemail(service, auth.users),
    )
    made = APIRouter(prefix=PREFIX, tags=["v2"])

    logins = _Logins(auth)
    for path, endpoint, summary in (
        ("/api_auth", logins.api_auth, "A token for an api_key"),
        ("/user_auth", logins.user_auth, "A token for a user's credentials"),
    ):
        add_route(made, "PUT", path, endpoint, summary, "Needs no token.", face="kazoo_")
    for face in faces:
        for route in face.routes():
            add_route(
                made,
                route.method,
                f"/accounts/{{account}}{route.path}",
                route.endpoint,
                route.summary,
                f"Needs the scope `{route.scope}`.",
                guards=[auth.needs(route.scope)],
                audit=route.audit,
                extra={"security": [{"bearer": []}], "x-scope": route.scope},
                face="kazoo_",
            )
    return made
