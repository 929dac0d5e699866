"""What every face uses of runs of flows: those that live are told from memory, past ones from the rows; who may do what is asked here.

A run that is begun here has no call: it does what needs none (see `errands`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import replace

from tapeline.calls.equipment import Equipment
from tapeline.calls.errands import Errands
from tapeline.calls.services.sight import present
from tapeline.calls.views import ActiveflowDraft, Page
from tapeline.core.errors import InvalidState, NotFound
from tapeline.core.ids import ZERO_ID, new_id
from tapeline.core.principal import Principal
from tapeline.store import ActiveflowRow, Database

__all__ = ["ActiveflowService"]

STOPS_S = 2.0  # how long whoever stops a run waits for its end


class ActiveflowService:
    def __init__(self, database: Database, equipment: Equipment, errands: Errands) -> None:
        self._database = database
        self._kit = equipment
        self._errands = errands

    async def list(self, principal: Principal, before: float | None, limit: int) -> Page:
        principal.require("flows:read")
        rows = await self._database.activeflows.list(None if principal.admin else principal.account, before, limit)
        found = tuple(live.row if (live := self._kit.runs.get(row.id)) is not None else row for row in rows)
        return Page(found, found[-1].created if found else None)

    async def get(self, activeflow_id: str, principal: Principal) -> ActiveflowRow:
        """Raises NotFound, Forbidden."""
        principal.require("flows:read")
        return await self._row(activeflow_id, principal)

    async def create(self, draft: ActiveflowDraft, principal: Principal) -> ActiveflowRow:
        """Begin a run, once for each id. Raises InvalidInput where the flow cannot run, InvalidState where the id is taken."""
        principal.require("flows:write")
        run_id = draft.id or new_id()
        if await self._database.activeflows.get(run_id) is not None:
            raise InvalidState(f"there is a run with the id {run_id}", reason="ACTIVEFLOW_ALREADY_EXISTS", hint="leave the id out")
        given = draft.actions or []
        if draft.flow_id:
            document = await self._kit.load_flow(draft.flow_id, principal.account)
        else:
            document = await self._kit.thread(lambda: json.dumps({"actions": given}))
        own = {
            "tapeline.activeflow.id": run_id,
            "tapeline.activeflow.reference_type": "api",
            "tapeline.activeflow.reference_id": ZERO_ID,
            "tapeline.activeflow.flow_id": draft.flow_id or ZERO_ID,
        }
        row = ActiveflowRow(
            run_id, principal.account, "running", self._kit.clock.wall(), draft.flow_id, "api", variables={**draft.variables, **own},
            document=document, webhook_uri=draft.webhook_uri, webhook_method=draft.webhook_method,
        )  # fmt: skip
        started = await self._errands.start(row)
        live = self._kit.runs.get(run_id)
        return live.row if live is not None else started

    async def stop(self, activeflow_id: str, principal: Principal) -> ActiveflowRow:
        """End it; that of a call hangs the call up. One that has ended is told as it is."""
        principal.require("flows:write")
        row = await self._row(activeflow_id, principal)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOPS_S):
                while row.status != "ended":  # it may be about to begin, and what it asked for may still be under way
                    live = self._kit.runs.get(activeflow_id)
                    if live is not None:
                        live.stop()
                    await asyncio.sleep(0.01)
                    row = live.row if live is not None else await self._row(activeflow_id, principal)
        return row

    async def delete(self, activeflow_id: str, principal: Principal) -> ActiveflowRow:
        """End it, and mark its row deleted."""
        row = await self.stop(activeflow_id, principal)
        await self._kit.writer.drain(5.0)
        deleted = self._kit.clock.wall()
        gone = await self._database.activeflows.delete(activeflow_id, deleted)
        row = gone if gone is not None else replace(row, deleted=deleted)
        self._kit.happened("activeflow_deleted", row.account, row.id, row)
        return row

    async def _row(self, activeflow_id: str, principal: Principal) -> ActiveflowRow:
        live = self._kit.runs.get(activeflow_id)
        row = live.row if live is not None else await self._database.activeflows.get(activeflow_id)
        if row is None:
            raise NotFound(f"no run of a flow has the id {activeflow_id}", reason="ACTIVEFLOW_NOT_FOUND")
        return present(row, principal, "run")
