"""Access keys and agents of an account: the rules on who may make, see, change and end which.

An access key is an API token. Nobody gives away, by a key, a role or a password, more than what they may do themselves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from tapeline.api.ports import Agents, Tokens
from tapeline.calls.errors import not_yours
from tapeline.calls.services.sight import present
from tapeline.calls.views import Page
from tapeline.core.clock import Clock
from tapeline.core.errors import Forbidden, InvalidInput, NotFound
from tapeline.core.ids import new_id
from tapeline.core.principal import ALL_SCOPES, ROLES, Principal, role_of
from tapeline.store import AgentRow, Token, passwords

__all__ = ["AgentDraft", "Keys", "Staff"]

SHORTEST_KEY_S = 86400


class Keys:
    """The access keys."""

    def __init__(self, tokens: Tokens, clock: Clock) -> None:
        self._tokens = tokens
        self._clock = clock

    async def list(self, principal: Principal, before: float | None, limit: int) -> Page:
        principal.require("account:write")
        account = None if principal.admin else principal.account
        found = await self._tokens.page(account, before, limit, administrators=principal.admin)
        return Page(tuple(found), found[-1].created if found else None)

    async def get(self, key_id: str, principal: Principal) -> Token:
        """Raises NotFound, Forbidden."""
        principal.require("account:write")
        token = await self._tokens.get(key_id)
        if token is None:
            raise NotFound(f"no access key has the id {key_id}", reason="ACCESSKEY_NOT_FOUND")
        if not principal.may_see(token.account) or ("admin" in token.scopes and not principal.admin):
            raise not_yours("access key")
        return token

    async def add(
        self, name: str, detail: str, expire_s: int, scopes: Collection[str] | None, principal: Principal, account: str = ""
    ) -> tuple[Token, str]:
        """A key and its secret, which is told only now. `scopes` None: all that an administrator of the account has, and the principal.
        `account` "": the principal's."""
        principal.require("account:write")
        if 0 < expire_s < SHORTEST_KEY_S:
            raise InvalidInput(f"expire must be at least {SHORTEST_KEY_S} seconds", reason="INVALID_ARGUMENT")
        wanted = frozenset(scopes) if scopes is not None else ROLES["admin"] if principal.admin else ROLES["admin"] & principal.scopes
        unknown = sorted(wanted - ALL_SCOPES)
        if unknown or not wanted:
            raise InvalidInput(f"not scopes: {' '.join(unknown)}" if unknown else "no scope is given", reason="INVALID_ARGUMENT")
        _may_give(wanted, principal)
        expires = self._clock.wall() + expire_s if expire_s else None
        return await self._tokens.add(account or principal.account, name, wanted, detail=detail, expires=expires)

    async def rename(self, key_id: str, name: str, detail: str, principal: Principal) -> Token:
        await self.get(key_id, principal)
        await self._tokens.rename(key_id, name, detail)
        return await self.get(key_id, principal)

    async def revoke(self, key_id: str, principal: Principal) -> Token:
        token = await self.get(key_id, principal)
        await self._tokens.revoke(key_id)
        return token


@dataclass(frozen=True, slots=True)
class AgentDraft:
    """What an agent shall be like; "" leaves what is."""

    username: str = ""
    password: str = ""
    role: str = ""
    name: str = ""
    detail: str = ""


class Staff:
    """The agents."""

    def __init__(self, agents: Agents, tokens: Tokens, clock: Clock) -> None:
        self._agents = agents
        self._tokens = tokens
        self._clock = clock

    async def me(self, principal: Principal) -> AgentRow:
        """Who asks, as an agent: a key looks like one without a username."""
        agent = await self._agents.get(principal.id)
        if agent is not None:
            return agent
        token = await self._tokens.get(principal.id)
        since = token.created if token is not None else self._clock.wall()
        return AgentRow(principal.id, principal.account, "", principal.name, role_of(principal.scopes), "", since)

    async def list(self, principal: Principal, before: float | None, limit: int) -> Page:
        principal.require("account:write")
        found = await self._agents.list(None if principal.admin else principal.account, before, limit)
        return Page(tuple(found), found[-1].created if found else None)

    async def get(self, agent_id: str, principal: Principal) -> AgentRow:
        """Raises NotFound, Forbidden."""
        principal.require("account:write")
        agent = await self._agents.get(agent_id)
        if agent is None:
            raise NotFound(f"no agent has the id {agent_id}", reason="AGENT_NOT_FOUND")
        return present(agent, principal, "agent")

    async def add(self, draft: AgentDraft, principal: Principal, account: str = "") -> AgentRow:
        """`account` "": the principal's."""
        principal.require("account:write")
        username = draft.username.strip().lower()
        if not 0 < len(username) <= 320 or not username.isprintable():
            raise InvalidInput("username must have 1 to 320 characters", reason="INVALID_ARGUMENT")
        role = draft.role or "agent"
        _may_give(ROLES[role], principal)
        stored = await _hashed(draft.password)
        made = AgentRow(new_id(), account or principal.account, username, draft.name, role, stored, self._clock.wall(), draft.detail)
        await self._agents.add(made)
        return made

    async def change(self, agent_id: str, draft: AgentDraft, principal: Principal) -> AgentRow:
        """Whatever of `draft` is not empty; the username stays. Sessions of an old password end."""
        agent = await self.get(agent_id, principal)
        columns: dict[str, Any] = {key: value for key in ("name", "detail", "role") if (value := getattr(draft, key))}
        if draft.role or draft.password:
            _may_give(ROLES[agent.role], principal)
        if draft.role:
            _may_give(ROLES[draft.role], principal)
        if draft.password:
            columns["password"] = await _hashed(draft.password)
        return await self._agents.change(agent_id, **columns) or agent

    async def delete(self, agent_id: str, principal: Principal) -> AgentRow:
        agent = await self.get(agent_id, principal)
        _may_give(ROLES[agent.role], principal)
        gone = await self._agents.delete(agent_id)
        return agent if gone is None else gone


async def _hashed(password: str) -> str:
    if not passwords.SHORTEST <= len(password) <= passwords.LONGEST:
        raise InvalidInput(f"password must have {passwords.SHORTEST} to {passwords.LONGEST} characters", reason="INVALID_ARGUMENT")
    return await asyncio.to_thread(passwords.hashed, password)


def _may_give(scopes: frozenset[str], principal: Principal) -> None:
    """Raises Forbidden unless `principal` has all of `scopes`."""
    beyond = sorted(scopes - principal.scopes)
    if beyond and not principal.admin:
        raise Forbidden(f"this token may not give what it has not: {' '.join(beyond)}")
