"""What operators and tools ask of the server itself: liveness, readiness, numbers, and the API's description for people.

None of it needs a token: it tells nothing of any account, but /metrics to an administrator. The page at /docs is one file without
anything to download, so that it also opens on a machine without the internet.
"""

from __future__ import annotations

from importlib import resources

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from tapeline.api.auth import Authenticator
from tapeline.api.metrics import CONTENT_TYPE, Metrics
from tapeline.api.ports import Service
from tapeline.core.errors import TapelineError

__all__ = ["router"]

_DOCS_POLICY = "default-src 'none'; connect-src 'self'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; base-uri 'none'"


def router(service: Service, metrics: Metrics, authenticator: Authenticator) -> APIRouter:
    made = APIRouter(tags=["system"])
    page = resources.files("tapeline.api").joinpath("docs.html").read_text("utf-8")

    async def ping() -> Response:
        return JSONResponse({"message": "pong"})

    async def healthz() -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz() -> Response:
        checks = dict(await service.health())
        wrong = sorted(name for name, verdict in checks.items() if verdict != "ok")
        body = {"status": "not ready" if wrong else "ready", "failing": wrong, "checks": checks}
        return JSONResponse(body, 503 if wrong else 200)

    async def numbers(request: Request) -> Response:
        usage = await service.archive.usage() if await _administers(request, authenticator) else None
        return Response(metrics.page(usage), media_type=CONTENT_TYPE)

    async def docs() -> Response:
        return HTMLResponse(page, headers={"Content-Security-Policy": _DOCS_POLICY})

    async def home() -> Response:
        return RedirectResponse("/docs")

    for path, endpoint, summary in (
        ("/ping", ping, "Answers pong"),
        ("/healthz", healthz, "Liveness: the process answers"),
        ("/readyz", readyz, "Readiness: every part works and calls are taken"),
        ("/metrics", numbers, "Numbers for Prometheus"),
        ("/docs", docs, "This description, for people"),
    ):
        name = path.removeprefix("/")
        made.add_api_route(path, endpoint, methods=["GET"], name=name, operation_id=name, summary=summary)
        made.add_api_route(path, endpoint, methods=["HEAD"], name=name, include_in_schema=False)
    made.add_api_route("/", home, methods=["GET", "HEAD"], name="home", include_in_schema=False)
    return made


async def _administers(request: Request, authenticator: Authenticator) -> bool:
    """Whether an administrator's token came along. Whoever has none, or a wrong one, sees what everybody sees."""
    try:
        return (await authenticator.principal(request)).admin
    except TapelineError:
        return False
