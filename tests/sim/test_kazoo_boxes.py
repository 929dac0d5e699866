"""Who is let into which voicemail box by telephone, what it is told of, and what it may play."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from talking_calls import ACCOUNT, Exchange
from test_kazoo_stored import keep

from tapeline import flow
from tapeline.calls.kazoo.boxes import LOCKED_S, MOST_WRONG, Boxes, Visit, messages_of
from tapeline.calls.session import Call
from tapeline.calls.views import RecordingView
from tapeline.core.errors import NotFound, Unavailable
from tapeline.core.principal import Principal
from tapeline.core.settings import User
from tapeline.store import Search

USERS = [User(name="alice", id="A1", extension="1001", voicemail=True), User(name="bob", voicemail=True), User(name="carol")]
BOX = {"name": "Alice", "mailbox": "1001", "owner_id": "a1", "pin": "1234", "timezone": "Asia/Tokyo"}


def left(name: str, box: str, account: str = ACCOUNT, **notes: Any) -> RecordingView:
    custom = {"voicemail_box": box, "caller_id_number": "1002", "notes": notes}
    return RecordingView(name, account, "available", 1_793_579_700.0, origin="voicemail", custom=custom)  # on a Monday, 00:35 UTC


class Archive:
    def __init__(self, *messages: RecordingView) -> None:
        self.messages = list(messages)
        self.away = False

    async def search(self, wanted: Search, principal: Principal) -> list[RecordingView]:
        if self.away:
            raise Unavailable("the database is away")
        assert principal.account == wanted.account == ACCOUNT and not principal.admin
        rows = [one for one in self.messages if one.account == wanted.account]
        start = next((number for number, one in enumerate(rows, 1) if wanted.after is not None and one.id == wanted.after[1]), 0)
        return rows[start : start + wanted.limit]

    async def annotate(self, recording_id: str, notes: Mapping[str, Any], principal: Principal) -> RecordingView:
        found = next((one for one in self.messages if one.id == recording_id), None)
        if found is None:
            raise NotFound("gone")
        changed = replace(found, custom={**found.custom, "notes": dict(notes)})
        self.messages = [changed if one is found else one for one in self.messages]
        return changed


class Office(Exchange):
    def __init__(self, folder: Path, *messages: RecordingView) -> None:
        super().__init__(folder, users=USERS)
        self.archive = Archive(*messages)
        self.kit.boxes = Boxes(self.kit, self.archive)
        keep(self, "vmbox", "b1", **BOX)

    def visit(self, user: str = "") -> Visit:
        return Visit(self.of(user), self.kit)

    async def pass_by(self, seconds: float) -> None:
        """Let time pass in small steps, so that what follows from one thing begins when it would."""
        for _ in range(round(seconds / 0.1)):
            await self.wait(0.1)

    def of(self, user: str) -> Call:
        return self._call(True, user=user)


async def ask(visit: Visit, action: str, value: str = "", folder: str = "", **more: bool) -> str:
    return (await visit.answer(flow.Mailbox(1, action, value, folder, **more))).result


@pytest.mark.parametrize(
    ("user", "box", "change", "result"),
    [
        ("alice", "b1", {}, "in"),
        ("alice", "B1", {}, "in"),
        ("alice", "b1", {"require_pin": True}, "pin"),
        ("bob", "b1", {}, "pin"),
        ("", "b1", {}, "pin"),
        ("bob", "b1", {"pin": None}, "closed"),
        ("alice", "b1", {"pin": None}, "in"),
        ("bob", "bob", {}, "in"),  # a user's, of which no document tells
        ("alice", "bob", {}, "closed"),
        ("", "bob", {}, "closed"),
        ("alice", "none", {}, "missing"),
    ],
)
async def test_the_owner_comes_in_and_all_others_need_the_pin(
    tmp_path: Path, user: str, box: str, change: dict[str, Any], result: str
) -> None:
    async with Office(tmp_path) as office:
        keep(office, "vmbox", "b1", **BOX | change)
        assert await ask(office.visit(user), "open", box) == result


async def test_a_box_that_nobody_names_is_the_callers_only_one_or_of_its_number(tmp_path: Path) -> None:
    async with Office(tmp_path) as office:
        assert await ask(office.visit("alice"), "open", single=True) == "in"
        assert await ask(office.visit("alice"), "open") == "missing"
        assert await ask(office.visit("bob"), "open") == "in", "its own, of the settings"
        assert await ask(office.visit("carol"), "open") == await ask(office.visit(), "open", single=True) == "missing"
        keep(office, "vmbox", "b2", **BOX | {"mailbox": office.of("").facts.source.target})
        caller = office.of("")
        keep(office, "vmbox", "b2", **BOX | {"mailbox": caller.facts.source.target})
        assert await ask(Visit(caller, office.kit), "open", by_caller=True) == "pin"


async def test_a_wrong_pin_opens_nothing_and_too_many_lock_the_box_for_a_while(tmp_path: Path) -> None:
    async with Office(tmp_path, left("m1", "b1")) as office:
        for number in range(MOST_WRONG):
            visit = office.visit()  # each on a call of its own
            assert await ask(visit, "number", "1001") == "pin"
            assert await ask(visit, "pin", "4321") == "wrong", number
            told = await visit.answer(flow.Mailbox(1, "list"))
            assert told.messages == () and await ask(visit, "file", "m1", "deleted") == "failed" and not visit.playable
        assert await ask(visit, "pin", "1234") == "locked" and await ask(office.visit("bob"), "open", "b1") == "locked"
        assert await ask(office.visit("alice"), "open", "b1") == "in", "who needs no PIN is not kept out"
        now = office.kit.clock.now()
        office.kit.clock.now = lambda: now + LOCKED_S + 1  # type: ignore[method-assign]
        assert await ask(visit, "pin", "1234") == "in"


async def test_a_number_that_no_box_has_is_not_told_from_one_with_another_pin(tmp_path: Path) -> None:
    async with Office(tmp_path) as office:
        visit = office.visit()
        assert await ask(visit, "number", "999") == "pin"
        assert [await ask(visit, "pin", pin) for pin in ("1234", "")] == ["wrong", "wrong"]
        keep(office, "vmbox", "b3", mailbox="77")
        assert [await ask(visit, "number", "77"), await ask(visit, "pin", "")] == ["pin", "wrong"]


async def test_messages_are_told_oldest_first_in_the_boxs_time_and_filed(tmp_path: Path) -> None:
    others = [left(f"x{number}", "other") for number in range(300)]
    mine = [left("m3", "b1", folder="saved"), *others, left("m2", "B1"), left("m1", "b1")]
    async with Office(tmp_path, *mine) as office:
        visit = office.visit("alice")
        await ask(visit, "open", "b1")
        told = await visit.answer(flow.Mailbox(1, "list"))
        assert [(one.id, one.folder) for one in told.messages] == [("m1", "new"), ("m2", "new"), ("m3", "saved")]
        assert (told.messages[0].caller, told.messages[0].when) == ("1002", "Monday, November 2, 9:35")
        assert visit.playable == {"recording:m1", "recording:m2", "recording:m3"}
        assert await ask(visit, "file", "m1", "deleted") == "done" and await ask(visit, "file", "x1", "deleted") == "failed"
        assert office.archive.messages[-1].custom["notes"] == {"folder": "deleted"}
        office.archive.messages.pop()
        assert await ask(visit, "file", "m1", "saved") == "failed"


async def test_a_page_of_messages_is_no_longer_than_wanted() -> None:
    archive = Archive(*[left(f"m{number}", "b1") for number in range(7)])
    found = await messages_of(lambda wanted: archive.search(wanted, Principal(ACCOUNT)), ACCOUNT, {"b1"}, 3)
    assert [view.id for view in found] == ["m0", "m1", "m2"]


async def test_only_a_box_with_a_document_sends_its_owner_to_its_messages(tmp_path: Path) -> None:
    async with Office(tmp_path) as office:
        assert await ask(office.visit("alice"), "whose", "b1") == "own"
        assert await ask(office.visit("bob"), "whose", "b1") == await ask(office.visit("bob"), "whose", "bob") == ""
        keep(office, "vmbox", "b1", **BOX | {"check_if_owner": False})
        assert await ask(office.visit("alice"), "whose", "b1") == ""


async def test_a_call_hears_the_messages_that_it_was_told_of_and_no_other_recordings(tmp_path: Path) -> None:
    async with Office(tmp_path, left("m1", "b1"), left("m2", "other")) as office:
        loaded: list[str] = []
        prompts = office.kit.prompts

        async def load(address: str, rate: int) -> Any:
            loaded.append(address)
            return prompts.beep(rate)

        office.kit.prompts.load = load  # type: ignore[method-assign]
        call = office.of("alice")
        office.arrive(call)
        document = {"module": "voicemail", "data": {"action": "check", "id": "b1"}, "children": {"_": PLAY_ANOTHER}}
        script = await office.follow(call, document)
        for key in "17*":
            await office.pass_by(3.0)
            script.digit(key)
        await office.pass_by(8.0)
        assert loaded == ["recording:m1"] and call.status == "hangup"
        assert office.archive.messages[0].custom["notes"] == {"folder": "deleted"}


async def test_an_archive_that_is_away_ends_no_call_and_is_said(tmp_path: Path) -> None:
    async with Office(tmp_path, left("m1", "b1")) as office:
        office.archive.away = True
        call = office.of("alice")
        office.arrive(call)
        script = await office.follow(call, {"module": "voicemail", "data": {"action": "check", "id": "b1"}})
        await office.pass_by(8.0)
        assert script.done.is_set() and call.status == "hangup"


PLAY_ANOTHER = {"module": "play", "data": {"id": "recording:m2"}}
