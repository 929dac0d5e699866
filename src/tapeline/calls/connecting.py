"""Connecting a caller with others: what it hears while they ring, the bridge once one answers, and how that came out.

A script's `Dial` is carried out here. The caller is answered when somebody answers, if it was not before. Its flow goes on when the
two have parted, and the others' calls end with the caller's. With the option `stay` it goes on at once, and who answers joins those whom
the caller talks with already. A conference answers at once, and is then joined by the caller's flow.

Other options: `limit_s` (how long the leg may last), `ringback` (an address: what the caller hears), `headers` of the INVITE,
`single_reject` (who rejects, rejects for all), `redirects` (false: nobody is followed elsewhere), `not_self` (the caller's own phones do
not ring), `dtmf_answer` (keys for who answers), `on_answer` (the address of a flow that runs on who answers before that one is let to the
caller), `websocket` (how one is opened), `any_number` (it is from any of the application's numbers), `event_url`, `event_method` and
`event_asked` (as of a `Wish`).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

import structlog

from tapeline import flow, rtp
from tapeline.calls.alarm import Alarm
from tapeline.calls.bridge import Bridge, until_alone
from tapeline.calls.dialer import DialResult, Wish
from tapeline.calls.equipment import Equipment
from tapeline.calls.session import Call
from tapeline.calls.views import Address
from tapeline.core.errors import TapelineError

__all__ = ["connect"]

log = structlog.get_logger(__name__)

PAUSE_S = 0.5  # what `p` among keys stands for

Prelude = Callable[[Call, str], Awaitable[None]]  # runs the flow of an address on a call, to its end
Disconnected = Callable[[Call, Mapping[str, Any]], None]  # asks what follows from the event that a call's websocket has closed


async def connect(
    call: Call, command: flow.Dial, kit: Equipment, prelude: Prelude, disconnected: Disconnected
) -> flow.DialEnded | flow.DialRoom:
    """Carry out `command` for `call`, to the end, or until it turns out that a conference answers. Cancelled, it leaves nobody ringing."""
    options = command.options
    room, before = _room(call, command, kit)
    if room:
        command = replace(command, destinations=before)
        if not before:
            return flow.DialRoom(command.token, room)
    waiting = _Waiting(call, command.early_media, kit, options.get("ringback", ""))
    try:
        waiting.ringback()
        result = await _dial(call, command, kit, waiting.progressed, disconnected)
        other = result.call
        if other is None and room:
            return flow.DialRoom(command.token, room)
        if other is None:
            return flow.DialEnded(command.token, False, result.causes, result.reason, result.status)
        if options.get("limit_s"):
            limit(other, options["limit_s"], kit)
        if options.get("on_answer"):
            await prelude(other, options["on_answer"])
        if other.over:  # it answered, and hung up before it was connected
            return flow.DialEnded(command.token, not options.get("on_answer"), (), "normal")
        try:
            waiting.bridged(other)
        except TapelineError:
            other.hang_up("failed", "it could not be connected")
            raise
    finally:
        waiting.end()
    call.answer()
    if options.get("dtmf_answer"):
        kit.spawn(press(other, options["dtmf_answer"]))
    if not options.get("stay"):
        for each in await until_alone(call):
            each.hang_up("normal")
    return flow.DialEnded(command.token, True, (), "normal")


def _room(call: Call, command: flow.Dial, kit: Equipment) -> tuple[str, tuple[flow.Party, ...]]:
    """The first conference among the destinations that can be joined, "" for none, and who is called before it answers (at once)."""
    for number, party in enumerate(command.destinations):
        if party.kind.lower() == "conference":
            found = kit.conferences.find(call.facts.account, party.target, named=False)
            if found is not None and not found.full:
                in_order = command.options.get("strategy", "all") != "all"
                return found.id, command.destinations[:number] if in_order else ()
    return "", ()


async def _dial(
    call: Call, command: flow.Dial, kit: Equipment, progressed: Callable[[Call, int], None], disconnected: Disconnected
) -> DialResult:
    source, options = command.source, command.options
    if options.get("any_number"):
        source = own_number(call, kit)
    if "websocket" in options:
        asked = disconnected if options.get("event_asked") else None
        return await kit.sockets.dial(call, command.destinations[0].target, options, command.timeout_s, asked)
    wish = Wish(
        parties=command.destinations,
        account=call.facts.account,
        caller=call,
        source=Address(source.kind, source.target, source.name) if source is not None and source.target else None,
        timeout_s=command.timeout_s,
        anonymous=command.anonymous,
        together=options.get("strategy", "all") == "all",
        each_s=options.get("each_s", 0.0),
        activeflow_id=call.facts.activeflow_id,
        headers=options.get("headers", ()),
        event_url=options.get("event_url", ""),
        event_method=options.get("event_method", ""),
        event_asked=options.get("event_asked", False),
        by_weight=options.get("strategy") == "by_weight",
        single_reject=options.get("single_reject", False),
        redirects=options.get("redirects", True),
        without=call.facts.user if options.get("not_self") else "",
    )
    return await kit.dialer.dial(wish, progressed)


def own_number(call: Call, kit: Equipment) -> flow.Party | None:
    """One of the numbers of the call's application; None where it has none that is a number."""
    found = [
        number.match.removeprefix("+")
        for number in kit.settings.numbers
        if number.application.lower() == call.facts.application_id and number.match.removeprefix("+").isdigit()
    ]
    return flow.Party("tel", random.choice(found)) if found and call.facts.application_id else None


