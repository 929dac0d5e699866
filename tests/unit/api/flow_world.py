"""Stored flows and runs for the world in memory: of flows the real service over rows in a dict."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

from tapeline.calls.equipment import Equipment
from tapeline.calls.errors import not_yours
from tapeline.calls.services.flows import FlowService
from tapeline.calls.views import ActiveflowDraft, Page
from tapeline.core.errors import NotFound
from tapeline.core.ids import new_id
from tapeline.core.principal import Principal
from tapeline.store import ActiveflowRow, Database, FlowRow
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


class MemoryActiveflows:
    """Runs that never end by themselves."""

    def __init__(self, clock: FakeClock, maybe_broken: Callable[[], None]) -> None:
        self.clock = clock
        self.maybe_broken = maybe_broken
        self.rows: dict[str, ActiveflowRow] = {}
        self.drafts: list[ActiveflowDraft] = []

    def run(self, account: str, **fields: Any) -> str:
        row = ActiveflowRow(fields.pop("id", "") or new_id(), account, "running", self.clock.wall(), **fields)
        self.rows[row.id] = row
        self.clock.advance(0.001)
        return row.id

    async def list(self, principal: Principal, before: float | None, limit: int) -> Page:
        self.maybe_broken()
        mine = [row for row in self.rows.values() if principal.may_see(row.account) and row.deleted is None]
        mine = sorted((row for row in mine if before is None or row.created < before), key=lambda row: -row.created)[:limit]
        return Page(tuple(mine), mine[-1].created if mine else None)

    async def get(self, activeflow_id: str, principal: Principal) -> ActiveflowRow:
        self.maybe_broken()
        if activeflow_id not in self.rows:
            raise NotFound("there is no such run", reason="ACTIVEFLOW_NOT_FOUND")
        row = self.rows[activeflow_id]
        if not principal.may_see(row.account):
            raise not_yours("run")
        return row

    async def create(self, draft: ActiveflowDraft, principal: Principal) -> ActiveflowRow:
        self.maybe_broken()
        self.drafts.append(draft)
        run_id = self.run(principal.account, id=draft.id, flow_id=draft.flow_id, reference_type="api", webhook_uri=draft.webhook_uri)
        return self.rows[run_id]

    async def stop(self, activeflow_id: str, principal: Principal) -> ActiveflowRow:
        self.rows[activeflow_id] = replace(await self.get(activeflow_id, principal), status="ended")
        return self.rows[activeflow_id]

    async def delete(self, activeflow_id: str, principal: Principal) -> ActiveflowRow:
        self.rows[activeflow_id] = replace(await self.stop(activeflow_id, principal), deleted=self.clock.wall())
        return self.rows[activeflow_id]
