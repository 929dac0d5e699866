"""`GET /v1.0/audit`: who did what with recordings, of one account. No platform has it; see docs/archive.md."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from fastapi import Request
from starlette.responses import JSONResponse, Response

from tapeline.api.auth import principal_of
from tapeline.api.ports import Service
from tapeline.api.routes import PAGING, Route, page_size, path_id
from tapeline.api.times import moment, rfc3339
from tapeline.core.errors import InvalidInput
from tapeline.store import AuditRow

__all__ = ["AuditFace", "deed"]

_TOKEN = re.compile(r"seq-[0-9]{1,17}")


def deed(row: AuditRow) -> dict[str, Any]:
    """One row, with the hash that ties it to the one before."""
    return {
        "seq": row.seq,
        "tm_create": rfc3339(row.time),
        "customer_id": row.account,
        "actor": row.actor,
        "action": row.action,
        "subject_id": row.subject,
        "http_status": row.status,
        "request_id": row.request_id,
        "address": row.address,
        "detail": json.loads(row.detail),
        "previous": row.previous,
        "hash": row.hash,
    }


class AuditFace:
    def __init__(self, service: Service) -> None:
        self._service = service

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                "GET", "/audit", "audit:read", self.list_deeds, "Who did what, newest first", None, (*PAGING, *FILTERS), audit="audited",
            ),
        )  # fmt: skip

    async def list_deeds(self, request: Request) -> Response:
        query = request.query_params
        token = query.get("page_token", "").strip()
        if token and not _TOKEN.fullmatch(token):
            raise InvalidInput("page_token is none of ours", hint="pass it as it was given", reason="INVALID_REQUEST_PARAMETER")
        subject = query.get("recording_id", "")
        rows = await self._service.archive.deeds(
            principal_of(request),
            before=int(token.removeprefix("seq-")) if token else None,
            limit=page_size(request),
            subject=path_id(subject) if subject else "",
            action=query.get("action", ""),
            actor=query.get("actor", ""),
            since=_moment(query, "since"),
            until=_moment(query, "until"),
        )
        return JSONResponse({"result": [deed(row) for row in rows], "next_page_token": f"seq-{rows[-1].seq}" if rows else ""})


def _moment(query: Mapping[str, str], name: str) -> float | None:
    text = query.get(name, "").strip()
    return moment(text, name) if text else None


def _filter(name: str, description: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": {"type": "string"}, "description": description}


FILTERS = (
    _filter("recording_id", "Only what was done to this one, by whomever."),
    _filter("action", "Only deeds of this name, such as listened."),
    _filter("actor", "Only deeds of this actor."),
    _filter("since", "Only from this time on."),
    _filter("until", "Only up to this time."),
)
