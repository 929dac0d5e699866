"""Stored flows as VoIPBIN's API has them. Their times are null where they have not come."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from typing_extensions import TypedDict

from tapeline.api.voipbin.shapes import ActionShape, nullable_times
from tapeline.calls.views import FlowView
from tapeline.core.ids import ZERO_ID

__all__ = ["DESCRIBED", "FlowShape", "FlowsShape", "action", "flow"]


class FlowShape(TypedDict, total=False):
    id: str
    customer_id: str
    type: str
    name: str
    detail: str
    actions: list[ActionShape]
    on_complete_flow_id: str
    tm_create: str | None
    tm_update: str | None
    tm_delete: str | None


class FlowsShape(TypedDict):
    result: list[FlowShape]
    next_page_token: str


DESCRIBED: tuple[type, ...] = (FlowShape, FlowsShape)


def flow(view: FlowView) -> dict[str, Any]:
    """The platform's Flow."""
    texts = {"name": view.name, "detail": view.detail, "actions": [action(one) for one in view.actions]}
    return {
        "id": view.id,
        "customer_id": view.account,
        "type": "flow",
        **{key: value for key, value in texts.items() if value},
        "on_complete_flow_id": view.on_complete_flow_id or ZERO_ID,
        **nullable_times(tm_create=view.created, tm_update=view.updated, tm_delete=view.deleted),
    }


def action(given: Mapping[str, Any]) -> dict[str, Any]:
    """An action of a document, as it was given, with what the platform always shows."""
    option = given.get("option")
    return {
        "id": given.get("id") or ZERO_ID,
        "next_id": given.get("next_id") or ZERO_ID,
        "type": given.get("type") or "",
        **({"option": option} if option else {}),
        "tm_execute": None,
    }
