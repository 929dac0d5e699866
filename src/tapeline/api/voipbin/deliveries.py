"""What is sent to somebody, under /v1.0: recordings' files and webhooks, each try of each, and sending one again. No platform has it.

    GET /deliveries        GET /recordings/{id}/deliveries        GET /deliveries/{id}        POST /deliveries/{id}/replay

Passwords within an address are not told.
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
from tapeline.store import AttemptRow, DeliveryRow

__all__ = ["DeliveryFace", "attempt", "delivery", "shown_url"]

STATES = ("waiting", "delivered", "failed")
FILTERS: tuple[dict[str, Any], ...] = (
    {"name": "state", "in": "query", "schema": {"type": "string", "enum": list(STATES)}, "description": "Only those in this state."},
)
_LOGIN = re.compile(r"(?<=://)[^/?#@]*@")


def delivery(row: DeliveryRow) -> dict[str, Any]:
    """One, without its tries."""
    times = {"tm_due": row.due, "tm_done": row.done, "tm_until": row.until if row.state == "waiting" else None}
    return {
        "id": row.id,
        "customer_id": row.account,
        "kind": row.kind,
        "reference_id": row.ref,
        "method": row.method,
        "url": shown_url(row.url),
        "state": row.state,
        "round": row.round,
        "tries": row.tries,
        "http_status": row.status,
        "reason": row.reason,
        "tm_create": rfc3339(row.created),
        **{name: rfc3339(time) for name, time in times.items() if time is not None},
    }


def attempt(row: AttemptRow) -> dict[str, Any]:
    """One try; `fault` is whose: "destination", "network" or "us"."""
    return {
        "tm": rfc3339(row.time),
        "outcome": row.outcome,
        "http_status": row.status,
        "fault": row.fault,
        "reason": row.reason,
        "url": shown_url(row.target),
    }


def shown_url(url: str) -> str:
    """Without a password."""
    return _LOGIN.sub("***@", url)


class DeliveryFace:
    def __init__(self, service: Service) -> None:
        self._service = service

    def routes(self) -> tuple[Route, ...]:
        read, write = "recordings:read", "recordings:write"
        several = (*PAGING, *FILTERS)
        return (
            Route("GET", "/deliveries", read, self.list_deliveries, "What is sent to somebody, newest first", None, several),
            Route("GET", "/recordings/{id}/deliveries", read, self.list_of_recording, "Where it is sent", None, several, audit="seen"),
            Route("GET", "/deliveries/{id}", read, self.get_delivery, "One delivery, with every try"),
            Route("POST", "/deliveries/{id}/replay", write, self.replay_delivery, "Send it again", audit="sent"),
        )

    async def list_deliveries(self, request: Request) -> Response:
        return await self._listed(request, "")

    async def list_of_recording(self, request: Request, id: str) -> Response:
        recording = await self._service.get_recording(path_id(id), principal_of(request))
        return await self._listed(request, recording.id)

    async def _listed(self, request: Request, ref: str) -> Response:
        before, limit = read_paging(request)
        state = request.query_params.get("state", "")
        if state and state not in STATES:
            raise InvalidInput(f"state must be one of {', '.join(STATES)}", reason="INVALID_REQUEST_PARAMETER")
        rows = await self._service.deliveries.list(principal_of(request), before, limit, ref=ref, state=state)
        return JSONResponse({"result": [delivery(row) for row in rows], "next_page_token": _token(rows)})

    async def get_delivery(self, request: Request, id: str) -> Response:
        row, attempts = await self._service.deliveries.get(path_id(id), principal_of(request))
        return JSONResponse(delivery(row) | {"attempts": [attempt(one) for one in attempts]})

    async def replay_delivery(self, request: Request, id: str) -> Response:
        return JSONResponse(delivery(await self._service.deliveries.replay(path_id(id), principal_of(request))))


def _token(rows: Sequence[DeliveryRow]) -> str:
    return page_token(rows[-1].created) if rows else ""
