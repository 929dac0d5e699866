"""Sessions: what a login or an exchanged key gives. Signed tokens (JWT, HS256) that name the account and the scopes and end by themselves.

Nothing is kept of them but the key that signs, so a session cannot be revoked before its end; it is short for that reason.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import jwt

from tapeline.core.clock import Clock
from tapeline.core.principal import Principal

__all__ = ["SESSION_S", "Sessions", "session_key"]

SESSION_S = 3600.0
_ISSUER = "tapeline"


def session_key(path: Path) -> str:
    """The key at `path`, made there (mode 0600) where there is none. Two servers that start at once agree on one."""
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
    except FileExistsError:
        pass
    return path.read_text().strip()


class Sessions:
    def __init__(self, key: str, clock: Clock) -> None:
        self._key = key
        self._clock = clock

    def issue(self, principal: Principal, seconds: float = SESSION_S) -> str:
        """A token that stands for `principal`."""
        now = self._clock.wall()
        claims = {
            "iss": _ISSUER,
            "iat": int(now),
            "exp": int(now + seconds),
            "account": principal.account,
            "scopes": sorted(principal.scopes),
            "name": principal.name,
        }
        return jwt.encode(claims, self._key, algorithm="HS256")

    def principal(self, token: str) -> Principal | None:
        """Whom the token stands for; None where it is none of ours, or its time is over."""
        if token.count(".") != 2:
            return None
        try:
            # The times are checked against our own clock, below.
            options = {"verify_exp": False, "verify_iat": False, "require": ["exp", "account", "scopes"]}
            claims = jwt.decode(token, self._key, algorithms=["HS256"], issuer=_ISSUER, options=options)  # type: ignore[arg-type]
            account, scopes, ends = claims["account"], claims["scopes"], claims["exp"]
        except jwt.PyJWTError:
            return None
        if not isinstance(ends, int) or ends <= self._clock.wall() or not isinstance(account, str) or not isinstance(scopes, list):
            return None
        return Principal(account, frozenset(str(scope) for scope in scopes), str(claims.get("name", "")))
