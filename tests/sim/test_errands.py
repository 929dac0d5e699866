"""Flows that run without a call: after a recording, once, with its variables, again after a crash; and what others see of every run."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conference_hall import Hall

from tapeline.calls.drain import Drain
from tapeline.calls.errands import Errands
from tapeline.core.errors import InvalidInput, NotFound
from tapeline.core.happening import Happening
from tapeline.core.ids import new_id
from tapeline.store import ActiveflowRow, Database, DatabaseUnavailable, RecordingRow, WriteBehind

ACCOUNT, FLOW = new_id(), new_id()
TELL = [
    {"type": "answer"},
    {"type": "talk", "option": {"text": "nobody hears this"}},
    {"type": "recording_start"},
    {"type": "variable_set", "option": {"key": "mine", "value": "1"}},
    {
        "type": "webhook_send",
        "option": {
            "uri": "https://crm.example/done", "method": "POST", "data_type": "application/json",
            "data": "${voipbin.recording.id} ${voipbin.recording.filenames} ${customer} ${mine} ${voipbin.activeflow.flow_id}",
        },
    },
    {"type": "hangup"},
]  # fmt: skip


@dataclass
class Http:
    """Answers with a page, or hangs while `gate` is closed."""

    requests: list[tuple[str, str, bytes]] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    page: bytes = b""

    async def request(self, method: str, url: str, *, body: bytes = b"", **_: Any) -> Any:
        self.requests.append((method, url, body))
        await self.gate.wait()
        return SimpleNamespace(status=200, body=self.page)


@dataclass
class House:
    hall: Hall
    database: Database
    http: Http
    errands: Errands
    told: list[Happening] = field(default_factory=list)
    flows: dict[str, str] = field(default_factory=dict)

    async def load(self, flow_id: str, account: str) -> str:
        if flow_id not in self.flows or account != ACCOUNT:
            raise NotFound("no such flow")
        return self.flows[flow_id]

    async def over(self, row_id: str) -> ActiveflowRow:
        """The run's last row."""
        while self.errands.tasks:
            await asyncio.wait(self.errands.tasks)
        found = self.hall.rows.newest[row_id]
        assert isinstance(found, ActiveflowRow)
        return found

    async def finished(self, **fields: Any) -> RecordingRow:
        """A recording whose file can be had, in the outbox."""
        given = {"call_id": new_id(), "activeflow_id": new_id(), "on_end_flow_id": FLOW, "node": "here"} | fields
        row = RecordingRow(new_id(), ACCOUNT, "available", 1_000_000_000.0, **given)  # type: ignore[arg-type]
        await self.database.recordings.publish(row, ())
        return row

    def kinds(self, subject: str) -> list[str]:
        return [happening.kind for happening in self.told if happening.subject == subject]


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    database = Database(f"sqlite:///{tmp_path / 'rows.sqlite'}")
    await database.open()
    async with Hall(tmp_path / "hall") as hall:
        http = Http()
        http.gate.set()
        house = House(hall, database, http, Errands(database, hall.kit))
        house.flows[FLOW] = json.dumps({"actions": TELL})
        hall.kit.http, hall.kit.load_flow = http, house.load  # type: ignore[assignment]
        hall.kit.listeners += [house.told.append, house.errands]
        yield house
        http.gate.set()
        await house.errands.close()
    await database.close()


async def run_of(house: House) -> ActiveflowRow:
    (row,) = await house.database.activeflows.list()
    return row


async def test_43_after_a_recording_its_flow_runs_once_with_the_variables_of_both(house: House) -> None:
    row = await house.finished()
    before = ActiveflowRow(row.activeflow_id, ACCOUNT, "ended", 1.0, variables={"customer": "Jo", "tapeline.recording.id": "another"})
    await house.database.activeflows.upsert(before)
    drain = Drain(house.database, house.hall.kit)
    assert await drain.once() == 1
    run = next(found for found in await house.database.activeflows.list() if found.id != before.id)
    assert (run.reference_type, run.reference_activeflow_id, run.flow_id) == ("", row.activeflow_id, FLOW)
    last = await house.over(run.id)
    assert house.http.requests == [("POST", "https://crm.example/done", f"{row.id} {row.id}.wav Jo 1 {FLOW}".encode())]
    assert (last.status, last.ended is not None, last.variables["mine"]) == ("ended", True, "1")
    assert [action["type"] for action in last.executed_actions] == [action["type"] for action in TELL]
    kinds = house.kinds(run.id)
    assert (kinds[0], kinds[-1], set(kinds[1:])) == ("activeflow_created", "activeflow_updated", {"activeflow_updated"})

    await house.database.recordings.publish(replace(row, updated=2.0), ())  # told again, after a crash of the worker
    assert await drain.once() == 1
    assert len(house.http.requests) == 1 and not house.errands.tasks


async def test_a_run_that_a_crash_cut_off_begins_again_and_one_that_ended_does_not(house: House) -> None:
    house.http.gate.clear()
    await house.finished()
    await Drain(house.database, house.hall.kit).once()
    run = await run_of(house)
    while not house.http.requests:
        await asyncio.wait({*house.errands.tasks, *house.hall.kit.tasks}, timeout=0.05)
    await house.errands.close()
    assert (await run_of(house)).status == "running"
    call_run = ActiveflowRow(new_id(), ACCOUNT, "running", 1.0, reference_type="call", node="here")
    await house.database.activeflows.upsert(call_run)
    house.http.gate.set()
    again = Errands(house.database, house.hall.kit)
    house.hall.kit.runs.__init__(house.hall.kit)  # type: ignore[misc]  # as after a start
    house.errands = again
    assert await again.restore() == 1
    last = await house.over(run.id)
    assert last.status == "ended" and len(house.http.requests) == 2
    assert house.hall.rows.newest[call_run.id].status == "ended", "its call has ended with the server"
    await house.database.activeflows.upsert(last, house.hall.rows.newest[call_run.id])
    assert await again.restore() == 0


