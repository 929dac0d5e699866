"""Shapes of what keeps, counts and packs recordings: storage, retention."""

from __future__ import annotations

from typing import Any

from typing_extensions import TypedDict  # pydantic reads typing's own only from Python 3.12 on

from tapeline.api.times import rfc3339
from tapeline.calls.views import StorageView

__all__ = ["DESCRIBED", "RetentionShape", "StorageShape", "storage"]


class StorageShape(TypedDict, total=False):
    id: str
    customer_id: str
    total_file_count: int
    total_file_size: int
    tm_create: str


class RetentionShape(TypedDict):
    retention_days: float | None
    default_days: float


DESCRIBED: tuple[type, ...] = (StorageShape, RetentionShape)


def storage(view: StorageView) -> dict[str, Any]:
    """The platform's storage account."""
    return {
        "id": view.account,
        "customer_id": view.account,
        "total_file_count": view.files,
        "total_file_size": view.size,
        "tm_create": rfc3339(view.created),
    }
