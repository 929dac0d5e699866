"""States of recordings only move forward, and each comes to its end, whatever comes in whatever order: requests, hang-ups, keys, a server
or a worker that dies at any step, rows and news that come late, twice, or never.

Real calls, service, write-behind, database, spool and finisher; signalling is played and time is the engine's. A crash takes a picture of
the disk at that moment and starts anew on it, as `tapeline serve` does.
"""

from __future__ import annotations

import asyncio
import itertools
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import update
from talking_calls import ACCOUNT, Exchange

from tapeline.calls.drain import Drain
from tapeline.calls.recovery import recover
from tapeline.calls.services.service import Service
from tapeline.calls.session import Call
from tapeline.calls.views import CallView, RecordingView
from tapeline.core.errors import InvalidState, NotFound
from tapeline.core.happening import Happening
from tapeline.core.principal import ALL_SCOPES, Principal
from tapeline.core.recordspec import RecordSpec
from tapeline.delivery.finish import STAGES, Finisher
from tapeline.delivery.retain import Sweeper
from tapeline.recording.table import order
from tapeline.rtp import Digit, Event, TapEnded
from tapeline.store import Database, ObjectStore, RecordingRow, Search, tables
from tapeline.store.writer import WriteBehind

MINE = Principal(ACCOUNT, ALL_SCOPES - {"admin"})
SPECS = (RecordSpec(), RecordSpec(max_s=0.5), RecordSpec(end_keys=frozenset("#")), RecordSpec(begin="bridge"), RecordSpec(min_s=0.4))
T = TypeVar("T")
GONE = 4  # after the last state
DAY_S = 86400.0
RANKS = {"recording_started": 1, "recording_finished": 3, "recording_failed": 3, "recording_deleted": GONE}


class Rows(WriteBehind):
    """Writes when it is told to, and remembers what it was given."""

    def __init__(self, database: Database, given: list[RecordingRow]) -> None:
        super().__init__(database)
        self.given = given

    def put(self, row: Any) -> None:
        super().put(row)
        if isinstance(row, RecordingRow):
            self.given.append(row)

    async def drain(self, timeout: float) -> bool:
        batch, self._rows = self._rows, {}
        await self._write(list(batch.values()))
        return True


class Media(Exchange):
    """One life of the process that has the calls."""

    def __init__(self, folder: Path, database: Database, objects: ObjectStore, given: list[RecordingRow], wall: float) -> None:
        super().__init__(folder)
        self.alive = True
        self.ends: list[tuple[Any, TapEnded]] = []
        self.past: dict[str, CallView] = {}
        kit = self.kit
        begun = self.engine.now()
        ticks = itertools.count()  # no two readings of a real clock are the same
        kit.clock = SimpleNamespace(  # type: ignore[assignment]
            now=self.engine.now, wall=lambda: wall + self.engine.now() - begun + next(ticks) * 1e-6
        )
        kit.writer = Rows(database, given)
        self.switch = SimpleNamespace(call=self._found, ended_view=self.past.get)
        kit.conferences = SimpleNamespace()  # type: ignore[assignment]

        async def refresh() -> None:
            pass

        self.service = Service(self.switch, database, objects, kit, refresh)  # type: ignore[arg-type]
        kit.finished = self.service.finishing

    def _found(self, call_id: str) -> Call | None:
        return next((call for call in self.calls if call.facts.id == call_id and not call.ended.is_set()), None)

    def _deliver(self, event: Event) -> None:
        if not self.alive:
            return
        if isinstance(event, TapEnded) and event.tap.id in self.kit.taps:
            self.ends.append((self.kit.taps[event.tap.id], event))
        super()._deliver(event)
        self.past.update({call.facts.id: call.view() for call in self.calls if call.ended.is_set()})

    async def die(self) -> None:
        self.alive = False
        for task in set(self.kit.tasks):
            task.cancel()
        self.engine.stop()
        await self.settle()


