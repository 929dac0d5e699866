"""Who asks, on KAZOO's face: X-Auth-Token, `auth_token` in the query, or Bearer; and the two ways to get such a token.

A token is a session of ours, or the secret of an API token itself. `api_auth` exchanges the secret of an API token (KAZOO's api_key) for
a session; `user_auth` the hash of a user's name and password, which are those that the user's telephone registers with.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from starlette.requests import Request

from tapeline.api.auth import Authenticator
from tapeline.api.bodies import read_json
from tapeline.api.errors import Unauthenticated
from tapeline.api.kazoo.words import BadIdentifier, FieldErrors, uuid_of
from tapeline.api.sessions import Sessions
from tapeline.core.principal import Principal
from tapeline.core.settings import User

__all__ = ["Directory", "KazooAuth"]

USER_SCOPES = frozenset({"calls:read", "calls:write", "recordings:read", "recordings:listen", "recordings:write", "recordings:delete"})
_HASHES: Mapping[str, Callable[[bytes], Any]] = {"md5": hashlib.md5, "sha": hashlib.sha1}


class Account(Protocol):
    @property
    def id(self) -> str: ...

    @property
    def name(self) -> str: ...


class Directory(Protocol):
    """The accounts, as `store` has them."""

    async def get(self, account_id: str) -> Account | None: ...

    async def by_name(self, name: str) -> Account | None: ...


class KazooAuth:
    """Of one event loop."""

    def __init__(self, authenticator: Authenticator, sessions: Sessions, accounts: Directory, users: Sequence[User]) -> None:
        self._authenticator = authenticator
        self._sessions = sessions
        self.accounts = accounts
        self.users = users

    def needs(self, scope: str) -> Callable[[Request], Awaitable[None]]:
        """The guard of a route."""

        async def guard(request: Request) -> None:
            token = credential(request) or await _in_body(request)
            principal = await self._principal(token)
            request.state.principal = principal
            request.state.auth_token = token
            principal.require(scope)

        return guard

    async def _principal(self, token: str) -> Principal:
        if not token:
            raise Unauthenticated("invalid credentials")
        kind, _, rest = token.partition(" ")
        if kind == "Basic":
            return await self._basic(rest)
        session = self._sessions.principal(token)
        return session if session is not None else await self._authenticator.identify(token)

    async def _basic(self, encoded: str) -> Principal:
        """Account id and the MD5 of `user:password`."""
        try:
            account, _, credentials = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError) as error:
            raise Unauthenticated("invalid credentials") from error
        return await self._user(credentials, "md5", account)

    async def exchange_key(self, body: Mapping[str, Any]) -> tuple[str, Principal]:
        """`api_auth`. Raises Unauthenticated, FieldErrors."""
        key = body.get("api_key")
        if not isinstance(key, str) or not key:
            raise FieldErrors({"api_key": {"required": {"message": "Field is required but missing"}}})
        principal = await self._authenticator.identify(key)
        return self._sessions.issue(principal), principal

    async def log_in(self, body: Mapping[str, Any]) -> tuple[str, Principal]:
        """`user_auth`. Raises Unauthenticated, FieldErrors."""
        credentials, method = body.get("credentials"), body.get("method", "md5")
        if not isinstance(credentials, str) or not credentials:
            raise FieldErrors({"credentials": {"required": {"message": "Field is required but missing"}}})
        if method not in _HASHES:
            raise FieldErrors({"method": {"enum": {"message": "Value not found in enumerated list of values", "target": sorted(_HASHES)}}})
        account = str(body.get("account_name") or body.get("account_realm") or "default")
        principal = await self._user(credentials, str(method), account)
        return self._sessions.issue(principal), principal

    async def _user(self, credentials: str, method: str, account: str) -> Principal:
        found = await self.accounts.by_name(account) or await self._by_id(account)
        digest = _HASHES[method]
        for user in self.users:
            expected = digest(f"{user.name.lower()}:{user.password}".encode()).hexdigest()
            same = hmac.compare_digest(expected.encode(), credentials.lower().encode("utf-8", "replace"))
            if user.password and same and found is not None and user.account == found.name:
                return Principal(found.id, USER_SCOPES, user.name)
        raise Unauthenticated("invalid credentials")

    async def _by_id(self, text: str) -> Account | None:
        try:
            return await self.accounts.get(uuid_of(text))
        except BadIdentifier:
            return None


def credential(request: Request) -> str:
    """The token of a request; `Basic ...` where it came that way; "" where there is none."""
    scheme, _, rest = request.headers.get("authorization", "").partition(" ")
    bearer = rest.strip() if scheme.lower() == "bearer" else f"Basic {rest.strip()}" if scheme.lower() == "basic" else ""
    return request.headers.get("x-auth-token") or request.query_params.get("auth_token") or bearer


async def _in_body(request: Request) -> str:
    """KAZOO takes `auth_token` beside a body's `data`, too."""
    found = (await read_json(request)).get("auth_token") if request.method in ("POST", "PUT", "PATCH") else ""
    return found if isinstance(found, str) else ""
