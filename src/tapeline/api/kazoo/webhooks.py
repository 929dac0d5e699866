"""KAZOO's object webhooks: an account's addresses are told when a recording or a voicemail message was made, noted upon, or deleted.

    happening -> one row of `deliveries` for each webhook that wants it -> the worker sends it

A webhook is a document of kind `webhook` (see `kazoo.hooks`): `uri`, `http_verb`, `format`, and in `custom_data` which `type` and `action`.
What is sent has `id`, `account_id`, `action` and `type`, and the webhook's other `custom_data`. Which happening it was and which webhook
make the row's id, so one that is told twice is sent once.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlencode

from tapeline.api.bodies import finite
from tapeline.api.kazoo.recordings import document_id
from tapeline.calls.views import RecordingView
from tapeline.core.happening import LASTING, Happening
from tapeline.core.kazoo import hex_id
from tapeline.delivery.policies import KAZOO_RETRIES
from tapeline.store import DeliveryRow, DocumentRow

__all__ = ["ACTIONS", "KIND", "TYPES", "KazooWebhooks", "message"]

KIND: Final = "webhook"
ACTIONS: Final = ("doc_created", "doc_edited", "doc_deleted")
TYPES: Final = ("call_recording", "mailbox_message")
_TOLD: Final[Mapping[str, tuple[str, str]]] = {  # kind of happening -> action, type
    "recording_finished": ("doc_created", "call_recording"),
    "recording_changed": ("doc_edited", "call_recording"),
    "recording_deleted": ("doc_deleted", "call_recording"),
    "voicemail_left": ("doc_created", "mailbox_message"),
}
_IDS: Final = uuid.UUID("6d1f3c0a-8d3e-4b0f-9a76-0f4f5b1f6a2e")
WAIT_FOR_WORKER_S = 3 * 86400.0


class KazooWebhooks:
    """A listener. `put` writes a row behind; `add` does so at once, and raises where that fails."""

    def __init__(self, node: str, put: Callable[[DeliveryRow], None], add: Callable[..., Awaitable[None]]) -> None:
        self._node = node
        self._put = put
        self._add = add
        self._hooks: dict[str, DocumentRow] = {}  # by the document's id

    def take(self, documents: Iterable[DocumentRow]) -> None:
        """These have changed."""
        for document in documents:
            if document.kind == KIND and document.deleted is None:
                self._hooks[document.id] = document
            else:
                self._hooks.pop(document.id, None)

    def __call__(self, happening: Happening) -> Coroutine[Any, Any, None] | None:
        if happening.kind not in _TOLD or not any(hook.account == happening.account for hook in self._hooks.values()):
            return None
        rows = [row for hook in self._hooks.values() if (row := self._row(hook, happening)) is not None]
        if happening.kind in LASTING or happening.kind == "voicemail_left":
            return self._written(rows) if rows else None
        for row in rows:
            self._put(row)
        return None

    async def _written(self, rows: Sequence[DeliveryRow]) -> None:
        await self._add(*rows)

    def _row(self, hook: DocumentRow, happening: Happening) -> DeliveryRow | None:
        action, kind = _TOLD[happening.kind]
        if isinstance(happening.data, RecordingView) and happening.data.origin == "voicemail":
            kind = "mailbox_message"
            if happening.kind == "recording_finished":
                return None  # `voicemail_left` tells of it
        body, wanted = hook.body, hook.body.get("custom_data") or {}
        asked = wanted.get("action", "all") in ("all", action) and wanted.get("type", "all") in ("all", kind)
        if hook.account != happening.account or not asked or body.get("enabled") in (False, "false"):
            return None
        told = message(happening, action, kind, wanted)
        verb = str(body.get("http_verb", "post")).upper()
        form = urlencode(told)
        as_json = body.get("format") == "json"
        url, asked_for = str(body["uri"]), finite(body.get("retries"))
        retries = min(max(int(asked_for), 0), KAZOO_RETRIES) if asked_for is not None else 2
        return DeliveryRow(
            id=str(uuid.uuid5(_IDS, f"{happening.id} {happening.kind} {hook.id}")),
            account=happening.account,
            kind="webhook",
            ref=happening.subject,
            url=url if verb != "GET" else f"{url}{'&' if '?' in url else '?'}{form}",
            created=happening.time,
            until=time.time() + WAIT_FOR_WORKER_S,
            method=verb,
            body="" if verb == "GET" else json.dumps(told) if as_json else form,
            content_type="application/json" if as_json else "application/x-www-form-urlencoded",
            policy=f"kazoo-{retries}",
            node=self._node,
        )


def message(happening: Happening, action: str, kind: str, custom: Mapping[str, Any]) -> dict[str, Any]:
    """What is sent. Custom data does not replace what it says of the object."""
    data = happening.data
    subject = document_id(data) if isinstance(data, RecordingView) else hex_id(happening.subject)
    own = {name: value for name, value in custom.items() if isinstance(value, str | int | float | bool)}
    return {**own, "id": subject, "account_id": hex_id(happening.account), "action": action, "type": kind}
