"""What a server that stopped without a word left behind, taken up by the next start, before there are calls: recordings are completed or
told to have failed, calls that were up are marked ended."""

from __future__ import annotations

from dataclasses import replace

import structlog

from tapeline.calls.changes import tell
from tapeline.calls.equipment import Equipment
from tapeline.calls.rows import call_view, recovered_row
from tapeline.core.errors import TapelineError
from tapeline.recording.errors import UnknownRecording
from tapeline.recording.manifest import Manifest
from tapeline.store import Database

__all__ = ["recover"]

log = structlog.get_logger(__name__)

WRITTEN_S = 5.0


async def recover(database: Database, kit: Equipment) -> int:
    """How many recordings were cut off. When this returns, the rows tell of them, where the database lets them."""
    manifests = await kit.thread(kit.spool.recover, kit.clock.wall())
    for manifest in manifests:
        log.warning("recording recovered", recording_id=manifest.id, seconds=round(manifest.frames / manifest.rate, 2))
        kit.writer.put(recovered_row(manifest))
    if "media" in kit.settings.server.roles:
        await _left_open(database, kit, {manifest.id for manifest in manifests})
    now = kit.clock.wall()
    for call in await database.calls.unfinished(kit.node):
        ended = replace(call, status="hangup", hungup=now, updated=now, recording_id="", hangup_by="local", hangup_reason="failed")
        ended = replace(ended, hangup_cause="the server stopped while the call was up")
        kit.writer.put(ended)
        tell(kit, "call", call_view(ended), call_view(call))
    # Nobody shall be told of an older state by a row than was told from memory before.
    await kit.writer.drain(WRITTEN_S)
    return len(manifests)


async def _left_open(database: Database, kit: Equipment, known: set[str]) -> None:
    """Rows of recordings that go on nowhere: what is complete in the spool waits for the worker; what never began has failed."""

    def read(recording_id: str) -> Manifest | None:
        try:
            return kit.spool.read(recording_id)
        except UnknownRecording:
            return None

    now = kit.clock.wall()
    for row in await database.recordings.unfinished(kit.node):
        if row.id in known:
            continue
        try:
            manifest = await kit.thread(read, row.id)
        except (OSError, TapelineError) as error:
            log.error("a recording in the spool cannot be read", recording_id=row.id, error=str(error))
            continue
        if manifest is not None:
            kit.writer.put(recovered_row(manifest))
        elif row.started is None:
            log.warning("a recording never began: the server stopped before", recording_id=row.id)
            kit.writer.put(replace(row, state="failed", reason="crash", ended=now, updated=now))
        else:
            log.error("a recording that had begun is not in the spool", recording_id=row.id)
