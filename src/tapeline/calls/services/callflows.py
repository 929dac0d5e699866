"""What the faces use of callflows and documents given over the API: read, written, deleted, and at once in force on this node.

What a document must look like is the face's affair; here it must run, and no other callflow of its account may have its numbers.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from tapeline.calls.equipment import Equipment
from tapeline.calls.kazoo.stored import ready
from tapeline.calls.services.sight import account_seen
from tapeline.core.errors import InvalidState, NotFound, Unavailable
from tapeline.core.ids import new_id
from tapeline.core.principal import Principal
from tapeline.store import Database, DocumentRow, FlowRow

__all__ = ["Callflows", "Documents", "IdTaken", "NumberTaken", "Written"]

log = structlog.get_logger(__name__)

TICK = 1e-5  # seconds; by what time a row changed others know that it did, so no two changes are of one moment
READ, WRITE = "flows:read", "flows:write"
READ_DOCUMENTS, WRITE_DOCUMENTS = "calls:read", "account:write"

Change = Callable[[Mapping[str, Any]], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Written:
    row: FlowRow
    odd: tuple[str, ...]  # what the author of the document may want to know


class IdTaken(InvalidState):
    """Another flow has this id."""

    reason = "ID_TAKEN"


class NumberTaken(InvalidState):
    """Another callflow of the account has this number."""

    reason = "NUMBER_TAKEN"

    def __init__(self, number: str, holder: str, name: str) -> None:
        super().__init__(f"the number {number} is that of the callflow {name or holder}")
        self.number = number
        self.holder = holder


def _permit(principal: Principal, scope: str, account: str) -> None:
    principal.require(scope)
    account_seen(account, principal)


async def taken_up(refresh: Callable[[], Awaitable[None]]) -> None:
    """Put in force what was written. A database that is away by now does not undo it: it is looked up again in a few seconds."""
    try:
        await refresh()
    except Unavailable as error:
        log.warning("what was written comes into force a little later", error=str(error))


class Callflows:
    """`refresh` takes up what was written. Of one event loop."""

    def __init__(self, database: Database, equipment: Equipment, refresh: Callable[[], Awaitable[None]]) -> None:
        self._database = database
        self._kit = equipment
        self._refresh = refresh
        self._writing = asyncio.Lock()

    async def list(self, account: str, principal: Principal, before: float | None, limit: int) -> list[FlowRow]:
        """A page, newest first; it goes on before the last one's `created`."""
        _permit(principal, READ, account)
        return await self._database.flows.list(account, before, limit, dialect="kazoo")

    async def get(self, flow_id: str, account: str, principal: Principal) -> FlowRow:
        _permit(principal, READ, account)
        return await self._row(flow_id, account)

    async def _row(self, flow_id: str, account: str) -> FlowRow:
        row = await self._database.flows.get(flow_id)
        if row is None or row.account != account or row.dialect != "kazoo" or row.deleted is not None:
            raise NotFound(f"no callflow has the id {flow_id}", reason="FLOW_NOT_FOUND")
        return row

    async def create(self, account: str, how: Change, principal: Principal, flow_id: str = "") -> Written:
        """Write what `how` makes of an empty one; `flow_id` "" is a new one. Raises CallflowBroken, NumberTaken, IdTaken, and what `how`
        raises."""
        _permit(principal, WRITE, account)
        async with self._writing:
            before = await self._database.flows.get(flow_id) if flow_id else None
            if before is not None and (before.deleted is None or before.account != account):
                raise IdTaken(f"another flow has the id {flow_id}")
            return await self._write(FlowRow(flow_id or new_id(), account, "", "", "kazoo", self._kit.clock.wall()), how)

    async def change(self, flow_id: str, account: str, how: Change, principal: Principal) -> Written:
        """Write what `how` makes of the document that is there. Raises as `create` does, NotFound, and what `how` raises."""
        _permit(principal, WRITE, account)
        async with self._writing:
            return await self._write(await self._row(flow_id, account), how)

    async def _write(self, row: FlowRow, how: Change) -> Written:
        changed = await self._kit.thread(_changed, row, how, self._kit.clock.wall())
        made = await self._kit.thread(ready, changed)
        await self._refresh()
        for number in made.numbers:
            holder = self._kit.stored.holder(row.account, number, row.id)
            if holder is not None:
                raise NumberTaken(number, holder.id, holder.name)
        await self._database.flows.put(changed)
        await taken_up(self._refresh)
        return Written(changed, made.odd)

    async def delete(self, flow_id: str, account: str, principal: Principal) -> FlowRow:
        _permit(principal, WRITE, account)
        row = await self._row(flow_id, account)
        await self._database.flows.delete(flow_id, self._kit.clock.wall())
        await taken_up(self._refresh)
        return row


def _changed(row: FlowRow, how: Change, at: float) -> FlowRow:
    document = how(json.loads(row.document) if row.document else {})
    name = document.get("name")
    at = max(at, (row.updated or 0.0) + TICK)
    return FlowRow(row.id, row.account, name if isinstance(name, str) else "", json.dumps(document), "kazoo", row.created, at)


class Documents:
    """Those of an account, of its users, of its devices (`store.Documents` says which kinds there are)."""

    def __init__(self, database: Database, equipment: Equipment, refresh: Callable[[], Awaitable[None]]) -> None:
        self._database = database
        self._kit = equipment
        self._refresh = refresh

    async def get(self, account: str, kind: str, name: str, principal: Principal) -> DocumentRow | None:
        """None where nothing was ever written."""
        _permit(principal, READ_DOCUMENTS, account)
        return await self._database.documents.find(account, kind, name)

    async def list(
        self, account: str, kind: str, principal: Principal, before: float | None = None, limit: int = 1000
    ) -> list[DocumentRow]:
        """A page, newest first; it goes on before the last one's `created`."""
        _permit(principal, READ_DOCUMENTS, account)
        return await self._database.documents.list(account, kind, limit, before)

    async def change(self, account: str, kind: str, name: str, how: Change, principal: Principal) -> DocumentRow:
        """Write what `how` makes of the body that is there, {} where there is none. Raises what `how` raises."""
        _permit(principal, WRITE_DOCUMENTS, account)
        return await self.write(account, kind, name, how)

    async def write(self, account: str, kind: str, name: str, how: Change) -> DocumentRow:
        """As `change`, for who needs no leave: a flow of the account itself."""
        row = await self._database.documents.change(account, kind, name, how, self._kit.clock.wall())
        await taken_up(self._refresh)
        return row

    async def delete(self, account: str, kind: str, name: str, principal: Principal) -> DocumentRow | None:
        _permit(principal, WRITE_DOCUMENTS, account)
        row = await self._database.documents.delete(account, kind, name, self._kit.clock.wall())
        await taken_up(self._refresh)
        return row
