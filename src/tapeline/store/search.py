"""Searching recordings: what is asked, and pages that come soon however many rows there are.

A page is looked for in two steps. The first runs along one index, newest first, over the few columns that filters compare, and looks at
a bounded number of rows; the second reads whole the hundred that fit. Which index depends on what narrows most:

    a tag            `recording_tags`                              numbers, notes    the trigram index, of SQLite
    a rare state     (account, state, created)                     a flow            (account, flow_id, created)
    a call, a run    their own indexes                             anything else     (account, created, ...), in the index alone

Where the bound is reached before the page is full, the page is short and says where to go on: so a filter that fits three rows of a
million costs several pages, each as quick as any other. Knows nothing of HTTP.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, column, exists, func, literal_column, or_, select, table, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from tapeline.store import tables
from tapeline.store.rows import RecordingRow
from tapeline.store.statements import build

__all__ = ["Found", "Search", "conditions", "find"]

_TABLE = tables.recordings
_TAGS = tables.recording_tags
TRIGRAM = 3  # characters that the index of texts needs at least
RARE = frozenset({"starting", "recording", "stopping", "failed"})  # states that few rows are in
LOOK_ALONG = 40_000  # rows looked at in the index alone
LOOK_UP = 2_000  # rows that must be fetched to be looked at
_COMPARED = ("state", "direction", "duration", "flow_id", "source", "destination", "account", "created", "id")


@dataclass(frozen=True, slots=True)
class Search:
    """Which recordings, and which of them first. Times are of creation, both ends included; `after` goes on behind a row's (created, id).
    `equal` are columns and the values that they may have; `number` and `note` are parts of what stands there, in either case;
    `shortest` and `longest` are seconds of audio."""

    account: str | None = None
    since: float | None = None
    until: float | None = None
    after: tuple[float, str] | None = None
    ascending: bool = False
    limit: int = 100
    equal: Mapping[str, Collection[str]] = field(default_factory=dict)
    number: str = ""
    note: str = ""
    tag: str = ""
    shortest: float | None = None
    longest: float | None = None

    def as_filter(self) -> dict[str, Any]:
        """What it asks for, as JSON can keep it: without its place and its limit."""
        told = {name: value for name, value in asdict(self).items() if name not in ("after", "limit", "ascending") and value}
        return told | ({"equal": {name: sorted(values) for name, values in self.equal.items()}} if self.equal else {})


@dataclass(frozen=True, slots=True)
class Found:
    """A page, without peaks. `after` is where to go on; None where nothing is left."""

    rows: list[RecordingRow]
    after: tuple[float, str] | None


def conditions(wanted: Search, columns: Any = None) -> list[ColumnElement[bool]]:
    """What a row must fulfil, but for its place. `columns` are those of the table, or of a query over it that has all that is compared."""
    of = _TABLE.c if columns is None else columns
    found: list[ColumnElement[bool]] = []
    if wanted.account is not None:
        found.append(of.account == wanted.account)
    if wanted.since is not None:
        found.append(of.created >= wanted.since)
    if wanted.until is not None:
        found.append(of.created <= wanted.until)
    found += [of[name].in_(list(values)) for name, values in wanted.equal.items()]
    if wanted.shortest is not None:
        found.append(of.duration >= wanted.shortest)
    if wanted.longest is not None:
        found.append(of.duration <= wanted.longest)
    if wanted.number:
        found.append(or_(of.source.icontains(wanted.number, autoescape=True), of.destination.icontains(wanted.number, autoescape=True)))
    if wanted.note:
        found.append(of.note.icontains(wanted.note, autoescape=True))
    if wanted.tag:
        found.append(exists().where(_TAGS.c.recording == of.id, _TAGS.c.tag == wanted.tag))
    return found


async def find(connection: AsyncConnection, wanted: Search, dialect: str) -> Found:
    """One page, newest first. `ascending` is not looked at."""
    way = _way(wanted, dialect)
    near = way.rows.limit(way.look).subquery()
    fits = select(near.c.created, near.c.id).where(*conditions(wanted, near.c)).limit(wanted.limit)
    hits = [(float(row[0]), str(row[1])) for row in (await connection.execute(fits)).all()]
    if len(hits) == wanted.limit:
        after: tuple[float, str] | None = hits[-1]
    else:
        last = (await connection.execute(way.last)).mappings().first()
        after = (float(last["created"]), str(last["id"])) if last is not None else None
    whole = select(*(found for found in _TABLE.c if found.name != "peaks")).where(_TABLE.c.id.in_([id for _, id in hits]))
    rows = {row["id"]: build(RecordingRow, row) for row in (await connection.execute(whole)).mappings()} if hits else {}
    return Found([rows[id] for _, id in hits if id in rows], after)


@dataclass(frozen=True, slots=True)
class _Way:
    """`rows` in order, from the place on, of which not all need fit; how many of them may be looked at; and what gives (created, id) of
    the last of those, nothing where there are fewer."""

    rows: Select[Any]
    look: int
    last: Select[Any]


def _way(wanted: Search, dialect: str) -> _Way:
    if wanted.tag and wanted.account is not None:
        return _tagged(wanted)
    if dialect == "sqlite" and max(len(wanted.note), len(wanted.number)) >= TRIGRAM:
        return _worded(wanted)
    names = set(wanted.equal)
    states = set(wanted.equal.get("state", ()))
    narrow: list[str] = [name for name in ("call_id", "activeflow_id", "flow_id") if name in names]
    if states and states <= RARE:
        narrow.append("state")
    fetched = wanted.note or wanted.tag or names - {"state", "direction", "flow_id"} or narrow
    query = select(*_columns(wanted)).where(_TABLE.c.deleted.is_(None), *_window(wanted))
    query = query.where(*(_TABLE.c[name].in_(list(wanted.equal[name])) for name in narrow))
    if wanted.after is not None:
        query = query.where(tuple_(_TABLE.c.created, _TABLE.c.id) < wanted.after)
    query, look = query.order_by(_TABLE.c.created.desc(), _TABLE.c.id.desc()), LOOK_UP if fetched else LOOK_ALONG
    return _Way(query, look, query.limit(1).offset(look - 1))


def _columns(wanted: Search) -> list[ColumnElement[Any]]:
    """What is compared: no more, so that where an index has all of it the rows themselves are not read."""
    more = [name for name in wanted.equal if name not in _COMPARED] + (["note"] if wanted.note else [])
    return [_TABLE.c[name] for name in (*_COMPARED, *more)]


def _window(wanted: Search) -> list[ColumnElement[bool]]:
    """The ends of the index's stretch."""
    found: list[ColumnElement[bool]] = []
    if wanted.account is not None:
        found.append(_TABLE.c.account == wanted.account)
    if wanted.since is not None:
        found.append(_TABLE.c.created >= wanted.since)
    if wanted.until is not None:
        found.append(_TABLE.c.created <= wanted.until)
    return found


