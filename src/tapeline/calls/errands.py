"""Flows that run without a call: after a recording (`on_end_flow_id`), or because the API said so.

    document and facts -> row of `activeflows` (committed) -> the run, with what needs no media -> the row says that it has ended

Such a run fetches, tells, decides, sets variables, places calls. An action that needs a call is passed over. The row is there before the
first step and holds the document, so a run that a crash cut off begins again at the next start; one that has ended never does.
That a recording or a run has ended, after which a flow comes, stands in the outbox: so a crash before that begins loses nothing.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from typing import Any, Final

import structlog

from tapeline import flow
from tapeline.calls.activeflows import Activeflow, bounded
from tapeline.calls.alarm import Alarm
from tapeline.calls.equipment import Equipment
from tapeline.calls.placing import compiled, place_each
from tapeline.calls.recorder import recording_name
from tapeline.calls.script import MAX_DOCUMENT_BYTES, scripted
from tapeline.calls.views import RecordingView
from tapeline.core.errors import TapelineError, Unavailable
from tapeline.core.happening import Happening
from tapeline.core.ids import ZERO_ID
from tapeline.store import ActiveflowRow, Database

__all__ = ["Errand", "Errands"]

log = structlog.get_logger(__name__)

_IDS: Final = uuid.UUID("6b1d6b44-90b5-4d0c-b3a3-6f9f6e7f4c55")
MOST_COMPLETED = 5  # flows one after another by `on_complete_flow_id`
MOST = 200  # runs at once; more wait


class Errands:
    """All of this node. Of one event loop."""

    def __init__(self, database: Database, equipment: Equipment) -> None:
        self._database = database
        self._kit = equipment
        self._room = asyncio.Semaphore(MOST)
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def tasks(self) -> frozenset[asyncio.Task[None]]:
        """Of the runs under way."""
        return frozenset(self._tasks)

    async def close(self) -> None:
        """What has not ended is left to the next start."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def start(self, row: ActiveflowRow) -> ActiveflowRow:
        """Run `row.document` with `row.variables`, once for each id; returns when that is certain, not when it is done.

        Raises InvalidInput where the document cannot run, Unavailable where the row cannot be written.
        """
        program = await self._kit.thread(compiled, row.document)
        following = row.on_complete_flow_id or program.on_complete_flow_id
        row = replace(row, node=self._kit.node, status="running", on_complete_flow_id=following)
        if await self._database.activeflows.begin(row):
            self._kit.happened("activeflow_created", row.account, row.id, row)
            self._begin(program, row)
        return row

    async def restore(self) -> int:
        """Begin again what an earlier run of this server left unfinished; what was on a call has ended with it. How many run again."""
        count = 0
        for row in await self._database.activeflows.unfinished(self._kit.node):
            now = self._kit.clock.wall()
            try:
                program = await self._kit.thread(compiled, row.document) if row.document else None
            except TapelineError as error:
                log.error("a run cannot begin again", activeflow_id=row.id, error=str(error))
                program = None
            if program is None:
                self._kit.runs.changed(replace(row, status="ended", ended=now, updated=now), "activeflow_updated")
            else:
                log.warning("a run that a crash cut off begins again", activeflow_id=row.id)
                self._begin(program, row)
                count += 1
        return count

    def __call__(self, happening: Happening) -> Coroutine[Any, Any, None] | None:
        """A listener: after a recording its `on_end_flow_id` runs, once its file can be had; after a run its `on_complete_flow_id`."""
        view = happening.data
        if happening.kind == "activeflow_ended" and isinstance(view, ActiveflowRow):
            return self._completed(view)
        if happening.kind != "recording_finished" or not isinstance(view, RecordingView) or view.on_end_flow_id in ("", ZERO_ID):
            return None
        return self._after(view)

    async def _after(self, view: RecordingView) -> None:
        """Raises Unavailable: then it is told again."""
        run_id = str(uuid.uuid5(_IDS, view.id))
        if await self._database.activeflows.get(run_id) is not None:
            return
        before = await self._database.activeflows.get(view.activeflow_id) if view.activeflow_id else None
        live = self._kit.runs.get(view.activeflow_id)
        inherited = live.row.variables if live is not None else before.variables if before is not None else {}
        own = {
            "tapeline.recording.id": view.id,
            "tapeline.recording.reference_type": view.reference,
            "tapeline.recording.reference_id": view.call_id,
            "tapeline.recording.format": view.format,
            "tapeline.recording.recording_name": recording_name(view.reference, view.call_id, view.created),
            "tapeline.recording.filenames": f"{view.id}.{view.format}",
            "tapeline.activeflow.id": run_id,
            "tapeline.activeflow.reference_type": "",
            "tapeline.activeflow.reference_id": ZERO_ID,
            "tapeline.activeflow.reference_activeflow_id": view.activeflow_id,
            "tapeline.activeflow.flow_id": view.on_end_flow_id,
        }
        row = ActiveflowRow(
            run_id, view.account, "running", self._kit.clock.wall(), view.on_end_flow_id,
            reference_activeflow_id=view.activeflow_id, variables=bounded({**own, **inherited, **own}),
        )  # fmt: skip
        try:
            document = await self._kit.load_flow(view.on_end_flow_id, view.account)
            await self.start(replace(row, document=document))
        except Unavailable:
            raise
        except TapelineError as error:
            log.error("the flow after a recording cannot run", recording_id=view.id, flow_id=view.on_end_flow_id, error=str(error))

    async def _completed(self, before: ActiveflowRow) -> None:
        """A run has ended, and names a flow that comes next: that one runs once, with its variables. Raises Unavailable: then it is told
        again."""
        count = before.variables.get("tapeline.activeflow.complete_count", "")
        done = int(count) if count.isascii() and count.isdigit() else 0
        if done >= MOST_COMPLETED:
            log.warning("a chain of flows ends: it is too long", activeflow_id=before.id, flow_id=before.on_complete_flow_id)
            return
        run_id = str(uuid.uuid5(_IDS, "after " + before.id))
        if await self._database.activeflows.get(run_id) is not None:
            return
        own = {
            "tapeline.activeflow.id": run_id,
            "tapeline.activeflow.reference_type": "",
            "tapeline.activeflow.reference_id": ZERO_ID,
            "tapeline.activeflow.reference_activeflow_id": before.id,
            "tapeline.activeflow.flow_id": before.on_complete_flow_id,
            "tapeline.activeflow.complete_count": str(done + 1),
        }
        row = ActiveflowRow(
            run_id, before.account, "running", self._kit.clock.wall(), before.on_complete_flow_id,
            reference_activeflow_id=before.id, variables=bounded({**own, **before.variables, **own}),
        )  # fmt: skip
        try:
            document = await self._kit.load_flow(before.on_complete_flow_id, before.account)
            await self.start(replace(row, document=document))
        except Unavailable:
            raise
        except TapelineError as error:
            log.error("the flow after another cannot run", activeflow_id=before.id, flow_id=before.on_complete_flow_id, error=str(error))

    def _begin(self, program: flow.Program, row: ActiveflowRow) -> None:
        task = asyncio.get_running_loop().create_task(self._run(Errand(program, row, self._kit)))
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a run of a flow failed", error=repr(error), exc_info=error)

    async def _run(self, errand: Errand) -> None:
        async with self._room:
            await errand.run()


