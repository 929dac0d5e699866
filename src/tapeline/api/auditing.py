"""What requests leave in the audit.

A route says in its row what using it is called (`audit="listened"`); `audited` puts that into the request's state, an endpoint may say
it better (`called`, `about`), and when the answer is out the middleware hands one deed to the trail. Refusals are deeds, too: their status
tells. Nobody's requests (401) are not: they are in the log, and whoever has no token must not be able to fill a table.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.types import Scope

from tapeline.core.principal import Principal
from tapeline.store import Deed

__all__ = ["Trail", "about", "audited", "called", "deed_of"]

LONGEST = 200  # characters of anything a client sent
MOST_PARAMETERS = 20
_SECRETS = frozenset({"token", "accesskey", "access_token", "auth_token", "jwt", "password", "secret", "signature", "api_key"})


class Trail(Protocol):
    def note(self, deed: Deed) -> None:
        """Write it soon. Never waits and never fails."""


def audited(action: str) -> Callable[[Request], Awaitable[None]]:
    """The dependency of a route whose use is called `action`."""

    async def mark(request: Request) -> None:
        request.state.audit = action

    return mark


def called(request: Request, action: str) -> None:
    """What this request turned out to be; "" where it is nothing to be noted."""
    request.state.audit = action


def about(request: Request, subject: str) -> None:
    """The id of what this request is about, where its path does not have it."""
    request.state.audit_subject = subject


def deed_of(scope: Scope, status: int, wall: float, request_id: str) -> Deed | None:
    """What is to be noted of a request that was answered; None where it is nothing."""
    state = scope["state"]
    action, principal = state.get("audit", ""), state.get("principal")
    if not action or principal is None:
        return None
    assert isinstance(principal, Principal)
    subject = state.get("audit_subject") or scope.get("path_params", {}).get("id", "")
    client = scope.get("client")
    return Deed(
        time=wall,
        account=principal.account,
        actor=_plain(principal.name),
        action=action,
        subject=_plain(str(subject)),
        status=status,
        request_id=request_id,
        address=client[0] if client else "",
        detail=_detail(scope),
    )


def _detail(scope: Scope) -> dict[str, Any]:
    found: dict[str, Any] = {"route": f"{scope['method']} {getattr(scope.get('route'), 'path', '')}"}
    query = [(name, value) for name, value in QueryParams(scope.get("query_string", b"")).multi_items() if name.lower() not in _SECRETS]
    if query:
        found["query"] = {_plain(name): _plain(value) for name, value in query[:MOST_PARAMETERS]}
    for name, value in scope.get("headers", ()):
        if name == b"range":
            found["range"] = _plain(value.decode("latin-1"))
    return found


def _plain(text: str) -> str:
    """Text that any database takes: no NUL, no half of a surrogate pair, of bounded length."""
    return text[:LONGEST].replace("\0", "\ufffd").encode("utf-8", "replace").decode()
