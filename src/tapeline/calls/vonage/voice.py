"""What an application does with its calls: places them, sees them, changes those that are up. Another application's call is not there.

What is heard and spoken beside a call's document is kept here by call: one sound and one speech at a time, the newer in place of the older.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import structlog

from tapeline import flow
from tapeline.audio import tones
from tapeline.calls.connecting import limit, press
from tapeline.calls.controls import Muted
from tapeline.calls.dialer import Wish
from tapeline.calls.equipment import Equipment
from tapeline.calls.errors import call_not_found, not_progressing
from tapeline.calls.placing import place
from tapeline.calls.rows import call_view
from tapeline.calls.session import Call
from tapeline.calls.sounds import LEVEL_DB
from tapeline.calls.switch import Switch
from tapeline.calls.views import Address, CallView
from tapeline.calls.vonage.answering import answer, ask_on, lead_on, run
from tapeline.core.errors import Exhausted, InvalidInput, InvalidState, TapelineError, Unavailable
from tapeline.flow import Party
from tapeline.flow.ops.asking import Connect
from tapeline.flow.program import Program
from tapeline.rtp import Player
from tapeline.store import Application, CallFilter, Database

__all__ = ["Order", "Voice", "endpoint", "ncco"]

log = structlog.get_logger(__name__)

Sound = Literal["stream", "talk"]
NO_DETECTION = "answering machines are not recognised here: whoever answers is taken for a person"


@dataclass(frozen=True, slots=True)
class Order:
    """A call to be placed: whom to call (and how, as a `connect` says it), as whom, and what runs once it is answered."""

    to: Party
    options: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""
    any_number: bool = False
    program: Program | None = None  # None: `answer_url` is asked
    answer_url: str = ""
    answer_method: str = "GET"
    event_url: str = ""
    event_method: str = "POST"
    length_s: float = 7200.0
    ring_s: float = 60.0
    detection: bool = False  # of answering machines was asked for


def endpoint(document: Mapping[str, Any]) -> tuple[Party, Mapping[str, Any]]:
    """Whom an endpoint names, and how it is called, as a `connect` reads it. Raises InvalidInput."""
    program = ncco([{"action": "connect", "endpoint": [document]}])
    found = next(step.op for step in program.steps.values() if isinstance(step.op, Connect))
    return found.destination, found.options


def ncco(document: Any) -> Program:
    """The program of an NCCO. Takes a while for a long one. Raises InvalidInput with every problem."""
    found = flow.compile(document, dialect="vonage")
    if found.program is None:
        raise InvalidInput("the NCCO cannot run", problems=[str(problem) for problem in found.errors[:20]])
    return found.program


class Voice:
    """Every method raises NotFound where the call is not the application's own, InvalidState where it is not up."""

    def __init__(self, switch: Switch, database: Database, equipment: Equipment) -> None:
        self._switch = switch
        self._database = database
        self._kit = equipment
        self._sounds: dict[tuple[str, Sound], _Sound] = {}

    # -- placing and seeing --------------------------------------------------------------------------------------------

    async def place(self, order: Order, application: Application) -> CallView:
        """Raises InvalidState where nobody can be called, Unavailable where the server is about to stop."""
        if not self._switch.accepting:
            raise Unavailable("the server is about to stop", reason="DRAINING")
        source = order.source or (self._own_number(application.id) if order.any_number else "")
        wish = Wish(
            parties=(order.to,),
            account=application.account,
            source=Address("tel" if source.isdigit() else "sip", source) if source else None,
            timeout_s=order.ring_s,
            application_id=application.id,
            event_url=order.event_url,
            event_method=order.event_method if order.event_url else "",
            headers=order.options.get("headers", ()),
        )
        placed = await self._placed(wish, order)
        if placed is None:
            raise InvalidState("this endpoint cannot be called", reason="DESTINATION_UNREACHABLE", hint="the log says why")
        return placed.view()

    async def _placed(self, wish: Wish, order: Order) -> Call | None:
        """The call that is under way to a party, or to a websocket; None where there is none."""

        def answered(call: Call) -> None:
            self._answered(call, order)

        if "websocket" not in order.options:
            return next(iter(await place(wish, self._kit, answered)), None)
        try:
            return await self._kit.sockets.place(wish, order.options, answered)
        except (OSError, Exhausted):
            return None

    def _own_number(self, application_id: str) -> str:
        own = [rule.match for rule in self._kit.settings.numbers if rule.application.lower() == application_id]
        numbers = [match for match in own if match.lstrip("+").isdigit()]
        return random.choice(numbers) if numbers else ""

    def _answered(self, call: Call, order: Order) -> None:
        limit(call, order.length_s, self._kit)
        if order.detection:
            self._kit.webhooks.complain(call, NO_DETECTION)
        if order.options.get("dtmf_answer"):
            self._kit.spawn(press(call, order.options["dtmf_answer"]))
        if order.program is not None:
            run(order.program, call, self._kit)
        else:
            answer(call, order.answer_url, order.answer_method, self._kit)

    async def get(self, call_id: str, application: Application) -> CallView:
        call = self._switch.call(call_id)
        view = call.view() if call is not None else self._switch.ended_view(call_id)
        if view is None:
            row = await self._database.calls.get(call_id)
            view = call_view(row) if row is not None else None
        if view is None or view.application_id != application.id or view.deleted is not None:
            raise call_not_found(call_id)
        return view

    async def list(self, wanted: CallFilter, application: Application) -> tuple[int, Sequence[CallView]]:
        """How many there are, and a page of them."""
        await self._kit.writer.drain(1.0)
        total, rows = await self._database.calls.of_application(application.id, wanted)
        live = [self._switch.call(row.id) for row in rows]
        return total, [call.view() if call is not None else call_view(row) for call, row in zip(live, rows, strict=True)]

    # -- one that is up ------------------------------------------------------------------------------------------------

    async def hang_up(self, call_id: str, application: Application) -> None:
        view = await self.get(call_id, application)
        call = self._switch.call(call_id)
        if call is None or call.over:
            raise InvalidState(f"the call is over: {view.status}", reason="CALL_ALREADY_HANGUP")
        call.hang_up("normal", "hung up over the API")

    async def mute(self, call_id: str, application: Application, *, heard: bool | None = None, hears: bool | None = None) -> None:
        """Whether the party is heard by others, and whether it hears them. None leaves it."""
        call = await self._up(call_id, application)
        before = call.controls.muted
        silent = before in ("in", "both") if heard is None else not heard
        deaf = before in ("out", "both") if hears is None else not hears
        muted: Muted = "both" if silent and deaf else "in" if silent else "out" if deaf else ""
        if muted != before:
            call.controls.mute(muted)

    async def transfer(self, call_id: str, application: Application, program: Program | None, url: str = "") -> None:
        """Let another document take the place of the one that runs: `program`, or what `url` answers with."""
        call = await self._up(call_id, application)
        if program is not None:
            lead_on(program, call, self._kit)
        else:
            self._kit.spawn(ask_on(call, url, self._kit))

    async def talk(self, call_id: str, application: Application, text: str, language: str, *, loops: int, level: float) -> None:
        call = await self._up(call_id, application)
        self._sound(call, "talk", lambda: self._kit.prompts.say(text, language, call.leg.rate), loops, level)

    async def stream(self, call_id: str, application: Application, url: str, *, loops: int, level: float) -> None:
        call = await self._up(call_id, application)
        self._sound(call, "stream", lambda: self._kit.prompts.load(url, call.leg.rate), loops, level)

    async def hush(self, call_id: str, application: Application, kind: Sound) -> None:
        """Stop what `talk` or `stream` began. Nothing happens where nothing is heard."""
        await self._up(call_id, application)
        sound = self._sounds.get((call_id, kind))
        if sound is not None:
            sound.stop()

    def _sound(self, call: Call, kind: Sound, make: Callable[[], Coroutine[Any, Any, Any]], loops: int, level: float) -> None:
        key = (call.facts.id, kind)
        if (older := self._sounds.get(key)) is not None:
            older.stop()

        def ended(sound: _Sound) -> None:
            if self._sounds.get(key) is sound:
                del self._sounds[key]

        self._sounds[key] = _Sound(call, self._kit, make, loops, level, ended)

    async def press(self, call_id: str, application: Application, keys: str) -> None:
        """Press keys; `p` is half a second."""
        call = await self._up(call_id, application)
        self._kit.spawn(press(call, keys))

    async def tell_keys(self, call_id: str, application: Application, address: tuple[str, str] | None) -> None:
        """Tell each key that the party presses to `address` (URL and method) from now on, or no more."""
        (await self._up(call_id, application)).keys_told = address

    async def _up(self, call_id: str, application: Application) -> Call:
        view = await self.get(call_id, application)
        call = self._switch.call(call_id)
        if call is None or call.status != "progressing":
            raise not_progressing(view.status)
        return call


