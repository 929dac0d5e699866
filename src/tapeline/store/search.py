"""Searching recordings: what is asked, and pages that come soon however many rows there are.

A page is looked for in two steps. The first runs along one index, newest first, over the few columns that filters compare, and looks at
a bounded number of rows; the second reads whole the hundred that fit. Which index depends on what narrows most:

    a tag            `recording_tags`                              numbers, notes    the trigram index, of SQLite
    a rare state     (account, state, created, ...)                a flow            (account, flow_id, created, ...)
    a call, a run,   their own indexes                             anything else     (account, created, ...), in the index alone
    a flow's own id

Tags and texts lead to rows that must be fetched, newest first: a few at first, since those may be enough, then more at a time.

Where the bound is reached before the page is full, the page is short and says where to go on: so a filter that fits three rows of a
million costs several pages, each as quick as any other. Knows nothing of HTTP.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from sqlalchemy import ColumnElement, Select, and_, column, exists, func, literal_column, or_, select, table, text, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from tapeline.store import tables
from tapeline.store.rows import RecordingRow
from tapeline.store.statements import build

__all__ = ["LOOK_UP", "Found", "Search", "conditions", "find", "pointed", "pointer"]

_TABLE = tables.recordings
_TAGS = tables.recording_tags
TRIGRAM = 3  # characters that the index of texts needs at least
LIVE = frozenset({"starting", "recording", "stopping"})  # states that very few rows are in
POINTERS = ("id", "call_id", "activeflow_id", "sip_call_id", "media_id")  # each of their values stands in a few rows
LOOK_ALONG = 25_000  # rows looked at in the index alone
LOOK_UP = 2_000  # rows that must be fetched to be looked at
LOOK_FIRST = 250  # of them, before the rest
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
    ended_since: float | None = None  # when it ended; where that is not known, when it was created
    ended_until: float | None = None

    @property
    def by_end(self) -> bool:
        """Whether it matters when a recording ended."""
        return self.ended_since is not None or self.ended_until is not None

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
    ended = func.coalesce(of.ended, of.created) if wanted.by_end else None
    if ended is not None and wanted.ended_since is not None:
        found.append(ended >= wanted.ended_since)
    if ended is not None and wanted.ended_until is not None:
        found.append(ended <= wanted.ended_until)
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
    hits: list[tuple[float, str]] = []
    after = wanted.after
    for look in _looks(wanted, dialect):
        asked = replace(wanted, after=after, limit=wanted.limit - len(hits))
        found, after = await _hits(connection, asked, _way(asked, dialect, look))
        hits += found
        if len(hits) == wanted.limit or after is None:
            break
    whole = select(*(found for found in _TABLE.c if found.name != "peaks")).where(_TABLE.c.id.in_([id for _, id in hits]))
    rows = {row["id"]: build(RecordingRow, row) for row in (await connection.execute(whole)).mappings()} if hits else {}
    return Found([rows[id] for _, id in hits if id in rows], after)


async def _hits(connection: AsyncConnection, wanted: Search, way: _Way) -> tuple[list[tuple[float, str]], tuple[float, str] | None]:
    """(created, id) of those that fit, as many as are wanted, and where to go on; None where nothing is left."""
    near = way.rows.subquery()
    fits = select(near.c.created, near.c.id).where(*conditions(wanted, near.c)).limit(wanted.limit)
    hits = [(float(row[0]), str(row[1])) for row in (await connection.execute(fits)).all()]
    if len(hits) == wanted.limit:
        return hits, hits[-1]
    last = (await connection.execute(way.last)).mappings().first()
    return hits, (float(last["created"]), str(last["id"])) if last is not None else None


@dataclass(frozen=True, slots=True)
class _Way:
    """`rows` in order, from the place on, of which not all need fit, and what gives (created, id) of the last of those, nothing where
    there are fewer than may be looked at."""

    rows: Select[Any]
    last: Select[Any]


def _led(wanted: Search, dialect: str) -> Literal["tag", "text", "time"]:
    """What leads to the rows. The first two give ids alone, whose rows are then fetched, all of them before the first is compared."""
    if wanted.tag and wanted.account is not None:
        return "tag"
    return "text" if dialect == "sqlite" and max(len(wanted.note), len(wanted.number)) >= TRIGRAM else "time"


def pointer(wanted: Search) -> str:
    """The column that leads to a few rows at once, "" where none does. `origin` does for an account's voicemail, and nothing else."""
    known = wanted.account is not None
    found = next((name for name in POINTERS if name in wanted.equal and (name != "media_id" or known)), "")
    return found or ("origin" if known and set(wanted.equal.get("origin", ())) == {"voicemail"} else "")


