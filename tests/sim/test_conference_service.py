"""The service of conferences over real rows: who may do what, what is told of those that live and of those that are over."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from conference_hall import ACCOUNT, Caller, Hall

from tapeline.calls.services.conferences import ConferenceService
from tapeline.calls.views import ConferenceDraft
from tapeline.core.errors import Forbidden, InvalidState, NotFound, Unavailable
from tapeline.core.ids import new_id
from tapeline.core.principal import ALL_SCOPES, Principal
from tapeline.core.recordspec import RecordSpec
from tapeline.core.roomspec import RoomSpec
from tapeline.store import ConferenceRow, Database, WriteBehind

MINE = Principal(ACCOUNT, ALL_SCOPES - {"admin"})
OTHERS = Principal(new_id(), ALL_SCOPES - {"admin"})
ADMIN = Principal(new_id(), frozenset({"admin"}))


class House:
    def __init__(self, hall: Hall, database: Database) -> None:
        self.hall = hall
        self.database = database
        self.writer = WriteBehind(database)
        hall.kit.writer = self.writer
        self.service = ConferenceService(hall.conferences, database, hall.kit)

    async def joined(self, conference_id: str) -> tuple[Caller, str]:
        """A caller in the conference, and the id of its stay."""
        conference = self.hall.conferences.get(conference_id)
        assert conference is not None
        caller = Caller(self.hall, 417.0)
        member = caller.join(conference)
        await self.writer.drain(5.0)
        return caller, member.id


@pytest.fixture
async def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    monkeypatch.setattr("tapeline.store.writer.GATHER_S", 0.001)
    database = Database(f"sqlite:///{tmp_path / 'rows.sqlite'}")
    await database.open()
    async with Hall(tmp_path, join_tone="tone:600/150") as hall:
        made = House(hall, database)
        made.writer.start()
        yield made
        for conference in hall.conferences.all:
            conference.end("deleted")
            await conference.over.wait()
        await made.writer.close()
    await database.close()


async def test_a_conference_is_on_disk_once_it_is_made(house: House) -> None:
    view = await house.service.create(
        ConferenceDraft(name="daily", timeout=30, data={"a": 1}, options={"leave_tone": "tone:440/200"}), MINE
    )
    row = await house.database.conferences.get(view.id)
    assert row is not None and (row.name, row.timeout, row.data, row.status) == ("daily", 86400, {"a": 1}, "progressing")
    assert row.options == {**RoomSpec.__dataclass_fields__, **view.options} and view.options["join_tone"] == "tone:600/150"
    assert view.expires == pytest.approx(view.created + 86400)
    for taken in (view.id,):
        with pytest.raises(InvalidState) as caught:
            await house.service.create(ConferenceDraft(id=taken), MINE)
        assert caught.value.reason == "CONFERENCE_ALREADY_EXISTS"


async def test_a_change_leaves_what_it_does_not_name(house: House) -> None:
    made = await house.service.create(ConferenceDraft(name="daily", detail="at ten", timeout=60), MINE)
    changed = await house.service.update(made.id, ConferenceDraft(detail="", timeout=0, options={"max_members": 2}), MINE)
    assert (changed.name, changed.detail, changed.timeout, changed.expires) == ("daily", "", 0, None)
    assert changed.options == {**made.options, "max_members": 2}


async def test_what_is_deleted_is_gone_from_every_way_of_asking(house: House) -> None:
    made = await house.service.create(ConferenceDraft(), MINE)
    caller, stay = await house.joined(made.id)
    gone = await house.service.delete(made.id, MINE)
    assert gone.status == "terminated" and gone.deleted and gone.ended and caller.place is None
    assert (await house.service.list(MINE, None, 100)).items == ()
    for asked in (
        house.service.get(made.id, MINE),
        house.service.delete(made.id, MINE),
        house.service.update(made.id, ConferenceDraft(), MINE),
    ):
        with pytest.raises(NotFound, match="deleted"):
            await asked
    with pytest.raises(InvalidState, match="CONFERENCE|there is"):
        await house.service.create(ConferenceDraft(id=made.id), MINE)
    await house.writer.drain(5.0)
    assert (await house.service.get_stay(stay, MINE)).reason == "ended"


async def test_others_may_neither_see_nor_touch_it(house: House) -> None:
    made = await house.service.create(ConferenceDraft(), MINE)
    _, stay = await house.joined(made.id)
    service = house.service
    for asked in (
        service.get(made.id, OTHERS), service.update(made.id, ConferenceDraft(), OTHERS), service.delete(made.id, OTHERS),
        service.start_recording(made.id, RecordSpec(), OTHERS), service.stop_recording(made.id, OTHERS),
        service.get_stay(stay, OTHERS), service.kick(stay, OTHERS), service.moderate(stay, OTHERS, muted=True),
    ):  # fmt: skip
        with pytest.raises(Forbidden):
            await asked
    assert (await service.list(OTHERS, None, 100)).items == (await service.list_stays(OTHERS, None, 100)).items == ()
    assert len((await service.list(ADMIN, None, 100)).items) == len((await service.list_stays(ADMIN, None, 100)).items) == 1
    reader = Principal(ACCOUNT, frozenset({"calls:read"}))
    for asked in (
        service.create(ConferenceDraft(), reader),
        service.kick(stay, reader),
        service.start_recording(made.id, RecordSpec(), reader),
    ):
        with pytest.raises(Forbidden):
            await asked


async def test_what_is_not_there_is_not_found(house: House) -> None:
    for asked, reason in (
        (house.service.get(new_id(), MINE), "CONFERENCE_NOT_FOUND"),
        (house.service.start_recording(new_id(), RecordSpec(), MINE), "CONFERENCE_NOT_FOUND"),
        (house.service.get_stay(new_id(), MINE), "CONFERENCECALL_NOT_FOUND"),
        (house.service.moderate(new_id(), MINE, deaf=True), "CONFERENCECALL_NOT_FOUND"),
    ):
        with pytest.raises(NotFound) as caught:
            await asked
        assert caught.value.reason == reason


async def test_one_of_another_node_can_be_seen_only(house: House) -> None:
    row = ConferenceRow(new_id(), ACCOUNT, "progressing", 1.0, node="there", updated=1.0)
    await house.database.conferences.upsert(row)
    assert (await house.service.get(row.id, MINE)).status == "progressing"
    with pytest.raises(Unavailable):
        await house.service.update(row.id, ConferenceDraft(name="x"), MINE)


async def test_recordings_are_told_with_the_conference(house: House) -> None:
    made = await house.service.create(ConferenceDraft(), MINE)
    with pytest.raises(InvalidState, match="nobody"):
        await house.service.start_recording(made.id, RecordSpec(heard="mix"), MINE)
    await house.joined(made.id)
    started = await house.service.start_recording(made.id, RecordSpec(heard="mix", max_s=1e9), MINE)
    assert started.recording_ids == (started.recording_id,)
    recorder = house.hall.kit.recorders[started.recording_id]
    assert recorder.spec.max_s == 86400
    await recorder.begun.wait()
    stopped = await house.service.stop_recording(made.id, MINE)
    assert (stopped.recording_id, stopped.recording_ids) == ("", started.recording_ids)
    await house.hall.recorded(recorder)
    with pytest.raises(InvalidState) as caught:
        await house.service.stop_recording(made.id, MINE)
    assert caught.value.reason == "RECORDING_NOT_ACTIVE"


async def test_a_stay_is_moderated_while_it_lasts_and_told_afterwards(house: House) -> None:
    made = await house.service.create(ConferenceDraft(), MINE)
    _, stay = await house.joined(made.id)
    assert (await house.service.moderate(stay, MINE, muted=True)).muted
    assert (await house.service.moderate(stay, MINE, deaf=True)).muted
    assert (await house.service.get(made.id, MINE)).member_ids == (stay,)
    assert (await house.service.kick(stay, MINE)).status == "leaved"
    await house.writer.drain(5.0)
    past = await house.service.kick(stay, MINE)
    assert (past.status, past.reason, past.muted, past.deaf) == ("leaved", "kicked", True, True)
    with pytest.raises(InvalidState):
        await house.service.moderate(stay, MINE, muted=False)
    (told,) = (await house.service.list_stays(MINE, None, 100)).items
    assert told == past


async def test_pages_lose_nothing_and_tell_of_what_lives_as_it_is_now(house: House) -> None:
    made = []
    for number in range(5):
        made.append((await house.service.create(ConferenceDraft(name=str(number)), MINE)).id)
        house.hall.engine.advance(house.hall.engine.now() + 0.02)
    live = house.hall.conferences.get(made[0])
    assert live is not None
    Caller(house.hall, 417.0).join(live)
    first = await house.service.list(MINE, None, 2)
    second = await house.service.list(MINE, first.next, 100)
    assert [view.id for view in (*first.items, *second.items)] == made[::-1]
    assert len(second.items[-1].member_ids) == 1


async def test_the_numbers_for_prometheus(house: House) -> None:
    made = await house.service.create(ConferenceDraft(), MINE)
    await house.joined(made.id)
    found = house.service.stats()
    assert (found["conferences"], found["conference_members"], found["conferences_total"]) == (1, 1, 1)
