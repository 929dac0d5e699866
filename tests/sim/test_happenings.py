"""What listeners are told of calls, recordings and conferences as those change, and what becomes of a listener that fails."""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

from conference_hall import Caller, Hall
from talking_calls import Exchange

from tapeline.calls.drain import Drain
from tapeline.calls.equipment import Equipment
from tapeline.core.happening import Happening
from tapeline.core.ids import new_id
from tapeline.core.recordspec import RecordSpec
from tapeline.store import Database, RecordingRow
from tapeline.store.outbox import entry


class Ear(list[Happening]):
    def __init__(self, kit: Equipment) -> None:
        super().__init__()
        kit.listeners.append(self.append)

    def kinds(self, subject: str) -> list[str]:
        return [happening.kind for happening in self if happening.subject == subject]


async def test_each_status_of_a_call_is_told_once_and_by_its_name(tmp_path: Path) -> None:
    async with Exchange(tmp_path) as exchange:
        ear = Ear(exchange.kit)
        caller = exchange.ringing()
        caller.announce()
        exchange.arrive(caller)
        callee = exchange.callee(caller)
        exchange.bye(caller)
        exchange.bye(callee)
        await exchange.settle()
    statuses = [kind for kind in ear.kinds(caller.facts.id) if kind != "call_updated"]
    assert statuses == ["call_created", "call_ringing", "call_progressing", "call_hangup"]
    assert "call_updated" in ear.kinds(caller.facts.id)  # another call was chained to it
    assert [kind for kind in ear.kinds(callee.facts.id) if kind != "call_updated"][-2:] == ["call_terminating", "call_hangup"]
    last = ear[-1]
    assert (last.data.status, last.account) == ("hangup", callee.facts.account)
    assert len({happening.id for happening in ear}) == len(ear)


async def test_a_recording_tells_when_it_begins_pauses_and_goes_on(tmp_path: Path) -> None:
    async with Exchange(tmp_path) as exchange:
        ear = Ear(exchange.kit)
        recorder = await exchange.record(exchange.caller(), RecordSpec())
        recorder.mask("silence")
        recorder.unmask()
        await exchange.wait(1.0)
        recorder.stop("stopped")
        await exchange.wait(1.0)
    assert ear.kinds(recorder.id) == ["recording_started", "recording_paused", "recording_resumed"]
    started = next(happening for happening in ear if happening.subject == recorder.id)
    assert (started.data.state, started.data.started is not None) == ("recording", True)


async def test_a_conference_tells_of_its_making_its_members_and_its_end(tmp_path: Path) -> None:
    async with Hall(tmp_path) as hall:
        ear = Ear(hall.kit)
        conference = hall.conference()
        one = Caller(hall, 417.0)
        one.join(conference)
        before = len(ear)
        conference.amend(conference.charter)
        assert len(ear) == before, "nothing is different"
        conference.leave(one)  # type: ignore[arg-type]
        conference.end("deleted")
        await conference.over.wait()
        row = hall.rows.newest[conference.id]
    kinds = ear.kinds(conference.id)
    assert (kinds[0], kinds[-1]) == ("conference_created", "conference_deleted")
    assert set(kinds[1:-1]) == {"conference_updated"}
    assert [len(happening.data.member_ids) for happening in ear if happening.subject == conference.id][:3] == [0, 1, 0]

    async with Hall(tmp_path / "again") as again:
        ear = Ear(again.kit)
        again.conferences.restore([replace(row, status="progressing", deleted=None, ended=None)], [])
        again.conferences.restore([replace(row, id=new_id(), status="terminating", deleted=None, ended=None)], [])
        assert [happening.kind for happening in ear] == ["conference_deleted"], "one that goes on is not new"


async def test_a_listener_that_breaks_harms_nobody(tmp_path: Path) -> None:
    async with Exchange(tmp_path) as exchange:

        def broken(happening: Happening) -> None:
            raise RuntimeError("on purpose")

        async def late() -> None:
            raise RuntimeError("on purpose, later")

        exchange.kit.listeners += [broken, lambda happening: late()]
        ear = Ear(exchange.kit)
        call = exchange.caller()
        await exchange.settle()
        assert call.status == "progressing" and ear.kinds(call.facts.id)[-1] == "call_progressing"


async def test_what_lasts_is_told_until_everybody_has_done_what_it_must(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'rows.sqlite'}")
    await database.open()
    row = RecordingRow(new_id(), new_id(), "available", 100.0, updated=200.0, node="here", duration=3.0)
    await database.recordings.publish(row, ())
    async with database.writing() as connection:
        await database.outbox.write(connection, [entry("recording_export_finished", new_id(), row.account, 300.0, "here", {"status": "x"})])
    async with Hall(tmp_path / "hall") as hall:
        ear, drain, fails = Ear(hall.kit), Drain(database, hall.kit), True

        def listener(happening: Happening) -> Coroutine[Any, Any, None]:
            async def work() -> None:
                if fails and happening.kind == "recording_finished":
                    raise RuntimeError("the database is away")

            return work()

        hall.kit.listeners.append(listener)
        assert await drain.once() == 1
        fails = False
        assert await drain.once() == 1
        assert await drain.once() == 0
    await database.close()
    finished = [happening for happening in ear if happening.kind == "recording_finished"]
    assert len(finished) == 2 and finished[0].id == finished[1].id
    assert (finished[0].data.state, finished[0].data.duration, finished[0].time) == ("available", 3.0, 200.0)
    assert [happening.data for happening in ear if happening.kind == "recording_export_finished"] == [{"status": "x"}]
