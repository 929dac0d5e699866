"""Messages left in boxes: a message is a recording with the origin `voicemail`, and this tells of it once its file is there.

It is told out of `recording_finished`, which comes from the rows and so after a crash too. Told twice, it has the same id.
"""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid5

from tapeline.calls.equipment import Equipment
from tapeline.calls.views import RecordingView
from tapeline.core.happening import Happening

__all__ = ["ORIGIN", "message_left"]

ORIGIN = "voicemail"
_SPACE = UUID("0c9fe7a8-9c8e-5f0b-8d4b-6a3f0f2c7d11")


def message_left(kit: Equipment, happening: Happening) -> Coroutine[Any, Any, None] | None:
    """A listener: where a message's file is there, tell all of `voicemail_left`. Raises what a listener of that raises."""
    view = happening.data
    if happening.kind != "recording_finished" or not isinstance(view, RecordingView) or view.origin != ORIGIN:
        return None
    work = kit.tell(replace(happening, kind="voicemail_left", id=str(uuid5(_SPACE, happening.id))))
    return _all(work) if work else None


async def _all(work: list[Coroutine[Any, Any, None]]) -> None:
    for each in work:
        await each
