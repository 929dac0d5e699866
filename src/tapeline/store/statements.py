"""Statements that several tables share: the forward-only upsert, the page newest first, the tombstone.

Knows nothing of connections: it builds statements and turns result rows into the dataclasses of `rows`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from functools import cache
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Select, Table, and_, case, func, or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import RowMapping

from tapeline.store.rows import ACTIVEFLOW_RANKS, CALL_RANKS, CONFERENCE_RANKS, CONFERENCECALL_RANKS, RECORDING_RANKS

__all__ = ["OUTCOMES", "REJECTED", "build", "forward", "insert_for", "newest", "outcome", "values"]

R = TypeVar("R")

REJECTED = ("403", "404", "410", "484", "603", "604", "607", "608")  # by whom was called
OUTCOMES = ("started", "ringing", "answered", "completed", "busy", "cancelled", "failed", "rejected", "timeout", "unanswered")
RANKS: Mapping[str, Mapping[str, int]] = {
    "calls": CALL_RANKS,
    "recordings": RECORDING_RANKS,
    "conferences": CONFERENCE_RANKS,
    "conferencecalls": CONFERENCECALL_RANKS,
    "activeflows": ACTIVEFLOW_RANKS,
}
# What is set by other statements, and never by an upsert: who writes a live row does not know of it.
OTHERS: Mapping[str, frozenset[str]] = {
    "recordings": frozenset({"held", "hold_reason", "held_by", "retention_days", "tags", "note"})
}


def insert_for(dialect: str, table: Table) -> Any:
    """An INSERT of `dialect` ("sqlite" or "postgresql") that knows ON CONFLICT."""
    return postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)


def values(row: Any) -> dict[str, Any]:
    """A row's fields as column values; tuples become lists, which is what JSON gives back."""
    found = {}
    for field in dataclasses.fields(row):
        value = getattr(row, field.name)
        if isinstance(value, Mapping):
            value = dict(value)
        elif isinstance(value, tuple):
            value = [list(item) if isinstance(item, tuple) else item for item in value]
        found[field.name] = value
    return found


def build(kind: type[R], found: RowMapping) -> R:
    """The dataclass `kind` of one result row. Columns that were not selected keep the dataclass's default."""
    arguments: dict[str, Any] = {}
    for name, value in found.items():
        if isinstance(value, list):
            value = tuple(tuple(item) if isinstance(item, list) else item for item in value)
        arguments[name] = value
    return kind(**arguments)
# What was decided, and may have been noted upon, when a row reached one of these states; written again, the row keeps it.
SETTLED: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {"recordings": (("available", "failed"), ("custom", "media_id"))}


@cache
def forward(dialect: str, table: Table, state: str) -> Any:
    """INSERT .. ON CONFLICT that only ever moves a row forward; execute it with a list of `values`.

    The new values win where their state ranks higher, or where it is the same state and they are not older. A tombstone, the time of
    creation, and what is `SETTLED` stay. The comparison is part of the statement, so that it holds whichever process writes last.
    """
    ranks = RANKS[table.name]
    insert = insert_for(dialect, table)
    new = insert.excluded

    def rank(column: ColumnElement[str]) -> ColumnElement[int]:
        return case(dict(ranks), value=column, else_=-1)

    wins = or_(
        rank(new[state]) > rank(table.c[state]),
        and_(new[state] == table.c[state], func.coalesce(new.updated, 0.0) >= func.coalesce(table.c.updated, 0.0)),
    )
    kept = {"id", "created", "deleted"} | OTHERS.get(table.name, frozenset())
    changes: dict[str, Any] = {column.name: new[column.name] for column in table.c if column.name not in kept}
    states, settled = SETTLED.get(table.name, ((), ()))
    for name in settled:
        # One comparison for each state: an IN cannot be executed with a list of values.
        changes[name] = case((or_(*(table.c[state] == each for each in states)), table.c[name]), else_=new[name])
    changes["deleted"] = func.coalesce(table.c.deleted, new.deleted)
    return insert.on_conflict_do_update(index_elements=[table.c.id], set_=changes, where=wins)


def outcome(table: Table) -> ColumnElement[str]:
    """How a call is, or how it ended: one of `OUTCOMES`. The peer's status is what its hangup_cause begins with."""
    column = table.c
    cause = column.hangup_cause
    coded = and_(
        column.hangup_by == "remote", func.substr(cause, 1, 1).in_(["3", "4", "5", "6"]), func.substr(cause, 4, 1).in_(["", " "])
    )
    code = case((coded, func.substr(cause, 1, 3)), else_="")
    reason = column.hangup_reason
    return case(
        (column.status == "dialing", "started"),
        (column.status == "ringing", "ringing"),
        (column.status == "progressing", "answered"),
        (or_(column.status != "hangup", column.progressing.is_not(None)), "completed"),
        (reason == "busy", "busy"),
        (code.in_(list(REJECTED)), "rejected"),
        (code == "480", "unanswered"),
        (or_(reason.in_(["timeout", "dialout"]), and_(reason == "noanswer", code == "")), "timeout"),
        (reason == "noanswer", "unanswered"),
        (or_(reason == "cancel", and_(reason == "normal", code == "")), "cancelled"),
        else_="failed",
    )


def newest(
    table: Table,
    *,
    account: str | None,
    before: float | None,
    limit: int,
    where: Mapping[str, str | Collection[str]] | None = None,
    without: Collection[str] = (),
) -> Select[Any]:
    """One page of what is not deleted, newest first by `created`."""
    query = select(*(column for column in table.c if column.name not in without)).where(table.c.deleted.is_(None))
    if account is not None:
        query = query.where(table.c.account == account)
    if before is not None:
        query = query.where(table.c.created < before)
    for name, wanted in (where or {}).items():
        column = table.c[name]
        query = query.where(column == wanted if isinstance(wanted, str) else column.in_(list(wanted)))
    return query.order_by(table.c.created.desc(), table.c.id.desc()).limit(limit)
