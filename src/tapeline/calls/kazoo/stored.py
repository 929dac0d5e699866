"""Callflows and documents that were given over the API, held in memory: a call asks neither database nor disk what it needs of them.

`Stored` is what is known now. `Refresher` keeps it true: whole at the start, at once when this process changes something, and every
few seconds for what another process changed. A database that is away changes nothing: calls go on with what was known last.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any

import structlog

from tapeline import flow
from tapeline.core.errors import InvalidInput, Unavailable
from tapeline.flow.patterns import compile_pattern
from tapeline.store import Database, DocumentRow, FlowRow
from tapeline.store.documents import document_id

__all__ = ["Callflow", "CallflowBroken", "Found", "Refresher", "Stored", "compile_pattern"]

log = structlog.get_logger(__name__)

NO_MATCH = "no_match"
EVERY_S = 3.0
PAGE = 100  # documents in memory at a time
OVERLAP_S = 60.0  # by how much the clocks of two processes may differ


@dataclass(frozen=True, slots=True)
class Callflow:
    """A stored callflow, ready to run."""

    id: str
    account: str
    name: str
    created: float
    updated: float
    program: flow.Program
    numbers: tuple[str, ...] = ()
    patterns: tuple[Any, ...] = ()
    odd: tuple[str, ...] = field(default=(), compare=False)  # what its document's author may want to know


class CallflowBroken(InvalidInput):
    """A callflow that cannot run. `found` has where (a path in the document), what, and what to do."""

    reason = "INVALID_FLOW"

    def __init__(self, found: Sequence[tuple[str, str, str]]) -> None:
        super().__init__("the callflow cannot run", problems=[f"{path}: {message}" for path, message, _ in found])
        self.found = tuple(found)


@dataclass(frozen=True, slots=True)
class Found:
    """The callflow of a number, and what its pattern captured: `kazoo.capture_group`, and named groups as `kazoo.capture.NAME`."""

    callflow: Callflow
    captures: Mapping[str, str] = field(default_factory=dict)
    no_match: bool = False


@dataclass(slots=True)
class _Plan:
    """The numbers of one account, or of all of them. Where two callflows have the same, the older one has it."""

    numbers: dict[str, Callflow] = field(default_factory=dict)
    patterns: list[tuple[Any, Callflow]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Planned:
    """All callflows, and the numbers made of them."""

    callflows: dict[str, Callflow]
    plans: dict[str, _Plan]


class Stored:
    def __init__(self) -> None:
        self._callflows: dict[str, Callflow] = {}
        self._documents: dict[str, DocumentRow] = {}
        self._kinds: dict[tuple[str, str], dict[str, DocumentRow]] = {}  # by account and kind, then by id
        self._followers: list[Callable[[Iterable[DocumentRow]], None]] = []
        self._plans: dict[str, _Plan] = {"": _Plan()}

    # -- what calls ask ------------------------------------------------------------------------------------------------

    def find(self, number: str, account: str = "") -> Found | None:
        """By exact number, with or without its +, else by the pattern whose longest group captured most. `account` "": in all of them."""
        plan = self._plans.get(account)
        if plan is None:
            return None
        for spelling in (number, number[1:] if number.startswith("+") else f"+{number}"):
            if spelling in plan.numbers and spelling != NO_MATCH:
                return Found(plan.numbers[spelling])
        best: Found | None = None
        longest = -1
        for pattern, callflow in plan.patterns:
            match = pattern.search(number)
            if match is None:
                continue
            captured = max((group for group in match.groups() if group), key=len, default="")
            if len(captured) > longest:
                longest = len(captured)
                named = {f"kazoo.capture.{name}": value for name, value in match.groupdict().items() if value is not None}
                best = Found(callflow, {"kazoo.capture_group": captured, **named} if captured else named)
        return best

    def otherwise(self, number: str, account: str = "") -> Found | None:
        """The callflow of `no_match`, for a number of digits that nothing else answers."""
        plan = self._plans.get(account)
        digits = number.removeprefix("+")
        if plan is None or not (digits.isascii() and digits.isdigit()) or NO_MATCH not in plan.numbers:
            return None
        return Found(plan.numbers[NO_MATCH], no_match=True)

    def document(self, account: str, kind: str, name: str) -> Mapping[str, Any]:
        """A document's body; {} where there is none."""
        row = self._documents.get(document_id(account, kind, name))
        return row.body if row is not None else {}

    def all(self, account: str, kind: str) -> list[DocumentRow]:
        """All documents of a kind."""
        return list(self._kinds.get((account, kind), {}).values())

    def program(self, flow_id: str, account: str) -> flow.Program | None:
        """A stored callflow by its id, with or without dashes; None where the account has no such one."""
        found = self._callflows.get(flow_id if "-" in flow_id else _dashed(flow_id.lower()))
        return found.program if found is not None and found.account == account else None

    def follow(self, take: Callable[[Iterable[DocumentRow]], None]) -> None:
        """Hand all documents to `take`, and from now on those that changed, deleted ones too."""
        self._followers.append(take)
        take(list(self._documents.values()))

    def holder(self, account: str, number: str, besides: str = "") -> Callflow | None:
        """Which callflow of an account has a number already."""
        return next(
            (one for one in self._callflows.values() if one.account == account and one.id != besides and number in one.numbers), None
        )

    # -- what changes it -----------------------------------------------------------------------------------------------

    def planned(self, callflows: Iterable[Callflow], gone: Iterable[str]) -> Planned:
        """What there is with these and without those whose ids are `gone`. It may be made in a thread, and is in force once it is taken."""
        changed = dict(self._callflows)
        changed.update((callflow.id, callflow) for callflow in callflows)
        for callflow_id in gone:
            changed.pop(callflow_id, None)
        return Planned(changed, _plans(changed.values()))

    def take(self, planned: Planned) -> None:
        self._callflows, self._plans = planned.callflows, planned.plans

    def take_documents(self, rows: Sequence[DocumentRow]) -> None:
        for row in rows:
            of_kind = self._kinds.setdefault((row.account, row.kind), {})
            if row.deleted is None:
                self._documents[row.id] = of_kind[row.id] = row
            else:
                self._documents.pop(row.id, None)
                of_kind.pop(row.id, None)
        for take in self._followers if rows else ():
            take(rows)