class Errand:
    """One run."""

    def __init__(self, program: flow.Program, row: ActiveflowRow, equipment: Equipment) -> None:
        self._kit = equipment
        self._account = row.account
        variables = flow.Variables(row.variables)
        self._run = flow.Run(program, variables, compile=flow.compile, wall=equipment.clock.wall, status="progressing")
        self._alarm = Alarm(equipment.clock, lambda: self._perform(self._run.tick(self._now())))
        self._over = asyncio.Event()
        self._work: set[asyncio.Task[None]] = set()  # requests and calls that it has asked for
        self._activeflow: Activeflow = equipment.runs.begin(row, self._stop, known=True)

    async def run(self) -> None:
        """Run it to its end, and until all that it asked for has been done."""
        if not self._run.finished:  # stopped before its turn came
            self._perform(self._run.start(self._now()))
        await self._over.wait()
        if self._work:
            await asyncio.wait(self._work)
        self._activeflow.end(self._run.variables.as_dict())

    def _stop(self) -> None:
        self._tell(flow.HungUp("normal", "local"))

    def _now(self) -> float:
        return self._kit.clock.now()

    def _tell(self, event: flow.Event) -> None:
        self._perform(self._run.handle(event, self._now()))

    def _perform(self, commands: list[flow.Command]) -> None:
        for command in commands:
            deed = self._deeds.get(type(command), Errand._passed_over)
            deed(self, command)
        self._activeflow.stepped((step.action for step in self._run.take_trail()), self._run.variables.as_dict())
        self._alarm.set(None if self._run.finished else self._run.next_deadline())
        if self._run.finished:
            self._over.set()

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._kit.spawn(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)

    def _request(self, command: flow.Fetch | flow.Send) -> None:
        self._do(self._requested(command))

    async def _requested(self, command: flow.Fetch | flow.Send) -> None:
        headers = [("Content-Type", command.content_type)] if command.body or isinstance(command, flow.Send) else []
        timeout_s = command.timeout_s if isinstance(command, flow.Fetch) else 10.0
        status, body, failure = 0, b"", ""
        try:
            response = await self._kit.http.request(
                command.method, command.url, body=command.body, headers=headers, timeout_s=timeout_s, max_bytes=MAX_DOCUMENT_BYTES
            )
            status, body = response.status, response.body
        except TapelineError as error:
            failure = str(error)
            log.warning("a request of a flow failed", activeflow_id=self._activeflow.row.id, url=command.url, error=failure)
        if command.token is not None:
            self._tell(flow.Fetched(command.token, status, body, failure))

    def _load(self, command: flow.LoadFlow) -> None:
        self._do(self._loaded(command))

    async def _loaded(self, command: flow.LoadFlow) -> None:
        document: Any = None
        failure = ""
        try:
            document = await self._kit.load_flow(command.flow_id, self._account)
        except TapelineError as error:
            failure = str(error)
        self._tell(flow.FlowLoaded(command.token, document, failure))

    def _place(self, command: flow.PlaceCall) -> None:
        self._do(self._placed(command))

    async def _placed(self, command: flow.PlaceCall) -> None:
        await place_each(command, self._kit, self._account, scripted, activeflow_id=self._activeflow.row.id)

    def _log(self, command: flow.Log) -> None:
        getattr(log, command.level)(command.message, activeflow_id=self._activeflow.row.id, **command.fields)

    def _passed_over(self, command: Any) -> None:
        """What needs a call. The flow goes on with the next step."""
        token = getattr(command, "token", None)
        if token is not None and not isinstance(command, flow.StopPlay):
            asyncio.get_running_loop().call_soon(self._tell, flow.Unsupported(token))

    _deeds: Mapping[type, Callable[[Errand, Any], None]] = {
        flow.Fetch: _request,
        flow.Send: _request,
        flow.LoadFlow: _load,
        flow.PlaceCall: _place,
        flow.Log: _log,
    }