class _Sound:
    """A sound on its way to a call: made, then played so many times (0: for ever)."""

    def __init__(
        self,
        call: Call,
        kit: Equipment,
        make: Callable[[], Coroutine[Any, Any, Any]],
        loops: int,
        level: float,
        ended: Callable[[_Sound], None],
    ) -> None:
        self._call = call
        self._kit = kit
        self._level = level
        self._left = loops
        self._ended = ended
        self._player: Player | None = None
        self._stopped = False
        kit.spawn(self._begin(make))

    def stop(self) -> None:
        self._stopped = True
        if self._player is not None:
            self._player.stop()

    async def _begin(self, make: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        try:
            samples = await make()
            if self._level:
                samples = await self._kit.thread(tones.louder, samples, LEVEL_DB * self._level)
        except (TapelineError, OSError) as error:
            self._kit.webhooks.complain(self._call, f"a sound cannot be played: {error}")
            self._ended(self)
            return
        self._play(samples)

    def _play(self, samples: Any) -> None:
        if self._stopped or self._call.over:
            self._ended(self)
            return

        def then(stopped: bool) -> None:
            self._left -= 1
            if stopped or self._left <= 0:
                self._ended(self)
            else:
                self._play(samples)

        self._player = self._call.play(samples, then, loop=self._left == 0)
