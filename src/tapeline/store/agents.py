"""Agents: those of an account who log in with a name and a password."""

from __future__ import annotations

import builtins
import time
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError

from tapeline.store import tables
from tapeline.store.errors import AlreadyThere
from tapeline.store.paging import Ledger
from tapeline.store.rows import AgentRow
from tapeline.store.statements import values

if TYPE_CHECKING:
    from tapeline.store.database import Database

__all__ = ["Agents"]


class Agents(Ledger[AgentRow]):
    def __init__(self, database: Database) -> None:
        super().__init__(database, tables.agents, AgentRow)

    async def add(self, row: AgentRow) -> None:
        """Raises AlreadyThere where another agent has that username, of whatever account."""
        try:
            async with self._database.writing() as connection:
                await connection.execute(tables.agents.insert().values(values(row)))
        except IntegrityError as error:
            raise AlreadyThere(f"there is an agent with the username {row.username!r}", reason="USERNAME_ALREADY_EXISTS") from error

    async def by_username(self, username: str) -> AgentRow | None:
        """Nobody who was deleted: their usernames are gone with them."""
        found = await self._all(select(tables.agents).where(tables.agents.c.username == username))
        return found[0] if found else None

    async def list(self, account: str | None = None, before: float | None = None, limit: int = 100) -> builtins.list[AgentRow]:
        """A page, newest first. `account` None: all of them."""
        return await self._page(account=account, before=before, limit=limit)

    async def change(self, agent_id: str, **columns: Any) -> AgentRow | None:
        """Set columns of one who is not deleted: `name`, `detail`, `role`, `password`. None where there is no such agent."""
        return await self._set(agent_id, columns | {"updated": time.time()})

    async def delete(self, agent_id: str) -> AgentRow | None:
        """Mark as deleted, and forget the password. None where there is no such agent."""
        now = time.time()
        return await self._set(agent_id, {"username": agent_id, "password": "", "updated": now, "deleted": now})

    async def _set(self, agent_id: str, columns: dict[str, Any]) -> AgentRow | None:
        table = tables.agents
        changed = update(table).where(table.c.id == agent_id, table.c.deleted.is_(None)).values(**columns)
        async with self._database.writing() as connection:
            if (await connection.execute(changed)).rowcount == 0:
                return None
        return await self.get(agent_id)
