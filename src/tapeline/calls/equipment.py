"""What every call on this node works with, in one place: clock, engine, spool, prompts, writer, threads.

Made once by the composition root and handed down; nothing here is global.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import structlog

from tapeline.calls.activeflows import Runs
from tapeline.calls.kazoo.stored import Stored
from tapeline.calls.limits import permitted
from tapeline.calls.ports import HttpClient, OpenSocket, Socket
from tapeline.calls.prompts import Prompts
from tapeline.calls.pulse import Pulse
from tapeline.calls.views import RecordingView
from tapeline.calls.vonage.applications import Applications
from tapeline.core.clock import Clock
from tapeline.core.errors import Unavailable
from tapeline.core.happening import Happening, Listener
from tapeline.core.ids import new_id
from tapeline.core.recordspec import RecordSpec
from tapeline.core.settings import Settings
from tapeline.flow import Program
from tapeline.recording.spool import Spool
from tapeline.rtp import Engine, Player
from tapeline.store.writer import WriteBehind

if TYPE_CHECKING:
    from tapeline.calls.conference.loops import Loops
    from tapeline.calls.conference.register import Conferences
    from tapeline.calls.dialer import Dialer
    from tapeline.calls.kazoo.automatic import Automatic
    from tapeline.calls.kazoo.boxes import Boxes
    from tapeline.calls.kazoo.metaflows import Metaflows
    from tapeline.calls.kazoo.parking import Parking
    from tapeline.calls.recorder import Recorder
    from tapeline.calls.session import Call
    from tapeline.calls.sockets import Sockets
    from tapeline.calls.vonage.webhooks import Webhooks

__all__ = ["Equipment"]

log = structlog.get_logger(__name__)

P = ParamSpec("P")
T = TypeVar("T")


async def no_change(account: str, kind: str, name: str, how: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> Any:
    """What changes documents where nothing else was given."""
    raise Unavailable("documents cannot be changed here")


async def no_sockets(uri: str, headers: Sequence[tuple[str, str]], timeout_s: float) -> Socket:
    """What opens websockets where nothing else was given."""
    raise Unavailable("websockets cannot be opened here")


@dataclass(slots=True)
class Equipment:
    settings: Settings
    clock: Clock
    engine: Engine
    spool: Spool
    prompts: Prompts
    writer: WriteBehind
    http: HttpClient
    pool: Executor
    node: str
    finished: Callable[[RecordingView], None]  # a recording's file is complete in the spool
    load_flow: Callable[[str, str], Awaitable[str]]  # a stored flow's document, by its id and the account; raises NotFound
    open_socket: OpenSocket = no_sockets
    change_document: Callable[..., Awaitable[Any]] = no_change  # of an account, as `no_change` is called; set by the composition root
    applications: Applications = field(default_factory=Applications)
    pulse: Pulse = field(default_factory=Pulse)  # of the event loop
    free_bytes: int = 1 << 62  # where the spool is; looked up once a second
    stored: Stored = field(default_factory=Stored)  # callflows and documents given over the API
    recorders: dict[str, Recorder] = field(default_factory=dict)  # of the calls that are up, by the recording's id
    taps: dict[int, Recorder] = field(default_factory=dict)  # by the tap's id
    players: dict[int, Callable[[bool], None]] = field(default_factory=dict)  # by the player's id: told whether it was stopped
    metaflows: Metaflows = field(init=False)  # set by the switch
    pressed: Callable[[Call, str], None] = field(default=lambda call, digit: None)  # told of each key of a call's party
    automatic: Automatic = field(init=False)  # set by the composition root, as are the conferences
    conferences: Conferences = field(init=False)  # set by the composition root: they work with this themselves
    webhooks: Webhooks = field(init=False)
    boxes: Boxes = field(init=False)  # set by the composition root
    parking: Parking = field(init=False)  # set by the switch, too
    dialer: Dialer = field(init=False)  # set by the switch, which the calls it places are known to
    sockets: Sockets = field(init=False)  # likewise
    loops: Loops = field(init=False)  # likewise
    program_of: Callable[[str, str], Program | None] = field(default=lambda number, account: None)  # of a number of ours; set by the switch
    reason_of: Callable[[str, str], str] = field(default=lambda call_id, account: "")  # how a call of an account ended; set by the switch
    conversation: Callable[[str], Call | None] = field(default=lambda activeflow_id: None)  # who is up in it; set by the switch
    runs: Runs = field(init=False)  # of flows
    to_tell: Callable[[], None] = field(default=lambda: None)  # called when something was put into the outbox; set by the composition root
    listeners: list[Listener] = field(default_factory=list)  # who is told of what happens
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.runs = Runs(self)

    def permitted(self, spec: RecordSpec, account: str) -> RecordSpec:
        """The specification within the limits of settings and account. Raises InvalidState where the recording would be kept nowhere."""
        return permitted(spec, self.settings.recording, self.stored.document(account, "storage", account))

    def happened(self, kind: str, account: str, subject: str, data: Any) -> None:
        """Tell all listeners of something that happened just now to `subject`; `data` is its view. Never raises, never waits."""
        happening = Happening(kind, account, subject, self.clock.wall(), data, new_id())
        for work in self.tell(happening):
            self.spawn(work)

    def tell(self, happening: Happening) -> list[Coroutine[Any, Any, None]]:
        """Tell all listeners; what they still have to do for it, to be run or awaited by the caller."""
        work: list[Coroutine[Any, Any, None]] = []
        for listener in self.listeners:
            try:
                more = listener(happening)
            except Exception as error:  # a defect in who listens must not end a call
                log.exception("a listener broke", kind=happening.kind, error=repr(error))
            else:
                if more is not None:
                    work.append(more)
        return work

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run `work` on the loop; it is kept until it ends, and what it raises is logged, never lost."""
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a task of a call failed", error=repr(error), exc_info=error)

    async def thread(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run blocking `work` in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self.pool, lambda: work(*args, **kwargs))

    def on_player_ended(self, player: Player, stopped: bool) -> None:
        told = self.players.pop(player.id, None)
        if told is not None:
            told(stopped)
