"""Sessions: what a login or an exchanged key gives. Signed tokens (JWT, HS256) that end by themselves.

Nothing is kept of them but the key that signs. KAZOO's name the account and the scopes; such a session cannot be revoked before its end,
and is short for that reason. An agent's names the agent and the password it was made for: what it may do is looked up at each use, and
another password, another role or the agent's end counts at once.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt

from tapeline.core.clock import Clock
from tapeline.core.principal import Principal

__all__ = ["AGENT_SESSION_S", "SESSION_S", "AgentSession", "Sessions", "password_mark", "session_key"]

SESSION_S = 3600.0
AGENT_SESSION_S = 7 * 86400.0
_ISSUER = "tapeline"


def session_key(path: Path) -> str:
    """The key at `path`, made there (mode 0600) where there is none. Two servers that start at once agree on one."""
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
    except FileExistsError:
        pass
    return path.read_text().strip()


@dataclass(frozen=True, slots=True)
class AgentSession:
    """What an agent's session says of itself."""

    agent_id: str
    mark: str  # see `password_mark`
    ends: float


def password_mark(stored: str) -> str:
    """By which a session knows the password it was made for, without telling anything of it."""
    return hashlib.sha256(stored.encode()).hexdigest()[:16]


class Sessions:
    def __init__(self, key: str, clock: Clock) -> None:
        self._key = key
        self._clock = clock

    def issue(self, principal: Principal, seconds: float = SESSION_S) -> str:
        """A token that stands for `principal`."""
        return self._signed({"account": principal.account, "scopes": sorted(principal.scopes), "name": principal.name}, seconds)

    def principal(self, token: str) -> Principal | None:
        """Whom the token of `issue` stands for; None where it is none, or its time is over."""
        claims = self._claims(token)
        account, scopes = claims.get("account"), claims.get("scopes")
        if not isinstance(account, str) or not isinstance(scopes, list):
            return None
        return Principal(account, frozenset(str(scope) for scope in scopes), str(claims.get("name", "")))

    def issue_agent(self, agent_id: str, stored_password: str, seconds: float = AGENT_SESSION_S) -> str:
        """A token that stands for the agent as long as that is its password."""
        return self._signed({"type": "agent", "agent": agent_id, "mark": password_mark(stored_password)}, seconds)

    def agent(self, token: str) -> AgentSession | None:
        """What the token of `issue_agent` says; None where it is none, or its time is over."""
        claims = self._claims(token)
        agent_id, mark = claims.get("agent"), claims.get("mark")
        if not isinstance(agent_id, str) or not isinstance(mark, str):
            return None
        return AgentSession(agent_id, mark, float(claims["exp"]))

    def _signed(self, claims: dict[str, Any], seconds: float) -> str:
        now = self._clock.wall()
        return jwt.encode({"iss": _ISSUER, "iat": int(now), "exp": int(now + seconds), **claims}, self._key, algorithm="HS256")

    def _claims(self, token: str) -> dict[str, Any]:
        """Empty where the token is none of ours, or its time is over."""
        if token.count(".") != 2:
            return {}
        try:
            # The times are checked against our own clock, below.
            options = {"verify_exp": False, "verify_iat": False, "require": ["exp"]}
            claims: dict[str, Any] = jwt.decode(token, self._key, algorithms=["HS256"], issuer=_ISSUER, options=options)  # type: ignore[arg-type]
        except jwt.PyJWTError:
            return {}
        ends = claims["exp"]
        return claims if isinstance(ends, int) and ends > self._clock.wall() else {}
