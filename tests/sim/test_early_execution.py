"""A flow's `call` whose own flow begins while it rings: what needs nobody runs, what needs an answer waits for it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from talking_calls import Exchange, sdp

from tapeline import sip
from tapeline.calls.dialer import DialResult
from tapeline.calls.session import Call

SET = {"type": "variable_set", "option": {"key": "begun", "value": "yes"}}
SPOKEN = [SET, {"type": "talk", "option": {"text": "hello"}}, {"type": "sleep", "option": {"duration": 60_000}}]


class Ringing:
    """What the dialer has follow a call until it is answered."""

    def __init__(self, call: Call, on_progress: Any) -> None:
        self.call, self.on_progress = call, on_progress
        self.done = asyncio.Event()

    def progressed(self, status: int) -> None:
        self.on_progress(self.call, status)

    def established(self) -> None:
        self.done.set()

    def digit(self, digit: str) -> None:
        pass

    def hung_up(self, cause: str, by: str) -> None:
        self.done.set()

    @property
    def action(self) -> dict[str, Any]:
        return {}


class House(Exchange):
    """Whom a flow calls rings until the test says otherwise."""

    async def _dial(self, wish: Any, on_progress: Any, on_call: Any = lambda call: None) -> DialResult:
        call = self._call(False)
        call.media.offer()
        waits = Ringing(call, on_progress)
        call.follow(waits)
        on_call(call)
        await waits.done.wait()
        return DialResult(call) if call.status == "progressing" else DialResult(None, ("BUSY",), "busy")

    async def placed_by(self, option: dict[str, Any]) -> Call:
        document = [{"type": "call", "option": {"destinations": [{"type": "tel", "target": "+1"}], **option}}, SPOKEN[-1]]
        await self.follow(self.caller(), {"actions": document})
        await self.settle()
        return self.calls[-1]

    async def rings(self, call: Call) -> None:
        self.tell(sip.Progress(call.session, 180, "Ringing", None))  # type: ignore[arg-type]
        await self.settle()

    async def answers(self, call: Call) -> None:
        call.session.state = "confirmed"
        self.tell(sip.Accepted(call.session, sdp(), None))  # type: ignore[arg-type]
        await self.settle()

    def run_of(self, call: Call) -> Any:
        live = self.kit.runs.get(call.facts.activeflow_id)
        return live.row if live is not None else None


@pytest.mark.parametrize("early", [True, False])
async def test_the_flow_begins_with_the_ringing_or_with_the_answer(tmp_path: Path, early: bool) -> None:
    async with House(tmp_path) as house:
        call = await house.placed_by({"actions": SPOKEN, "early_execution": early})
        assert house.run_of(call) is None
        await house.rings(call)
        assert call.status == "ringing"
        if early:
            assert house.run_of(call).variables["begun"] == "yes"
            assert call.view().action["type"] == "talk" and not house.kit.players, "speech waits for the answer"
        else:
            assert house.run_of(call) is None
        await house.answers(call)
        assert call.status == "progressing" and len(house.kit.players) == 1
        await house.wait(1.5)
        assert call.view().action["type"] == "sleep"
        assert house.run_of(call).variables["begun"] == "yes"


async def test_a_flow_that_ends_while_it_rings_ends_the_ringing(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        call = await house.placed_by({"actions": [SET], "early_execution": True})
        await house.rings(call)
        await house.settle()
        assert call.over and house.run_of(call) is None


async def test_who_does_not_answer_ends_the_flow_that_has_begun(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        call = await house.placed_by({"actions": SPOKEN, "early_execution": True})
        await house.rings(call)
        assert house.run_of(call) is not None
        house.tell(sip.Ended(call.session, "remote", 486, "busy", "Busy Here"))  # type: ignore[arg-type]
        await house.settle()
        assert call.status == "hangup" and house.run_of(call) is None and not house.kit.players
