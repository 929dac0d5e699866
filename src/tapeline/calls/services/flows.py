"""What every face uses of stored flows of VoIPBIN's: a flow is compiled before it is kept, so none is kept that cannot run.

A flow is kept as the document it was given as; actions without an id get one, which they keep. Parsing and compiling are done in
a thread: a document may be large, and calls must not wait for it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tapeline.calls.equipment import Equipment
from tapeline.calls.errors import flow_not_found
from tapeline.calls.placing import compiled
from tapeline.calls.services.sight import present
from tapeline.calls.views import FlowDraft, FlowView, Page
from tapeline.core.errors import InvalidInput
from tapeline.core.ids import ZERO_ID, new_id
from tapeline.core.principal import Principal
from tapeline.store import Database, FlowRow

__all__ = ["MOST_CHARACTERS", "FlowService"]

DIALECT = "voipbin"
MOST_CHARACTERS = 262_144  # of a document


class FlowService:
    def __init__(self, database: Database, equipment: Equipment) -> None:
        self._database = database
        self._kit = equipment

    async def list(self, principal: Principal, before: float | None, limit: int) -> Page:
        principal.require("flows:read")
        account = None if principal.admin else principal.account
        rows = await self._database.flows.list(account, before, limit, dialect=DIALECT)
        views = await self._kit.thread(lambda: tuple(_view(row) for row in rows))
        return Page(views, views[-1].created if views else None)

    async def get(self, flow_id: str, principal: Principal) -> FlowView:
        """Raises NotFound, Forbidden."""
        principal.require("flows:read")
        return await self._kit.thread(_view, await self._row(flow_id, principal))

    async def create(self, draft: FlowDraft, principal: Principal) -> FlowView:
        """Raises InvalidInput with every problem of the flow."""
        principal.require("flows:write")
        document = await self._kit.thread(_document, {"actions": []}, draft)
        now = self._kit.clock.wall()
        row = FlowRow(new_id(), principal.account, draft.name or "", document, DIALECT, now)
        await self._database.flows.put(row)
        return await self._kit.thread(_view, row)

    async def update(self, flow_id: str, draft: FlowDraft, principal: Principal) -> FlowView:
        """Change what the draft names; what it leaves out stays. Runs of it that are under way go on as they began."""
        principal.require("flows:write")
        row = await self._row(flow_id, principal)
        document = await self._kit.thread(lambda: _document(json.loads(row.document), draft))
        name = row.name if draft.name is None else draft.name
        changed = FlowRow(row.id, row.account, name, document, DIALECT, row.created, self._kit.clock.wall())
        await self._database.flows.put(changed)
        return await self._kit.thread(_view, changed)

    async def delete(self, flow_id: str, principal: Principal) -> FlowView:
        principal.require("flows:write")
        row = await self._row(flow_id, principal)
        gone = await self._database.flows.delete(flow_id, self._kit.clock.wall())
        return await self._kit.thread(_view, gone or row)

    async def _row(self, flow_id: str, principal: Principal) -> FlowRow:
        row = await self._database.flows.get(flow_id)
        if row is None or row.dialect != DIALECT:
            raise flow_not_found(flow_id)
        return present(row, principal, "flow")


def _document(before: Mapping[str, Any], draft: FlowDraft) -> str:
    """What is kept. Raises InvalidInput where it could not run."""
    document = dict(before)
    for key in ("name", "detail", "on_complete_flow_id"):
        if getattr(draft, key) is not None:
            document[key] = getattr(draft, key)
    if draft.actions is not None:
        document["actions"] = [_with_id(action) for action in draft.actions]
    text = json.dumps(document, ensure_ascii=False)
    if len(text) > MOST_CHARACTERS:
        raise InvalidInput(f"a flow has at most {MOST_CHARACTERS} characters", reason="INVALID_ARGUMENT")
    compiled(text, dialect=DIALECT)
    return text


def _with_id(action: Any) -> Any:
    if not isinstance(action, dict) or action.get("id") not in (None, "", ZERO_ID):
        return action
    return action | {"id": new_id()}


def _view(row: FlowRow) -> FlowView:
    document = json.loads(row.document)
    actions: Sequence[Mapping[str, Any]] = document.get("actions") or ()
    return FlowView(
        id=row.id,
        account=row.account,
        name=row.name,
        detail=document.get("detail") or "",
        actions=tuple(actions),
        on_complete_flow_id=document.get("on_complete_flow_id") or "",
        created=row.created,
        updated=row.updated,
        deleted=row.deleted,
    )
