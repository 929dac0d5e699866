"""Who asks, on Vonage's face: an application, by a token that its private key has signed (RS256).

A token names its application, whose public key must have signed it: no other algorithm is accepted, so neither `none` nor a
signature made with the public key as a secret. Claims are read as the platform's oldest tools write them: numbers may be strings,
and without `exp` a token is valid for fifteen minutes. What a token says is never told to anybody, nor logged; only why it was refused is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jwt
import structlog
from starlette.requests import Request

from tapeline.api.errors import Unauthenticated
from tapeline.calls.vonage.applications import Applications, public_key
from tapeline.core.clock import Clock
from tapeline.core.errors import Forbidden, InvalidInput
from tapeline.core.ids import is_id
from tapeline.core.principal import Principal
from tapeline.store import Application

__all__ = ["Asking", "VonageAuth", "allowed", "asking"]

log = structlog.get_logger(__name__)

SKEW_S = 60.0  # how far a clock that tokens are made by may be ahead of ours; what has expired by ours has expired
DEFAULT_S = 900.0  # how long a token without `exp` is valid
SHORTEST_S, LONGEST_S = 30.0, 24 * 3600.0  # how long one with `exp` may be
MAX_TOKEN = 8192
MOST_PATHS = 100
LONGEST_PATTERN = 256
SCOPES = frozenset({"calls:read", "calls:write", "recordings:read", "recordings:listen"})
_UNCHECKED = {"verify_exp", "verify_iat", "verify_nbf", "verify_aud", "verify_iss", "verify_sub", "verify_jti"}


@dataclass(frozen=True, slots=True)
class Asking:
    """Who asks: the application, and what it may do in its account."""

    application: Application
    principal: Principal


def asking(request: Request) -> Asking:
    """Who asks, as the guard of the route has found."""
    found: Asking = request.state.asking
    return found


class VonageAuth:
    """Of one event loop."""

    def __init__(self, applications: Applications, clock: Clock) -> None:
        self._applications = applications
        self._clock = clock

    async def guard(self, request: Request) -> None:
        """Let in who has a valid token for this path; leaves what `asking` gives. Raises Unauthenticated, Forbidden, Unavailable."""
        application, claims = await self.verify(request)
        if not allowed(claims.get("acl"), request.url.path, request.method):
            raise Forbidden("the token's acl does not allow this", reason="PERMISSION_DENIED_ACL")
        request.state.principal = Principal(application.account, SCOPES, f"application {application.id}")
        request.state.asking = Asking(application, request.state.principal)

    async def verify(self, request: Request) -> tuple[Application, Mapping[str, Any]]:
        """The application of the request's token, and its claims. Raises Unauthenticated."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            raise Unauthenticated("You did not provide correct credentials: a bearer token is needed")
        if len(token) > MAX_TOKEN:
            raise _refused("it is too long")
        try:
            application_id = _read(token)
        except (jwt.PyJWTError, ValueError, RecursionError):
            raise _refused("it is no RS256 token that names an application") from None
        application = await self._applications.find(application_id)
        if application is None:
            raise _refused("no application has its application_id")
        if not application.public_key:
            raise _refused("its application has no public key", application)
        try:
            options = dict.fromkeys(_UNCHECKED, False)
            claims = jwt.decode(token, public_key(application.public_key), algorithms=["RS256"], options=options)  # type: ignore[arg-type]
        except (jwt.PyJWTError, ValueError, InvalidInput):
            raise _refused("its signature is not that of the application's key", application) from None
        if fault := self._untimely(claims):
            raise _refused(fault, application)
        return application, claims

    def _untimely(self, claims: Mapping[str, Any]) -> str:
        """What is wrong with the times of a token; "" where nothing is."""
        now = self._clock.wall()
        issued = _seconds(claims.get("iat"))
        if issued is None or issued > now + SKEW_S:
            return "iat is absent, no time, or more than a minute ahead"
        expires = issued + DEFAULT_S
        if claims.get("exp") is not None:
            given = _seconds(claims["exp"])
            if given is None or not SHORTEST_S <= given - issued <= LONGEST_S:
                return "exp is no time from 30 seconds to 24 hours after iat"
            expires = given
        begins = issued if claims.get("nbf") is None else _seconds(claims["nbf"])
        if begins is None or begins > now + SKEW_S:
            return "nbf is no time, or has not come"
        return "it has expired" if expires <= now else ""


def _refused(why: str, application: Application | None = None) -> Unauthenticated:
    """The same words for every reason: they tell an attacker nothing. The log tells whom this server belongs to."""
    log.info("a token was refused", reason=why, application_id=application.id if application is not None else "")
    return Unauthenticated("You did not provide correct credentials: the token is not valid")


def _read(token: str) -> str:
    """The application's id that an unverified token names. Raises PyJWTError or ValueError."""
    unverified = jwt.decode_complete(token, options={"verify_signature": False})
    if unverified["header"].get("alg") != "RS256":
        raise ValueError("the algorithm is not RS256")
    application_id = unverified["payload"].get("application_id")
    if not isinstance(application_id, str) or not is_id(application_id):
        raise ValueError("no application is named")
    return application_id.lower()


def _seconds(value: Any) -> float | None:
    """A number, or the text of one. None where it is neither."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,9})?", value, re.ASCII):
        return float(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and abs(value) < 1e12:
        return float(value)
    return None


def allowed(acl: Any, path: str, method: str) -> bool:
    """Whether a token's `acl` lets its holder do this. Absent: everything. Filters are not looked into, so such a path is not allowed."""
    if acl is None:
        return True
    paths = acl.get("paths") if isinstance(acl, dict) else None
    if not isinstance(paths, dict) or len(paths) > MOST_PATHS:
        return False
    return any(_pattern(pattern).fullmatch(path) and _permits(rule, method) for pattern, rule in paths.items() if _usable(pattern))


def _usable(pattern: str) -> bool:
    return pattern.startswith("/") and len(pattern) <= LONGEST_PATTERN and pattern.count("*") <= 16


def _permits(rule: Any, method: str) -> bool:
    if rule is None:
        return True
    if not isinstance(rule, dict) or rule.get("filters"):
        return False
    methods = rule.get("methods")
    if methods is None:
        return True
    return isinstance(methods, list) and (method in methods or method == "HEAD" and "GET" in methods)


@lru_cache(maxsize=256)
def _pattern(glob: str) -> re.Pattern[str]:
    """`*` is one part of a path, `**` any number of them."""
    made = ""
    for part in glob.removeprefix("/").split("/"):
        made += "(?:/[^/]+)*+" if part == "**" else "/" + re.escape(part).replace(r"\*", "[^/]*+")
    return re.compile(made)
