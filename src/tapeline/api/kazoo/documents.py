"""KAZOO's documents of an account, its users and its devices, as far as recordings need them, and the metaflows in each.

    GET, POST, PATCH /accounts/A        .../users/U        .../devices/D        (PUT, DELETE: devices)
    GET, POST, PATCH, DELETE .../metaflows below each of them

`call_recording` and `metaflows` of a document take effect on the next call. Whatever else one holds is kept and told as it is. Users are
those of the settings: what is written here stands beside them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from tapeline.api.auth import principal_of
from tapeline.api.kazoo.auth import Directory
from tapeline.api.kazoo.bodies import KazooRoute, bare, merged, read_data
from tapeline.api.kazoo.collections import id_taken, listed, wanted_id
from tapeline.api.kazoo.rules import Rules
from tapeline.api.kazoo.schema import kept
from tapeline.api.kazoo.words import BadIdentifier, hex_id, success, uuid_of
from tapeline.api.ports import Service
from tapeline.calls.kazoo.profiles import user_named
from tapeline.core.ids import new_id
from tapeline.core.settings import User

__all__ = ["KazooDocuments", "Subject", "owner_ids"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@+-]{0,127}", re.ASCII)
READ, WRITE = "calls:read", "account:write"

Body = Mapping[str, Any]


def owner_ids(users: Sequence[User], text: str) -> frozenset[str]:
    """By which ids recordings name the owner that a path names as `text`."""
    user = user_named(users, text)
    return frozenset({text, *((user.id, user.name, hex_id(user.id)) if user is not None else ())} - {""})


class Subject:
    """Which document a path means: `kind` and `name` as the store has them, and what is told of it besides."""

    def __init__(self, kind: str, name: str, told: Body, *, there: bool) -> None:
        self.kind = kind
        self.name = name
        self.told = told
        self.there = there  # also where nothing was ever written of it


class KazooDocuments:
    def __init__(self, service: Service, rules: Rules, accounts: Directory, users: Sequence[User]) -> None:
        self._service = service
        self._rules = rules
        self._accounts = accounts
        self._users = users

    def routes(self) -> tuple[KazooRoute, ...]:
        kinds = (("", "an account", ""), ("/users/{user}", "a user", "user"), ("/devices/{device}", "a device", "device"))
        made = [
            KazooRoute("GET", "/users", READ, self.list_users, "List users"),
            KazooRoute("GET", "/devices", READ, self.list_devices, "List devices"),
            KazooRoute("PUT", "/devices", WRITE, self.create_device, "Make a device's document"),
            KazooRoute("DELETE", "/devices/{device}", WRITE, self.delete_device, "Delete a device's document"),
        ]
        endpoints = (
            ("GET", "", READ, self.get_document, "The document of"),
            ("POST", "", WRITE, self.replace_document, "Replace the document of"),
            ("PATCH", "", WRITE, self.patch_document, "Change some of the document of"),
            ("GET", "/metaflows", READ, self.get_metaflows, "The metaflows of"),
            ("POST", "/metaflows", WRITE, self.replace_metaflows, "Replace the metaflows of"),
            ("PATCH", "/metaflows", WRITE, self.patch_metaflows, "Change some metaflows of"),
            ("DELETE", "/metaflows", WRITE, self.delete_metaflows, "Delete the metaflows of"),
        )
        for path, whose, kind in kinds:
            for method, below, scope, endpoint, words in endpoints:
                made.append(KazooRoute(method, path + below, scope, self._bound(endpoint, kind), f"{words} {whose}"))
        return tuple(made)

    def _bound(self, endpoint: Callable[[Request, str, str, str], Any], kind: str) -> Callable[[Request], Any]:
        """One endpoint for the three kinds of paths."""

        async def bound(request: Request) -> Response:
            of = request.path_params
            response: Response = await endpoint(request, of["account"], kind or "account", of.get(kind, ""))
            return response

        bound.__name__ = f"{endpoint.__name__}_{kind or 'account'}"
        return bound

    # -- documents -----------------------------------------------------------------------------------------------------

    async def list_users(self, request: Request, account: str) -> Response:
        owner = await self._account(account)
        written = await self._service.documents.list(owner.id, "user", principal_of(request))
        names = {(user.id or user.name).lower(): _of_user(user) for user in self._users if user.account == owner.name}
        told = [{**said, **next((row.body for row in written if row.name == name), {})} for name, said in names.items()]
        return success(request, [{key: user[key] for key in ("id", "username", "name") if key in user} for user in told])

    async def list_devices(self, request: Request, account: str) -> Response:
        return await listed(self._service, request, account, "device", ("name", "owner_id", "device_type", "enabled"))

    async def create_device(self, request: Request, account: str) -> Response:
        owner, data = await self._account(account), await read_data(request)
        document, name = bare(data), wanted_id(data) or hex_id(new_id())
        if await self._service.documents.get(owner.id, "device", name, principal_of(request)) is not None:
            raise id_taken(name)
        kept(document, self._rules.person)
        row = await self._service.documents.change(owner.id, "device", name, lambda old: document, principal_of(request))
        return success(request, {**row.body, "id": name}, 201)

    async def delete_device(self, request: Request, account: str, device: str) -> Response:
        owner, principal = uuid_of(account), principal_of(request)
        row = await self._service.documents.get(owner, "device", device.lower(), principal)
        if row is None:
            raise BadIdentifier(device)
        await self._service.documents.delete(owner, "device", row.name, principal)
        return success(request, {**row.body, "id": row.name, "_read_only": {"deleted": True}})

    async def get_document(self, request: Request, account: str, kind: str, name: str) -> Response:
        owner, subject = await self._subject(account, kind, name)
        body = await self._body(request, owner, subject, name)
        return success(request, {**subject.told, **body, "id": subject.told["id"]})

    async def replace_document(self, request: Request, account: str, kind: str, name: str) -> Response:
        document = bare(await read_data(request))
        return await self._changed(request, account, kind, name, lambda old: document)

    async def patch_document(self, request: Request, account: str, kind: str, name: str) -> Response:
        document = bare(await read_data(request))
        return await self._changed(request, account, kind, name, lambda old: merged(old, document))

    async def _changed(self, request: Request, account: str, kind: str, name: str, how: Callable[[Body], Body]) -> Response:
        owner, subject = await self._subject(account, kind, name)
        await self._body(request, owner, subject, name)
        body = await self._write(request, owner, subject, how)
        return success(request, {**subject.told, **body, "id": subject.told["id"]})

    # -- metaflows -----------------------------------------------------------------------------------------------------

    async def get_metaflows(self, request: Request, account: str, kind: str, name: str) -> Response:
        owner, subject = await self._subject(account, kind, name)
        return success(request, (await self._body(request, owner, subject, name)).get("metaflows", {}))

    async def replace_metaflows(self, request: Request, account: str, kind: str, name: str) -> Response:
        document = bare(await read_data(request))
        return await self._changed_metaflows(request, account, kind, name, lambda old: document)

    async def patch_metaflows(self, request: Request, account: str, kind: str, name: str) -> Response:
        document = bare(await read_data(request))
        return await self._changed_metaflows(request, account, kind, name, lambda old: merged(old, document))

    async def delete_metaflows(self, request: Request, account: str, kind: str, name: str) -> Response:
        return await self._changed_metaflows(request, account, kind, name, lambda old: None)

    async def _changed_metaflows(
        self, request: Request, account: str, kind: str, name: str, how: Callable[[Body], Body | None]
    ) -> Response:
        owner, subject = await self._subject(account, kind, name)
        await self._body(request, owner, subject, name)

        def within(old: Body) -> Body:
            changed = how(old.get("metaflows") or {})
            kept(changed or {}, self._rules.metaflows)
            rest = {key: value for key, value in old.items() if key != "metaflows"}
            return rest if changed is None else {**rest, "metaflows": changed}

        body = await self._write(request, owner, subject, within)
        return success(request, body.get("metaflows", {}))

    # -- between paths and rows ----------------------------------------------------------------------------------------

    async def _account(self, text: str) -> Any:
        owner = await self._accounts.get(uuid_of(text))
        if owner is None:
            raise BadIdentifier(text)
        return owner

    async def _subject(self, account: str, kind: str, name: str) -> tuple[str, Subject]:
        owner = await self._account(account)
        if kind == "account":
            return owner.id, Subject(kind, owner.id, {"id": hex_id(owner.id), "name": owner.name}, there=True)
        if not _NAME.fullmatch(name):
            raise BadIdentifier(name)
        if kind == "user":
            user = user_named(self._users, name)
            if user is None or user.account != owner.name:
                raise BadIdentifier(name)
            return owner.id, Subject(kind, (user.id or user.name).lower(), _of_user(user), there=True)
        return owner.id, Subject(kind, name.lower(), {"id": name.lower()}, there=False)

    async def _body(self, request: Request, owner: str, subject: Subject, name: str) -> Body:
        """What was written. Raises BadIdentifier where nothing was, and nothing is known of it from elsewhere."""
        row = await self._service.documents.get(owner, subject.kind, subject.name, principal_of(request))
        if row is None and not subject.there:
            raise BadIdentifier(name)
        return row.body if row is not None else {}

    async def _write(self, request: Request, owner: str, subject: Subject, how: Callable[[Body], Body]) -> Body:
        rule = self._rules.account if subject.kind == "account" else self._rules.person

        def checked(old: Body) -> Body:
            return kept(how(old), rule)

        return (await self._service.documents.change(owner, subject.kind, subject.name, checked, principal_of(request))).body


def _of_user(user: User) -> dict[str, Any]:
    set_ = user.model_dump(include={"call_recording", "metaflows"}, exclude_unset=True, exclude_none=True)
    return {"id": hex_id(user.id) if user.id else user.name, "username": user.name, **set_}
