"""Stored flows for the world in memory: the real service over rows in a dict."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

from tapeline.calls.equipment import Equipment
from tapeline.calls.flow_service import FlowService
from tapeline.core.ids import new_id
from tapeline.store import Database, FlowRow
from tapeline.testing.clock import FakeClock


class FlowRows:
    def __init__(self, clock: FakeClock, maybe_broken: Callable[[], None]) -> None:
        self.clock = clock
        self.maybe_broken = maybe_broken
        self.rows: dict[str, FlowRow] = {}

    def make(self, account: str, *actions: dict[str, Any], dialect: str = "voipbin", name: str = "a flow") -> str:
        row = FlowRow(new_id(), account, name, json.dumps({"actions": actions}), dialect, self.clock.wall())
        self.rows[row.id] = row
        self.clock.advance(0.001)
        return row.id

    async def get(self, flow_id: str) -> FlowRow | None:
        self.maybe_broken()
        return self.rows.get(flow_id)

    async def put(self, row: FlowRow) -> None:
        self.maybe_broken()
        self.rows[row.id] = row
        self.clock.advance(0.001)

    async def list(self, account: str | None, before: float | None, limit: int, *, dialect: str) -> list[FlowRow]:
        self.maybe_broken()
        found = [row for row in self.rows.values() if account in (None, row.account) and row.deleted is None and row.dialect == dialect]
        return sorted((row for row in found if before is None or row.created < before), key=lambda row: -row.created)[:limit]

    async def delete(self, flow_id: str, at: float) -> FlowRow | None:
        self.rows[flow_id] = replace(self.rows[flow_id], deleted=at)
        return self.rows[flow_id]


class _Kit:
    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock

    async def thread(self, work: Callable[..., Any], *args: Any) -> Any:
        return work(*args)


class _Database:
    def __init__(self, flows: FlowRows) -> None:
        self.flows = flows


def flow_service(flows: FlowRows, clock: FakeClock) -> FlowService:
    return FlowService(cast(Database, _Database(flows)), cast(Equipment, _Kit(clock)))
