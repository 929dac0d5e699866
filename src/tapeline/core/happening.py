"""Something that happened to a call, a recording, a conference or a run of a flow, as it is told to whoever wants to know.

What tells of live things comes straight from them; what must not be lost (a recording's file is there, or never will be, or was removed;
a run has ended that another flow follows) comes out of the rows (`store.outbox`), after a crash too, and may then be told twice. So a
listener that sends something makes the id of what it sends from the happening's own `id`.

Kinds: `call_created call_dialing call_ringing call_progressing call_terminating call_canceling call_hangup call_updated call_deleted`,
`recording_started recording_paused recording_resumed recording_changed recording_finished recording_failed recording_deleted`,
`conference_created conference_updated conference_deleted`, `activeflow_created activeflow_updated activeflow_deleted activeflow_ended`
(the last only of runs that a flow follows), `voicemail_left`, `recording_export_finished`.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

__all__ = ["LASTING", "Happening", "Listener"]

# Told from rows.
LASTING = frozenset({"recording_finished", "recording_failed", "recording_deleted", "recording_export_finished", "activeflow_ended"})


@dataclass(frozen=True, slots=True)
class Happening:
    """`subject` is the id of what it happened to, `data` that thing's view (or a mapping, where it has none) as it was then.

    `id` is the same whenever the same thing is told again. `time` is seconds since 1970 UTC.
    """

    kind: str
    account: str
    subject: str
    time: float
    data: Any
    id: str


Listener = Callable[[Happening], Coroutine[Any, Any, None] | None]
"""Gets each happening on the event loop, in order, and returns at once. What takes time it returns as a coroutine.

A lasting one is told again later where the coroutine raises; what another's raises is logged.
"""
