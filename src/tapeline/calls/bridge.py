"""A bridge: two calls that hear each other on one bus, until one of them leaves; a flow may add more.

Where two speak the same codec the engine relays their packets untouched; else it mixes. The bridge passes keys on, plays music to
whom the only other one has put on hold, and tells who waits when a call has left (`until_left`). Of more than two any may leave, until
one is alone. What a party that a flow leads does then is its script's business; others are hung up. A transfer swaps a party: the bridge
goes on, and so does who waits for its end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import structlog

from tapeline import rtp
from tapeline.calls import company
from tapeline.calls.equipment import Equipment
from tapeline.calls.session import Call
from tapeline.core.errors import TapelineError
from tapeline.core.roomspec import JoinSpec, ignores

__all__ = ["Bridge", "until_alone"]

log = structlog.get_logger(__name__)

MOST = 40  # legs in one bridge, those included that are about to be replaced


class Bridge:
    """Made with both calls; they may still be ringing (early media). Without an `other` somebody is about to be added."""

    def __init__(self, one: Call, other: Call | None, equipment: Equipment) -> None:
        self._kit = equipment
        self._calls: list[Call] = []
        self._held: set[str] = set()  # ids of the calls whose party holds
        self._music: dict[str, rtp.Player] = {}  # by the id of the call that hears it
        rate = 8000 if max(one.leg.rate, other.leg.rate if other is not None else 16000) <= 8000 else 16000
        self._bus = equipment.engine.open_bus(rate, capacity=MOST, beside=one.leg)
        self._left: dict[str, asyncio.Future[tuple[Call, ...]]] = {}  # by the id of the call that is in it
        self.changing: tuple[Call, Callable[[], None]] | None = None  # whose place will be taken; what is to be done if it goes before
        self._parts: dict[str, JoinSpec] = {}  # by the id of the call: whom it hears, and by whom it is heard
        for call in (one, other) if other is not None else (one,):
            self._join(call)

    @property
    def bus(self) -> rtp.Bus:
        return self._bus

    @property
    def calls(self) -> tuple[Call, ...]:
        return tuple(self._calls)

    def other(self, call: Call) -> Call | None:
        """Whom alone `call` talks with; None where there are more."""
        others = self.others(call)
        return others[0] if len(others) == 1 else None

    def others(self, call: Call) -> tuple[Call, ...]:
        return tuple(each for each in self._calls if each is not call)

    # -- who is in it --------------------------------------------------------------------------------------------------

    def _join(self, call: Call) -> None:
        if call.place is not None:
            call.place.leave(call)
        call.place = self
        others = self.calls
        self._calls.append(call)
        self._left[call.facts.id] = asyncio.get_running_loop().create_future()
        for other in others:
            if self._ignores(other, call):  # to be told before it can be heard
                self._bus.ignore(other.leg, call.leg)
        try:
            self._bus.add(call.leg, hear=float(call.hears), speak=float(call.speaks))
        except TapelineError:
            self._calls.remove(call)
            del self._left[call.facts.id]
            call.place = None
            raise
        for other in others:
            if self._ignores(call, other):
                self._bus.ignore(call.leg, other.leg)
        company.came(call)
        if call.media.held:
            self.held(call, True)
        self._tend()

    def _ignores(self, one: Call, other: Call) -> bool:
        if not self._parts:
            return False
        first, second = (self._parts.get(call.facts.id, JoinSpec()) for call in (one, other))
        return ignores((one.facts.id, first), (other.facts.id, second))

    def add(self, call: Call, spec: JoinSpec | None = None) -> None:
        """One more talks with all, or with those whom `spec` names. Raises BusFull."""
        if spec is not None and (spec.can_hear is not None or spec.can_speak is not None):
            self._parts[call.facts.id] = spec
        self._join(call)

    def swap(self, leaving: Call, coming: Call) -> None:
        """Put `coming` in the place of `leaving`, which may have left already; the bridge goes on."""
        self.changing = None
        if leaving in self._calls:
            self._part(leaving, ())
            company.left(leaving, self.calls)
        self._join(coming)

    def change(self, leaving: Call, then: Callable[[], None]) -> None:
        """From now on `leaving` may go without ending the bridge: who takes its place is on the way. `then` is called if it goes."""
        self.changing = leaving, then

    def leave(self, call: Call) -> None:
        """One leaves, and the bridge is over: both are out of it. Whom no flow leads is hung up."""
        if call not in self._calls:
            return
        behind = self.others(call)
        if behind and self.changing is not None and self.changing[0] is call:
            self._part(call, ())
            company.left(call, behind)
            self.changing[1]()
            return
        if len(behind) > 1:
            self._part(call, ())
            company.left(call, behind)
            return
        self.changing = None
        self._part(call, behind)
        company.left(call, behind)
        for each in behind:
            self._part(each, (call,))
        self._bus.close()
        for each in behind:
            if not each.led and each.status == "progressing":
                each.hang_up("normal")

    def dissolve(self, leaving: Call) -> None:
        """Let both go at once, `leaving` for good; where the other goes on is decided elsewhere."""
        self.changing = None
        behind = self.others(leaving)
        for each in self.calls:
            self._part(each, ())
        company.left(leaving, behind)
        self._bus.close()

    async def until_left(self, call: Call) -> tuple[Call, ...]:
        """Wait until `call` is no longer in it. With whom it was when the bridge was over; nobody where the bridge goes on without it."""
        left = self._left.get(call.facts.id)
        return await asyncio.shield(left) if left is not None else ()

    def _part(self, call: Call, others: tuple[Call, ...]) -> None:
        if call.media.held:
            self.held(call, False)
        self._silence(call)
        self._calls.remove(call)
        call.place = None
        self._left[call.facts.id].set_result(others)
        self._bus.remove(call.leg)
        self._tend()

    # -- what happens to them ------------------------------------------------------------------------------------------

    def on_digit(self, call: Call, digit: str, *, event: bool) -> None:
        if event and self._bus.passes_digits(call.leg):
            return  # the engine has sent the event on itself
        for other in self.others(call):
            if not other.over:
                other.send_digits(digit)

    def play(self, samples: Any, then: Callable[[bool], None]) -> rtp.Player:
        """Let all hear `samples` (int16[n] at the bus's rate); `then(stopped)` follows in any case."""
        player = self._bus.play(samples)
        self._kit.players[player.id] = then
        for each in self._calls:
            each.recordings.sounded(self._kit.clock.now(), "out")
        return player

    def held(self, call: Call, on: bool) -> None:
        """The party of `call` holds: it neither hears nor is heard, and the other one hears music."""
        if on == (call.facts.id in self._held):
            return
        (self._held.add if on else self._held.discard)(call.facts.id)
        self.changed(call)

    def changed(self, call: Call) -> None:
        self._bus.set_gain(call.leg, hear=float(call.hears), speak=float(call.speaks))
        company.quiet(call, not call.speaks)
        self._tend()

    def note(self, event: str, **facts: Any) -> None:
        """Keep an event on the timeline of each recording of either."""
        for each in self._calls:
            each.recordings.note(event, **facts)

    def _tend(self) -> None:
        """Give music to whom a hold parts from the only other one, and take it from all others."""
        for call in self._calls:
            if not self._waits(call):
                self._silence(call)
            elif call.facts.id not in self._music:
                self._kit.spawn(self._entertain(call))

    def _waits(self, call: Call) -> bool:
        other = self.other(call)
        if other is None or call.controls.on_hold:  # whom we have put on hold has music of its own
            return False
        return other.facts.id in self._held or other.controls.on_hold

    async def _entertain(self, call: Call) -> None:
        music = await self._kit.prompts.music(call.leg.rate)
        if call.place is self and self._waits(call) and call.facts.id not in self._music:
            self._music[call.facts.id] = call.play(music, lambda stopped: None, loop=True)

    def _silence(self, call: Call) -> None:
        player = self._music.pop(call.facts.id, None)
        if player is not None:
            player.stop()


async def until_alone(call: Call) -> tuple[Call, ...]:
    """Wait until `call` is with nobody any more, whatever transfers come between, to a conference too. With whom its bridge ended."""
    others: tuple[Call, ...] = ()
    while call.place is not None:
        others = await call.place.until_left(call)
    return others
