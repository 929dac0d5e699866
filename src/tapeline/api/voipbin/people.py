"""VoIPBIN's REST face of access keys, agents and oneself, under /v1.0. The rules are those of `people`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fastapi import Request
from starlette.responses import JSONResponse, Response

from tapeline.api.auth import principal_of
from tapeline.api.bodies import Fields, read_json
from tapeline.api.kazoo.auth import Directory
from tapeline.api.people import AgentDraft, Keys, Staff
from tapeline.api.routes import PAGING, Route, path_id, read_paging
from tapeline.api.voipbin import people_shapes as shapes
from tapeline.api.voipbin.shapes import listing
from tapeline.calls.errors import not_yours
from tapeline.core.errors import NotFound
from tapeline.core.ids import is_id
from tapeline.core.principal import ALL_SCOPES, Principal

__all__ = ["PeopleFace"]

LONGEST = 1000
LONGEST_EXPIRE_S = 100 * 366 * 86400


class PeopleFace:
    """The endpoints. Holds nothing but what it was given."""

    def __init__(self, keys: Keys, staff: Staff, accounts: Directory) -> None:
        self._keys = keys
        self._staff = staff
        self._accounts = accounts

    def routes(self) -> tuple[Route, ...]:
        admin = "account:write"
        return (
            Route("GET", "/me", "", self.me, "Who asks", shapes.AgentShape),
            Route("GET", "/accesskeys", admin, self.list_keys, "List access keys, newest first", shapes.AccesskeysShape, PAGING),
            Route("POST", "/accesskeys", admin, self.add_key, "Make an access key", shapes.AccesskeyShape, body=KEY_BODY),
            Route("GET", "/accesskeys/{id}", admin, self.get_key, "One access key", shapes.AccesskeyShape),
            Route("PUT", "/accesskeys/{id}", admin, self.rename_key, "Rename an access key", shapes.AccesskeyShape, body=RENAME_BODY),
            Route("DELETE", "/accesskeys/{id}", admin, self.revoke_key, "End an access key", shapes.AccesskeyShape),
            Route("GET", "/agents", admin, self.list_agents, "List agents, newest first", shapes.AgentsShape, PAGING),
            Route("POST", "/agents", admin, self.add_agent, "Make an agent", shapes.AgentShape, body=AGENT_BODY),
            Route("GET", "/agents/{id}", admin, self.get_agent, "One agent", shapes.AgentShape),
            Route("PUT", "/agents/{id}", admin, self.change_agent, "Rename an agent", shapes.AgentShape, body=RENAME_BODY),
            Route("PUT", "/agents/{id}/permission", admin, self.set_role, "Another role", shapes.AgentShape, body=PERMISSION_BODY),
            Route("PUT", "/agents/{id}/password", admin, self.set_password, "Another password", shapes.AgentShape, body=PASSWORD_BODY),
            Route("DELETE", "/agents/{id}", admin, self.delete_agent, "Delete an agent", shapes.AgentShape),
        )

    async def me(self, request: Request) -> Response:
        principal = principal_of(request)
        return JSONResponse(shapes.agent(await self._staff.me(principal), principal))

    # -- access keys ---------------------------------------------------------------------------------------------------

    async def list_keys(self, request: Request) -> Response:
        before, limit = read_paging(request)
        return JSONResponse(listing(await self._keys.list(principal_of(request), before, limit), shapes.accesskey))

    async def add_key(self, request: Request) -> Response:
        fields = Fields(await read_json(request))
        name, detail = names(fields)
        expire_s = fields.count("expire", LONGEST_EXPIRE_S) or 0
        scopes, account = _scopes(fields), _account(fields)
        fields.finish()
        await self._check(account, principal_of(request))
        token, secret = await self._keys.add(name, detail, expire_s, scopes, principal_of(request), account)
        return JSONResponse(shapes.accesskey(token, secret))

    async def get_key(self, request: Request, id: str) -> Response:
        return JSONResponse(shapes.accesskey(await self._keys.get(path_id(id), principal_of(request))))

    async def rename_key(self, request: Request, id: str) -> Response:
        key_id = path_id(id)
        fields = Fields(await read_json(request))
        name, detail = names(fields)
        fields.finish()
        return JSONResponse(shapes.accesskey(await self._keys.rename(key_id, name, detail, principal_of(request))))

    async def revoke_key(self, request: Request, id: str) -> Response:
        return JSONResponse(shapes.accesskey(await self._keys.revoke(path_id(id), principal_of(request))))

    # -- agents --------------------------------------------------------------------------------------------------------

    async def list_agents(self, request: Request) -> Response:
        before, limit = read_paging(request)
        return JSONResponse(listing(await self._staff.list(principal_of(request), before, limit), shapes.agent))

    async def add_agent(self, request: Request) -> Response:
        fields = Fields(await read_json(request))
        name, detail = names(fields)
        draft = AgentDraft(fields.text("username"), fields.text("password"), _role(fields, "agent"), name, detail)
        account = _account(fields)
        fields.finish()
        await self._check(account, principal_of(request))
        return JSONResponse(shapes.agent(await self._staff.add(draft, principal_of(request), account)))

    async def get_agent(self, request: Request, id: str) -> Response:
        return JSONResponse(shapes.agent(await self._staff.get(path_id(id), principal_of(request))))

    async def change_agent(self, request: Request, id: str) -> Response:
        return await self._change(request, id, _new_names)

    async def set_role(self, request: Request, id: str) -> Response:
        return await self._change(request, id, lambda fields: AgentDraft(role=_role(fields, "")))

    async def set_password(self, request: Request, id: str) -> Response:
        return await self._change(request, id, _new_password)

    async def _change(self, request: Request, id: str, read: Callable[[Fields], AgentDraft]) -> Response:
        agent_id = path_id(id)
        fields = Fields(await read_json(request))
        draft = read(fields)
        fields.finish()
        return JSONResponse(shapes.agent(await self._staff.change(agent_id, draft, principal_of(request))))

    async def delete_agent(self, request: Request, id: str) -> Response:
        return JSONResponse(shapes.agent(await self._staff.delete(path_id(id), principal_of(request))))


    async def _check(self, account: str, principal: Principal) -> None:
        """Whether `principal` may make something for `account`; "" is its own. Raises Forbidden, NotFound."""
        if account and not principal.may_see(account):
            raise not_yours("account")
        if account and await self._accounts.get(account) is None:
            raise NotFound(f"no account has the id {account}", reason="CUSTOMER_NOT_FOUND")


def names(fields: Fields) -> tuple[str, str]:
    """`name` and `detail`, of bounded length."""
    found = fields.text("name"), fields.text("detail")
    if max(map(len, found)) > LONGEST:
        fields.problem(f"name and detail must have at most {LONGEST} characters")
    return found


def _scopes(fields: Fields) -> list[str] | None:
    ours = fields.mapping("tapeline")
    scopes = ours.get("scopes")
    if scopes is None:
        return None
    if not isinstance(scopes, list) or not all(isinstance(scope, str) for scope in scopes) or len(scopes) > len(ALL_SCOPES):
        fields.problem("tapeline.scopes must be a list of scopes")
        return []
    return scopes


def _account(fields: Fields) -> str:
    """For which account something is made; "" where that is not said."""
    given = fields.within("tapeline").text("customer_id").strip()
    if given and not is_id(given):
        fields.problem("tapeline.customer_id must be a UUID")
    return given.lower()


def _role(fields: Fields, default: str) -> str:
    """Of the platform's `permission`, a mask of bits."""
    permission = fields.count("permission", 65535)
    role = shapes.role_named(permission) if permission is not None else default
    if not role:
        fields.problem(f"permission must be one of {', '.join(str(bit) for bit in shapes.PERMISSIONS.values())}")
    return role


