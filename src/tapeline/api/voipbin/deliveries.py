"""What is sent to somebody, under /v1.0: recordings' files and webhooks, each try of each, and sending one again. No platform has it.

    GET /deliveries        GET /recordings/{id}/deliveries        GET /deliveries/{id}        POST /deliveries/{id}/replay

Also why a recording is not finished yet: GET /recordings/{id}/attempts.
Passwords within an address are not told, and what follows its `?` only to who may change where events are sent.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from fastapi import Request
from starlette.responses import JSONResponse, Response

from tapeline.api.auth import principal_of
from tapeline.api.ports import Service
from tapeline.api.routes import PAGING, Route, path_id, read_paging
from tapeline.api.times import page_token, rfc3339
from tapeline.core.errors import InvalidInput
from tapeline.core.ids import is_id
from tapeline.core.principal import Principal
from tapeline.store import AttemptRow, DeliveryRow

__all__ = ["DeliveryFace", "attempt", "delivery", "shown_url"]

CHOICES = {"state": ("waiting", "delivered", "failed"), "kind": ("upload", "webhook")}
FILTERS: tuple[dict[str, Any], ...] = (
    *(
        {"name": name, "in": "query", "schema": {"type": "string", "enum": list(known)}, "description": f"Only those of this {name}."}
        for name, known in CHOICES.items()
    ),
    {"name": "reference_id", "in": "query", "schema": {"type": "string", "format": "uuid"}, "description": "Only what tells of this."},
)
_LOGIN = re.compile(r"(?<=://)[^/?#@]*@")


_EVENT = re.compile(r'\{"type":"([a-z_]{1,64})"')  # how the platform's webhooks begin


def delivery(row: DeliveryRow, principal: Principal) -> dict[str, Any]:
    """One, without its tries, as `principal` may see it."""
    event = _EVENT.match(row.body) if row.policy == "voipbin" else None
    times = {"tm_due": row.due, "tm_done": row.done, "tm_until": row.until if row.state == "waiting" else None}
    return {
        "id": row.id,
        "customer_id": row.account,
        "kind": row.kind,
        "reference_id": row.ref,
        "method": row.method,
        "url": _url(row.url, principal),
        **({"event": event[1]} if event else {}),
        "state": row.state,
        "round": row.round,
        "tries": row.tries,
        "http_status": row.status,
        "reason": row.reason,
        "tm_create": rfc3339(row.created),
        **{name: rfc3339(time) for name, time in times.items() if time is not None},
    }


def attempt(row: AttemptRow, principal: Principal | None = None) -> dict[str, Any]:
    """One try, as `principal` may see it; `fault` is whose: "destination", "network" or "us"."""
    return {
        "tm": rfc3339(row.time),
        "outcome": row.outcome,
        "http_status": row.status,
        "fault": row.fault,
        "reason": row.reason,
        "url": _url(row.target, principal) if principal is not None else shown_url(row.target),
    }


def setback(row: AttemptRow) -> dict[str, Any]:
    """A try at finishing a recording that failed; `step` is the part of it that did."""
    return {"tm": rfc3339(row.time), "step": row.target, "fault": row.fault, "reason": row.reason}


def shown_url(url: str) -> str:
    """Without a password."""
    return _LOGIN.sub("***@", url)


def _url(url: str, principal: Principal) -> str:
    """Receivers are often known by a secret in their address."""
    shown = shown_url(url)
    open_to = principal.admin or "account:write" in principal.scopes
    return shown if open_to or "?" not in shown else shown.partition("?")[0] + "?***"


class DeliveryFace:
    def __init__(self, service: Service) -> None:
        self._service = service

    def routes(self) -> tuple[Route, ...]:
        read, write = "recordings:read", "recordings:write"
        several = (*PAGING, *FILTERS)
        return (
            Route("GET", "/deliveries", read, self.list_deliveries, "What is sent to somebody, newest first", None, several),
            Route("GET", "/recordings/{id}/deliveries", read, self.list_of_recording, "Where it is sent", None, several, audit="seen"),
            Route(
                "GET", "/recordings/{id}/attempts", read, self.list_setbacks, "Tries at finishing it that failed", audit="seen",
            ),
            Route("GET", "/deliveries/{id}", read, self.get_delivery, "One delivery, with every try"),
            Route("POST", "/deliveries/{id}/replay", write, self.replay_delivery, "Send it again", audit="sent"),
        )  # fmt: skip

    async def list_deliveries(self, request: Request) -> Response:
        ref = request.query_params.get("reference_id", "").strip()
        if ref and not is_id(ref):
            raise InvalidInput("reference_id must be a UUID", reason="INVALID_REQUEST_PARAMETER")
        return await self._listed(request, ref.lower())

    async def list_of_recording(self, request: Request, id: str) -> Response:
        recording = await self._service.get_recording(path_id(id), principal_of(request))
        return await self._listed(request, recording.id)

    async def list_setbacks(self, request: Request, id: str) -> Response:
        principal = principal_of(request)
        recording = await self._service.get_recording(path_id(id), principal)
        rows = await self._service.deliveries.setbacks(recording.id, principal)
        return JSONResponse({"result": [setback(row) for row in rows]})

    async def _listed(self, request: Request, ref: str) -> Response:
        before, limit = read_paging(request)
        chosen = {name: request.query_params.get(name, "") for name in CHOICES}
        for name, value in chosen.items():
            if value and value not in CHOICES[name]:
                raise InvalidInput(f"{name} must be one of {', '.join(CHOICES[name])}", reason="INVALID_REQUEST_PARAMETER")
        principal = principal_of(request)
        rows = await self._service.deliveries.list(principal, before, limit, ref=ref, **chosen)
        return JSONResponse({"result": [delivery(row, principal) for row in rows], "next_page_token": _token(rows)})

    async def get_delivery(self, request: Request, id: str) -> Response:
        principal = principal_of(request)
        row, attempts = await self._service.deliveries.get(path_id(id), principal)
        return JSONResponse(delivery(row, principal) | {"attempts": [attempt(one, principal) for one in attempts]})

    async def replay_delivery(self, request: Request, id: str) -> Response:
        principal = principal_of(request)
        return JSONResponse(delivery(await self._service.deliveries.replay(path_id(id), principal), principal))


def _token(rows: Sequence[DeliveryRow]) -> str:
    return page_token(rows[-1].created) if rows else ""