class House:
    """The disk and the database, which outlive the processes; what was seen of each recording."""

    def __init__(self, root: Path, database: Database) -> None:
        self.root, self.database = root, database
        self.objects = ObjectStore(str(root / "objects"))
        self.given: list[RecordingRow] = []
        self.news: list[Mapping[str, Any]] = []
        self.lives = 0
        self.seen: dict[str, list[str]] = {}
        self.final: dict[str, RecordingView] = {}
        self.told: dict[str, list[str]] = {}
        self.ids: dict[str, tuple[str, ...]] = {}  # of the recordings of each call
        self.stage: dict[str, int] = {}  # how many stages of finishing are behind each
        self.wall = 1_700_000_000.0

    async def begin(self) -> None:
        self.lives += 1
        self.media = Media(self.root / f"spool{self.lives}", self.database, self.objects, self.given, self.wall)
        self.kit, self.service = self.media.kit, self.media.service
        self.kit.listeners.append(self.hear)
        self.drain = Drain(self.database, self.kit)
        self.finisher = Finisher(self.kit.spool, self.database, self.objects, self.news.append, wall=self.kit.clock.wall)
        await recover(self.database, self.kit)

    async def crash(self) -> None:
        """The disk as it is at this moment is what the next life finds."""
        await self.media.settle()
        self.wall = self.kit.clock.wall() + 1.0
        shutil.copytree(self.root / f"spool{self.lives}", self.root / f"spool{self.lives + 1}")
        await self.media.die()
        await self.begin()

    def hear(self, happening: Happening) -> None:
        if happening.kind not in RANKS:
            return
        self.told.setdefault(happening.subject, []).append(happening.kind)

    # -- what may come -------------------------------------------------------------------------------------------------

    def pick(self, found: Sequence[T], n: int) -> T | None:
        return found[n % len(found)] if found else None

    async def do(self, deed: str, n: int) -> None:
        """One of the things that happen; refusals are as good as deeds. `n` chooses to whom."""
        with suppress(InvalidState, NotFound):
            await getattr(self, deed)(n)
        await self.media.settle()

    async def call(self, n: int) -> None:
        if len(self.media.calls) < 3:
            self.media.caller()

    async def start(self, n: int) -> None:
        if (call := self.pick(self.media.calls, n)) is not None:
            view = await self.service.start_recording(call.facts.id, SPECS[n % len(SPECS)], MINE)
            self.seen.setdefault(view.recording_ids[-1], [])

    async def stop(self, n: int) -> None:
        if (call := self.pick(self.media.calls, n)) is not None:
            await self.service.stop_recording(call.facts.id, MINE)

    async def mask(self, n: int) -> None:
        if (found := self.pick(list(self.seen), n)) is not None:
            await self.service.mask_recording(found, "silence", MINE)

    async def unmask(self, n: int) -> None:
        if (found := self.pick(list(self.seen), n)) is not None:
            await self.service.unmask_recording(found, MINE)

    async def delete(self, n: int) -> None:
        if (found := self.pick(list(self.seen), n)) is not None:
            await self.service.delete_recording(found, MINE)

    async def key(self, n: int) -> None:
        if (call := self.pick(self.media.calls, n)) is not None and not call.leg.closed:
            call.on_media(Digit(call.leg, "#", 80, self.media.engine.now()))

    async def bye(self, n: int) -> None:
        """More than once, too."""
        if (call := self.pick(self.media.calls, n)) is not None:
            self.media.bye(call)

    async def hang_up(self, n: int) -> None:
        if (call := self.pick(self.media.calls, n)) is not None:
            await self.service.hangup(call.facts.id, MINE)

    async def time(self, n: int) -> None:
        self.media.run(0.6)

    async def end_again(self, n: int) -> None:
        """The engine's last word on a recording, late and once more."""
        if (found := self.pick(self.media.ends, n)) is not None:
            recorder, event = found
            recorder.on_tap_ended(event)

    async def rows(self, n: int) -> None:
        await self.kit.writer.drain(1.0)

    async def old_row(self, n: int) -> None:
        """A row that was overtaken comes to the database after all."""
        row = self.pick(self.given, n)
        if row is not None and await self.database.recordings.get(row.id) is not None:
            await self.database.recordings.upsert(row)

    async def work(self, n: int) -> None:
        """The worker goes on with one recording, and may die after any stage: it begins again at any that is behind it, too."""
        if (found := self.pick(self.kit.spool.complete(), n)) is not None:
            behind = self.stage.get(found, 0)
            first, last = n % (behind + 1), min(behind + 1 + n % 4, len(STAGES))
            for number in range(first, last):
                assert await self.finisher.run(STAGES[number], found) in ("ok", "gone")
                self.stage[found] = max(self.stage.get(found, 0), number + 1)

    async def hurry(self, n: int) -> None:
        """Two workers at the same recording."""
        if (found := self.pick(self.kit.spool.complete(), n)) is not None and self.stage.get(found, 0) >= 2:
            await asyncio.gather(*(self.finisher.run("publish", found) for _ in range(2)))

    async def told_done(self, n: int) -> None:
        """The worker's word reaches the server: late, twice, that of a life before."""
        final = [news["recording"] for news in self.news if news["state"] in ("available", "failed")]
        if (found := self.pick(final, n)) is not None:
            self.service.finished(found)

    async def tell(self, n: int) -> None:
        await self.drain.once()

    async def sweep(self, n: int) -> None:
        """Their time is over; nothing that is still being made is touched."""
        later = self.kit.clock.wall() + 40 * DAY_S
        await Sweeper(self.database, self.objects, default_days=30.0, node="here", wall=lambda: later).sweep()

    async def die(self, n: int) -> None:
        await self.crash()

    # -- what must be so -----------------------------------------------------------------------------------------------

    async def look(self) -> None:
        listed = {view.id: view for view in (await self.service.list_recordings(MINE, None, 100)).items}
        found, _ = await self.service.search_recordings(Search(account=ACCOUNT), MINE)
        assert {view.id: view for view in found} == listed
        for recording_id, states in self.seen.items():
            try:
                view = await self.service.get_recording(recording_id, MINE)
            except NotFound:
                row = await self.database.recordings.get(recording_id)
                assert recording_id not in listed
                assert row is not None or self.lives > 1, "only a crash may take what was never written down"
                if row is not None:
                    self.enter(states, "deleted")
                continue
            self.enter(states, view.state)
            assert recording_id not in listed or listed[recording_id] == replace(view, peaks=listed[recording_id].peaks)
            if view.state in ("available", "failed"):
                view = replace(view, updated=None)  # when it was written last: a worker that died writes the same again
                assert self.final.setdefault(recording_id, view) == view, "a recording that is final changes no more"
        for call in self.media.calls:
            view, before = call.view(), self.ids.get(call.facts.id, ())
            assert view.recording_ids[: len(before)] == before, "what a call names it goes on naming"
            self.ids[call.facts.id] = tuple(view.recording_ids)
            active = self.seen.get(view.recording_id, [""])[-1]
            assert not view.recording_id or (view.recording_id == view.recording_ids[-1] and active in ("starting", "recording"))

    def enter(self, states: list[str], state: str) -> None:
        if not states or states[-1] != state:
            assert not states or rank(states[-1]) < rank(state), f"{states} -> {state}"
            states.append(state)

    async def end(self) -> None:
        """Everybody hangs up, and the worker has its time: each recording comes to its end."""
        for call in self.media.calls:
            self.media.bye(call)
        self.media.run(2.0)
        await self.media.settle()
        await self.kit.writer.drain(1.0)
        for found in self.kit.spool.complete():
            for stage in STAGES:
                assert await self.finisher.run(stage, found) == "ok"
        await self.look()
        await self.drain.once()
        for recording_id, states in self.seen.items():
            if await self.database.recordings.get(recording_id) is not None:
                assert rank(states[-1]) >= 3, f"{recording_id} ends as {states}"
                told = list(dict.fromkeys(self.told[recording_id]))
                assert any(RANKS[kind] == 3 for kind in told) and told == sorted(told, key=RANKS.get), f"{states} is told as {told}"
        await self.media.die()