def pointed(wanted: Search, name: str) -> Select[Any]:
    """The rows, whole but for peaks, that the column `name` leads to, newest first, of which not all need fit.

    SQLite would rather walk along a whole account in the order that is asked for. So what tempts it is not told: the order is of a sum,
    and the account is compared later, but where the index begins with it.
    """
    messages = name == "origin"  # whose index is in the order of time, and is found by its condition, word for word
    created = _TABLE.c.created if messages else _TABLE.c.created + 0.0
    query = select(*(found for found in _TABLE.c if found.name != "peaks"))
    leads = text("recordings.origin = 'voicemail'") if messages else _TABLE.c[name].in_(list(wanted.equal[name]))
    query = query.where(_TABLE.c.deleted.is_(None), leads)
    if messages or name == "media_id":
        query = query.where(_TABLE.c.account == wanted.account)
    if wanted.after is not None:
        place = tuple_(created, _TABLE.c.id)
        query = query.where(place > wanted.after if wanted.ascending else place < wanted.after)
    return query.order_by(*((created, _TABLE.c.id) if wanted.ascending else (created.desc(), _TABLE.c.id.desc())))


def _narrow(wanted: Search) -> tuple[str, bool]:
    """The column whose index narrows most, "": that of time does; and whether its rows come in the order of time. One column only: what
    else must fit is compared in the rows that it leads to, whose number is bounded."""
    states = set(wanted.equal.get("state", ()))
    if wanted.account is None:
        return "", True
    if states and (states <= LIVE or states == {"failed"}):
        return "state", len(states) == 1
    return ("flow_id", True) if len(wanted.equal.get("flow_id", ())) == 1 else ("", True)


def _looks(wanted: Search, dialect: str) -> tuple[int, ...]:
    """How many rows may be looked at, one time after the other."""
    if not pointer(wanted) and _led(wanted, dialect) != "time":
        return (LOOK_FIRST, LOOK_UP - LOOK_FIRST)
    fetched = wanted.note or wanted.tag or wanted.by_end or set(wanted.equal) - {"state", "direction", "flow_id"}
    return (LOOK_UP if fetched else LOOK_ALONG,)


def _way(wanted: Search, dialect: str, look: int) -> _Way:
    if name := pointer(wanted):
        query = pointed(wanted, name)
        return _Way(query.limit(look), query.limit(1).offset(look - 1))
    led = _led(wanted, dialect)
    if led != "time":
        return _tagged(wanted, look) if led == "tag" else _worded(wanted, look)
    query = select(*_columns(wanted)).where(_TABLE.c.deleted.is_(None), *_window(wanted))
    narrow, ordered = _narrow(wanted)
    if narrow:
        query = query.where(_TABLE.c[narrow].in_(list(wanted.equal[narrow])))
    if wanted.after is not None:
        query = query.where(tuple_(_TABLE.c.created, _TABLE.c.id) < wanted.after)
    created = _TABLE.c.created if ordered else _TABLE.c.created + 0.0  # else SQLite would walk along the account for the order's sake
    query = query.order_by(created.desc(), _TABLE.c.id.desc())
    return _Way(query.limit(look), query.limit(1).offset(look - 1))


def _columns(wanted: Search) -> list[ColumnElement[Any]]:
    """What is compared: no more, so that where an index has all of it the rows themselves are not read."""
    more = [name for name in wanted.equal if name not in _COMPARED] + (["note"] if wanted.note else [])
    more += ["ended"] if wanted.by_end else []
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


def _tagged(wanted: Search, look: int) -> _Way:
    place = tuple_(_TAGS.c.created, _TAGS.c.recording)
    near = select(_TAGS.c.recording, _TAGS.c.created).where(_TAGS.c.account == wanted.account, _TAGS.c.tag == wanted.tag)
    if wanted.since is not None:
        near = near.where(_TAGS.c.created >= wanted.since)
    if wanted.until is not None:
        near = near.where(_TAGS.c.created <= wanted.until)
    if wanted.after is not None:
        near = near.where(place < wanted.after)
    near = near.order_by(_TAGS.c.created.desc(), _TAGS.c.recording.desc())
    bounded = near.limit(look).subquery()
    query = select(*_columns(wanted)).join_from(bounded, _TABLE, _TABLE.c.id == bounded.c.recording)
    last = near.limit(1).offset(look - 1).subquery()
    ordered = query.order_by(bounded.c.created.desc(), bounded.c.recording.desc())
    return _Way(ordered, select(last.c.created, last.c.recording.label("id")))


def _worded(wanted: Search, look: int) -> _Way:
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
    bounded = near.limit(look).subquery()
    own = [bounded.c.account == wanted.account] if wanted.account is not None else []
    query = select(*_columns(wanted)).join_from(bounded, _TABLE, and_(_TABLE.c.id == bounded.c.id, *own))
    end = near.limit(1).offset(look - 1).subquery()
    last = select(_TABLE.c.created, _TABLE.c.id).join_from(end, _TABLE, _TABLE.c.id == end.c.id)
    return _Way(query.order_by(bounded.c.place.desc()), last)


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _place(wall: float) -> int:
    """The first number of the millisecond of `wall`."""
    return int(wall * 1000) * 1_048_576