def _new_names(fields: Fields) -> AgentDraft:
    name, detail = names(fields)
    return AgentDraft(name=name, detail=detail)


def _new_password(fields: Fields) -> AgentDraft:
    password = fields.text("password")
    if not password:
        fields.problem("password is missing")
    return AgentDraft(password=password)


_NAMES: Mapping[str, Any] = {"name": {"type": "string"}, "detail": {"type": "string"}}
_FOR: Mapping[str, Any] = {"customer_id": {"type": "string", "description": "For which account; an administrator's alone."}}
_PERMISSION = {"type": "integer", "enum": list(shapes.PERMISSIONS.values()), "description": "32: admin, 64: manager, 16: agent."}
RENAME_BODY: dict[str, Any] = {"type": "object", "properties": dict(_NAMES)}
KEY_BODY: dict[str, Any] = {
    "type": "object",
    "properties": {
        **_NAMES,
        "expire": {"type": "integer", "minimum": 0, "description": "Seconds until it ends, from a day on; 0: never."},
        "tapeline": {
            "type": "object",
            "properties": {"scopes": {"type": "array", "items": {"type": "string", "enum": sorted(ALL_SCOPES)}}, **_FOR},
        },
    },
}
AGENT_BODY: dict[str, Any] = {
    "type": "object",
    "required": ["username", "password"],
    "properties": {**_NAMES, "username": {"type": "string"}, "password": {"type": "string"}, "permission": _PERMISSION} | {
        "tapeline": {"type": "object", "properties": dict(_FOR)}
    },
}
PERMISSION_BODY: dict[str, Any] = {"type": "object", "required": ["permission"], "properties": {"permission": _PERMISSION}}
PASSWORD_BODY: dict[str, Any] = {"type": "object", "required": ["password"], "properties": {"password": {"type": "string"}}}
