"""Conferences as who is called, by a flow that connects and by a call of its own; the flows that come before and after. In virtual time."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ncco_stage import SPOKEN_HZ, Stage, Talkers, level
from talking_calls import ACCOUNT, Exchange

from tapeline import flow
from tapeline.calls.conference.conference import Conference
from tapeline.calls.conference.loops import Loops
from tapeline.calls.conference.members import Charter
from tapeline.calls.dialer import DialResult, Wish
from tapeline.calls.placing import compiled, place
from tapeline.calls.recorder import Recorder
from tapeline.calls.script import begin
from tapeline.calls.session import Call
from tapeline.calls.views import Address
from tapeline.core.errors import NotFound
from tapeline.core.ids import new_id
from tapeline.core.roomspec import RoomSpec
from tapeline.rtp import Event, MediaStarted

PACKET_S = 0.02
FLOWS = {"before": "hello", "after": "goodbye"}


class House(Stage):
    """A stage on which conferences are called. What one end of a loop sends, the other gets."""

    def __init__(self, folder: Path) -> None:
        self.looped: list[Call] = []
        super().__init__(folder)
        self.prompts = Talkers()
        self.kit.prompts = self.prompts  # type: ignore[assignment]
        self.kit.loops = Loops(self.kit, self.looped.append, lambda call: None)
        self.kit.load_flow = self._load  # type: ignore[assignment]
        self._carried = 0

    async def _load(self, flow_id: str, account: str) -> str:
        if flow_id not in FLOWS:
            raise NotFound(f"there is no flow {flow_id}")
        return json.dumps([{"type": "talk", "option": {"text": FLOWS[flow_id]}}])

    def conference(self, **fields: Any) -> Conference:
        return self.kit.conferences.create(Charter(new_id(), ACCOUNT, self.kit.clock.wall(), **fields))

    def _deliver(self, event: Event) -> None:
        if isinstance(event, MediaStarted) and event.leg in [call.leg for call in self.looped]:
            next(call for call in self.looped if call.leg is event.leg).on_media(event)
        else:
            super()._deliver(event)

    async def wait(self, seconds: float) -> None:
        for number in range(round(seconds / PACKET_S)):
            Exchange.run(self, PACKET_S)
            sent, self._carried = self.engine.sent[self._carried :], len(self.engine.sent)
            for near, far in zip(self.looped[::2], self.looped[1::2], strict=True):
                for one, other in ((near, far), (far, near)):
                    for packet in sent:
                        if packet.leg == one.leg.id and not packet.rtcp:
                            self.engine.inject(other.leg, packet.data, self.engine.now(), source=("127.0.0.1", one.leg.port))
            if number % 5 == 4:
                await self.settle()

    async def call(self, conference: str, actions: list[Any]) -> tuple[Call, ...]:
        program = compiled(actions)
        wish = Wish((flow.Party("conference", conference),), ACCOUNT, source=Address("tel", "+4930"))
        placed = await place(wish, self.kit, lambda call: begin(program, call, self.kit))
        await self.settle()
        return placed


def talk(text: str) -> dict[str, Any]:
    return {"type": "talk", "option": {"text": text}}


def connect(*targets: tuple[str, str], **more: Any) -> dict[str, Any]:
    return {"type": "connect", "option": {"destinations": [{"type": kind, "target": target} for kind, target in targets], **more}}


async def test_a_caller_is_connected_with_a_conference_and_its_flow_goes_on_after_it(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        room = house.conference()
        first = await house.dial_in([{"type": "conference_join", "option": {"conference_id": room.id}}])
        caller = await house.dial_in([connect(("tel", "+4930"), ("conference", room.id)), talk("${voipbin.connect.result}")])
        await house.wait(1.0)
        assert caller.place is room and caller.status == "progressing" and not house.dialled, "a conference answers at once"
        end = house.engine.now()
        assert level(house.heard(caller, end - 0.5, end), 8000, house.voice(first)) > 0.05
        room.kick(next(member for member in room.members if member.call is caller))
        await house.wait(2.0)
        assert house.prompts.said == ["answered"] and caller.status == "hangup" and first.place is room


async def test_a_conference_that_cannot_be_joined_leaves_the_caller_unanswered(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        full = house.conference(spec=RoomSpec(max_members=1))
        await house.dial_in([{"type": "conference_join", "option": {"conference_id": full.id}}])
        caller = await house.dial_in([connect(("conference", full.id), ("sip", "sip:desk@192.0.2.7"))])
        assert caller.status == "ringing" and caller.place is None
        (wish, _), = house.dialled
        assert [party.kind for party in wish.parties] == ["conference", "sip"], "who else is named rings; what is no party has its cause"
        await house.outcome(False)
        assert caller.status == "hangup"


async def test_who_is_paged_hears_the_caller_and_is_heard_only_where_that_is_wanted(tmp_path: Path) -> None:
    for audio in ("one-way", "two-way"):
        async with House(tmp_path / audio) as house:
            wishes: list[Wish] = []

            async def answers(wish: Wish, on_progress: Any, on_call: Any, house: House = house, wishes: list[Wish] = wishes) -> DialResult:
                wishes.append(wish)
                call = house.callee(wish.caller)
                on_call(call)
                return DialResult(call)

            house.kit.dialer = SimpleNamespace(dial=answers)  # type: ignore[assignment]
            data = {"audio": audio, "endpoints": [{"endpoint_type": "user", "id": name} for name in ("ann", "ben")]}
            caller = await house.dial_in({"module": "page_group", "data": data})
            await house.wait(2.0)
            ann, ben = house.calls[1:]
            assert caller.place is ann.place is ben.place is not None and dict(wishes[0].headers)["Answer-Mode"] == "Auto"
            end = house.engine.now()
            for hearer, speaker, heard in ((ann, caller, True), (caller, ann, audio == "two-way"), (ben, ann, audio == "two-way")):
                loud = level(house.heard(hearer, end - 0.5, end), 8000, house.voice(speaker))
                assert (loud > 0.05) is heard, (audio, loud)
            house.bye(caller)
            await house.wait(2.0)
            assert ann.status == ben.status == "hangup"


async def test_in_order_a_conference_waits_for_its_turn(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        room = house.conference()
        caller = await house.dial_in([connect(("sip", "sip:desk@192.0.2.7"), ("conference", room.id), strategy="in_order")])
        (wish, _), = house.dialled
        assert [party.kind for party in wish.parties] == ["sip"] and caller.place is None
        await house.outcome(False)
        assert caller.place is room
        room.end("deleted")
        await house.wait(0.2)
        assert caller.status == "hangup", "the flow was over"


async def test_the_flows_before_and_after_a_conference_run_for_each_caller(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        room = house.conference(pre_flow_id="before", post_flow_id="after")
        join = {"type": "conference_join", "option": {"conference_id": room.id}}
        caller = await house.dial_in([join, talk("more")])
        assert house.prompts.said == ["hello"] and caller.place is None
        await house.wait(1.5)
        assert caller.place is room and house.prompts.said == ["hello"]
        other = await house.dial_in([connect(("conference", room.id), relay_reason=False), talk("after all")])
        await house.wait(1.5)
        assert other.place is room
        room.kick(room.members[0])
        await house.wait(0.2)
        assert house.prompts.said == ["hello", "hello", "goodbye"]
        await house.wait(1.5)
        assert house.prompts.said[3:] == ["more"]
        house.bye(other)
        await house.wait(1.5)
        assert house.prompts.said[4:] == [], "who hung up runs nothing more"


async def test_a_flow_after_a_conference_that_cannot_be_had_holds_up_nobody(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        room = house.conference(post_flow_id="gone")
        await house.dial_in([{"type": "conference_join", "option": {"conference_id": room.id}}, talk("more")])
        room.end("deleted")
        await house.wait(0.2)
        assert house.prompts.said == ["more"]


async def test_a_call_to_a_conference_speaks_in_it_and_records_it(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        room = house.conference(pre_flow_id="before", post_flow_id="after")
        member = await house.dial_in([{"type": "conference_join", "option": {"conference_id": room.id}}])
        await house.wait(1.5)
        record = {"type": "recording_start", "option": {"format": "wav", "split": True}}
        actions = [record, talk("news"), {"type": "sleep", "option": {"duration": 2000}}]
        (near,) = await house.call(room.id, actions)
        far = house.looped[1]
        assert (near.status, far.status, near.incoming, far.incoming) == ("progressing", "progressing", False, True)
        assert far.place is room and near.view().chained_call_ids == (far.facts.id,) and near.facts.destination.target == room.id
        began = house.engine.now()
        await house.wait(1.5)
        assert house.prompts.said == ["hello", "news"], "its own flow alone speaks"
        assert level(house.heard(member, began + 0.3, began + 0.9), 8000, SPOKEN_HZ) > 0.05
        (recorder,) = list(near.recordings)
        await house.wait(3.0)
        assert near.status == far.status == "hangup" and far.place is None and member.place is room
        samples, rate = await file_of(house, recorder)
        seconds = len(samples) / rate
        assert 2.8 < seconds < 3.3
        assert level(samples[:, 1], rate, SPOKEN_HZ, 0.3, 0.9) > 0.05 > level(samples[:, 0], rate, SPOKEN_HZ, 0.3, 0.9)
        assert level(samples[:, 0], rate, house.voice(member), 0.3, 2.8) > 0.05


async def test_a_call_to_a_conference_ends_with_it(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        room = house.conference()
        (near,) = await house.call(room.id, [{"type": "sleep", "option": {"duration": 60000}}])
        await house.wait(0.2)
        room.end("deleted")
        await house.wait(0.2)
        assert near.status == house.looped[1].status == "hangup"
        assert await house.call(room.id, []) == () and await house.call("nothing", []) == ()


async def file_of(house: House, recorder: Recorder) -> Any:
    await house.wait(3.0)
    return house.file(recorder)
