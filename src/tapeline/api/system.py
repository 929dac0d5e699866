"""What operators and tools ask of the server itself: liveness, readiness, numbers, and the API's description for people.

None of it needs a token: it tells nothing of any account. The page at /docs is one file without anything to download, so that it
also opens on a machine without the internet.
"""

from __future__ import annotations

from importlib import resources

from fastapi import APIRouter
from starlette.responses import HTMLResponse, JSONResponse, Response

from tapeline.api.metrics import CONTENT_TYPE, Metrics
from tapeline.api.ports import Service

__all__ = ["router"]

_DOCS_POLICY = "default-src 'none'; connect-src 'self'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; base-uri 'none'"


def router(service: Service, metrics: Metrics) -> APIRouter:
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

    async def numbers() -> Response:
        metrics.stored(await service.archive.usage())
        return Response(metrics.page(), media_type=CONTENT_TYPE)

    async def docs() -> Response:
        return HTMLResponse(page, headers={"Content-Security-Policy": _DOCS_POLICY})

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
    return made
