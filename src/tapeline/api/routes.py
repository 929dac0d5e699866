"""What the faces have in common: how a route is added, the row of a route table, the router made of such rows, ids in paths, paging.

Knows no resource and no rule.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Depends, Request

from tapeline.api.auditing import audited
from tapeline.api.auth import Authenticator
from tapeline.api.times import read_page_token
from tapeline.core.errors import InvalidInput
from tapeline.core.ids import is_id

__all__ = ["PAGING", "PREFIX", "Route", "add_route", "page_size", "path_id", "read_paging", "router"]

PREFIX = "/v1.0"
PAGE_SIZE = 100


@dataclass(frozen=True, slots=True)
class Route:
    method: str
    path: str
    scope: str
    endpoint: Callable[..., Any]
    summary: str
    answer: type | None = None  # one of shapes.DESCRIBED, for the API's description
    parameters: tuple[dict[str, Any], ...] = ()
    body: dict[str, Any] | None = None
    audit: str = ""  # what using it is called in the audit; "" = nothing to note


def router(routes: Iterable[Route], authenticator: Authenticator, prefix: str = PREFIX) -> APIRouter:
    """`routes` below `prefix`, each behind the guard of its scope. Every GET answers HEAD too."""
    made = APIRouter(prefix=prefix, tags=[prefix.strip("/")])
    for route in routes:
        extra: dict[str, Any] = {"security": [{"bearer": []}, {"token": []}], "x-scope": route.scope}
        if route.answer:
            content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{route.answer.__name__}"}}}
            extra["responses"] = {"200": {"description": "OK", "content": content}}
        if route.parameters:
            extra["parameters"] = list(route.parameters)
        if route.body:
            extra["requestBody"] = {"required": False, "content": {"application/json": {"schema": route.body}}}
        needs = f"Needs the scope `{route.scope}`." if route.scope else "Needs any token."
        guards = [authenticator.needs(route.scope)]
        add_route(made, route.method, route.path, route.endpoint, route.summary, needs, guards=guards, audit=route.audit, extra=extra)
    return made


def add_route(
    made: APIRouter,
    method: str,
    path: str,
    endpoint: Callable[..., Any],
    summary: str,
    needs: str,
    *,
    guards: Sequence[Callable[[Request], Awaitable[None]]] = (),
    audit: str = "",
    extra: dict[str, Any] | None = None,
    face: str = "",
) -> None:
    """One route, behind `guards`. A GET answers HEAD too, which is neither described nor noted in the audit.

    `needs` says whom the guards let in, `extra` is the rest of the API's description, and `face` comes before the route's names, which
    are in one description with those of others.
    """
    for verb in (method, "HEAD") if method == "GET" else (method,):
        marks = [audited(audit)] if audit and verb != "HEAD" else []  # before the guards: who is turned away is noted, too
        made.add_api_route(
            path,
            endpoint,
            methods=[verb],
            name=face + endpoint.__name__,
            operation_id=face + verb.lower() + path.replace("/", "_").replace("{", "").replace("}", ""),
            summary=summary,
            description=needs,
            response_model=None,
            dependencies=[Depends(each) for each in (*marks, *guards)],
            openapi_extra=extra,
            include_in_schema=verb == method,
        )


def path_id(text: str) -> str:
    """The id in a path, in lower case. Raises InvalidInput."""
    if not is_id(text):
        raise InvalidInput("the id in the path is not a UUID", reason="INVALID_ID")
    return text.lower()


def read_paging(request: Request) -> tuple[float | None, int]:
    """(before, limit) of a list request; sizes out of range become the largest one, as on the platform."""
    token = request.query_params.get("page_token", "").strip()
    return read_page_token(token) if token else None, page_size(request)


def page_size(request: Request) -> int:
    """Raises InvalidInput."""
    size = request.query_params.get("page_size", "").strip()
    digits = size.removeprefix("-")
    if size and not (digits.isascii() and digits.isdigit()):
        raise InvalidInput("page_size must be a whole number", reason="INVALID_REQUEST_PARAMETER")
    limit = int(size) if 0 < len(size) <= len(str(PAGE_SIZE)) else PAGE_SIZE
    return limit if 1 <= limit <= PAGE_SIZE else PAGE_SIZE


PAGING: tuple[dict[str, Any], ...] = (
    {
        "name": "page_size",
        "in": "query",
        "schema": {"type": "integer", "default": PAGE_SIZE, "minimum": 1, "maximum": PAGE_SIZE},
        "description": "Items for each page.",
    },
    {
        "name": "page_token",
        "in": "query",
        "schema": {"type": "string"},
        "description": "next_page_token of the page before.",
    },
)
