"""Vonage's Application API: `/v2/applications`, with the account's key and the secret of an API token (Basic). See docs/vonage.md."""

from __future__ import annotations

import asyncio
import base64
import binascii
import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fastapi import Request
from starlette.responses import JSONResponse, Response

from tapeline.api.auth import Authenticator
from tapeline.api.bodies import read_json
from tapeline.api.errors import Unauthenticated
from tapeline.api.kazoo.auth import Directory
from tapeline.api.vonage.bodies import Reader
from tapeline.calls.vonage.applications import Applications, new_key, public_key
from tapeline.core.clock import Clock
from tapeline.core.errors import InvalidInput, NotFound
from tapeline.core.ids import is_id, new_id
from tapeline.core.principal import Principal
from tapeline.core.web import is_web
from tapeline.store import Application

__all__ = ["ROUTES", "VonageApplications", "application_shape"]

ROUTES: tuple[tuple[str, str, str, str], ...] = (  # method, path, endpoint, summary
    ("GET", "/v2/applications", "list", "The account's applications"),
    ("POST", "/v2/applications", "create", "Make one"),
    ("GET", "/v2/applications/{id}", "get", "One of them"),
    ("PUT", "/v2/applications/{id}", "change", "Change one"),
    ("DELETE", "/v2/applications/{id}", "delete", "Delete one"),
)
SCOPE = "account:write"
HOOKS = {"answer_url": "answer", "fallback_answer_url": "fallback", "event_url": "event"}  # the platform's name -> ours


def application_shape(row: Application) -> dict[str, Any]:
    kept = dict(row.options.get("capabilities", {}))
    urls = {
        name: {"address": getattr(row, f"{own}_url"), "http_method": getattr(row, f"{own}_method")}
        for name, own in HOOKS.items()
        if getattr(row, f"{own}_url")
    }
    voice = dict(kept.get("voice", {})) | {"webhooks": urls, "signed_callbacks": bool(row.signature_secret)}
    return {
        "id": row.id,
        "name": row.name,
        "capabilities": kept | {"voice": voice},
        "keys": {"public_key": row.public_key},
        "privacy": row.options.get("privacy", {"improve_ai": False}),
        "_links": {"self": {"href": f"/v2/applications/{row.id}"}},
        "tapeline": {"signature_secret": row.signature_secret},
    }


class VonageApplications:
    def __init__(self, applications: Applications, authenticator: Authenticator, accounts: Directory, clock: Clock) -> None:
        self._applications = applications
        self._authenticator = authenticator
        self._accounts = accounts
        self._clock = clock

    async def guard(self, request: Request) -> None:
        """Let in who gives an account's name or id, and a token of it that may change the account. Raises Unauthenticated, Forbidden."""
        scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
        try:
            key, _, secret = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            key = secret = ""
        if scheme.lower() != "basic" or not secret:
            raise Unauthenticated("You did not provide correct credentials: an account and the secret of a token of it are needed")
        principal = await self._authenticator.identify(secret)
        account = await self._accounts.by_name(key) or await self._accounts.get(key)
        if account is None or not principal.may_see(account.id):
            raise Unauthenticated("You did not provide correct credentials: the token is not of this account")
        principal.require(SCOPE)
        request.state.principal = Principal(account.id, principal.scopes - {"admin"}, principal.name)

    async def list(self, request: Request) -> Response:
        query = Reader(request.query_params)
        size, page = query.whole("page_size", 10, 1, 100), query.whole("page", 1, 1, 1_000_000)
        query.finish()
        await self._applications.refresh()
        found = self._applications.of_account(request.state.principal.account)
        pages = -(-len(found) // size)
        links = {"self": page, "first": 1, "last": max(1, pages)} | ({"next": page + 1} if page < pages else {})
        return JSONResponse(
            {
                "page_size": size,
                "page": page,
                "total_items": len(found),
                "total_pages": pages,
                "_embedded": {"applications": [application_shape(row) for row in found[(page - 1) * size : page * size]]},
                "_links": {name: {"href": f"/v2/applications?page_size={size}&page={at}"} for name, at in links.items()},
            }
        )

    async def get(self, id: str, request: Request) -> Response:
        return JSONResponse(application_shape(await self._own(id, request)))

    async def create(self, request: Request) -> Response:
        """The private key is told this once, where the body brought no public one."""
        body = await read_json(request)
        fresh = Application(new_id(), request.state.principal.account, created=self._clock.wall(), signature_secret=secrets.token_hex(32))
        row, private = await _changed(fresh, body), ""
        if not row.name:
            raise_for = Reader(body)
            raise_for.bad("name", "is needed")
            raise_for.finish()
        if not row.public_key:
            private, public = await asyncio.to_thread(new_key)
            row = replace(row, public_key=public)
        await self._applications.put(row)
        shape = application_shape(row)
        return JSONResponse(shape | {"keys": shape["keys"] | ({"private_key": private} if private else {})}, 201)

    async def change(self, id: str, request: Request) -> Response:
        row = await _changed(await self._own(id, request), await read_json(request))
        await self._applications.put(replace(row, updated=self._clock.wall()))
        return JSONResponse(application_shape(row))

    async def delete(self, id: str, request: Request) -> Response:
        row = await self._own(id, request)
        await self._applications.delete(row.id, self._clock.wall())
        return Response(status_code=204)

    async def _own(self, id: str, request: Request) -> Application:
        row = await self._applications.find(id.lower()) if is_id(id) else None
        if row is None or row.account != request.state.principal.account:
            raise NotFound("no application of this account has this id")
        return row


async def _changed(row: Application, body: Mapping[str, Any]) -> Application:
    """`row` with what a body says of it. What it leaves out stays. Raises BadParameters."""
    read = Reader(body)
    fields: dict[str, Any] = {}
    if read.has("name"):
        fields["name"] = read.text("name", 256)
    own, keys = read.inner("tapeline"), read.inner("keys")
    if own.has("signature_secret"):
        fields["signature_secret"] = own.text("signature_secret", 512)
    if keys.has("public_key"):
        fields["public_key"] = keys.text("public_key", 8192)
        try:
            await asyncio.to_thread(public_key, fields["public_key"])
        except InvalidInput as error:
            keys.bad("public_key", error.message)
    if read.has("capabilities"):
        capabilities = read.inner("capabilities")
        voice = capabilities.inner("voice")
        hooks = voice.inner("webhooks")
        for name, ours in HOOKS.items():
            fields |= _hook(hooks.inner(name), ours) if hooks.has(name) else {f"{ours}_url": ""} if voice.has("webhooks") else {}
        kept = {name: value for name, value in capabilities.body.items() if isinstance(value, dict)}
        if "voice" in kept:
            kept["voice"] = {name: value for name, value in kept["voice"].items() if name not in ("webhooks", "signed_callbacks")}
        fields["options"] = {**row.options, "capabilities": kept}
    if read.has("privacy"):
        fields["options"] = {**fields.get("options", row.options), "privacy": dict(read.inner("privacy").body)}
    read.finish()
    return replace(row, **fields)


def _hook(read: Reader, ours: str) -> dict[str, str]:
    address = read.text("address", 2000)
    if address and not is_web(address):
        read.bad("address", "must be an http(s) URL")
    default = "POST" if ours == "event" else "GET"
    return {f"{ours}_url": address, f"{ours}_method": read.word("http_method", ("GET", "POST"), default)}
