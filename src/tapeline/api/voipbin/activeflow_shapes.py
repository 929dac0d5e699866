"""Runs of flows as VoIPBIN's API has them, over REST and in events. Times are null where they have not come."""

from __future__ import annotations

from typing import Any

from typing_extensions import TypedDict

from tapeline.api.times import rfc3339
from tapeline.api.voipbin.shapes import ActionShape, action
from tapeline.core.ids import ZERO_ID
from tapeline.store import ActiveflowRow

__all__ = ["DESCRIBED", "ActiveflowShape", "ActiveflowsShape", "activeflow"]


class ActiveflowShape(TypedDict, total=False):
    id: str
    customer_id: str
    flow_id: str
    status: str
    reference_type: str
    reference_id: str
    reference_activeflow_id: str
    on_complete_flow_id: str
    webhook_uri: str
    webhook_method: str
    current_action: ActionShape
    forward_action_id: str
    executed_actions: list[ActionShape]
    tm_create: str | None
    tm_update: str | None
    tm_delete: str | None


class ActiveflowsShape(TypedDict):
    result: list[ActiveflowShape]
    next_page_token: str


DESCRIBED: tuple[type, ...] = (ActiveflowShape, ActiveflowsShape)


def activeflow(row: ActiveflowRow) -> dict[str, Any]:
    """The platform's Activeflow."""
    kept = {"webhook_uri": row.webhook_uri, "webhook_method": row.webhook_method}
    return {
        "id": row.id,
        "customer_id": row.account,
        "flow_id": row.flow_id or ZERO_ID,
        "status": row.status,
        "reference_type": row.reference_type,
        "reference_id": row.reference_id or ZERO_ID,
        "reference_activeflow_id": row.reference_activeflow_id or ZERO_ID,
        "on_complete_flow_id": row.on_complete_flow_id or ZERO_ID,
        **{name: value for name, value in kept.items() if value},
        "current_action": action(row.current_action),
        "forward_action_id": ZERO_ID,
        **({"executed_actions": [action(each) for each in row.executed_actions]} if row.executed_actions else {}),
        "tm_create": rfc3339(row.created),
        "tm_update": rfc3339(row.updated) if row.updated is not None else None,
        "tm_delete": rfc3339(row.deleted) if row.deleted is not None else None,
    }