def _tagged(wanted: Search) -> _Way:
    place = tuple_(_TAGS.c.created, _TAGS.c.recording)
    near = select(_TAGS.c.recording, _TAGS.c.created).where(_TAGS.c.account == wanted.account, _TAGS.c.tag == wanted.tag)
    if wanted.since is not None:
        near = near.where(_TAGS.c.created >= wanted.since)
    if wanted.until is not None:
        near = near.where(_TAGS.c.created <= wanted.until)
    if wanted.after is not None:
        near = near.where(place < wanted.after)
    near = near.order_by(_TAGS.c.created.desc(), _TAGS.c.recording.desc())
    bounded = near.limit(LOOK_UP).subquery()
    query = select(*_columns(wanted)).join_from(bounded, _TABLE, _TABLE.c.id == bounded.c.recording)
    last = near.limit(1).offset(LOOK_UP - 1).subquery()
    return _Way(
        query.order_by(bounded.c.created.desc(), bounded.c.recording.desc()), LOOK_UP, select(last.c.created, last.c.recording.label("id"))
    )


def _worded(wanted: Search) -> _Way:
    """Along the trigram index, whose rows are numbered in the order of time (see the migration that makes it)."""
    texts = table("recording_text", column("rowid"), column("id"), column("account"))
    places = table("recording_places", column("place"), column("id"))
    asked = []
    if len(wanted.number) >= TRIGRAM:
        asked.append(f"{{source destination}} : {_quoted(wanted.number)}")
    if len(wanted.note) >= TRIGRAM:
        asked.append(f"note : {_quoted(wanted.note)}")
    near = select(texts.c.rowid.label("place"), texts.c.id, texts.c.account)
    near = near.where(literal_column("recording_text").op("MATCH")(" AND ".join(asked)))
    if wanted.since is not None:
        near = near.where(texts.c.rowid >= _place(wanted.since))
    if wanted.until is not None:
        near = near.where(texts.c.rowid < _place(wanted.until + 0.001))
    if wanted.after is not None:
        known = select(places.c.place).where(places.c.id == wanted.after[1]).scalar_subquery()
        near = near.where(texts.c.rowid < func.coalesce(known, _place(wanted.after[0])))
    near = near.order_by(texts.c.rowid.desc())
    bounded = near.limit(LOOK_UP).subquery()
    own = [bounded.c.account == wanted.account] if wanted.account is not None else []
    query = select(*_columns(wanted)).join_from(bounded, _TABLE, and_(_TABLE.c.id == bounded.c.id, *own))
    end = near.limit(1).offset(LOOK_UP - 1).subquery()
    last = select(_TABLE.c.created, _TABLE.c.id).join_from(end, _TABLE, _TABLE.c.id == end.c.id)
    return _Way(query.order_by(bounded.c.place.desc()), LOOK_UP, last)


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _place(wall: float) -> int:
    """The first number of the millisecond of `wall`."""
    return int(wall * 1000) * 1_048_576