def _dashed(text: str) -> str:
    """A UUID of KAZOO's form in ours."""
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def _plans(callflows: Iterable[Callflow]) -> dict[str, _Plan]:
    plans = {"": _Plan()}
    for callflow in sorted(callflows, key=lambda one: (one.created, one.id)):
        for plan in (plans[""], plans.setdefault(callflow.account, _Plan())):
            for number in callflow.numbers:
                plan.numbers.setdefault(number, callflow)
            plan.patterns += [(pattern, callflow) for pattern in callflow.patterns]
    return plans


def ready(row: FlowRow) -> Callflow:
    """Raises CallflowBroken where the document cannot run."""
    document = json.loads(row.document)
    found = flow.compile(document, dialect="kazoo")
    if found.program is None:
        raise CallflowBroken([(problem.path, problem.message, problem.hint) for problem in found.errors])
    numbers = tuple(str(number) for number in document.get("numbers") or ())
    patterns = tuple(compile_pattern(pattern) for pattern in document.get("patterns") or ())
    code = (document.get("featurecode") or {}).get("number")
    if code and not numbers and not patterns:
        numbers = (code if code.startswith("*") else f"*{code}",)
    odd = tuple(str(problem) for problem in found.problems)
    return Callflow(row.id, row.account, row.name, row.created, row.updated or row.created, found.program, numbers, patterns, odd)


class Refresher:
    """Of one event loop. `executor` is where documents are compiled."""

    def __init__(self, database: Database, stored: Stored, executor: Executor) -> None:
        self._database = database
        self._stored = stored
        self._executor = executor
        self._seen = 0.0
        self._known: dict[str, tuple[float, float | None]] = {}  # when each row changed last, and was deleted
        self._lock = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        away = False
        while True:
            await asyncio.sleep(EVERY_S)
            try:
                await self.refresh()
                away = False
            except Unavailable as error:
                if not away:
                    log.warning("stored callflows cannot be looked up; those known go on", error=str(error))
                away = True

    async def refresh(self) -> None:
        """Take up what changed. Raises Unavailable where the database is away."""
        async with self._lock:
            since = max(0.0, self._seen - OVERLAP_S)
            stamps = await self._database.flows.changed("kazoo", since)
            documents = await self._database.documents.changed(since)
            news = {flow_id: (updated, deleted) for flow_id, updated, deleted in stamps if self._known.get(flow_id) != (updated, deleted)}
            changed = [row for row in documents if self._known.get(row.id) != (row.updated, row.deleted)]
            if news:
                await self._take(news)
            self._stored.take_documents(changed)
            self._known |= news | {row.id: (row.updated, row.deleted) for row in changed}
            self._seen = max([self._seen, *(updated for _, updated, _ in stamps), *(row.updated for row in documents)])

    async def _take(self, news: Mapping[str, tuple[float, float | None]]) -> None:
        """Read and compile the callflows that changed. One that cannot run is as good as none."""
        alive = [flow_id for flow_id, (_, deleted) in news.items() if deleted is None]
        callflows: list[Callflow] = []
        loop = asyncio.get_running_loop()
        for first in range(0, len(alive), PAGE):
            rows = [row for row in await self._database.flows.several(alive[first : first + PAGE]) if row.deleted is None]
            callflows += await loop.run_in_executor(self._executor, _ready, rows)
        gone = news.keys() - {callflow.id for callflow in callflows}
        self._stored.take(await loop.run_in_executor(self._executor, self._stored.planned, callflows, gone))


def _ready(rows: Sequence[FlowRow]) -> list[Callflow]:
    made = []
    for row in rows:
        try:
            made.append(ready(row))
        except (InvalidInput, ValueError, TypeError, AttributeError) as error:
            problems = error.problems[:5] if isinstance(error, InvalidInput) else ()
            log.error("a stored callflow cannot run and answers nobody", flow_id=row.id, error=str(error), problems=problems)
    return made