def limit(call: Call, seconds: float, kit: Equipment) -> None:
    """Hang `call` up when it has lasted so long."""
    alarm = Alarm(kit.clock, lambda: call.hang_up("timeout", "it lasted as long as it may"))
    alarm.set(kit.clock.now() + seconds)
    call.when_over(lambda: alarm.set(None))


async def press(call: Call, keys: str) -> None:
    """Press keys on `call`, with a pause for each `p`."""
    for number, part in enumerate(keys.split("p")):
        if number:
            await asyncio.sleep(PAUSE_S)
        if part and not call.over:
            call.send_digits(part)
            await asyncio.sleep(len(part) * 0.2)


class _Waiting:
    """What a caller hears until somebody answers. `address` is its own tone; "": the usual one."""

    def __init__(self, call: Call, early_media: bool, kit: Equipment, address: str = "") -> None:
        self._call = call
        self._early_media = early_media
        self._kit = kit
        self._address = address
        self._tone: rtp.Player | None = None
        self._bridge: Bridge | None = None
        self._waits = True

    def ringback(self) -> None:
        """Say that it rings: to a caller that is up by a tone, else by a 180, or by early media where it shall hear a tone of its own."""
        if self._address and (self._call.status == "progressing" or self._call.early_media()):
            self._kit.spawn(self._own_tone())
        elif self._call.status == "progressing":
            self._play(self._kit.prompts.ringback(self._call.leg.rate))
        else:
            self._call.ring()

    async def _own_tone(self) -> None:
        rate = self._call.leg.rate
        try:
            samples = await self._kit.prompts.load(self._address, rate)
        except (TapelineError, OSError) as error:
            log.warning("a ringing tone cannot be played", call_id=self._call.facts.id, error=str(error))
            samples = self._kit.prompts.ringback(rate)
        if self._waits and self._bridge is None and not self._call.over:
            self._play(samples)

    def _play(self, samples: Any) -> None:
        if self._tone is None:
            self._tone = self._call.play(samples, lambda stopped: None, loop=True)

    def progressed(self, other: Call, status: int) -> None:
        """Somebody rings. The first who sends early media is heard, where that is wanted."""
        if not self._early_media or other.media.agreed is None or self._call.place is not None:
            return
        if self._call.status == "progressing" or self._call.early_media():
            self._quiet()
            self._bridge = Bridge(self._call, other, self._kit)
            other.when_over(self._early_media_over)

    def _early_media_over(self) -> None:
        """Who was heard early is gone; where others still ring, the caller is to know that."""
        if self._waits and self._bridge is not None:
            self._bridge = None
            self.ringback()

    def bridged(self, other: Call) -> None:
        """Let the caller talk with who answered: in the bridge of its early media, in that of those it talks with, or in a new one."""
        self._quiet()
        place = self._call.place
        if self._bridge is not None and other.place is self._bridge and place is self._bridge:
            self._bridge = None
        elif isinstance(place, Bridge) and place is not self._bridge:
            place.add(other)
        else:
            Bridge(self._call, other, self._kit)

    def _quiet(self) -> None:
        tone, self._tone = self._tone, None
        if tone is not None:
            tone.stop()

    def end(self) -> None:
        self._waits = False
        self._quiet()
        if self._bridge is not None:
            self._bridge.leave(self._call)
