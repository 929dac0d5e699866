"""VoIPBIN's webhooks: what happens to an account's calls, recordings, conferences and runs of flows, sent to the address it has named.

    happening -> one row of `deliveries` for each address -> the worker sends it, signed, three times at most

The body is `{"type", "data"}`, and `data` is what REST shows of the thing. Which happening it was and which address make the row's id, so
one that is told twice is sent once. The account's address gets everything; one that a run of a flow brought along gets, besides, what
belongs to that run. Nothing is sent from here, and nobody waits.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import partial
from typing import Any, Final, Protocol

from tapeline.api.voipbin import activeflow_shapes, shapes
from tapeline.api.voipbin.states import RecordingShaper
from tapeline.calls.views import CallView, ConferenceView, RecordingView
from tapeline.core.errors import Unavailable
from tapeline.core.happening import LASTING, Happening
from tapeline.store import Account, ActiveflowRow, DeliveryRow

__all__ = ["METHODS", "SENT", "Target", "VoipbinWebhooks", "message", "shaped"]

log = logging.getLogger(__name__)

METHODS: Final = ("POST", "GET", "PUT", "DELETE")
SENT: Final = frozenset({
    "call_created", "call_dialing", "call_ringing", "call_progressing", "call_terminating", "call_canceling", "call_hangup", "call_updated",
    "call_deleted", "recording_started", "recording_finished", "recording_failed", "recording_deleted", "recording_export_finished",
    "conference_created", "conference_updated", "conference_deleted", "activeflow_created", "activeflow_updated", "activeflow_deleted",
})  # fmt: skip
REMEMBER_S = 2.0  # how long an account's address is believed, which another process may change
MOST_KNOWN = 1000
PAUSES_S: Final = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)  # between looks for the address of an account that is not known yet
WAIT_FOR_WORKER_S = 3 * 86400.0
_IDS: Final = uuid.UUID("b3f4a4f6-52c6-4f0b-8f2f-7f3f0f3a9b11")

Target = tuple[str, str]  # address and method


class Accounts(Protocol):
    @property
    def changes(self) -> int:
        """How often this process has changed one."""

    async def get(self, account_id: str) -> Account | None: ...


class VoipbinWebhooks:
    """A listener. `put` writes a row behind; `add` does so at once, and raises where that fails. `target_of` gives the address that a run
    of a flow brought along, or None."""

    def __init__(
        self,
        accounts: Accounts,
        node: str,
        put: Callable[[DeliveryRow], None],
        add: Callable[..., Awaitable[None]],
        target_of: Callable[[str], Awaitable[Target | None]],
        recording: RecordingShaper = shapes.recording,
    ) -> None:
        self._accounts = accounts
        self._node = node
        self._put = put
        self._add = add
        self._target_of = target_of
        self._recording = recording
        self._known: dict[str, tuple[float, Account | None]] = {}
        self._asked: dict[str, asyncio.Task[Account | None]] = {}  # looks under way: who comes meanwhile waits for the same
        self._changes = accounts.changes

    def __call__(self, happening: Happening) -> Coroutine[Any, Any, None] | None:
        return self._notify(happening) if happening.kind in SENT else None

    async def _notify(self, happening: Happening) -> None:
        """Raises Unavailable for what lasts, which is then told again; anything else waits here for a database that is away."""
        for pause in PAUSES_S if happening.kind not in LASTING else ():
            try:
                await self._send(happening)
                return
            except Unavailable as error:
                log.warning("a webhook waits for the database: %s", error, extra={"kind": happening.kind, "subject": happening.subject})
                await asyncio.sleep(pause)
        await self._send(happening)

    async def _send(self, happening: Happening) -> None:
        targets = await self._targets(happening)
        if not targets:
            return
        body = message(happening, self._recording)
        rows = [self._row(happening, body, url, method) for url, method in targets]
        if happening.kind in LASTING:
            await self._add(*rows)
        else:
            for row in rows:
                self._put(row)

    async def _targets(self, happening: Happening) -> list[Target]:
        """Each address once, with its method."""
        found: dict[str, str] = {}
        account = await self._account(happening.account)
        if account is not None and account.webhook_uri:
            found[account.webhook_uri] = account.webhook_method or "POST"
        run = happening.subject if isinstance(happening.data, ActiveflowRow) else getattr(happening.data, "activeflow_id", "")
        target = await self._target_of(run) if run else None
        if target is not None and target[0]:
            found.setdefault(target[0], target[1] or "POST")
        return list(found.items())

    async def _account(self, account_id: str) -> Account | None:
        now = time.monotonic()
        if self._changes != self._accounts.changes:
            self._known.clear()
            self._asked.clear()
            self._changes = self._accounts.changes
        known = self._known.get(account_id)
        if known is not None and now <= known[0]:
            return known[1]
        look = self._asked.get(account_id)
        if look is None:
            look = self._asked[account_id] = asyncio.create_task(self._accounts.get(account_id))
            look.add_done_callback(partial(self._looked, account_id))
        try:
            return await asyncio.shield(look)  # whose wait is given up does not end that of the others
        except Unavailable:
            if known is None:
                raise
            return known[1]

    def _looked(self, account_id: str, look: asyncio.Task[Account | None]) -> None:
        failed = look.cancelled() or look.exception() is not None
        if self._asked.get(account_id) is not look:
            return  # the account was changed since
        del self._asked[account_id]
        if not failed:
            if len(self._known) > MOST_KNOWN:
                self._known.clear()
            self._known[account_id] = time.monotonic() + REMEMBER_S, look.result()

    def _row(self, happening: Happening, body: str, url: str, method: str) -> DeliveryRow:
        return DeliveryRow(
            id=str(uuid.uuid5(_IDS, f"{happening.id} {url}")),
            account=happening.account,
            kind="webhook",
            ref=happening.subject,
            url=url,
            created=happening.time,
            until=time.time() + WAIT_FOR_WORKER_S,
            method=method,
            body=body,
            content_type="application/json",
            policy="voipbin",
            node=self._node,
            signing=f"voipbin:{happening.account}",
        )


def message(happening: Happening, recording: RecordingShaper) -> str:
    """The envelope."""
    return json.dumps({"type": happening.kind, "data": shaped(happening.data, recording)}, ensure_ascii=False, separators=(",", ":"))


def shaped(data: Any, recording: RecordingShaper = shapes.recording) -> Mapping[str, Any]:
    """What REST shows of it; a mapping is that already."""
    match data:
        case CallView():
            return shapes.call(data)
        case RecordingView():
            return recording(data)
        case ConferenceView():
            return shapes.conference(data)
        case ActiveflowRow():
            return activeflow_shapes.activeflow(data)
        case Mapping():
            return data
    raise TypeError(f"nothing is sent of a {type(data).__name__}")
