"""Shapes of what keeps, counts and packs recordings: storage, retention."""

from __future__ import annotations

from typing import Any

from typing_extensions import TypedDict  # pydantic reads typing's own only from Python 3.12 on

from tapeline.api.times import rfc3339
from tapeline.calls.views import ExportView, StorageView

__all__ = ["DESCRIBED", "ExportShape", "ExportsShape", "RetentionShape", "StorageShape", "export", "storage"]


class StorageShape(TypedDict, total=False):
    id: str
    customer_id: str
    total_file_count: int
    total_file_size: int
    tm_create: str


class RetentionShape(TypedDict):
    retention_days: float | None
    default_days: float


class ExportShape(TypedDict, total=False):
    id: str
    customer_id: str
    status: str
    filter: dict[str, Any]
    recording_count: int
    done_count: int
    missing_count: int
    missing: list[dict[str, str]]
    size: int
    reason: str
    download_uri: str
    tm_download_expire: str
    tm_create: str
    tm_update: str
    tm_finish: str
    tm_delete: str


class ExportsShape(TypedDict):
    result: list[ExportShape]
    next_page_token: str


DESCRIBED: tuple[type, ...] = (StorageShape, RetentionShape, ExportShape, ExportsShape)


def storage(view: StorageView) -> dict[str, Any]:
    """The platform's storage account."""
    return {
        "id": view.account,
        "customer_id": view.account,
        "total_file_count": view.files,
        "total_file_size": view.size,
        "tm_create": rfc3339(view.created),
    }


def export(view: ExportView) -> dict[str, Any]:
    """An export; what has not come is left out, as everywhere."""
    times = {"tm_create": view.created, "tm_update": view.updated, "tm_finish": view.finished, "tm_delete": view.deleted}
    if view.uri:
        times["tm_download_expire"] = view.expires
    told: dict[str, Any] = {
        "id": view.id,
        "customer_id": view.account,
        "status": view.status,
        "recording_count": view.total,
        "done_count": view.done,
        "missing_count": view.missing,
        "size": view.size,
    }
    missing = [dict(item) for item in view.missed]
    present = {"filter": dict(view.wanted), "missing": missing, "reason": view.reason, "download_uri": view.uri}
    told |= {name: value for name, value in present.items() if value}
    return told | {name: rfc3339(wall) for name, wall in times.items() if wall is not None}
