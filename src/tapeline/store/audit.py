"""The audit: who listed, listened, deleted and so on. Rows are only ever added, and each holds the hash of the one before.

    hash = SHA-256 of the JSON list [previous hash, seq, time, account, actor, action, subject, status, request_id, address, detail]

`seq` has no gaps. Whoever changes, removes or slips in a row breaks the chain at that place, and `verify` names it. Rows cut off at the
end are only missed by who has noted the hash of an earlier end: `Verdict.head` is there to be noted. The database refuses UPDATE and
DELETE by triggers; who may remove the triggers may rewrite everything, but not so that a noted head still fits.
"""

from __future__ import annotations

import builtins
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from tapeline.store import tables
from tapeline.store.statements import build

if TYPE_CHECKING:
    from tapeline.store.database import Database

__all__ = ["Audit", "AuditRow", "Deed", "Verdict", "digest"]

_TABLE = tables.audit
_LOCK = 0x6175_6469  # PostgreSQL advisory lock: "audi"
_PAGE = 1000
NOTHING = "0" * 64  # what the first row has for the hash before it


@dataclass(frozen=True, slots=True)
class Deed:
    """What somebody did. `actor` is the name of a token, a user, or a part of tapeline; `status` the HTTP status answered, 0 where there
    was no request; `subject` the id of what it was done to, "" for a list."""

    time: float
    account: str
    actor: str
    action: str
    subject: str = ""
    status: int = 0
    request_id: str = ""
    address: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AuditRow:
    """A deed in its place. `detail` is JSON."""

    seq: int
    time: float
    account: str
    actor: str
    action: str
    subject: str
    status: int
    request_id: str
    address: str
    detail: str
    previous: str
    hash: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """`rows` were read, the last of them has the hash `head`; `problem` is "" where the chain is whole."""

    rows: int
    head: str
    problem: str = ""


def digest(row: Mapping[str, Any]) -> str:
    """The hash that a row must have."""
    names = ("previous", "seq", "time", "account", "actor", "action", "subject", "status", "request_id", "address", "detail")
    return hashlib.sha256(json.dumps([row[name] for name in names], ensure_ascii=True).encode()).hexdigest()


class Audit:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, *deeds: Deed) -> None:
        async with self._database.writing() as connection:
            await self.write(connection, deeds)

    async def write(self, connection: AsyncConnection, deeds: Sequence[Deed]) -> None:
        """`add` within a transaction that the caller holds, so that a deed and its trace come together."""
        if not deeds:
            return
        if self._database.dialect == "postgresql":  # SQLite's writers are one at a time anyway
            await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        last = (await connection.execute(select(_TABLE.c.seq, _TABLE.c.hash).order_by(_TABLE.c.seq.desc()).limit(1))).first()
        seq, previous = (int(last[0]), str(last[1])) if last else (0, NOTHING)
        rows = []
        for deed in deeds:
            seq += 1
            row = asdict(deed) | {"seq": seq, "previous": previous, "time": float(deed.time)}
            row["detail"] = json.dumps(dict(deed.detail), ensure_ascii=True, sort_keys=True, default=str)
            row["hash"] = previous = digest(row)
            rows.append(row)
        await connection.execute(_TABLE.insert(), rows)

    async def list(
        self,
        account: str | None = None,
        *,
        before: int | None = None,
        limit: int = 100,
        subject: str = "",
        action: str = "",
        actor: str = "",
        since: float | None = None,
        until: float | None = None,
    ) -> builtins.list[AuditRow]:
        """A page, newest first; go on with `before` = the last row's `seq`. `account` None: all of them."""
        query = select(_TABLE)
        for column, wanted in ((_TABLE.c.account, account), (_TABLE.c.subject, subject or None), (_TABLE.c.action, action or None)):
            if wanted is not None:
                query = query.where(column == wanted)
        if actor:
            query = query.where(_TABLE.c.actor == actor)
        if since is not None:
            query = query.where(_TABLE.c.time >= since)
        if until is not None:
            query = query.where(_TABLE.c.time <= until)
        if before is not None:
            query = query.where(_TABLE.c.seq < before)
        async with self._database.reading() as connection:
            found = await connection.execute(query.order_by(_TABLE.c.seq.desc()).limit(limit))
            return [build(AuditRow, row) for row in found.mappings()]

    async def after(self, seq: int, limit: int = _PAGE) -> builtins.list[AuditRow]:
        """At most `limit` rows behind `seq`, oldest first: to export or verify everything in pages."""
        query = select(_TABLE).where(_TABLE.c.seq > seq).order_by(_TABLE.c.seq).limit(limit)
        async with self._database.reading() as connection:
            return [build(AuditRow, row) for row in (await connection.execute(query)).mappings()]

    async def verify(self, head: str = "") -> Verdict:
        """Read every row and check its place in the chain. `head`: a hash noted earlier, which some row must still have."""
        count, previous, met = 0, NOTHING, not head or head == NOTHING
        while rows := await self.after(count):
            for row in rows:
                if row.seq != count + 1:
                    return Verdict(count, previous, f"row {count + 1} is missing")
                if row.previous != previous:
                    return Verdict(count, previous, f"row {row.seq} does not follow the one before it")
                if digest(asdict(row)) != row.hash:
                    return Verdict(count, previous, f"row {row.seq} was changed")
                count, previous = row.seq, row.hash
                met = met or row.hash == head
        return Verdict(count, previous, "" if met else "no row has the noted hash: rows were cut off or made anew")