async def test_a_flow_that_is_not_there_or_cannot_run_is_passed_over_and_the_rest_goes_on(house: House) -> None:
    house.flows["broken"] = '{"actions": [{"type": "no_such"}]}'
    gone, broken = await house.finished(on_end_flow_id=new_id()), await house.finished(on_end_flow_id="broken")
    zero = await house.finished(on_end_flow_id="00000000-0000-0000-0000-000000000000")
    assert await Drain(house.database, house.hall.kit).once() == 3
    assert await house.database.activeflows.list() == []
    assert {happening.subject for happening in house.told} >= {gone.id, broken.id, zero.id}
    with pytest.raises(InvalidInput):
        await house.errands.start(ActiveflowRow(new_id(), ACCOUNT, "running", 1.0, document="[1]"))


async def test_a_run_over_the_api_can_be_stopped_and_follows_what_it_fetches(house: House) -> None:
    house.http.page = json.dumps([{"type": "fetch_flow", "option": {"flow_id": FLOW}}]).encode()
    document = json.dumps([
        {"type": "fetch", "option": {"event_url": "https://flows.example", "event_method": "POST"}},
        {"type": "sleep", "option": {"duration": 3_600_000}},
    ])  # fmt: skip
    run = ActiveflowRow(new_id(), ACCOUNT, "running", 1.0, reference_type="api", document=document, webhook_uri="https://own.example")
    await house.errands.start(run)
    await house.errands.start(run)  # the same id is the same run
    while len(house.http.requests) < 2:
        await asyncio.wait({*house.errands.tasks, *house.hall.kit.tasks}, timeout=0.05)
    assert [url for _, url, _ in house.http.requests] == ["https://flows.example", "https://crm.example/done"]
    runs = house.hall.kit.runs
    assert await runs.target(run.id) == ("https://own.example", "")
    live = runs.get(run.id)
    if live is not None:  # else the fetched flow's `hangup` has ended it by now
        live.stop()
    assert (await house.over(run.id)).status == "ended"
    assert await runs.target(run.id) == ("https://own.example", "")
    assert house.kinds(run.id).count("activeflow_created") == 1


async def test_a_run_may_be_stopped_before_its_first_step(house: House) -> None:
    run = ActiveflowRow(new_id(), ACCOUNT, "running", 1.0, reference_type="api", document=json.dumps(TELL))
    await house.errands.start(run)
    live = house.hall.kit.runs.get(run.id)
    assert live is not None
    live.stop()
    assert (await house.over(run.id)).status == "ended" and house.http.requests == []


async def test_the_flow_that_follows_a_run_survives_a_kill_between_the_two_and_runs_once(house: House) -> None:
    woken: list[int] = []
    writer = WriteBehind(house.database, on_entries=lambda: woken.append(1))
    writer.start()
    done = ActiveflowRow(
        new_id(), ACCOUNT, "ended", 1.0, on_complete_flow_id=FLOW, node="here", variables={"customer": "Jo"}, updated=2.0, ended=2.0
    )  # fmt: skip
    writer.put(done)
    writer.put(ActiveflowRow(new_id(), ACCOUNT, "ended", 1.0, node="here", updated=2.0))  # followed by nothing
    assert await writer.close()
    assert len(woken) == 1 and [row.kind for row in await house.database.outbox.waiting("here")] == ["activeflow_ended"]
    # Killed here: what comes now is the next start. At first the database does not give the flow away.
    load, house.hall.kit.load_flow = house.hall.kit.load_flow, _away
    assert await Drain(house.database, house.hall.kit).once() == 0
    house.hall.kit.load_flow = load
    assert await Drain(house.database, house.hall.kit).once() == 1
    run = next(row for row in await house.database.activeflows.list() if row.reference_activeflow_id == done.id)
    last = await house.over(run.id)
    assert (last.status, last.flow_id, last.variables["tapeline.activeflow.complete_count"]) == ("ended", FLOW, "1")
    assert [body.decode().split()[-2:] for _, _, body in house.http.requests] == [["1", FLOW]]
    async with house.database.writing() as connection:
        await house.database.activeflows.tell(connection, [done])  # told again, after another crash
    assert await Drain(house.database, house.hall.kit).once() == 1
    assert len(house.http.requests) == 1 and not house.errands.tasks


async def _away(flow_id: str, account: str) -> str:
    raise DatabaseUnavailable("away")


async def test_two_runs_of_one_call_have_each_their_own_id(house: House) -> None:
    runs, row = house.hall.kit.runs, ActiveflowRow(new_id(), ACCOUNT, "running", 1.0, reference_type="call")
    first = runs.begin(row, lambda: None)
    second = runs.begin(row, lambda: None)
    assert first.row.id == row.id and second.row.reference_activeflow_id == row.id != second.row.id
    for _ in range(150):
        first.stepped([{"id": "x", "type": "goto"}], {"a": "b" * 70_000})
    first.end()
    first.end()
    first.stepped([{"id": "y"}], {})
    last = house.hall.rows.newest[row.id]
    assert isinstance(last, ActiveflowRow)
    assert (len(last.executed_actions), last.variables, last.current_action["id"]) == (100, {}, "x")
    assert house.kinds(row.id).count("activeflow_updated") == 151
