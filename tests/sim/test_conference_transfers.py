"""Transfers that lead into a conference: who takes a member's place, what recordings hear, whose flow waits. In virtual time."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ncco_stage import Stage, Talkers, level
from talking_calls import ACCOUNT, Refer, sdp

from tapeline.calls.bridge import Bridge
from tapeline.calls.conference.conference import Conference
from tapeline.calls.conference.members import Charter
from tapeline.calls.recorder import Recorder
from tapeline.calls.session import Call
from tapeline.core.ids import new_id
from tapeline.core.recordspec import RecordSpec
from tapeline.core.roomspec import RoomSpec

SPLIT = RecordSpec(channels=2, follow_transfer=True)
NEW = "sip:new@192.0.2.77"


class House(Stage):
    def __init__(self, folder: Path, **settings: Any) -> None:
        super().__init__(folder, **settings)
        self.prompts = Talkers()
        self.kit.prompts = self.prompts  # type: ignore[assignment]

    def conference(self, **fields: Any) -> Conference:
        return self.kit.conferences.create(Charter(new_id(), ACCOUNT, self.kit.clock.wall(), **fields))

    async def member(self, room: Conference, **option: Any) -> Call:
        return await self.dial_in([{"type": "conference_join", "option": {"conference_id": room.id, **option}}])

    async def connected(self) -> tuple[Call, Call]:
        """A caller whose flow has connected it, and will speak afterwards; and who it talks with."""
        party = {"type": "sip", "target": "sip:desk@192.0.2.7"}
        talk = {"type": "talk", "option": {"text": "afterwards"}}
        caller = await self.dial_in([{"type": "connect", "option": {"destinations": [party]}}, talk])
        await self.outcome(True)
        callee = self.calls[-1]
        assert isinstance(caller.place, Bridge) and caller.place.other(caller) is callee
        return caller, callee

    async def refer(self, call: Call, target: str = NEW, replaces: Call | None = None) -> Refer:
        refer = Refer(target, replaces.session.id if replaces is not None else None)
        self.transfers.referred(call, refer)  # type: ignore[arg-type]
        await self.settle()
        return refer

    def hears(self, call: Call, *others: Call) -> list[bool]:
        """Whom of them `call` has heard in the last half second."""
        end = self.engine.now()
        sound = self.heard(call, end - 0.5, end)
        return [level(sound, 8000, self.voice(other)) > 0.05 for other in others]

    async def sound(self, recorder: Recorder) -> tuple[Any, int]:
        recorder.stop("stopped")
        await self.wait(3.0)
        return self.file(recorder)


def names(recorder: Recorder) -> list[str]:
    return [item["event"] for item in recorder.view().timeline if item["event"] not in ("media", "conference_joined", "conference_left")]


@pytest.mark.parametrize("follow", [True, False])
async def test_who_answers_a_blind_transfer_takes_the_members_place(tmp_path: Path, follow: bool) -> None:
    async with House(tmp_path) as house:
        room = house.conference()
        one, other = await house.member(room, end_on_exit=True), await house.member(room)
        recorder = await house.record(one, RecordSpec(channels=2, follow_transfer=follow))
        staying = await house.record(other, SPLIT)
        await house.wait(1.0)
        refer = await house.refer(one)
        assert one.place is room and refer.told == [202], "it stays until somebody answers"
        await house.wait(1.0)
        await house.outcome(True)
        new = house.calls[-1]
        await house.wait(1.0)
        assert refer.told == [202, 200] and one.status == "hangup" and [member.call for member in room.members] == [other, new]
        assert house.hears(other, one, new) == [False, True] and house.hears(new, other, one) == [True, False]
        assert (new.recordings.active is recorder) == follow and recorder.active == follow and staying.active
        samples, rate = await house.sound(recorder)
        whole, _ = await house.sound(staying)
        first, second, third = house.voice(one), house.voice(other), house.voice(new)
        house.bye(new)
        await house.wait(0.2)
        assert room.status != "progressing" and other.status == "hangup", "it stood where one stood that ends the conference"
    assert level(samples[:, 0], rate, first, 0.3, 1.9) > 0.05 and level(samples[:, 1], rate, second, 0.3, 1.9) > 0.05
    assert level(whole[:, 1], rate, first, 0.3, 1.9) > 0.05 and level(whole[:, 1], rate, third, 2.3, 2.9) > 0.05
    if follow:
        assert level(samples[:, 0], rate, third, 2.3, 2.9) > 0.05 and level(samples[:, 1], rate, second, 2.3, 2.9) > 0.05
        assert names(recorder) == ["joined", "started", "transfer", "left", "joined", "stopped"]
    else:
        assert recorder.reason == "transfer" and 1.9 < len(samples) / rate < 2.2


async def test_where_nobody_answers_nothing_has_changed(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        room = house.conference()
        one, other = await house.member(room), await house.member(room)
        refer = await house.refer(one)
        again = await house.refer(one)
        assert again.told == [491], "one at a time"
        await house.outcome(False)
        await house.wait(1.0)
        assert refer.told == [202, 486] and one.status == "progressing"
        assert house.hears(other, one) == house.hears(one, other) == [True]
        assert house.transfers.totals == {"transfers_total": 2, "transfers_failed_total": 2}
        house.bye(one)
        assert room.members[0].call is other


@pytest.mark.parametrize("answered", [True, False])
async def test_a_conference_waits_for_who_takes_the_place_of_one_that_left_at_once(tmp_path: Path, answered: bool) -> None:
    async with House(tmp_path) as house:
        room = house.conference(kind="conversation", room="daily", spec=RoomSpec(moderated=True))
        moderator = await house.member(room, moderator=True, end_on_exit=True)
        await house.refer(moderator)
        house.bye(moderator)
        await house.wait(0.5)
        assert room.status == "progressing" and room.members == ()
        await house.outcome(answered)
        await house.wait(0.5)
        if answered:
            new = house.calls[-1]
            assert new.place is room and room.talking[0].spec.end_on_exit
            house.bye(new)
            await house.wait(0.5)
        assert room.status == "terminated"


async def test_who_takes_the_place_in_a_conference_that_has_ended_is_hung_up(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        room = house.conference()
        one = await house.member(room)
        refer = await house.refer(one)
        room.end("deleted")
        await house.outcome(True)
        assert refer.told == [202, 487] and house.calls[-1].status == "hangup"


@pytest.mark.parametrize("by", ["member", "talking"])
async def test_an_attended_transfer_brings_the_other_party_into_the_conference(tmp_path: Path, by: str) -> None:
    """One telephone is in a conference, and talks with a caller on another line: the caller takes its place, and its flow waits on."""
    async with House(tmp_path) as house:
        room = house.conference()
        other, member = await house.member(room), await house.member(room)
        caller, talking = await house.connected()
        inside, outside = await house.record(member, SPLIT), await house.record(talking, SPLIT)
        own = await house.record(caller, RecordSpec(channels=2, exclusive=False))
        await house.wait(1.0)
        refer = await (house.refer(member, replaces=talking) if by == "member" else house.refer(talking, replaces=member))
        assert refer.told == [202, 200]
        await house.wait(1.0)
        assert (member.status, talking.status, caller.status) == ("hangup", "hangup", "progressing")
        assert [each.call for each in room.members] == [other, caller]
        assert house.hears(other, caller, member) == [True, False] and house.hears(caller, other, talking) == [True, False]
        assert house.prompts.said == [], "its flow waits while it is in the conference"
        files = [await house.sound(recorder) for recorder in (inside, outside, own)]
        mine, theirs = house.voice(caller), house.voice(other)
        room.kick(room.members[1])
        await house.wait(0.2)
        assert house.prompts.said == ["afterwards"], "it goes on when the call has left"
    (one, rate), (two, _), (three, _) = files
    assert level(one[:, 0], rate, house.voice(member), 0.3, 0.9) > 0.05 and level(one[:, 0], rate, mine, 1.3, 1.9) > 0.05
    assert level(one[:, 1], rate, theirs, 0.3, 0.9) > 0.05 and level(one[:, 1], rate, theirs, 1.3, 1.9) > 0.05
    # What stood for the party that has gone stands for the conference now.
    assert level(two[:, 0], rate, house.voice(talking), 0.3, 0.9) > 0.05 and level(two[:, 0], rate, theirs, 1.3, 1.9) > 0.05
    assert level(two[:, 1], rate, mine, 0.3, 0.9) > 0.05 and level(two[:, 1], rate, mine, 1.3, 1.9) > 0.05
    assert level(three[:, 0], rate, mine, 0.3, 1.9) > 0.05
    assert level(three[:, 1], rate, house.voice(talking), 0.3, 0.9) > 0.05 and level(three[:, 1], rate, theirs, 1.3, 1.9) > 0.05
    assert [names(recorder).count("transfer") for recorder in (inside, outside, own)] == [1, 1, 1]


async def test_a_party_that_no_flow_leads_ends_with_its_stay(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        room = house.conference()
        other, member = await house.member(room), await house.member(room)
        caller, callee = await house.connected()
        refer = await house.refer(caller, replaces=member)
        await house.wait(0.5)
        assert refer.told == [202, 200] and caller.status == "hangup" and callee.place is room, "the callee goes on without its caller"
        room.end("deleted")
        await house.wait(0.2)
        assert callee.status == other.status == "hangup"


async def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        room = house.conference(spec=RoomSpec(moderated=True))
        waiting = await house.member(room)
        assert (await house.refer(waiting)).told == [603], "who only waits is with nobody"
        moderator = await house.member(room, moderator=True)
        assert (await house.refer(moderator, replaces=waiting)).told == [202, 481], "both are in it"
        assert (await house.refer(moderator, "sip:flow@192.0.2.9")).told == [202, 603], "a flow cannot be in it"
        assert [member.call for member in room.talking] == [waiting, moderator] and not house.dialled


async def test_who_calls_in_place_of_a_member_takes_its_place(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        room = house.conference()
        one, other = await house.member(room), await house.member(room)
        recorder = await house.record(one, SPLIT)
        await house.wait(0.5)
        new = house.ringing()
        assert house.transfers.may_replace(one, "")
        house.transfers.replace(one, new)
        assert new.offered(sdp())
        new.answer()
        house._pump()
        await house.wait(1.0)
        assert one.status == "hangup" and [member.call for member in room.members] == [other, new]
        assert house.hears(other, new, one) == [True, False] and new.recordings.active is recorder


# -- any sequence ------------------------------------------------------------------------------------------------------

DEEDS = st.sampled_from(["join", "connect", "record", "refer", "attended", "answer", "busy", "bye", "hold", "kick", "replace"])
STEPS = st.tuples(DEEDS, st.integers(0, 7), st.integers(0, 7), st.booleans())


@settings(max_examples=25, deadline=None)
@given(st.lists(STEPS, min_size=2, max_size=14))
def test_any_sequence_leaves_nobody_behind(tmp_path_factory: pytest.TempPathFactory, script: list[tuple[str, int, int, bool]]) -> None:
    asyncio.run(play(tmp_path_factory.mktemp("any"), script))


async def play(folder: Path, script: list[tuple[str, int, int, bool]]) -> None:
    made: list[Recorder] = []
    async with House(folder) as house:
        room = house.conference()
        await house.member(room)
        await house.connected()
        for deed, which, other, flag in script:
            up = [call for call in house.calls if call.status == "progressing"]
            if up:
                await do(house, room, deed, up[which % len(up)], up[other % len(up)], flag, made)
            await house.wait(0.1)
            assert len({member.call for member in room.members}) == len(room.members)
            assert all(member.call.place is room and not member.call.over for member in room.members)
        while house.dialled:
            await house.outcome(True)
        room.end("deleted")
        await house.wait(0.2)
        assert room.status != "progressing" and not room.members
    for recorder in made:
        judge(recorder)
    assert all(call.status == "hangup" and call.place is None and call.leg.closed for call in house.calls)
    assert not house.kit.recorders and not house.kit.taps


async def do(house: House, room: Conference, deed: str, call: Call, other: Call, flag: bool, made: list[Recorder]) -> None:
    match deed:
        case "join":
            await house.member(room, end_on_exit=False, mute=flag)
        case "connect" if not house.dialled:
            await house.connected()
        case "record":
            made.append(await house.record(call, RecordSpec(channels=2, exclusive=False, follow_transfer=flag)))
        case "refer":
            await house.refer(call)
        case "attended":
            await house.refer(call, replaces=other)
        case "answer" | "busy" if house.dialled:
            await house.outcome(deed == "answer")
        case "bye":
            house.bye(call)
        case "hold":
            await house.hold(call, flag)
        case "kick":
            for member in [each for each in room.members if each.call is call]:
                room.kick(member)
        case "replace" if house.transfers.may_replace(call, ""):
            new = house.ringing()
            house.transfers.replace(call, new)
            assert new.offered(sdp())
            new.answer()
            house._pump()


def judge(recorder: Recorder) -> None:
    """Who is there comes once before it leaves; who holds, likewise."""
    assert recorder.done.is_set()
    view = recorder.view()
    present, holding = {view.call_id: True}, dict[str, bool]()
    for item in view.timeline:
        if item["event"] in ("joined", "left"):
            assert present.get(item["call_id"], False) != (item["event"] == "joined"), view.timeline
            present[item["call_id"]] = item["event"] == "joined"
        elif item["event"] in ("held", "unheld"):
            assert holding.get(item["call_id"], False) != (item["event"] == "held"), view.timeline
            holding[item["call_id"]] = item["event"] == "held"