def rank(state: str) -> int:
    return GONE if state == "deleted" else order(state)


DEEDS = [
    "call", "start", "start", "start", "stop", "stop", "mask", "unmask", "delete", "key", "bye", "hang_up", "time", "time", "time",
    "end_again", "rows", "rows", "old_row", "work", "work", "work", "hurry", "told_done", "tell", "sweep", "die",
]  # fmt: skip


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with one account and nothing else, to be copied."""
    path = tmp_path_factory.mktemp("empty") / "rows.sqlite"

    async def make() -> None:
        database = Database(f"sqlite:///{path}")
        await database.open()
        async with database.writing() as connection:
            await connection.execute(update(tables.accounts).values(id=ACCOUNT))
        await database.close()

    asyncio.run(make())
    return path


async def live(root: Path, empty: Path, deeds: Sequence[tuple[str, int]]) -> House:
    shutil.copy(empty, root / "rows.sqlite")
    database = Database(f"sqlite:///{root / 'rows.sqlite'}")
    await database.open()
    house = House(root, database)
    try:
        await house.begin()
        await house.call(0)
        for deed, n in deeds:
            await house.do(deed, n)
            await house.look()
        await house.end()
    finally:
        await database.close()
    return house


STOPPED = ["stop", "time", "time", "time", "time"]


@pytest.mark.parametrize(
    ("deeds", "states"),
    [
        ([("start", 3), ("rows", 0), ("die", 0)], ["starting", "failed"]),  # waits for a bridge: nothing of it is in the spool
        ([("start", 0), ("time", 0), ("rows", 0), ("die", 0)], ["recording", "stopping", "available"]),
        # The row says `recording` still, what was told from memory said more.
        ([("start", 0), ("time", 0), ("rows", 0), *((deed, 0) for deed in STOPPED), ("die", 0)], ["recording", "stopping", "available"]),
        ([("start", 0), *((deed, 0) for deed in STOPPED), ("work", 3), ("sweep", 0)], ["recording", "stopping", "available", "deleted"]),
    ],
)
async def test_what_the_last_life_left_comes_to_its_end(
    tmp_path: Path, empty: Path, deeds: list[tuple[str, int]], states: list[str]
) -> None:
    house = await live(tmp_path, empty, deeds)
    assert list(house.seen.values()) == [states]


@settings(max_examples=25, phases=[Phase.explicit, Phase.generate])  # shrinking would take minutes
@given(st.lists(st.tuples(st.sampled_from(DEEDS), st.integers(0, 59)), min_size=5, max_size=40))
def test_states_only_move_forward_and_come_to_their_end(empty: Path, deeds: list[tuple[str, int]]) -> None:
    with TemporaryDirectory() as folder:
        asyncio.run(live(Path(folder), empty, deeds))
