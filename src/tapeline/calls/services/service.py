"""The one service that every face uses: calls and recordings, live and past, with the rules on who may do what.

Live ones are told from memory, past ones from the rows; where both know a recording, the one whose state is further on is
right, since states only move forward.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import structlog

from tapeline.calls.equipment import Equipment
from tapeline.calls.errors import call_not_found, recording_not_found
from tapeline.calls.recorder import Recorder
from tapeline.calls.rows import call_view, recording_view, with_notes
from tapeline.calls.services.activeflows import ActiveflowService
from tapeline.calls.services.archive import Archive
from tapeline.calls.services.callflows import Callflows, Documents
from tapeline.calls.services.calls import CallService
from tapeline.calls.services.conferences import ConferenceService
from tapeline.calls.services.deliveries import Deliveries
from tapeline.calls.services.exports import Exports
from tapeline.calls.services.flows import FlowService
from tapeline.calls.services.sight import present, seen, within
from tapeline.calls.switch import Switch
from tapeline.calls.views import Address, CallView, Page, RecordingFile, RecordingView
from tapeline.calls.vonage.voice import Voice
from tapeline.core.errors import InvalidState, NotFound
from tapeline.core.principal import Principal
from tapeline.core.recordspec import MaskMode, RecordSpec
from tapeline.flow import Party
from tapeline.recording.table import order
from tapeline.store import Database, Search
from tapeline.store.objects import ObjectStore

__all__ = ["Service"]

log = structlog.get_logger(__name__)


class Service:
    def __init__(
        self, switch: Switch, database: Database, objects: ObjectStore, equipment: Equipment, refresh: Callable[[], Awaitable[None]]
    ) -> None:
        """`refresh` takes up stored callflows and documents that changed."""
        self._switch = switch
        self._database = database
        self._objects = objects
        self._kit = equipment
        self.telephony = CallService(switch, self._call_view, equipment)
        self.conferences = ConferenceService(equipment.conferences, database, equipment)
        self.flows = FlowService(database, equipment)
        self.archive = Archive(database, objects, equipment)
        self.exports = Exports(database, objects, equipment)
        self.deliveries = Deliveries(database, equipment.clock)
        self.voice = Voice(switch, database, equipment)
        self.callflows = Callflows(database, equipment, refresh)
        self.documents = Documents(database, equipment, refresh)
        self._finishing: dict[str, RecordingView] = {}  # complete in the spool, not yet known to be available
        self.accepting = True
        self.activeflows: ActiveflowService  # set by the composition root: it works with what listens to this

    # -- calls ---------------------------------------------------------------------------------------------------------

    async def list_calls(self, principal: Principal, before: float | None, limit: int) -> Page:
        principal.require("calls:read")
        account = None if principal.admin else principal.account
        rows = await self._database.calls.list(account, before=before, limit=limit)
        views = [self._live_call(row.id) or call_view(row) for row in rows]
        return Page(tuple(views), views[-1].created if views else None)

    async def get_call(self, call_id: str, principal: Principal) -> CallView:
        principal.require("calls:read")
        return await self._present_call(call_id, principal)

    async def _present_call(self, call_id: str, principal: Principal) -> CallView:
        """To be seen or deleted: one that was deleted is there no more."""
        view = await self._known_call(call_id, principal)
        if view.deleted is not None:
            raise NotFound("the call has been deleted")
        return view

    async def _call_view(self, call_id: str, principal: Principal) -> CallView:
        """To do something with it."""
        view = await self._known_call(call_id, principal)
        if view.deleted is not None:
            raise InvalidState("the call has been deleted")
        return view

    async def _known_call(self, call_id: str, principal: Principal) -> CallView:
        view = self._live_call(call_id)
        if view is None:
            row = await self._database.calls.get(call_id)
            if row is None:
                raise call_not_found(call_id)
            view = call_view(row)
        return seen(view, principal, "call")

    def _live_call(self, call_id: str) -> CallView | None:
        call = self._switch.call(call_id)
        return call.view() if call is not None else self._switch.ended_view(call_id)

    async def hangup(self, call_id: str, principal: Principal) -> CallView:
        principal.require("calls:write")
        view = await self._call_view(call_id, principal)
        call = self._switch.call(call_id)
        if call is None or call.status == "hangup":
            raise InvalidState("the call has ended already", reason="CALL_ALREADY_HANGUP")
        call.hang_up("normal", f"hung up over the API, was {view.status}")
        return call.view()

    async def delete_call(self, call_id: str, principal: Principal) -> CallView:
        """Hang it up if it is alive, and mark its row deleted."""
        principal.require("calls:write")
        view = await self._present_call(call_id, principal)
        call = self._switch.call(call_id)
        if call is not None:
            call.hang_up("normal", "deleted over the API")
            await call.ended.wait()
            view = call.view()
        await self._kit.writer.drain(5.0)
        deleted = self._kit.clock.wall()
        await self._database.calls.delete(call_id, deleted)
        self._switch.deleted(call_id, deleted)
        view = replace(view, deleted=deleted)
        self._kit.happened("call_deleted", view.account, call_id, view)
        return view

    async def transfer(self, call_id: str, destination: Address, principal: Principal) -> CallView:
        """Connect the call with `destination`, in place of whom it talks with now. Raises InvalidState where it talks with nobody."""
        principal.require("calls:write")
        view = await self._call_view(call_id, principal)
        call = self._switch.call(call_id)
        if call is None:
            raise InvalidState(f"the call is {view.status}, not progressing", reason="CALL_STATE_INVALID")
        self._switch.transfers.start(call, Party(destination.kind, destination.target, destination.name))
        return call.view()

    # -- recording a live call -----------------------------------------------------------------------------------------

    async def start_recording(self, call_id: str, spec: RecordSpec, principal: Principal) -> CallView:
        principal.require("recordings:write")
        view = await self._call_view(call_id, principal)
        call = self._switch.call(call_id)
        if call is None:
            raise InvalidState(f"the call is {view.status}, not progressing", reason="CALL_STATE_INVALID")
        call.start_recording(self._kit.permitted(spec, call.facts.account))
        return call.view()

    async def stop_recording(self, call_id: str, principal: Principal) -> CallView:
        principal.require("recordings:write")
        view = await self._call_view(call_id, principal)
        call = self._switch.call(call_id)
        if call is None:
            raise InvalidState(f"the call is {view.status}, nothing is being recorded", reason="RECORDING_NOT_ACTIVE")
        call.stop_recording()
        return call.view()

    async def mask_recording(self, recording_id: str, mode: MaskMode, principal: Principal) -> RecordingView:
        recorder = await self._active(recording_id, principal)
        recorder.mask(mode)
        return recorder.view()

    async def unmask_recording(self, recording_id: str, principal: Principal) -> RecordingView:
        recorder = await self._active(recording_id, principal)
        recorder.unmask()
        return recorder.view()

    async def _active(self, recording_id: str, principal: Principal) -> Recorder:
        principal.require("recordings:write")
        view = await self._recording_view(recording_id, principal)
        recorder = self._kit.recorders.get(recording_id)
        if recorder is None or not recorder.active:
            raise InvalidState(f"the recording is {view.state}", reason="RECORDING_NOT_ACTIVE")
        return recorder

    # -- recordings ----------------------------------------------------------------------------------------------------

    async def list_recordings(self, principal: Principal, before: float | None, limit: int) -> Page:
        principal.require("recordings:read")
        account = None if principal.admin else principal.account
        rows = await self._database.recordings.list(account, before=before, limit=limit)
        views = [self._further(recording_view(row)) for row in rows]
        return Page(tuple(views), views[-1].created if views else None)

    async def search_recordings(self, wanted: Search, principal: Principal) -> tuple[Sequence[RecordingView], tuple[float, str] | None]:
        """A page of what `wanted` asks for, and where the next begins; None where nothing is left. A page may be short, or empty, before
        that: rows are looked at for a bounded time. Raises Forbidden."""
        principal.require("recordings:read")
        found = await self._database.recordings.page(within(wanted, principal))
        return [self._further(recording_view(row)) for row in found.rows], found.after

    async def get_recording(self, recording_id: str, principal: Principal) -> RecordingView:
        principal.require("recordings:read")
        return await self._recording_view(recording_id, principal)

    async def _recording_view(self, recording_id: str, principal: Principal) -> RecordingView:
        row = await self._database.recordings.get(recording_id)
        if row is not None:
            view = self._further(recording_view(row))
        else:
            live = self._in_memory(recording_id)
            if live is None:
                raise recording_not_found(recording_id)
            view = live
        return present(view, principal, "recording")

    def _in_memory(self, recording_id: str) -> RecordingView | None:
        recorder = self._kit.recorders.get(recording_id)
        return recorder.view() if recorder is not None else self._finishing.get(recording_id)

    def _further(self, stored: RecordingView) -> RecordingView:
        """The stored view or the one in memory, whichever is further on."""
        live = self._in_memory(stored.id)
        if live is not None and order(live.state) >= order(stored.state) and stored.state not in ("available", "failed"):
            return with_notes(live, stored)
        self._finishing.pop(stored.id, None)
        return stored

    async def delete_recording(self, recording_id: str, principal: Principal) -> RecordingView:
        """Remove the audio and leave a tombstone. One that is still being made is refused: stop it first."""
        principal.require("recordings:delete")
        view = await self._recording_view(recording_id, principal)
        if view.state not in ("available", "failed"):
            raise InvalidState(f"the recording is {view.state}", hint="delete it once it is available")
        return replace(view, deleted=await self.archive.remove(recording_id))

    async def recording_file(self, recording_id: str, principal: Principal) -> RecordingFile:
        """The stored file. Raises NotFound before `available`."""
        principal.require("recordings:listen")
        view = await self._recording_view(recording_id, principal)
        row = await self._database.recordings.get(recording_id)
        if row is None or view.state != "available" or not row.object_key:
            raise NotFound(f"the recording is {view.state}; its file comes with the state available", reason="RECORDING_NOT_FOUND")
        key = row.object_key
        found = await self._objects.stat(key)

        def read(start: int, end: int) -> AsyncIterator[bytes]:
            return self._objects.read(key, start, end)

        return RecordingFile(
            size=found.size,
            content_type=row.content_type,
            etag=row.sha256,
            filename=f"{recording_id}.{row.format}",
            modified=view.ended or view.created,
            read=read,
        )

    async def verify_recording(self, recording_id: str, principal: Principal) -> Mapping[str, Any]:
        """Read the stored file whole and compare its checksum with the one taken when it was made."""
        principal.require("recordings:read")
        view = await self._recording_view(recording_id, principal)
        row = await self._database.recordings.get(recording_id)
        if row is None or view.state != "available" or not row.object_key:
            raise InvalidState(f"the recording is {view.state}; only an available one can be verified")
        found = await self._objects.sha256(row.object_key)
        return {"id": recording_id, "ok": found == row.sha256, "sha256": found, "expected": row.sha256}

    # -- finishing -----------------------------------------------------------------------------------------------------

    def finishing(self, view: RecordingView) -> None:
        """A recording is complete in the spool; its rest is the worker's."""
        self._finishing[view.id] = view

    def finished(self, recording_id: str) -> None:
        """The worker says that the row tells everything now."""
        self._finishing.pop(recording_id, None)

    @property
    def unfinished(self) -> int:
        return len(self._finishing)

    # -- how we are ----------------------------------------------------------------------------------------------------

    async def health(self) -> Mapping[str, str]:
        """Each part's name, and `ok` or what is wrong with it."""
        kit = self._kit
        checks = {"calls": "ok" if self.accepting else "draining"}
        try:
            await self._database.check()
            checks["database"] = "ok" if kit.writer.healthy else "rows wait to be written"
        except Exception as error:  # noqa: BLE001 - whatever it is, readiness must say it and not fail itself
            checks["database"] = f"away: {error}"
        wanted = kit.settings.recording.min_free_mb * 1_000_000
        checks["disk"] = "ok" if kit.free_bytes >= wanted else f"{kit.free_bytes // 1_000_000} MB free, below recording.min_free_mb"
        return checks

    def stats(self) -> Mapping[str, float]:
        """Gauges and totals for /metrics."""
        calls = self._switch.calls
        recording = sum(recorder.active for recorder in self._kit.recorders.values())
        engine = self._kit.engine.counters()
        return {
            "calls": len(calls),
            "recordings_active": recording,
            "recordings_finishing": len(self._finishing),
            "rows_waiting": self._kit.writer.pending,
            "disk_free_bytes": self._kit.free_bytes,
            **self._kit.pulse.stats(),
            **self._kit.webhooks.totals,
            **self.conferences.stats(),
            **self._switch.signalling(),
            **{key: float(value) for key, value in (self._switch.totals | self._switch.transfers.totals).items()},
            **{f"rtp_{key}": float(value) for key, value in asdict(engine).items()},
            **{f"rtp_packets_{name}_total": float(count) for name, count in self._kit.engine.traffic().items()},
        }
