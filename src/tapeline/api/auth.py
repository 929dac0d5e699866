"""Who asks: finds the credential in a request and the principal that it stands for.

The platform's order of search is kept: cookie `token`, query `token`, `Authorization: Bearer`, cookie `accesskey`, query
`accesskey`; the first that is not empty is the one. Access keys (tokens) and agents' sessions are accepted in either place. A principal is
remembered for a few seconds, so that a revoked token ends within that time, and for some minutes more while the store cannot be asked at
all: a database that is down must not keep anyone from stopping a recording.
"""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from starlette.requests import HTTPConnection, Request

from tapeline.api.errors import Unauthenticated
from tapeline.api.ports import Agents, Tokens
from tapeline.api.sessions import Sessions, password_mark
from tapeline.core.clock import Clock
from tapeline.core.errors import Unavailable
from tapeline.core.principal import ROLES, Principal

__all__ = ["Authenticator", "credential", "principal_of"]

FRESH_S = 5.0
STALE_S = 300.0
REMEMBERED = 1024
MAX_SECRET = 4096
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def credential(request: HTTPConnection) -> str:
    """The credential of `request`, "" where it has none."""
    # A browser sends cookies also with what another site made it send. Such a request has them only to read, and cannot read the answer;
    # over a websocket it could.
    foreign = _from_elsewhere(request) and request.scope.get("method") not in _SAFE_METHODS
    cookies = {} if foreign else request.cookies
    scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
    found = (
        cookies.get("token"),
        request.query_params.get("token"),
        bearer.strip() if scheme.lower() == "bearer" else "",
        cookies.get("accesskey"),
        request.query_params.get("accesskey"),
    )
    return next((secret for secret in found if secret), "")


def _from_elsewhere(request: HTTPConnection) -> bool:
    if request.headers.get("sec-fetch-site", "") in {"cross-site", "same-site"}:
        return True
    origin = request.headers.get("origin", "") if request.scope["type"] == "websocket" else ""  # some browsers say only this
    return bool(origin) and origin.partition("://")[2] != request.headers.get("host", "")


def principal_of(request: Request) -> Principal:
    """The principal that the guard of the route has put there."""
    principal: Principal = request.state.principal
    return principal


class Authenticator:
    """Turns requests into principals. Belongs to one event loop."""

    def __init__(self, tokens: Tokens, agents: Agents, sessions: Sessions, clock: Clock) -> None:
        self._tokens = tokens
        self._agents = agents
        self._sessions = sessions
        self._clock = clock
        # Since when, until when (wall time), whom. By digest: no secret stays in memory.
        self._known: OrderedDict[bytes, tuple[float, float, Principal]] = OrderedDict()

    async def principal(self, request: HTTPConnection) -> Principal:
        """Raises Unauthenticated, Unavailable."""
        secret = credential(request)
        if not secret:
            raise Unauthenticated("a token is needed", hint="send it as 'Authorization: Bearer ...' or as ?token=...")
        return await self.identify(secret)

    async def identify(self, secret: str) -> Principal:
        """The principal behind `secret`. Raises Unauthenticated, Unavailable."""
        if len(secret) > MAX_SECRET or not secret.isascii():
            raise _unknown()
        digest = hashlib.sha256(secret.encode()).digest()
        since, until, principal = self._known.get(digest, (0.0, 0.0, None))
        now = self._clock.now()
        if self._clock.wall() >= until:
            principal = None
        if principal is not None and now - since < FRESH_S:
            return principal
        try:
            principal, until = await self._look_up(secret)
        except Unavailable:
            if principal is not None and now - since < STALE_S:
                return principal
            raise
        except Unauthenticated:
            self._known.pop(digest, None)
            raise
        self._known[digest] = (now, until, principal)
        self._known.move_to_end(digest)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return principal

    async def _look_up(self, secret: str) -> tuple[Principal, float]:
        """The principal, and until when it stands for anybody."""
        session = self._sessions.agent(secret)
        if session is not None:
            agent = await self._agents.get(session.agent_id)
            if agent is None or agent.deleted is not None or password_mark(agent.password) != session.mark:
                raise _unknown()
            return Principal(agent.account, ROLES.get(agent.role, frozenset()), agent.username, agent.id), session.ends
        token = await self._tokens.find(secret)
        if token is None or (token.expires is not None and token.expires <= self._clock.wall()):
            raise _unknown()
        return Principal(token.account, frozenset(token.scopes), token.name, token.id), token.expires or math.inf

    def needs(self, scope: str) -> Callable[[Request], Awaitable[None]]:
        """The guard of a route: lets in who holds `scope` (with "": anybody known), and leaves the principal for `principal_of`."""

        async def guard(request: Request) -> None:
            request.state.principal = await self.principal(request)  # before the scope: the log names also who is turned away
            if scope:
                principal_of(request).require(scope)

        return guard


def _unknown() -> Unauthenticated:
    return Unauthenticated("this token is not valid", hint="it may have been revoked, or its time is over", reason="INVALID_CREDENTIALS")
