"""Conferences from their first member to their end: who may come, who waits, who is told what, which rows are left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from conference_hall import ACCOUNT, Caller, Hall

from tapeline.calls.conference.register import timeout_of
from tapeline.core.errors import Exhausted, InvalidState
from tapeline.core.ids import new_id
from tapeline.core.recordspec import RecordSpec
from tapeline.core.roomspec import JoinSpec, RoomSpec
from tapeline.store import ConferenceRow


@pytest.fixture
async def hall(tmp_path: Path) -> AsyncIterator[Hall]:
    async with Hall(tmp_path, max_members=4) as made:
        yield made


def join(hall: Hall, caller: Caller, room: str, *, named: bool = True, **spec: Any) -> str:
    return hall.conferences.join(caller, room, JoinSpec(**spec), caller.left.append, named=named)  # type: ignore[arg-type]


def callers(hall: Hall, count: int) -> list[Caller]:
    return [Caller(hall, 417.0 + 100 * number) for number in range(count)]


async def test_a_stay_from_joining_to_leaving(hall: Hall) -> None:
    conference = hall.conference()
    (one,) = callers(hall, 1)
    member = one.join(conference)
    assert one.place is conference and conference.view().member_ids == (member.id,)
    row = hall.rows.newest[member.id]
    assert (row.status, row.call_id, row.conference_id, row.account) == ("joined", one.facts.id, conference.id, ACCOUNT)
    one.place.leave(one)
    conference.leave(one)  # type: ignore[arg-type]
    assert one.place is None and conference.view().member_ids == ()
    assert hall.rows.states[member.id] == ["joining", "joined", "leaved"] and hall.rows.newest[member.id].reason == "left"
    await hall.settle()
    assert one.left == ["left"]  # told once
    assert conference.status == "progressing"  # it lives on without anybody
    assert [event for event, _ in one.notes] == ["conference_joined", "conference_left"]


async def test_who_is_put_out_gets_on_with_its_flow(hall: Hall) -> None:
    conference = hall.conference()
    one, two = callers(hall, 2)
    one.join(conference)
    conference.kick(two.join(conference))
    await hall.settle()
    assert (one.left, two.left) == ([], ["kicked"]) and two.place is None


async def test_the_end_takes_all_out_and_is_told_in_rows(hall: Hall) -> None:
    conference = hall.conference()
    crowd = callers(hall, 3)
    for caller in crowd:
        caller.join(conference)
    hall.run(0.2)
    recorder = await hall.record(conference)
    hall.run(0.5)
    conference.end("deleted")
    conference.end("timeout")
    assert conference.status == "terminating" and recorder.state == "stopping"
    with pytest.raises(InvalidState):
        crowd[0].join(conference)
    await hall.recorded(recorder)
    await conference.over.wait()
    assert [caller.left for caller in crowd] == [["ended"]] * 3
    row = hall.rows.newest[conference.id]
    assert (row.status, row.reason, row.recording_id, row.recording_ids) == ("terminated", "deleted", "", (recorder.id,))
    assert row.ended and row.deleted and hall.rows.states[recorder.id][:3] == ["starting", "recording", "stopping"]
    hall.run(0.1)
    assert hall.conferences.get(conference.id) is None and hall.engine.counters().buses == 0
    assert recorder.reason == "conference_ended" and recorder.id not in hall.kit.recorders


async def test_no_more_than_the_limit_come_in(hall: Hall) -> None:
    small, large = hall.conference(max_members=2), hall.conference(max_members=50)
    for conference, most in ((small, 2), (large, 4)):
        crowd = callers(hall, most + 1)
        for caller in crowd[:most]:
            caller.join(conference)
        with pytest.raises(Exhausted):
            crowd[most].join(conference)
        assert join(hall, crowd[most], conference.id, named=False) == "full"
        crowd[0].place.leave(crowd[0])
        crowd[most].join(conference)


async def test_a_call_is_in_one_place_at_a_time(hall: Hall) -> None:
    first, second = hall.conference(), hall.conference()
    (one,) = callers(hall, 1)
    one.join(first)
    one.join(second)
    assert first.members == () and one.place is second and len(second.talking) == 1


async def test_nobody_is_twice_in_one_conference(hall: Hall) -> None:
    (one,) = callers(hall, 1)
    assert join(hall, one, "lobby", create=RoomSpec()) == ""
    assert join(hall, one, "lobby") == "failed"
    assert len(one.place.members) == 1 and one.left == []


async def test_a_full_or_ended_conference_takes_nobody_from_where_it_is(hall: Hall) -> None:
    first, full = hall.conference(), hall.conference(max_members=1)
    one, two = callers(hall, 2)
    one.join(first)
    two.join(full)
    with pytest.raises(Exhausted):
        one.join(full)
    assert one.place is first


# -- rooms by name -----------------------------------------------------------------------------------------------------


async def test_a_room_is_opened_by_its_first_member_and_ends_with_its_last(hall: Hall) -> None:
    one, two = callers(hall, 2)
    assert join(hall, one, "lobby") == "not_found"
    assert join(hall, one, "lobby", create=RoomSpec(max_members=2)) == ""
    assert join(hall, two, "lobby", create=RoomSpec(max_members=9)) == ""
    (room,) = hall.conferences.all
    assert (room.charter.room, room.charter.kind, room.charter.spec.max_members) == ("lobby", "conversation", 2)
    one.place.leave(one)
    assert room.status == "progressing"
    two.place.leave(two)
    await room.over.wait()
    row = hall.rows.newest[room.id]
    assert (row.status, row.reason, row.deleted) == ("terminated", "empty", None)
    assert join(hall, one, "lobby", create=RoomSpec()) == "" and hall.conferences.all[0] is not room


async def test_a_room_belongs_to_its_account(hall: Hall) -> None:
    one, two = callers(hall, 2)
    two.facts.account = new_id()
    assert join(hall, one, "lobby", create=RoomSpec()) == ""
    assert join(hall, two, "lobby") == "not_found"
    assert join(hall, two, hall.conferences.all[0].id, named=False) == "not_found"
    assert join(hall, two, "lobby", create=RoomSpec()) == "" and len(hall.conferences.all) == 2


async def test_an_id_is_found_in_any_case_and_only_where_it_is_one(hall: Hall) -> None:
    conference = hall.conference()
    one, two = callers(hall, 2)
    assert join(hall, one, conference.id.upper(), named=False) == ""
    assert join(hall, two, "lobby", named=False, create=RoomSpec()) == "not_found"


# -- moderators --------------------------------------------------------------------------------------------------------


async def test_a_moderator_s_leaving_ends_it_for_all_where_that_is_so(hall: Hall) -> None:
    for ends in (False, True):
        conference = hall.conference(room=f"room {ends}")
        moderator, attendee = callers(hall, 2)
        attendee.join(conference, moderator=False)
        moderator.join(conference, moderator=True, end_on_exit=ends)
        moderator.place.leave(moderator)
        await hall.settle()
        assert (moderator.left, attendee.left) == (["left"], ["moderator_left"] if ends else [])
        assert (conference.status == "progressing") is not ends


async def test_once_empty_the_next_attendee_waits_again(hall: Hall) -> None:
    conference = hall.conference(moderated=True)
    moderator, attendee = callers(hall, 2)
    moderator.join(conference, moderator=True)
    moderator.place.leave(moderator)
    member = attendee.join(conference)
    assert member.status == "joining" and conference.talking == ()
    with pytest.raises(InvalidState, match="nobody"):
        conference.start_recording(RecordSpec(heard="mix"))


async def test_attendees_who_stay_talk_on_without_the_moderator(hall: Hall) -> None:
    conference = hall.conference(moderated=True)
    moderator, attendee, late = callers(hall, 3)
    attendee.join(conference)
    moderator.join(conference, moderator=True)
    moderator.place.leave(moderator)
    assert late.join(conference).status == "joined"


async def test_a_recording_that_a_member_wants_begins_with_the_conference_and_once(hall: Hall) -> None:
    conference = hall.conference(room="talk")
    attendee, moderator, late = callers(hall, 3)
    wish = RecordSpec(heard="mix", origin="flow")
    attendee.join(conference, moderator=False, record=wish)
    assert conference.view().recording_ids == ()
    moderator.join(conference, moderator=True, record=wish)
    late.join(conference, record=wish)
    assert len(conference.view().recording_ids) == 1
    await hall.settle()


# -- ends by themselves ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("asked", "kept"), [(0, 0), (1, 86400), (59, 86400), (60, 60), (3600, 3600)])
def test_the_platform_s_rule_of_timeouts(asked: int, kept: int) -> None:
    assert timeout_of(asked) == kept


async def test_after_its_time_it_is_deleted(hall: Hall) -> None:
    conference = hall.conference(timeout_s=0.0)
    (one,) = callers(hall, 1)
    one.join(conference)
    async with asyncio.timeout(5):
        await conference.over.wait()
    await hall.settle()
    assert one.left == ["timeout"] and hall.rows.newest[conference.id].deleted is not None


async def test_of_a_connection_nobody_stays_alone(hall: Hall) -> None:
    conference = hall.conference(kind="connect")
    one, two = callers(hall, 2)
    one.join(conference)
    two.join(conference)
    one.place.leave(one)
    await hall.settle()
    assert two.left == ["ended"] and conference.reason == "party_left"


# -- recordings --------------------------------------------------------------------------------------------------------


async def test_one_recording_at_a_time_and_all_are_remembered(hall: Hall) -> None:
    conference = hall.conference()
    with pytest.raises(InvalidState, match="nobody"):
        conference.start_recording(RecordSpec(heard="mix"))
    (one,) = callers(hall, 1)
    one.join(conference)
    first = await hall.record(conference)
    with pytest.raises(InvalidState) as caught:
        conference.start_recording(RecordSpec(heard="mix"))
    assert caught.value.reason == "RECORDING_ALREADY_ACTIVE" and conference.view().recording_id == first.id
    hall.run(0.2)
    assert conference.stop_recording() is first and conference.view().recording_id == ""
    with pytest.raises(InvalidState) as caught:
        conference.stop_recording()
    assert caught.value.reason == "RECORDING_NOT_ACTIVE"
    second = await hall.record(conference)
    hall.run(0.2)
    conference.stop_recording()
    for recorder in (first, second):
        await hall.recorded(recorder)
    assert conference.view().recording_ids == (first.id, second.id)
    row = hall.rows.newest[first.id]
    assert (row.reference, row.call_id, row.account) == ("confbridge", conference.id, ACCOUNT)
    await hall.settle()
    assert not hall.kit.recorders  # what is complete is not kept in memory


async def test_a_recording_outlives_the_last_member_for_a_while(hall: Hall) -> None:
    conference = hall.conference()
    (one,) = callers(hall, 1)
    one.join(conference)
    recorder = await hall.record(conference)
    hall.run(0.5)
    one.place.leave(one)
    assert recorder.active and hall.engine.counters().buses == 1
    async with asyncio.timeout(5):
        while recorder.active:  # `empty_seconds` is 0 here
            await hall.settle()
    samples, rate = await hall.recorded(recorder)
    assert recorder.reason == "empty" and len(samples) == rate // 2
    hall.run(1.0)
    assert hall.engine.counters().buses == 0 and conference.status == "progressing"


async def test_who_comes_back_in_time_goes_on_in_the_same_recording(tmp_path: Path) -> None:
    async with Hall(tmp_path, empty_seconds=600) as hall:
        conference = hall.conference()
        (one,) = callers(hall, 1)
        one.join(conference)
        recorder = await hall.record(conference)
        hall.run(0.4)
        one.place.leave(one)
        hall.run(0.4)
        one.join(conference)
        hall.run(0.4)
        conference.stop_recording()
        samples, rate = await hall.recorded(recorder)
        assert len(samples) == round(1.2 * rate)
        assert abs(samples[round(0.5 * rate) : round(0.7 * rate)]).max() < 1e-3 < 0.01 < abs(samples[rate:]).max()


# -- the server's start and stop ---------------------------------------------------------------------------------------


async def test_a_stop_completes_recordings_and_a_start_takes_conferences_up(hall: Hall) -> None:
    conference = hall.conference(join_tone="tone:600/150")
    (one,) = callers(hall, 1)
    member = one.join(conference)
    recorder = await hall.record(conference)
    hall.run(0.3)
    stopping = asyncio.ensure_future(hall.conferences.stop())
    await hall.settle()
    await hall.recorded(recorder)
    await stopping
    row, stay = hall.rows.newest[conference.id], hall.rows.newest[member.id]
    assert (row.status, row.recording_id) == ("progressing", "")
    room = ConferenceRow(new_id(), ACCOUNT, "progressing", 1.0, room="lobby", node="here")
    ending = ConferenceRow(new_id(), ACCOUNT, "terminating", 1.0, reason="deleted", node="here")

    again = Hall(hall.spool.path(new_id()))
    async with again:
        again.conferences.restore([row, room, ending], [stay])
        (taken_up,) = again.conferences.all
        assert taken_up.charter == conference.charter and taken_up.view().recording_ids == (recorder.id,)
        told = again.rows.newest
        assert (told[stay.id].status, told[stay.id].reason) == ("leaved", "restart")
        assert [told[each.id].status for each in (room, ending)] == ["terminated"] * 2
        assert told[room.id].deleted is None and told[ending.id].deleted is not None


async def test_a_timeout_that_passed_while_the_server_was_down_ends_the_conference_at_once(hall: Hall) -> None:
    row = ConferenceRow(new_id(), ACCOUNT, "progressing", 1.0, timeout=60, expires=61.0, node="here", options={"unknown": 1, "music": "x"})
    hall.conferences.restore([row], [])
    (conference,) = hall.conferences.all
    assert conference.charter.spec == RoomSpec(music="x")
    async with asyncio.timeout(5):
        await conference.over.wait()
    assert conference.reason == "timeout"


async def test_a_sound_that_cannot_be_had_keeps_nobody_out(hall: Hall) -> None:
    conference = hall.conference(join_tone="file:gone.wav", music="recording:" + new_id())
    (one,) = callers(hall, 1)
    assert one.join(conference).status == "joined"
    await hall.settle()
    assert not one.leg.players


async def test_a_stay_is_found_by_its_id_while_it_lasts(hall: Hall) -> None:
    conference = hall.conference()
    (one,) = callers(hall, 1)
    member = one.join(conference)
    assert hall.conferences.stay(member.id) == (conference, member)
    one.place.leave(one)
    assert hall.conferences.stay(member.id) is None
